"""Texts of other people, made safe for where they are shown: one set of rules a kind of place.

A name, a reason, a response may hold anything. What a terminal obeys instead of showing, what a
spreadsheet computes, what Markdown, LaTeX or HTML takes for markup becomes the text of itself.
Whatever this package writes for a place goes through the function of that place.
"""

from __future__ import annotations

import csv
import html
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence

_FORMULA = "=+-@"
"""How a text begins that a spreadsheet computes; full-width and small forms fold to these."""

_MINUS = "\N{MINUS SIGN}"

_MARKDOWN = frozenset("\\`*|~#@$")
"""What Markdown, and GitHub's, may take for markup wherever it stands."""

_LIST = re.compile(
    r"\s*(?:-(?=[\s-]|$)|\+(?=\s|$)|=(?==*\s*$)|\[(?=[ x]?\]|[^\]]*\]:)|\d+(?=[.)](?:\s|$)))"
)
"""How a line begins that Markdown takes for an item of a list, a heading, a box to tick."""

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "[": "{[}", "]": "{]}", "|": r"\textbar{}",
}  # fmt: skip


def printable(text: str) -> str:
    """Text on one line for a terminal: an escape for each character that is not shown as it stands.

    Line ends, commands to the terminal and marks that turn the direction of writing are among them.
    """
    if text.isprintable():  # as nearly all are, of which a large board has millions
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def cut_middle(text: str, most: int) -> str:
    """The beginning and the end of a text that is longer, and between them how much is left out."""
    if len(text) <= most:
        return text
    tail = most // 3
    head = most - tail
    return f"{text[:head]}… ({len(text) - most:,} characters left out) …{text[-tail:]}"


def spreadsheet_value(value: object) -> object:
    """A field that no spreadsheet takes for a formula; numbers stay numbers, None is empty.

    A text that would be computed begins with an apostrophe, which spreadsheets do not show. Blanks
    before it, and full-width signs, do not hide a formula from all of them, nor from this.
    """
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if _is_formula(text) else text


def csv_text(header: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """A table as CSV; no text of it, its header's too, is taken for a formula."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    for row in (header, *rows):
        writer.writerow(spreadsheet_value(value) for value in row)
    return file.getvalue()


def markdown_text(text: str) -> str:
    """Text that Markdown shows as it is, on one line; also in a cell and at the start of a line."""
    shown = printable(text)
    out = []
    for i, c in enumerate(shown):
        if c in _MARKDOWN or (c == "_" and not _is_inside_word(shown, i)):
            out.append(f"\\{c}")
        elif c == "]" and shown[i + 1 : i + 2] in ("(", "[", ":"):  # no link of its own making
            out.append("\\]")
        elif c == ":" and shown.startswith("//", i + 1):  # no link of a bare address
            out.append("\\:")
        elif c == "." and shown[max(0, i - 3) : i].lower() == "www":
            out.append("\\.")
        else:
            out.append(html.escape(c, quote=False))
    if item := _LIST.match(shown):
        mark = item.end() - (shown[item.end() - 1] in "-+=[")
        out[mark] = f"\\{shown[mark]}"
    if shown.startswith("    "):  # a block of code
        out[0] = "&#32;"
    return "".join(out)


def markdown_row(cells: Sequence[str]) -> str:
    """A row of a Markdown table, of cells that are escaped already."""
    return f"| {' | '.join(cells)} |"


def latex_text(text: str) -> str:
    """Text that LaTeX shows as it is."""
    return "".join(_LATEX.get(c, c) for c in printable(text))


def html_text(text: str) -> str:
    """Text for HTML, also between the quotes of an attribute."""
    return html.escape(printable(text), quote=True)


def _is_formula(text: str) -> bool:
    first = text.lstrip()[:1]
    return first == _MINUS or (first != "" and unicodedata.normalize("NFKC", first)[0] in _FORMULA)


def _is_inside_word(text: str, i: int) -> bool:
    return 0 < i < len(text) - 1 and text[i - 1].isalnum() and text[i + 1].isalnum()
