"""A judged condition in words."""

from __future__ import annotations

from tofu_eval.analysis.conditions import Judgement
from tofu_eval.analysis.verdict import Verdict
from tofu_eval.report.formatting import p_text
from tofu_eval.report.headline import DIVERSITY, QUALITY, effect_text, reasons_text


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
        reasons = reasons_text(evidence.qualities if of_quality else evidence.findings)
        return f"{claim} (the verdict: {word}{f', {reasons}' if reasons else ''})"
    if judgement.state == "unknown":
        why = reasons_text([evidence]) or f"{evidence.row.metric} is not defined for both"
        return f"{claim} ({why})"
    p = evidence.cell.p_adjusted
    adjusted = "" if p is None else f", adjusted {p_text(p)}"
    return f"{claim} ({effect_text(evidence)}{adjusted})"
