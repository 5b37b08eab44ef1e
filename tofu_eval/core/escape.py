"""Text of others, made safe for where it is shown: terminals, Markdown, LaTeX, spreadsheets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
"""How a cell begins that a spreadsheet computes, in full width too."""

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "[": "{[}", "]": "{]}",
}  # fmt: skip


def printable(text: str) -> str:
    """Text on one line, with an escape for what is not shown as it stands."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _bar(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown(text: str) -> str:
    text = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{c}" if c in "\\`*_[]()|~#!" else c for c in text)


def _latex(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in printable(text))


def _plain(value: Any) -> Any:
    """A field that no spreadsheet takes for a formula."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return (
        f"'{text}"
        if text.lstrip().startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))
        else text
    )


def markdown_row(cells: list[str]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def markdown_text(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    for character in "\\`*|":
        text = text.replace(character, f"\\{character}")
    return text


def spreadsheet_value(value: Any) -> Any:
    """A field that no spreadsheet takes for a formula."""
    formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if formula else value
