"""How many prompts a comparison needs, in words."""

from __future__ import annotations

from tofu_eval.analysis.comparison import ALPHA
from tofu_eval.analysis.sample_size import TARGET, Need
from tofu_eval.report.formatting import align_rows, estimate_text


def needs_text(found: tuple[Need, ...]) -> str:
    """A table of the needs for a terminal, and what it says; 80 columns wide but for the notes."""
    with_seeds = any(need.has_seeds for need in found)
    with_samples = any(need.knows_samples for need in found)
    header = ["model", "difference", "power", "seen", "prompts"]
    header += ["samples"] * with_samples + ["seeds"] * with_seeds
    lines: dict[tuple[str, str], list[list[str]]] = {}
    for need in found:
        cells = [
            need.model,
            estimate_text(need.difference, None, None, sign="+") + "**" * need.clear or "—",
            "—" if need.now is None else f"{need.now:.2f}",
            estimate_text(need.detectable, None, None) or "—",
            _count(need.prompts, need.now is not None),
        ]
        if with_samples:
            cells.append(_count(need.samples, need.knows_samples))
        if with_seeds:
            cells.append(_count(need.seeds, need.has_seeds))
        lines.setdefault((need.task, need.metric), []).append(cells)
    every = [header, *(cells for rows in lines.values() for cells in rows)]
    head, *rest = align_rows(every, right=range(1, len(header)))
    left = iter(rest)
    out: list[str] = []
    task = None
    for (model, metric), rows in lines.items():
        if model != task:
            out += [*([""] if task is not None else []), model, head]
            task = model
        out += [metric, *(next(left) for _ in rows)]
    return "\n".join([*out, "", *_notes(found, with_samples, with_seeds)])


def _count(count: int | None, known: bool) -> str:
    if count is not None:
        return f"{count:,}"
    return "no number" if known else "—"


def _notes(found: tuple[Need, ...], with_samples: bool, with_seeds: bool) -> list[str]:
    alpha = found[0].alpha if found else ALPHA
    notes = [
        "power: the chance that as many prompts as now find a true difference of that size, "
        f"at p < {alpha:.2g} (0.05 over all differences, the strictest step of the adjustment).",
        f"seen: the smallest true difference that is found in {TARGET:.0%}; prompts: how many find "
        f"this one in {TARGET:.0%}.",
    ]
    if with_samples:
        notes.append(
            "samples: how many responses a prompt would do that with the present prompts; no "
            "number where prompts differ too much among themselves."
        )
    if with_seeds:
        notes.append(
            "seeds: how many would do that with the present prompts, as prompts are those with the "
            "present seeds; no number where the other is what limits."
        )
    notes.append("A difference just found is on average found too large: take more than that.")
    return notes
