"""`tofu-eval leaderboard`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tofu_eval.cli.leaderboard_publish import export, publish
from tofu_eval.leaderboard.board import open_board
from tofu_eval.leaderboard.merge import Merged

if TYPE_CHECKING:
    from tofu_eval.leaderboard.board import Source


@click.group("leaderboard")
def command() -> None:
    """Build, merge, validate, show, publish and export leaderboard files."""


command.add_command(publish)
command.add_command(export)

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
    help="Put the per-prompt rows beside it: with them, merged boards are ranked anew.",
)
def build(runs: Sequence[Path], output: Path, scores: bool) -> None:
    """Make a leaderboard of one run or several."""
    from tofu_eval.leaderboard.merge import merge

    _save(output, merge([_of_run(path, scores) for path in runs]))


@command.command("merge")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE..."
)
@output_option
def merge_command(files: Sequence[Path], output: Path) -> None:
    """Make one leaderboard of several people's.

    Tasks, models and metrics of one name that differ are kept apart, and so is what was measured
    twice; nothing is averaged.
    """
    from tofu_eval.leaderboard.merge import merge

    _save(output, merge([open_board(file) for file in files]))


@command.command("validate")
@click.argument("file", type=click.Path(path_type=Path))
def validate(file: Path) -> None:
    """Check a leaderboard: its schema, its hash, its rows, and its per-prompt rows.

    A file of an older version is checked against that version's schema.
    """
    from tofu_eval.leaderboard.prompt_scores import check_scores

    source = open_board(file)
    board, beside = source.board, ""
    if source.scores is not None:
        check_scores(board, source.scores, file)
        beside = f", {len(source.scores)} per-prompt rows"
    click.echo(
        f"{file}: valid, schema version {board['schema_version']}, "
        f"{len(board['models'])} models, {len(board['tasks'])} tasks, {len(board['rows'])} rows"
        f"{beside}. {board['hash']}"
    )


@command.command("show")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--model", "models", multiple=True, help="Only these models.")
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

    from tofu_eval.cli import printable
    from tofu_eval.leaderboard import read_leaderboard
    from tofu_eval.leaderboard.exports.terminal import show
    from tofu_eval.leaderboard.view import citation, number, select

    board = select(read_leaderboard(file), models=models, tasks=tasks, metrics=metrics)
    if cite:
        for row in board["rows"]:
            click.echo(printable(f"{number(row['value'])}  {citation(board, row)}"))
        return
    Console(highlight=False).print(show(board), soft_wrap=False)


def _of_run(path: Path, per_prompt: bool) -> Source:
    from tofu_eval.cli.console import note
    from tofu_eval.core.tables import ESTIMATE_SCHEMA, to_table
    from tofu_eval.leaderboard import build_leaderboard
    from tofu_eval.leaderboard.board import Source
    from tofu_eval.leaderboard.prompt_scores import of_run
    from tofu_eval.run.store import Run

    run = Run.open(path)
    if run.manifest["status"] != "complete":
        note(f"{path} is unfinished; run the command that made it again.")
    scores = run.scores()
    board = build_leaderboard(to_table(run.estimates(), ESTIMATE_SCHEMA), run.manifest, scores)
    return Source(str(path), board, of_run(board["runs"][0]["id"], scores) if per_prompt else None)


def _save(output: Path, merged: Merged) -> None:
    from tofu_eval.cli.console import note
    from tofu_eval.leaderboard.publishing import save

    for remark in merged.remarks:
        note(remark)
    board = save(output, merged)
    click.echo(f"{output}: {len(board['rows'])} rows. {board['hash']}")
    if board["scores"] is not None:
        click.echo(f"{output.parent / board['scores']['file']}: {board['scores']['rows']} rows.")
