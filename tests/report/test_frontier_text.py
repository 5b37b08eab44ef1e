"""A frontier as text."""

from __future__ import annotations

import csv
import io
import json

import pytest
from support.frontier_runs import SWEEP, Models, made, manifest, scores, with_seeds

from tofu_eval.analysis.comparison import How
from tofu_eval.analysis.frontier import Frontier, frontier
from tofu_eval.core.errors import UnknownNameError
from tofu_eval.core.tables import SCORE_SCHEMA, to_table
from tofu_eval.core.types import Score
from tofu_eval.report.frontier_sentences import frontier_notes, frontier_sentences
from tofu_eval.report.frontier_text import render_frontiers


def sentence(found: Frontier) -> str:
    (only,) = frontier_sentences(found)
    return only


def test_a_clear_win_is_said_with_its_figures() -> None:
    assert sentence(made()) == (
        "tofu is more diverse than sft at equal reward, not only hotter: vendi +0.750 [+0.679, "
        "+0.831] on average from reward 0.4 to 0.8, adjusted p = 0.0033. That is of these models, "
        "one training of each: what another training gives, only seeds tell."
    )


def test_a_clear_loss() -> None:
    said = sentence(made(baseline="tofu"))
    assert said.startswith("sft is less diverse than tofu at equal reward: vendi -0.750 [-0.831")


def test_what_is_not_clear_is_said_to_be_so() -> None:
    models = with_seeds([0.9, -0.2, 0.8])
    said = sentence(made(scores(models, noise=0.01), models))
    assert said.startswith("It is not clear that tofu beats sampling sft hotter: vendi +0.500 [")
    assert said.endswith(
        "(3 seeds: +0.9, -0.2, +0.8; interval over seeds [-1.01, +2.01]), adjusted p = 0.0033."
    )


def test_what_would_let_something_be_said() -> None:
    grids: Models = {
        "sft-T0.7": ("sft", None, 0.7, 0.8, 2.0),
        "sft-T1": ("sft", None, 1.0, 0.6, 3.0),
        "tofu-T1": ("tofu", None, 1.0, 0.7, 3.0),
        "tofu-T1.3": ("tofu", None, 1.3, 0.5, 4.0),
    }
    said = sentence(made(scores(grids), grids))
    assert said.startswith("It is not clear that tofu beats sampling sft hotter")
    assert said.endswith("sample both at 0.7,1,1.3 (tofu-eval run … --temperature 0.7,1,1.3).")
    few = sentence(made(scores(prompts=5)))
    assert few.endswith("No result could be clear on 5 prompts: ask at least 6.")
    notes = frontier_notes(made(scores(prompts=12)))
    assert any("They stand on 12 prompts" in note for note in notes)


def test_sentences_of_several_series_are_adjusted_together() -> None:
    models: Models = {
        f"{name}-T{t}": (name, None, t, 0.9 - t / 2, level + t)
        for name, level in (("sft", 1.0), ("tofu", 1.02), ("gem", 1.01))
        for t in (0.4, 0.8, 1.2)
    }
    together = made(scores(models, noise=0.1), models)
    assert all("over 3 sentences" in said for said in frontier_sentences(together))
    alone = {name: row for name, row in models.items() if row[0] != "gem"}
    (contest,) = made(scores(alone, noise=0.1), alone).contests
    same = next(c for c in together.contests if {c.series, c.other} == {"sft", "tofu"})
    assert contest.p_adjusted is not None
    assert same.p_adjusted is not None
    assert same.p_adjusted > contest.p_adjusted


def test_equally_diverse_within_a_margin() -> None:
    models: Models = {
        f"{name}-T{t}": (name, None, t, 0.9 - t / 2, 1 + t)
        for name in ("sft", "tofu")
        for t in (0.4, 0.8, 1.2)
    }
    table = scores(models, noise=0.1)
    assert "not clear" in sentence(made(table, models))
    said = sentence(made(table, models, how=How(margins={"vendi": 0.2})))
    assert said.startswith("tofu and sft are equally diverse at equal reward")
    assert "below 0.2" in said
    assert "not clear" in sentence(made(table, models, how=How(margins={"vendi": 0.001})))


def test_why_nothing_can_be_said() -> None:
    apart: Models = {
        "sft-T1": ("sft", None, 1.0, 0.8, 4.0),
        "tofu-T1": ("tofu", None, 1.0, 0.5, 5.0),
    }
    assert sentence(made(models=apart)) == (
        "tofu and sft cannot be compared at equal reward: tofu was sampled from 0.5 to 0.5, sft "
        "was sampled from 0.8 to 0.8. Sample one at more temperatures: --temperature."
    )
    models = {
        name: (row[0], 7, *row[2:]) if row[0] == "tofu" else row
        for name, row in with_seeds([0.5]).items()
    }
    assert sentence(made(scores(models), models)).endswith("they have no seed in common.")
    models = {
        name: (*row[:3], row[3] - 5, row[4]) if (row[0], row[1]) == ("tofu", 1) else row
        for name, row in with_seeds([0.5, 0.5]).items()
    }
    said = sentence(made(scores(models), models))
    assert said.endswith("in 1 of 2 seeds the ranges of reward do not meet.")


