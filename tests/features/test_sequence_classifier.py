from __future__ import annotations

import shutil
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tofu_eval.core.errors import MissingDependencyError, ModelError
from tofu_eval.core.types import Message, Prompt
from tofu_eval.features.sequence_classifier import RewardModel

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message.role }}|>{{ message.content }}\n"
    "{% endfor %}"
)
FRUIT = Prompt.of_text("p", "Name a fruit.")
RIVER = Prompt("q", (Message("system", "Be brief."), Message("user", "Name a river.")))
PAIRS = [
    (FRUIT, "an apple"),
    (RIVER, "the Rhine, which is long and wide"),
    (FRUIT, ""),
    (RIVER, "an apple"),
    (FRUIT, "an apple"),
    (FRUIT, "plum 🍑"),
]


@pytest.fixture(scope="session")
def chat_reward(tiny_reward_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_tokenizer(
        tiny_reward_model, tmp_path_factory.mktemp("models") / "chat", chat_template=TEMPLATE
    )


@pytest.fixture(scope="session")
def padless_reward(tiny_reward_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many older reward models: no pad token, neither in the config nor in the tokenizer."""
    from transformers import AutoModelForSequenceClassification

    path = with_tokenizer(
        tiny_reward_model, tmp_path_factory.mktemp("models") / "padless", pad_token=None
    )
    model = AutoModelForSequenceClassification.from_pretrained(tiny_reward_model)
    model.config.pad_token_id = None
    model.save_pretrained(path)
    return path


def with_tokenizer(model: Path, path: Path, **changes: Any) -> Path:
    from transformers import AutoTokenizer

    shutil.copytree(model, path)
    tokenizer = AutoTokenizer.from_pretrained(path)
    for name, value in changes.items():
        setattr(tokenizer, name, value)
    tokenizer.save_pretrained(path)
    return path


def alone(path: Path, prompt: Prompt, text: str) -> float:
    """The score as transformers gives it for one pair, without padding and without our code."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForSequenceClassification.from_pretrained(path).eval()
    if tokenizer.chat_template:
        turns = "".join(f"<|{m.role}|>{m.content}\n" for m in prompt.messages)
        whole = f"<s>{turns}<|assistant|>{text}\n"
        inputs = tokenizer(whole, add_special_tokens=False, return_tensors="pt")
    else:
        asked = "\n\n".join(m.content for m in prompt.messages)
        inputs = tokenizer(asked, text, return_tensors="pt")
    with torch.no_grad():
        return float(model(**inputs).logits)


@pytest.mark.parametrize(
    "model", ["tiny_reward_model", "chat_reward", "padless_reward", "tiny_bert_reward"]
)
@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_a_score_is_that_of_the_pair_by_itself(
    model: str, batch_size: int, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(model)
    scores = RewardModel(str(path), device="cpu", batch_size=batch_size).compute(PAIRS)
    assert scores.shape == (6, 1)
    assert scores.dtype == np.float32
    expected = [alone(path, *pair) for pair in PAIRS]
    np.testing.assert_allclose(scores[:, 0], expected, atol=2e-5)
    assert len({round(score, 4) for score in expected}) == 5  # five pairs, five scores


def test_where_every_id_occurs_none_is_left_for_padding(padless_reward: Path) -> None:
    made = RewardModel(str(padless_reward), device="cpu")
    made.compute(PAIRS[:1])
    made._scorer.config.vocab_size = 1
    ids = [[0, 9], [0, 7, 8], [0, 5, 6, 7, 8]]
    rows = [{"input_ids": row, "attention_mask": [1] * len(row)} for row in ids]
    one_by_one = [made._score([row])[0] for row in rows]
    assert len(set(one_by_one)) == 3
    assert made._score(rows) == one_by_one


def test_chat_template_and_pair_differ(tiny_reward_model: Path, chat_reward: Path) -> None:
    pair, chat = RewardModel(str(tiny_reward_model)), RewardModel(str(chat_reward))
    assert (pair.identity["input"], chat.identity["input"]) == ("pair", "chat")
    assert not np.allclose(pair.compute(PAIRS[:1]), chat.compute(PAIRS[:1]))


def test_the_order_of_the_pairs_does_not_matter(tiny_reward_model: Path) -> None:
    made = RewardModel(str(tiny_reward_model), device="cpu", batch_size=2)
    np.testing.assert_array_equal(made.compute(PAIRS[::-1])[::-1], made.compute(PAIRS))


def test_each_pair_is_scored_once(tiny_reward_model: Path, monkeypatch: Any) -> None:
    made = RewardModel(str(tiny_reward_model), device="cpu", batch_size=2)
    sizes: list[int] = []
    score = made._score
    monkeypatch.setattr(made, "_score", lambda rows: sizes.append(len(rows)) or score(rows))
    made.compute(PAIRS)
    assert sizes == [2, 2, 1]  # five distinct pairs


def test_the_key_depends_on_the_messages_and_the_text(tiny_reward_model: Path) -> None:
    made = RewardModel(str(tiny_reward_model))
    same_text = Prompt("other", FRUIT.messages)
    assert made.key(FRUIT, "an apple") == made.key(same_text, "an apple")
    as_system = Prompt("p", (Message("system", "Name a fruit."),))
    keys = {made.key(*pair) for pair in [*PAIRS, (as_system, "an apple")]}
    assert len(keys) == 6


def test_identity_and_truncation(tiny_bert_reward: Path) -> None:
    made = RewardModel(str(tiny_bert_reward), device="cpu")
    assert (made.name, made.identity["kind"], made.identity["id"]) == (
        "reward",
        "local",
        "tiny-bert-reward",
    )
    assert "model.safetensors" in made.identity["files"]
    assert made.identity["max_length"] == 64
    assert made.signature.startswith("tiny-bert-reward@")
    made.compute(PAIRS)
    assert made.truncated == 0
    long = "a very long answer about pears " * 9
    score = made.compute([(FRUIT, long), (FRUIT, "fig")])
    assert made.truncated == 1
    assert np.isfinite(score).all()


def test_a_chat_that_is_too_long_is_cut(chat_reward: Path) -> None:
    made = RewardModel(str(chat_reward), device="cpu")
    long = "pears " * 200
    made.compute([(FRUIT, long)])
    assert made.truncated == 1
    assert len(made._row(FRUIT, long)["input_ids"]) == made.identity["max_length"] == 128


def test_a_classifier_of_two_classes(tiny_bert_reward: Path, tmp_path: Path) -> None:
    from transformers import AutoConfig

    path = Path(shutil.copytree(tiny_bert_reward, tmp_path / "two"))
    config = AutoConfig.from_pretrained(path)
    config.num_labels = 2
    config.save_pretrained(path)
    with pytest.raises(ModelError) as caught:
        RewardModel(str(path))
    assert str(caught.value) == (
        f"'{path}' is not a reward model: it has 2 outputs, expected 1. "
        "Give another: --reward-model PATH_OR_ID"
    )


def test_a_model_without_a_trained_output(tiny_model: Path, tmp_path: Path) -> None:
    from transformers import AutoConfig

    path = Path(shutil.copytree(tiny_model, tmp_path / "lm"))
    config = AutoConfig.from_pretrained(path)
    config.num_labels = 1
    config.save_pretrained(path)
    with pytest.raises(ModelError, match=r"lm' is not a reward model: it has no weights for score"):
        RewardModel(str(path), device="cpu").compute(PAIRS)


def test_a_model_without_a_tokenizer(tiny_reward_model: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(tiny_reward_model, tmp_path / "mute"))
    for file in path.glob("*token*"):
        file.unlink()
    with pytest.raises(ModelError, match=r"^Cannot read the reward model '.*mute': ") as caught:
        RewardModel(str(path))
    assert "\n" not in str(caught.value)


def test_a_model_that_gives_no_numbers(tiny_reward_model: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification

    path = Path(shutil.copytree(tiny_reward_model, tmp_path / "nan"))
    model = AutoModelForSequenceClassification.from_pretrained(path)
    torch.nn.init.constant_(model.score.weight, float("nan"))
    model.save_pretrained(path)
    with pytest.raises(ModelError, match=r"nan' gave NaN or infinite numbers\. Give another: --re"):
        RewardModel(str(path), device="cpu").compute(PAIRS)


def test_a_chat_template_that_refuses(tiny_reward_model: Path, tmp_path: Path) -> None:
    path = with_tokenizer(
        tiny_reward_model,
        tmp_path / "strict",
        chat_template="{{ raise_exception('no system messages') }}",
    )
    with pytest.raises(ModelError, match=r"strict' failed: TemplateError: no system messages\. G"):
        RewardModel(str(path), device="cpu").compute(PAIRS)


def test_a_model_that_is_not_there() -> None:
    with pytest.raises(ModelError, match=r"^Cannot get the model '/no/such'.*--reward-model PATH"):
        RewardModel("/no/such")


def test_without_transformers(tiny_reward_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingDependencyError) as caught:
        RewardModel(str(tiny_reward_model))
    assert str(caught.value) == (
        "The feature 'reward' needs the package 'transformers', which is not installed. "
        "Install it: pip install 'tofu-eval[hf]'"
    )


def test_closing_gives_the_model_back(tiny_reward_model: Path) -> None:
    model = RewardModel(str(tiny_reward_model), device="cpu")
    pairs = [(Prompt.of_text("p", "Name a fruit."), "apple")]
    first = model.compute(pairs)
    held = weakref.ref(model._scorer)
    model.close()
    assert held() is None
    assert model.compute(pairs) == first
