"""`tofu-eval report` and `tofu-eval plot`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from tofu_eval.cli import main
from tofu_eval.cli.plot import PLOTS
from tofu_eval.report import CHARTS
from tofu_eval.run.verify import verify


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    rows = [
        {"prompt": f"Colour {i}?", "model": model, "responses": [f"{w} {i % 3}" for w in words]}
        for model, words in (("base", ["red", "tan", "sky"]), ("sft", ["red", "red", "red"]))
        for i in range(12)
    ]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    metrics = ("--metric", "unique_rate", "--metric", "distinct_1")
    result = invoke("score", folder / "rows.jsonl", "--output", folder / "run", *metrics)
    assert result.exit_code == 0, result.output
    return folder / "run"


def test_a_report_lies_in_its_run_which_stays_whole(scored: Path) -> None:
    result = invoke("report", scored)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Compared with base, sft is narrower")
    assert f"Report: {scored / 'report.html'} (1." in result.stdout
    assert (scored / "report.html").read_text("utf-8").startswith("<!doctype html>")
    assert not verify(scored).problems


def test_a_report_elsewhere_of_one_metric(scored: Path, tmp_path: Path) -> None:
    path = tmp_path / "new" / "one.html"
    result = invoke(
        "report", scored, "--output", path, "--metric", "distinct_1", "--baseline", "sft"
    )
    assert result.exit_code == 0, result.output
    text = path.read_text("utf-8")
    assert "Compared with sft, base is wider" in text
    assert "unique_rate" not in text


@pytest.mark.parametrize("style", ["svg", "png", "pdf"])
def test_a_plot_takes_its_format_from_the_file(scored: Path, tmp_path: Path, style: str) -> None:
    path = tmp_path / f"plot.{style}"
    result = invoke("plot", scored, "--plot", "means", "--output", path)
    assert result.exit_code == 0, result.output
    begins = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF"}
    assert path.read_bytes().startswith(begins[style])


def test_a_plot_of_several_metrics_holds_them_all(scored: Path, tmp_path: Path) -> None:
    path = tmp_path / "both.svg"
    metrics = ("--metric", "unique_rate", "--metric", "distinct_1")
    result = invoke("plot", scored, "--plot", "differences", *metrics, "--output", path)
    assert result.exit_code == 0, result.output
    drawn = path.read_text("utf-8")
    assert "unique_rate minus base" in drawn
    assert "distinct_1 minus base" in drawn
    refused = invoke("plot", scored, "--plot", "lengths", *metrics, "--output", path)
    assert "does not depend on a metric" in refused.stderr


def test_the_plots_are_the_charts() -> None:
    assert tuple(CHARTS) == PLOTS


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("report", "{none}"), "is not a run"),
        (("report", "{run}", "--baseline", "bas"), "Unknown model 'bas'. Did you mean 'base'?"),
        (("report", "{run}", "--metric", "vendi"), "was not scored with 'vendi'. Score it again"),
        (("report", "{run}", "--metric", "vendy"), "Unknown metric 'vendy'."),
        (("plot", "{run}", "--plot", "means", "--metric", "vendi"), "was not scored with 'vendi'"),
        (("plot", "{run}", "--plot", "frontier"), "needs a metric of quality"),
        (("plot", "{run}", "--plot", "lengths", "--task", "t"), "Unknown task 't'."),
        (("plot", "{run}", "--plot", "means", "--task", "t"), "does not depend on a task."),
        (("plot", "{run}", "--plot", "prompts", "--baseline", "no"), "Unknown model 'no'."),
    ],
)
def test_bad_input_is_one_line(
    scored: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    filled = [a.format(none=tmp_path / "none", run=scored) for a in arguments]
    result = invoke(*filled)
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("drawn", [True, False])
def test_the_quickstart_ends_with_reports_that_say_what_all_seeds_say(
    scored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: bool
) -> None:
    rows = [
        {"prompt": "Colour?", "model": name, "responses": ["red", "blue"]}
        for name in ("sft-T1", "tofu-T1")
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    sweep = tmp_path / "sweep"
    made = invoke("score", tmp_path / "rows.jsonl", "--output", sweep, "--metric", "unique_rate")
    assert made.exit_code == 0, made.output
    seed = SimpleNamespace(
        seed=0, run=scored, sweep=sweep, leaderboard=scored / "leaderboard.json", checkpoints={}
    )
    done = SimpleNamespace(
        seeds=[seed],
        tables=list,
        findings=("Two <of> three seeds say so.",),
        hotter=lambda: ["It is not clear that tofu beats sampling sft hotter."],
        frontiers=(),
    )
    monkeypatch.setattr("tofu_eval.lab.quickstart.quickstart", lambda *_, **__: done)
    if not drawn:  # what it takes to draw is an extra
        monkeypatch.setitem(sys.modules, "vl_convert", None)
    pages = [scored / "report.html", sweep / "report.html"]
    pages[0].unlink(missing_ok=True)
    result = invoke("quickstart", "--output", scored.parent)
    assert result.exit_code == 0, result.output
    for page, said in zip(pages, ("Two &lt;of&gt; three seeds", "beats sampling sft"), strict=True):
        assert page.exists() == drawn
        assert (str(page) in result.stdout) == drawn
        assert not drawn or said in page.read_text("utf-8")
    assert ("pip install 'tofu-eval[report]'" in result.stderr) != drawn


def test_prompts_and_models_without_a_response_have_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("vl_convert", reason="vl-convert-python is not installed")
    monkeypatch.chdir(tmp_path)
    rows = [
        {"prompt": "Name a bird.", "model": "x", "responses": ["owl", "jay"]},
        {"prompt": "Name a fish.", "model": "x", "responses": [None, None]},
        {"prompt": "Name a bird.", "model": "y", "responses": [None, None]},
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    made = invoke("score", "rows.jsonl", "--output", "run", "--metric", "unique_rate")
    assert made.exit_code == 0, made.output
    result = invoke("report", "run")
    assert result.exit_code == 0, result.output
