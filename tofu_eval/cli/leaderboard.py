"""`tofu-eval leaderboard`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tofu_eval.cli.comparing import comparing_options
from tofu_eval.cli.leaderboard_page import page_command
from tofu_eval.cli.leaderboard_publish import export_command, publish_command
from tofu_eval.cli.leaderboard_verify import verify_command

if TYPE_CHECKING:
    from tofu_eval.leaderboard.board import Source
    from tofu_eval.leaderboard.merge import Merged


@click.group("leaderboard")
def command() -> None:
    """Build, merge, validate, show, publish and export leaderboard files."""


command.add_command(publish_command)
command.add_command(export_command)
command.add_command(page_command)
command.add_command(verify_command)

output_option = click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="The file to write; a leaderboard that is there is replaced.",
)


@command.command("build")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@output_option
@click.option(
    "--scores",
    is_flag=True,
    help="Put the per-prompt rows beside it: with them, merged boards are ranked anew, and anybody "
    "can validate the numbers.",
)
@click.option("--by", metavar="NAME", help="Who measured, as the page of the board calls you.")
@click.option("--baseline", metavar="MODEL", help="Compare with this model. Default: the first.")
@comparing_options
def build_command(
    runs: Sequence[Path],
    output: Path,
    scores: bool,
    by: str | None,
    baseline: str | None,
    **how: Any,
) -> None:
    """Make a leaderboard of one run or several."""
    from tofu_eval.leaderboard.board import signed
    from tofu_eval.leaderboard.merge import merge

    boards = [_open_run_board(path, scores, baseline=baseline, **how) for path in runs]
    boards = [replace(source, board=signed(source.board, by)) for source in boards]
    _save(output, merge(boards))


@command.command("merge")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE..."
)
@output_option
def merge_command(files: Sequence[Path], output: Path) -> None:
    """Make one leaderboard of several people's, the same in any order.

    Tasks, models and metrics of one name that differ are kept apart; nothing is averaged, and a
    measurement that two boards hold stands once.
    """
    from tofu_eval.leaderboard.file import open_board
    from tofu_eval.leaderboard.merge import merge

    _save(output, merge([open_board(file) for file in files]))


@command.command("validate")
@click.argument("file", type=click.Path(path_type=Path))
def validate_command(file: Path) -> None:
    """Check a leaderboard: its schema, its hash, and its numbers.

    From the per-prompt rows, which lie beside it or in the run that it is of, values, intervals and
    ranks are made anew. Without them, values are held against their metrics' ranges, and ranks
    against what so many models can have.
    """
    from tofu_eval.leaderboard.file import open_board
    from tofu_eval.leaderboard.validate import validate

    source = _with_scores_of_its_run(open_board(file), file)
    checked = validate(source)
    board = source.board
    if source.scores is None:
        beside = "no per-prompt rows to make its numbers anew from"
    else:
        beside = (
            f"made anew from {len(source.scores)} per-prompt rows: {checked.rows} values, "
            f"{checked.intervals} intervals, the ranks of {checked.blocks} blocks"
        )
    click.echo(
        f"{file}: valid, schema version {board.version}, {len(board.models)} models, "
        f"{len(board.tasks)} tasks, {len(board.rows)} rows; {beside}. {board.hash}"
    )


@command.command("show")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--model", "models", multiple=True, help="Only these models, by name or id.")
@click.option("--task", "tasks", multiple=True, help="Only these tasks.")
@click.option("--metric", "metrics", multiple=True, help="Only these metrics.")
@click.option("--cite", is_flag=True, help="A line a value, that says exactly what it is.")
def show_command(
    file: Path,
    models: tuple[str, ...],
    tasks: tuple[str, ...],
    metrics: tuple[str, ...],
    cite: bool,
) -> None:
    """Print a leaderboard by task and metric, best first, with ranks."""
    from rich.console import Console

    from tofu_eval.core.escape import printable
    from tofu_eval.leaderboard.exports.terminal import show
    from tofu_eval.leaderboard.file import read_leaderboard
    from tofu_eval.leaderboard.view import citation, number_text, select

    board = select(read_leaderboard(file), models=models, tasks=tasks, metrics=metrics)
    if cite:
        for row in board.rows:
            click.echo(printable(f"{number_text(row.value)}  {citation(board, row)}"))
        return
    Console(highlight=False).print(show(board), soft_wrap=False)


@command.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of a leaderboard file."""
    from tofu_eval.leaderboard.schema import schema_text

    click.echo(schema_text(), nl=False)


def _open_run_board(path: Path, per_prompt: bool, **how: Any) -> Source:
    """The leaderboard of a run, made of its tables."""
    from tofu_eval.cli.console import note
    from tofu_eval.pipeline.board import run_board
    from tofu_eval.run.store import Run

    run = Run.open(path)
    if run.manifest["status"] != "complete":
        note(f"{path} is unfinished; run the command that made it again.")
    source = run_board(run, **how)
    return source if per_prompt else replace(source, scores=None)


def _with_scores_of_its_run(source: Source, file: Path) -> Source:
    """A run's own board with the run's scores, where it has no per-prompt rows beside it."""
    runs = source.board.runs
    if source.scores is not None or len(runs) != 1 or not (file.parent / "run.json").exists():
        return source
    own = _open_run_board(file.parent, per_prompt=True)
    return replace(source, scores=own.scores) if own.board.runs[0].id == runs[0].id else source


def _save(output: Path, merged: Merged) -> None:
    from tofu_eval.cli.console import note
    from tofu_eval.leaderboard.publishing import save_board

    for remark in merged.remarks:
        note(remark)
    board = save_board(output, merged)
    click.echo(f"{output}: {len(board.rows)} rows. {board.hash}")
    for file in board.scores:
        click.echo(f"{output.parent / file.file}: {file.rows} rows.")
