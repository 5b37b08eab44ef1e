"""What the tests of the report share: runs of responses that are there already, their pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from tofu_eval.cli import main
from tofu_eval.report import read, write_page
from tofu_eval.run.store import Run

Look = Callable[..., Any]
METRICS = (
    *("distinct_1", "self_bleu", "unique_rate", "mean_length"),
    *("distinct_k", "reference_coverage_exact"),
)
FRUIT = ["apple", "pear", "plum", "fig", "lime", "kiwi", "date", "sloe"]

HOSTILE = [
    "<script>window.owned = 1</script>",
    "</script><script>window.owned = 2</script>",
    '<img src=x onerror="window.owned = 3">',
    "<!-- <script> -->",
    '<a href="javascript:window.owned = 4">click</a>',
    '"><svg onload="window.owned = 5">',
    "right \u202egnp.exe left \u2066inside\u2069 \u200b end",
    "\u2028\u2029 {{ 7 * 7 }} ${window.owned = 6} \\u003cscript\\u003e",
    "two lines\r\nof Windows, a tag \U000e0041",
    "nul \x00 bell \x07 escape \x1b[31mred",
    "]]> <style>body { display: none }</style> &lt;b&gt; &amp;",
    "א ב ג שלום עולם",
    "m" * 1_000_000,
]


def score(
    output: Path, rows: list[dict[str, Any]], *arguments: str, metrics: Sequence[str] = METRICS
) -> Path:
    """A run of responses that are there already."""
    file = output.with_suffix(".jsonl")
    file.write_text("\n".join(map(json.dumps, rows)))
    flags = [flag for name in metrics for flag in ("--metric", name)]
    more = ["--equivalence", "word-overlap", *arguments]
    result = CliRunner().invoke(main, ["score", str(file), "--output", str(output), *flags, *more])
    assert result.exit_code == 0, result.output
    return output


def written(run: Path, **choice: Any) -> Path:
    """The report of a run, beside it."""
    path = run.parent / f"{run.name}-{'-'.join(map(str, choice.values())) or 'all'}.html"
    if not path.exists():
        write_page(path, read(Run.open(run), **choice))
    return path
