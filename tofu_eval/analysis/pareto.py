"""Plane geometry of two measures that should both be high: which points are efficient, what area
they dominate, and what a set of points reaches at a given quality."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ROUNDING = 1e-12
"""Share of the greatest quality by which two means of equal values may differ."""


def efficient(quality: Floats, diversity: Floats) -> NDArray[np.bool_]:
    """Which points no other point beats: at least as high in both and higher in one.

    Args:
        quality: (..., points), higher is better.
        diversity: the same shape, higher is more diverse.
    Returns: the same shape; of points that are equal in both, all are efficient or none is.
    """
    q, d = quality[..., None, :], diversity[..., None, :]
    better = (quality[..., None] >= q) & (diversity[..., None] >= d)
    strictly = (quality[..., None] > q) | (diversity[..., None] > d)
    beaten: NDArray[np.bool_] = np.any(better & strictly, axis=-2)
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


def reached(quality: Floats, diversity: Floats, at: Floats) -> Floats:
    """The diversity that a set of points reaches at a quality: its frontier, read between points.

    Between two neighbouring efficient points it is the straight line; below the least efficient
    quality it is the greatest diversity, which is reached there at a better quality even.

    Args:
        quality: (..., points), at least one point.
        diversity: the same shape.
        at: (..., n) qualities.
    Returns: (..., n); NaN outside the qualities that the points span, where nothing was sampled.
    """
    low, high = quality.min(-1, keepdims=True), quality.max(-1, keepdims=True)
    slack = _ROUNDING * np.abs(quality).max(-1, keepdims=True)
    outside = (at < low - slack) | (at > high + slack) | np.isnan(at)
    x, y, on = quality[..., None, :], diversity[..., None, :], efficient(quality, diversity)
    where = np.clip(np.where(outside, low, at), low, high)[..., None]
    right, left = on[..., None, :] & (x >= where), on[..., None, :] & (x <= where)
    # The nearest efficient points on both sides: further right diversity only falls.
    x_right, y_right = np.where(right, x, np.inf).min(-1), np.where(right, y, -np.inf).max(-1)
    x_left, y_left = np.where(left, x, -np.inf).max(-1), np.where(left, y, np.inf).min(-1)
    inside = left.any(-1) & (x_right > x_left)
    width = np.where(inside, x_right - x_left, 1.0)
    share = np.where(inside, where[..., 0] - np.where(inside, x_left, 0.0), 0.0) / width
    rise = np.where(inside, y_right - np.where(inside, y_left, 0.0), 0.0)
    found: Floats = np.where(inside, np.where(inside, y_left, 0.0) + share * rise, y_right)
    found[outside] = np.nan
    return found
