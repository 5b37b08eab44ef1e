"""NoveltyBench's own path on its own responses, with tiny random models of its architectures.

A DeBERTa-v2 classifier of pairs for the classes, a chat-formatted Gemma 2 for the rewards, a
calibration of that Gemma's own: `distinct_k` and `utility_k` as its score.py computes them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tofu_eval.cli import main
from tofu_eval.run.store import Run

SHARED = Path(
    os.environ.get("TOFU_EVAL_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")
)
FOLDER = SHARED / "noveltybench"
PROMPTS = 15
CHAT = (
    "{{ bos_token }}{% for message in messages %}<start_of_turn>{{ message.role }}\n"
    "{{ message.content }}<end_of_turn>\n{% endfor %}"
)

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"no golden data in {FOLDER}: set TOFU_EVAL_SHARED_DATA"
)


def published() -> list[dict[str, Any]]:
    lines = (FOLDER / "gemini-1.5-pro.curated.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines[:PROMPTS]]


@pytest.fixture(scope="module")
def gemma(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import AutoTokenizer, Gemma2Config, Gemma2ForSequenceClassification

    path = tmp_path_factory.mktemp("models") / "gemma"
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.padding_side, tokenizer.chat_template = "left", CHAT  # as Gemma's
    config = Gemma2Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, sliding_window=64,
        max_position_embeddings=4096, initializer_range=0.4, num_labels=1,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Gemma2ForSequenceClassification(config).eval().save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def deberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import (
        DebertaV2Config,
        DebertaV2ForSequenceClassification,
        PreTrainedTokenizerFast,
    )

    path = tmp_path_factory.mktemp("models") / "deberta"
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["[PAD]", "[CLS]", "[SEP]"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([row["prompt"] for row in published()], trainer)
    bpe.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )
    config = DebertaV2Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=512, initializer_range=0.4, num_labels=2,
        relative_attention=True, position_buckets=32, pos_att_type=["p2c", "c2p"],
        norm_rel_ebd="layer_norm", share_att_key=True, type_vocab_size=0,
        position_biased_input=False, pad_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(1)
        DebertaV2ForSequenceClassification(config).eval().save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def run(*command: str) -> str:
    done = CliRunner().invoke(main, [*command, "--device", "cpu"])
    assert done.exit_code == 0, done.output
    return done.output


def raw_rewards(path: Path) -> list[list[float]]:
    """As score.py: user and assistant through the chat template, one pair at a time, logits."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForSequenceClassification.from_pretrained(path).eval()
    rows = []
    for row in published():
        rewards = []
        for text in row["generations"]:
            turns = [
                {"role": "user", "content": row["prompt"]},
                {"role": "assistant", "content": text},
            ]
            ids = tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=True)
            with torch.no_grad():
                rewards.append(float(model(**ids).logits[0, 0]))
        rows.append(rewards)
    return rows


def partition(path: Path, texts: list[str]) -> list[int]:
    """As partition.py of release 1.0: 128 tokens of each, label 1 above 0.102, greedy."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForSequenceClassification.from_pretrained(path).eval()

    def same(one: str, other: str) -> bool:
        if one.strip() == other.strip():
            return True
        a, b = (tokenizer(t, add_special_tokens=False).input_ids[:128] for t in (one, other))
        ids = [tokenizer.cls_token_id, *a, tokenizer.sep_token_id, *b, tokenizer.sep_token_id]
        with torch.no_grad():
            shares = model(input_ids=torch.tensor([ids])).logits[0].softmax(-1)
        return float(shares[1]) > 0.102

    labels = [-1] * len(texts)
    heads = 0
    for i, text in enumerate(texts):
        if labels[i] < 0:
            later = [j for j in range(i, len(texts)) if labels[j] < 0 and same(text, texts[j])]
            for j in later:
                labels[j] = heads
            heads += 1
    return labels


@pytest.mark.slow
def test_classes_and_utility(gemma: Path, deberta: Path, tmp_path: Path) -> None:
    import yaml

    file = tmp_path / "gemini.jsonl"
    rows = [{k: row[k] for k in ("id", "prompt", "generations")} for row in published()]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    calibration = tmp_path / "calibration.yaml"
    told = ["--reward-model", str(gemma)]
    run("calibrate-reward", str(file), *told, "--output", str(calibration))
    models = ["--equivalence", "classifier", "--equivalence-model", str(deberta), *told]
    models += ["--reward-calibration", str(calibration)]
    metrics = ["--metric", "distinct_k", "--metric", "utility_k"]
    run("score", str(file), "--output", str(tmp_path / "run"), *models, *metrics)

    rewards = raw_rewards(gemma)
    kept = yaml.safe_load(calibration.read_text())["thresholds"]
    below = [np.mean(np.array(rewards) < threshold) for threshold in kept]
    np.testing.assert_allclose(below, np.arange(1, 10) / 10, atol=0.06)  # equal answers go together
    scores = Run.open(tmp_path / "run").scores().to_pylist()
    found = {(row["metric"], row["prompt_id"]): row["value"] for row in scores}
    assert len(found) == 3 * PROMPTS  # and the reward
    sizes = set()
    for row, raw in zip(rows, rewards, strict=True):
        labels = partition(deberta, row["generations"])
        assert found["distinct_k", row["id"]] == max(labels) + 1
        new = [label not in labels[:i] for i, label in enumerate(labels)]
        points = [1 + sum(t < reward for t in kept) for reward in raw]
        utility = np.average(np.array(points) * new, weights=0.8 ** np.arange(len(raw)))
        assert found["reward", row["id"]] == pytest.approx(np.mean(raw), abs=1e-4)
        assert found["utility_k", row["id"]] == pytest.approx(utility)
        sizes.add(max(labels) + 1)
    assert len(sizes) > 1, "a classifier that says the same of all pairs would prove nothing"
