"""`tofu-eval leaderboard publish` and `export`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tofu_eval.leaderboard.board import Source
    from tofu_eval.leaderboard.exports import Export
    from tofu_eval.leaderboard.publishing import Changes, Page


@click.command("publish")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--to", type=click.Path(path_type=Path), help="A directory.")
@click.option("--git", type=click.Path(path_type=Path), help="A git working tree: a commit.")
@click.option("--hub", metavar="ORG/NAME", help="A dataset repository of the Hugging Face Hub.")
@click.option("--space", metavar="ORG/NAME", help="A static Space of the Hub: its page too.")
@click.option(
    "--page",
    is_flag=True,
    help="Give the place a page, and keep every version from now on. A place that has one keeps it "
    "up to date without this flag.",
)
@click.option("--by", metavar="NAME", help="Who measured, of runs that do not say it.")
@click.option("--message", help="Of the commit. Default: says what is added.")
@click.option("--push", is_flag=True, help="With --git: push it, on top of what others did.")
@click.option("--revision", metavar="BRANCH", help="On the Hub: another than the main branch.")
@click.option("--create-pr", is_flag=True, help="On the Hub: as a pull request.")
@click.option("--private", is_flag=True, help="On the Hub: where the repository is made now.")
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
def publish_command(
    file: Path, dry_run: bool, message: str | None, page: bool, by: str | None, **where: Any
) -> None:
    """Merge a leaderboard into the one that is published at a place.

    Several people may publish to one place at once: nobody's rows are lost. A board whose numbers
    `validate` refuses is not published.
    """
    from tofu_eval.cli.console import note
    from tofu_eval.core.errors import ConfigError
    from tofu_eval.leaderboard.board import signed
    from tofu_eval.leaderboard.file import open_board
    from tofu_eval.leaderboard.validate import validate
    from tofu_eval.pipeline.board import page_for

    place = [name for name in ("to", "git", "hub", "space") if where[name]]
    if len(place) != 1:
        raise ConfigError(
            f"Expected one of --to DIR, --git DIR, --hub ORG/NAME and --space ORG/NAME, got "
            f"{len(place)}. Name the place to publish to."
        )
    hub = ("hub", "space")
    belongs = {"push": ("git",), "revision": hub, "create_pr": hub, "private": hub}
    for option, to in belongs.items():
        if where[option] and place[0] not in to:
            raise ConfigError(
                f"--{option.replace('_', '-')} belongs to --{' and --'.join(to)}, got "
                f"--{place[0]}. Leave it out."
            )
    source = open_board(file)
    validate(source)
    source = replace(source, board=signed(source.board, by))
    runs = ", ".join(run.id for run in source.board.runs)
    words = message or f"tofu-eval leaderboard: {len(source.board.rows)} rows of run {runs}"
    how = page_for(page or place[0] == "space")
    changes = _publish(source, place[0], where, message=words, page=how, dry_run=dry_run)
    for remark in changes.remarks:
        note(remark)
    _print_changes(changes, dry_run)


def _publish(
    source: Source,
    place: str,
    where: Mapping[str, Any],
    *,
    message: str,
    page: Page,
    dry_run: bool,
) -> Changes:
    from tofu_eval.leaderboard.publishing import publish_directory, publish_git, publish_hub

    if place == "to":
        return publish_directory(where["to"], source, page=page, dry_run=dry_run)
    if place == "git":
        return publish_git(
            where["git"],
            source,
            message=message,
            push=where["push"],
            page=page,
            dry_run=dry_run,
        )
    return publish_hub(
        where[place],
        source,
        message=message,
        revision=where["revision"],
        create_pr=where["create_pr"],
        private=where["private"] or None,
        kind="space" if place == "space" else "dataset",
        page=page,
        dry_run=dry_run,
    )


def _print_changes(changes: Changes, dry_run: bool) -> None:
    if not changes.write:
        click.echo(f"{changes.place}: has it all already, {changes.rows} rows.")
        return
    would = "would have" if dry_run else "has"
    click.echo(
        f"{changes.place}: {would} {changes.rows} rows, {changes.added} new, "
        f"{changes.replaced} replaced."
    )
    pages = [name for name in changes.write if name.startswith("models/")]
    for name, content in changes.write.items():
        if name not in pages:
            click.echo(f"  write   {name}  {len(content)} bytes")
    if pages:
        click.echo(f"  write   {len(pages)} pages of models")
    for name in changes.remove:
        click.echo(f"  remove  {name}")


class ExportCommand(click.Command):
    """A command whose formats, and their flags, are those that are registered."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; a Python file that --format names is run, and its format is meant."""
        from tofu_eval.leaderboard.exports import EXPORTS

        for i, text in enumerate(args):
            option, equals, value = text.partition("=")
            if option == "--format" and equals and value.endswith(".py"):
                args[i] = f"--format={EXPORTS.only_in_file(value)}"
            elif i and args[i - 1] == "--format" and text.endswith(".py"):
                args[i] = EXPORTS.only_in_file(text)
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The flags of every format, and those of its own."""
        *own, help_option = super().get_params(ctx)
        return [*own, *_options_of_formats(), help_option]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """A line a format."""
        from tofu_eval.leaderboard.exports import EXPORTS

        with formatter.section("Formats"):
            formatter.write_dl(
                [
                    (entry.name, entry.item.help if entry.item else f"broken: {entry.error}")
                    for entry in EXPORTS.entries()
                ]
            )


def _options_of_formats() -> list[click.Parameter]:
    """`--format`, and the flags of all formats, each once."""
    from tofu_eval.leaderboard.exports import EXPORTS, Option

    entries = EXPORTS.entries()
    named: dict[str, list[tuple[str, Option]]] = {}
    for entry in entries:
        for option in entry.item.options if entry.item else ():
            named.setdefault(option.name, []).append((entry.name, option))
    options: list[click.Parameter] = [
        click.Option(
            ["--format", "format_name"],
            type=click.Choice([entry.name for entry in entries]),
            required=True,
            help="One of those below, or a Python file that has one.",
        )
    ]
    for name, users in named.items():
        option = users[0][1]
        choices = {choice: None for _, other in users for choice in other.choices}
        limited = all(other.choices for _, other in users)
        options.append(
            click.Option(
                [option.flag, name],
                type=click.Choice(list(choices)) if limited else click.STRING,
                metavar=None if limited else option.metavar,
                help=f"For {', '.join(user for user, _ in users)}: {option.help}.",
            )
        )
    return options


@click.command("export", cls=ExportCommand)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="A file; a folder where a format makes several. Default: standard output.",
)
@click.option("--model", "models", multiple=True, help="Only these models, by name or id.")
@click.option("--task", "tasks", multiple=True, help="Only these tasks.")
@click.option("--metric", "metrics", multiple=True, help="Only these metrics.")
def export_command(
    file: Path,
    output: Path | None,
    models: tuple[str, ...],
    tasks: tuple[str, ...],
    metrics: tuple[str, ...],
    format_name: str,
    **flags: str | None,
) -> None:
    """Write a leaderboard for spreadsheets, papers, the Hub, and whoever brings a format."""
    from tofu_eval.leaderboard.exports import EXPORTS
    from tofu_eval.leaderboard.file import read_leaderboard
    from tofu_eval.leaderboard.view import select

    chosen = EXPORTS.get(format_name)
    arguments = _arguments(chosen, {name: value for name, value in flags.items() if value})
    board = select(read_leaderboard(file), models=models, tasks=tasks, metrics=metrics)
    if chosen.amends:
        arguments["there"] = _text_of(output)
    exported = chosen.function(board, **arguments)
    if isinstance(exported, str):
        _write(output, exported)
    else:
        for name, text in exported.items():
            _write(None if output is None else _inside(output, name), text)


def _arguments(chosen: Export, given: Mapping[str, str]) -> dict[str, Any]:
    """The flags of a format, as arguments of its function."""
    from tofu_eval.core.errors import ConfigError
    from tofu_eval.core.secrets import has_password

    known = {option.name: option for option in chosen.options}
    for name in given:
        if name not in known:
            raise ConfigError(
                f"--{name.replace('_', '-')} is no option of --format {chosen.name}. Leave it out. "
                "See: tofu-eval leaderboard export -h"
            )
        if has_password(given[name]):
            raise ConfigError(
                f"{known[name].flag} must not hold a user or a password: it is shown."
            )
    for option in chosen.options:
        if option.required and option.name not in given:
            raise ConfigError(
                f"--format {chosen.name} needs {option.flag}. See: tofu-eval leaderboard export -h"
            )
    return dict(given)


def _text_of(path: Path | None) -> str | None:
    """The text of a file that is amended; None where there is none yet."""
    from tofu_eval.core.errors import DataError

    if path is None or not path.exists():
        return None
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"Cannot read {path}: {error}. Write to another file: --output FILE"
        ) from error


def _inside(folder: Path, name: str) -> Path:
    """The path of a file of several below the folder that the user named, and nowhere else."""
    from tofu_eval.core.errors import PluginError

    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise PluginError(
            f"The export names the file '{name}', expected one below {folder}. Nothing is written "
            "there."
        )
    return path


def _write(output: Path | None, text: str) -> None:
    from tofu_eval.run.files import write_bytes

    if output is None:
        click.echo(text, nl=False)
    else:
        write_bytes(output, text.encode("utf-8"))
        click.echo(f"{output}: {len(text.encode('utf-8'))} bytes.")
