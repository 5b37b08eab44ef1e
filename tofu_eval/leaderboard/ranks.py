"""Ranks with ties: models whose difference is not significant share one.

The rows of one task, metric and signature are ranked together. Every pair of them is compared on
the prompts that both have, with a sign-flip test, and the p-values of the group are adjusted
together (Holm). Best first, a new rank begins only where every row above is significantly better
than every row below; so two rows of different ranks differ significantly, and rows of one rank are
linked by pairs that do not. What that hides, `better_than` and `worse_than` tell.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tofu_eval.analysis import RESAMPLES, holm
from tofu_eval.core.errors import DataError
from tofu_eval.core.types import seed_of
from tofu_eval.leaderboard.prompt_scores import PLACE, Place, of_prompts, place_of

Floats = NDArray[np.float64]
LEVEL = 0.05
EXACT = 13
"""Prompts up to which all sign flips are tried."""
RESOLVED = 250
"""Pairs up to which the p-values of RESAMPLES random flips can pass Holm's adjustment."""
_CELLS = 2**22
"""Numbers held at once."""


def ranked(
    rows: Iterable[Mapping[str, Any]], directions: Mapping[str, str], scores: pa.Table
) -> list[dict[str, Any]]:
    """The rows of a board with their ranks; null where a direction or the scores are missing.

    Args:
        rows: of a board.
        directions: "higher", "lower" or "none" is better, by metric id.
        scores: per-prompt values, a table of BOARD_SCORE_SCHEMA.

    Raises:
        DataError: the scores hold two values for one prompt.
    """
    made = [{**row, "rank": None, "better_than": None, "worse_than": None} for row in rows]
    values = by_place(of_prompts(scores))
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in made:
        if row["value"] is not None and directions[row["metric"]] != "none":
            groups[row["task"], row["metric"], row["signature"]].append(row)
    for key, members in groups.items():
        if all(place_of(row) in values for row in members):
            _rank(members, values, 1 if directions[key[1]] == "higher" else -1, seed_of(*key))
    return made


def by_place(scores: pa.Table) -> dict[Place, dict[str | None, float | None]]:
    """Value by prompt id for each place of a table of BOARD_SCORE_SCHEMA.

    Raises:
        DataError: two values for one prompt.
    """
    lists = scores.group_by(list(PLACE)).aggregate([("prompt_id", "list"), ("value", "list")])
    found: dict[Place, dict[str | None, float | None]] = {}
    for row in lists.to_pylist():
        column = dict(zip(row["prompt_id_list"], row["value_list"], strict=True))
        if len(column) < len(row["value_list"]):
            raise DataError(
                f"The per-prompt rows hold two values of '{row['metric']}' for one prompt of "
                f"'{row['task']}', model '{row['model']}', expected one. Build the board again: "
                "tofu-eval leaderboard build RUN --scores --output FILE"
            )
        found[place_of(row)] = column
    return found


def _rank(
    rows: Sequence[dict[str, Any]],
    values: Mapping[Place, Mapping[str | None, float | None]],
    sign: int,
    seed: int,
) -> None:
    """Write the ranks of one group into its rows."""
    order = sorted(rows, key=lambda row: -sign * row["value"])
    matrix = sign * _matrix([values[place_of(row)] for row in order])
    better, tested = _significantly_better(matrix, seed)
    if len(order) > 1 and not tested:
        return
    starts = _clusters(better)
    for place, row in enumerate(order):
        row["rank"] = max(start for start in starts if start <= place) + 1
        row["better_than"] = int(better[place].sum())
        row["worse_than"] = int(better[:, place].sum())


def _matrix(columns: Sequence[Mapping[str | None, float | None]]) -> Floats:
    """(rows, prompts), NaN where undefined."""
    prompts = {id: i for i, id in enumerate(dict.fromkeys(id for c in columns for id in c))}
    matrix = np.full((len(columns), len(prompts)), np.nan)
    for line, column in zip(matrix, columns, strict=True):
        for id, value in column.items():
            line[prompts[id]] = np.nan if value is None else value
    return matrix


def _significantly_better(matrix: Floats, seed: int) -> tuple[NDArray[np.bool_], bool]:
    """(rows, rows) of whether one is better than the other, and whether any pair was tested."""
    first, second = np.triu_indices(len(matrix), k=1)
    better = np.zeros((len(matrix), len(matrix)), dtype=np.bool_)
    if not len(first):
        return better, False
    p, above = _pair_tests(matrix, first, second, seed)
    tested = ~np.isnan(p)
    # A pair that cannot be tested is not significant, and no member of the family.
    adjusted = np.ones(len(p))
    adjusted[tested] = holm(p[tested].tolist())
    found = adjusted < LEVEL
    better[first[found & above], second[found & above]] = True
    better[second[found & ~above], first[found & ~above]] = True
    return better, bool(tested.any())


def _pair_tests(
    matrix: Floats, first: NDArray[np.intp], second: NDArray[np.intp], seed: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """Of each pair the two-sided sign-flip p-value, NaN below two prompts; and who lies above."""
    prompts = matrix.shape[1]
    flips = None
    if prompts <= EXACT:
        flips = 1.0 - 2.0 * ((np.arange(2**prompts)[:, None] >> np.arange(prompts)) & 1)
    elif len(first) <= RESOLVED:
        rng = np.random.default_rng(seed)
        flips = 1.0 - 2.0 * rng.integers(0, 2, (RESAMPLES, prompts)).astype(np.float64)
    p, above = np.empty(len(first)), np.empty(len(first), dtype=np.bool_)
    step = max(1, _CELLS // (prompts if flips is None else len(flips)))
    for start in range(0, len(first), step):
        here = slice(start, start + step)
        differences = matrix[first[here]] - matrix[second[here]]
        n = np.sum(~np.isnan(differences), axis=1)
        # A difference that is not defined adds nothing, whichever its sign.
        differences = np.nan_to_num(differences)
        total = differences.sum(axis=1)
        above[here] = total > 0
        p[here] = np.where(n < 2, np.nan, _p_values(differences, total, flips, prompts <= EXACT))
    return p, above


def _p_values(differences: Floats, total: Floats, flips: Floats | None, exact: bool) -> Floats:
    if flips is None:
        # The flipped sum has mean 0 and variance Σd²; for many pairs its normal limit is what can
        # tell p-values as small as Holm asks for.
        from scipy.special import erfc

        spread = np.sqrt(np.sum(differences**2, axis=1))
        z = np.divide(np.abs(total), spread, out=np.zeros_like(total), where=spread > 0)
        return np.asarray(erfc(z / np.sqrt(2)), dtype=np.float64)
    # Sums of the same numbers in another order differ by rounding.
    slack = 1e-12 * np.sum(np.abs(differences), axis=1)
    as_far = np.sum(np.abs(flips @ differences.T) >= np.abs(total) - slack, axis=0)
    return np.asarray(as_far / len(flips) if exact else (as_far + 1) / (len(flips) + 1))


def _clusters(better: NDArray[np.bool_]) -> list[int]:
    """Where ranks begin, among rows that stand best first."""
    count = len(better)
    starts = [0]
    furthest = 0
    for place, below in pairwise(range(count)):
        tied = np.flatnonzero(~better[place, below:])
        furthest = max(furthest, below + int(tied[-1]) if len(tied) else place)
        if furthest == place:
            starts.append(below)
    return starts
