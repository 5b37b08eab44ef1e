"""Where answers of people stand, as the records that charts draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from tofu_eval.analysis.comparison import Comparison
from tofu_eval.analysis.intervals import mean_interval
from tofu_eval.analysis.people import PeopleLine, people_lines, people_of
from tofu_eval.run.store import Run

Record = dict[str, Any]


def read_people(
    run: Run, scores: pa.Table, comparison: Comparison
) -> dict[tuple[str, str], PeopleLine]:
    """Where people stand; nothing where they are compared like a model."""
    if set(people_of(run.manifest)).intersection(comparison.models):
        return {}
    return people_lines(
        scores,
        run.manifest,
        smaller=run.equal_scores(),
        responses=run.manifest["settings"].get("responses"),
    )


def people_notes(people: Mapping[tuple[str, str], PeopleLine]) -> list[str]:
    """On how many prompts the line of people stands, and why there is none for some metrics."""
    said, lacking = dict[str, None](), dict[tuple[str, str], list[str]]()
    for line in people.values():
        if line.value is None:
            lacking.setdefault((line.task, line.reason), []).append(line.metric)
        else:
            said[f"The line of people stands on {line.prompts} prompts of {line.task}."] = None
    return [
        *said,
        *(
            f"No line of people on {task} for {', '.join(metrics)}: {reason}."
            for (task, reason), metrics in lacking.items()
        ),
    ]


def line_fields(people: Mapping[tuple[str, str], PeopleLine], task: str, metric: str) -> Record:
    """The fields of a record that the line of people is drawn from."""
    if not people:
        return {}
    line = people.get((task, metric))
    value, low, high = (line.value, line.low, line.high) if line else (None, None, None)
    return {"human": value, "human_low": low, "human_high": high}


def people_differences(
    people: Mapping[tuple[str, str], PeopleLine],
    prompts: Mapping[str, Sequence[Record]],
    scores: Mapping[str, Mapping[str, Sequence[Sequence[float | None]]]],
) -> dict[str, dict[str, Record]]:
    """The mean difference of people to the baseline, on the prompts that both have."""
    found: dict[str, dict[str, Record]] = {}
    for (task, metric), line in people.items():
        base = scores.get(task, {}).get(metric)
        if base is None or line.value is None:
            continue
        pairs = zip((row["id"] for row in prompts[task]), base[0], strict=True)
        mean = mean_interval(
            [
                line.by_prompt[id] - value
                for id, value in pairs
                if value is not None and id in line.by_prompt
            ]
        )
        if mean.value is not None:
            found.setdefault(task, {})[metric] = {
                "human": mean.value,
                "human_low": mean.low,
                "human_high": mean.high,
            }
    return found
