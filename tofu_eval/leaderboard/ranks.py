"""The ranks of a board's rows: those of one task, metric and signature are ranked together.

The test, and what a rank is, are `analysis`'s: the same that `compare` says.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from tofu_eval.analysis import rank_models
from tofu_eval.core.errors import DataError
from tofu_eval.leaderboard.prompt_scores import PLACE, Place, of_prompts, place_of


def ranked(
    rows: Iterable[Mapping[str, Any]], directions: Mapping[str, str], scores: pa.Table
) -> list[dict[str, Any]]:
    """The rows of a board with their ranks; null where a direction or the scores are missing.

    Args:
        rows: of a board.
        directions: "higher", "lower" or "none" is better, by metric id.
        scores: per-prompt values, a table of BOARD_SCORE_SCHEMA.

    Raises:
        DataError: the scores hold two values for one prompt.
    """
    made = [{**row, "rank": None, "better_than": None, "worse_than": None} for row in rows]
    values = by_place(of_prompts(scores))
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in made:
        if row["value"] is not None and directions[row["metric"]] != "none":
            groups[row["task"], row["metric"], row["signature"]].append(row)
    for key, members in groups.items():
        if all(place_of(row) in values for row in members):
            _rank(members, values, directions[key[1]] == "higher", key[0])
    return made


def by_place(scores: pa.Table) -> dict[Place, dict[str | None, float | None]]:
    """Value by prompt id for each place of a table of BOARD_SCORE_SCHEMA.

    Raises:
        DataError: two values for one prompt.
    """
    lists = scores.group_by(list(PLACE)).aggregate([("prompt_id", "list"), ("value", "list")])
    found: dict[Place, dict[str | None, float | None]] = {}
    for row in lists.to_pylist():
        column = dict(zip(row["prompt_id_list"], row["value_list"], strict=True))
        if len(column) < len(row["value_list"]):
            raise DataError(
                f"The per-prompt rows hold two values of '{row['metric']}' for one prompt of "
                f"'{row['task']}', model '{row['model']}', expected one. Build the board again: "
                "tofu-eval leaderboard build RUN --scores --output FILE"
            )
        found[place_of(row)] = column
    return found


def _rank(
    rows: Sequence[dict[str, Any]],
    values: Mapping[Place, Mapping[str | None, float | None]],
    higher: bool,
    task: str,
) -> None:
    """Write the ranks of one group into its rows."""
    columns = {str(i): values[place_of(row)] for i, row in enumerate(rows)}
    for i, rank in rank_models(columns, higher=higher, task=task).items():
        rows[int(i)].update(
            rank=rank.rank, better_than=rank.better_than, worse_than=rank.worse_than
        )
