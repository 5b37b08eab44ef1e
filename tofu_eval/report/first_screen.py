"""The first screen: who narrowed, by how much, how sure that is and at what quality, as a picture.

A row a model. What stands where on the line is a number of `analysis`, made a place here once for
the page without JavaScript, for the page's scripts and for the terminal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tofu_eval.analysis.comparison import Comparison
from tofu_eval.analysis.direction import Effect, oriented_effect
from tofu_eval.analysis.verdict import Finding, Outcome, Verdict, verdicts_of
from tofu_eval.report.formatting import p_text
from tofu_eval.report.headline import (
    DIVERSITY,
    QUALITY,
    AnswerRow,
    answer_rows,
    effect_text,
    leading_sides,
)
from tofu_eval.report.scale import Scale

SYMBOLS: Mapping[Outcome, str] = {
    "less": "◀",
    "more": "▶",
    "disagree": "◆",
    "same": "=",
    "unclear": "·",
    "withheld": "†",
    "missing": "–",
}
"""An outcome of diversity in one character: the side that it lies on."""

QUALITY_SYMBOLS: Mapping[Outcome, str] = {**SYMBOLS, "less": "▼", "more": "▲"}

BRIEF: Mapping[Outcome, str] = {**DIVERSITY, "unclear": "not clear", "disagree": "disagree"}
BRIEF_QUALITY: Mapping[Outcome, str] = {
    **BRIEF,
    "less": "worse",
    "more": "better",
    "same": "no loss",
}
"""The words where several are counted side by side."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A leading difference on the line: in standard deviations, oriented."""

    effect: Effect
    is_clear: bool
    label: str


@dataclass(frozen=True, slots=True)
class Count:
    """On how many tasks a model came to an outcome; `word` alone where there is one task."""

    outcome: Outcome
    symbol: str
    word: str


@dataclass(frozen=True, slots=True)
class TaskCell:
    """One task of a model, where there are several; `effect` is the leading difference."""

    task: str
    outcome: Outcome
    symbol: str
    effect: str
    text: str


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model against the baseline.

    `counts` and `qualities` are what it came to: one where there is one task, else one an outcome.
    `lines` is the evidence in words, `cells` a task each; of these two one is empty.
    """

    model: str
    counts: tuple[Count, ...]
    marks: tuple[Mark, ...]
    qualities: tuple[Count, ...]
    quality_text: str
    lines: tuple[str, ...]
    cells: tuple[TaskCell, ...]


def model_rows(comparison: Comparison) -> list[ModelRow]:
    """A row for each model but the baseline."""
    answers = answer_rows(comparison)
    by_model: dict[str, list[tuple[Verdict, AnswerRow]]] = {}
    for verdict, answer in zip(verdicts_of(comparison), answers, strict=True):
        by_model.setdefault(verdict.model, []).append((verdict, answer))
    return [_model_row(model, pairs) for model, pairs in by_model.items()]


def scale_of(comparison: Comparison) -> Scale:
    """The one scale of all differences of a comparison."""
    return Scale.of(
        oriented_effect(row.direction, cell.difference)
        for row in comparison.rows
        for cell in row.cells
    )


def _model_row(model: str, pairs: Sequence[tuple[Verdict, AnswerRow]]) -> ModelRow:
    verdicts = [verdict for verdict, _ in pairs]
    if len(pairs) == 1:
        ((verdict, answer),) = pairs
        return ModelRow(
            model,
            (Count(verdict.diversity, SYMBOLS[verdict.diversity], answer.verdict),),
            tuple(marks_of(verdict)),
            (Count(verdict.quality, QUALITY_SYMBOLS[verdict.quality], QUALITY[verdict.quality]),),
            answer.quality.partition(": ")[2],
            tuple(filter(None, (answer.effect, _evidence(verdict, answer)))),
            (),
        )
    return ModelRow(
        model,
        _counted([verdict.diversity for verdict in verdicts], SYMBOLS, BRIEF),
        tuple(mark for verdict in verdicts for mark in marks_of(verdict)),
        _counted([verdict.quality for verdict in verdicts], QUALITY_SYMBOLS, BRIEF_QUALITY),
        "",
        (),
        tuple(_task_cell(verdict, answer) for verdict, answer in pairs),
    )


def _counted(
    outcomes: Sequence[Outcome], symbols: Mapping[Outcome, str], words: Mapping[Outcome, str]
) -> tuple[Count, ...]:
    """`narrower on 7`, `not clear on 5`: the outcomes in the order of the words."""
    times = Counter(outcomes)
    return tuple(
        Count(outcome, symbols[outcome], f"{word} on {times[outcome]}")
        for outcome, word in words.items()
        if times[outcome]
    )


def _task_cell(verdict: Verdict, answer: AnswerRow) -> TaskCell:
    more = "; ".join(filter(None, (answer.effect, f"quality {answer.quality}")))
    return TaskCell(
        verdict.task,
        verdict.diversity,
        SYMBOLS[verdict.diversity],
        answer.effect,
        f"{verdict.task}: {answer.verdict}; {more}",
    )


def _evidence(verdict: Verdict, answer: AnswerRow) -> str:
    """`24 prompts at n = 8 · adjusted p = 0.01 · 4 of 6 other metrics agree`."""
    leading = verdict.leading
    p = leading.cell.p_adjusted if leading and leading.counts else None
    parts = (answer.prompts, "" if p is None else f"adjusted {p_text(p)}", answer.evidence)
    return " · ".join(filter(None, parts))


def marks_of(verdict: Verdict) -> Iterator[Mark]:
    """The leading difference; of metrics that disagree, one of each side; none that is void."""
    findings: list[Finding] = []
    if verdict.diversity == "disagree":
        findings = [finding for _, finding in leading_sides(verdict)]
    elif verdict.leading is not None and verdict.leading.counts:
        findings = [verdict.leading]
    for finding in findings:
        effect = oriented_effect(finding.row.direction, finding.cell.difference)
        if effect is not None:
            label = f"{finding.row.task}: {effect_text(finding)}"
            yield Mark(effect, bool(finding.turn), label)
