"""Syntactic templates: what the responses look like as sequences of parts of speech."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tofu_eval.core.errors import MetricInputError
from tofu_eval.core.tokens import Tokens
from tofu_eval.metrics._arrays import need_two
from tofu_eval.metrics.base import GROWS, metric
from tofu_eval.metrics.compression import compression_ratio


@metric(
    name="compression_ratio_gzip_pos",
    level="corpus",
    direction="lower",
    range=("0", "inf"),
    cost="model",
    needs=("pos",),
    paper="arXiv:2403.00553",
    bias=GROWS,
    length_sensitive=True,
    settings={"algorithm": "gzip"},
)
@metric(
    name="compression_ratio_xz_pos",
    level="corpus",
    direction="lower",
    range=("0", "inf"),
    cost="model",
    needs=("pos",),
    paper="arXiv:2403.00553",
    bias=GROWS,
    length_sensitive=True,
    settings={"algorithm": "xz"},
)
def compression_ratio_pos(tags: Sequence[Sequence[str]], algorithm: str) -> float:
    """How far the parts of speech of all responses can be compressed.

    Formula: |t| / |compressed t| in bytes, t = the tags of all responses, joined by spaces.
    Args:
        tags: the tags of each response's tokens, of at least two responses, not all empty.
        algorithm: "gzip" or "xz".
    Returns: a ratio > 0; higher = more repetition of sentence patterns.
    Undefined: fewer than two responses, or none with a token.
    """
    need_two(tags)
    if not any(map(len, tags)):
        raise MetricInputError("no response has a token")
    return compression_ratio([" ".join(row) for row in tags], algorithm=algorithm)


@metric(
    name="template_rate",
    level="corpus",
    direction="lower",
    range=("0", "1"),
    cost="model",
    needs=("pos",),
    paper="arXiv:2407.00211",
    bias=GROWS,
    length_sensitive=True,
)
def template_rate(tags: Sequence[Sequence[str]], n: int = 5, templates: int = 100) -> float:
    """Share of responses with one of the most frequent templates of the corpus.

    Formula: |{r : r has one of the templates}| / responses; the templates are the most frequent
        n-grams of part-of-speech tags that occur twice or more.
    Args:
        tags: the tags of each response's tokens.
        n: tags of a template.
        templates: how many count as the most frequent.
    Returns: a share in [0, 1].
    Undefined: fewer than two responses, or none of n tokens.
    Departs: the package `diversity` counts n-grams that occur once, looks for the templates' words
        in the texts, joined by spaces, so that templates with punctuation are missed, and lets the
        order of the texts decide between equally frequent ones; here the n-gram's tags do.
    """
    need_two(tags)
    rows = Tokens.of(tags)
    numbers, _ = rows.ngrams(n)
    if not (numbers >= 0).any():
        raise MetricInputError(f"no response has {n} tokens")
    frequent = _most_frequent(rows, n, templates)
    begins, ends = rows.starts[:-1], rows.starts[1:]
    with_one = sum(
        not frequent.isdisjoint(numbers[start:end].tolist())
        for start, end in zip(begins, ends, strict=True)
    )
    return with_one / len(rows)


def _most_frequent(rows: Tokens, n: int, limit: int) -> set[int]:
    """The numbers of the n-grams that occur most often, twice at least."""
    counts = rows.counts(n)
    most = np.sort(counts[counts > 1])[::-1][:limit]
    if not len(most):
        return set()
    sure, tied = np.flatnonzero(counts > most[-1]), np.flatnonzero(counts == most[-1])
    numbers, _ = rows.ngrams(n)
    places = np.flatnonzero(np.isin(numbers, tied))
    _, first = np.unique(numbers[places], return_index=True)
    begins = dict(zip(tied.tolist(), places[first].tolist(), strict=True))
    by_tags = sorted(
        begins, key=lambda one: [rows.words[i] for i in rows.ids[begins[one] : begins[one] + n]]
    )
    return {*sure.tolist(), *by_tags[: limit - len(sure)]}
