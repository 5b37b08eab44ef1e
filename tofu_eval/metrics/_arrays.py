"""What several metrics ask of their inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tofu_eval.core.errors import MetricInputError
from tofu_eval.core.scripts import lacks_spaces

CHUNK = 1024
"""Rows that are brought to unit length at a time where a sum over rows is all that is wanted."""


def need_two(responses: Sized) -> None:
    """Diversity is about how responses differ: it takes two.

    Raises:
        MetricInputError: there are fewer than two responses.
    """
    if len(responses) < 2:
        raise MetricInputError(f"fewer than two responses ({len(responses)})")


def need_spaces(texts: Iterable[str]) -> None:
    """What splits texts at spaces says nothing of a script that is written without them.

    Raises:
        MetricInputError: a text is in such a script.
    """
    count = sum(map(lacks_spaces, texts))
    if count:
        raise MetricInputError(
            f"{count} responses are in a script without spaces between words, and this published "
            "definition splits at spaces; take the metric without '@'"
        )


def unit_rows(embeddings: ArrayLike) -> NDArray[np.float64]:
    """A copy of (n, d) embeddings in float64, each row divided by its length.

    Raises:
        MetricInputError: n < 2, a number that is not finite, or a row of zeros.
    """
    rows = _check(embeddings)
    return _unit(rows)


def unit_vectors(embeddings: ArrayLike) -> NDArray[np.float64]:
    """As unit_rows, for any number of rows from 1 on.

    Raises:
        MetricInputError: no rows, a number that is not finite, or a row of zeros.
    """
    rows = np.asarray(embeddings)
    if rows.ndim != 2 or not len(rows):
        raise MetricInputError(f"embeddings of shape {rows.shape}, expected (n, d)")
    return _unit(rows)


def unit_sum(embeddings: ArrayLike) -> tuple[NDArray[np.float64], int]:
    """Sum of the rows, each divided by its length, (d,), and how many rows there are.

    Works on CHUNK rows at a time, so that no float64 copy of a large array is made.

    Raises:
        MetricInputError: as unit_rows.
    """
    rows = _check(embeddings)
    total = np.zeros(rows.shape[1])
    for _, block in unit_blocks(rows):
        total += block.sum(axis=0)
    return total, len(rows)


def unit_blocks(embeddings: ArrayLike) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Rows divided by their lengths, CHUNK at a time: (first row, rows of the block).

    Raises:
        MetricInputError: as unit_rows.
    """
    rows = _check(embeddings)
    for start in range(0, len(rows), CHUNK):
        yield start, _unit(rows[start : start + CHUNK])


def unit_pairs(embeddings: ArrayLike) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Cosines of all pairs, in blocks: (first row, (rows of the block, n)).

    Raises:
        MetricInputError: as unit_rows.
    """
    rows = unit_rows(embeddings)
    for start in range(0, len(rows), CHUNK):
        yield start, rows[start : start + CHUNK] @ rows.T


def spectrum(embeddings: ArrayLike) -> tuple[NDArray[np.float64], int]:
    """The positive eigenvalues of X Xᵀ / n, rows of X of unit length, with sum 1; and n.

    X Xᵀ and Xᵀ X have the same non-zero eigenvalues, so the smaller is taken: O(n d min(n, d)).
    What rounding leaves of a zero is dropped; it would count for small orders.

    Raises:
        MetricInputError: as unit_rows.
    """
    rows = unit_rows(embeddings)
    n, d = rows.shape
    gram = rows @ rows.T if n <= d else rows.T @ rows
    values = np.linalg.eigvalsh(gram / n)
    values = values[values > values.max() * max(n, d) * np.finfo(np.float64).eps]
    return values / values.sum(), n


def _check(embeddings: ArrayLike) -> NDArray[np.floating]:
    rows = np.asarray(embeddings)
    if rows.dtype.kind != "f":
        rows = rows.astype(np.float64)
    if rows.ndim != 2:
        raise MetricInputError(f"embeddings of shape {rows.shape}, expected (n, d)")
    need_two(rows)
    return rows


def _unit(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    unit: NDArray[np.float64] = np.array(rows, dtype=np.float64)
    if not np.isfinite(unit).all():
        raise MetricInputError("an embedding with NaN or infinite numbers")
    # Scaled first, so that squaring overflows and underflows nowhere.
    peaks = np.maximum(
        unit.max(axis=1, initial=0.0, keepdims=True), -unit.min(axis=1, initial=0.0, keepdims=True)
    )
    if not peaks.all():
        raise MetricInputError("an embedding of zeros, which has no direction")
    unit /= peaks
    unit /= np.sqrt(np.einsum("ij,ij->i", unit, unit))[:, None]
    return unit
