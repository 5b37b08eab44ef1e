"""The answer: a row a model (and task), and one sentence that can be quoted.

What the verdict is, is decided in `analysis/verdict.py`; here are its words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tofu_eval.analysis.comparison import Comparison
from tofu_eval.analysis.verdict import Finding, Outcome, Verdict, verdicts_of
from tofu_eval.analysis.warnings import Kind
from tofu_eval.report.formatting import counts_text, estimate_text, p_text
from tofu_eval.report.warning_text import warning_lines

DIVERSITY: Mapping[Outcome, str] = {
    "less": "narrower",
    "more": "wider",
    "disagree": "metrics disagree",
    "same": "equivalent",
    "unclear": "not clearly different",
    "withheld": "no verdict",
    "missing": "not measured",
}
"""The verdict on diversity in a word or two."""

QUALITY: Mapping[Outcome, str] = {
    **DIVERSITY,
    "less": "worse",
    "more": "better",
    "same": "no loss",
}
"""The verdict on quality."""

_TURNS: Mapping[int, Outcome] = {-1: "less", 0: "unclear", 1: "more"}

_MODELS = 6
"""Models that one sentence can hold: a sweep of temperatures has many."""

_TASKS = 2
"""Tasks whose numbers one sentence can hold."""

_NAMED_TASKS = 6
"""Tasks of one outcome that are named."""

_NUMBERS = 4
"""Metrics of quality whose numbers stand in the sentence; the others are named."""

NOT_DEFINED = "no metric of it is defined on the same prompts"

REASONS: Mapping[Kind, str] = {
    "no_common_prompts": "no prompt in common",
    "too_few_prompts": "too few prompts for any result to be clear",
    "unequal_responses": "unequal numbers of responses",
    "too_few_responses": "too few responses a prompt",
    "lengths": "responses of unequal length",
    "unread_texts": "texts that the embedding model cannot read",
    "missing_responses": "most responses missing",
}
"""What voids a verdict, in a few words."""


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """One model on one task in words; `outcome` and `quality_outcome` are those of the verdict."""

    model: str
    task: str
    verdict: str
    effect: str
    prompts: str
    adjusted: str
    evidence: str
    quality: str
    warnings: tuple[str, ...]
    outcome: Outcome
    quality_outcome: Outcome


def answer_rows(comparison: Comparison) -> list[AnswerRow]:
    """The verdicts in words, the baseline left out."""
    return [_answer_row(comparison, verdict) for verdict in verdicts_of(comparison)]


def verdict_records(comparison: Comparison) -> list[dict[str, Any]]:
    """The verdicts for a program: words, and the numbers of the leading metric."""
    return [
        {
            "model": verdict.model,
            "task": verdict.task,
            "verdict": DIVERSITY[verdict.diversity],
            "quality_verdict": QUALITY[verdict.quality],
            **_leading_record(verdict),
            "diversity": [_finding_record(finding, DIVERSITY) for finding in verdict.findings],
            "quality": [_finding_record(finding, QUALITY) for finding in verdict.qualities],
        }
        for verdict in verdicts_of(comparison)
    ]


def _leading_record(verdict: Verdict) -> dict[str, Any]:
    leading = verdict.leading
    versus = leading.cell.difference if leading else None
    return {
        "metric": leading and leading.row.metric,
        "difference": versus and versus.value,
        "low": versus and versus.low,
        "high": versus and versus.high,
        "unit": leading and leading.row.unit,
        "from": versus and versus.b_mean,
        "to": versus and versus.a_mean,
        "prompts": versus and versus.n,
        "units": versus and versus.units,
        "responses": leading and leading.cell.counts and asdict(leading.cell.counts),
        "p_adjusted": leading and leading.cell.p_adjusted,
    }


def _finding_record(finding: Finding, words: Mapping[Outcome, str]) -> dict[str, Any]:
    return {
        "metric": finding.row.metric,
        "verdict": words[_TURNS[finding.turn] if finding.counts else "withheld"],
        "withheld_by": [warning.kind for warning in finding.voids],
    }


def headline(comparison: Comparison) -> str:
    """One sentence a reader can quote about every model that is compared with the baseline."""
    others = [model for model in comparison.models if model != comparison.baseline]
    if not others:
        return f"There is only {comparison.baseline}: name a second model to compare it with."
    verdicts = verdicts_of(comparison)
    if all(verdict.diversity == verdict.quality == "missing" for verdict in verdicts):
        return "No metric of diversity was measured: nothing can be said about narrowing."
    clauses = [
        _model_clause([verdict for verdict in verdicts if verdict.model == model])
        for model in others[:_MODELS]
    ]
    if len(others) > _MODELS:
        clauses.append(f"{len(others) - _MODELS} more are in the table")
    return f"Compared with {comparison.baseline}, {_join(clauses, '; ')}."


def _answer_row(comparison: Comparison, verdict: Verdict) -> AnswerRow:
    leading = verdict.leading
    return AnswerRow(
        model=verdict.model,
        task=verdict.task,
        verdict=DIVERSITY[verdict.diversity],
        effect=_effects(verdict),
        prompts=_prompts(leading),
        adjusted=adjustment_text(comparison),
        evidence=_agreement(verdict),
        quality=_quality_cell(verdict),
        warnings=tuple(warning_lines(verdict.warnings, comparison.baseline)),
        outcome=verdict.diversity,
        quality_outcome=verdict.quality,
    )


def _effects(verdict: Verdict) -> str:
    """The leading effect with its interval and unit; of metrics that disagree, one of each side."""
    if verdict.leading is None:
        return ""
    if verdict.diversity == "withheld":
        return reasons_text(verdict.findings) or NOT_DEFINED
    if verdict.diversity == "disagree":
        return "; ".join(
            f"{word} by {effect_text(first)}" for word, first in leading_sides(verdict)
        )
    return effect_text(verdict.leading)


def effect_text(finding: Finding) -> str:
    """`vendi -1.24 [-1.60, -0.90] effective responses`."""
    versus = finding.cell.difference
    if versus is None:
        return finding.row.metric
    number = estimate_text(versus.value, versus.low, versus.high, sign="+")
    unit = f" {finding.row.unit}" if finding.row.unit else ""
    return f"{finding.row.metric} {number}{unit}"


def _amount(finding: Finding) -> str:
    """`vendi -1.24 [-1.60, -0.90] effective responses, from 4.52 to 3.28 on 60 prompts, …`."""
    versus = finding.cell.difference
    text = effect_text(finding)
    if versus is None:
        return text
    if versus.a_mean is not None and versus.b_mean is not None:
        ends = [estimate_text(value, None, None) for value in (versus.b_mean, versus.a_mean)]
        text += f", from {ends[0]} to {ends[1]} on {_prompts(finding)}"
    if finding.cell.p_adjusted is None:
        return text
    return f"{text}, adjusted {p_text(finding.cell.p_adjusted)}"


def _prompts(finding: Finding | None) -> str:
    """`60 prompts at n = 8`, `100 prompts in 20 clusters at n = 2 to 8`."""
    if finding is None or finding.cell.difference is None:
        return ""
    versus, counts = finding.cell.difference, finding.cell.counts
    prompts = f"{versus.n} prompt{'' if versus.n == 1 else 's'}"
    clusters = f" in {versus.units} clusters" if 0 < versus.units < versus.n else ""
    return f"{prompts}{clusters}{f' at n = {counts_text(counts)}' if counts else ''}"


def cluster_fields(comparison: Comparison) -> str:
    """What prompts are clustered by: `category`, or `category (poems)` where not on all tasks."""
    fields = comparison.clusters
    tasks = {row.task for row in comparison.rows}
    if len(set(fields.values())) == 1 and tasks == set(fields):
        return next(iter(fields.values()))
    return ", ".join(f"{name} ({task})" for task, name in fields.items())


def adjustment_text(comparison: Comparison) -> str:
    """`p adjusted over 18 differences (max-T)`, and what prompts were clustered by."""
    fields = cluster_fields(comparison)
    clusters = f"; clustered by {fields}" if fields else ""
    return f"p adjusted over {comparison.tests} differences (max-T){clusters}"


def _agreement(verdict: Verdict) -> str:
    """How many of the other metrics of diversity that count are clear, and to which side."""
    if verdict.diversity in ("withheld", "missing"):
        return ""
    counting = [finding for finding in verdict.findings if finding.counts]
    voided = sum(finding.is_compared and not finding.counts for finding in verdict.findings)
    without = f"; no verdict on {voided} other{'' if voided == 1 else 's'}" if voided else ""
    less, more = (sum(f.turn == turn for f in counting) for turn in (-1, 1))
    if verdict.diversity == "disagree":
        return f"{less} of {len(counting)} diversity metrics narrower, {more} wider{without}"
    others = len(counting) - 1
    if not others:
        return without.removeprefix("; ")
    if verdict.diversity in ("less", "more"):
        same = (less if verdict.diversity == "less" else more) - 1
        return f"{same} of {others} other diversity metrics agree, 0 say the opposite{without}"
    return f"none of {others} other diversity metrics is clear{without}"


def _model_clause(verdicts: Sequence[Verdict]) -> str:
    """What the sentence says of one model."""
    model = verdicts[0].model
    if len(verdicts) == 1:
        return _task_clause(verdicts[0], "")
    if len(verdicts) <= _TASKS:
        return "; ".join(_task_clause(verdict, f" on {verdict.task}") for verdict in verdicts)
    diversity = _over_tasks(verdicts, DIVERSITY, lambda v: v.diversity, lambda v: v.findings)
    quality = _over_tasks(verdicts, QUALITY, lambda v: v.quality, lambda v: v.qualities)
    return f"{model}, over {len(verdicts)} tasks: {diversity}; quality {quality}"


def _over_tasks(
    verdicts: Sequence[Verdict],
    words: Mapping[Outcome, str],
    outcome_of: Callable[[Verdict], Outcome],
    findings_of: Callable[[Verdict], Sequence[Finding]],
) -> str:
    """`narrower on 2 (a by vendi -1.24 [-1.60, -0.90], b by …), not clearly different on 1 (c)`."""
    parts = []
    for outcome, word in words.items():
        some = [verdict for verdict in verdicts if outcome_of(verdict) == outcome]
        named = [_task_with_effect(v.task, outcome, findings_of(v)) for v in some[:_NAMED_TASKS]]
        if len(some) > _NAMED_TASKS:
            named.append("…")
        if some:
            parts.append(f"{word} on {len(some)} ({', '.join(named)})")
    return ", ".join(parts)


def _task_with_effect(task: str, outcome: Outcome, findings: Sequence[Finding]) -> str:
    clear = [finding for finding in findings if finding.turn]
    if outcome not in ("less", "more") or not clear:
        return task
    more = f" and {len(clear) - 1} more" if len(clear) > 1 else ""
    return f"{task} by {effect_text(clear[0])}{more}"


def _task_clause(verdict: Verdict, where: str) -> str:
    model, quality = verdict.model, _quality_clause(verdict)
    details = [_agreement(verdict), reasons_text(verdict.findings)]
    more = "".join(f"; {detail}" for detail in details if detail)
    leading = verdict.leading
    reasons = reasons_text(verdict.findings) or NOT_DEFINED
    match verdict.diversity:
        case "missing":
            said = f"the diversity of {model} was not measured{where}"
        case "withheld":
            said = f"there is no verdict on {model}{where} ({reasons})"
        case "disagree":
            sides = "; ".join(
                f"{word} by {_amount(first)}" for word, first in leading_sides(verdict)
            )
            said = f"metrics of diversity disagree on {model}{where}: {sides}{more}"
        case _:
            amount = "" if leading is None else _amount(leading)
            word = DIVERSITY[verdict.diversity]
            said = f"{model} is {word}{where} ({amount}{_not_clear(verdict)}{more})"
    return f"{said}, {quality}"


def leading_sides(verdict: Verdict) -> list[tuple[str, Finding]]:
    """Of metrics that disagree, the first of each side."""
    return [
        (word, next(finding for finding in verdict.findings if finding.turn == turn))
        for turn, word in ((-1, DIVERSITY["less"]), (1, DIVERSITY["more"]))
    ]


def _not_clear(verdict: Verdict) -> str:
    """The metric that leads by its worth, where another one is what is clear."""
    leading = verdict.leading
    if verdict.diversity not in ("less", "more") or leading is None:
        return ""
    first = next(finding for finding in verdict.findings if finding.counts)
    return "" if first is leading else f"; {effect_text(first)} is not clear"


def reasons_text(findings: Sequence[Finding]) -> str:
    """Why there is no verdict on some metrics, in a few words."""
    kinds = dict.fromkeys(warning.kind for finding in findings for warning in finding.voids)
    return ", ".join(REASONS[kind] for kind in kinds)


def _quality_cell(verdict: Verdict) -> str:
    """`worse: accuracy -0.190 [-0.240, -0.140]; reward …`."""
    word = QUALITY[verdict.quality]
    shown = [effect_text(finding) for finding in verdict.qualities if finding.counts]
    return f"{word}: {'; '.join(shown)}" if shown else word


def _quality_clause(verdict: Verdict) -> str:
    """What became of quality, every metric of it named."""
    counting = [finding for finding in verdict.qualities if finding.counts]
    if verdict.quality == "missing":
        return "quality not measured"
    if verdict.quality == "withheld":
        return f"no verdict on quality ({reasons_text(verdict.qualities) or NOT_DEFINED})"
    if verdict.quality == "same":
        return f"no loss of quality ({_list_findings(counting, _within_margin)})"
    if verdict.quality == "unclear":
        return f"quality not clearly different, which is not the same ({_list_findings(counting)})"
    parts = []
    for turn, word in ((-1, "worse"), (1, "better"), (0, "not clearly different")):
        some = [finding for finding in counting if finding.turn == turn]
        if some:
            parts.append(f"{word} ({_list_findings(some)})")
    if verdict.quality == "disagree":
        return f"metrics of quality disagree: {', '.join(parts)}"
    return f"quality {', '.join(parts)}"


def _within_margin(finding: Finding) -> str:
    return f"{effect_text(finding)}, within ±{finding.cell.margin:.3g}"


def _list_findings(
    findings: Sequence[Finding], text: Callable[[Finding], str] = effect_text
) -> str:
    """Every metric; numbers of the first ones."""
    shown = [text(finding) for finding in findings[:_NUMBERS]]
    return "; ".join([*shown, *(finding.row.metric for finding in findings[_NUMBERS:])])


def _join(parts: Sequence[str], comma: str) -> str:
    if len(parts) < 2:
        return "".join(parts)
    return f"{comma.join(parts[:-1])}{comma.rstrip()} and {parts[-1]}"
