from __future__ import annotations

from typing import Any

import pytest

from tofu_eval.analysis import Difference, Interval
from tofu_eval.analysis.compare import Cell, Comparison, Row
from tofu_eval.core.errors import UnknownNameError
from tofu_eval.report.headline import headline


def cell(model: str, value: float | None, *versus: Any, p: float | None = None) -> Cell:
    mean = Interval(value, value, value, 0 if value is None else 60, "by hand")
    found = Difference(*versus, 60, 0, p, 0.2) if versus else None
    return Cell(model, mean, 0, {}, found, p)


def row(task: str, metric: str, direction: str, *cells: Cell, measures: str = "diversity") -> Row:
    return Row(task, metric, direction, cells, measures)


def of(*rows: Row) -> Comparison:
    return Comparison("base", tuple(cell.model for cell in rows[0].cells), rows, 9)


VENDI = row(
    "t", "vendi", "higher", cell("base", 4.52), cell("sft", 3.28, -1.24, -1.6, -0.9, p=0.0002)
)
BLEU = row(
    "t", "self_bleu", "lower", cell("base", 50.0), cell("sft", 60.0, 10.0, 8.0, 12.0, p=0.0002)
)
UNIQUE = row(
    "t", "unique_rate", "higher", cell("base", 0.5), cell("sft", 0.51, 0.01, -0.1, 0.12, p=0.8)
)
REWARD = row(
    "t", "reward", "higher", cell("base", 0.1), cell("sft", 0.4, 0.3, 0.1, 0.5, p=0.01),
    measures="quality",
)  # fmt: skip


def test_what_by_how_much_how_sure_at_what_quality() -> None:
    assert headline(of(BLEU, VENDI, UNIQUE, REWARD)) == (
        "Compared with base, sft is narrower (vendi -1.24 [-1.60, -0.90], from 4.52 to 3.28, "
        "p < 0.001; 1 of 2 other diversity metrics agree, 0 say the opposite), quality better "
        "(reward +0.300 [+0.100, +0.500])."
    )


def test_a_difference_that_is_not_clear_is_not_claimed() -> None:
    said = headline(of(UNIQUE, BLEU), metric="unique_rate")
    assert said == (
        "Compared with base, sft is not clearly different (unique_rate "
        "+0.010 [-0.100, +0.120], from 0.500 to 0.510, p = 0.8; of 1 other diversity metrics 1 are "
        "clearly narrower, 0 wider), quality not measured."
    )


def test_an_interval_without_0_whose_adjusted_p_is_large_is_not_clear() -> None:
    vendi = row("t", "vendi", "higher", *VENDI.cells[:1], cell("sft", 3.3, -1, -2, -0.1, p=0.2))
    assert "sft is not clearly different (vendi -1.00 [-2.00, -0.10]" in headline(of(vendi))


def test_lower_can_be_wider() -> None:
    bleu = row("t", "self_bleu", "lower", cell("base", 50.0), cell("sft", 40, -10, -12, -8, p=0.01))
    assert "sft is wider (self_bleu -10.0 [-12.0, -8.0], from 50.0 to 40.0" in headline(of(bleu))


def test_several_models_and_one_without_scores() -> None:
    more = (cell("tofu", 4.4, -0.1, -0.4, 0.2, p=0.5), cell("gem", None, None, None, None))
    gone = Cell("gem", more[1].mean, 0, {}, Difference(None, None, None, 0, 60, None, None), None)
    said = headline(of(row("t", "vendi", "higher", *VENDI.cells, more[0], gone)))
    assert said.startswith("Compared with base, sft is narrower (vendi -1.24")
    assert "; tofu is not clearly different (vendi -0.100 [-0.400, +0.200], " in said
    assert said.endswith(
        "; and nothing can be said about gem (vendi is not defined on the same prompts)."
    )


def test_over_tasks_the_verdicts_are_counted() -> None:
    other = row("lab", "vendi", "higher", cell("base", 4.5), cell("sft", 4.4, -0.1, -1, 1, p=0.9))
    said = headline(of(VENDI, REWARD, other))
    assert "sft is narrower on 1, not clearly different on 1 of 2 tasks (vendi -1.24" in said
    assert "p < 0.001 on t; vendi -0.10 [-1.00, +1.00], from 4.50 to 4.40, p = 0.9 on lab" in said
    assert "reward +0.300 [+0.100, +0.500] on t" in said


def test_the_metric_is_fixed_beforehand() -> None:
    said = [headline(of(*rows)) for rows in ((UNIQUE, VENDI), (VENDI, UNIQUE), (UNIQUE, BLEU))]
    assert [s.partition("(")[2].partition(" ")[0] for s in said] == ["vendi", "vendi", "self_bleu"]


def test_nothing_to_say() -> None:
    alone = of(row("t", "vendi", "higher", cell("base", 4.5)))
    assert headline(alone) == "There is only base: name a second model to compare it with."
    assert "No metric of diversity was measured" in headline(of(REWARD))
    with pytest.raises(UnknownNameError, match=r"Unknown metric 'vendy'. Did you mean 'vendi'\?"):
        headline(of(VENDI), metric="vendy")


def test_a_sentence_holds_a_few_models_and_counts_the_others() -> None:
    swept = [cell(f"sft-T{i}", 3.28, -1.24, -1.6, -0.9, p=0.0002) for i in range(9)]
    said = headline(of(row("t", "vendi", "higher", cell("base", 4.52), *swept)))
    assert "sft-T5 is narrower" in said
    assert "sft-T6" not in said
    assert said.endswith("; and 3 more are in the table.")
