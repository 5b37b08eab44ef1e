"""What the page and the charts show, as plain records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isinf
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tofu_eval.analysis.compare_run import chosen_scores, compare_run
from tofu_eval.analysis.comparison import Comparison
from tofu_eval.analysis.direction import Effect, oriented_effect, won_share
from tofu_eval.analysis.frontier import Frontier
from tofu_eval.analysis.verdict import Finding, finding_of
from tofu_eval.core.tables import to_columns
from tofu_eval.report.chosen_prompts import chosen_prompts
from tofu_eval.report.formatting import mark_text
from tofu_eval.report.frontier_records import columns_of, frontier_records
from tofu_eval.report.headline import DIVERSITY, QUALITY, AnswerRow, answer_rows, headline
from tofu_eval.report.people_records import (
    line_fields,
    people_differences,
    people_notes,
    read_people,
)
from tofu_eval.report.responses import Survey, survey_responses
from tofu_eval.report.warning_text import warning_lines
from tofu_eval.run.store import Run

Record = dict[str, Any]

SCORES = 200_000
"""Values of single prompts that a page holds at most."""

PROMPTS = 10_000
"""Prompts whose beginnings a page holds at most."""


@dataclass(frozen=True)
class Beyond:
    """What several runs say together, for the page of one of them.

    Args:
        about: what they are, "3 seeds".
        findings: sentences.
        frontiers: shown in place of the run's own, with the models' means over the runs.
    """

    about: str
    findings: tuple[str, ...]
    frontiers: tuple[Frontier, ...] = ()


@dataclass(frozen=True)
class Contents:
    """All that a report says of a run.

    `datasets` are rows by name, one flat record each: "estimates" (a task, metric and model),
    "frontier" (a task, metric of quality, metric of diversity and model), "rarefaction" (a task,
    model and number of responses), "lengths" (a task, model and bin). `scores` is, by task and
    metric, a list a column of a value a prompt, in the order of `prompts`; None is undefined.
    `findings` are of more than this run, and so are the frontiers of the metrics in `shared`.
    """

    path: Path
    manifest: Mapping[str, Any]
    comparison: Comparison
    answer: str
    rows: tuple[AnswerRow, ...]
    notes: tuple[str, ...]
    survey: Survey
    datasets: Mapping[str, Sequence[Record]]
    prompts: Mapping[str, Sequence[Record]]
    scores: Mapping[str, Mapping[str, Sequence[Sequence[float | None]]]]
    signatures: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[str, ...] = ()
    about_findings: str = ""
    shared: tuple[str, ...] = ()
    people: Mapping[str, Mapping[str, Record]] = field(default_factory=dict)

    @property
    def columns(self) -> dict[str, tuple[str, ...]]:
        """The models of each column: one, or the seeds of a series; the baseline first."""
        return columns_of(self.comparison)

    @property
    def models(self) -> tuple[str, ...]:
        """The columns: what is compare_run, the baseline first."""
        return tuple(self.columns)

    @property
    def tasks(self) -> list[str]:
        """The tasks that are shown."""
        return list(dict.fromkeys(row.task for row in self.comparison.rows))

    @property
    def metrics(self) -> dict[str, Record]:
        """What is known of each metric that is shown."""
        return {
            row.metric: {
                "direction": row.direction,
                "measures": row.measures,
                "sees": self.manifest.get("metrics", {}).get(row.metric, {}).get("sees", "other"),
            }
            for row in self.comparison.rows
        }


def read(
    run: Run,
    *,
    baseline: str | None = None,
    tasks: Sequence[str] = (),
    metrics: Sequence[str] = (),
    responses: bool = True,
    prompts: Sequence[str] = (),
    beyond: Beyond | None = None,
    how: Mapping[str, Any] | None = None,
) -> Contents:
    """Everything a report shows, from the tables of a run.

    Args:
        run: a scored run.
        baseline: the model the others are compared with; by default the first.
        tasks, metrics: only these; by default all.
        responses: whether the texts are wanted too; without, `survey` is empty but for what
            the charts need.
        prompts: whose responses are shown, as `--prompts` names them; by default what fits.
        beyond: what is known from more than this run.
        how: `cluster`, `margins`, `responses` and `min_responses` of `compare_run`.
    Raises:
        UnknownNameError: the run has no such model, task or metric.
        ConfigError: `prompts` names none of the run's.
        StoreError: the run has no scores, or a file of it is damaged.
    """
    scores = chosen_scores(run, tasks=tasks, metrics=metrics)
    comparison = compare_run(run, scores, baseline, **(how or {}))
    shown = list(dict.fromkeys(row.task for row in comparison.rows))
    survey = survey_responses(
        run,
        columns_of(comparison),
        shown,
        texts=responses,
        prompts=chosen_prompts(run, shown, prompts) if prompts else None,
    )
    rows, by_prompt, note = _by_prompt(run, scores, comparison, shown)
    people = read_people(run, scores, comparison)
    return Contents(
        path=run.path,
        manifest=run.manifest,
        comparison=comparison,
        answer=headline(comparison),
        rows=tuple(answer_rows(comparison)),
        notes=(
            *warning_lines(comparison.warnings, comparison.baseline),
            *survey.notes,
            *note,
            *people_notes(people),
        ),
        survey=survey,
        datasets={
            "estimates": [
                {
                    **_estimate(finding_of(comparison, row, cell)),
                    **line_fields(people, row.task, row.metric),
                }
                for row in comparison.rows
                for cell in row.cells
            ],
            "frontier": [
                {**point, **line_fields(people, point["task"], point["metric"])}
                for point in frontier_records(
                    run, scores, comparison, beyond.frontiers if beyond else (), how or {}
                )
            ],
            "rarefaction": survey.rarefaction,
            "lengths": survey.lengths,
            "steps": _steps(run.manifest, comparison),
        },
        prompts=rows,
        scores=by_prompt,
        signatures={row.metric: row.signature for row in run.own_estimates()},
        findings=beyond.findings if beyond else (),
        about_findings=beyond.about if beyond else "",
        people=people_differences(people, rows, by_prompt),
        shared=tuple(f.diversity_metric for f in beyond.frontiers) if beyond else (),
    )


def _steps(manifest: Mapping[str, Any], comparison: Comparison) -> list[Record]:
    """What was measured at each step of a training that was watched."""
    identities = {name: told.get("identity", {}) for name, told in manifest["models"].items()}
    steps = {name: i["step"] for name, i in identities.items() if i.get("kind") == "training"}
    records = [
        {
            "task": row.task,
            "metric": row.metric,
            "model": cell.model,
            "step": steps[cell.model],
            "value": cell.mean.value,
            "low": cell.mean.low,
            "high": cell.mean.high,
            "prompts": cell.mean.n,
        }
        for row in comparison.rows
        for cell in row.cells
        if cell.model in steps and cell.mean.value is not None
    ]
    return sorted(records, key=lambda record: record["step"])


def _estimate(finding: Finding) -> Record:
    row, cell = finding.row, finding.cell
    versus = cell.difference
    effect = oriented_effect(row.direction, versus)
    return {
        "task": row.task,
        "metric": row.metric,
        "model": cell.model,
        "value": cell.mean.value,
        "low": cell.mean.low,
        "high": cell.mean.high,
        "n": cell.mean.n,
        "undefined": cell.undefined,
        "reasons": "; ".join(f"{count}: {reason}" for reason, count in cell.reasons.items()),
        "difference": versus and versus.value,
        "difference_low": versus and versus.low,
        "difference_high": versus and versus.high,
        "d_z": versus and versus.effect,
        **_effect_fields(effect),
        "won": versus and won_share(row.direction, versus),
        "p_adjusted": cell.p_adjusted,
        "pairs": versus and versus.n,
        "mark": mark_text(finding),
        "turn": _turn_word(finding),
    }


def _effect_fields(effect: Effect | None) -> Record:
    """A standardised difference; `beyond` is its side where it is infinite."""
    names = ("effect", "effect_low", "effect_high")
    if effect is None:
        return {**dict.fromkeys(names), "beyond": 0}
    if isinf(effect.value):
        return {**dict.fromkeys(names), "beyond": 1 if effect.value > 0 else -1}
    numbers = (effect.value, effect.low, effect.high)
    return {**dict(zip(names, numbers, strict=True)), "beyond": 0}


def _turn_word(finding: Finding) -> str:
    """What a clear difference means: narrower or wider, worse or better, higher or lower."""
    versus = finding.cell.difference
    if finding.is_compared and finding.voids:
        return DIVERSITY["withheld"]
    if finding.turn:
        words = QUALITY if finding.row.measures == "quality" else DIVERSITY
        return words["less" if finding.turn < 0 else "more"]
    if not finding.is_clear or versus is None or not versus.value:
        return ""
    return "higher" if versus.value > 0 else "lower"


def _by_prompt(
    run: Run, scores: pa.Table, comparison: Comparison, tasks: Sequence[str]
) -> tuple[dict[str, list[Record]], dict[str, dict[str, list[list[float | None]]]], list[str]]:
    """The prompts of each task, and every column's value on each, by metric."""
    kinds = {(row.task, row.metric) for row in comparison.rows}
    prompts = {task: [{"id": p.id, "text": p.text} for p in run.prompts(task)] for task in tasks}
    total = sum(len(prompts[task]) * len(comparison.models) for task, _ in kinds)
    notes = []
    step = max(-(-total // SCORES), -(-sum(map(len, prompts.values())) // PROMPTS))
    if step > 1:
        prompts = {task: rows[::step] for task, rows in prompts.items()}
        notes = [f"The plots of single prompts show one prompt in {step}; the numbers use all."]
    place = {t: {row["id"]: i for i, row in enumerate(rows)} for t, rows in prompts.items()}
    member = {
        model: (at, seed)
        for at, models in enumerate(columns_of(comparison).values())
        for seed, model in enumerate(models)
    }
    values: dict[tuple[str, str], NDArray[np.float64]] = {}
    widest = 1 + max(seed for _, seed in member.values())
    names = ("model", "task", "metric", "prompt_id", "value")
    for model, task, metric, prompt, value in zip(*to_columns(scores, names), strict=True):
        at = place[task].get(prompt)
        # Of the whole corpus, not in the sample, undefined, or of people, who have no column.
        if at is None or value is None or model not in member:
            continue
        shape = (len(comparison.models), widest, len(prompts[task]))
        column, seed = member[model]
        values.setdefault((task, metric), np.full(shape, np.nan))[column, seed, at] = value
    by_task: dict[str, dict[str, list[list[float | None]]]] = {task: {} for task in tasks}
    sizes = [len(models) for models in columns_of(comparison).values()]
    for (task, metric), table in values.items():
        # The mean over the seeds of a series, where all have a value, as `compare` takes it.
        means = [rows[:size].mean(axis=0) for rows, size in zip(table, sizes, strict=True)]
        by_task[task][metric] = [[None if np.isnan(v) else float(v) for v in row] for row in means]
    return prompts, by_task, notes
