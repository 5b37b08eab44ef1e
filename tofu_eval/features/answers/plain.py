"""Comparing answers that need no algebra: equal texts, numbers, words, units."""

from __future__ import annotations

import re
from fractions import Fraction

TOLERANCE = Fraction(1, 10**6)
"""Relative difference at which two numbers, not both whole, are one."""

DIGITS = 100
"""Characters of a number that is compared here."""

_SYMBOLS = {
    "−": "-", "–": "-", "—": "-", "×": r"\times ", "·": r"\cdot ", "÷": r"\div ",
    "π": r"\pi ", "∞": r"\infty ", "°": r"^\circ ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ",
    "∪": r"\cup ", "∩": r"\cap ", "∅": r"\emptyset ", "∈": r"\in ", "√": r"\sqrt ",
    "²": "^2", "³": "^3", "½": r"\frac{1}{2}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}",
    "\u00a0": " ", "\u202f": " ", "\u2009": " ",
}  # fmt: skip

_DROPPED = re.compile(
    r"\\(?:displaystyle|textstyle|left|right|bigl?|bigr|Bigl?|Bigr)(?![a-zA-Z])|\\!"
)
_SPACES = re.compile(r"(?<!\\)\\[,;: ]|~|\\quad|\\qquad|\s+")
_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:(?: |\{,\})\d{3})+(?![\d,])")
_COMMAS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_NUMBER = re.compile(r"([+-]?)(\d+(?:\.\d*)?|\.\d+)(?:[eE]([+-]?\d{1,2}))?")
_FRACTION = re.compile(r"([+-]?)(?:\\[dt]?frac\{(-?\d+)\}\{(-?\d+)\}|(\d+)/(\d+))")
_TEXT = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox|operatorname)\{([^{}]*)\}")
_WORDS = re.compile(r"[^\W\d_][\w'’.\-]*(?:[ ,]+[\w'’.\-]+)*")
_UNIT = re.compile(
    r"(?P<number>.*[\d}!)])(?P<gap>\s*)(?P<unit>[a-zA-Zµ]{1,20}(?:[ /][a-zA-Z]+){0,3}"
    r"(?:\s*\^\s*\{?\s*[23]\s*\}?)?)\.?"
)

_NAMES = {
    "cm": "centimetre centimetres centimeter centimeters cms",
    "mm": "millimetre millimetres millimeter millimeters",
    "m": "metre metres meter meters",
    "km": "kilometre kilometres kilometer kilometers kms",
    "in": "inch inches",
    "ft": "foot feet",
    "mi": "mile miles",
    "yd": "yard yards",
    "g": "gram grams",
    "kg": "kilogram kilograms kilo kilos kgs",
    "lb": "lbs pound pounds",
    "s": "sec secs second seconds",
    "min": "mins minute minutes",
    "h": "hr hrs hour hours",
    "day": "days",
    "week": "weeks",
    "month": "months",
    "year": "yr yrs years",
    "l": "L litre litres liter liters",
    "ml": "mL millilitre millilitres milliliter milliliters",
    "deg": "degree degrees",
    "dollar": "dollars USD usd",
    "cent": "cents",
    "euro": "euros EUR",
}
UNITS = {alias: unit for unit, aliases in _NAMES.items() for alias in (unit, *aliases.split())}
"""Names of units; two that differ make two answers, and none is converted into another."""


