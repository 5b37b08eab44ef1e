"""Whether the evidence carries a claim: what a pipeline asks before it lets a recipe pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from tofu_eval.analysis.comparison import Comparison, Row
from tofu_eval.analysis.direction import has_direction, sign_of_direction
from tofu_eval.analysis.verdict import Finding, Verdict, finding_of, verdicts_of
from tofu_eval.core.errors import ConfigError, UnknownNameError

Word = Literal["narrower", "wider", "worse", "better", "higher", "lower"]
State = Literal["carried", "not carried", "unknown"]

_MEASURES: dict[Word, str] = {
    "narrower": "diversity",
    "wider": "diversity",
    "worse": "quality",
    "better": "quality",
}
_SIDES: dict[Word, int] = {
    **{"narrower": -1, "wider": 1, "worse": -1, "better": 1},
    **{"higher": 1, "lower": -1},
}


@dataclass(frozen=True, slots=True)
class Condition:
    """`narrower: vendi 0.3`: a model is clearly narrower by that metric, by more than 0.3.

    Without a metric it is about the verdict of all metrics of its kind.
    """

    word: Word
    metric: str | None = None
    amount: float = 0.0

    def __str__(self) -> str:
        amount = f" {self.amount:g}" if self.amount else ""
        return f"{self.word}: {self.metric}{amount}" if self.metric else self.word


@dataclass(frozen=True, slots=True)
class Judgement:
    """A condition for one model on one task; `evidence` is what it was judged by.

    carried: the whole 95% interval lies beyond the amount, and the difference is clear; unknown: a
    warning voids it, or there is nothing to compare.
    """

    condition: Condition
    model: str
    task: str
    state: State
    evidence: Finding | Verdict


def parse_condition(text: str) -> Condition:
    """Read `WORD`, `WORD: METRIC` or `WORD: METRIC AMOUNT`.

    Raises:
        ConfigError: it is none of these.
    """
    said, colon, rest = text.partition(":")
    word = said.strip()
    if word not in _SIDES:
        raise UnknownNameError.of("condition", word, _SIDES, "tofu-eval check --help")
    parts = rest.split()
    if not colon and word in _MEASURES:
        return Condition(word)
    if not parts or len(parts) > 2:
        raise ConfigError(
            f"Cannot read the condition '{text}': expected '{word}: METRIC' or '{word}: METRIC "
            f"AMOUNT', such as '{word}: vendi 0.3'."
        )
    return Condition(word, parts[0], _amount(parts[1], text) if len(parts) > 1 else 0.0)


def judge_condition(comparison: Comparison, condition: Condition) -> list[Judgement]:
    """The condition for every model but the baseline on every task that has the metric.

    Raises:
        UnknownNameError: the comparison has no such metric.
        ConfigError: the word does not fit what the metric measures.
    """
    if condition.metric is None:
        return [_of_verdict(condition, verdict) for verdict in verdicts_of(comparison)]
    rows = [row for row in comparison.rows if row.metric == condition.metric]
    if not rows:
        known = dict.fromkeys(row.metric for row in comparison.rows)
        raise UnknownNameError.of("metric", condition.metric, known, "tofu-eval compare RUN")
    _check_word(condition, rows[0])
    return list(_of_metric(comparison, condition, rows))


def _amount(text: str, condition: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    if not isfinite(amount) or amount < 0:
        raise ConfigError(
            f"Cannot read the amount of the condition '{condition}': expected a number of at least "
            f"0, got '{text}'."
        )
    return amount


def _check_word(condition: Condition, row: Row) -> None:
    measures = _MEASURES.get(condition.word)
    if measures is None:
        return
    fitting = [
        w for w, of in _MEASURES.items() if of == row.measures and has_direction(row.direction)
    ]
    if condition.word not in fitting:
        kind = f"measures {row.measures}" if has_direction(row.direction) else "has no direction"
        raise ConfigError(
            f"'{row.metric}' {kind}, so nothing is '{condition.word}' by it. Say "
            f"{' or '.join(repr(word) for word in fitting or ('higher', 'lower'))}."
        )


def _of_verdict(condition: Condition, verdict: Verdict) -> Judgement:
    outcome = getattr(verdict, _MEASURES[condition.word])
    wanted = "less" if _SIDES[condition.word] < 0 else "more"
    state: State = "carried" if outcome == wanted else "not carried"
    if outcome in ("withheld", "missing"):
        state = "unknown"
    return Judgement(condition, verdict.model, verdict.task, state, verdict)


def _of_metric(
    comparison: Comparison, condition: Condition, rows: list[Row]
) -> Iterator[Judgement]:
    for row in rows:
        for cell in row.cells:
            if cell.model != comparison.baseline:
                finding = finding_of(comparison, row, cell)
                state = _state(finding, condition)
                yield Judgement(condition, cell.model, row.task, state, finding)


def _state(finding: Finding, condition: Condition) -> State:
    versus = finding.cell.difference
    if versus is None or not finding.counts or versus.low is None or versus.high is None:
        return "unknown"
    sign = _SIDES[condition.word]
    if condition.word in _MEASURES:
        sign *= sign_of_direction(finding.row.direction)
    nearest = min(sign * versus.low, sign * versus.high)  # the end that says least
    beyond = finding.is_clear and nearest > condition.amount
    return "carried" if beyond else "not carried"
