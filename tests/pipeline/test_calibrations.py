"""What a reward model's rewards are worth: calibrations made, used and refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from support.commands import score, values

from tofu_eval.cli import main
from tofu_eval.run.store import Run


@pytest.fixture
def many(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    words = ["apple", "pear", "the", "old", "river", "plum", "a"]
    path = tmp_path / "many.jsonl"
    rows = [
        {"prompt": f"Name {i}.", "responses": [" ".join(draw.choice(words, size=5)) for _ in "abc"]}
        for i in range(40)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def calibrate(source: Path, model: Path, output: Path) -> Result:
    command = ["calibrate-reward", str(source), "--reward-model", str(model)]
    return CliRunner().invoke(main, [*command, "--output", str(output), "--device", "cpu"])


@pytest.mark.slow
def test_a_calibration_of_its_own(many: Path, tiny_reward_model: Path, tmp_path: Path) -> None:
    import yaml

    from tofu_eval.core.types import Prompt
    from tofu_eval.features.sequence_classifier import RewardModel

    output = tmp_path / "calibration.yaml"
    done = calibrate(many, tiny_reward_model, output)
    assert done.exit_code == 0, done.output
    kept = output.read_text()
    told = yaml.safe_load(kept)
    pairs = [
        (Prompt.of_text("p", row["prompt"]), text)
        for row in map(json.loads, many.read_text().splitlines())
        for text in row["responses"]
    ]
    model = RewardModel(str(tiny_reward_model), device="cpu")
    rewards = model.compute(pairs)[:, 0].astype(np.float64)
    shares = [(rewards <= threshold).mean() for threshold in told["thresholds"]]
    np.testing.assert_allclose(shares, np.arange(1, 10) / 10, atol=2 / 120)
    assert told["model"]["files"] == model.identity["files"]
    assert (told["data"]["responses"], told["data"]["prompts"]) == (120, 40)
    assert len(told["data"]["digest"]) == 64
    # A second time, nothing is overwritten.
    again = calibrate(many, tiny_reward_model, output)
    assert again.exit_code == 2
    assert "calibration.yaml exists. Name another --output" in again.output

    options = ["--reward-model", str(tiny_reward_model), "--metric", "utility_k"]
    options += ["--equivalence", "exact", "--device", "cpu", "--reward-calibration", str(output)]
    done = score(many, tmp_path / "run", *options)
    assert done.exit_code == 0, done.output
    points = 1 + (rewards[:, None] > np.array(told["thresholds"])).sum(axis=1)
    weights = 0.8 ** np.arange(3)
    expected = []
    for start in range(0, 120, 3):
        texts = [text for _, text in pairs[start : start + 3]]
        new = [text not in texts[:i] for i, text in enumerate(texts)]
        expected.append(np.average(points[start : start + 3] * new, weights=weights))
    assert values(tmp_path / "run")["utility_k"] == pytest.approx(expected)

    # A threshold that is changed by hand is another calibration.
    before = Run.open(tmp_path / "run").estimates()[0].signature
    told["thresholds"][4] = (told["thresholds"][3] + told["thresholds"][4]) / 2
    output.write_text(yaml.safe_dump(told))
    assert score(many, tmp_path / "run", *options).exit_code == 0
    assert Run.open(tmp_path / "run").estimates()[0].signature != before
    told = yaml.safe_load(kept)

    # From the run: the same thresholds, without the model's being asked again.
    other = tmp_path / "from-run.yaml"
    done = calibrate(tmp_path / "run", tiny_reward_model, other)
    assert done.exit_code == 0, done.output
    assert yaml.safe_load(other.read_text())["thresholds"] == pytest.approx(told["thresholds"])


def test_another_model_refuses_it(many: Path, tiny_reward_model: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    output = tmp_path / "calibration.yaml"
    assert calibrate(many, tiny_reward_model, output).exit_code == 0
    other = tmp_path / "tiny-reward"  # the same name, other weights
    model = AutoModelForSequenceClassification.from_pretrained(tiny_reward_model)
    model.score.weight.data += 0.1
    model.save_pretrained(other)
    AutoTokenizer.from_pretrained(tiny_reward_model).save_pretrained(other)
    options = ["--metric", "utility_k", "--equivalence", "exact", "--device", "cpu"]
    options += ["--reward-calibration", str(output), "--reward-model", str(other)]
    done = score(many, tmp_path / "run", *options)
    assert done.exit_code == 2
    assert "is of another reward model than 'tiny-reward@" in done.output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("reward_calibration: 2\n", "c.yaml: reward_calibration should be 1, got 2."),
        ("- 1\n", "c.yaml: expected fields such as 'thresholds:', got [1]."),
        (
            "reward_calibration: 1\nmodel: {id: x}\nsignature: s\nthresholds: [1, 2]\n",
            "c.yaml: the thresholds should be 9 ascending numbers, got [1.0, 2.0].",
        ),
    ],
)
def test_a_file_that_is_no_calibration(
    text: str, message: str, many: Path, tiny_reward_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "c.yaml").write_text(text)
    options = ["--reward-model", str(tiny_reward_model), "--metric", "utility_k"]
    options += ["--reward-calibration", str(tmp_path / "c.yaml"), "--device", "cpu"]
    done = score(many, tmp_path / "run", *options, "--equivalence", "exact")
    assert done.exit_code == 2
    assert message in done.output
