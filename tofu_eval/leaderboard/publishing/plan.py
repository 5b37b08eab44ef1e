"""What publishing would change, whatever the place: the same for a dry run and the real one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tofu_eval.core.errors import DataError
from tofu_eval.leaderboard.board import Source, parse_leaderboard, text_of
from tofu_eval.leaderboard.merge import merge
from tofu_eval.leaderboard.prompt_scores import pack, parse_scores

BOARD = "leaderboard.json"
"""What the board is called wherever it is published."""

Read = Callable[[str], bytes | None]
"""The content of a file of the place, None where there is none."""


@dataclass(frozen=True)
class Plan:
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


def plan(place: str, read: Read, source: Source) -> Plan:
    """What a board adds to the one that is published at a place.

    Args:
        place: what messages call it.
        read: gives the files that are there.
        source: the board to publish.

    Raises:
        DataError: what is there is no valid board, or the two contradict each other.
    """
    there = read(BOARD)
    sources = [source] if there is None else [_published(place, there, read), source]
    merged = merge(sources)
    board: dict[str, Any] = merged.board
    write: dict[str, bytes] = {}
    if merged.scores is not None:
        board["scores"], content = pack(merged.scores, BOARD.removesuffix(".json"))
        write[board["scores"]["file"]] = content
    made, write[BOARD] = text_of(board, f"The board for {place}")
    old = None if there is None else sources[0].board
    if old is not None and old["hash"] == made["hash"] and write[BOARD] == there:
        write = {}
    before = (old or {}).get("scores")
    gone = before is not None and bool(write) and before["file"] not in write
    return Plan(
        place=place,
        write=write,
        remove=(before["file"],) if before is not None and gone else (),
        rows=len(made["rows"]),
        added=merged.added if there is not None else len(made["rows"]),
        replaced=merged.replaced,
        remarks=tuple(merged.remarks),
    )


def _published(place: str, content: bytes, read: Read) -> Source:
    board = parse_leaderboard(content, f"{place}/{BOARD}")
    if board["scores"] is None:
        return Source(place, board)
    file = board["scores"]["file"]
    rows = read(file)
    if rows is None:
        raise DataError(
            f"{place} has a board and not its per-prompt rows {file}. Put that file back, or "
            "publish to another place."
        )
    return Source(place, board, parse_scores(board, rows, f"{place}/{file}"))
