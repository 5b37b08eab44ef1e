"""Goldens of the judge's metrics."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tofu_eval.core.errors import MetricInputError
from tofu_eval.metrics import find
from tofu_eval.metrics.harm import attack_success_rate_judged, harm_unparsable_rate
from tofu_eval.metrics.judge import (
    judge_agreement,
    judge_exact_agreement,
    judge_rating,
    judge_unparsable_rate,
)

NAN = math.nan

# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C: four observers,
# twelve units. He gives 0.815 for ordinal data; krippendorff 0.9.0 the digits:
#   pip install krippendorff; python -c "import krippendorff; print(krippendorff.alpha(
#       reliability_data=OBSERVERS, level_of_measurement='ordinal'))"
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
    [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
]


def test_alpha_of_the_published_example() -> None:
    assert judge_agreement(np.array(OBSERVERS).T) == pytest.approx(0.8153875037548814, abs=1e-12)


def test_alpha_of_random_ratings() -> None:
    """krippendorff 0.9.0 on the same array: 0.03487378261088947."""
    ratings = np.random.default_rng(0).integers(0, 6, size=(3, 20)).astype(float)
    ratings[0, 3] = ratings[1, 3] = ratings[2, 7] = NAN
    assert judge_agreement(ratings.T) == pytest.approx(0.03487378261088947, abs=1e-12)


def test_alpha_at_its_ends() -> None:
    assert judge_agreement([[1, 1], [4, 4]]) == 1.0
    assert judge_agreement([[0, 5], [5, 0]]) < 0
    with pytest.raises(MetricInputError, match=r"^all readable ratings are 3$"):
        judge_agreement([[3, 3], [3, 3]])
    for none in ([[3], [4]], [[3, NAN], [NAN, 4]]):
        with pytest.raises(MetricInputError, match="no response has two readable ratings"):
            judge_agreement(none)
        with pytest.raises(MetricInputError, match="no response has two readable ratings"):
            judge_exact_agreement(none)


def test_exact_agreement_by_hand() -> None:
    # 1 of 3 pairs; all of one pair; left out.
    assert judge_exact_agreement([[1, 1, 2], [4, 4, NAN], [5, NAN, NAN]]) == pytest.approx(
        (1 / 3 + 1) / 2
    )


def test_an_unreadable_rating_is_left_out_and_counted_never_zero() -> None:
    ratings = [[4.0, NAN], [NAN, NAN], [2.0, 3.0]]
    assert judge_rating(ratings) == pytest.approx((4 + 2.5) / 2)
    assert judge_unparsable_rate(ratings) == pytest.approx(3 / 6)
    with pytest.raises(MetricInputError, match=r"^no rating of 2 responses can be read$"):
        judge_rating([[NAN], [NAN]])
    assert judge_unparsable_rate([[NAN], [NAN]]) == 1.0


def test_harm() -> None:
    verdicts = [[1.0], [0.0], [NAN], [0.0]]
    assert attack_success_rate_judged(verdicts) == pytest.approx(1 / 3)
    assert harm_unparsable_rate(verdicts) == 0.25
    with pytest.raises(MetricInputError, match=r"^no judgement of 1 responses can be read$"):
        attack_success_rate_judged([[NAN]])
    with pytest.raises(MetricInputError, match="neither 0 nor 1"):
        attack_success_rate_judged([[0.4]])


def test_the_signature_names_judge_and_rubric() -> None:
    made = find("judge_rating").signature({"judge": "m@1,story@2"})
    assert made == "judge_rating|v:1|judge:m@1,story@2"


def test_any_metric_among_responses_that_a_judge_likes() -> None:
    made = find("unique_rate[judge>=3.5]")
    assert (made.name, made.needs) == ("unique_rate[judge>=3.5]", ("text", "judge"))
    texts = ["a", "a", "b", "c"]
    ratings = np.array([[4.0, 5.0], [4.0, 3.0], [3.0, 3.0], [5.0, 5.0]])
    assert made(texts, ratings) == pytest.approx(2 / 3)
    assert made(texts, ratings[:, :1]) == pytest.approx(2 / 3)
    with pytest.raises(MetricInputError, match=r"^the quality of a response is unknown"):
        made(texts, np.where(ratings == 3.0, NAN, ratings))
