"""What a comparison comes to: for each model on each task the verdict, without a word of it.

A difference counts where it is clear after the adjustment over the whole comparison and where no
validity warning voids it. The words, and every format, are the report's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tofu_eval.analysis.comparison import Cell, Comparison, Row, is_clear
from tofu_eval.analysis.direction import has_direction, sign_of_direction
from tofu_eval.analysis.warnings import ValidityWarning

Outcome = Literal["less", "more", "disagree", "same", "unclear", "withheld", "missing"]
"""What several metrics say together. less: some are clearly less diverse (worse), none more; more:
the reverse; disagree: some of each; same: none is clear, and all are shown to lie within their
margins (of a quality: to be no further below); unclear: none is clear; withheld: warnings void all
of them, or the one that leads while no other is clear; missing: none was measured."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One metric of one model on one task.

    `turn` is -1 where the model is clearly less diverse than the baseline (of quality: worse), 1
    where it is clearly more, else 0. `voids` are the warnings that forbid a verdict on it.
    """

    row: Row
    cell: Cell
    turn: int
    voids: tuple[ValidityWarning, ...]

    @property
    def is_compared(self) -> bool:
        """Whether there is a difference at all."""
        return self.cell.difference is not None and self.cell.difference.n > 0

    @property
    def counts(self) -> bool:
        """Whether it has a say in the verdict."""
        return self.is_compared and not self.voids

    @property
    def is_clear(self) -> bool:
        """Whether the difference stands after the adjustment, and nothing voids it."""
        return self.counts and is_clear(self.cell)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One model on one task: `diversity` and `quality` are what the findings come to.

    `findings` (of diversity) and `qualities` stand in the order in which they lead; `warnings` are
    all that concern this model and task.
    """

    model: str
    task: str
    diversity: Outcome
    quality: Outcome
    findings: tuple[Finding, ...]
    qualities: tuple[Finding, ...]
    warnings: tuple[ValidityWarning, ...]

    @property
    def leading(self) -> Finding | None:
        """What the verdict rests on: the first finding on its side, else the first that counts,
        else the first; None where nothing was measured."""
        side = {"less": -1, "more": 1}.get(self.diversity)
        by_worth = (
            [f for f in self.findings if f.counts and (side is None or f.turn == side)],
            [f for f in self.findings if f.is_compared],
            self.findings,
        )
        return next((group[0] for group in by_worth if group), None)


def verdicts_of(comparison: Comparison) -> tuple[Verdict, ...]:
    """A verdict for each model but the baseline on each task, in the order of the comparison."""
    tasks = dict.fromkeys(row.task for row in comparison.rows)
    return tuple(
        _verdict(comparison, model, task)
        for model in comparison.models
        if model != comparison.baseline
        for task in tasks
    )


def finding_of(comparison: Comparison, row: Row, cell: Cell) -> Finding:
    """What one number of a comparison says."""
    voids = tuple(
        warning
        for warning in comparison.warnings
        if warning.voids and warning.concerns(cell.model, row.task) and warning.is_about(row.metric)
    )
    turn = 0
    if is_clear(cell) and not voids and cell.difference and cell.difference.value:
        turn = sign_of_direction(row.direction) * (1 if cell.difference.value > 0 else -1)
    return Finding(row, cell, turn, voids)


def in_leading_order(rows: Iterable[Row]) -> list[Row]:
    """The metrics that see most of what people see first; the others as they stand."""
    return sorted(rows, key=lambda row: -(row.human or 0.0))


def _verdict(comparison: Comparison, model: str, task: str) -> Verdict:
    place = comparison.models.index(model)
    found: dict[str, list[Finding]] = {"diversity": [], "quality": []}
    for row in in_leading_order(comparison.rows):
        if row.task != task or row.measures not in found or not has_direction(row.direction):
            continue
        found[row.measures].append(finding_of(comparison, row, row.cells[place]))
    return Verdict(
        model,
        task,
        _outcome(found["diversity"]),
        _outcome(found["quality"]),
        tuple(found["diversity"]),
        tuple(found["quality"]),
        tuple(warning for warning in comparison.warnings if warning.concerns(model, task)),
    )


def _outcome(findings: Sequence[Finding]) -> Outcome:
    if not findings:
        return "missing"
    counting = [finding for finding in findings if finding.counts]
    if not counting:
        return "withheld"
    turns = {finding.turn for finding in counting}
    if {-1, 1} <= turns:
        return "disagree"
    if turns != {0}:
        return "less" if -1 in turns else "more"
    if next(finding for finding in findings if finding.is_compared).voids:
        return "withheld"  # the metric that leads is void: what is left sees too little
    return "same" if all(map(_is_close, counting)) else "unclear"


def _is_close(finding: Finding) -> bool:
    """Whether a difference is shown to be small: of a quality, that it is no loss."""
    of_quality = finding.row.measures == "quality"
    return bool(finding.cell.no_loss if of_quality else finding.cell.equivalent)
