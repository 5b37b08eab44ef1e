"""What publishing changes, whatever the place: the same for a dry run and the real one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa

from tofu_eval.leaderboard.board import Board, ScoresFile, Source
from tofu_eval.leaderboard.file import NAME, file_content, parse_leaderboard
from tofu_eval.leaderboard.merge import Merged, merge
from tofu_eval.leaderboard.prompt_scores import ReadFile, pack, parse_scores, rows_of_run
from tofu_eval.leaderboard.publishing.versions import (
    INDEX,
    Past,
    Version,
    pack_version,
    parse_versions,
    read_history,
    version_of,
    versions_text,
)

MakeSite = Callable[[Board, Sequence[Past]], Mapping[str, bytes]]
"""The files of a board's page, by path; of its versions, that of the board is the last."""

FIRST_PAGE = "index.html"


@dataclass(frozen=True)
class Page:
    """How a place gets a page.

    Without `wanted`, only a place that has one already: what stands there must not be out of date.
    """

    make_site: MakeSite
    now: datetime
    wanted: bool = False


@dataclass(frozen=True)
class Changes:
    """What a place gets.

    `write` holds the files in the order in which they must appear, the board last but for its page;
    `remove` names those that nothing refers to then. Both are empty where the place has it all
    already. `scores` are the files of the board's per-prompt rows afterwards, `rows` counts the
    rows of the board then, `added` and `replaced` those that change.
    """

    place: str
    write: Mapping[str, bytes]
    remove: tuple[str, ...]
    scores: tuple[str, ...]
    rows: int
    added: int
    replaced: int
    remarks: tuple[str, ...]


def changes_of(place: str, read: ReadFile, source: Source, page: Page | None = None) -> Changes:
    """What a board adds to the one that is published at a place.

    Args:
        place: what messages call it.
        read: gives the files that are there.
        source: the board to publish.
        page: how the place gets a page.

    Raises:
        DataError: what is there is no valid board, or the two contradict each other.
    """
    there = read(NAME)
    if there is None:
        published = None
        merged = merge([source])
    else:
        board = parse_leaderboard(there, f"{place}/{NAME}")
        published = Source(place, board, parse_scores(board, read, place))
        merged = merge([published, source])
    write, board = pack_board(merged, NAME.removesuffix(".json"), published)
    write[NAME] = file_content(board, f"The board for {place}")
    listed, versions = _versions(place, read, board, page)
    if write[NAME] == there:
        write = {}
    before = () if published is None else published.board.scores
    kept = {file.file for file in board.scores}
    remove = [file.file for file in before if file.file not in kept] if write else []
    if page is not None and versions and (versions != listed or page.wanted):
        site = _page_files(place, read, board, versions, page)
        if versions != listed or read(FIRST_PAGE) != site[FIRST_PAGE]:
            remove += _old_pages(published, site) if listed else []
            write |= site
    return Changes(
        place=place,
        write=write,
        remove=tuple(remove),
        scores=tuple(file.file for file in board.scores),
        rows=len(board.rows),
        added=merged.added if published is not None else len(board.rows),
        replaced=merged.replaced,
        remarks=tuple(merged.remarks),
    )


def _versions(
    place: str, read: ReadFile, board: Board, page: Page | None
) -> tuple[tuple[Version, ...], tuple[Version, ...]]:
    """The versions of a place as it lists them, and once the board stands there.

    None where it has no page and gets none. The list is written last: a place whose page was begun
    by somebody who was killed lacks the board in it.
    """
    content = None if page is None else read(INDEX)
    if page is None or (content is None and not page.wanted):
        return (), ()
    listed = parse_versions(content, f"{place}/{INDEX}")
    if listed and listed[-1].hash == board.hash:
        return listed, listed
    return listed, (*listed, version_of(board, page.now))


def _page_files(
    place: str, read: ReadFile, board: Board, versions: Sequence[Version], page: Page
) -> dict[str, bytes]:
    """The files of the page and of the history that it draws."""
    last = versions[-1]
    kept = {last.file: pack_version(file_content(board))}
    history = read_history(versions[:-1], read, place)
    site = page.make_site(board, [*history, Past(last, board)])
    return {**kept, **site, INDEX: versions_text(versions)}


def _old_pages(published: Source | None, site: Mapping[str, bytes]) -> list[str]:
    """Pages of models that the board has no more."""
    models = () if published is None else published.board.models
    return [name for name in (f"models/{model.id}.html" for model in models) if name not in site]


def pack_board(
    merged: Merged, stem: str, published: Source | None
) -> tuple[dict[str, bytes], Board]:
    """The files of per-prompt rows that must be written, and the board that names them all.

    The rows of a run that are published already keep their file, whoever wrote it.
    """
    if merged.scores is None:
        return {}, merged.board
    kept = {} if published is None else _files_as_they_are(published, merged.scores)
    packed = pack(merged.scores, stem)
    files = [kept.get(file.run, file) for file in packed]
    write = {file.file: content for file, content in packed.items() if file.run not in kept}
    return write, replace(merged.board, scores=tuple(files))


def _files_as_they_are(published: Source, scores: pa.Table) -> dict[str, ScoresFile]:
    """The published files whose rows are those of the merged board, by run."""
    if published.scores is None:
        return {}
    return {
        file.run: file
        for file in published.board.scores
        if rows_of_run(published.scores, file.run).equals(rows_of_run(scores, file.run))
    }
