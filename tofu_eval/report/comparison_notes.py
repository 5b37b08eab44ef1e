"""What stands below a comparison: the legend, the footnotes, and the standing over tasks."""

from __future__ import annotations

from tofu_eval.analysis.comparison import Comparison
from tofu_eval.analysis.direction import has_direction
from tofu_eval.analysis.verdict import finding_of
from tofu_eval.report.formatting import align_rows, baseline_label, mark_text
from tofu_eval.report.headline import cluster_fields

_REASONS = 3
"""Reasons named in a footnote; CSV and JSON have all."""


def notes_of(comparison: Comparison) -> list[str]:
    """The legend, as far as it is needed, and the footnotes."""
    cells = [cell for row in comparison.rows for cell in row.cells]
    findings = [finding_of(comparison, row, cell) for row in comparison.rows for cell in row.cells]
    marks = set(map(mark_text, findings))
    notes = []
    if any(has_direction(row.direction) for row in comparison.rows):
        notes.append(
            "↑ higher is more diverse, ↓ lower is; of a quality metric: better. "
            "Intervals are over the n prompts."
        )
    if len(comparison.models) > 1:
        notes.append(f"minus {comparison.baseline}: the mean difference on the same prompts.")
    if marks & {"*", "**"}:
        notes.append(
            "* the interval of the difference excludes 0; ** its sign-flip p-value is also below "
            f"0.05 after the adjustment (max-T) over the {comparison.tests} differences compared."
        )
    if any(cell.unequal for cell in cells):
        notes.append(
            "at n = …: differences are made at equal numbers of responses, prompt by prompt (the "
            "mean of the larger side over subsets); the baseline's own mean is at all that it has."
        )
    if fields := cluster_fields(comparison):
        notes.append(f"Intervals and tests are over clusters of prompts by {fields}.")
    if "†" in marks:
        notes.append("† no verdict: what voids it stands above.")
    if comparison.over_tasks:
        notes.append(
            "over tasks: mean rank (1 = most diverse, or best) over the tasks in brackets, on "
            "which all models have a value; d_z, the mean difference in standard deviations; "
            "beats: the probability to be more diverse, or better, on a prompt drawn at random. "
            "Intervals say what other prompts of these tasks would give."
        )
    notes += _of_seeds(comparison)
    if any(cell.difference and cell.difference.dropped for cell in cells):
        notes.append("Prompts without a value for both models are left out of a difference.")
    if any(cell.mean.n == cell.undefined == 0 for cell in cells):
        notes.append("—: the model has no scores there.")
    return notes + _undefined_notes(comparison)


def _of_seeds(comparison: Comparison) -> list[str]:
    """Which models are series of seeds, and what their differences hang on."""
    if not comparison.seeds:
        return []
    notes = [
        f"{name} is {len(members)} seeds: its interval says what other prompts and other seeds "
        "would give."
        for name, members in comparison.seeds.items()
    ]
    parts: dict[str, int] = {}
    for row in comparison.rows:
        for cell in row.cells:
            if cell.spread is not None and cell.difference is not None:
                parts[cell.spread.dominates] = parts.get(cell.spread.dominates, 0) + 1
    words = {
        "prompts": "prompts (more prompts would sharpen them)",
        "seeds": "seeds (only more seeds would sharpen them)",
        "rest": "what prompts do with seeds, sampling noise in it (more of either would)",
    }
    counted = sorted(parts.items(), key=lambda item: -item[1])
    said = [f"{count} hang most on {words[part]}" for part, count in counted]
    return [*notes, *([f"Of the differences with seeds, {'; '.join(said)}."] if said else [])]


def _undefined_notes(comparison: Comparison) -> list[str]:
    """One footnote for all metrics of a model and task that are undefined in the same way."""
    metrics: dict[tuple[str, str, str], list[str]] = {}
    for row in comparison.rows:
        for cell in row.cells:
            if cell.undefined:
                reasons = sorted(cell.reasons.items(), key=lambda item: (-item[1], item[0]))
                why = "; ".join(f"{count}: {reason}" for reason, count in reasons[:_REASONS])
                more = "; …" if len(reasons) > _REASONS else ""
                of = f"{cell.undefined} of {cell.undefined + cell.mean.n} prompts ({why}{more})"
                metrics.setdefault((row.task, cell.model, of), []).append(row.metric)
    return [
        f"{task}, {model}: {', '.join(names)} undefined on {of}."
        for (task, model, of), names in metrics.items()
    ]


def over_tasks(comparison: Comparison) -> list[str]:
    """Mean ranks, standardised differences and who beats whom as lines; none for a single task."""
    cells = standing_cells(comparison)
    if len(cells) < 2:
        return []
    head, *rows = align_rows([row[1:] for row in cells], right=set())
    lines = ["", "over tasks", head]
    metric = None
    for (name, *_), row in zip(cells[1:], rows, strict=True):
        lines += [row] if name == metric else [name, row]
        metric = name
    return lines


def standing_cells(comparison: Comparison) -> list[list[str]]:
    """A header and a row a metric and model: mean rank, mean d_z, beats, what is missing."""
    base = baseline_label(comparison.baseline)
    rows = [["metric", "model", "mean rank", f"d_z to {base}", f"beats {base}", "missing"]]
    for standing in comparison.over_tasks:
        rank = "—" if standing.rank is None else f"{standing.rank:.2f}"
        if standing.rank_low is not None and standing.rank_high is not None:
            rank += f" [{standing.rank_low:.2f}, {standing.rank_high:.2f}]"
        rank += "" if standing.rank is None else f" ({standing.ranked})"
        effect = beats = "" if standing.model == comparison.baseline else "—"
        if standing.effect is not None:
            effect = f"{standing.effect:+.2f}"
            if standing.effect_low is not None and standing.effect_high is not None:
                effect += f" [{standing.effect_low:+.2f}, {standing.effect_high:+.2f}]"
            effect += "" if standing.compared == standing.ranked else f" ({standing.compared})"
        if standing.beats is not None:
            beats = f"{standing.beats:.0%}"
            if standing.beats_low is not None and standing.beats_high is not None:
                beats += f" [{standing.beats_low:.0%}, {standing.beats_high:.0%}]"
        rows.append(
            [standing.metric, standing.model, rank, effect, beats, ", ".join(standing.missing)]
        )
    return rows
