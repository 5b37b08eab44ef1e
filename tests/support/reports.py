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


class Looks:
    """Pages in a browser, and whatever they complained of."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser
        self._contexts: list[Any] = []
        self.complaints: list[str] = []

    def open(
        self,
        path: Path,
        *,
        width: int = 1280,
        height: int = 860,
        ready: bool = True,
        **settings: Any,
    ) -> Any:
        """A page that shows a file."""
        context = self._browser.new_context(viewport={"width": width, "height": height}, **settings)
        self._contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.add_init_script(
            "document.addEventListener('securitypolicyviolation', (event) =>"
            " console.error(`policy: ${event.violatedDirective} ${event.sample}`))"
        )
        page.on("console", lambda said: self._hear(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("request", lambda asked: self._hear(f"request: {asked.url}"))
        page.goto(path.as_uri())
        if ready:
            page.wait_for_selector("html[data-ready=true]")
        return page

    def _hear(self, said: str) -> None:
        kind, _, what = said.partition(": ")
        if kind in ("error", "warning") or (kind == "request" and not what.startswith("file:")):
            self.complaints.append(said)

    def close(self) -> None:
        """Close the pages."""
        for context in self._contexts:
            context.close()


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
