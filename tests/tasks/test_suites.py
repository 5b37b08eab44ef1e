"""Suites: what they ask, how they are run, and how a package adds one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tofu_eval.cli import main
from tofu_eval.core.errors import ConfigError, UnknownNameError
from tofu_eval.core.types import Sampling
from tofu_eval.run.store import Run
from tofu_eval.tasks import SUITES, load_suite, with_data

MINE = """\
name: mine
version: 1
description: A suite of a test.
tasks:
  - {task: open-prompts, sampling: {samples: 3, temperature: 0.5}, limit: 4}
  - random-choice
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(MINE)
    return path


def test_three_are_built_in() -> None:
    listed = {entry.name: entry.item for entry in SUITES.entries()}
    assert set(listed) == {"core", "offline", "paper"}
    for item in listed.values():
        assert item is not None
        assert item.description
        assert item.load()


def test_the_paper_samples_as_it_says() -> None:
    tasks = {task.name: task.sampling for task in load_suite("paper")}
    assert len(tasks) == 10
    assert "novelty-bench-wildchat" not in tasks
    for name, sampling in tasks.items():
        drawn = (sampling.samples, sampling.temperature, sampling.top_p)
        if name in ("gsm8k", "math-500", "minerva-math"):
            assert drawn == (16, 0.3, 0.9)
        elif name in ("mmlu-letter", "arc-challenge-letter"):
            assert drawn == (1, 0.0, 1.0)
        else:
            assert drawn == (10, 1.0, 0.9)


def test_offline_needs_no_download() -> None:
    assert all(not task.data for task in load_suite("offline"))


def test_what_it_leaves_out_is_the_tasks_own(suite: Path) -> None:
    one, other = load_suite(suite)
    assert one.sampling == Sampling(samples=3, temperature=0.5, top_p=0.9, max_tokens=256)
    assert other.sampling.samples == 100


def test_a_limit_is_spread_over_the_task(suite: Path) -> None:
    (one, _), whole = load_suite(suite), load_suite("offline")[0].load()
    assert [p.id for p in one.load()] == [
        whole[len(whole) * i // 4].id for i in range(4)
    ]  # fmt: skip


def test_a_limit_above_the_number_of_prompts_takes_all(tmp_path: Path, data_dir: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("name: s\nversion: 1\ntasks:\n  - {task: gsm8k, limit: 50}\n")
    (task,) = load_suite(path)
    assert len(with_data(task, data_dir).load()) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", 's.yaml:1: a suite is a mapping with name, version and tasks, got ["a"]'),
        ("name: s\nversion: 1\n", "s.yaml:1: tasks is missing"),
        ("name: s\nversion: 1\ntasks:\n  - {tsk: x}\n", "s.yaml:4: tasks.0.task is missing"),
        ("name: s\nversion: 1\ntasks:\n  - {task: mmlu, limt: 3}\n",
         "s.yaml:4: unknown key 'limt' in tasks.0. Did you mean 'limit'? Known: task, sampling,"),
        ("name: s\nversion: 1\ntasks:\n  - {task: mmlu, sampling: {samples: 0}}\n",
         "s.yaml:4: tasks.0.sampling.samples must be ≥ 1, got 0"),
        ("name: s\nversion: 1\ntasks:\n  - {task: mmlu, sampling: {samples: 2}}\n",
         "s.yaml:1: task 'mmlu': temperature 0 is greedy"),
    ],
)  # fmt: skip
def test_faults_have_a_line(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_suite("./s.yaml")
    assert str(caught.value).startswith(message)


def test_unknown_names_are_told() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown suite 'papr'\. Did you mean 'paper'\?"):
        load_suite("papr")


def test_a_package_adds_one(suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "my_suite.py"
    module.write_text(f"from tofu_eval.tasks import add_suite\nadd_suite({str(suite)!r})\n")
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "mine-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[tofu_eval.suites]\nmine = my_suite\n")
    try:
        assert [task.name for task in load_suite("mine")] == ["open-prompts", "random-choice"]
        assert "A suite of a test." in CliRunner().invoke(main, ["tasks", "suites"]).output
    finally:
        SUITES._items.pop("mine", None)
        sys.modules.pop("my_suite", None)


def test_run_takes_a_suite(suite: Path, tiny_model: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    suite.write_text(MINE.replace("  - random-choice\n", ""))
    made = CliRunner().invoke(
        main,
        ["run", "--suite", str(suite), "--model", f"m={tiny_model}", "--output", str(output),
         "--engine", "transformers", "--device", "cpu", "--max-tokens", "4",
         "--metric", "unique_rate"],
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    run = Run.open(output)
    told = run.manifest["tasks"]["open-prompts"]
    assert (told["prompts"], told["sampling"]["samples"]) == (4, 3)
    assert told["sampling"]["temperature"] == 0.5
    assert told["sampling"]["max_tokens"] == 4  # what the user says goes before the suite
    assert len(run.response_keys("m", "open-prompts")) == 12


def test_tasks_check_names_a_suite_of_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = CliRunner().invoke(main, ["tasks", "suites"]).output
    assert "math-500" in listing
    assert "16 × T=0.3 top-p=0.9" in listing
