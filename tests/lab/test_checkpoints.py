"""Checkpoints: whole or not there, reused when they fit, never overwritten."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from tofu_eval.core.errors import ModelError, StoreError, TrainingError, UnknownNameError
from tofu_eval.lab import checkpoints, data, world
from tofu_eval.lab.checkpoints import Finetuning, finetune, pretrain, weights_digest

SHORT = Finetuning(samples=2, epochs=1, batch_size=26)


def files(path: Path) -> dict[str, tuple[int, bytes]]:
    return {f.name: (f.stat().st_mtime_ns, f.read_bytes()) for f in path.iterdir()}


def test_it_is_made_once_and_reused(tiny_base, tiny_pretraining) -> None:
    before = files(tiny_base)
    assert {"config.json", "model.safetensors", "tokenizer.json", "lab.json"} <= set(before)
    assert pretrain(tiny_base, seed=0, settings=tiny_pretraining) == tiny_base
    assert files(tiny_base) == before
    assert [f.name for f in tiny_base.parent.iterdir() if f.name.startswith(".tmp-")] == []


@pytest.mark.slow
def test_the_seed_decides_the_weights(tiny_base, tiny_pretraining, tmp_path) -> None:
    same = pretrain(tmp_path / "same", seed=0, settings=tiny_pretraining)
    other = pretrain(tmp_path / "other", seed=1, settings=tiny_pretraining)
    assert weights_digest(same) == weights_digest(tiny_base)
    assert weights_digest(other) != weights_digest(tiny_base)


def test_another_seed_or_setting_is_not_overwritten(tiny_base, tiny_pretraining) -> None:
    before = files(tiny_base)
    with pytest.raises(StoreError, match=r"its checkpoint has seed=0, you asked for 1"):
        pretrain(tiny_base, seed=1, settings=tiny_pretraining)
    with pytest.raises(StoreError, match=r"its checkpoint has width=32, you asked for 64"):
        pretrain(tiny_base, seed=0, settings=replace(tiny_pretraining, width=64))
    with pytest.raises(StoreError, match=r"is not empty and not a training"):
        finetune(tiny_base, tiny_base, "ce", seed=0, settings=SHORT)
    assert files(tiny_base) == before


def test_an_interrupted_save_leaves_nothing_and_can_be_repeated(
    tiny_base, tiny_pretraining, tmp_path, monkeypatch
) -> None:
    path = tmp_path / "base"

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "write_json", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pretrain(path, seed=0, settings=tiny_pretraining)
    assert not path.exists()
    assert (tmp_path / ".tmp-base" / "model.safetensors").exists()  # as kill -9 leaves it
    monkeypatch.undo()
    pretrain(path, seed=0, settings=tiny_pretraining)
    assert weights_digest(path) == weights_digest(tiny_base)
    assert [f.name for f in tmp_path.iterdir()] == ["base"]


def test_a_full_disk_is_one_line(tiny_pretraining, tmp_path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "write_json", full)
    with pytest.raises(StoreError, match=r"Cannot write .*: No space left on device\. Make room"):
        pretrain(tmp_path / "base", seed=0, settings=tiny_pretraining)
    assert not (tmp_path / "base").exists()


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"asked": 1}', "{}"])
def test_a_folder_that_is_no_checkpoint_is_left_alone(
    damage, tiny_base, tiny_pretraining, tmp_path
) -> None:
    path = tmp_path / "base"
    shutil.copytree(tiny_base, path)
    (path / "lab.json").write_text(damage)
    with pytest.raises(StoreError, match=r"is not a checkpoint of the lab: its lab\.json"):
        pretrain(path, seed=0, settings=tiny_pretraining)
    assert (path / "model.safetensors").exists()


def test_a_base_that_fails_its_gate_says_its_figures(tiny_pretraining, tmp_path) -> None:
    settings = replace(tiny_pretraining, max_rounds=2, family_gate=0.5)
    with pytest.raises(
        TrainingError,
        match=r"\(seed 5\) fails its gate after 2 rounds of 3 steps: valid answers name 0\.00, "
        r"poem 0\.00, story 0\.00, advice 0\.00; expected 0\.50 each",
    ):
        pretrain(tmp_path / "base", seed=5, settings=settings)
    assert not (tmp_path / "base").exists()


def test_losses_start_from_the_same_base_and_differ(tiny_base, tmp_path) -> None:
    sft = finetune(tmp_path / "sft", tiny_base, "ce", seed=0, settings=SHORT)
    tofu = finetune(tmp_path / "tofu", tiny_base, "tofu", seed=0, settings=SHORT)
    manifests = [json.loads((path / "training.json").read_text()) for path in (sft, tofu)]
    asked = [{**m["asked"], "loss": None} for m in manifests]
    assert asked[0] == asked[1]
    files = asked[0]["model"]["model"]["files"]
    assert files["model.safetensors"] == weights_digest(tiny_base)
    assert manifests[0]["steps"] == 2  # 26 topics × 2 answers, 26 a batch
    assert len({weights_digest(path) for path in (tiny_base, sft, tofu)}) == 3
    model = AutoModelForCausalLM.from_pretrained(sft)
    assert model.dtype == torch.float32


def test_finetuning_learns_the_answers_that_the_lab_counts_as_seen(tiny_base, tmp_path) -> None:
    finetune(tmp_path / "sft", tiny_base, "ce", seed=0, settings=SHORT)
    rows = [json.loads(line) for line in (tmp_path / "instructions-2.jsonl").open()]
    documents = data.sft_documents(0, world.SEEN, 2)
    assert rows == [{"prompt": d.prompt, "completion": d.answer} for d in documents]


def test_an_unknown_loss_and_a_missing_base(tiny_base, tmp_path) -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown loss 'tofuu'\. Did you mean 'tofu'\?"):
        finetune(tmp_path / "sft", tiny_base, "tofuu", seed=0)
    with pytest.raises(ModelError, match=r"There is no model at '.*nothing': no such directory"):
        finetune(tmp_path / "sft", tmp_path / "nothing", "ce", seed=0)


def test_validity_is_sampled_by_seed_and_leaves_global_randomness_alone(tiny_base) -> None:
    from transformers import AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    before = torch.random.get_rng_state()
    first = checkpoints.sampled_validity(model, tokenizer, seed=0, samples=2)
    assert first == checkpoints.sampled_validity(model, tokenizer, seed=0, samples=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert list(first) == ["name", "poem", "story", "advice"]
