"""How a `Result` shows itself: a line and a table of its estimates, as text and in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tofu_eval.core.escape import printable
from tofu_eval.core.templates import render_html
from tofu_eval.report.formatting import align_rows, estimate_text

if TYPE_CHECKING:
    from tofu_eval.pipeline.evaluate import Result

HEADER = ("task", "metric", "model", "mean [95% interval]", "n")
MOST = 40
"""Rows that are shown; `to_pandas()` has all."""

_TABLE = """\
<table><caption>{{ caption }}</caption>
<thead><tr>{% for name in header %}<th>{{ name }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table>"""


def result_text(result: Result) -> str:
    """The line and the table."""
    lines = align_rows([HEADER, *_rows(result)], right=(4,))
    return "\n".join([_caption(result), *lines])


def result_html(result: Result) -> str:
    """The same for a notebook; whatever others wrote is escaped."""
    shown = {"caption": _caption(result), "header": HEADER, "rows": _rows(result)}
    return render_html(_TABLE, shown)


def _caption(result: Result) -> str:
    rows = result.estimates
    models, tasks, metrics = (
        len(set(rows[name].to_pylist())) for name in ("model", "task", "metric")
    )
    counts = ", ".join(
        f"{count} {noun}{'s' * (count != 1)}"
        for count, noun in ((models, "model"), (tasks, "task"), (metrics, "metric"))
    )
    place = f" in {result.path}" if result.path is not None else ""
    more = f"; the first {MOST} of {len(rows)} rows" if len(rows) > MOST else ""
    return printable(f"Result{place}: {counts}{more}. Compare: te.compare(result)")


def _rows(result: Result) -> list[Sequence[str]]:
    return [
        (
            *map(printable, (row["task"], row["metric"], row["model"])),
            estimate_text(row["value"], row["low"], row["high"]) or "–",
            str(row["n"]),
        )
        for row in result.estimates.slice(0, MOST).to_pylist()
    ]