def strip_dress(answer: str) -> str:
    r"""An answer without what says nothing: dollars around it, `\left`, a full stop, spaces."""
    for symbol, latex in _SYMBOLS.items():
        answer = answer.replace(symbol, latex)
    answer = _SPACES.sub(" ", _DROPPED.sub("", answer)).strip()
    for start, end in (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")):
        if len(answer) > len(start + end) and answer.startswith(start) and answer.endswith(end):
            answer = answer[len(start) : -len(end)].strip()
    answer = answer.rstrip(".,;:").strip()
    answer = _GROUPED.sub(lambda m: m.group().replace("{,}", "").replace(" ", ""), answer)
    answer = re.sub(r"\{,\}", ",", answer)
    # A currency before a number is a unit that the question has named.
    return re.sub(r"^(-?)(?:\\?[$£€])\s*(?=[-\d.])", r"\1", answer)


def number(answer: str) -> Fraction | None:
    """A tidy answer as a number: `-1,234.5`, `1e5`, `3/4`, `\\frac{3}{4}`; else None."""
    if len(answer) > DIGITS:
        return None
    if _COMMAS.fullmatch(answer):
        answer = answer.replace(",", "")
    plain = answer.replace(" ", "") if re.fullmatch(r"[+-] \d.*|\d+ ?/ ?\d+", answer) else answer
    if match := _NUMBER.fullmatch(plain):
        sign, digits, power = match.groups()
        value = Fraction(digits if not digits.endswith(".") else digits[:-1])
        value *= Fraction(10) ** int(power or 0)
    elif match := _FRACTION.fullmatch(plain):
        sign, top, bottom, over, under = match.groups()
        if int(bottom or under) == 0:
            return None
        value = Fraction(int(top or over), int(bottom or under))
    else:
        return None
    return -value if sign == "-" else value


def same_number(one: Fraction, other: Fraction) -> bool:
    """Whole numbers exactly, others up to TOLERANCE of the larger."""
    if one.denominator == other.denominator == 1:
        return one == other
    return abs(one - other) <= TOLERANCE * max(abs(one), abs(other))


def words(answer: str) -> str | None:
    r"""A tidy answer that is a word or a phrase, in lower case without articles; else None.

    One letter is a variable, unless it stands in `\text{}`.
    """
    marked = _TEXT.search(answer) is not None
    bare = _TEXT.sub(r" \1 ", answer).strip(" .,;:!?()\"'")
    bare = " ".join(bare.split())
    letters = sum(c.isalpha() for c in bare)
    if letters < (1 if marked else 2) or not _WORDS.fullmatch(bare):
        return None
    bare = re.sub(r"\b(?:the|an?)\s+", "", bare.casefold())
    return bare.replace("-", " ").strip(" .") or None


def without_unit(answer: str) -> tuple[str, str | None]:
    r"""A tidy answer as its number and its unit: "5\text{ cm}" as ("5", "cm"), "x" as ("x", None).

    Of a phrase with a single number, "18 dollars a day", the number is taken and the rest, unless
    it is a unit by itself, counts for nothing ("").
    """
    bare = " ".join(_TEXT.sub(r" \1 ", answer).split())
    match = _UNIT.fullmatch(bare)
    if match is None or ("\\" in match["unit"]):
        return answer, None
    spaced, unit = bool(match["gap"]) or "\\text" in answer, match["unit"]
    power = re.search(r"\^\D*([23])", unit)
    name = re.split(r"[ /^]", unit)[0]
    symbol = UNITS.get(name)
    if not spaced and symbol is None:
        return answer, None  # 2x is no number with a unit
    if number(strip_dress(match["number"])) is None and symbol is None:
        return answer, None
    if len(name) == 1 and not spaced:
        return answer, None  # 2m may be twice m
    written = "" if symbol is None or "/" in unit or " " in unit.split("^")[0].strip() else symbol
    return strip_dress(match["number"]), (written + (f"^{power[1]}" if power and written else ""))


def lone_number(answer: str) -> Fraction | None:
    """The number of a phrase that has exactly one, among words alone; else None."""
    if not re.fullmatch(r"[\w\s$€£.,%'’-]*", answer) or "%" in answer:
        return None
    numbers = re.findall(r"(?<![\w.])-?[$€£]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)", answer)
    if len(numbers) != 1 or not re.search(r"[^\W\d_]{2}", answer):
        return None
    return number(numbers[0].translate({ord(c): None for c in "$€£"}).rstrip(","))
