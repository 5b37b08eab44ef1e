"""Does a loss beat sampling the cross-entropy model hotter? The lab's frontier over its seeds.

Each seed has a run of its own, since what its fine-tuning showed differs. Their topics are the
same, so the scores are put together as one task whose models have a seed, a series and a
temperature, as any run with a sweep of temperatures has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from tofu_eval.analysis.frontier import Frontier, frontier
from tofu_eval.core.tables import SCORE_SCHEMA
from tofu_eval.report.frontier_sentences import at_equal_quality, frontier_sentences
from tofu_eval.run.store import Run

TASK = "lab"
QUALITY = "lab_validity"
DIVERSITIES = ("lab_distinct_valid", "lab_unseen")

PLAIN = {
    QUALITY: "validity",
    "lab_distinct_valid": "distinct valid",
    "lab_unseen": "unseen words",
}
"""What the metrics are called in the quickstart's tables."""


def lab_frontiers(sweeps: Mapping[int, Path], series: Sequence[str]) -> tuple[Frontier, ...]:
    """The frontier of these models over all seeds, for each measure of diversity.

    Args:
        sweeps: the run of each seed's sweep of temperatures.
        series: the models; `sft` is what the others are put beside.
    """
    scores, manifest = combine_seeds(sweeps)
    return tuple(
        frontier(
            scores,
            manifest,
            task=TASK,
            quality=QUALITY,
            diversity=diversity,
            series=series,
            baseline="sft",
        )
        for diversity in DIVERSITIES
    )


def combine_seeds(sweeps: Mapping[int, Path]) -> tuple[pa.Table, dict[str, Any]]:
    """The scores of several seeds as those of one task, and what run.json would say of them."""
    tables, models, task, metrics = [], {}, {}, {}
    for seed, path in sweeps.items():
        run = Run.open(path)
        scores = run.scores()
        names = {name: f"{name}-seed-{seed}" for name in run.manifest["models"]}
        columns = {
            **{name: scores.column(name) for name in SCORE_SCHEMA.names},
            "model": [names[name] for name in scores.column("model").to_pylist()],
            "task": [TASK] * len(scores),
        }
        tables.append(pa.table(columns, schema=SCORE_SCHEMA))
        for name, described in run.manifest["models"].items():
            models[names[name]] = {**described, "seed": seed}
        (task,) = run.manifest["tasks"].values()
        metrics = run.manifest["metrics"]
    manifest = {"models": models, "tasks": {TASK: task}, "metrics": metrics}
    return pa.concat_tables(tables), manifest


def hotter_sentences(frontiers: Sequence[Frontier]) -> list[str]:
    """What the frontiers say, with the names of the quickstart's tables.

    Of each two models, whether one is better over all that both reach, and where the first at
    temperature 1 stands beside the second at the temperature that makes it as often right.
    """
    said = []
    for drawn in frontiers:
        for contest, sentence in zip(drawn.contests, frontier_sentences(drawn), strict=True):
            said.append(sentence)
            said += [
                f"{at_equal_quality(drawn, contest, at)}."
                for at in contest.at
                if at.temperature == 1 and at.difference.value is not None
            ]
    return [_say_plainly(sentence) for sentence in said]


def _say_plainly(sentence: str) -> str:
    for metric, words in PLAIN.items():
        sentence = sentence.replace(metric, words)
    return sentence
