"""What publishing changes, whatever the place: the same for a dry run and the real one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from tofu_eval.leaderboard.board import Board, ScoresFile, Source
from tofu_eval.leaderboard.file import NAME, file_content, parse_leaderboard
from tofu_eval.leaderboard.merge import Merged, merge
from tofu_eval.leaderboard.prompt_scores import ReadFile, in_order, pack, parse_scores


@dataclass(frozen=True)
class Changes:
    """What a place gets.

    `write` holds the files in the order in which they must appear, the board last; `remove` names
    those that nothing refers to then. Both are empty where the place has it all already. `rows`
    counts the rows of the board afterwards, `added` and `replaced` those that change.
    """

    place: str
    write: Mapping[str, bytes]
    remove: tuple[str, ...]
    rows: int
    added: int
    replaced: int
    remarks: tuple[str, ...]


def changes_of(place: str, read: ReadFile, source: Source) -> Changes:
    """What a board adds to the one that is published at a place.

    Args:
        place: what messages call it.
        read: gives the files that are there.
        source: the board to publish.

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
    if write[NAME] == there:
        write = {}
    before = () if published is None else published.board.scores
    kept = {file.file for file in board.scores}
    return Changes(
        place=place,
        write=write,
        remove=tuple(file.file for file in before if file.file not in kept) if write else (),
        rows=len(board.rows),
        added=merged.added if published is not None else len(board.rows),
        replaced=merged.replaced,
        remarks=tuple(merged.remarks),
    )


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
        if _rows_of(published.scores, file.run).equals(_rows_of(scores, file.run))
    }


def _rows_of(scores: pa.Table, run: str) -> pa.Table:
    return in_order(scores.filter(pc.equal(scores.column("run"), run)))
