"""What a reader of a comparison must know, and what forbids a verdict: gathered here once.

Each is a record of numbers; the words are the report's, and every output shows all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from tofu_eval.analysis.comparison import ALPHA, Comparison, Unread
from tofu_eval.analysis.sign_flips import least_p_value
from tofu_eval.core.tables import to_columns
from tofu_eval.run.responses import ResponseFacts, response_facts
from tofu_eval.run.store import Run

Kind = Literal[
    "no_common_prompts",
    "too_few_prompts",
    "unequal_responses",
    "too_few_responses",
    "lengths",
    "unread_texts",
    "missing_responses",
    "few_prompts",
    "unfinished_responses",
    "left_out_prompts",
    "clusters",
    "unfinished_run",
    "note",
]

FEW = 20
"""Prompts, below which a 95% interval holds clearly less; measured in docs/statistics.md."""

MISSING_SHARE = 0.5
"""Where more of a model's responses are empty, filtered or failed, the others say little of it."""

UNREAD_SHARE = 0.05
"""Where the encoder lacks the words of more of a model's texts, its vectors decide nothing."""

NOTED_SHARE = 0.01
"""Smaller shares of missing or unfinished responses are not spoken of."""


@dataclass(frozen=True, slots=True)
class ValidityWarning:
    """One thing to know about some numbers of a comparison.

    `task` None and no `models` or `metrics` mean all of them. With `voids` there is no verdict on
    those metrics of those models. `numbers` are what the words are made of, by kind.
    """

    kind: Kind
    voids: bool = False
    task: str | None = None
    models: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    numbers: Mapping[str, float | str] = field(default_factory=dict)

    def concerns(self, model: str, task: str) -> bool:
        """Whether it is about this model's numbers on this task."""
        return self.task in (None, task) and (not self.models or model in self.models)

    def is_about(self, metric: str) -> bool:
        """Whether it is about this metric."""
        return not self.metrics or metric in self.metrics


def warnings_of(
    run: Run,
    comparison: Comparison,
    facts: Mapping[tuple[str, str], ResponseFacts] | None = None,
) -> tuple[ValidityWarning, ...]:
    """All that a reader of the comparison of a run must know, what voids a verdict first.

    Args:
        run: what was compared.
        comparison: of its models, with the warnings that its scores tell.
        facts: what the responses are by model and task, where they were read already.
    Raises:
        StoreError: a file of the run is damaged.
    """
    columns = _response_facts(run, comparison, facts)
    found = [
        *_unfinished_run(run),
        *comparison.warnings,
        *_state_warnings(comparison, columns),
        *(ValidityWarning("note", numbers={"text": note}) for note in run.manifest["notes"]),
    ]
    return tuple(sorted(found, key=lambda warning: not warning.voids))


def scores_warnings(
    comparison: Comparison,
    scores: pa.Table,
    unread: Mapping[tuple[str, str], Unread] | None = None,
) -> tuple[ValidityWarning, ...]:
    """Those that need no run: what the scores themselves tell, what voids a verdict first.

    Args:
        comparison: made of the scores.
        scores: a table of SCORE_SCHEMA.
        unread: by model and task, the texts that the embedding model has no words for.
    """
    found = [
        *_common_prompt_warnings(comparison, scores),
        *_prompt_count_warnings(comparison),
        *_unequal_responses(comparison),
        *_length_warnings(comparison),
        *_unread_warnings(comparison, unread or {}),
        *_left_out_prompts(comparison),
        *_cluster_warnings(comparison),
    ]
    return tuple(sorted(found, key=lambda warning: not warning.voids))


def _unfinished_run(run: Run) -> Iterator[ValidityWarning]:
    if run.manifest["status"] != "complete":
        yield ValidityWarning("unfinished_run", numbers={"path": str(run.path)})


