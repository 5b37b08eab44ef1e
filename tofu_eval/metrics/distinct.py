"""Distinct-n, its average over orders, and distinct corrected for length (EAD)."""

from __future__ import annotations

from collections.abc import Sequence
from math import expm1, log1p
from statistics import fmean

from tofu_eval.core.errors import MetricInputError
from tofu_eval.core.tokens import Tokens
from tofu_eval.core.types import Prompt
from tofu_eval.metrics._arrays import need_spaces, need_two
from tofu_eval.metrics._gem import LLAMA
from tofu_eval.metrics.base import FALLS, metric


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
    different, total = _count_ngrams(tokens, n)
    return different / total


for _n in (1, 2, 3, 4):
    metric(
        name=f"distinct_{_n}",
        level="group",
        direction="higher",
        range=("0", "1"),
        cost="cpu",
        needs=("tokens",),
        paper="arXiv:1510.03055",
        bias=FALLS,
        settings={"n": _n},
        length_sensitive=True,
    )(distinct)


@metric(
    name="ngram_diversity",
    level="group",
    direction="higher",
    range=("0", "1"),
    cost="cpu",
    needs=("tokens",),
    paper="arXiv:2408.16673",
    human=0.735,
    bias=FALLS,
    length_sensitive=True,
)
def ngram_diversity(tokens: Sequence[Sequence[str]], n: int = 3) -> float:
    """Share of different n-grams, averaged over the orders 1 to n.

    Formula: mean over k = 1..n of |set of k-grams| / |k-grams|, pooled over the responses.
    Args:
        tokens: the words of each response; at least two responses.
        n: largest order, n >= 1.
    Returns: a share in (0, 1]; 1 = nothing is said twice.
    Undefined: fewer than two responses, or all of them shorter than n tokens.
    Departs: the paper's script scores the chat template, the prompt and the answer as one text;
        here the answer alone. ngram_diversity@gem reproduces the script.
    """
    need_two(tokens)
    return fmean(different / total for different, total in _orders(tokens, n))


@metric(
    name="ngram_diversity@gem",
    level="group",
    direction="higher",
    range=("0", "1"),
    cost="cpu",
    needs=("text", "prompt"),
    paper="arXiv:2408.16673",
    bias=FALLS,
    length_sensitive=True,
)
def ngram_diversity_at_gem(
    texts: Sequence[str], prompt: Prompt, n: int = 3, template: str = "llama-3.1"
) -> float:
    """The n-gram diversity that arXiv:2408.16673 reports, divided by 100.

    Formula: mean over k = 1..n of |set of k-grams| / |k-grams|, pooled over the texts that the
        chat template makes of the prompt and each response; words and punctuation marks by NLTK.
    Args:
        texts: the responses, at least two.
        prompt: what they answer; its text is the user's turn.
        n: largest order, n >= 1.
        template: "llama-3.1", or "none" for the response alone.
    Returns: a share in (0, 1]; it cannot reach 1, because every text shares the prompt.
    Undefined: fewer than two responses, one in a script that is written without spaces, or with
        template "none" all shorter than n tokens.
    Reproduces: evaluation/evaluation_diversity.py of the paper's repository, which pools the
        template and the prompt with the answers, so that a long prompt lowers the score, and
        counts orders without an n-gram as 0 (here undefined). It splits sentences before words,
        which moves the few full stops inside a text.
    """
    need_two(texts)
    need_spaces(texts)
    if template == "llama-3.1":
        texts = [LLAMA.format(prompt=prompt.text, answer=text) for text in texts]
    # Importing NLTK takes a while.
    from nltk.tokenize import NLTKWordTokenizer

    split = NLTKWordTokenizer().tokenize
    return ngram_diversity([split(text) for text in texts], n)