def test_a_metric_whose_lower_values_are_better_stands_in_its_own_units() -> None:
    models: Models = {
        "sft-T0.5": ("sft", None, 0.5, 0.9, 60.0),
        "sft-T1": ("sft", None, 1.0, 0.7, 40.0),
        "tofu-T0.5": ("tofu", None, 0.5, 0.9, 50.0),
        "tofu-T1": ("tofu", None, 1.0, 0.7, 30.0),
    }
    table = to_table(scores(models), SCORE_SCHEMA)
    found = frontier(
        table,
        manifest(models, vendi=("lower", "0", "100")),
        task="open",
        quality="reward",
        diversity="vendi",
        resamples=100,
    )
    said = sentence(found)
    assert "more diverse than sft at equal reward, not only hotter: vendi -10.0 [-1" in said
    text = render_frontiers([found], "table")
    assert "vendi ↓" in text
    assert "from reward 0.7, vendi 100 to the points" in text
    (record, *_) = json.loads(render_frontiers([found], "json"))[0]["points"]
    assert record["diversity"] == pytest.approx(60)
    assert record["diversity_low"] < 60 < record["diversity_high"]


@pytest.mark.parametrize("models", [None, with_seeds([0.5, 0.4, 0.6])])
def test_the_table_fits_into_80_columns(models: Models | None) -> None:
    found = made() if models is None else made(models=models)
    assert max(map(len, render_frontiers([found], "table").splitlines())) <= 80


def test_the_table() -> None:
    lines = render_frontiers([made()], "table").splitlines()
    assert lines[0] == "open"
    assert lines[1].split() == ["model", "T", "reward", "↑", "vendi", "↑"]
    marks = {line.split()[1] for line in lines if line.strip().startswith("●  ")}
    assert marks == {"sft-T0.5", "tofu-T0.5", "tofu-T1", "tofu-T1.5"}
    assert any(
        line.startswith("  tofu at T=1 minus sft at T=1.25, both at reward 0.6: vendi +1.00 [+0.90")
        for line in lines
    )
    assert any(n.startswith("  hypervolume of tofu minus sft: +0.400 [+0.") for n in lines)


def test_csv_and_json_hold_what_the_table_shows() -> None:
    found = made()
    rows = list(csv.DictReader(io.StringIO(render_frontiers([found, found], "csv"))))
    assert len(rows) == 12
    assert [float(row["diversity"]) for row in rows[:5]] == pytest.approx([2, 4, 6, 4.5, 6])
    assert rows[0]["efficient"] == "True"
    (content,) = json.loads(render_frontiers([found], "json"))
    (contest,) = content["at_equal_quality"]
    assert contest["difference"]["value"] == pytest.approx(0.75)
    assert [v["series"] for v in content["hypervolumes"]] == ["sft", "tofu", "all"]
    assert content["sentences"] == frontier_sentences(found)


def test_markdown_is_one_table_a_task_and_takes_no_orders() -> None:
    rows = [
        Score(r.model, r.task, "<b>|x", r.metric, None, "none", 0)
        if (r.model, r.metric, r.prompt_id) == ("tofu-T1", "vendi", "p3")
        else Score(r.model, r.task, "<b>|x", r.metric, r.value, None, 10)
        if r.prompt_id == "p3"
        else r
        for r in scores()
    ]
    text = render_frontiers([made(rows)], "markdown")
    assert "&lt;b&gt;\\|x" in text
    assert "<b>" not in text


def test_notes() -> None:
    uneven = {name: row for name, row in SWEEP.items() if name != "tofu-T1.5"}
    said = frontier_notes(made(scores(uneven), uneven))
    assert any("other temperatures" in n or "different temperatures" in n for n in said)
    assert any("not another training" in note for note in frontier_notes(made()))
    models = with_seeds([0.5, 0.4])
    seeded = frontier_notes(made(models=models))
    assert not any("temperatures" in n or "another training" in n for n in seeded)
    alone: Models = {
        "sft": ("sft", None, 1.0, 0.8, 4.0),
        "tofu": ("tofu", None, 1.0, 0.5, 5.0),
    }
    assert any("A frontier needs several" in note for note in frontier_notes(made(models=alone)))


def test_an_unknown_format() -> None:
    with pytest.raises(UnknownNameError, match="Unknown format 'html'"):
        render_frontiers([made()], "html")
