"""Does a model answer different prompts alike? Metrics of the whole corpus, between prompts.

All but `vendi_across_prompts` are expected values for one response drawn to each of two different
prompts, in closed form: they depend neither on how many responses there are to a prompt nor on
how diverse these are among themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import fsum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tofu_eval.core.errors import MetricInputError
from tofu_eval.core.tokens import Tokens
from tofu_eval.metrics._arrays import need_two, unit_blocks, unit_sum
from tofu_eval.metrics.base import metric
from tofu_eval.metrics.vendi import vendi

BLOCK = 1 << 17
"""Tokens whose n-grams are looked at together."""


@metric(
    name="cosine_distance_across_prompts",
    level="corpus",
    direction="higher",
    range=("0", "2"),
    cost="model",
    needs=("embedding", "prompts"),
    paper="arXiv:2004.02990",
    unit="distance",
    length_sensitive=True,
)
def cosine_distance_across_prompts(embeddings: ArrayLike, prompts: ArrayLike) -> float:
    """How far apart in meaning responses to two different prompts are.

    Formula: mean over pairs of prompts a != b of 1 - m_a . m_b, m_a the mean of the unit vectors
        of the responses to a: the expected cosine distance of one response to a and one to b.
    Args:
        embeddings: (n, d) floats, no zero rows.
        prompts: (n,) which prompt each is a response to.
    Returns: a mean in [0, 2]; 0 = one answer to everything, 1 = answers that are orthogonal.
    Undefined: fewer than two responses or prompts; a row of zeros or with a number that is not
        finite.
    Departs: the paper takes pairs of responses to one prompt.
    """
    rows = np.asarray(embeddings)
    need_two(rows)
    which, count = _number_prompts(prompts)
    means = np.zeros((count, rows.shape[-1]))
    for start, block in unit_blocks(rows):
        np.add.at(means, which[start : start + len(block)], block)
    means /= np.bincount(which)[:, None]
    total = means.sum(axis=0)
    alike = (total @ total - np.einsum("ij,ij->", means, means)) / (count * (count - 1))
    return min(2.0, max(0.0, 1.0 - float(alike)))


@metric(
    name="vendi_across_prompts",
    level="corpus",
    direction="higher",
    range=("1", "n"),
    cost="model",
    needs=("embedding", "prompts"),
    paper="arXiv:2210.02410",
    unit="effective responses",
    length_sensitive=True,
)
def vendi_across_prompts(embeddings: ArrayLike, prompts: ArrayLike) -> float:
    """Effective number of distinct responses over prompts, at one response a prompt.

    Formula: mean over s = 1 ... k of the Vendi score of the s-th response to each prompt, k the
        fewest responses to a prompt.
    Args:
        embeddings: (n, d) floats, no zero rows.
        prompts: (n,) which prompt each is a response to.
    Returns: a count in [1, number of prompts]; 1 = one answer to everything.
    Undefined: fewer than two responses or prompts; a row of zeros or with a number that is not
        finite.
    Departs: the paper has no prompts. It grows with the number of prompts: compare on the same.
    """
    rows = np.asarray(embeddings)
    need_two(rows)
    which, _ = _number_prompts(prompts)
    unit_sum(rows)  # an embedding that is none is none in whichever draw
    order = np.argsort(which, kind="stable")
    sizes = np.bincount(which)
    begins = np.cumsum(sizes) - sizes
    draws = range(int(sizes.min()))
    return float(np.mean([vendi(rows[order[begins + draw]]) for draw in draws]))


@metric(
    name="recurring_openings",
    level="corpus",
    direction="lower",
    range=("0", "1"),
    needs=("tokens_13a", "prompts"),
    paper="arXiv:2407.00211",
    length_sensitive=False,
)
def recurring_openings(
    tokens: Sequence[Sequence[str]], prompts: ArrayLike, words: int = 3
) -> float:
    """Probability that responses to two different prompts begin with the same words.

    Formula: mean over pairs of prompts a != b of sum over openings o of p_a(o) p_b(o), p_a(o) the
        share of the responses to a that begin with o.
    Args:
        tokens: the tokens of each response, lower case; a response of fewer than `words` begins
            with all of them, an empty one with nothing, which no other begins with.
        prompts: (n,) which prompt each is a response to.
        words: how many tokens an opening has, at least 1.
    Returns: a probability in [0, 1].
    Undefined: fewer than two responses or prompts, or no response with a token.
    Departs: the paper's templates are of parts of speech, and anywhere.
    """
    need_two(tokens)
    rows = Tokens.of(tokens)
    which, count = _number_prompts(prompts)
    if not rows.lengths.any():
        raise MetricInputError("no response has a token")
    numbers: dict[tuple[int, ...], int] = {}
    found = np.array(
        [
            numbers.setdefault(tuple(rows.ids[start : min(start + words, end)]), len(numbers))
            if end > start
            else -1
            for start, end in zip(rows.starts[:-1], rows.starts[1:], strict=True)
        ]
    )
    weights = 1.0 / np.bincount(which)[which]
    kept = found >= 0
    met = _meeting(which[kept], found[kept], weights[kept], weights[kept])
    return _mean_over_pairs([met], count)


@metric(
    name="recurring_phrases",
    level="corpus",
    direction="lower",
    range=("0", "1"),
    needs=("tokens_13a", "prompts"),
    paper="arXiv:2403.00553",
    length_sensitive=True,
)
def recurring_phrases(tokens: Sequence[Sequence[str]], prompts: ArrayLike, n: int = 4) -> float:
    """Share of a response's phrases that a response to another prompt has too.

    Formula: mean over ordered pairs of prompts a != b, and responses r to a and s to b, of
        |G_r & G_s| / |G_r|, G the set of a response's n-grams.
    Args:
        tokens: the tokens of each response, lower case; responses without an n-gram are left out.
        prompts: (n,) which prompt each is a response to.
        n: tokens of a phrase, at least 1.
    Returns: a share in [0, 1]; 1 = the same phrases whatever the prompt.
    Undefined: fewer than two responses, or fewer than two prompts with a response of n tokens.
    Departs: the paper's self-repetition counts n-grams that any other text of the corpus has.
    """
    return _recurring(tokens, prompts, n)


@metric(
    name="recurring_templates",
    level="corpus",
    direction="lower",
    range=("0", "1"),
    cost="model",
    needs=("pos", "prompts"),
    paper="arXiv:2407.00211",
    length_sensitive=True,
)
def recurring_templates(tags: Sequence[Sequence[str]], prompts: ArrayLike, n: int = 6) -> float:
    """Share of a response's syntactic templates that a response to another prompt has too.

    Formula: recurring_phrases of n-grams of part-of-speech tags.
    Args:
        tags: the tags of each response's tokens; responses without an n-gram are left out.
        prompts: (n,) which prompt each is a response to.
        n: tags of a template, at least 1.
    Returns: a share in [0, 1]; 1 = the same templates whatever the prompt.
    Undefined: fewer than two responses, or fewer than two prompts with a response of n tags.
    Departs: the paper counts texts with one of the most frequent templates: `template_rate`.
    """
    return _recurring(tags, prompts, n)


def _recurring(rows: Sequence[Sequence[str]], prompts: ArrayLike, n: int) -> float:
    need_two(rows)
    tokens = Tokens.of(rows)
    sizes = np.zeros(len(tokens), dtype=np.int64)
    for text, _ in _different_ngrams(tokens, n):
        sizes += np.bincount(text, minlength=len(tokens))
    kept = np.flatnonzero(sizes)
    if not len(kept):
        raise MetricInputError(f"no response has {n} tokens")
    which = np.zeros(len(tokens), dtype=np.int64)
    which[kept], count = _number_prompts(np.asarray(prompts)[kept])
    shares = 1.0 / np.bincount(which[kept])[which]
    each = shares / np.maximum(sizes, 1)
    return _mean_over_pairs(
        (
            _meeting(which[text], grams, each[text], shares[text])
            for text, grams in _different_ngrams(tokens, n)
        ),
        count,
    )


def _different_ngrams(
    tokens: Tokens, n: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Each text with each of its n-grams once, some n-grams at a time, so that memory holds little.

    Yields: numbers of texts, and of n-grams; an n-gram comes once, in whichever texts it is.
    """
    grams, different = tokens.ngrams(n)
    parts = 1 + len(grams) // BLOCK
    for part in range(parts):
        places = np.flatnonzero((grams >= 0) & (grams % parts == part))
        text = np.searchsorted(tokens.starts, places, side="right") - 1
        pairs = np.unique(text * np.int64(max(1, different)) + grams[places])
        yield pairs // max(1, different), pairs % max(1, different)


