"""What may be said of one difference: whether it is void, clear, or shown to be small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tofu_eval.analysis import Difference, Pair
from tofu_eval.analysis.columns import Key, whole_table
from tofu_eval.analysis.comparison import Cell, How, Withheld, ends_of, is_clear
from tofu_eval.analysis.direction import sign_of_direction
from tofu_eval.analysis.equal_counts import Equalised
from tofu_eval.analysis.equal_lengths import LENGTH_RATIO, Lengths, stands_at_equal_lengths
from tofu_eval.analysis.paired import is_significant, subtract_common

SHARE_MARGIN = 0.02
"""The margin of equivalence of a share or an accuracy, where none is given."""

SPREAD_MARGIN = 0.2
"""That of another quality, in standard deviations of the baseline over prompts."""


def turn_of(cell: Cell, direction: str) -> int | None:
    """-1, 0 or 1 where something can be said."""
    difference = cell.difference
    if cell.withheld or difference is None or cell.p_adjusted is None:
        return None
    if not is_clear(cell) or difference.value is None:
        return 0
    up = 1 if difference.value > 0 else -1
    return up * (sign_of_direction(direction) or 1)


def why_withheld(
    key: Key,
    equal: Equalised,
    pair: Pair,
    difference: Difference,
    lengths: Sequence[Lengths],
    how: How,
    *,
    level: float,
) -> list[Withheld]:
    """What voids a difference; `level` is that of one test of the comparison."""
    found = []
    if equal.missing:
        found.append(Withheld("counts", *(equal.responses or (0.0, 0.0)), len(equal.missing)))
    elif equal.left_out and difference.n < 2:
        found.append(Withheld("prompts", *(equal.responses or (0.0, 0.0)), len(equal.left_out)))
    moved = how.facts.get(key[2], {}).get("length_sensitive") and not how.truncate
    ours, theirs = (own.mean for own in lengths)
    if moved and ours and theirs and not _is_beyond_length(pair, difference, lengths, level):
        found.append(Withheld("lengths", ours, theirs))
    return found


def _is_beyond_length(
    pair: Pair, difference: Difference, lengths: Sequence[Lengths], level: float
) -> bool:
    """Whether lengths are near, and a difference that is clear is there at equal ones too.

    The blocks of a corpus have no lengths; what cannot be looked at stands.
    """
    short, long = sorted(own.mean for own in lengths)
    if long > LENGTH_RATIO * short:
        return False
    if not is_significant(difference):
        return True
    away = subtract_common(pair.a, pair.b)
    ours, theirs = (own.prompts for own in lengths)
    if not away.keys() & ours.keys() & theirs.keys():
        return True
    return stands_at_equal_lengths(away, ours, theirs, clusters=pair.clusters, level=level)


def lengths_of(how: How, members: Sequence[str], task: str) -> Lengths:
    """How long responses are, over the seeds of a series."""
    return Lengths.over_seeds([how.lengths[m, task] for m in members if (m, task) in how.lengths])


def margin_of(metric: str, equal: Equalised, facts: Mapping[str, Any], how: How) -> float | None:
    """The margin of equivalence: as given, else by default for a quality."""
    if metric in how.margins:
        return how.margins[metric]
    if facts.get("measures") != "quality" or facts.get("direction") == "none":
        return None
    if tuple(facts.get("range", ())) == ("0", "1"):
        return SHARE_MARGIN
    _, table = whole_table(equal.theirs)
    values = table.mean(axis=0)
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return SPREAD_MARGIN * spread or None


def lies_within(difference: Difference, margin: float | None, direction: str) -> tuple[bool, bool]:
    """Whether the 90% interval lies within the margin; and whether on the bad side."""
    low, high = difference.low_90, difference.high_90
    if margin is None or low is None or high is None:
        return False, False
    worst = -high if sign_of_direction(direction) < 0 else low
    return -margin < low and high < margin, worst > -margin


def keep_in_range(difference: Difference, facts: Mapping[str, Any]) -> Difference:
    """The interval within what a difference of two such values can be.

    The truth is nowhere else, so that what lies outside holds nothing: the coverage stays.
    """
    ends = ends_of(facts)
    if ends is None or difference.low is None or difference.high is None:
        return difference
    try:
        most = float(ends[1]) - float(ends[0])
    except ValueError:  # "n", which is no number
        return difference
    value = difference.value or 0.0
    low, high = min(value, max(difference.low, -most)), max(value, min(difference.high, most))
    return replace(difference, low=low, high=high)
