"""Diversity among good responses is compared where every model has it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tofu_eval.analysis.compare import compare
from tofu_eval.analysis.shared_prompts import REASON, is_conditional, kept_prompts, on_kept_prompts
from tofu_eval.cli import main
from tofu_eval.core.tables import SCORE_SCHEMA, to_table
from tofu_eval.core.types import Score
from tofu_eval.metrics import find

GOOD = "vendi[reward>=0]"
VALUES = {
    "base": [5.0, None, 1.0, 4.0, None],
    "sft": [3.0, 9.0, 2.0, None, None],
}


def study() -> list[Score]:
    rows = []
    for model, column in VALUES.items():
        for i, value in enumerate(column):
            reason = None if value is not None else "fewer than two responses pass (1)"
            rows.append(Score(model, "open", f"p{i}", GOOD, value, reason, 10))
            rows.append(Score(model, "open", f"p{i}", "vendi", float(i), None, 10))
    return rows


def test_only_prompts_where_every_model_has_a_value() -> None:
    table = to_table(study(), SCORE_SCHEMA)
    (kept,) = kept_prompts(table)
    assert (kept.prompts, kept.dropped) == (("p0", "p2"), ("p1", "p3", "p4"))
    assert kept.lacking == {"base": 2, "sft": 2}
    left = {
        (r["model"], r["prompt_id"]): (r["value"], r["reason"])
        for r in on_kept_prompts(table).to_pylist()
        if r["metric"] == GOOD
    }
    assert [left["sft", f"p{i}"][0] for i in range(5)] == [3.0, None, 2.0, None, None]
    assert left["sft", "p1"] == (None, REASON)
    assert left["base", "p1"] == (None, "fewer than two responses pass (1)")


def test_a_mean_over_ones_own_prompts_would_mislead() -> None:
    """base has 3.33 on its own three prompts and sft 4.67; on the same two it is 3 to 2.5."""
    table = to_table(study(), SCORE_SCHEMA)
    found = compare(table, "base", metrics={GOOD: "higher", "vendi": "higher"})
    row = next(row for row in found.rows if row.metric == GOOD)
    difference = row.cells[1].difference
    assert difference is not None
    assert (difference.b_mean, difference.a_mean, difference.n) == (3.0, 2.5, 2)
    assert difference.value == -0.5


def test_a_third_model_takes_prompts_from_all() -> None:
    rows = [*study(), *(Score("tofu", "open", f"p{i}", GOOD, [1.0, 1.0, None, 1.0, 1.0][i], None, 9)
                        for i in range(5))]  # fmt: skip
    (kept,) = kept_prompts(to_table(rows, SCORE_SCHEMA))
    assert kept.prompts == ("p0",)


def test_other_metrics_stay_as_they_are() -> None:
    table = to_table(study(), SCORE_SCHEMA)
    plain = [r for r in on_kept_prompts(table).to_pylist() if r["metric"] == "vendi"]
    assert plain == [r for r in table.to_pylist() if r["metric"] == "vendi"]
    only = to_table([r for r in study() if r.metric == "vendi"], SCORE_SCHEMA)
    assert on_kept_prompts(only) is only
    assert [is_conditional(n) for n in (GOOD, "vendi[correct]", "self_bleu@gem", "vendi")] == [
        True,
        True,
        False,
        False,
    ]


def test_what_is_left_out_is_named() -> None:
    (kept,) = kept_prompts(to_table(study(), SCORE_SCHEMA))
    assert str(kept) == (
        "vendi[reward>=0] on open is compared on 2 of 5 prompts, those where every model has at "
        "least two responses that pass. Left out: p1, p3, p4. Too few: base on 2, sft on 2."
    )


@pytest.mark.parametrize("name", ["distinct_1[correct]", "unique_rate[correct]"])
def test_one_good_response_has_no_diversity(name: str) -> None:
    """distinct_1 of a single text is a number, but not one of diversity between responses."""
    import tofu_eval as te

    group = te.Group(
        te.Prompt.of_text("p", "Name a fruit."),
        ("a red apple", "a pear", "a fig"),
        features={"correct": (1.0, 0.0, 0.0)},
    )
    (score,) = te.score([group], metrics=[name]).scores.to_pylist()
    assert score["value"] is None
    assert score["reason"] == "fewer than two responses pass (1)"
    assert find(name).measures == "diversity"


def test_compare_says_how_many_prompts_remain(tmp_path: Path, tiny_reward_model: Path) -> None:
    texts = ["a red fox", "one blue jay", "two green frogs", "some grey mice"]
    rows = [
        {"id": f"p{i}", "prompt": f"Name {i}.", "model": model, "responses": texts[:count]}
        for model, counts in {"base": [4, 4, 1], "sft": [4, 1, 4]}.items()
        for i, count in enumerate(counts)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    command = ["score", str(tmp_path / "rows.jsonl"), "--output", str(tmp_path / "run")]
    command += ["--reward-model", str(tiny_reward_model)]
    result = CliRunner().invoke(main, [*command, "--metric", "distinct_1[reward>=-1000]"])
    assert result.exit_code == 0, result.output
    result = CliRunner().invoke(main, ["compare", str(tmp_path / "run")])
    said = " ".join(result.stdout.split())
    assert (
        "! On responses, sft is compared on 1 of 3 prompts by distinct_1[reward>=-1000]: the "
        "others have no value of it or of base."
    ) in said
