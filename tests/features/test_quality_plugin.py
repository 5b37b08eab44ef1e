"""A package of somebody else's with a reward model, a judge and a verifier, really installed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

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


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "base.jsonl"
    path.write_text(json.dumps({"prompt": "Name a fruit", "responses": TEXTS}) + "\n")
    return path


def tofu_eval(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-m", "tofu_eval.cli", *arguments],
        env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


def values(run: Path) -> dict[str, float | None]:
    return {row["metric"]: row["value"] for row in Run.open(run).scores().to_pylist()}


def test_each_is_under_forty_lines() -> None:
    assert len(SOURCES) == 4
    for source in SOURCES:
        assert len(source.read_text("utf-8").splitlines()) < 40


def test_the_reward_model(site: Path, file: Path, tmp_path: Path) -> None:
    command = ["score", str(file), "--output", str(tmp_path / "run"), "--metric", "reward"]
    done = tofu_eval(site, *command, "--reward-model", "plain-words")
    assert done.returncode == 0, done.stderr
    # Letters a word, and one for each word of the prompt that comes back.
    expected = [-5, -(4 + 1 + 3 + 4) / 4 - 2, -2, -(1 + 3) / 2 - 1, -(7 + 1) / 2]
    assert values(tmp_path / "run")["reward"] == pytest.approx(sum(expected) / 5)
    manifest = Run.open(tmp_path / "run").manifest
    assert manifest["features"]["reward"]["identity"] == {
        "kind": "plugin", "name": "plain-words", "version": 2
    }  # fmt: skip
    (estimate,) = Run.open(tmp_path / "run").estimates()
    assert "reward:plain-words@v2" in estimate.signature.split("|")


def test_its_rewards_can_be_calibrated(site: Path, tmp_path: Path) -> None:
    file, output = tmp_path / "many.jsonl", tmp_path / "calibration.yaml"
    texts = [("w" * n + " ") * (n % 3 + 1) + "v" * (n // 2) for n in range(1, 121)]
    file.write_text(json.dumps({"prompt": "Say it", "responses": texts}) + "\n")
    chosen = ["--reward-model", "plain-words"]
    done = tofu_eval(site, "calibrate-reward", str(file), *chosen, "--output", str(output))
    assert done.returncode == 0, done.stderr
    assert "is for plain-words@v2 alone" in done.stdout
    command = ["score", str(file), "--output", str(tmp_path / "run"), "--equivalence", "exact"]
    command += [*chosen, "--metric", "utility_k", "--reward-calibration", str(output)]
    done = tofu_eval(site, *command)
    assert done.returncode == 0, done.stderr
    assert 1 <= (values(tmp_path / "run")["utility_k"] or 0) <= 10


def test_the_judge(site: Path, file: Path, tmp_path: Path) -> None:
    command = ["score", str(file), "--output", str(tmp_path / "run"), "--metric", "judge_rating"]
    done = tofu_eval(site, *command, "--judge-model", "counts-words", "--judge-repeats", "2")
    assert done.returncode == 0, done.stderr
    found = values(tmp_path / "run")
    # 1, 4, none, 2 and 2 words; the second asking is a point kinder.
    assert found["judge_rating"] == pytest.approx((1.5 + 4.5 + 2.5 + 2.5) / 4)
    assert found["judge_unparsable_rate"] == pytest.approx(2 / 10)
    assert found["judge_exact_agreement"] == 0.0
    (first, *_) = Run.open(tmp_path / "run").estimates()
    assert re.search(r"\|judge:counts-words@v1,instruction@\w{8}\*2#\w{8}(\||$)", first.signature)


def test_a_judge_that_breaks_its_promise_is_one_line(
    site: Path, file: Path, tmp_path: Path
) -> None:
    command = ["score", str(file), "--output", str(tmp_path / "run"), "--metric", "judge_rating"]
    done = tofu_eval(site, *command, "--judge-model", "breaks")
    assert done.returncode == 2
    assert (
        "The judge 'breaks@v1' gave 1 answers to 5 questions; expected one text a question."
    ) in done.stderr.replace("\n", " ")


def test_the_judge_decides_what_is_equivalent(site: Path, file: Path, tmp_path: Path) -> None:
    """It finds no response in that question and fails: one line, with its name."""
    command = ["score", str(file), "--output", str(tmp_path / "run"), "--metric", "distinct_k"]
    done = tofu_eval(site, *command, "--equivalence", "judge", "--judge-model", "counts-words")
    assert done.returncode == 2
    assert "The judge 'counts-words@v1' failed: TypeError: " in done.stderr


def test_the_listing(site: Path) -> None:
    done = tofu_eval(site, "judges", "list")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["reward", "model", "plain-words", "version", "2"] in lines
    assert ["judge", "counts-words", "version", "1"] in lines


def test_the_verifier(site: Path, tmp_path: Path) -> None:
    file = tmp_path / "base.jsonl"
    row = {"prompt": "A fruit?", "references": ["pear"]}
    row["responses"] = ["So:\nPear.", "fig", "a pear", "pear!", "Fig."]
    file.write_text(json.dumps(row) + "\n")
    command = ["score", str(file), "--output", str(tmp_path / "run"), "--metric", "accuracy"]
    command += ["--metric", "distinct_1[correct]"]
    done = tofu_eval(site, *command, "--verifier", "one-word")
    assert done.returncode == 0, done.stderr
    found = values(tmp_path / "run")
    assert found["accuracy"] == pytest.approx(2 / 5)
    assert found["distinct_1[correct]"] is not None
    (estimate, *_) = Run.open(tmp_path / "run").estimates()
    assert "one-word@v1" in estimate.signature
