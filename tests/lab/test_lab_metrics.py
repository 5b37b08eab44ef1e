"""The lab's metrics by hand, on the 24 names of one topic and the 3 slots of another."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from tofu_eval.core.errors import MetricInputError
from tofu_eval.core.types import Prompt
from tofu_eval.lab.metrics import (
    LAB_METRICS,
    lab_collision,
    lab_distinct_valid,
    lab_tail,
    lab_unseen,
    lab_validity,
)
from tofu_eval.lab.world import topic_of
from tofu_eval.metrics import METRICS

FRUIT, SLEEP = topic_of("name-fruit"), topic_of("advice-sleep")
ALL = (lab_validity, lab_tail, lab_unseen, lab_collision, lab_distinct_valid)


def prompt(topic=FRUIT, references: tuple[int, ...] = ()) -> Prompt:
    texts = [topic.text(option) for option in references]
    return Prompt.of_text(
        topic.name, topic.wordings[0], references=texts, metadata={"topic": topic.name}
    )


def fruits(*options: int) -> list[str]:
    return [FRUIT.text(option) for option in options]


def test_validity() -> None:
    texts = [*fruits(0, 0, 5), "My favourite fruit is the dog.", "My favourite animal is the dog."]
    assert lab_validity(texts, prompt()) == 3 / 5


def test_tail() -> None:
    # python -c "w=[r**-1.3 for r in range(1,25)]; c=[sum(w[:i])/sum(w) for i in range(25)];
    #            i=min(i for i in range(25) if c[i]>=.8); print(i, 1-c[i])" -> 8 0.17961900899...
    texts = [*fruits(0, 7, 8, 23), "nonsense"]
    assert lab_tail(texts, prompt()) == pytest.approx((2 / 5) / 0.1796190089995559, rel=1e-12)


def test_unseen() -> None:
    # The target's mass without ranks 1 and 2 of 24:
    # python -c "w=[r**-1.3 for r in range(1,25)]; print(1-(w[0]+w[1])/sum(w))"
    texts = [*fruits(0, 1, 2, 3), "nonsense"]
    found = lab_unseen(texts, prompt(references=(0, 1, 1)))
    assert found == pytest.approx((2 / 5) / 0.4704187220912248, rel=1e-12)


def test_collision() -> None:
    # Four valid, counts 3 and 1: 3*2 of 4*3 ordered pairs agree; the target's is Σp² over 24.
    texts = [*fruits(0, 0, 0, 9), "nonsense", "nonsense"]
    assert lab_collision(texts, prompt()) == pytest.approx(0.5 / 0.18464584582702406, rel=1e-12)
    assert lab_collision(fruits(1, 2, 3), prompt()) == 0


def test_distinct_valid() -> None:
    texts = [*fruits(0, 0, 4), "nonsense", "more nonsense"]
    assert lab_distinct_valid(texts, prompt()) == 2 / 5


def test_several_slots_are_summed_before_they_are_divided() -> None:
    # Slots of 12 words; 5 of each are not rare. One response is rare in one slot, one in three.
    options = [
        np.ravel_multi_index(ranks, SLEEP.shape) for ranks in ((0, 0, 5), (11, 6, 5), (0, 0, 0))
    ]
    texts = [SLEEP.text(int(option)) for option in options]
    # python -c "w=[r**-1.3 for r in range(1,13)]; print(1-sum(w[:5])/sum(w))"
    expected = (4 / 3) / (3 * 0.18376047679195306)
    assert lab_tail(texts, prompt(SLEEP)) == pytest.approx(expected, rel=1e-12)
    # Agreeing ordered pairs of 6: slot one 2 (ranks 0 0), slot two 2 (0 0), slot three 2 (5 5).
    # python -c "w=[r**-1.3 for r in range(1,13)]; print(sum(x*x for x in w)/sum(w)**2)"
    expected = 3 * (2 / 6) / (3 * 0.23053155938626627)
    assert lab_collision(texts, prompt(SLEEP)) == pytest.approx(expected, rel=1e-12)


def test_the_target_itself_has_ratio_one() -> None:
    options = SLEEP.draw(np.random.default_rng(0).random(40_000))
    texts = [SLEEP.text(int(option)) for option in options]
    given = prompt(SLEEP, tuple(range(0, 1728, 301)))
    assert lab_validity(texts, given) == 1
    # Sampling error: 3 slots of a share of .18 each over 40,000 draws is about 0.5%.
    for metric in (lab_tail, lab_unseen, lab_collision):
        assert metric(texts, given) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.__name__)
def test_undefined_is_said(metric) -> None:
    with pytest.raises(MetricInputError, match="the prompt has no lab topic"):
        metric(["text"], Prompt.of_text("p", "Name a cheese."))
    with pytest.raises(MetricInputError, match="none of the lab's"):
        metric(["text"], Prompt.of_text("p", "?", metadata={"topic": "name-cheese"}))
    with pytest.raises(MetricInputError, match="no responses"):
        metric([], prompt(references=(0,)))


def test_collision_needs_two_valid_responses() -> None:
    with pytest.raises(MetricInputError, match=r"fewer than two valid responses \(1\)"):
        lab_collision([*fruits(0), "nonsense"], prompt())


def test_unseen_needs_answers_that_leave_something() -> None:
    with pytest.raises(MetricInputError, match="has no fine-tuning answers"):
        lab_unseen(fruits(0), prompt())
    with pytest.raises(MetricInputError, match="showed every word"):
        lab_unseen(fruits(0), prompt(references=tuple(range(24))))


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.__name__)
def test_order_does_not_matter_and_nothing_is_changed(metric) -> None:
    texts, given = [*fruits(3, 1, 3, 20), "nonsense"], prompt(references=(0, 1))
    before = list(texts)
    assert metric(texts, given) == metric(texts[::-1], given)
    assert texts == before


@pytest.mark.parametrize("name", LAB_METRICS)
def test_registered_and_documented(name) -> None:
    made = METRICS.get(name)
    assert made.needs == ("text", "prompt")
    assert made.measures == ("quality" if name == "lab_validity" else "diversity")
    text = inspect.getdoc(made.function)
    for heading in ("Formula:", "Args:", "Returns:", "Undefined:"):
        assert heading in text
