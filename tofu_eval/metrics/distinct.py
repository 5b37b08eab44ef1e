"""Distinct-n: how many of the n-grams are different."""

from __future__ import annotations

from collections.abc import Sequence

from tofu_eval.errors import MetricInputError
from tofu_eval.metrics._arrays import need_two
from tofu_eval.metrics.base import metric


def distinct(tokens: Sequence[Sequence[str]], *, n: int) -> float:
    """Share of different n-grams among all n-grams of a prompt's responses.

    Formula: |set of n-grams| / |n-grams|, both pooled over the responses; no n-gram spans two.
    Args:
        tokens: the words of each response; at least two responses.
        n: length of an n-gram, n >= 1.
    Returns: a share in (0, 1]; 1 = no n-gram occurs twice. Falls as texts get longer, so
        compare at similar mean_length.
    Undefined: fewer than two responses, or all of them shorter than n tokens.
    Departs: the paper divides by the number of tokens; here by the number of n-grams, as is
        now usual, so that 1 can be reached for every n.
    """
    need_two(tokens)
    ngrams = [
        tuple(words[start : start + n]) for words in tokens for start in range(len(words) - n + 1)
    ]
    if not ngrams:
        raise MetricInputError(f"no {n}-grams: every response is shorter than {n} tokens")
    return len(set(ngrams)) / len(ngrams)


for _n in (1, 2, 3, 4):
    metric(
        name=f"distinct_{_n}",
        level="group",
        direction="higher",
        range=("0", "1"),
        cost="cpu",
        needs=("tokens",),
        paper="arXiv:1510.03055",
        settings={"n": _n},
        length_sensitive=True,
        identical=None,  # 1/n times the share within the one text
    )(distinct)
