"""Each metric against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tofu_eval.core.errors import ConfigError, MetricInputError
from tofu_eval.features.text import tokens
from tofu_eval.metrics.cosine import mean_pairwise_cosine_distance
from tofu_eval.metrics.distinct import distinct, ead, ead_orders
from tofu_eval.metrics.mean_length import mean_length
from tofu_eval.metrics.near_duplicates import near_duplicate_rate
from tofu_eval.metrics.reward import reward
from tofu_eval.metrics.self_bleu import self_bleu as self_bleu_of_tokens
from tofu_eval.metrics.self_bleu import self_bleu_gem, self_bleu_texygen
from tofu_eval.metrics.self_repetition import self_repetition
from tofu_eval.metrics.ttr import mattr
from tofu_eval.metrics.unique_rate import unique_rate
from tofu_eval.metrics.vendi import vendi


def self_bleu(texts) -> float:
    return self_bleu_of_tokens(tokens(texts, "tokens_13a"))


TWO_OF_THREE = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
"""Two equal rows and one at a right angle: eigenvalues of X Xᵀ / 3 are 2/3, 1/3 and 0."""


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (1, 2 / 5),  # a b a a b: {a, b}
        (2, 2 / 3),  # ab ba | ab: {ab, ba}; no "a a" across the two responses
        (3, 1.0),  # aba
    ],
)
def test_distinct(n: int, expected: float) -> None:
    assert distinct([["a", "b", "a"], ["a", "b"]], n=n) == pytest.approx(expected)


def test_distinct_keeps_case() -> None:
    assert distinct([["Yes"], ["yes"]], n=1) == 1.0


def test_distinct_without_ngrams_is_undefined() -> None:
    with pytest.raises(MetricInputError, match=r"^no 3-grams: every response is shorter than 3"):
        distinct([["a", "b"], ["a"], []], n=3)


def test_self_bleu() -> None:
    # a b c d against a b c e: precisions 3/4, 2/3, 1/2 and, smoothed, (1/2)/1; no brevity
    # penalty. (3/4 * 2/3 * 1/2 * 1/2) ** (1/4) = 0.5946; the other way round it is the same.
    assert self_bleu(["a b c d", "a b c e"]) == pytest.approx(100 * (1 / 8) ** 0.25)


def test_self_bleu_is_a_mean_over_the_responses() -> None:
    # The first two have a copy each; x shares no word with them, which is not smoothed.
    assert self_bleu(["a", "a", "x"]) == pytest.approx((100 + 100 + 0) / 3)


@pytest.mark.parametrize("pair", [("a b", "A B"), ("a b c d e", "a b\nc d e"), ("a", "a")])
def test_self_bleu_ignores_case_newlines_and_missing_orders(pair: tuple[str, str]) -> None:
    assert self_bleu(pair) == pytest.approx(100.0)


def test_self_bleu_of_empty_responses() -> None:
    # An empty response scores 0 and is no reference that can be matched.
    assert self_bleu(["a b", "a b", ""]) == pytest.approx((100 + 100 + 0) / 3)
    with pytest.raises(MetricInputError, match=r"^fewer than two responses with a word$"):
        self_bleu(["a b", "", " \n"])


def test_unique_rate() -> None:
    assert unique_rate(["yes", "yes \n", "no"]) == pytest.approx(2 / 3)
    assert unique_rate(["yes", "Yes"]) == 1.0
    assert unique_rate(["", " ", "\n"]) == pytest.approx(1 / 3)


def test_mean_length() -> None:
    assert mean_length([["a", "b", "c"], []]) == 1.5
    assert mean_length([[]]) == 0.0


def test_cosine_distance() -> None:
    # Distances of the three pairs: 0, 1 and 1.
    assert mean_pairwise_cosine_distance(TWO_OF_THREE) == pytest.approx(2 / 3)
    assert mean_pairwise_cosine_distance([[1.0, 0.0], [-1.0, 0.0]]) == pytest.approx(2.0)
    # 60 degrees: 1 - 1/2.
    assert mean_pairwise_cosine_distance([[1.0, 0.0], [0.5, 0.75**0.5]]) == pytest.approx(0.5)


def test_cosine_distance_of_equal_rows_is_never_negative() -> None:
    stream = np.random.default_rng(0)
    rows = [np.tile(stream.normal(size=7), (10, 1)) for _ in range(50)]
    assert min(mean_pairwise_cosine_distance(group) for group in rows) == 0.0


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        (0.5, 1 + 2 * math.sqrt(2) / 3),  # (sqrt(2/3) + sqrt(1/3)) ** 2
        (1.0, 3 / 2 ** (2 / 3)),  # exp(-2/3 log 2/3 - 1/3 log 1/3)
        (2.0, 9 / 5),  # 1 / (4/9 + 1/9)
        (math.inf, 3 / 2),  # 1 / (2/3)
    ],
)
def test_vendi(q: float, expected: float) -> None:
    assert vendi(TWO_OF_THREE, q) == pytest.approx(expected)


def test_vendi_is_continuous_in_q() -> None:
    at_one = vendi(TWO_OF_THREE, 1.0)
    for q in (1 - 1e-6, 1 - 1e-14, 1 + 1e-14, 1 + 1e-6):
        assert vendi(TWO_OF_THREE, q) == pytest.approx(at_one, abs=1e-5)
    # sum p^q underflows to 0 here; log(2/3) * 1e6 / (1 - 1e6) does not.
    assert vendi(TWO_OF_THREE, 1e6) == pytest.approx(1.5, abs=1e-5)


def test_vendi_at_small_q_does_not_count_rounding() -> None:
    row = np.random.default_rng(0).normal(size=8)
    # Without the cut, nine eigenvalues of about 1e-17 would each add 1e-17 ** 0.05 = 0.14.
    assert vendi(np.tile(row, (10, 1)), 0.05) == pytest.approx(1.0, abs=1e-9)


def test_vendi_through_either_gram_matrix() -> None:
    tall = np.random.default_rng(0).normal(size=(9, 4))
    wide = np.hstack([tall, np.zeros((9, 20))])  # the same angles in more dimensions
    assert vendi(tall) == pytest.approx(vendi(wide), rel=1e-12)


@pytest.mark.parametrize("q", [0.0, -1.0, math.nan])
def test_vendi_refuses_an_impossible_q(q: float) -> None:
    with pytest.raises(ConfigError, match=f"^vendi: q must be above 0, got {q}"):
        vendi(TWO_OF_THREE, q)


@pytest.mark.parametrize("metric", [mean_pairwise_cosine_distance, vendi])
@pytest.mark.parametrize("scale", [1e-200, 1e-3, 1e200])
def test_lengths_of_embeddings_do_not_matter(metric, scale: float) -> None:
    rows = np.array(TWO_OF_THREE)
    assert metric(rows * [[1.0], [scale], [1.0]]) == pytest.approx(metric(rows))


@pytest.mark.parametrize("metric", [mean_pairwise_cosine_distance, vendi])
@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([[1.0, 0.0]], r"^fewer than two responses \(1\)$"),
        ([], r"^embeddings of shape \(0,\), expected \(n, d\)$"),
        ([1.0, 2.0], r"^embeddings of shape \(2,\), expected \(n, d\)$"),
        ([[1.0, 0.0], [0.0, 0.0]], "^an embedding of zeros, which has no direction$"),
        ([[1.0, 0.0], [math.nan, 0.0]], "^an embedding with NaN or infinite numbers$"),
        ([[1.0, 0.0], [math.inf, 0.0]], "^an embedding with NaN or infinite numbers$"),
    ],
)
def test_embeddings_without_a_value(metric, rows: list, reason: str) -> None:
    with pytest.raises(MetricInputError, match=reason):
        metric(rows)


def test_reward() -> None:
    assert reward([[-1.0], [2.0], [5.0]]) == 2.0
    assert reward([-1.0, 2.0, 5.0]) == 2.0


@pytest.mark.parametrize(
    ("rewards", "reason"),
    [
        ([], "^no responses$"),
        ([[1.0], [math.nan]], "^a reward that is NaN or infinite$"),
        ([[1.0, 2.0]], r"^rewards of shape \(1, 2\), expected one a response$"),
    ],
)
def test_rewards_without_a_value(rewards: list, reason: str) -> None:
    with pytest.raises(MetricInputError, match=reason):
        reward(rewards)


def test_near_duplicates() -> None:
    # {a b c, b c d} twice, and a text that shares nothing.
    rows = [list("abcd"), list("abcd"), list("wxyz")]
    assert near_duplicate_rate(rows) == pytest.approx(2 / 3)
    # Jaccard of {abc, bcd} and {abc, bcd, cde} is 2/3: below 0.8, above 0.5.
    close = [list("abcd"), list("abcde")]
    assert near_duplicate_rate(close) == 0.0
    assert near_duplicate_rate(close, 0.5) == 1.0


@pytest.mark.parametrize("shared", [5, 25, 45])
def test_minhash_estimates_jaccard(shared: int) -> None:
    # Unigrams: `shared` of 50 + 50 - shared different ones are in both.
    rows = [[f"w{i}" for i in range(50)], [f"w{i}" for i in range(50 - shared, 100 - shared)]]
    jaccard = shared / (100 - shared)
    # Four standard errors of 256 permutations.
    margin = 4 * (jaccard * (1 - jaccard) / 256) ** 0.5
    assert near_duplicate_rate(rows, jaccard - margin, 1) == 1.0
    assert near_duplicate_rate(rows, jaccard + margin, 1) == 0.0


def test_mattr() -> None:
    # Windows of two: ab 2/2, ba 2/2, aa 1/2.
    assert mattr([["a", "b", "a", "a"], ["x"]], 2) == pytest.approx((2.5 / 3 + 1) / 2)
    words = [f"w{i * i % 17}" for i in range(200)]
    by_hand = np.mean([len(set(words[i : i + 50])) / 50 for i in range(151)])
    assert mattr([words, words]) == pytest.approx(by_hand)


def test_ead() -> None:
    # 2 different of 3 words, V = 10: 10 (1 - 0.9^3) = 2.71 are expected.
    assert ead([["a", "b"], ["a"]], 10) == pytest.approx(2 / 2.71)


def test_ead_as_published() -> None:
    # "." and line ends deleted: "ab c" and "ab c"; orders 1 to 2, V = 10.
    expected = (2 / (10 * (1 - 0.9**4)) + 1 / (10 * (1 - 0.9**2))) / 2
    assert ead_orders(["a\nb. c", "ab c."], 2, 10) == pytest.approx(expected)


def test_self_repetition() -> None:
    # Each of the first two has one bigram that one other has, counted once though it stands twice.
    rows = [["a", "b", "a", "b"], ["a", "b"], ["c", "d"]]
    assert self_repetition(rows, 2) == pytest.approx(2 * math.log(2) / 3)


def test_pooled_bleu_against_nltk() -> None:
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    stream = np.random.default_rng(0)
    rows = [[f"w{i}" for i in stream.integers(0, 12, stream.integers(1, 15))] for _ in range(40)]
    smooth = SmoothingFunction().method1
    for weights in ((0.25,) * 4, (0.5, 0.5), (1 / 3,) * 3):
        expected = np.mean(
            [
                sentence_bleu(rows[:i] + rows[i + 1 :], row, weights, smoothing_function=smooth)
                for i, row in enumerate(rows)
            ]
        )
        assert self_bleu_texygen(rows, weights) == pytest.approx(expected, abs=1e-9)


def test_self_bleu_against_sacrebleu() -> None:
    from sacrebleu.metrics.bleu import BLEU

    stream = np.random.default_rng(1)
    pieces = ["a", "B", "c.", "d,", "1,5", "-", "&amp;", "naïve", "\n", "🦊", ""]
    for effective, flavour, need in (
        (True, self_bleu_of_tokens, "tokens_13a"),
        (False, self_bleu_gem, "tokens_13a_cased"),
    ):
        bleu = BLEU(lowercase=effective, effective_order=effective)
        for _ in range(150):
            texts = [
                " ".join(stream.choice(pieces, stream.integers(0, 9)))
                for _ in range(stream.integers(2, 6))
            ]
            shown = [text.replace("\n", " ") for text in texts] if effective else texts
            try:
                found = flavour(tokens(texts, need))
            except MetricInputError:
                continue
            expected = np.mean(
                [
                    bleu.corpus_score([text], [[one] for one in shown[:i] + shown[i + 1 :]]).score
                    for i, text in enumerate(shown)
                ]
            )
            assert found == pytest.approx(expected, abs=1e-9)
