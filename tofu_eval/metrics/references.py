"""Responses beside references: human answers, or those that fine-tuning aims at."""

from __future__ import annotations

from numpy.typing import ArrayLike

from tofu_eval.core.errors import MetricInputError
from tofu_eval.metrics._classes import Labels, labels_of
from tofu_eval.metrics.base import FALLS, GROWS, metric
from tofu_eval.metrics.cosine import mean_pairwise_cosine_distance


@metric(
    name="reference_diversity_distance",
    level="group",
    direction="lower",
    range=("0", "2"),
    cost="model",
    needs=("embedding", "reference_embedding"),
    paper="arXiv:2004.02990",
    bias=FALLS,
    measures="quality",
)
def reference_diversity_distance(embeddings: ArrayLike, references: ArrayLike) -> float:
    """How far the responses' diversity is from the references', whichever is greater.

    Formula: |D(responses) - D(references)|, D the mean pairwise cosine distance.
    Args:
        embeddings: (n, d) floats, n >= 2, no zero rows; rows are brought to unit length.
        references: (m, d) the same of the references, m >= 2.
    Returns: a distance in [0, 2]; 0 = as diverse as the references. It does not say whether the
        responses mean what the references mean.
    Undefined: fewer than two responses or references, a row of zeros or with a number that is
        not finite.
    """
    distance = mean_pairwise_cosine_distance(embeddings)
    if len(references) < 2:  # type: ignore[arg-type]
        raise MetricInputError("fewer than two references")
    return abs(distance - mean_pairwise_cosine_distance(references))


def reference_coverage(labels: Labels, references: Labels) -> float:
    """Share of the references' classes that the responses hit.

    Formula: |classes of references with a response in them| / |classes of references|.
    Args:
        labels: a class for each of the n responses, or the responses themselves.
        references: the same of the references, at least one.
    Returns: a share in [0, 1]; 1 = every reference has an equivalent response. Grows with n, so
        compare at equal n.
    Undefined: no responses or references, or an equivalence that was not decided.
    """
    wanted = set(labels_of(references))
    return len(wanted & set(labels_of(labels))) / len(wanted)


for _suffix, _needs in (
    ("", ("equivalence", "reference_equivalence")),
    ("_exact", ("text", "references")),
):
    metric(
        name=f"reference_coverage{_suffix}",
        level="group",
        direction="higher",
        range=("0", "1"),
        cost="model" if not _suffix else "cpu",
        needs=_needs,
        paper="arXiv:1904.06991",
        bias=GROWS,
        measures="quality",
    )(reference_coverage)
