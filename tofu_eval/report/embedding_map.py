"""A map of what was said to a prompt: its responses' embeddings in two dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.types import digest
from tofu_eval.run.store import Run

SIDE = 1000
"""The map's width and height: places are whole numbers up to it."""

LEAST = 3
"""Different texts that a map needs: two always lie on a line."""


class EmbeddingMap:
    """The embeddings that a run keeps, prompt by prompt as places on a plane.

    The two main directions of a prompt's texts, all models together (principal components). They
    are linear and have no random start, so the same run gives the same map; how much of the
    variance they hold is said beside it. A map has no unit: what lies close together is alike.
    """

    def __init__(self, run: Run) -> None:
        recorded: Mapping[str, Any] = run.manifest.get("features", {})
        self._rows = None
        if "embedding" in recorded:
            self._rows = run.features("embedding", digest(recorded["embedding"]["identity"]))

    def places(self, texts: Sequence[str]) -> dict[str, Any] | None:
        """`points`, a pair a text from 0 to SIDE, and `share`, what they hold of the variance.

        Args:
            texts: the different texts of all models to one prompt.
        Returns: None where the run lacks an embedding, or there is nothing to spread out.
        """
        keys = [digest(text) for text in texts]
        if self._rows is None or len(texts) < LEAST or self._rows.find_missing(keys):
            return None
        vectors = np.asarray(self._rows.rows(keys), dtype=np.float64)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return _project(vectors / np.where(lengths > 0, lengths, 1.0))


def _project(vectors: NDArray[np.float64]) -> dict[str, Any] | None:
    from sklearn.decomposition import PCA

    if not np.ptp(vectors, axis=0).any():
        return None
    components = PCA(n_components=2, svd_solver="full", random_state=0)
    places = components.fit_transform(vectors)
    # One scale for both directions: distances on the map are those in the plane.
    reach = np.abs(places).max()
    points = np.rint((places / reach + 1) / 2 * SIDE).astype(int)
    return {
        "points": points.tolist(),
        "share": round(float(components.explained_variance_ratio_.sum()), 3),
    }
