"""`tofu-eval leaderboard`."""

from __future__ import annotations

from pathlib import Path

import click


@click.group("leaderboard")
def command() -> None:
    """Show and validate leaderboard files."""


@command.command("validate")
@click.argument("file", type=click.Path(path_type=Path))
def validate(file: Path) -> None:
    """Check a leaderboard file against its schema and against itself."""
    from tofu_eval.leaderboard import read_leaderboard

    board = read_leaderboard(file)
    click.echo(
        f"{file}: valid, schema version {board['schema_version']}, "
        f"{len(board['models'])} models, {len(board['tasks'])} tasks, {len(board['rows'])} rows."
    )


@command.command("show")
@click.argument("file", type=click.Path(path_type=Path))
def show(file: Path) -> None:
    """Print a leaderboard file."""
    from tofu_eval.cli.console import print_table
    from tofu_eval.leaderboard import read_leaderboard

    board = read_leaderboard(file)
    rows = [
        [row["task"], row["metric"], row["model"], _number(row["value"]), _interval(row),
         str(row["n"])]
        for row in board["rows"]
    ]  # fmt: skip
    print_table(["task", "metric", "model", "value", "95% interval", "n"], rows)


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"


def _interval(row: dict[str, float | None]) -> str:
    return "" if row["low"] is None else f"[{_number(row['low'])}, {_number(row['high'])}]"
