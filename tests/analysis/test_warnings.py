from __future__ import annotations

from typing import Any

import pytest

from tofu_eval.analysis.compare import compare
from tofu_eval.analysis.comparison import Comparison, How
from tofu_eval.analysis.warnings import ValidityWarning, scores_warnings
from tofu_eval.core.tables import SCORE_SCHEMA, to_table
from tofu_eval.core.types import Score

METRICS = {"vendi": "higher", "self_bleu": "lower"}


def scored(sides: dict[str, dict[str, int]], value: float = 1.0) -> Any:
    """Scores by model: the number of responses of each prompt, none where that is 0."""
    return to_table(
        [
            Score(model, "lab", prompt, metric, value + i if n else None, "" if n else "few", n)
            for model, prompts in sides.items()
            for metric in METRICS
            for i, (prompt, n) in enumerate(prompts.items())
        ],
        SCORE_SCHEMA,
    )


def warned(table: Any, biased: set[str]) -> dict[str, ValidityWarning]:
    facts = {name: {"count_sensitive": True} for name in biased}
    comparison = compare(table, "base", metrics=METRICS, how=How(facts))
    return {w.kind: w for w in scores_warnings(comparison, table)}


def prompts(count: int, n: int = 8) -> dict[str, int]:
    return {f"p{i}": n for i in range(count)}


def test_equal_numbers_on_enough_prompts_are_not_warned_of() -> None:
    assert warned(scored({"base": prompts(20), "sft": prompts(20)}), {"vendi"}) == {}


def test_unequal_numbers_void_what_they_move() -> None:
    table = scored({"base": prompts(20, 8), "sft": prompts(20, 16)})
    found = warned(table, {"vendi"})["unequal_responses"]
    assert found.voids
    assert (found.task, found.models, found.metrics) == ("lab", ("sft",), ("vendi",))
    assert found.numbers == {"responses": 16.0, "baseline_responses": 8.0}
    assert "unequal_responses" not in warned(table, set())


def test_numbers_whose_means_agree_are_unequal_prompt_by_prompt() -> None:
    turns = {f"p{i}": 14 if i % 2 else 2 for i in range(20)}
    found = warned(scored({"base": prompts(20, 8), "sft": turns}), {"vendi"})
    assert found["unequal_responses"].numbers == {"responses": 8.0, "baseline_responses": 8.0}


def test_prompts_that_one_side_lacks_are_counted() -> None:
    half = {f"p{i}": 8 if i < 20 else 0 for i in range(40)}
    found = warned(scored({"base": prompts(40), "sft": half}), {"vendi"})
    assert "unequal_responses" not in found  # on the prompts that both have, they are equal
    assert found["left_out_prompts"].numbers == {"kept": 20, "total": 40}
    assert not found["left_out_prompts"].voids


@pytest.mark.parametrize(("count", "voids"), [(4, True), (5, True), (6, False), (19, False)])
def test_where_no_test_can_be_clear_there_is_no_verdict(count: int, voids: bool) -> None:
    found = warned(scored({"base": prompts(count), "sft": prompts(count)}), set())
    (kind,) = found
    assert kind == ("too_few_prompts" if voids else "few_prompts")
    assert found[kind].voids is voids
    assert found[kind].numbers["prompts"] == count
    if voids:
        assert found[kind].numbers["least_p"] == 2 / 2**count


def test_models_without_a_common_prompt() -> None:
    others = {f"q{i}": 8 for i in range(30)}
    found = warned(scored({"base": prompts(20), "sft": others}), set())["no_common_prompts"]
    assert found.voids
    assert found.numbers == {"prompts": 30, "baseline_prompts": 20}


def test_a_warning_is_about_its_models_tasks_and_metrics() -> None:
    one = ValidityWarning("lengths", task="lab", models=("sft",), metrics=("vendi",))
    assert one.concerns("sft", "lab")
    assert not one.concerns("sft", "other")
    assert not one.concerns("tofu", "lab")
    assert one.is_about("vendi")
    assert not one.is_about("self_bleu")
    everything = ValidityWarning("note", numbers={"text": "…"})
    assert everything.concerns("tofu", "other")
    assert everything.is_about("self_bleu")


def test_a_single_model_is_warned_of_too() -> None:
    table = scored({"base": prompts(6)})
    alone: Comparison = compare(table, "base", metrics=METRICS)
    assert [w.kind for w in scores_warnings(alone, table)] == ["few_prompts"]
