"""A comparison as text: for a terminal, a paper, a spreadsheet, a program."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tofu_eval.analysis.comparison import Cell, Comparison, Row
from tofu_eval.analysis.direction import arrow_of, won_share
from tofu_eval.analysis.equal_counts import Counts
from tofu_eval.analysis.verdict import Finding, Verdict, finding_of, verdicts_of
from tofu_eval.core.errors import UnknownNameError
from tofu_eval.core.escape import latex_text, markdown_row, markdown_text, spreadsheet_value
from tofu_eval.report.comparison_latex import difference_tables
from tofu_eval.report.comparison_notes import notes_of, over_tasks, standing_cells
from tofu_eval.report.first_screen import marks_of, scale_of
from tofu_eval.report.formatting import (
    WIDTH,
    align_rows,
    baseline_label,
    counts_text,
    estimate_text,
    mark_text,
)
from tofu_eval.report.headline import (
    DIVERSITY,
    QUALITY,
    AnswerRow,
    answer_rows,
    headline,
    verdict_records,
)
from tofu_eval.report.text_bars import BAR, LEGEND, bar_head, bar_of
from tofu_eval.report.warning_text import warning_lines, warning_record

if TYPE_CHECKING:
    from rich.text import Text

DETAILED = 2
"""Tasks on which the answer tells all that it knows of each."""

EFFECTS = (
    "d_z: the mean difference in standard deviations of the differences. won: the share of prompts "
    "on which the model is more diverse than the baseline, or better."
)


def render(comparison: Comparison, format: str) -> str:
    """The comparison as "markdown", "latex", "csv" or "json", with a newline at its end.

    CSV and JSON hold full floats, one row a task, metric and model; Markdown rounds to three
    digits. Undefined is an empty field in CSV and null in JSON.

    Raises:
        UnknownNameError: another format.
    """
    if format not in _FORMATS:
        raise UnknownNameError.of("format", format, _FORMATS, "tofu-eval compare --help")
    return _FORMATS[format](comparison)


def table(comparison: Comparison) -> Text:
    """The comparison for a `rich` console, at most 80 columns wide but for what it wraps itself."""
    from rich.text import Text

    rows = {(row.task, row.metric): table_cells(comparison, row) for row in comparison.rows}
    header = table_header(comparison)
    every = [header, *(line for lines in rows.values() for line in lines)]
    head, *lines = align_rows(every, right={len(header) - 1})
    left = iter(lines)
    text, task = Text(), None
    for row in comparison.rows:
        if row.task != task:
            gap = "" if task is None else "\n"
            text.append(f"{gap}{row.task}\n", "bold")
            text.append(f"{head}\n", "dim")
            task = row.task
        text.append(f"{_metric_name(row)}\n", "bold")
        for _ in row.cells:
            text.append(f"{next(left)}\n")
    for ranked in over_tasks(comparison):
        text.append(f"{ranked}\n")
    text.append("\n" + "\n".join(notes_of(comparison)), "dim")
    return text


def answer_text(comparison: Comparison) -> Text:
    """The answer for a `rich` console: a block a model, the sentence, the warnings.

    Over more than DETAILED tasks a block has two lines a task; the table below has the rest.
    """
    from rich.text import Text

    text, scale = Text(), scale_of(comparison)
    tasks = len({row.task for row in comparison.rows})
    pairs = list(zip(verdicts_of(comparison), answer_rows(comparison), strict=True))
    if pairs:
        text.append(f"{'':{WIDTH - BAR}}{bar_head()}\n", "dim")
    model = None
    for verdict, row in pairs:
        bar = bar_of(list(marks_of(verdict)), scale)
        if tasks > DETAILED:
            if row.model != model:
                text.append(f"{row.model}\n", "bold")
            _append_with_bar(text, f"  {row.task}: {row.verdict}", bar, verdict)
            text.append(_indent(f"{row.effect}; quality {QUALITY[verdict.quality]}", "    "), "dim")
        else:
            where = f" on {row.task}" if tasks > 1 else ""
            _append_with_bar(text, f"{row.model}{where}: {row.verdict}", bar, verdict)
            lines = (row.effect, "; ".join(filter(None, (row.prompts, row.adjusted))), row.evidence)
            for line in (*lines, f"quality {row.quality}"):
                if line:
                    text.append(_indent(line))
        model = row.model
    if pairs:
        text.append(f"{LEGEND}\n", "dim")
    text.append("\n" * bool(text.plain))
    text.append(f"{headline(comparison)}\n")
    for line in warning_lines(comparison.warnings, comparison.baseline):
        text.append(_indent(f"! {line}", ""))
    return text


def _append_with_bar(text: Text, words: str, bar: str, verdict: Verdict) -> None:
    """The words, and the bar at the end of the line, or of the next where both do not fit."""
    side = {"less": "red", "more": "blue"}.get(verdict.diversity, "")
    room = WIDTH - BAR
    text.append(words, f"bold {side}".strip())
    text.append(" " * (room - len(words)) if len(words) < room else f"\n{'':{room}}")
    text.append(f"{bar}".rstrip() + "\n", side)


def _indent(line: str, indent: str = "  ") -> str:
    return (
        textwrap.fill(
            line,
            WIDTH,
            initial_indent=indent,
            subsequent_indent=f"{indent}  ",
            break_on_hyphens=False,
            break_long_words=False,
        )
        + "\n"
    )


def _markdown(comparison: Comparison) -> str:
    header = ["metric", *table_header(comparison, effects=True)]
    rule = [":--"] * (len(header) - 1) + ["--:"]
    out: list[str] = []
    task = None
    for row in comparison.rows:
        if row.task != task:
            out += [
                *([""] if out else []),
                f"### {markdown_text(row.task)}",
                "",
                markdown_row(header),
                markdown_row(rule),
            ]
            task = row.task
        name = _metric_name(row)
        out += [
            markdown_row([markdown_text(cell) for cell in (name, *c)])
            for c in table_cells(comparison, row, effects=True)
        ]
    ranked = standing_cells(comparison)
    if len(ranked) > 1:
        head, *lines = [markdown_row([markdown_text(cell) for cell in cells]) for cells in ranked]
        out += [
            "",
            "### over tasks",
            "",
            head,
            markdown_row([":--"] * len(ranked[0])),
            *lines,
        ]
    notes = notes_of(comparison)
    if len(comparison.models) > 1:
        notes.insert(0, EFFECTS)
    notes = [f"- {markdown_text(note)}" for note in notes]
    return "\n".join([*_markdown_answer(comparison), "", *out, "", *notes]) + "\n"


def _markdown_answer(comparison: Comparison) -> list[str]:
    """A row a model, the sentence, and the warnings."""
    rows = answer_rows(comparison)
    out: list[str] = []
    if rows:
        cells = [ANSWER_HEADER, *(_answer_cells(row) for row in rows)]
        head, *lines = [markdown_row([markdown_text(c) for c in line]) for line in cells]
        out += [head, markdown_row([":--"] * len(ANSWER_HEADER)), *lines, ""]
    out.append(markdown_text(headline(comparison)))
    warnings = warning_lines(comparison.warnings, comparison.baseline)
    return [*out, *([""] if warnings else []), *(f"- {markdown_text(line)}" for line in warnings)]


def _csv(comparison: Comparison) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    for i, record in enumerate(comparison_records(comparison)):
        if i == 0:
            writer.writerow(record)
        reasons = "; ".join(f"{count}: {reason}" for reason, count in record["reasons"].items())
        writer.writerow(
            spreadsheet_value(value) for value in {**record, "reasons": reasons}.values()
        )
    return file.getvalue()


def _json(comparison: Comparison) -> str:
    content = {
        "headline": headline(comparison),
        "verdicts": verdict_records(comparison),
        "warnings": [warning_record(w, comparison.baseline) for w in comparison.warnings],
        "baseline": comparison.baseline,
        "models": comparison.models,
        "seeds": dict(comparison.seeds),
        "tests": comparison.tests,
        "level": comparison.level,
        "clusters": dict(comparison.clusters),
        "rows": list(comparison_records(comparison)),
        "over_tasks": [asdict(standing) for standing in comparison.over_tasks],
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _latex(comparison: Comparison) -> str:
    """For `booktabs`: the answer, captioned by the sentence and what limits it; the differences."""
    names = ("model", "task", "verdict", "effect [95% interval]", "prompts", "quality")
    rows = [
        (row.model, row.task, row.verdict, row.effect, row.prompts, row.quality)
        for row in answer_rows(comparison)
    ]
    lines = [" & ".join(map(latex_text, cells)) + r" \\" for cells in (names, *rows)]
    warnings = warning_lines(comparison.warnings, comparison.baseline)
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"  \centering",
            f"  \\caption{{{latex_text(' '.join([headline(comparison), *warnings]))}}}",
            f"  \\begin{{tabular}}{{{'l' * len(names)}}}",
            r"    \toprule",
            f"    {lines[0]}",
            r"    \midrule",
            *(f"    {line}" for line in lines[1:]),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            *difference_tables(comparison),
            "",
        ]
    )


_FORMATS: dict[str, Callable[[Comparison], str]] = {
    "markdown": _markdown,
    "latex": _latex,
    "csv": _csv,
    "json": _json,
}


def comparison_records(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """One flat record a task, metric and model."""
    verdicts = {(v.model, v.task): v for v in verdicts_of(comparison)}
    for row in comparison.rows:
        for cell in row.cells:
            versus = cell.difference
            yield {
                "task": row.task,
                "metric": row.metric,
                "direction": row.direction,
                "model": cell.model,
                "value": cell.mean.value,
                "low": cell.mean.low,
                "high": cell.mean.high,
                "n": cell.mean.n,
                "undefined": cell.undefined,
                "reasons": dict(cell.reasons),
                "method": cell.mean.method,
                "baseline": comparison.baseline,
                "difference": versus and versus.value,
                "difference_low": versus and versus.low,
                "difference_high": versus and versus.high,
                "p_value": versus and versus.p_value,
                "p_adjusted": cell.p_adjusted,
                "pairs": versus and versus.n,
                "dropped": versus and versus.dropped,
                "higher": versus and versus.higher,
                "lower": versus and versus.lower,
                "effect": versus and versus.effect,
                "beats": cell.beats and cell.beats.value,
                "beats_low": cell.beats and cell.beats.low,
                "beats_high": cell.beats and cell.beats.high,
                "seeds": len(comparison.seeds.get(cell.model, (cell.model,))),
                "variance_of_prompts": cell.spread and cell.spread.share("prompts"),
                "variance_of_seeds": cell.spread and cell.spread.share("seeds"),
                "variance_of_rest": cell.spread and cell.spread.share("rest"),
                **_verdict_fields(comparison, row, verdicts.get((cell.model, row.task))),
            }


def _verdict_fields(
    comparison: Comparison, row: Row, verdict: Verdict | None
) -> dict[str, str | None]:
    """The verdict on the model and task, and the warnings about this number."""
    if verdict is None:  # the baseline's
        return {"verdict": None, "quality_verdict": None, "warnings": None}
    about = [w for w in verdict.warnings if w.is_about(row.metric)]
    return {
        "verdict": DIVERSITY[verdict.diversity],
        "quality_verdict": QUALITY[verdict.quality],
        "warnings": " ".join(warning_lines(about, comparison.baseline)),
    }


ANSWER_HEADER = [
    *("model", "task", "verdict", "effect [95% interval]", "prompts"),
    *("adjusted", "other metrics", "quality"),
]


def _answer_cells(row: AnswerRow) -> list[str]:
    """A row of the answer under ANSWER_HEADER."""
    return [
        *(row.model, row.task, row.verdict, row.effect, row.prompts),
        *(row.adjusted, row.evidence, row.quality),
    ]


def _metric_name(row: Row) -> str:
    """`self_bleu ↓ at n = 8`: where numbers of responses had to be made equal, at which."""
    counts = [cell.counts for cell in row.cells if cell.unequal and cell.counts]
    name = f"{row.metric} {arrow_of(row.direction)}".rstrip()
    if not counts:
        return name
    least, most = min(c.least for c in counts), max(c.most for c in counts)
    return f"{name} at n = {counts_text(Counts(least, most, 0.0))}"


def table_header(comparison: Comparison, *, effects: bool = False) -> list[str]:
    """The names of `table_cells`."""
    versus = [f"minus {baseline_label(comparison.baseline)}"] if len(comparison.models) > 1 else []
    more = ["d_z", "won"] if versus and effects else []
    return ["model", "mean [95% interval]", *versus, *more, "n"]


def table_cells(comparison: Comparison, row: Row, *, effects: bool = False) -> list[list[str]]:
    """The row as lines of text, one a model, under `_header`."""
    lines = []
    for cell in row.cells:
        mean = estimate_text(cell.mean.value, cell.mean.low, cell.mean.high)
        if mean == "" and cell.undefined:
            mean = "undefined"
        versus = [_versus(finding_of(comparison, row, cell))] if len(comparison.models) > 1 else []
        more = _effects(row, cell) if versus and effects else []
        lines.append([cell.model, mean or "—", *versus, *more, str(cell.mean.n)])
    return lines


def _effects(row: Row, cell: Cell) -> list[str]:
    """d_z, and the share of prompts on which the model is more diverse, or better."""
    difference = cell.difference
    if difference is None or difference.n == 0:
        return ["", ""]
    won = won_share(row.direction, difference)
    return [
        "" if difference.effect is None else f"{difference.effect:+.2f}",
        "" if won is None else f"{won:.0%}",
    ]


def _versus(finding: Finding) -> str:
    versus = finding.cell.difference
    if versus is None:
        return ""
    number = estimate_text(versus.value, versus.low, versus.high, sign="+")
    return f"{number} {mark_text(finding)}".strip() or "—"