@metric(
    name="ngram_diversity@diversity-0.3",
    level="group",
    direction="higher",
    range=("0", "4"),
    cost="cpu",
    needs=("text",),
    paper="arXiv:2403.00553",
    bias=FALLS,
    length_sensitive=True,
)
def ngram_diversity_sum(texts: Sequence[str], n: int = 4) -> float:
    """The n-gram diversity score of the package `diversity` 0.3: four ratios summed.

    Formula: sum over k = 1..n of |set of k-grams| / |k-grams| of the words between single spaces
        of all responses joined by a space.
    Args:
        texts: the responses, at least two.
        n: largest order.
    Returns: a sum in (0, n], not a share.
    Undefined: fewer than two responses, one in a script that is written without spaces, or fewer
        than n words in all.
    Reproduces: ngram_diversity_score of diversity 0.3.1, which sums to n where the paper averages
        to 1, lets an n-gram span two responses, and rounds to three digits (not done here).
    """
    need_two(texts)
    need_spaces(texts)
    words = " ".join(texts).split(" ")
    return sum(different / total for different, total in _orders([words], n))


@metric(
    name="ead",
    level="group",
    direction="higher",
    range=("0", "inf"),
    cost="cpu",
    needs=("tokens",),
    paper="arXiv:2202.13587",
    bias="corrected for the number of words, not for what texts share",
    length_sensitive=True,
)
def ead(tokens: Sequence[Sequence[str]], vocabulary: int = 30522) -> float:
    """Expectation-adjusted distinct: different words over those expected at this length.

    Formula: U / (V (1 - ((V - 1) / V)^C)), U different words of C in all, pooled over the
        responses: 1 where C words drawn at random from V would have as many different ones.
    Args:
        tokens: the words of each response; at least two responses.
        vocabulary: V, the words that could be drawn. The value depends on it: compare only at
            the same V. The default is the size of BERT's vocabulary.
    Returns: a ratio > 0, above 1 only where words repeat less than at random.
    Undefined: fewer than two responses, or none with a word.
    """
    need_two(tokens)
    return _adjust(*_count_ngrams(tokens, 1), vocabulary)


@metric(
    name="ead@2604.16027",
    level="group",
    direction="higher",
    range=("0", "1"),
    cost="cpu",
    needs=("text",),
    paper="arXiv:2604.16027",
    version=2,
    bias=FALLS,
    length_sensitive=True,
)
def ead_orders(texts: Sequence[str], n: int = 5, vocabulary: int = 50257) -> float:
    """EAD as arXiv:2604.16027 reports it: averaged over the orders 1 to 5.

    Formula: mean over k = 1..n of min(1, U_k / (V (1 - ((V - 1) / V)^C_k))), k-grams of the
        white-space words once '.' and line ends are deleted.
    Args:
        texts: the responses, at least two.
        n: largest order.
        vocabulary: V; the published code asks a tokenizer for it. The default is the size of
            GPT-2's vocabulary.
    Returns: a ratio in (0, 1].
    Undefined: fewer than two responses, one in a script that is written without spaces, or all of
        them shorter than n words.
    Reproduces: the released code of arXiv:2604.16027. Each order is clamped at 1 before the mean,
        which the paper does not say. V is a number of tokens, not of words, and the same for
        k-grams, of which there are V^k; deleting a line end joins the words on either side of it.
    """
    need_two(texts)
    need_spaces(texts)
    rows = [text.replace(".", "").replace("\n", "").split() for text in texts]
    return fmean(min(1.0, _adjust(*counted, vocabulary)) for counted in _orders(rows, n))


def _count_ngrams(tokens: Sequence[Sequence[str]], n: int) -> tuple[int, int]:
    """How many different n-grams, and how many in all."""
    numbers, different = Tokens.of(tokens).ngrams(n)
    if not different:
        raise MetricInputError(f"no {n}-grams: every response is shorter than {n} tokens")
    return different, int((numbers >= 0).sum())


def _orders(tokens: Sequence[Sequence[str]], n: int) -> list[tuple[int, int]]:
    rows = Tokens.of(tokens)
    return [_count_ngrams(rows, k) for k in range(1, n + 1)]


def _adjust(different: int, total: int, vocabulary: int) -> float:
    # 1 - ((V - 1) / V)^C, without cancellation.
    return different / (vocabulary * -expm1(total * log1p(-1 / vocabulary)))
