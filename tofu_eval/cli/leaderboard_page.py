"""`tofu-eval leaderboard page`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tofu_eval.leaderboard.board import Source
    from tofu_eval.leaderboard.publishing.versions import Past


@click.command("page")
@click.argument("board", type=click.Path(path_type=Path))
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="The folder of the site; a page that is there is replaced.",
)
def page_command(board: Path, output: Path) -> None:
    """Make a static site of a leaderboard: open its index.html, or publish the folder anywhere.

    It needs no server and loads nothing: GitHub Pages and a static Space of the Hugging Face Hub
    take it as it is. `publish --page` makes the same at a place, and keeps earlier versions.
    """
    from tofu_eval.core.errors import ConfigError
    from tofu_eval.leaderboard.file import NAME, open_board
    from tofu_eval.report.board import board_site
    from tofu_eval.run.files import write_bytes

    if output.is_file():
        raise ConfigError(f"--output must be a folder, got the file {output}. Name another.")
    source = open_board(board)
    history, kept = _history_beside(board, source)
    site = board_site(source.board, history)
    files = {NAME: board.read_bytes(), **kept}
    for file in source.board.scores:
        files[file.file] = (board.parent / file.file).read_bytes()
    for name, content in {**files, **site}.items():
        write_bytes(output / name, content)
    _remove_old_pages(output, site)
    size = sum(map(len, site.values()))
    click.echo(
        f"{output / 'index.html'}: {len(source.board.models)} models, {len(source.board.rows)} "
        f"values, {len(site) - 1} pages, {size / 1e6:.1f} MB."
    )


def _history_beside(path: Path, source: Source) -> tuple[list[Past], dict[str, bytes]]:
    """The versions that were published where a board lies, and their files."""
    from tofu_eval.cli.console import note
    from tofu_eval.leaderboard.publishing.directory import read_file
    from tofu_eval.leaderboard.publishing.versions import INDEX, parse_versions, read_history

    folder = path.parent
    versions = parse_versions(read_file(folder / INDEX), str(folder / INDEX))
    if not versions:
        return [], {}
    if versions[-1].hash != source.board.hash:
        note(f"{folder / INDEX} ends with another board than {path}: no history is drawn.")
        return [], {}
    history = read_history(versions, lambda name: read_file(folder / name), str(folder))
    names = [INDEX, *(version.file for version in versions)]
    contents = {name: read_file(folder / name) for name in names}
    return history, {name: content for name, content in contents.items() if content is not None}


def _remove_old_pages(output: Path, site: dict[str, bytes]) -> None:
    """Pages of models that the board has no more; nothing else of the folder is touched."""
    import re

    for file in (output / "models").glob("*.html"):
        if re.fullmatch(r"[0-9a-f]{16}\.html", file.name) and f"models/{file.name}" not in site:
            file.unlink()