def _number_prompts(prompts: ArrayLike) -> tuple[NDArray[np.int64], int]:
    """The prompts numbered from 0, and how many there are.

    Raises:
        MetricInputError: there are fewer than two.
    """
    known, which = np.unique(np.asarray(prompts), return_inverse=True)
    if len(known) < 2:
        raise MetricInputError(f"responses to fewer than two prompts ({len(known)})")
    return which.astype(np.int64), len(known)


def _meeting(
    prompts: NDArray[np.int64],
    items: NDArray[np.int64],
    ones: NDArray[np.float64],
    others: NDArray[np.float64],
) -> float:
    """Sum over prompts a != b and over items of (a's `ones`) x (b's `others`)."""
    if not len(items):
        return 0.0
    known, item = np.unique(items, return_inverse=True)
    cells, cell = np.unique(prompts * np.int64(len(known)) + item, return_inverse=True)
    item = cells % len(known)
    one, other = (np.bincount(cell, weights) for weights in (ones, others))
    everywhere = np.bincount(item, one) @ np.bincount(item, other)
    return float(everywhere - one @ other)


def _mean_over_pairs(sums: Iterable[float], count: int) -> float:
    """A share: the sums of parts over the pairs of `count` prompts."""
    return min(1.0, max(0.0, fsum(sums) / (count * (count - 1))))