def _common_prompt_warnings(comparison: Comparison, scores: pa.Table) -> Iterator[ValidityWarning]:
    """Models that answer other prompts than the baseline: nothing can be compared."""
    columns = _column_of(comparison)
    prompts: dict[tuple[str, str], set[str]] = {}
    for model, task, prompt in _answered_prompts(scores):
        prompts.setdefault((columns.get(model, model), task), set()).add(prompt)
    for (model, task), answered in prompts.items():
        base = prompts.get((comparison.baseline, task))
        if base and model != comparison.baseline and not answered & base:
            yield ValidityWarning(
                "no_common_prompts",
                voids=True,
                task=task,
                models=(model,),
                numbers={"prompts": len(answered), "baseline_prompts": len(base)},
            )


def _prompt_count_warnings(comparison: Comparison) -> Iterator[ValidityWarning]:
    """Where no result could be clear, and where intervals are not to be leaned on."""
    too_few: dict[tuple[str, str, int], list[str]] = {}
    few: dict[str, int] = {}
    for row in comparison.rows:
        for cell in row.cells:
            paired = cell.difference.units if cell.difference else 0
            if paired and cell.least_p >= ALPHA:
                too_few.setdefault((row.task, cell.model, paired), []).append(row.metric)
            elif 1 < (count := paired or cell.mean.n) < FEW:
                few[row.task] = min(count, few.get(row.task, FEW))
    for (task, model, prompts), metrics in too_few.items():
        yield ValidityWarning(
            "too_few_prompts",
            voids=True,
            task=task,
            models=(model,),
            metrics=tuple(metrics),
            numbers={"prompts": prompts, "least_p": least_p_value(prompts)},
        )
    for task, prompts in few.items():
        if any(place[0] == task for place in too_few):
            continue
        yield ValidityWarning("few_prompts", task=task, numbers={"prompts": prompts, "enough": FEW})


def _left_out_prompts(comparison: Comparison) -> Iterator[ValidityWarning]:
    """Differences that stand on a part of the prompts only: the others lack a value of one side."""
    metrics: dict[tuple[str, str, int, int], list[str]] = {}
    for row in comparison.rows:
        for cell in row.cells:
            if cell.difference and cell.difference.n and cell.difference.dropped:
                kept, dropped = cell.difference.n, cell.difference.dropped
                metrics.setdefault((row.task, cell.model, kept, dropped), []).append(row.metric)
    for (task, model, kept, dropped), names in metrics.items():
        yield ValidityWarning(
            "left_out_prompts",
            task=task,
            models=(model,),
            metrics=tuple(names),
            numbers={"kept": kept, "total": kept + dropped},
        )


def _unequal_responses(comparison: Comparison) -> Iterator[ValidityWarning]:
    """Models whose biased metrics could not be compared at equal numbers of responses."""
    yield from _withheld_warnings(comparison, "counts", "unequal_responses", "responses")
    yield from _withheld_warnings(comparison, "prompts", "too_few_responses", "responses")


def _cluster_warnings(comparison: Comparison) -> Iterator[ValidityWarning]:
    """Prompts of few categories, over which intervals are much wider."""
    for wide in comparison.widened:
        yield ValidityWarning(
            "clusters",
            task=wide.task,
            models=(wide.model,),
            metrics=(wide.metric,),
            numbers={"field": wide.field, "ratio": wide.ratio, "clusters": wide.clusters},
        )


def _length_warnings(comparison: Comparison) -> Iterator[ValidityWarning]:
    """Models whose responses have another length, which may be all that a difference shows."""
    yield from _withheld_warnings(comparison, "lengths", "lengths", "characters")


