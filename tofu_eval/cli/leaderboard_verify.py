"""`tofu-eval leaderboard verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tofu_eval.pipeline.verify_board import Difference, Verification

DIFFERS, UNVERIFIED = 1, 3
_SHOWN = 10


@click.command("verify")
@click.argument("board", type=click.Path(path_type=Path))
@click.option(
    "--responses",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="The run directory of the board with its responses, or a folder of such.",
)
@click.option(
    "--allow-models",
    is_flag=True,
    help="Load models and ask servers that the runs' settings name. Look at run.json first.",
)
@click.option("--device", help="For models: cpu, cuda, … Default: what there is.")
@click.pass_context
def verify_command(
    context: click.Context, /, board: Path, responses: Path, allow_models: bool, device: str | None
) -> None:
    """Score the responses of a board again, and hold its numbers against what comes out.

    For who keeps a board and is sent one with its responses. A copy is scored; of the run that was
    sent, no score, no feature and no code is used.

    Exit code 0: every number is what the responses give. 1: one is not. 3: none differs, but some
    could not be scored here. 2: bad input.
    """
    from tofu_eval.cli.console import progress
    from tofu_eval.leaderboard.file import open_board
    from tofu_eval.pipeline.verify_board import verify_board

    source = open_board(board)
    with progress() as report:
        done = verify_board(source, responses, models=allow_models, device=device, report=report)
    context.exit(_report(board, done))


def _report(board: Path, done: Verification) -> int:
    """Say what it comes to, and return the exit code."""
    from tofu_eval.core.escape import printable

    for one in done.differing[:_SHOWN]:
        click.echo(printable(_line(board, one)))
    if len(done.differing) > _SHOWN:
        click.echo(f"… and {len(done.differing) - _SHOWN} rows more.")
    for reason, labels in done.unverified.items():
        more = f" and {len(labels) - 1} more" if len(labels) > 1 else ""
        click.echo(printable(f"Not verified: {labels[0][:200]}{more}: {reason[:300]}."))
    left = sum(map(len, done.unverified.values()))
    total = done.agreed + len(done.differing) + left
    verdict = "differs" if done.differing else "verified in part" if left else "verified"
    click.echo(
        f"{board}: {verdict}: {done.agreed} of {total} rows are what the responses give, "
        f"{len(done.differing)} differ, {left} could not be scored here."
    )
    return DIFFERS if done.differing else UNVERIFIED if left else 0


def _line(board: Path, one: Difference) -> str:
    """`board.json at $.rows[3]: value of vendi of tofu on …: expected 2.1, got 2.9.`"""
    return (
        f"{board} at $.rows[{one.row}]: {one.label[:200]}: expected {one.fact} {one.expected}, "
        f"which scoring the responses gives, got {one.got}."
    )
