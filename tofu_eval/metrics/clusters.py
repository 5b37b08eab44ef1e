"""Number of clusters of the responses' embeddings."""

from __future__ import annotations

from numpy.typing import ArrayLike

from tofu_eval.core.errors import ConfigError
from tofu_eval.metrics._arrays import unit_rows
from tofu_eval.metrics.base import GROWS, metric


@metric(
    name="number_of_clusters",
    level="group",
    direction="higher",
    range=("1", "n"),
    cost="model",
    needs=("embedding",),
    length_sensitive=True,
    paper="arXiv:1201.0490",
    human=0.647,
    unit="clusters",
    bias=GROWS,
)
def number_of_clusters(embeddings: ArrayLike, threshold: float = 0.3) -> float:
    """How many groups of like meaning the responses fall into.

    Formula: clusters of scikit-learn's AgglomerativeClustering with average linkage: two
        clusters are joined while the mean cosine distance between them is below the threshold.
    Args:
        embeddings: (n, d) floats, n >= 2, no zero rows; rows are brought to unit length.
        threshold: cosine distance in (0, 2]; what it means depends on the embedding model.
    Returns: a whole number in [1, n]; 1 = all alike, n = no two alike.
    Undefined: fewer than two responses, a row of zeros or with a number that is not finite.
    """
    if not 0 < threshold <= 2:
        raise ConfigError(f"number_of_clusters: threshold must lie in (0, 2], got {threshold}.")
    # Importing scikit-learn takes about a second.
    from sklearn.cluster import AgglomerativeClustering

    rows = unit_rows(embeddings)
    distances = (1.0 - rows @ rows.T).clip(0.0, 2.0)
    clusters = AgglomerativeClustering(
        n_clusters=None, metric="precomputed", linkage="average", distance_threshold=threshold
    ).fit(distances)
    return float(clusters.n_clusters_)
