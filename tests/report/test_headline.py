from __future__ import annotations

from dataclasses import replace
from typing import Any

from tofu_eval.analysis import Difference, Interval
from tofu_eval.analysis.comparison import Cell, Comparison, Row
from tofu_eval.analysis.warnings import ValidityWarning
from tofu_eval.report.headline import answer_rows, headline, verdict_records


def cell(
    model: str, value: float | None, *versus: Any, p: float | None = None, **more: Any
) -> Cell:
    mean = Interval(value, value, value, 0 if value is None else 60, "by hand")
    found = Difference(*versus, 60, 0, p, 0.2) if versus else None
    if found is not None and value is not None and found.value is not None:
        found = replace(found, a_mean=value, b_mean=value - found.value)
    return replace(Cell(model, mean, 0, {}, found, p), **more)


def row(task: str, metric: str, direction: str, *cells: Cell, **more: Any) -> Row:
    return Row(task, metric, direction, cells, **more)


def of(*rows: Row, warnings: tuple[ValidityWarning, ...] = ()) -> Comparison:
    models = tuple(cell.model for cell in rows[0].cells)
    return Comparison("base", models, rows, 9, warnings=warnings)


VENDI = row(
    *("t", "vendi", "higher"),
    *(cell("base", 4.52), cell("sft", 3.28, -1.24, -1.6, -0.9, p=0.0002)),
    human=0.77,
    unit="effective responses",
)
BLEU = row(
    *("t", "self_bleu", "lower"),
    *(cell("base", 50.0), cell("sft", 60.0, 10.0, 8.0, 12.0, p=0.0002)),
    human=0.68,
)
UNIQUE = row(
    *("t", "unique_rate", "higher"),
    *(cell("base", 0.5), cell("sft", 0.51, 0.01, -0.1, 0.12, p=0.8)),
    human=0.5,
)
REWARD = row(
    *("t", "reward", "higher"),
    *(cell("base", 0.1), cell("sft", 0.4, 0.3, 0.1, 0.5, p=0.01)),
    measures="quality",
)
ACCURACY = row(
    *("t", "accuracy", "higher"),
    *(cell("base", 0.5), cell("sft", 0.4, -0.1, -0.15, -0.05, p=0.01)),
    measures="quality",
)
WIDER = replace(BLEU, cells=(BLEU.cells[0], cell("sft", 40.0, -10, -12, -8, p=0.01)))


def test_what_by_how_much_how_sure_at_what_quality() -> None:
    assert headline(of(BLEU, VENDI, UNIQUE, REWARD)) == (
        "Compared with base, sft is narrower (vendi -1.24 [-1.60, -0.90] effective responses, from "
        "4.52 to 3.28 on 60 prompts, adjusted p < 0.001; 1 of 2 other diversity metrics agree, 0 "
        "say the opposite), quality better (reward +0.300 [+0.100, +0.500])."
    )


def test_a_row_says_what_the_sentence_says() -> None:
    (one,) = answer_rows(of(BLEU, VENDI, UNIQUE, REWARD))
    assert (one.model, one.task, one.verdict, one.prompts) == ("sft", "t", "narrower", "60 prompts")
    assert one.effect == "vendi -1.24 [-1.60, -0.90] effective responses"
    assert one.quality == "better: reward +0.300 [+0.100, +0.500]"
    assert "over 9 differences" in one.adjusted


def test_a_difference_that_is_not_clear_is_not_claimed() -> None:
    assert headline(of(UNIQUE)) == (
        "Compared with base, sft is not clearly different (unique_rate +0.010 [-0.100, +0.120], "
        "from 0.500 to 0.510 on 60 prompts, adjusted p = 0.8), quality not measured."
    )


def test_an_interval_without_0_whose_adjusted_p_is_large_is_not_clear() -> None:
    vendi = replace(VENDI, cells=(VENDI.cells[0], cell("sft", 3.3, -1, -2, -0.1, p=0.2)))
    assert "sft is not clearly different (vendi -1.00 [-2.00, -0.10]" in headline(of(vendi))


def test_lower_can_be_wider() -> None:
    said = headline(of(WIDER))
    assert "sft is wider (self_bleu -10.0 [-12.0, -8.0], from 50.0 to 40.0 on 60 prompts" in said


def test_metrics_that_disagree_are_the_verdict() -> None:
    said = headline(of(VENDI, WIDER, UNIQUE))
    assert said.startswith(
        "Compared with base, metrics of diversity disagree on sft: narrower by v"
    )
    assert "; wider by self_bleu -10.0 [-12.0, -8.0]" in said
    assert "1 of 3 diversity metrics narrower, 1 wider" in said
    assert answer_rows(of(VENDI, WIDER))[0].verdict == "metrics disagree"


def test_where_the_leading_metric_is_not_clear_the_clear_ones_lead() -> None:
    vendi = replace(VENDI, cells=(VENDI.cells[0], cell("sft", 4.4, -0.1, -0.4, 0.2, p=0.5)))
    said = headline(of(UNIQUE, BLEU, vendi))
    assert "sft is narrower (self_bleu +10.0 [+8.0, +12.0]" in said
    assert "; vendi -0.100 [-0.400, +0.200] effective responses is not clear" in said


