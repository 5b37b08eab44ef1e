"""Self-BLEU: how well each response is predicted by the others. Three published flavours."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum

from tofu_eval.core.errors import MetricInputError
from tofu_eval.core.tokens import Tokens
from tofu_eval.core.types import Prompt
from tofu_eval.metrics import _bleu
from tofu_eval.metrics._arrays import need_spaces, need_two
from tofu_eval.metrics._gem import LLAMA
from tofu_eval.metrics.base import GROWS, metric


@metric(
    name="self_bleu",
    level="group",
    direction="lower",
    range=("0", "100"),
    cost="cpu",
    needs=("tokens_13a",),
    paper="arXiv:1802.01886",
    human=0.677,
    unit="BLEU points",
    bias=GROWS,
    length_sensitive=True,
)
def self_bleu(tokens: Sequence[Sequence[str]]) -> float:
    """Mean BLEU of each response against the other responses to its prompt.

    Formula: mean over i of BLEU-4(response i, references = all j != i), as sacreBLEU computes it
        with 13a tokens, lower case, effective order and exponential smoothing; newline -> space.
    Args:
        tokens: the 13a tokens of each response, at least two of them not empty.
    Returns: a mean in [0, 100]; 100 = every response has a copy, 0 = no word in common.
    Undefined: fewer than two responses, or fewer than two that have any tokens. An empty
        response among others scores 0, as in sacreBLEU.
    Departs: the paper compares with all generated texts, here only those for the same prompt;
        the flavour of BLEU is that of arXiv:2605.00195.
    """
    counts = _bleu.leave_one_out(_two_with_words(tokens))
    return _mean(_bleu.sacrebleu(counts, effective_order=True), 100.0)


@metric(
    name="self_bleu_gem",
    level="group",
    direction="lower",
    range=("0", "100"),
    cost="cpu",
    needs=("tokens_13a_cased",),
    paper="arXiv:2408.16673",
    bias=GROWS,
    length_sensitive=True,
)
def self_bleu_gem(tokens: Sequence[Sequence[str]]) -> float:
    """Mean BLEU of each response against the others, by sacreBLEU's defaults for a corpus.

    Formula: mean over i of sacrebleu.corpus_bleu([response i], [[j] for all j != i]).score: 13a
        tokens, case kept, exponential smoothing, no effective order.
    Args:
        tokens: the 13a tokens of each response, case kept, at least two of them not empty.
    Returns: a mean in [0, 100]; 100 = every response has a copy. Responses of fewer than four
        tokens score 0, whatever the others are.
    Undefined: fewer than two responses, or fewer than two that have any tokens.
    Departs: the published script passes one reference; `self_bleu@gem` reproduces that.
    """
    counts = _bleu.leave_one_out(_two_with_words(tokens))
    return _mean(_bleu.sacrebleu(counts, effective_order=False), 100.0)


@metric(
    name="self_bleu@gem",
    level="group",
    direction="higher",
    range=("0", "100"),
    cost="cpu",
    needs=("text", "prompt"),
    paper="arXiv:2408.16673",
    length_sensitive=True,
)
def self_bleu_at_gem(texts: Sequence[str], prompt: Prompt, template: str = "llama-3.1") -> float:
    """The "self-BLEU" diversity that arXiv:2408.16673 reports: 100 minus a mean BLEU.

    Formula: 100 - mean over i of sacrebleu.corpus_bleu([t_i], [[t_r]]).score, r = 0, or 1 for
        i = 0; t = the chat template filled with the prompt and the response.
    Args:
        texts: the responses, at least two.
        prompt: what they answer; its text is the user's turn.
        template: "llama-3.1", or "none" for the response alone.
    Returns: 100 - BLEU in [0, 100]; 0 = all the same.
    Undefined: fewer than two responses, or one in a script that is written without spaces.
    Reproduces: evaluation/evaluate_diversity.py of the paper's repository. It hands sacreBLEU a
        flat list of references, of which sacreBLEU takes the first as the only one; it scores the
        prompt and the template with the answer, so that every text shares them; and it reports
        100 minus the mean under the name of self-BLEU.
    """
    from sacrebleu.metrics.bleu import BLEU

    need_two(texts)
    need_spaces(texts)
    if template == "llama-3.1":
        texts = [LLAMA.format(prompt=prompt.text, answer=text) for text in texts]
    bleu = BLEU()
    scores = [
        bleu.corpus_score([text], [[texts[0] if i else texts[1]]]).score
        for i, text in enumerate(texts)
    ]
    return max(0.0, 100.0 - fsum(scores) / len(scores))


@metric(
    name="self_bleu_texygen",
    level="corpus",
    direction="lower",
    range=("0", "1"),
    cost="cpu",
    needs=("tokens_wordpunct",),
    paper="arXiv:1802.01886",
    bias=GROWS,
    length_sensitive=True,
)
def self_bleu_texygen(
    tokens: Sequence[Sequence[str]],
    weights: tuple[float, ...] = (0.25, 0.25, 0.25, 0.25),
    epsilon: float = 0.1,
) -> float:
    """Mean BLEU of each text against all other texts of the corpus.

    Formula: mean over i of nltk sentence_bleu(all j != i, text i, weights, method1), in O(tokens).
    Args:
        tokens: the word and punctuation tokens of each text, at least two of them not empty.
        weights: of the orders 1, 2, …; they sum to 1.
        epsilon: what stands for no match of an order (NLTK's method1: 0.1); 0 = no smoothing.
    Returns: a mean in [0, 1]; 1 = every text has a copy, 0 = no word in common.
    Undefined: fewer than two texts, or fewer than two that have any tokens.
    Departs: Texygen draws 500 texts where there are more; here all count.
    """
    counts = _bleu.leave_one_out(_two_with_words(tokens), len(weights))
    return _mean(_bleu.nltk(counts, weights, epsilon), 1.0)


def _two_with_words(tokens: Sequence[Sequence[str]]) -> Tokens:
    need_two(tokens)
    rows = Tokens.of(tokens)
    if (rows.lengths > 0).sum() < 2:
        raise MetricInputError("fewer than two responses with a word")
    return rows


def _mean(scores: _bleu.Floats, most: float) -> float:
    # A perfect BLEU comes out of exp(log(...)) a few bits above the most.
    return min(most, fsum(scores.tolist()) / len(scores))
