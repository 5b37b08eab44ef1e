"""What the page and the charts show, as plain records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tofu_eval.analysis.compare_run import chosen_scores, compare_run, how_of
from tofu_eval.analysis.comparison import Comparison, Row
from tofu_eval.analysis.direction import has_direction, sign_of_direction, won_share
from tofu_eval.analysis.frontier import Frontier, Point, frontier_points
from tofu_eval.analysis.intervals import mean_interval
from tofu_eval.analysis.people import PeopleLine, people_lines, people_of
from tofu_eval.analysis.verdict import Finding, finding_of
from tofu_eval.core.errors import DataError
from tofu_eval.report.formatting import mark_text
from tofu_eval.report.headline import DIVERSITY, QUALITY, AnswerRow, answer_rows, headline
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
        return _columns(self.comparison)

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
        """Direction and kind of each metric that is shown."""
        return {
            row.metric: {"direction": row.direction, "measures": row.measures}
            for row in self.comparison.rows
        }


def read(
    run: Run,
    *,
    baseline: str | None = None,
    tasks: Sequence[str] = (),
    metrics: Sequence[str] = (),
    responses: bool = True,
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
        beyond: what is known from more than this run.
        how: `cluster`, `margins`, `responses` and `min_responses` of `compare_run`.
    Raises:
        UnknownNameError: the run has no such model, task or metric.
        StoreError: the run has no scores, or a file of it is damaged.
    """
    scores = chosen_scores(run, tasks=tasks, metrics=metrics)
    comparison = compare_run(run, scores, baseline, **(how or {}))
    shown = list(dict.fromkeys(row.task for row in comparison.rows))
    survey = survey_responses(run, _columns(comparison), shown, texts=responses)
    prompts, by_prompt, note = _by_prompt(run, scores, comparison, shown)
    people = _people(run, scores, comparison)
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
            *_people_notes(people),
        ),
        survey=survey,
        datasets={
            "estimates": [
                {**_estimate(finding_of(comparison, row, cell)), **_line_of(people, row)}
                for row in comparison.rows
                for cell in row.cells
            ],
            "frontier": [
                {**point, **_line_at(people, point["task"], point["metric"])}
                for point in _frontier(run, scores, comparison, beyond, how or {})
            ],
            "rarefaction": survey.rarefaction,
            "lengths": survey.lengths,
            "steps": _steps(run.manifest, comparison),
        },
        prompts=prompts,
        scores=by_prompt,
        signatures={row.metric: row.signature for row in run.estimates()},
        findings=beyond.findings if beyond else (),
        about_findings=beyond.about if beyond else "",
        people=_people_differences(people, prompts, by_prompt),
        shared=tuple(f.diversity_metric for f in beyond.frontiers) if beyond else (),
    )


def _people(
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


def _people_notes(people: Mapping[tuple[str, str], PeopleLine]) -> list[str]:
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


def _line_of(people: Mapping[tuple[str, str], PeopleLine], row: Row) -> Record:
    return _line_at(people, row.task, row.metric)


def _line_at(people: Mapping[tuple[str, str], PeopleLine], task: str, metric: str) -> Record:
    """The fields of a record that the line of people is drawn from."""
    if not people:
        return {}
    line = people.get((task, metric))
    value, low, high = (line.value, line.low, line.high) if line else (None, None, None)
    return {"human": value, "human_low": low, "human_high": high}


def _people_differences(
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
        }
        for row in comparison.rows
        for cell in row.cells
        if cell.model in steps and cell.mean.value is not None
    ]
    return sorted(records, key=lambda record: record["step"])


def _columns(comparison: Comparison) -> dict[str, tuple[str, ...]]:
    """The models of each column of a comparison, the baseline's first."""
    names = sorted(comparison.models, key=lambda name: name != comparison.baseline)
    return {name: comparison.seeds.get(name, (name,)) for name in names}


def _estimate(finding: Finding) -> Record:
    row, cell = finding.row, finding.cell
    versus = cell.difference
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
        "won": versus and won_share(row.direction, versus),
        "p_adjusted": cell.p_adjusted,
        "pairs": versus and versus.n,
        "mark": mark_text(finding),
        "turn": _turn_word(finding),
    }


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


