"""Preference pairs: the rare good response and the common bad one, by hand and from runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.commands import invoke, refused

import tofu_eval as te
from tofu_eval.core.errors import ConfigError
from tofu_eval.features.custom import REWARD_MODELS
from tofu_eval.pipeline.preference_pairs import (
    PairRule,
    pick_pair,
    rarity_of_embedding,
    rarity_of_words,
)

TEXTS = ("a", "b", "c", "d", "e")
RARITY = np.array([0.1, 0.9, 0.5, 0.2, 0.3])


@pytest.mark.parametrize(
    ("quality", "rule", "expected"),
    [
        # good: 9, 8 and 8 (of 1 to 9, from 7 on); bad: 1 and 2 (up to 3)
        ([9, 8, 8, 1, 2], PairRule(), (1, 3)),
        ([9, 4, 8, 1, 2], PairRule(), (2, 3)),
        ([9, 4, 8, 1, 2], PairRule(threshold=4.0), (1, 3)),
        ([9, 4, 8, 4, 2], PairRule(threshold=9.0), (0, 3)),
        ([1, 0, 1, 0, 0], PairRule("correct"), (2, 3)),
        ([9, np.nan, 8, 1, np.nan], PairRule(), (2, 3)),
        ([5, 5, 5, 5, 5], PairRule(), "all responses are equally good"),
        ([1, 2, 3, 4, 5], PairRule(threshold=6.0), "all responses are on one side of the thre"),
        ([1, np.nan, np.nan, np.nan, np.nan], PairRule(), "fewer than two responses whose quali"),
    ],
)
def test_pairs_by_hand(quality, rule, expected):
    made = pick_pair(np.array(quality, dtype=float), RARITY, TEXTS, rule)
    assert made.startswith(expected) if isinstance(expected, str) else made == expected


def test_a_text_is_not_preferred_to_itself():
    made = pick_pair(np.array([1.0, 0.0]), np.array([1.0, 1.0]), ("a", "a"), PairRule())
    assert made == "the same text is good and bad"


def test_rarities_by_hand():
    prompt = te.Prompt.of_text("p", "P")
    words = te.Group(prompt, ("the fig", "The the", "", "the"))
    # "fig" is in one of four, "the" in three
    expected = [(np.log(4) + np.log(4 / 3)) / 2, np.log(4 / 3), 0, np.log(4 / 3)]
    np.testing.assert_allclose(rarity_of_words(words), expected)
    rows = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    vectors = te.Group(prompt, ("a", "b", "c"), features={"embedding": rows})
    np.testing.assert_allclose(rarity_of_embedding(vectors), [0.5, 0.5, 1.0])


def test_rules_that_are_none():
    with pytest.raises(ConfigError, match=r"No quality 'wit'\. Known: reward, correct"):
        PairRule("wit")
    with pytest.raises(ConfigError, match=r"share is 0\.5; expected a number > 0 and < 0\.5"):
        PairRule(share=0.5)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two models with rewards that a file gives."""
    texts = [("an apple", 3), ("an apple", 3), ("a quince", 2.9), ("no", -1)]
    rows = [
        {"prompt": f"Name a fruit, {i}.", "model": model, "response": text, "reward": reward}
        for model in ("base", "sft")
        for i in range(3)
        for text, reward in texts
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = invoke(
        "score", path, "--metric", "unique_rate", "--metric", "reward", "--output", tmp_path / "run"
    )
    assert done.exit_code == 0, done.output
    return tmp_path / "run"


def test_from_a_run_in_trls_format(run, tmp_path):
    output = tmp_path / "pairs.jsonl"
    done = invoke("pairs", run, "--output", output, "--model", "sft")
    assert done.exit_code == 0, done.output
    assert f"3 pairs: {output}" in done.stdout
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert rows[0] == {
        "prompt": [{"role": "user", "content": "Name a fruit, 0."}],
        "chosen": [{"role": "assistant", "content": "a quince"}],
        "rejected": [{"role": "assistant", "content": "no"}],
    }
    assert "exists. Name another --output" in refused("pairs", run, "--output", output)
    both = tmp_path / "both.jsonl"
    assert "6 pairs" in invoke("pairs", run, "--output", both).stdout


def test_what_gives_no_pairs_says_why(run, tmp_path):
    output = tmp_path / "pairs.jsonl"
    assert "Unknown model 'stf'. Did you mean 'sft'?" in refused(
        "pairs", run, "--model", "stf", "--output", output
    )
    assert "verifier" in refused("pairs", run, "--quality", "correct", "--output", output)
    assert "gives no pair. Ask for more" in refused_last(
        "pairs", run, "--threshold", 9, "--output", output
    )
    assert not output.exists()


def refused_last(*arguments: object) -> str:
    """The last line of a refusal that notes precede."""
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    return result.stderr.strip().splitlines()[-1]


def test_a_reward_model_of_the_users(run, tmp_path):
    model = tmp_path / "short.py"
    model.write_text(
        "import tofu_eval as te\n\n\n"
        '@te.reward_model(name="short")\n'
        "def short(pairs):\n    return [-len(text) for _, text in pairs]\n"
    )
    rows = tmp_path / "plain.jsonl"
    rows.write_text(json.dumps({"prompt": "P", "model": "m", "responses": ["aa", "b", "ccc cc"]}))
    plain = tmp_path / "plain"
    assert invoke("score", rows, "--metric", "unique_rate", "--output", plain).exit_code == 0
    output = tmp_path / "pairs.jsonl"
    assert "--reward-model" in refused("pairs", plain, "--output", output)
    done = invoke("pairs", plain, "--reward-model", model, "--output", output)
    assert done.exit_code == 0, done.output
    made = json.loads(output.read_text())
    assert [made[name][0]["content"] for name in ("chosen", "rejected")] == ["aa", "ccc cc"]
    scored = invoke("rescore", plain, "--reward-model", model, "--metric", "reward")
    assert scored.exit_code == 0, scored.output
    with pytest.MonkeyPatch.context() as patch:  # another process, which has run no file
        others = {name: item for name, item in REWARD_MODELS._items.items() if name != "short"}
        patch.setattr(REWARD_MODELS, "_items", others)
        said = refused("pairs", plain, "--output", tmp_path / "more.jsonl")
    assert "was scored with the reward model 'short' of a Python file" in said
    assert said.endswith("Name that again: --reward-model FILE.py")
