"""The one test of significance: sign flips that all differences share, adjusted by max-T.

If two models do not differ, each prompt's difference could as well have had the other sign. The
signs of a prompt are the same for every difference that is tested, so that a family of tests keeps
its correlations: the adjusted p-value of a difference is how often the largest statistic of the
family exceeds its own (Westfall and Young). What is correlated costs little, and the smallest
p-value does not depend on how many differences there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tofu_eval.analysis.intervals import Floats

FLIPS = 9999
"""Random flips, where not all are counted."""
EXACT = 13
"""Units up to which all flips are counted."""
_ROUND = 1024
"""Flips that are in memory at once."""
_UNITS = 512
"""Units whose signs are."""
_CELLS = 2**22
"""Numbers that are."""
_TIES = 1e-6
"""What the roots weigh, beside the differences, in the sum that is tested."""
_ROUNDING = 1e-12
"""Statistics that are this close count as equal."""


@dataclass(frozen=True, slots=True)
class Column:
    """Differences to be tested, and the unit of each: a prompt or a cluster of prompts.

    Units that are called alike, in whichever column, get the same signs. `statistic` replaces the
    column's own: of a test that knows more than the flips, on the scale of a normal deviate.
    """

    values: Floats
    units: Sequence[str]
    statistic: float | None = None


@dataclass(frozen=True, slots=True)
class Test:
    """A two-sided p-value, and the same adjusted over its family; None below two units."""

    p_value: float | None
    adjusted: float | None


@dataclass(frozen=True, slots=True)
class Family:
    """The tests of a family in the order of its columns.

    `level` is the p-value below which the first of them would be clear: 0.05 where there is one,
    0.05 / m where m are independent, more where they are correlated.
    """

    tests: tuple[Test, ...]
    level: float


def sign_flip_tests(
    columns: Sequence[Column], *, alpha: float = 0.05, flips: int = FLIPS
) -> Family:
    """Test every column, and all of them together.

    Statistic: |sum d| / sqrt(sum d²), which flips leave of variance 1 whatever the unit of d. Flips
    whose sums tie are told apart by what the signed roots of the differences sum to: without that,
    many tied scores make the test stricter than its level (3.5% instead of 5% for 30 prompts and
    five values); any such statistic leaves it exact. The signs of a unit are drawn from its name
    alone, so that what else is compared changes no p-value but the adjusted one.

    Args:
        columns: a column a difference.
        alpha: the level of `Family.level`.
        flips: how many random ones; then p is at least 1 / (flips + 1).
    Returns: `p_value` over all 2ⁿ flips of up to EXACT units, else over random ones; `adjusted` by
        step-down max-T over random flips, never below `p_value`.
    Source: Fisher, The Design of Experiments, 1935, section 21; Westfall and Young,
        Resampling-Based Multiple Testing, 1993, section 2.6.
    """
    tested = [i for i, column in enumerate(columns) if len(column.values) > 1]
    split = [_split_ties(columns[i].values) for i in tested]
    seen = np.array([_statistic(some, columns[i]) for some, i in zip(split, tested, strict=True)])
    alone, together, greatest = _count_flips(split, [columns[i].units for i in tested], seen, flips)
    tests = [Test(None, None)] * len(columns)
    least = 0.0
    for place in np.argsort(-seen, kind="stable"):
        i, n = tested[place], len(split[place])
        own = (alone[place] + 1) / (flips + 1)
        if n <= EXACT:
            own = _count_all(split[place], seen[place])
        adjusted = own if len(tested) == 1 else max(own, (together[place] + 1) / (flips + 1))
        least = max(least, adjusted)
        tests[i] = Test(float(own), float(least))
    return Family(tuple(tests), _first_level(greatest, alpha, len(tested)))


def least_p_value(units: int) -> float:
    """The smallest p-value that the test of so many units can give: 0.125 of four."""
    return max(2.0 ** (1 - units), 1 / (FLIPS + 1)) if units > 1 else 1.0


def _split_ties(values: Floats) -> Floats:
    """The differences, moved by so little of their signed roots that only ties are decided."""
    size = np.abs(values)
    moved: Floats = values + _TIES * np.sign(values) * np.sqrt(size * size.max(initial=0))
    return moved


def _norm(values: Floats) -> float:
    scale = float(np.abs(values).max(initial=0))  # first, so that squaring overflows nowhere
    return scale * float(np.sqrt(np.sum((values / scale) ** 2))) if scale else 0.0


def _statistic(values: Floats, column: Column) -> float:
    if column.statistic is not None:
        return abs(column.statistic)
    norm = _norm(values)
    return abs(float((values / norm).sum())) if norm else 0.0


def _count_all(values: Floats, seen: float) -> float:
    """The share of all 2ⁿ flips whose statistic is at least that."""
    norm, n = _norm(values), len(values)
    if not norm:
        return 1.0
    signs = 2.0 * ((np.arange(2 ** (n - 1))[:, None] >> np.arange(n)) & 1) - 1
    sums = np.abs(signs @ (values / norm))  # the other half are their negatives
    return float(np.mean(sums >= seen - _ROUNDING * n))


def _count_flips(
    columns: Sequence[Floats], units: Sequence[Sequence[str]], seen: Floats, flips: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """How often random flips reach each statistic; how often the largest of those not above it
    do; and the largest of all, a flip each."""
    count = len(columns)
    alone, together = np.zeros((2, count), dtype=np.int64)
    greatest = np.zeros(flips)
    if not count:
        return alone, together, greatest
    table = _Table(columns, units)
    order = np.argsort(seen, kind="stable")
    reach = seen - _ROUNDING * np.sqrt([len(column) for column in columns])
    step = max(1, _CELLS // count)
    for begin in range(0, flips, _ROUND):
        sums = table.flip(begin, min(begin + _ROUND, flips))
        for start in range(0, len(sums), step):
            some = sums[start : start + step]
            alone += (some >= reach).sum(axis=0)
            largest = np.maximum.accumulate(some[:, order], axis=1)
            together[order] += (largest >= reach[order]).sum(axis=0)
            greatest[begin + start : begin + start + len(some)] = largest[:, -1]
    return alone, together, greatest


class _Table:
    """Columns over the units of all of them, each column of length 1."""

    def __init__(self, columns: Sequence[Floats], units: Sequence[Sequence[str]]) -> None:
        names = sorted(set().union(*units))
        place = {name: i for i, name in enumerate(names)}
        self._keys = np.array([_key_of(name) for name in names], dtype=np.uint64)
        self._rows = [np.array([place[name] for name in some], dtype=np.int64) for some in units]
        self._columns = [values / (_norm(values) or 1.0) for values in columns]
        whole = len(names) * len(columns) <= 4 * _CELLS
        self._whole = self._fill(0, len(names)) if whole else None

    def flip(self, begin: int, end: int) -> Floats:
        """The absolute sums under these flips, (flips, columns)."""
        sums = np.zeros((end - begin, len(self._columns)))
        for start in range(0, len(self._keys), _UNITS):
            signs = _draw_signs(self._keys[start : start + _UNITS], begin, end)
            sums += signs.T @ self._block(start, len(signs))
        return np.abs(sums, out=sums)

    def _block(self, start: int, count: int) -> Floats:
        if self._whole is not None:
            return self._whole[start : start + count]
        return self._fill(start, count)

    def _fill(self, start: int, count: int) -> Floats:
        block = np.zeros((count, len(self._columns)))
        for place, (rows, values) in enumerate(zip(self._rows, self._columns, strict=True)):
            here = (rows >= start) & (rows < start + count)
            block[rows[here] - start, place] = values[here]
        return block


def _key_of(unit: str) -> int:
    return int.from_bytes(hashlib.blake2b(unit.encode(), digest_size=8).digest(), "little")


def _draw_signs(keys: NDArray[np.uint64], begin: int, end: int) -> Floats:
    """The signs of units, 1 and -1, in these flips, (units, flips); `begin` is a multiple of 64.

    SplitMix64 of each unit's key (Steele, Lea and Flood, OOPSLA 2014): any flip of any unit can be
    had without those before it.
    """
    place = np.arange(begin // 64 + 1, -(-end // 64) + 1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        mixed = keys[:, None] + place * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    bits = np.unpackbits(mixed.astype("<u8").view(np.uint8), axis=1, count=end - begin)
    return 2.0 * bits.astype(np.float64) - 1.0


def _first_level(greatest: Floats, alpha: float, count: int) -> float:
    """The p-value of one test whose statistic is at the family's 1 - alpha quantile."""
    from scipy.special import ndtr

    if count < 2:
        return alpha
    return float(min(alpha, 2 * ndtr(-np.quantile(greatest, 1 - alpha))))
