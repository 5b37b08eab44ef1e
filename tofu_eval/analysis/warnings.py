"""What may be all that a difference shows: lengths, and numbers of responses, that differ."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pyarrow as pa

from tofu_eval.analysis.compare import Comparison

LENGTH_RATIO = 1.25
"""Mean lengths that are further apart than this are warned of."""


FEW = 20
"""Prompts, below which a 95% interval holds clearly less; measured in docs/statistics.md."""


def few_prompts(comparison: Comparison) -> list[str]:
    """One line where an interval stands on few prompts."""
    if not any(1 < cell.mean.n < FEW for row in comparison.rows for cell in row.cells):
        return []
    return [
        f"Intervals over fewer than {FEW} prompts are too narrow where scores are skewed or tied: "
        "do not lean on *."
    ]


def length_warnings(
    comparison: Comparison,
    lengths: Mapping[tuple[str, str], float],
    sensitive: Collection[str],
) -> list[str]:
    """One line for each model and task whose length may be all that a difference shows.

    Args:
        comparison: what is shown.
        lengths: mean length of the responses by model and task, in characters.
        sensitive: the metrics that length moves.
    """
    moved: dict[tuple[str, str], list[str]] = {}
    for row in comparison.rows:
        for cell in row.cells:
            if row.metric in sensitive and cell.difference and cell.difference.n:
                moved.setdefault((cell.model, row.task), []).append(row.metric)
    lines = []
    for (model, task), metrics in moved.items():
        own, other = lengths.get((model, task)), lengths.get((comparison.baseline, task))
        if not own or not other or max(own, other) <= LENGTH_RATIO * min(own, other):
            continue
        lines.append(
            f"On {task} the responses of {model} have {own:.0f} characters on average, those of "
            f"{comparison.baseline} {other:.0f}: differences in {', '.join(metrics)} may be only "
            "that. Compare equal lengths: score again with --truncate WORDS"
        )
    return lines


def sample_warnings(comparison: Comparison, scores: pa.Table, biased: Collection[str]) -> list[str]:
    """One line for each model and task that has other numbers of responses than the baseline.

    Args:
        comparison: what is shown.
        scores: the table it was made of.
        biased: the metrics whose expected value depends on how many responses a prompt has.
    """
    sizes = _responses(comparison, scores)
    lines = []
    for (model, task), own in sizes.items():
        other = sizes.get((comparison.baseline, task))
        metrics = [r.metric for r in comparison.rows if r.task == task and r.metric in biased]
        if other and own != other and metrics:
            lines.append(
                f"On {task} {model} has {own:.3g} responses a prompt, {comparison.baseline} "
                f"{other:.3g}, which moves {', '.join(metrics)}. Compare equal numbers"
            )
    return lines


def _responses(comparison: Comparison, scores: pa.Table) -> dict[tuple[str, str], float]:
    """Mean responses a prompt by column and task, of the first metric of each that has prompts."""
    of = {member: name for name, some in comparison.seeds.items() for member in some}
    found: dict[tuple[str, str], tuple[str, list[int]]] = {}
    names = ("model", "task", "metric", "prompt_id", "n")
    columns = [scores.column(name).to_pylist() for name in names]
    corpus = {metric for _, _, metric, id, _ in zip(*columns, strict=True) if id is None}
    for model, task, metric, _, n in zip(*columns, strict=True):
        if metric in corpus:
            continue
        first, sizes = found.setdefault((of.get(model, model), task), (metric, []))
        if metric == first:
            sizes.append(n)
    return {place: sum(sizes) / len(sizes) for place, (_, sizes) in found.items()}
