"""The scores of several models at one number of responses a prompt: the smallest of theirs.

What `compare` does for two models, for those that stand in one picture: a frontier, a split.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tofu_eval.analysis.equal_counts import LEAST, Counts, are_equal, counted
from tofu_eval.core.tables import SCORE_SCHEMA


@dataclass(frozen=True, slots=True)
class MadeEqual:
    """At how many responses a prompt the values of a metric on a task were made.

    `counts` is None where no prompt is left. `left_out` prompts have too few responses of some
    model, `missing` ones were never scored at the smaller number.
    """

    task: str
    metric: str
    counts: Counts | None
    left_out: int
    missing: int


def at_common_counts(
    scores: pa.Table,
    smaller: pa.Table | None,
    models: Collection[str],
    metrics: Mapping[str, Mapping[str, Any]],
    *,
    least: int = LEAST,
    fixed: int | None = None,
) -> tuple[pa.Table, tuple[MadeEqual, ...]]:
    """The scores of these models, of what moves with it at one number of responses a prompt.

    Args:
        scores: a table of SCORE_SCHEMA.
        smaller: a table of EQUAL_SCHEMA: the scores at smaller numbers of responses.
        models: those that are put beside one another; rows of others are left out.
        metrics: what is known of each metric, as run.json has it.
        least: responses below which a prompt is left out.
        fixed: the number for all prompts, in place of the smallest.
    Returns: the table, a value that cannot be made null with its reason; and a record for each task
        and metric whose numbers had to be made equal.
    """
    scores = scores.filter(pc.is_in(scores.column("model"), pa.array(list(models), pa.string())))
    sensitive = [name for name, facts in metrics.items() if facts.get("count_sensitive")]
    if fixed is None and are_equal(scores, sensitive, least):
        return scores, ()
    rows = scores.to_pylist()
    kinds: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in rows:
        moved = metrics.get(row["metric"], {}).get("count_sensitive")
        if moved and row["prompt_id"] is not None:
            by_prompt = kinds.setdefault((row["task"], row["metric"]), {})
            by_prompt.setdefault(row["prompt_id"], {})[row["model"]] = row
    known = counted(scores, smaller)
    made = []
    for (task, metric), prompts in kinds.items():
        used: list[int] = []
        left_out = missing = 0
        unequal = False
        for prompt, own in prompts.items():
            sizes = {model: row["n"] for model, row in own.items()}
            count = fixed or min(sizes.values())
            unequal = unequal or any(size != count for size in sizes.values())
            if min(sizes.values()) < max(count, least):
                left_out += 1
                _withhold(own, f"fewer than {max(count, least)} responses of one of the models")
                continue
            values = {model: known[model, task, metric].at(prompt, count) for model in own}
            if any(value is None for value in values.values()):
                missing += 1
                _withhold(own, f"never scored at {count} responses")
                continue
            used.append(count)
            for model, found in values.items():
                if found is not None and own[model]["n"] != count:
                    own[model].update(value=found[0], n=count)
        if unequal or left_out:
            made.append(MadeEqual(task, metric, Counts.of(used), left_out, missing))
    return pa.Table.from_pylist(rows, schema=SCORE_SCHEMA), tuple(made)


def _withhold(rows: Mapping[str, dict[str, Any]], reason: str) -> None:
    for row in rows.values():
        if row["value"] is not None:
            row.update(value=None, reason=reason)
