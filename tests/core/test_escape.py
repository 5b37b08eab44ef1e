from __future__ import annotations

import csv
import html
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tofu_eval.core.escape import (
    csv_text,
    html_text,
    latex_text,
    markdown_row,
    markdown_text,
    printable,
    spreadsheet_value,
)

FORMULAS = [
    "=1+1", " =1", "＝1+1", " ＝1", "+1", "＋1", "-1", "－1", "\u22121", "@SUM(A1)",
    "＠SUM(A1)", "\ufe661", "\ufe621",
]  # fmt: skip


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_text(text: str) -> None:
    shown = spreadsheet_value(text)
    assert isinstance(shown, str)
    assert shown.startswith("'")
    assert shown.endswith(text.strip()[-1])
    (cells,) = list(csv.reader(io.StringIO(csv_text([text], []))))
    assert cells == [shown]  # a header's too


@pytest.mark.parametrize("value", ["vendi", "1=1", "", "a-b", 1.5, -1.5, None, 3, True])
def test_what_is_no_formula_stays(value: object) -> None:
    assert spreadsheet_value(value) == value


def test_csv_has_a_line_a_row() -> None:
    text = csv_text(["a", "b"], [["x\ny", None], ["\t=1", 2.5]])
    assert list(csv.reader(io.StringIO(text))) == [["a", "b"], ["x\\ny", ""], ["\\t=1", "2.5"]]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("self_bleu 0.5", "self_bleu 0.5"),
        ("vendi[correct] 1.5 [1.2, 1.8] *", r"vendi[correct] 1.5 [1.2, 1.8] \*"),
        ("1.5 [1.2, 1.8]", "1.5 [1.2, 1.8]"),
        ("_all_", r"\_all\_"),
        ("a|b", r"a\|b"),
        ("<b> & `c`", r"&lt;b&gt; &amp; \`c\`"),
        ("[x](javascript:alert)", r"\[x\](javascript:alert)"),
        ("https://x.example", r"https\://x.example"),
        ("www.x.example", r"www\.x.example"),
        ("me@x.example", r"me\@x.example"),
        ("- item", r"\- item"),
        ("-1.5 [-2, -1]", "-1.5 [-2, -1]"),
        ("---", r"\---"),
        ("[x]: https://x", r"\[x\]: https\://x"),
        ("[ ] done", r"\[ ] done"),
        ("1. item", r"1\. item"),
        ("a\n# b", r"a\\n\# b"),
    ],
)
def test_markdown_shows_text_as_it_is(text: str, shown: str) -> None:
    assert markdown_text(text) == shown


@given(st.text(max_size=30))
def test_no_text_breaks_its_place(text: str) -> None:
    for shown in (printable(text), markdown_text(text), latex_text(text), html_text(text)):
        assert shown.isprintable()
    row = markdown_row([markdown_text(text), "x"])
    assert row.replace("\\\\", "").replace("\\|", "").count("|") == 3
    assert "<" not in markdown_text(text)
    assert not set("<>\"'") & set(html_text(text))
    assert html.unescape(html_text(text)) == printable(text)
    first = str(spreadsheet_value(text)).lstrip()[:1]
    assert first not in set("=+-@＝＋－＠\u2212")


def test_latex_takes_nothing_for_a_command() -> None:
    shown = latex_text(r"\input{x} $a_b^c$ 50% #1 ~ & [x] <y>")
    assert shown == (
        r"\textbackslash{}input\{x\} \$a\_b\textasciicircum{}c\$ 50\% \#1 \textasciitilde{} \& "
        r"{[}x{]} \textless{}y\textgreater{}"
    )
