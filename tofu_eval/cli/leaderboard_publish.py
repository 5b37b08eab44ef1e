"""`tofu-eval leaderboard publish` and `export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tofu_eval.cli.options import given_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tofu_eval.leaderboard.publishing import Plan

TABLES = ("csv", "markdown", "latex")
FORMATS = (*TABLES, "eval-results", "model-index", "every-eval-ever")
RELATIONSHIPS = ("first_party", "third_party", "collaborative", "other")


@click.command("publish")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--to", type=click.Path(path_type=Path), help="A directory.")
@click.option("--git", type=click.Path(path_type=Path), help="A git working tree: a commit.")
@click.option("--hub", metavar="ORG/NAME", help="A dataset repository of the Hugging Face Hub.")
@click.option("--message", help="Of the commit. Default: says what is added.")
@click.option("--push", is_flag=True, help="With --git: push it, on top of what others did.")
@click.option("--revision", metavar="BRANCH", help="With --hub: another than the main branch.")
@click.option("--create-pr", is_flag=True, help="With --hub: as a pull request.")
@click.option("--private", is_flag=True, help="With --hub: where the repository is made now.")
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
def publish(file: Path, dry_run: bool, message: str | None, **where: Any) -> None:
    """Merge a leaderboard into the one that is published at a place.

    Several people may publish to one place at once: nobody's rows are lost.
    """
    from tofu_eval.cli.console import note
    from tofu_eval.core.errors import ConfigError
    from tofu_eval.leaderboard.board import open_board

    place = [name for name in ("to", "git", "hub") if where[name]]
    if len(place) != 1:
        raise ConfigError(
            f"Expected one of --to DIR, --git DIR and --hub ORG/NAME, got {len(place)}. "
            "Name the place to publish to."
        )
    belongs = {"push": "git", "revision": "hub", "create_pr": "hub", "private": "hub"}
    for option, to in belongs.items():
        if where[option] and to != place[0]:
            raise ConfigError(
                f"--{option.replace('_', '-')} belongs to --{to}, got --{place[0]}. Leave it out."
            )
    source = open_board(file)
    runs = ", ".join(run["id"] for run in source.board["runs"])
    words = message or f"tofu-eval leaderboard: {len(source.board['rows'])} rows of run {runs}"
    made = _publish(source, place[0], where, message=words, dry_run=dry_run)
    for remark in made.remarks:
        note(remark)
    _say(made, dry_run)


def _publish(
    source: Any, place: str, where: Mapping[str, Any], *, message: str, dry_run: bool
) -> Plan:
    from tofu_eval.leaderboard.publishing import publish_directory, publish_git, publish_hub

    if place == "to":
        return publish_directory(where["to"], source, dry_run=dry_run)
    if place == "git":
        return publish_git(
            where["git"], source, message=message, push=where["push"], dry_run=dry_run
        )
    return publish_hub(
        where["hub"],
        source,
        message=message,
        revision=where["revision"],
        create_pr=where["create_pr"],
        private=where["private"] or None,
        dry_run=dry_run,
    )


def _say(made: Plan, dry_run: bool) -> None:
    if not made.write:
        click.echo(f"{made.place}: has it all already, {made.rows} rows.")
        return
    would = "would have" if dry_run else "has"
    click.echo(
        f"{made.place}: {would} {made.rows} rows, {made.added} new, {made.replaced} replaced."
    )
    for name, content in made.write.items():
        click.echo(f"  write   {name}  {len(content)} bytes")
    for name in made.remove:
        click.echo(f"  remove  {name}")


@click.command("export")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--format", "style", type=click.Choice(FORMATS), required=True)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="A file; of every-eval-ever a directory; of model-index a card whose other content "
    "stays. Default: standard output.",
)
@click.option("--model", "models", multiple=True, help="Only these models.")
@click.option("--task", "tasks", multiple=True, help="Only these tasks.")
@click.option("--metric", "metrics", multiple=True, help="Only these metrics.")
@click.option("--dataset", metavar="ORG/NAME", help="For eval-results: the Hub's benchmark.")
@click.option("--source-url", metavar="URL", help="For the Hub: where the board is published.")
@click.option("--organization", help="For every-eval-ever: who measured.")
@click.option(
    "--relationship",
    type=click.Choice(RELATIONSHIPS),
    help="For every-eval-ever: what they are to the models' makers.",
)
@click.option("--developer", help="For every-eval-ever: of models that are not from the Hub.")
def export(
    file: Path,
    style: str,
    output: Path | None,
    models: tuple[str, ...],
    tasks: tuple[str, ...],
    metrics: tuple[str, ...],
    **options: str | None,
) -> None:
    """Write a leaderboard for spreadsheets, papers, the Hub, and 'Every Eval Ever'."""
    from tofu_eval.leaderboard import exports, read_leaderboard
    from tofu_eval.leaderboard.view import select

    board = select(read_leaderboard(file), models=models, tasks=tasks, metrics=metrics)
    if style in TABLES:
        _write(output, getattr(exports, f"as_{style}")(board))
    elif style == "every-eval-ever":
        by = exports.Evaluator(**_needed(style, options, "organization", "relationship"),
                               **given_values(developer=options["developer"]))  # fmt: skip
        _write_all(output, exports.every_eval_ever(board, by))
    elif style == "eval-results":
        needed = _needed(style, options, "dataset")
        model = _one_model(board)
        text = exports.eval_results(board, model, source=options["source_url"], **needed)
        _write(output, text)
    else:
        model = _one_model(board)
        _write(
            output,
            exports.model_index(board, model, card=output, source=options["source_url"]),
        )


def _needed(style: str, options: Mapping[str, str | None], *names: str) -> dict[str, Any]:
    from tofu_eval.core.errors import ConfigError

    for name in names:
        if not options[name]:
            raise ConfigError(
                f"--format {style} needs --{name}. See: tofu-eval leaderboard export -h"
            )
    return {name: options[name] for name in names}


def _one_model(board: Mapping[str, Any]) -> str:
    from tofu_eval.core.errors import ConfigError

    found: list[str] = list(dict.fromkeys(row["model"] for row in board["rows"]))
    if len(found) != 1:
        raise ConfigError(
            f"This format is of one model, the board has {len(found)}: {', '.join(found)}. "
            "Name one: --model NAME"
        )
    return found[0]


def _write(output: Path | None, text: str) -> None:
    from tofu_eval.run.files import write_bytes

    if output is None:
        click.echo(text, nl=False)
    else:
        write_bytes(output, text.encode("utf-8"))
        click.echo(f"{output}: {len(text.encode('utf-8'))} bytes.")


def _write_all(folder: Path | None, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        _write(None if folder is None else folder / name, text)