def test_the_metric_that_people_agree_with_leads() -> None:
    orders = ((UNIQUE, VENDI, BLEU), (VENDI, UNIQUE, BLEU), (BLEU, UNIQUE, VENDI))
    leads = [verdict_records(of(*rows))[0]["metric"] for rows in orders]
    assert leads == ["vendi"] * 3


def test_metrics_of_quality_that_disagree_are_all_named() -> None:
    said = headline(of(VENDI, REWARD, ACCURACY))
    assert said.endswith(
        "metrics of quality disagree: worse (accuracy -0.100 [-0.150, -0.050]), better (reward "
        "+0.300 [+0.100, +0.500])."
    )
    assert answer_rows(of(VENDI, REWARD, ACCURACY))[0].quality.startswith("metrics disagree: ")


def test_no_loss_of_quality_is_only_said_where_it_was_shown() -> None:
    close = {"margin": 0.02, "no_loss": True}
    equal = cell("sft", 0.501, 0.001, -0.01, 0.012, p=0.9, **close)
    same = replace(ACCURACY, cells=(ACCURACY.cells[0], equal))
    assert "no loss of quality (accuracy +0.0010 [-0.0100, +0.0120], within ±0.02)" in headline(
        of(VENDI, same)
    )
    wide = replace(same, cells=(same.cells[0], replace(equal, no_loss=False)))
    assert "quality not clearly different, which is not the same (accuracy" in headline(
        of(VENDI, wide)
    )
    other = replace(wide, metric="reward")
    assert "no loss" not in headline(of(VENDI, same, other))


def test_several_models_and_one_without_scores() -> None:
    more = (cell("tofu", 4.4, -0.1, -0.4, 0.2, p=0.5), cell("gem", None, None, None, None))
    gone = Cell("gem", more[1].mean, 0, {}, Difference(None, None, None, 0, 60, None, None), None)
    said = headline(of(replace(VENDI, cells=(*VENDI.cells, more[0], gone))))
    assert said.startswith("Compared with base, sft is narrower (vendi -1.24")
    assert "; tofu is not clearly different (vendi -0.100 [-0.400, +0.200] " in said
    assert (
        "and there is no verdict on gem (no metric of it is defined on the same prompts), quality"
        in said
    )


def test_each_task_has_its_verdict_by_all_of_its_metrics() -> None:
    lab = replace(VENDI, task="lab", cells=(VENDI.cells[0], cell("sft", 4.4, -0.1, -1, 1, p=0.9)))
    unseen = replace(BLEU, task="lab", metric="lab_unseen", human=None)
    said = headline(of(VENDI, REWARD, lab, unseen))
    assert "sft is narrower on t (vendi -1.24" in said
    assert "sft is narrower on lab (lab_unseen +10.0" in said
    assert "vendi -0.10 [-1.00, +1.00] effective responses is not clear" in said


def test_over_many_tasks_the_verdicts_are_counted() -> None:
    tasks = [replace(VENDI, task=f"t{i}") for i in range(3)]
    unclear = replace(UNIQUE, task="t3")
    said = headline(of(*tasks, unclear, replace(ACCURACY, task="t1")))
    assert "sft, over 4 tasks: narrower on 3 (t0 by vendi -1.24 [-1.60, -0.90] effective" in said
    assert "not clearly different on 1 (t3)" in said
    assert "quality worse on 1 (t1 by accuracy -0.100 [-0.150, -0.050]), not measured on 3" in said


def test_what_a_warning_voids_has_no_verdict() -> None:
    void = ValidityWarning("lengths", voids=True, task="t", models=("sft",), metrics=("vendi",))
    all_void = replace(void, metrics=("vendi", "self_bleu"))
    said = headline(of(VENDI, BLEU, warnings=(all_void,)))
    assert "there is no verdict on sft (responses of unequal length)" in said
    # What is left speaks where it is clear, and says what is missing.
    said = headline(of(VENDI, BLEU, warnings=(void,)))
    assert "sft is narrower (self_bleu +10.0" in said
    assert "no verdict on 1 other; responses of unequal length)" in said
    # A weaker metric that sees nothing is no verdict.
    said = headline(of(VENDI, UNIQUE, warnings=(void,)))
    assert "there is no verdict on sft" in said
    other = replace(void, models=("tofu",))
    assert "sft is narrower (vendi" in headline(of(VENDI, warnings=(other,)))


def test_nothing_to_say() -> None:
    alone = of(row("t", "vendi", "higher", cell("base", 4.5)))
    assert headline(alone) == "There is only base: name a second model to compare it with."
    assert headline(of(REWARD)).startswith("Compared with base, the diversity of sft was not meas")
    length = replace(REWARD, measures="length", direction="none")
    assert "No metric of diversity was measured" in headline(of(length))


def test_a_sentence_holds_a_few_models_and_counts_the_others() -> None:
    swept = [cell(f"sft-T{i}", 3.28, -1.24, -1.6, -0.9, p=0.0002) for i in range(9)]
    said = headline(of(row("t", "vendi", "higher", cell("base", 4.52), *swept)))
    assert "sft-T5 is narrower" in said
    assert "sft-T6" not in said
    assert said.endswith("; and 3 more are in the table.")