def _unread_warnings(
    comparison: Comparison, unread: Mapping[tuple[str, str], Unread]
) -> Iterator[ValidityWarning]:
    """Texts in words that the embedding model does not know, of a model or of the baseline."""
    shares: dict[tuple[str, str], float] = {}
    standing: dict[str, set[str]] = {}
    for (model, task), own in unread.items():
        place = (_column_of(comparison).get(model, model), task)
        share = own.texts / own.total if own.total else 0.0
        shares[place] = max(share, shares.get(place, 0.0))
        standing.setdefault(task, set()).update(own.metrics)
    for (model, task), share in shares.items():
        base = shares.get((comparison.baseline, task), 0.0)
        if model == comparison.baseline and len(comparison.models) > 1:
            continue
        metrics = [
            row.metric
            for row in comparison.rows
            if row.task == task and row.metric in standing[task]
        ]
        if metrics and model in comparison.models and max(share, base) > 0:
            yield ValidityWarning(
                "unread_texts",
                voids=max(share, base) > UNREAD_SHARE,
                task=task,
                models=(model,),
                metrics=tuple(metrics),
                numbers={"share": share, "baseline_share": base},
            )


def _withheld_warnings(
    comparison: Comparison, reason: str, kind: Kind, counted: str
) -> Iterator[ValidityWarning]:
    """One for each model and task of what the comparison withholds for a reason."""
    metrics: dict[tuple[str, str], list[str]] = {}
    numbers: dict[tuple[str, str], dict[str, float | str]] = {}
    for row in comparison.rows:
        for cell in row.cells:
            for why in cell.withheld:
                if why.kind == reason:
                    metrics.setdefault((row.task, cell.model), []).append(row.metric)
                    numbers[row.task, cell.model] = {
                        counted: why.ours,
                        f"baseline_{counted}": why.theirs,
                    }
    for (task, model), names in metrics.items():
        yield ValidityWarning(
            kind,
            voids=True,
            task=task,
            models=(model,),
            metrics=tuple(names),
            numbers=numbers[task, model],
        )


def _response_facts(
    run: Run,
    comparison: Comparison,
    known: Mapping[tuple[str, str], ResponseFacts] | None,
) -> dict[tuple[str, str], ResponseFacts]:
    """What the responses of each column to each task are, those of the seeds of a series added."""
    facts = {}
    for task in dict.fromkeys(row.task for row in comparison.rows):
        for column in comparison.models:
            members = comparison.seeds.get(column, (column,))
            own = (
                response_facts(run, model, task)
                if known is None
                else known.get((model, task), ResponseFacts())
                for model in members
            )
            whole = sum(own, ResponseFacts())
            if whole.count:
                facts[column, task] = whole
    return facts


def _state_warnings(
    comparison: Comparison, facts: Mapping[tuple[str, str], ResponseFacts]
) -> Iterator[ValidityWarning]:
    """Responses that are not there, or not whole, of one side or both."""
    for (model, task), own in facts.items():
        base = facts.get((comparison.baseline, task))
        if base is None or (model == comparison.baseline and len(comparison.models) > 1):
            continue
        missing = (own.missing_share, base.missing_share)
        if max(missing) > NOTED_SHARE:
            yield ValidityWarning(
                "missing_responses",
                voids=max(missing) > MISSING_SHARE,
                task=task,
                models=(model,),
                numbers={"share": missing[0], "baseline_share": missing[1]},
            )
        unfinished = (own.unfinished_share, base.unfinished_share)
        if max(unfinished) > NOTED_SHARE:
            yield ValidityWarning(
                "unfinished_responses",
                task=task,
                models=(model,),
                numbers={"share": unfinished[0], "baseline_share": unfinished[1]},
            )


def _column_of(comparison: Comparison) -> dict[str, str]:
    """The column of each model that is a seed of a series."""
    return {member: name for name, some in comparison.seeds.items() for member in some}


def _answered_prompts(scores: pa.Table) -> Iterator[tuple[str, str, str]]:
    """Every model, task and prompt that has scores, once."""
    names = ["model", "task", "prompt_id"]
    rows = scores.select(names).drop_null().group_by(names).aggregate([])
    yield from zip(*to_columns(rows, names), strict=True)
