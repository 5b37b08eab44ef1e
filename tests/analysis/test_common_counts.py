"""What moves with the number of responses is put beside one another at one number of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.commands import invoke

from tofu_eval.analysis.common_counts import at_common_counts
from tofu_eval.analysis.comparison import How
from tofu_eval.analysis.equal_counts import Counts, are_equal
from tofu_eval.analysis.quality_split import split_loss
from tofu_eval.core.tables import EQUAL_SCHEMA, SCORE_SCHEMA, to_table
from tofu_eval.core.types import EqualScore, Score

FACTS: dict[str, dict[str, Any]] = {
    "vendi": {"count_sensitive": True},
    "vendi[correct]": {"count_sensitive": True},
    "reward": {"count_sensitive": False},
}


def score(model: str, prompt: str, metric: str, value: float, n: int) -> Score:
    return Score(model, "t", prompt, metric, value, None, n)


ROWS = [
    score("base", "p0", "vendi", 8.0, 16),
    score("sft", "p0", "vendi", 5.0, 8),
    score("base", "p1", "vendi", 3.0, 4),
    score("sft", "p1", "vendi", 5.0, 8),
    score("base", "p2", "vendi", 1.0, 1),
    score("sft", "p2", "vendi", 5.0, 8),
    score("base", "p3", "vendi", 6.0, 8),
    score("sft", "p3", "vendi", 4.0, 6),
    score("base", "p0", "reward", 0.5, 16),
    score("sft", "p0", "reward", 0.4, 8),
]
SMALLER = [
    EqualScore("base", "t", "p0", "vendi", 5.5, 8, 0.0),
    EqualScore("sft", "t", "p1", "vendi", 3.1, 4, 0.01),
]


def values(table: Any) -> dict[tuple[str, str, str], tuple[float | None, int]]:
    return {
        (r["model"], r["prompt_id"], r["metric"]): (r["value"], r["n"]) for r in table.to_pylist()
    }


def test_each_prompt_stands_at_the_smallest_number_of_its_models() -> None:
    tables = to_table(ROWS, SCORE_SCHEMA), to_table(SMALLER, EQUAL_SCHEMA)
    table, (made,) = at_common_counts(*tables, ["base", "sft"], FACTS)
    found = values(table)
    assert found["base", "p0", "vendi"] == (5.5, 8)
    assert found["sft", "p0", "vendi"] == (5.0, 8)
    assert found["sft", "p1", "vendi"] == (3.1, 4)
    assert found["base", "p2", "vendi"][0] is None  # one response says nothing of diversity
    assert found["sft", "p2", "vendi"][0] is None
    assert found["base", "p3", "vendi"][0] is None  # never scored at 6
    assert found["base", "p0", "reward"] == (0.5, 16)  # which the number does not move
    assert (made.counts, made.left_out, made.missing) == (Counts(4, 8, 6.0), 1, 1)
    # A fixed number, and a floor below which prompts are left out.
    table, (made,) = at_common_counts(*tables, ["base", "sft"], FACTS, fixed=8)
    assert values(table)["base", "p0", "vendi"] == (5.5, 8)
    assert made.left_out == 3
    _, (made,) = at_common_counts(*tables, ["base", "sft"], FACTS, least=8)
    assert made.left_out == 3
    # What is equal stays the same, and says nothing.
    assert at_common_counts(*tables, ["sft"], FACTS)[1] == ()


def test_a_split_is_made_at_equal_numbers() -> None:
    rows = [
        *(score(m, f"p{i}", "vendi", 4.0, 8) for m in ("base", "sft") for i in range(6)),
        *(score("base", f"p{i}", "vendi[correct]", 4.0, 8) for i in range(6)),
        *(score("sft", f"p{i}", "vendi[correct]", 2.0, 3) for i in range(6)),
    ]
    smaller = [
        EqualScore("base", "t", f"p{i}", "vendi[correct]", 2.0, 3, 0.0) for i in range(6)
    ]  # fmt: skip
    table = to_table(rows, SCORE_SCHEMA)
    models, names = ("base", "sft"), ("vendi", "vendi[correct]")
    naive = split_loss(table, models, names, sign=1)
    assert naive.residual.value == pytest.approx(2.0)  # fewer of sft's pass, and so fewer differ
    how = How(facts=FACTS)
    found = split_loss(
        table, models, names, sign=1, smaller=to_table(smaller, EQUAL_SCHEMA), how=how
    )
    assert found.residual.value == pytest.approx(0.0)
    assert [m.metric for m in found.made_equal] == ["vendi[correct]"]


def test_a_split_over_clusters_has_their_interval() -> None:
    rows = []
    for i in range(24):
        gain = 1.0 + (i % 4) * 0.5 + i * 0.01
        for metric in ("vendi", "vendi[correct]"):
            rows.append(score("base", f"p{i}", metric, 4.0 + gain, 8))
            rows.append(score("sft", f"p{i}", metric, 4.0, 8))
    table = to_table(rows, SCORE_SCHEMA)
    prompts = {f"p{i}": {"topic": str(i % 4)} for i in range(24)}
    how = How(metadata={"t": prompts}, fields={"t": "topic"})
    names = ("vendi", "vendi[correct]")
    plain = split_loss(table, ("base", "sft"), names, sign=1)
    found = split_loss(table, ("base", "sft"), names, sign=1, how=how)
    assert found.clusters == 4
    assert found.total.value == pytest.approx(plain.total.value)
    assert found.total.n == 24
    widths = [s.total.high - s.total.low for s in (plain, found)]  # type: ignore[operator]
    assert widths[1] > 1.5 * widths[0]


def test_commands_at_equal_numbers(tmp_path: Path) -> None:
    """Two models that draw from the same words, one twice as often, at two temperatures."""
    words = [f"word{i}" for i in range(30)]
    rows = [
        {
            "prompt": f"Question {p}?",
            "model": f"{series}-{place}",
            "category": f"c{p % 7}",
            "responses": [words[(p * 5 + k * (3 + place)) % 30] for k in range(count)],
            "correct": [k % 3 > 0 for k in range(count)],
        }
        for series, count in (("base", 12), ("sft", 6))
        for place in range(2)
        for p in range(21)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    run = tmp_path / "run"
    metrics = ("distinct_1", "distinct_1[correct]", "accuracy")
    flags = [part for name in metrics for part in ("--metric", name)]
    assert invoke("score", tmp_path / "rows.jsonl", "--output", run, *flags).exit_code == 0
    measures = ["--quality", "accuracy", "--diversity", "distinct_1"]
    told = invoke("frontier", run, *measures, "--cluster", "category")
    assert told.exit_code == 0, told.output
    flat = " ".join(told.stdout.split())
    assert "distinct_1 is at n = 6: on each prompt at the smallest number of responses" in flat
    assert "over 7 clusters of prompts by category" in flat
    content = json.loads(invoke("frontier", run, *measures, "--format", "json").stdout)
    by_model = {point["model"]: point["diversity"] for point in content[0]["points"]}
    assert by_model["base-0"] == pytest.approx(by_model["sft-0"], abs=0.1)
    split = ["split", run, "--metric", "distinct_1", "--passing", "correct"]
    told = invoke(*split, "--cluster", "category", "--margin", "distinct_1=0.9")
    assert told.exit_code == 0, told.output
    assert "distinct_1 at n = 6: on each prompt at the smaller number" in told.stdout
    assert "21 prompts in 7 clusters" in told.stdout
    assert "counts as none: within 0.9 on both sides" in told.stdout
    for name in ("report", "check", "plot"):
        more = {"check": ["--fail-if", "narrower"], "plot": ["--plot", "means"]}.get(name, [])
        more += ["--output", tmp_path / f"{name}.svg"] if name != "check" else []
        told = invoke(name, run, *more, "--cluster", "nothing")
        assert "has no field 'nothing' to cluster by" in told.output


def test_equal_counts_are_told_by_task_and_metric() -> None:
    rows = [
        Score("m", "one", "p", "distinct_1", 0.5, None, 4),
        Score("m", "one", "q", "distinct_1", 0.5, None, 4),
        Score("m", "two", "p", "distinct_1", 0.5, None, 8),  # another task has another number
        Score("m", "two", "p", "mean_length", 0.5, None, 3),
        Score("m", "two", None, "distinct_1", 0.5, None, 99),  # of the whole corpus
    ]
    table = to_table(rows, SCORE_SCHEMA)
    assert are_equal(table, ["distinct_1"])
    assert are_equal(table, ["distinct_1"], least=4)
    assert not are_equal(table, ["distinct_1"], least=5)
    more = to_table([*rows, Score("n", "one", "p", "distinct_1", 0.5, None, 3)], SCORE_SCHEMA)
    assert not are_equal(more, ["distinct_1"])
    assert are_equal(more, ["mean_length"])
    assert are_equal(more, [])
