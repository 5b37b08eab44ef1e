"""What the page is made of: the records, the policy, the sample, the classes."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.reports import HOSTILE, METRICS, written

from tofu_eval.analysis.compare import compare
from tofu_eval.analysis.frontier import frontier
from tofu_eval.core.errors import ConfigError, MissingDependencyError, StoreError, UnknownNameError
from tofu_eval.report import CHARTS, Beyond, draw, page, read, response_records, responses
from tofu_eval.report import contents as data
from tofu_eval.report.drawing import prompt_labels
from tofu_eval.report.equivalence_classes import Classes
from tofu_eval.report.headline import headline
from tofu_eval.report.themes import THEMES
from tofu_eval.run.responses import Groups
from tofu_eval.run.store import Run


@pytest.fixture(scope="session")
def contents(run: Path) -> Any:
    return read(Run.open(run))


def test_the_records_are_those_of_compare(run: Path, contents: Any) -> None:
    opened = Run.open(run)
    facts = opened.manifest["metrics"]
    directions = {name: fact["direction"] for name, fact in facts.items()}
    expected = compare(opened.scores(), "base", metrics=directions)
    rows = iter(contents.datasets["estimates"])
    for row in expected.rows:
        for cell in row.cells:
            got = next(rows)
            assert (got["metric"], got["model"]) == (row.metric, cell.model)
            assert got["value"] == pytest.approx(cell.mean.value)
            if cell.difference is not None:
                assert got["difference"] == pytest.approx(cell.difference.value)
                assert got["p_adjusted"] == cell.p_adjusted
                assert got["d_z"] == cell.difference.effect
    assert next(rows, None) is None
    assert contents.answer == headline(contents.comparison)


def test_what_several_runs_say_together(run: Path, contents: Any) -> None:
    opened = Run.open(run)
    own = {r["metric"]: r["quality"] for r in contents.datasets["frontier"]}
    found = frontier(
        opened.scores(),
        opened.manifest,
        task="responses",
        quality=own["self_bleu"],
        diversity="self_bleu",
    )
    found = replace(found, curves=tuple(replace(p, model="x, 3 seeds") for p in found.curves))
    beyond = Beyond("3 seeds", ("It is <not> clear.",), (found,))
    got = read(opened, beyond=beyond)
    others = [
        [row for row in one.datasets["frontier"] if row["metric"] != "self_bleu"]
        for one in (got, contents)
    ]
    assert others[0] == others[1]
    shared = [row for row in got.datasets["frontier"] if row["metric"] == "self_bleu"]
    assert {row["of"] for row in shared} == {"x, 3 seeds"}
    assert all(row["y"] >= 0 for row in shared)  # as measured, though lower is more diverse
    text = page.render(got)
    assert "Over 3 seeds" in text
    assert "It is &lt;not&gt; clear." in text
    assert "means over them for\n  self_bleu." in text


def test_a_clear_difference_is_called_by_what_it_means(contents: Any) -> None:
    turns = {(r["metric"], r["model"]): r["turn"] for r in contents.datasets["estimates"]}
    assert turns["unique_rate", "sft"] == "narrower"
    assert turns["self_bleu", "sft"] == "narrower"  # although the number rises
    assert turns["unique_rate", "base"] == ""
    assert set(turns.values()) <= {"", "narrower", "wider", "worse", "better", "higher", "lower"}


def test_rarefaction_is_the_mean_over_all_subsets(run: Path, contents: Any) -> None:
    groups = Groups(Run.open(run), "sft", "responses").read(0, 24)
    labels = Classes(Run.open(run))
    means = [
        np.mean([len(set(some)) for some in combinations(labels.of(group).tolist(), 3)])
        for group in groups
    ]
    (row,) = (
        row
        for row in contents.datasets["rarefaction"]
        if (row["model"], row["k"]) == ("sft", 3)
    )  # fmt: skip
    assert row["value"] == pytest.approx(np.mean(means))
    assert row["low"] <= row["value"] <= row["high"]
    assert row["prompts"] == 24


def test_the_classes_are_those_that_the_run_was_scored_with(run: Path) -> None:
    opened = Run.open(run)
    classes = Classes(opened)
    assert classes.method == "word-overlap"
    scored = {
        row["prompt_id"]: row["value"]
        for row in opened.scores_of("base", "responses").to_pylist()
        if row["metric"] == "distinct_k"
    }
    for group in Groups(opened, "base", "responses").read(0, 24):
        assert len(set(classes.of(group).tolist())) == scored[group.prompt.id]


def test_lengths_are_shares_of_all_responses(contents: Any) -> None:
    for model in contents.models:
        rows = [row for row in contents.datasets["lengths"] if row["model"] == model]
        assert sum(row["share"] for row in rows) == pytest.approx(1)
        assert all(one["end"] == other["start"] for one, other in pairwise(rows))


def test_the_frontier_says_who_is_ahead(contents: Any) -> None:
    rows = [r for r in contents.datasets["frontier"] if r["metric"] == "self_bleu"]
    assert {row["model"] for row in rows} == {"base", "sft", "tofu"}
    for row in rows:
        ahead = [
            other
            for other in rows
            if (other["x"] >= row["x"] and other["y"] <= row["y"])  # self_bleu: lower is wider
            and (other["x"], other["y"]) != (row["x"], row["y"])
        ]
        assert (row["best"] == "no") == bool(ahead)
        assert row["y_low"] <= row["y"] <= row["y_high"]


def test_only_what_is_asked_for(run: Path) -> None:
    got = read(Run.open(run), baseline="tofu", metrics=["unique_rate"], responses=False)
    assert got.models == ("tofu", "base", "sft")
    assert list(got.metrics) == ["unique_rate"]
    assert got.survey.texts == {}
    for noun, choice in (("metric", {"metrics": ["uniq"]}), ("task", {"tasks": ["no"]}),
                         ("model", {"baseline": "bass"})):  # fmt: skip
        with pytest.raises(UnknownNameError, match=f"Unknown {noun}"):
            read(Run.open(run), **choice)


def test_more_than_fits_is_a_sample_of_whole_prompts(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read(Run.open(run))
    assert whole.survey.shown == whole.survey.responses == 3 * 24 * 8
    monkeypatch.setattr(responses, "BUDGET", 5000)
    some = read(Run.open(run))
    assert 0 < some.survey.shown < 576
    assert all(len(row) == 8 for one in some.survey.texts["responses"] for row in one["samples"])
    note = f"The page shows {some.survey.shown} of 576 responses"
    assert any(said.startswith(note) for said in some.notes)
    assert json.dumps(some.survey.texts).encode().__len__() < 2 * 5000
    assert some.datasets == whole.datasets
    order = [one["id"] for one in some.survey.texts["responses"]]
    assert order == sorted(order)


def test_a_megabyte_is_cut_and_said_so(hostile: Path) -> None:
    record = read(Run.open(hostile)).survey.texts["responses"][0]
    assert list(record["cut"].values()) == [1_000_000]
    assert max(map(len, record["texts"])) == response_records.LENGTHS[0]


def test_what_a_model_wrote_is_no_markup_in_the_file(hostile_page: Path) -> None:
    text = hostile_page.read_text("utf-8")
    for hostile in HOSTILE[:6]:
        assert hostile not in text
    ours = re.findall(r"<script[^>]*>", text)
    assert ours == [
        '<script type="application/json" id="data">',
        *['<script type="module">'] * 2,
    ]
    assert text.count("<!--") == 0
    held = json.loads(text.split('id="data">')[1].split("</script>")[0])
    assert HOSTILE[1] in held["explorer"]["responses"][0]["texts"]


def test_the_policy_allows_just_these_scripts(fruit_page: Path) -> None:
    text = fruit_page.read_text("utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1]
    rules = dict(part.split(" ", 1) for part in policy.replace("&#39;", "'").split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert "unsafe" not in policy
    for rule, tag in (("script-src", '<script type="module">(.*?)</script>'),
                      ("style-src", "<style>(.*?)</style>")):  # fmt: skip
        bodies = re.findall(tag, text, re.DOTALL)
        hashes = [base64.b64encode(hashlib.sha256(b.encode()).digest()).decode() for b in bodies]
        assert rules[rule].split() == [f"'sha256-{value}'" for value in hashes]
    assert not re.search(r"(?:src|href)=[\"'](?!#)", text.split("<main")[1].split("<script")[0])


def test_the_same_run_gives_the_same_file(run: Path, contents: Any) -> None:
    assert page.render(contents) == page.render(read(Run.open(run)))


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("theme", THEMES)
def test_colours_stand_out(theme: str) -> None:
    ground = luminance(THEMES[theme]["background"])

    def contrast(colour: str) -> float:
        pair = sorted((ground, luminance(colour)))
        return (pair[1] + 0.05) / (pair[0] + 0.05)

    assert contrast(THEMES[theme]["ink"]) >= 4.5
    assert all(contrast(colour) >= 3 for colour in THEMES[theme]["colours"])
    assert len(set(THEMES[theme]["colours"])) == 8


def test_steps_are_drawn_of_a_watched_training_alone(contents: Any) -> None:
    with pytest.raises(ConfigError, match="The chart 'steps' has nothing to draw"):
        draw(contents, "steps", format="svg")
    of = {"task": contents.tasks[0], "metric": "distinct_1"}
    points = [
        {
            **of,
            "model": f"step-{n}",
            "step": n,
            "prompts": 24,
            "value": 1 - n / 9,
            "low": 0.1,
            "high": 1.0,
        }
        for n in (0, 2, 4)
    ]
    watched = replace(contents, datasets={**contents.datasets, "steps": points})
    svg = draw(watched, "steps", format="svg", metric="distinct_1").decode()
    assert "optimiser steps" in svg


@pytest.mark.parametrize("name", [name for name in CHARTS if name != "steps"])
def test_every_chart_is_a_file(contents: Any, name: str) -> None:
    svg = draw(contents, name, format="svg").decode()
    assert svg.startswith("<svg")
    for model in contents.models[1:]:
        assert f">{model}</text>" in svg
    assert draw(contents, name, format="png").startswith(b"\x89PNG\r\n")
    assert draw(contents, name, format="pdf").startswith(b"%PDF")
    dark = draw(contents, name, format="svg", theme="dark").decode()
    assert THEMES["dark"]["colours"][1] in dark


def test_a_chart_follows_the_choice(contents: Any) -> None:
    svg = draw(contents, "prompts", format="svg", metric="distinct_1").decode()
    assert "distinct_1 minus base" in svg
    assert "compared with base · n = 24 prompts" in svg
    assert ">…7.<" in svg  # what all prompts begin with is left out
    lower = draw(contents, "frontier", format="svg", metric="self_bleu").decode()
    assert "self_bleu, wider ↑" in lower
    assert "n = 24 prompts" in lower
    assert "n = 192 responses a model" in draw(contents, "lengths", format="svg").decode()


def test_prompts_are_called_by_what_tells_them_apart() -> None:
    assert prompt_labels(["Name a fruit.", "Say it.", "Name a fruit."]) == [
        *("Name a fruit. (1)", "Say it.", "Name a fruit. (3)")
    ]
    assert prompt_labels(["A sentence about a red\nkite", "A sentence about a rook"]) == [
        *("…red kite", "…rook")
    ]
    assert prompt_labels(["same", "same"]) == ["same (1)", "same (2)"]
    assert prompt_labels(["x" * 99, "a\u202eb"])[0] == "x" * 48
    assert "\u202e" not in prompt_labels(["a\u202eb"])[0]


def test_what_cannot_be_drawn(run: Path, contents: Any) -> None:
    for choice, said in (
        ({"name": "pie"}, "Unknown plot 'pie'"),
        ({"name": "means", "metric": "vendi"}, "Unknown metric 'vendi'"),
        ({"name": "lengths", "task": "t"}, "Unknown task 't'"),
    ):
        with pytest.raises(UnknownNameError, match=said):
            draw(contents, format="svg", **choice)
    with pytest.raises(UnknownNameError, match="Unknown format 'gif'"):
        draw(contents, "means", format="gif")
    plain = read(Run.open(run), metrics=["unique_rate"], responses=False)
    with pytest.raises(ConfigError, match="needs a metric of quality"):
        draw(plain, "frontier", format="svg")


def test_without_the_package_that_draws(contents: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(MissingDependencyError) as caught:
        draw(contents, "means", format="svg")
    assert str(caught.value) == (
        "The report needs the package 'vl-convert-python', which is not installed. "
        "Install it: pip install 'tofu-eval[report]'"
    )


def test_a_place_that_cannot_be_written(contents: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match="Cannot write"):
        page.write_page(tmp_path / "file" / "report.html", contents)
    assert (tmp_path / "file").read_text() == "mine"


def test_the_metrics_of_these_tests_are_there(contents: Any) -> None:
    assert set(contents.metrics) == set(METRICS)
    assert written(Run.open(contents.path).path).exists()


def test_a_wheel_holds_the_page(tmp_path: Path) -> None:
    """Without its style and scripts an installed tofu-eval could write no report."""
    root = Path(page.__file__).parents[2]
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        *("page.html", "first_screen.html"),
        *(f"script/{name}" for name in page.SCRIPTS),
        *(f"style/{name}" for name in page.STYLES),
    }
    assert {f"tofu_eval/report/{name}" for name in wanted} <= names


def test_seeds_of_a_series_are_one_column(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "seeds"
    shutil.copytree(run, copy)
    manifest = json.loads((copy / "run.json").read_text())
    for seed, model in enumerate(("sft", "tofu")):
        manifest["models"][model] |= {"series": "tuned", "seed": seed}
    (copy / "run.json").write_text(json.dumps(manifest))
    got, alone = read(Run.open(copy)), read(Run.open(run))
    assert got.columns == {"base": ("base",), "tuned": ("sft", "tofu")}
    (sft, tofu), (tuned,) = (
        [c.scores["responses"]["unique_rate"][i] for i in places]
        for c, places in ((alone, (1, 2)), (got, (1,)))
    )
    assert tuned == pytest.approx(np.mean([sft, tofu], axis=0))
    ends = {
        row["model"]: row["value"] for row in alone.datasets["rarefaction"] if row["k"] == 8
    }  # fmt: skip
    (end,) = (
        row["value"]
        for row in got.datasets["rarefaction"]
        if (row["model"], row["k"]) == ("tuned", 8)
    )
    assert end == pytest.approx((ends["sft"] + ends["tofu"]) / 2)
    assert {(row["model"], row["of"]) for row in got.datasets["frontier"]} == {
        *(("base", "base"), ("tuned", "sft"), ("tuned", "tofu"))
    }
    # The explorer has a column a model, whose classes are its own.
    assert len(got.survey.texts["responses"][0]["samples"]) == 3
    assert "tuned" in page.render(got)


def test_the_values_of_many_prompts_are_thinned(
    run: Path, contents: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "SCORES", 3 * 6 * 12)
    some = read(Run.open(run), responses=False)
    assert [row["id"] for row in some.prompts["responses"]] == [
        f"prompt-{i:02d}" for i in range(0, 24, 2)
    ]
    assert "The plots of single prompts show one prompt in 2;" in some.notes[-1]
    whole = contents.scores["responses"]["unique_rate"]
    assert some.scores["responses"]["unique_rate"] == [column[::2] for column in whole]
    assert some.datasets["estimates"] == contents.datasets["estimates"]


def test_a_run_that_lacks_its_answers_falls_back_to_the_text(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "judged"
    shutil.copytree(run, copy)
    manifest = json.loads((copy / "run.json").read_text())
    manifest["features"]["equivalence"]["identity"] = {"method": "judge", "model": {"a": "b"}}
    (copy / "run.json").write_text(json.dumps(manifest))
    got = read(Run.open(copy))
    assert got.survey.method == "exact"
    assert any("identical text" in note for note in got.notes)
    ends = {r["model"]: r["value"] for r in got.datasets["rarefaction"] if r["k"] == 8}
    groups = Groups(Run.open(run), "base", "responses").read(0, 24)
    assert ends["base"] == pytest.approx(np.mean([len(set(group.texts)) for group in groups]))
