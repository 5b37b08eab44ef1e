"""Diversity by natural-language inference: do responses contradict or entail each other?"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tofu_eval.core.errors import MetricInputError
from tofu_eval.metrics._arrays import need_two
from tofu_eval.metrics.base import metric


@metric(
    name="nli_diversity",
    level="group",
    direction="higher",
    range=("-1", "1"),
    cost="model",
    needs=("nli",),
    paper="arXiv:2205.01497",
)
def nli_diversity(contrasts: ArrayLike) -> float:
    """How much more the responses contradict than entail each other.

    Formula: mean over ordered pairs i != j of P(contradiction) - P(entailment), response i as
        the premise and j as the hypothesis.
    Args:
        contrasts: (n, 1) floats: for each response that mean over the pairs it is in.
    Returns: a mean in [-1, 1]; -1 = each follows from each, 0 = nothing to do with each other,
        1 = all contradict each other.
    Undefined: fewer than two responses, or a response that the model could not read.
    Departs: the paper adds up votes of -1, 0 and 1 (and variants); here probabilities are
        averaged, so that the value does not grow with the number of pairs.
    """
    return float(_rows(contrasts, 1).mean())


@metric(
    name="nli_diversity@2604.16027",
    level="group",
    direction="higher",
    range=("0", "2"),
    cost="model",
    needs=("nli_sentences",),
    paper="arXiv:2604.16027",
)
def nli_sentence_diversity(sums: ArrayLike) -> float:
    """NLI diversity as arXiv:2604.16027 reports it; give it its own model.

    Formula: 1 - mean of P(entailment) - P(contradiction), both ways, over up to 3 sentences at
        the same place in both responses, over all pairs i < j, with --nli-model
        FacebookAI/roberta-large-mnli.
    Args:
        sums: (n, 2) floats: for each response the sum of that difference over the sentence
            pairs it is in, and their number.
    Returns: a mean in [0, 2]; 0 = each follows from each, 2 = all contradict each other.
    Undefined: fewer than two responses, or no two with a sentence.
    Reproduces: pairs of longer responses weigh more, since sentence pairs are averaged. Of more
        than three sentences the published code draws three from one random stream over the whole
        run, which cannot be had again from one prompt; here the draw depends on the pair alone.
        The published code reports 0 where there is no pair.
    """
    total, count = _rows(sums, 2).sum(axis=0)
    if count == 0:
        raise MetricInputError("no two responses with a sentence")
    return float(1.0 - total / count)


def _rows(values: ArrayLike, width: int) -> NDArray[np.float64]:
    rows = np.asarray(values, dtype=np.float64).reshape(-1, width)
    need_two(rows)
    if not np.isfinite(rows).all():
        raise MetricInputError("a response that the NLI model could not read")
    return rows
