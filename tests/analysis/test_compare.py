from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tofu_eval.analysis import mean_interval, paired_difference
from tofu_eval.analysis.compare import compare
from tofu_eval.analysis.comparison import Cell, Comparison, How
from tofu_eval.analysis.equal_lengths import Lengths
from tofu_eval.core.errors import DataError, UnknownNameError
from tofu_eval.core.tables import SCORE_SCHEMA, to_table
from tofu_eval.core.types import Score
from tofu_eval.report.comparison_text import render

METRICS = {"vendi": "higher", "self_bleu": "lower", "never_used": "none"}


def study(prompts: int = 12) -> list[Score]:
    """Three models, two metrics; `sft` lacks vendi on two prompts, `gem` lacks a whole task."""
    rng = np.random.default_rng(0)
    rows = []
    for task in ("open-prompts", "lab"):
        for model, level in (("base", 5.0), ("sft", 4.0), ("gem", 5.0)):
            if (model, task) == ("gem", "lab"):
                continue
            for metric in ("vendi", "self_bleu"):
                for i in range(prompts):
                    value, reason = level + rng.normal(), None
                    if (model, metric) == ("sft", "vendi") and i < 2:
                        value, reason = None, "fewer than 2 responses"
                    rows.append(Score(model, task, f"p{i}", metric, value, reason, 10))
    return rows


@pytest.fixture
def scores() -> pa.Table:
    return to_table(study(), SCORE_SCHEMA)


def cell(comparison: Comparison, task: str, metric: str, model: str) -> Cell:
    row = next(row for row in comparison.rows if (row.task, row.metric) == (task, metric))
    return row.cells[comparison.models.index(model)]


def values(task: str, metric: str, model: str) -> dict[str | None, float | None]:
    place = (task, metric, model)
    return {s.prompt_id: s.value for s in study() if (s.task, s.metric, s.model) == place}


def test_rows_and_models_stand_in_the_order_of_the_table(scores: pa.Table) -> None:
    got = compare(scores, "sft", metrics=METRICS)
    assert got.models == ("base", "sft", "gem")
    assert [(row.task, row.metric, row.direction) for row in got.rows] == [
        ("open-prompts", "vendi", "higher"),
        ("open-prompts", "self_bleu", "lower"),
        ("lab", "vendi", "higher"),
        ("lab", "self_bleu", "lower"),
    ]
    assert all(tuple(cell.model for cell in row.cells) == got.models for row in got.rows)


def test_a_cell_is_the_mean_and_the_paired_difference(scores: pa.Table) -> None:
    got = cell(compare(scores, "base", metrics=METRICS), "lab", "vendi", "sft")
    own, base = values("lab", "vendi", "sft"), values("lab", "vendi", "base")
    assert got.mean == mean_interval(list(own.values()))
    alone = paired_difference(own, base, task="lab")
    assert replace(got.difference, p_adjusted=alone.p_adjusted) == alone
    assert (got.mean.n, got.undefined, got.reasons) == (10, 2, {"fewer than 2 responses": 2})
    assert (got.difference.n, got.difference.dropped) == (10, 2)
    both = [own[id] - base[id] for id in own if own[id] is not None]
    assert got.difference.value == pytest.approx(np.mean(both))


def test_a_missing_task_is_empty_and_not_imputed(scores: pa.Table) -> None:
    got = cell(compare(scores, "base", metrics=METRICS), "lab", "vendi", "gem")
    assert (got.mean.value, got.mean.n, got.undefined, got.reasons) == (None, 0, 0, {})
    assert (got.difference.value, got.difference.n, got.difference.dropped) == (None, 0, 12)
    assert got.p_adjusted is None
    turned = cell(compare(scores, "gem", metrics=METRICS), "lab", "vendi", "base")
    assert turned.mean.n == 12
    assert turned.difference.value is None


def test_p_values_are_adjusted_over_the_whole_comparison(scores: pa.Table) -> None:
    got = compare(scores, "base", metrics=METRICS)
    cells = [c for row in got.rows for c in row.cells if c.difference and c.difference.n]
    assert got.tests == len(cells) == 6
    assert all(c.p_adjusted >= c.difference.p_value for c in cells)
    assert 0.05 / 6 * 0.8 < got.level < 0.05
    assert all(c.p_adjusted is None and c.difference is None for c in got.rows[0].cells[:1])


def test_pairs_are_made_by_id_not_by_order(scores: pa.Table) -> None:
    order = np.arange(len(scores))
    np.random.default_rng(1).shuffle(order)
    shuffled = compare(scores.take(pa.array(order)), "base", metrics=METRICS)
    straight = compare(scores, "base", metrics=METRICS)
    for row in straight.rows:
        for expected in row.cells:
            got = cell(shuffled, row.task, row.metric, expected.model)
            assert (got.mean, got.difference) == (expected.mean, expected.difference)


def test_one_model_alone_has_no_differences() -> None:
    rows = [row for row in study() if row.model == "base"]
    got = compare(to_table(rows, SCORE_SCHEMA), "base", metrics=METRICS)
    assert got.tests == 0
    assert all(row.cells[0].difference is None for row in got.rows)


def test_a_value_of_the_corpus_has_no_interval() -> None:
    rows = [Score(m, "lab", None, "vendi", v, None, 600) for m, v in (("base", 2.0), ("sft", 1.5))]
    got = cell(
        compare(to_table(rows, SCORE_SCHEMA), "base", metrics=METRICS), "lab", "vendi", "sft"
    )
    assert (got.mean.value, got.mean.low, got.mean.n) == (1.5, None, 1)
    assert (got.difference.value, got.difference.low, got.difference.p_value) == (-0.5, None, None)


