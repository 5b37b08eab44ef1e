"""Answers of people as a line to look at: where they stand on a metric, beside the models.

People are no candidate: no verdict and no rank is about them. Their line is drawn where it means
the same as the models' numbers: a metric that moves with the number of responses needs as many of
theirs as of the models'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tofu_eval.analysis.equal_counts import Counted, counted
from tofu_eval.analysis.intervals import mean_interval


@dataclass(frozen=True, slots=True)
class PeopleLine:
    """The mean of a metric over the prompts that people answered, with its 95% interval.

    `prompts` is how many these are, `by_prompt` their values. Where there is no line, `value` is
    None and `reason` says why.
    """

    task: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    prompts: int
    reason: str = ""
    by_prompt: Mapping[str, float] = field(default_factory=dict)


def people_of(manifest: Mapping[str, Any]) -> list[str]:
    """The models of a run that are people."""
    return [name for name, model in manifest["models"].items() if model.get("people")]


def without_people(table: pa.Table, manifest: Mapping[str, Any]) -> pa.Table:
    """The rows of a table that are not about people."""
    if not (people := people_of(manifest)):
        return table
    return table.filter(pc.invert(pc.is_in(table.column("model"), pa.array(people, pa.string()))))


def people_lines(
    scores: pa.Table,
    manifest: Mapping[str, Any],
    *,
    smaller: pa.Table | None = None,
    responses: int | None = None,
) -> dict[tuple[str, str], PeopleLine]:
    """The line of each task and metric for which people have scores.

    Args:
        scores: a table of SCORE_SCHEMA, of people and models.
        manifest: run.json.
        smaller: a table of EQUAL_SCHEMA.
        responses: at how many responses a prompt the models stand; None is at all that they have.
    """
    people = set(people_of(manifest))
    if not people:
        return {}
    cells = counted(scores, smaller)
    lines = {}
    for (model, task, metric), cell in cells.items():
        if model not in people:
            continue
        facts = manifest.get("metrics", {}).get(metric, {})
        others = [
            other
            for (name, on, what), other in cells.items()
            if name not in people and (on, what) == (task, metric)
        ]
        lines[task, metric] = _line(task, metric, cell, others, facts, responses)
    return lines


def _line(
    task: str,
    metric: str,
    cell: Counted,
    others: list[Counted],
    facts: Mapping[str, Any],
    responses: int | None,
) -> PeopleLine:
    sensitive = bool(facts.get("count_sensitive"))
    values: dict[str, float] = {}
    few: set[int] = set()
    wanted: set[int] = set()
    for prompt, value in cell.values.items():
        if prompt is None or str(prompt).startswith("block "):
            continue
        have = cell.counts[prompt]
        own = {other.counts[prompt] for other in others if prompt in other.counts}
        sizes = {responses} if responses else own
        at: float | None = None
        if not sensitive or sizes <= {have}:
            at = value
        elif len(sizes) == 1:
            (size,) = sizes
            at, _ = cell.smaller.get(prompt, {}).get(size, (None, 0.0))
        if at is not None:
            values[prompt] = at
        elif value is not None:
            few.add(have)
            wanted |= sizes
    found = mean_interval([*values.values()])
    if found.value is None:
        reason = "people have no value of it"
        if few:
            reason = (
                f"people gave {_range(few)} responses a prompt, the models {_range(wanted)}, and "
                f"the metric moves with their number; at equal numbers: --responses {min(few)}"
            )
        return PeopleLine(task, metric, None, None, None, 0, reason)
    return PeopleLine(task, metric, found.value, found.low, found.high, found.n, "", values)


def _range(counts: set[int]) -> str:
    low, high = min(counts, default=0), max(counts, default=0)
    return str(low) if low == high else f"{low} to {high}"
