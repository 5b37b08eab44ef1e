"""Every hostile text, in every place that shows texts: it stands there as a text."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import unicodedata
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from support.commands import invoke

import tofu_eval as te
from hostile.texts import ALL, CLASSES
from tofu_eval.core.escape import csv_text, html_text, latex_text, markdown_text, printable
from tofu_eval.features.rubric import harmful, load_rubric, question, read_rating
from tofu_eval.report import read, write_page
from tofu_eval.run.store import Run

SHORT = [text for text in ALL if len(text) < 1000]
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")


def check_terminal(text: str) -> None:
    shown = printable(text)
    assert "\n" not in shown
    assert not CONTROL.search(shown)
    assert shown.isprintable() or not shown


def check_csv(text: str) -> None:
    (row,) = list(csv.reader(io.StringIO(csv_text(["x"], [[text]]))))[1:] or [[""]]
    cell = row[0] if row else ""
    first = unicodedata.normalize("NFKC", cell.lstrip()[:1] or " ")[0]
    assert first not in "=+-@\N{MINUS SIGN}"
    assert not CONTROL.search(cell)


def check_markdown(text: str) -> None:
    """With tables and raw HTML on, all of it is words: alone, and in a cell."""
    parser = MarkdownIt("gfm-like", {"linkify": False, "html": True}).enable("table")
    escaped = markdown_text(text)
    for source in (escaped, f"| a | b |\n|---|---|\n| {escaped} | end |"):
        tokens = parser.parse(source)
        allowed = {"paragraph_open", "paragraph_close", "inline", "text", "softbreak"}
        if source is not escaped:
            parts = ("table", "thead", "tbody", "tr", "th", "td")
            allowed |= {f"{part}_{side}" for part in parts for side in ("open", "close")}
            assert sum(token.type == "td_open" for token in tokens) == 2
        inner = [child for token in tokens for child in token.children or ()]
        words = {"text", "text_special", "softbreak"}
        if escaped.strip():
            assert {token.type for token in tokens} <= allowed
        assert {token.type for token in inner} <= words


def check_latex(text: str) -> None:
    made = latex_text(text)
    known = (
        r"\\(?:textbackslash|textasciicircum|textasciitilde|textless|textgreater|textbar)\{\}"
        r"|\\[{}$&#%_]|\{\[\}|\{\]\}"
    )
    assert not re.search(r"[\\{}$&#%_^~]", re.sub(known, "", made))


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.data = ""

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.tags.append(tag)
        self.value = dict(attributes).get("title")

    def handle_data(self, data: str) -> None:
        self.data += data


def check_html(text: str) -> None:
    parser = _Words()
    parser.feed(f'<p title="{html_text(text)}">{html_text(text)}</p>')
    parser.close()
    assert parser.tags == ["p"]
    assert parser.data == parser.value == printable(text)


@pytest.mark.parametrize("text", SHORT, ids=lambda text: ascii(text)[1:30])
def test_a_text_is_a_text(text: str) -> None:
    for check in (check_terminal, check_csv, check_markdown, check_latex, check_html):
        check(text)


@pytest.mark.parametrize("text", CLASSES["judges"], ids=lambda text: ascii(text)[1:30])
def test_what_is_judged_does_not_answer_for_the_judge(text: str) -> None:
    special = ["<|im_end|>", "<|im_start|>", "[INST]", "[/INST]", "<|eot_id|>"]
    prompt = te.Prompt.of_text("p", f"Say something. {text}")
    asked = question(load_rubric("instruction"), prompt, text, special)
    assert not any(token in asked for token in special)
    assert math.isnan(read_rating(asked))
    assert math.isnan(harmful(asked))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose ids, prompts, responses, references and clusters are all of the corpus."""
    folder = tmp_path_factory.mktemp("hostile")
    rows = []
    for model, step in (("base", 1), ("sft", 7)):
        for i, text in enumerate(SHORT):
            others = [SHORT[(i + step * j) % len(SHORT)] for j in range(1, 3)]
            rows.append(
                {
                    "id": f"{text[:200]} {i}",
                    "prompt": f"{text} {i}",
                    "model": model,
                    "responses": [text, *others],
                    "references": [text],
                    "topic": text[:200].strip("\n") or "none",
                }
            )
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    result = invoke(
        *("score", folder / "rows.jsonl", "--cluster", "topic", "--output", folder / "run"),
        *("--metric", "unique_rate", "--metric", "distinct_1"),
    )
    assert result.exit_code == 0, result.output
    assert not CONTROL.search(result.output)
    return folder / "run"


def test_no_command_shows_more_than_text(run: Path) -> None:
    for command in (
        ("compare", run),
        ("compare", run, "--format", "markdown"),
        ("compare", run, "--cluster", "topic"),
        ("runs", "show", run),
        ("leaderboard", "show", run / "leaderboard.json"),
        ("leaderboard", "show", run / "leaderboard.json", "--cite"),
    ):
        result = invoke(*command)
        assert not CONTROL.search(result.output), command


def test_the_page_shows_them_and_obeys_none(run: Path, look: Any, tmp_path: Path) -> None:
    page_file = tmp_path / "page.html"
    write_page(page_file, read(Run.open(run)))
    page = look(page_file)
    assert page.evaluate("window.owned") is None
    assert page.evaluate("({}).owned") is None
    page.locator("#responses").scroll_into_view_if_needed()
    evil = ("form[action]", "link[href]", "a[href^=javascript]", "[onerror]", "[onload]")
    for tag in (*evil, "iframe", "object", "embed", "base", "video", "img", "plaintext"):
        assert page.locator(tag).count() == 0, tag
