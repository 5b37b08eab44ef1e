"""A package of somebody else's with a reward model, a judge and a verifier, really installed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tofu_eval.run.store import Run

PLUGIN = Path(__file__).parents[1] / "plugins" / "tofu_eval_quality"
SOURCES = sorted((PLUGIN / "src" / "tofu_eval_quality").glob("*.py"))
TEXTS = ["apple", "name a big pear", "?!", "a fig", "Rating: 5"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    subprocess.run(
        [*pip, "--no-deps", "--no-build-isolation", "--no-index", "--target", target, PLUGIN],
        check=True,
    )
    return target


FILES = {
    "base.jsonl": {"prompt": "Name a fruit", "responses": TEXTS},
    "many.jsonl": {
        "prompt": "Say it",
        "responses": [("w" * n + " ") * (n % 3 + 1) + "v" * (n // 2) for n in range(1, 121)],
    },
    "fruit.jsonl": {
        "prompt": "A fruit?", "references": ["pear"],
        "responses": ["So:\nPear.", "fig", "a pear", "pear!", "Fig."],
    },
}  # fmt: skip
SCORE = ("score", "base.jsonl", "--output")
COMMANDS = {
    "reward": (*SCORE, "reward", "--metric", "reward", "--reward-model", "plain-words"),
    "calibrate": (
        "calibrate-reward", "many.jsonl", "--reward-model", "plain-words", "--output", "points.yaml"
    ),
    "utility": (
        "score", "many.jsonl", "--output", "utility", "--equivalence", "exact", "--metric",
        "utility_k", "--reward-model", "plain-words", "--reward-calibration", "points.yaml",
    ),
    "judge": (
        *SCORE, "judge", "--metric", "judge_rating", "--judge-model", "counts-words",
        "--judge-repeats", "2",
    ),
    "breaks": (*SCORE, "breaks", "--metric", "judge_rating", "--judge-model", "breaks"),
    "equivalence": (
        *SCORE, "equivalence", "--metric", "distinct_k", "--equivalence", "judge",
        "--judge-model", "counts-words",
    ),
    "listing": ("judges", "list"),
    "verifier": (
        "score", "fruit.jsonl", "--output", "verifier", "--metric", "accuracy", "--metric",
        "distinct_1[correct]", "--verifier", "one-word",
    ),
}  # fmt: skip

ALL_COMMANDS = """
import json, sys
from click.testing import CliRunner
from tofu_eval.cli import main
ends = {}
for name, command in json.loads(sys.argv[1]).items():
    done = CliRunner().invoke(main, command)
    ends[name] = (done.exit_code, done.stdout, done.stderr)
print(json.dumps(ends))
"""
"""One process that sees the package, for all commands: most of its time is its start."""


class End(NamedTuple):
    """How a command ended, and the folder in which it ran."""

    code: int
    out: str
    error: str
    folder: Path

    def run(self, name: str) -> Run:
        return Run.open(self.folder / name)


@pytest.fixture(scope="module")
def ends(site: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, End]:
    folder = tmp_path_factory.mktemp("runs")
    for name, row in FILES.items():
        (folder / name).write_text(json.dumps(row) + "\n")
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", ALL_COMMANDS, json.dumps(COMMANDS)],
        env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"},
        cwd=folder, capture_output=True, text=True, encoding="utf-8", check=True,
    )  # fmt: skip
    return {name: End(*end, folder) for name, end in json.loads(done.stdout).items()}


def values(run: Run) -> dict[str, float | None]:
    return {row["metric"]: row["value"] for row in run.scores().to_pylist()}


def test_each_is_under_forty_lines() -> None:
    assert len(SOURCES) == 4
    for source in SOURCES:
        assert len(source.read_text("utf-8").splitlines()) < 40


def test_the_reward_model(ends: dict[str, End]) -> None:
    done = ends["reward"]
    assert done.code == 0, done.error
    run = done.run("reward")
    # Letters a word, and one for each word of the prompt that comes back.
    expected = [-5, -(4 + 1 + 3 + 4) / 4 - 2, -2, -(1 + 3) / 2 - 1, -(7 + 1) / 2]
    assert values(run)["reward"] == pytest.approx(sum(expected) / 5)
    assert run.manifest["features"]["reward"]["identity"] == {
        "kind": "plugin", "name": "plain-words", "version": 2
    }  # fmt: skip
    (estimate,) = run.estimates()
    assert "reward:plain-words@v2" in estimate.signature.split("|")


def test_its_rewards_can_be_calibrated(ends: dict[str, End]) -> None:
    done = ends["calibrate"]
    assert done.code == 0, done.error
    assert "is for plain-words@v2 alone" in done.out
    done = ends["utility"]
    assert done.code == 0, done.error
    assert 1 <= (values(done.run("utility"))["utility_k"] or 0) <= 10


def test_the_judge(ends: dict[str, End]) -> None:
    done = ends["judge"]
    assert done.code == 0, done.error
    run = done.run("judge")
    found = values(run)
    # 1, 4, none, 2 and 2 words; the second asking is a point kinder.
    assert found["judge_rating"] == pytest.approx((1.5 + 4.5 + 2.5 + 2.5) / 4)
    assert found["judge_unparsable_rate"] == pytest.approx(2 / 10)
    assert found["judge_exact_agreement"] == 0.0
    (first, *_) = run.estimates()
    assert re.search(r"\|judge:counts-words@v1,instruction@\w{8}\*2#\w{8}(\||$)", first.signature)


def test_a_judge_that_breaks_its_promise_is_one_line(ends: dict[str, End]) -> None:
    done = ends["breaks"]
    assert done.code == 2
    assert (
        "The judge 'breaks@v1' gave 1 answers to 5 questions; expected one text a question."
    ) in done.error.replace("\n", " ")


def test_the_judge_decides_what_is_equivalent(ends: dict[str, End]) -> None:
    """It finds no response in that question and fails: one line, with its name."""
    done = ends["equivalence"]
    assert done.code == 2
    assert "The judge 'counts-words@v1' failed: TypeError: " in done.error


def test_the_listing(ends: dict[str, End]) -> None:
    done = ends["listing"]
    assert done.code == 0, done.error
    lines = [line.split() for line in done.out.splitlines()]
    assert ["reward", "model", "plain-words", "version", "2"] in lines
    assert ["judge", "counts-words", "version", "1"] in lines


def test_the_verifier(ends: dict[str, End]) -> None:
    done = ends["verifier"]
    assert done.code == 0, done.error
    run = done.run("verifier")
    found = values(run)
    assert found["accuracy"] == pytest.approx(2 / 5)
    assert found["distinct_1[correct]"] is not None
    (estimate, *_) = run.estimates()
    assert "one-word@v1" in estimate.signature
