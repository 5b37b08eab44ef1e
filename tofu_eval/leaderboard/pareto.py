"""Plane geometry of two measures that should both be high: which points are efficient, what area
they dominate, and what a set of points reaches at a given quality."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def efficient(quality: Floats, diversity: Floats) -> NDArray[np.bool_]:
    """Which points no other point beats: at least as high in both and higher in one.

    Args:
        quality: (points,), higher is better.
        diversity: (points,), higher is more diverse.
    Returns: (points,); of points that are equal in both, all are efficient or none is.
    """
    better = (quality[:, None] >= quality) & (diversity[:, None] >= diversity)
    strictly = (quality[:, None] > quality) | (diversity[:, None] > diversity)
    beaten: NDArray[np.bool_] = np.any(better & strictly, axis=0)
    return ~beaten


def hypervolume(quality: Floats, diversity: Floats, reference: tuple[float, float]) -> Floats:
    """Area between the reference point and the points: that of the union of their rectangles.

    Exact, by one pass over the points from the best quality down: each adds a slab as high as
    it exceeds the diversity of those before it.

    Args:
        quality: (..., points).
        diversity: the same shape.
        reference: (quality, diversity) at or below which a point adds nothing.
    Returns: (...), in units of quality times units of diversity, >= 0.
    Source: Zitzler and Thiele, PPSN V, 1998; in two dimensions a sweep is exact.
    """
    order = np.argsort(-quality, axis=-1, kind="stable")
    width = np.take_along_axis(quality, order, axis=-1) - reference[0]
    height = np.take_along_axis(diversity, order, axis=-1) - reference[1]
    # Points left of the reference come last, so they raise no floor for the others.
    floors = np.maximum.accumulate(height.clip(min=0), axis=-1)
    slabs = np.diff(floors, axis=-1, prepend=0.0)
    area: Floats = (width.clip(min=0) * slabs).sum(axis=-1)
    return area


def reached(quality: Sequence[float] | Floats, diversity: Floats, at: Floats) -> Floats:
    """The diversity that a set of points reaches at a quality: its frontier, read between points.

    Between two neighbouring efficient points it is the straight line; below the least efficient
    quality it is the greatest diversity, which is reached there at a better quality even.

    Args:
        quality: (points,), at least one.
        diversity: (points,).
        at: (n,) qualities.
    Returns: (n,); NaN outside the qualities that the points span, where nothing was sampled.
    """
    x = np.asarray(quality, dtype=np.float64)
    kept = efficient(x, diversity)
    order = np.argsort(x[kept], kind="stable")
    found = np.interp(at, x[kept][order], diversity[kept][order])
    outside = (at < x.min()) | (at > x.max())
    read: Floats = np.where(outside, np.nan, found)
    return read
