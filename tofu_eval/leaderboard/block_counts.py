"""Scores at the one number of responses that a board ranks at.

Of a metric that moves with the number of responses, all models of a task are ranked at one N: the
smallest that every model reaches on nine tenths of its prompts. A prompt with fewer is left out; a
model that has fewer than two on as many takes no part. A run has such scores where its models have
different numbers of responses; a board has no responses to score again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa

from tofu_eval.analysis.equal_counts import LEAST, are_equal, block_count
from tofu_eval.core.tables import SCORE_SCHEMA


def scores_at_block_counts(
    scores: pa.Table,
    smaller: pa.Table | None,
    sensitive: Collection[str],
    *,
    fixed: int | None = None,
    least: int = LEAST,
) -> tuple[pa.Table, set[tuple[str, str, str]]]:
    """The scores of a run, those of metrics that move with it at the board's number of responses.

    Args:
        scores: a table of SCORE_SCHEMA.
        smaller: a table of EQUAL_SCHEMA: the scores at smaller numbers.
        sensitive: the metrics that move with the number of responses.
        fixed: the number, where the run was scored at one.
        least: the smallest number to rank at.
    Returns: the table; and the model, task and metric of what is not as it was.
    """
    if fixed is None and are_equal(scores, sensitive):  # as in most runs
        return scores, set()
    rows = scores.to_pylist()
    blocks: dict[tuple[str, str], dict[str, dict[str | None, int]]] = defaultdict(dict)
    for row in rows:
        if row["metric"] in sensitive and row["prompt_id"] is not None:
            own = blocks[row["task"], row["metric"]].setdefault(row["model"], {})
            own[row["prompt_id"]] = row["n"]
    wanted = {}
    for (task, metric), models in blocks.items():
        if len({n for own in models.values() for n in own.values()}) > 1 or fixed is not None:
            count = fixed or block_count(models)
            for model, own in models.items():
                if count is not None and _reaches(list(own.values()), count, least):
                    wanted[model, task, metric] = count
    if not wanted:
        return scores, set()
    values = _values_at(smaller, wanted)
    others = [row for row in rows if _is_other(row, wanted)]
    # What was not scored at that number, because nothing can, stays as it is, and apart.
    lacking = {
        _key(row) for row in others if row["n"] > wanted[_key(row)] and _cell(row) not in values
    }
    changed = set()
    for row in others:
        key = _key(row)
        if key in lacking:
            continue
        changed.add(key)
        if row["n"] > wanted[key]:
            row.update(value=values[_cell(row)], n=wanted[key])
        else:
            reason = f"fewer than {wanted[key]} responses, at which the board ranks"
            row.update(value=None, reason=reason)
    return pa.Table.from_pylist(rows, schema=SCORE_SCHEMA), changed


def _key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["model"], row["task"], row["metric"]


def _cell(row: Mapping[str, Any]) -> tuple[str | None, ...]:
    return (*_key(row), row["prompt_id"])


def _is_other(row: Mapping[str, Any], wanted: Mapping[tuple[str, str, str], int]) -> bool:
    """Whether a score is at another number than the wanted one."""
    count = wanted.get(_key(row))
    return count is not None and row["prompt_id"] is not None and row["n"] != count


def _reaches(counts: list[int], count: int, least: int) -> bool:
    """Whether nine tenths of the prompts have so many responses."""
    return count >= least and sum(n >= count for n in counts) * 10 >= 9 * len(counts)


def _values_at(
    smaller: pa.Table | None, wanted: Mapping[tuple[str, str, str], int]
) -> dict[tuple[str | None, ...], float | None]:
    """The scores at the wanted numbers, by model, task, metric and prompt."""
    values = {}
    for row in [] if smaller is None else smaller.to_pylist():
        if wanted.get(_key(row)) == row["n"]:
            values[_cell(row)] = row["value"]
    return values
