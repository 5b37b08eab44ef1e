"""The differences of a comparison as LaTeX tables for `booktabs`: metrics by models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tofu_eval.analysis.comparison import ALPHA, Cell, Comparison, Row
from tofu_eval.analysis.direction import sign_of_direction
from tofu_eval.analysis.verdict import finding_of
from tofu_eval.core.escape import latex_text
from tofu_eval.report.formatting import estimate_text, mark_text

_PER_TABLE = 3
"""Models side by side: what fits on a page."""

_ARROWS = {1: r" $\uparrow$", -1: r" $\downarrow$", 0: ""}


def difference_tables(comparison: Comparison) -> Iterator[str]:
    """The lines of a table for up to three models on a task; none where nothing is compared."""
    others = [name for name in comparison.models if name != comparison.baseline]
    for task in dict.fromkeys(row.task for row in comparison.rows):
        rows = [row for row in comparison.rows if row.task == task]
        for start in range(0, len(others), _PER_TABLE):
            yield from _table(comparison, task, rows, others[start : start + _PER_TABLE])


def _table(
    comparison: Comparison, task: str, rows: Sequence[Row], models: Sequence[str]
) -> Iterator[str]:
    baseline = latex_text(comparison.baseline)
    yield from (r"\begin{table}", r"  \centering")
    yield (
        f"  \\caption{{{latex_text(task)}: the paired difference to {baseline} with its 95\\% "
        "interval, on the same prompts. *: the interval excludes 0; **: its p-value, adjusted over "
        f"{comparison.tests} differences, is also below {ALPHA:g}; "
        r"$\dagger$: no verdict.}"
    )
    yield f"  \\begin{{tabular}}{{l{'l' * (len(models) + 1)}}}"
    yield r"    \toprule"
    yield "    " + " & ".join(["metric", baseline, *map(latex_text, models)]) + r" \\"
    yield r"    \midrule"
    for row in rows:
        cells = {cell.model: cell for cell in row.cells}
        arrow = _ARROWS[sign_of_direction(row.direction)]
        base = cells.get(comparison.baseline)
        mean = "--" if base is None or base.mean.value is None else f"{base.mean.value:.4g}"
        texts = [_versus(comparison, row, cells.get(model)) for model in models]
        line = " & ".join([latex_text(row.metric) + arrow, latex_text(mean), *texts])
        yield f"    {line} \\\\"
    yield from (r"    \bottomrule", r"  \end{tabular}", r"\end{table}")


def _versus(comparison: Comparison, row: Row, cell: Cell | None) -> str:
    if cell is None or cell.difference is None or cell.difference.value is None:
        return "--"
    versus = cell.difference
    text = estimate_text(versus.value, versus.low, versus.high, sign="+")
    mark = mark_text(finding_of(comparison, row, cell))
    return latex_text(f"{text} {mark}".strip())
