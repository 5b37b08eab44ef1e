"""A judged condition in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tofu_eval.analysis.conditions import Judgement
from tofu_eval.analysis.verdict import Finding, Verdict
from tofu_eval.analysis.warnings import Kind
from tofu_eval.report.formatting import p_text
from tofu_eval.report.headline import DIVERSITY, QUALITY, REASONS, effect_text, reasons_text


def judgement_text(judgement: Judgement, baseline: str) -> str:
    """`sft on t narrower than base by more than 0.3 (vendi -0.52 [-0.61, -0.43], adjusted …)`."""
    condition, evidence = judgement.condition, judgement.evidence
    beyond = f" by more than {condition.amount:g}" if condition.amount else ""
    claim = f"{judgement.model} on {judgement.task} {condition.word} than {baseline}{beyond}"
    if isinstance(evidence, Verdict):
        of_quality = condition.word in ("worse", "better")
        word = (QUALITY if of_quality else DIVERSITY)[
            evidence.quality if of_quality else evidence.diversity
        ]
        findings = evidence.qualities if of_quality else evidence.findings
        reasons = (
            _reasons_with_counts(findings, baseline)
            if judgement.state == "unknown"
            else reasons_text(findings)
        )
        return f"{claim} (the verdict: {word}{f', {reasons}' if reasons else ''})"
    if judgement.state == "unknown":
        why = _reasons_with_counts([evidence], baseline) or _not_defined(evidence, baseline)
        return f"{claim} ({why})"
    p = evidence.cell.p_adjusted
    adjusted = "" if p is None else f", adjusted {p_text(p)}"
    return f"{claim} ({effect_text(evidence)}{adjusted})"


def _not_defined(finding: Finding, baseline: str) -> str:
    """On how many prompts each side has a value."""
    model, base = (
        next((cell.mean.n for cell in finding.row.cells if cell.model == name), 0)
        for name in (finding.cell.model, baseline)
    )
    both = finding.cell.difference.n if finding.cell.difference else 0
    return (
        f"{finding.row.metric} is defined on {model} prompts, for {baseline} on {base}, for both "
        f"on {both}"
    )


_COUNTS: Mapping[Kind, tuple[str, str]] = {
    "no_common_prompts": ("prompts", "{:.0f} prompts"),
    "too_few_prompts": ("prompts", "{:.0f} prompts"),
    "unequal_responses": ("responses", "{:.3g} a prompt"),
    "too_few_responses": ("responses", "{:.3g} a prompt"),
    "lengths": ("characters", "{:.3g} characters"),
    "unread_texts": ("share", "{:.0%}"),
    "missing_responses": ("share", "{:.0%}"),
}
"""The number of a warning that shows what it says, and how it is written."""


def _reasons_with_counts(findings: Sequence[Finding], baseline: str) -> str:
    """Why nothing can be said, each reason with its numbers, once."""
    said: dict[str, None] = {}
    for warning in (warning for finding in findings for warning in finding.voids):
        name, form = _COUNTS[warning.kind]
        numbers = warning.numbers
        counts = form.format(float(numbers[name]))
        if f"baseline_{name}" in numbers:
            counts += f", {baseline} {form.format(float(numbers[f'baseline_{name}']))}"
        said[f"{REASONS[warning.kind]}: {counts}"] = None
    return "; ".join(said)