def test_the_blocks_of_a_corpus_give_its_interval() -> None:
    blocks = {"base": [2.0, 2.2, 1.8, 2.0], "sft": [1.4, 1.7, 1.3, 1.6]}
    rows = [
        Score(model, "lab", id, "vendi", value, None, 600)
        for model, values in blocks.items()
        for id, value in (
            (None, sum(values) / 4),
            *((f"block {i + 1} of 4", value) for i, value in enumerate(values)),
        )
    ]
    got = cell(
        compare(
            to_table(rows, SCORE_SCHEMA), "base", metrics=METRICS,
            how=How(facts={"vendi": {"level": "corpus", "bias": "grows"}}),
        ),
        "lab", "vendi", "sft",
    )  # fmt: skip
    assert (got.mean.value, got.mean.n) == (pytest.approx(1.5), 4)
    assert got.mean.method == (
        "value of the whole corpus, 95% jackknife over 4 blocks of prompts; grows"
    )
    plain = mean_interval(blocks["sft"])
    assert (got.mean.low, got.mean.high) == (plain.low, plain.high)
    assert (got.difference.value, got.difference.n, got.difference.dropped) == (-0.5, 4, 0)


def test_intervals_end_where_the_metric_does(scores: pa.Table) -> None:
    facts = {"vendi": {"range": ["3.9", "n"], "measures": "quality"}}
    got = compare(scores, "base", metrics=METRICS, how=How(facts=facts))
    plain = compare(scores, "base", metrics=METRICS)
    lows = [cell(one, "lab", "vendi", "sft").mean.low for one in (plain, got)]
    assert lows[0] < 3.9
    assert lows[1] == min(3.9, cell(got, "lab", "vendi", "sft").mean.value)
    assert [row.measures for row in got.rows] == ["quality", "diversity"] * 2


def test_markdown_has_effects_and_prompts_won() -> None:
    rows = [
        Score(model, "lab", f"p{i}", "self_bleu", value, None, 10)
        for model, values in {"base": (3.0, 3.0, 3.0, 3.0), "sft": (2.0, 1.0, 3.0, 4.0)}.items()
        for i, value in enumerate(values)
    ]
    text = render(compare(to_table(rows, SCORE_SCHEMA), "base", metrics=METRICS), "markdown")
    # Differences -1, -2, 0, 1 of deviation 1.291; lower is more diverse on two of four prompts.
    (line,) = [line for line in text.splitlines() if line.startswith("| self_bleu ↓ | sft |")]
    assert line.endswith(" | -0.39 | 50% | 4 |")
    assert "won: the share of prompts on which the model is more diverse" in text


def test_an_unknown_baseline(scores: pa.Table) -> None:
    message = "Unknown model 'bass'. Did you mean 'base'? List all: tofu-eval compare RUN"
    with pytest.raises(UnknownNameError) as caught:
        compare(scores, "bass", metrics=METRICS)
    assert str(caught.value) == message


def test_a_metric_without_a_direction(scores: pa.Table) -> None:
    with pytest.raises(UnknownNameError, match="Unknown metric 'self_bleu'"):
        compare(scores, "base", metrics={"vendi": "higher"})


def test_the_same_score_twice() -> None:
    rows = study()
    table = to_table([*rows, rows[5]], SCORE_SCHEMA)
    message = (
        "The scores hold two values of 'vendi' for the model 'base' on prompt 'p5' of "
        "'open-prompts', expected one. Score the run again."
    )
    with pytest.raises(DataError) as caught:
        compare(table, "base", metrics=METRICS)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("own", "sensitive", "truncate", "turn"),
    [(0.0, True, False, None), (0.0, False, False, 1), (0.0, True, True, 1), (3.0, True, False, 1)],
)
def test_what_length_may_have_made_is_withheld(
    own: float, sensitive: bool, truncate: bool, turn: int | None
) -> None:
    """A metric that grows with length, of lengths of 1.15 to 1; `own` is what is not length."""
    rng = np.random.default_rng(0)
    ratio = np.log(1.15) + 0.15 * rng.standard_normal(60)
    tables = {"base": rng.normal(5, 0.1, 60), "sft": rng.normal(5, 0.1, 60) + own + 5 * ratio}
    rows = [
        Score(model, "lab", f"p{i}", "vendi", value, None, 8)
        for model, table in tables.items()
        for i, value in enumerate(table)
    ]
    theirs = {f"p{i}": (1000, 10) for i in range(60)}
    ours = {f"p{i}": (round(1000 * np.exp(r)), 10) for i, r in enumerate(ratio)}
    lengths = {("base", "lab"): Lengths.of_sums(theirs), ("sft", "lab"): Lengths.of_sums(ours)}
    how = How(facts={"vendi": {"length_sensitive": sensitive}}, lengths=lengths, truncate=truncate)
    made = compare(to_table(rows, SCORE_SCHEMA), "base", metrics=METRICS, how=how)
    found = cell(made, "lab", "vendi", "sft")
    assert found.turn == turn
    assert [why.kind for why in found.withheld] == ([] if turn else ["lengths"])
    assert any(w.kind == "lengths" and w.voids for w in made.warnings) is (turn is None)