def _frontier(
    run: Run,
    scores: pa.Table,
    comparison: Comparison,
    beyond: Beyond | None,
    how: Mapping[str, Any],
) -> Iterable[Record]:
    """Each model's quality beside its diversity; `best` where no model is ahead in both."""
    wider = {
        (f.quality_metric, f.diversity_metric): f for f in (beyond.frontiers if beyond else ())
    }
    facts = run.manifest.get("metrics", {})
    by_task: dict[str, list[Row]] = {}
    for row in comparison.rows:
        if has_direction(row.direction) and facts[row.metric].get("level") != "corpus":
            by_task.setdefault(row.task, []).append(row)
    for rows in by_task.values():
        for quality in (row for row in rows if row.measures == "quality"):
            for diversity in (row for row in rows if row.measures == "diversity"):
                if found := wider.get((quality.metric, diversity.metric)):
                    yield from map(
                        _record, found.curves, repeat((quality, diversity)), repeat(None)
                    )
                else:
                    yield from _points(run, scores, comparison, (quality, diversity), how)


def _points(
    run: Run,
    scores: pa.Table,
    comparison: Comparison,
    pair: tuple[Row, Row],
    how: Mapping[str, Any],
) -> Iterable[Record]:
    quality, diversity = pair
    column = {model: name for name, models in _columns(comparison).items() for model in models}
    try:
        points = frontier_points(
            scores,
            run.manifest,
            task=quality.task,
            quality=quality.metric,
            diversity=diversity.metric,
            seed=run.manifest["settings"]["seed"],
            smaller=run.equal_scores(),
            how=how_of(run, [quality.task], **how),
        )
    except DataError:  # no prompt has both of every model: the page says that nothing is there
        return
    for point in points:
        yield _record(point, pair, column[point.model])


def _record(point: Point, pair: tuple[Row, Row], model: str | None) -> Record:
    """A point of a chart; without a column of its own it stands under its method."""
    quality, diversity = pair
    x, y = (
        _as_measured(point, name, sign_of_direction(row.direction))
        for name, row in zip(("quality", "diversity"), pair, strict=True)
    )
    return {
        "task": quality.task,
        "quality": quality.metric,
        "metric": diversity.metric,
        "model": model or point.series,
        "of": point.model,
        "method": point.series,
        "series": point.series if point.seed is None else f"{point.series} {point.seed}",
        "temperature": point.temperature,
        **dict(zip(("x", "x_low", "x_high"), x, strict=True)),
        **dict(zip(("y", "y_low", "y_high"), y, strict=True)),
        "best": "yes" if point.efficient else "no",
    }


def _as_measured(point: Any, name: str, sign: int) -> list[float | None]:
    """Value, low and high in the metric's own direction; `frontier` turns those that fall."""
    ends = [getattr(point, f"{name}_low"), getattr(point, f"{name}_high")]
    values = [getattr(point, name), *(ends if sign > 0 else reversed(ends))]
    return [None if value is None else sign * value for value in values]


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
        for at, models in enumerate(_columns(comparison).values())
        for seed, model in enumerate(models)
    }
    values: dict[tuple[str, str], NDArray[np.float64]] = {}
    widest = 1 + max(seed for _, seed in member.values())
    names = ("model", "task", "metric", "prompt_id", "value")
    for model, task, metric, prompt, value in zip(
        *(scores.column(name).to_pylist() for name in names), strict=True
    ):
        at = place[task].get(prompt)
        # Of the whole corpus, not in the sample, undefined, or of people, who have no column.
        if at is None or value is None or model not in member:
            continue
        shape = (len(comparison.models), widest, len(prompts[task]))
        column, seed = member[model]
        values.setdefault((task, metric), np.full(shape, np.nan))[column, seed, at] = value
    by_task: dict[str, dict[str, list[list[float | None]]]] = {task: {} for task in tasks}
    sizes = [len(models) for models in _columns(comparison).values()]
    for (task, metric), table in values.items():
        # The mean over the seeds of a series, where all have a value, as `compare` takes it.
        means = [rows[:size].mean(axis=0) for rows, size in zip(table, sizes, strict=True)]
        by_task[task][metric] = [[None if np.isnan(v) else float(v) for v in row] for row in means]
    return prompts, by_task, notes
