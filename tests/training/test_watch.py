"""The callback that watches diversity: real trainings of a tiny model, with it and without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig

import tofu_eval as te
from tofu_eval.cli import main
from tofu_eval.core.errors import ConfigError, TrainingError
from tofu_eval.training import DiversityCallback, FusedSFTTrainer
from tofu_eval.training.losses import tofu

METRICS = ("unique_rate", "mean_length", "hill_number_q0_exact")


def task() -> te.Task:
    texts = ["Name a fruit.", "Name a river.", "Name a colour."]
    prompts = [te.Prompt.of_text(f"p{i}", text) for i, text in enumerate(texts)]
    return te.Task("names", 1, lambda: prompts, sampling=te.Sampling(samples=4, max_tokens=6))


def watching(output: Path, **more: Any) -> DiversityCallback:
    fields = {"prompts": 2, "samples": 3, "every": 2, "metrics": METRICS, "output": output}
    return DiversityCallback(task(), **{**fields, **more})


class Told(TrainerCallback):
    """What a tracker would be told."""

    def __init__(self) -> None:
        self.logs: list[dict[str, float]] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        self.logs.append({**logs, "step": state.global_step})


def sft(base: Path, output: Path, callbacks: list[Any], *, lora: bool = False) -> Any:
    import peft

    torch.manual_seed(0)
    args = SFTConfig(
        str(output), max_steps=5, per_device_train_batch_size=2, learning_rate=1e-2,
        logging_steps=2, report_to="none", use_cpu=True, bf16=False, save_strategy="no",
        disable_tqdm=True, dataloader_pin_memory=False, seed=3,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(base, attention_dropout=0.1)
    model.generation_config.top_k = 5  # which is not to slip into the samples
    data = [{"prompt": f"Name {i}.", "completion": f" The answer is {i}."} for i in range(12)]
    trainer = FusedSFTTrainer(
        model, args, spec=tofu(), train_dataset=Dataset.from_list(data),
        processing_class=AutoTokenizer.from_pretrained(base), callbacks=callbacks,
        peft_config=peft.LoraConfig(
            r=2, lora_dropout=0.2, target_modules="all-linear", task_type="CAUSAL_LM"
        ) if lora else None,
    )  # fmt: skip
    trainer.train()
    return trainer


def same(one: Any, other: Any) -> None:
    theirs = other.model.state_dict()
    for name, weight in one.model.state_dict().items():
        assert torch.equal(weight, theirs[name]), name


@pytest.mark.slow
@pytest.mark.parametrize("lora", [False, True], ids=["whole", "lora"])
def test_an_sft_run_is_the_same_to_the_bit(tiny_model, tmp_path, lora):
    told = Told()
    plain = sft(tiny_model, tmp_path / "a", [], lora=lora)
    watch = watching(tmp_path / "watch", held_out=held_out(tmp_path))
    watched = sft(tiny_model, tmp_path / "b", [watch, told], lora=lora)
    same(plain, watched)
    assert watched.model.training
    assert watched.model.generation_config.top_k == 5
    losses = [[e["loss"] for e in t.state.log_history if "loss" in e] for t in (plain, watched)]
    assert losses[0] == losses[1]

    seen = [entry for entry in told.logs if "diversity/unique_rate" in entry]
    assert [entry["step"] for entry in seen] == [0, 2, 4, 5]
    kept = [e for e in watched.state.log_history if "diversity/unique_rate" in e]
    assert [e["step"] for e in kept] == [0, 2, 4, 5]
    for entry in seen:
        assert 0 < entry["diversity/unique_rate"] <= 1
        assert entry["diversity/held_out_entropy"] > 0
        assert entry["diversity/seconds"] > 0
    entropies = [entry["diversity/held_out_entropy"] for entry in seen]
    assert len(set(entropies)) == 4  # the model in training, not the one before

    run = te.open_run(tmp_path / "watch")
    assert sorted(run.manifest["models"]) == [f"step-{n:06d}" for n in (0, 2, 4, 5)]
    for command in ("compare", "report"):
        done = CliRunner().invoke(main, [command, str(tmp_path / "watch")])
        assert done.exit_code == 0, done.output
    assert "Diversity while it trained" in (tmp_path / "watch" / "report.html").read_text()
    svg = tmp_path / "steps.svg"
    asked = ["--plot", "steps", "--metric", "unique_rate", "--output", str(svg)]
    done = CliRunner().invoke(main, ["plot", str(tmp_path / "watch"), *asked])
    assert done.exit_code == 0, done.output
    assert "optimiser steps" in svg.read_text()


def held_out(folder: Path) -> Path:
    path = folder / "held_out.jsonl"
    rows = [{"prompt": f"Say {i}.", "completion": f" It is {i}."} for i in range(3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_samples_are_the_checkpoints(tiny_model, tmp_path):
    """What is sampled before the first step is what `run` would sample of the same weights."""
    from tofu_eval.engines.transformers import TransformersEngine

    sft(tiny_model, tmp_path / "a", [watching(tmp_path / "watch")])
    first = te.open_run(tmp_path / "watch").responses("step-000000", "names").to_pylist()
    engine = TransformersEngine(te.ModelSpec("step-000000", str(tiny_model)), device="cpu")
    engine.identity = {"kind": "training", "step": 0, "dtype": "torch.float32"}
    te.evaluate(
        {"step-000000": engine}, [task()], tmp_path / "again",
        samples=3, limit=2, metrics=METRICS, format="base",
    )  # fmt: skip
    again = te.open_run(tmp_path / "again").responses("step-000000", "names").to_pylist()
    assert {r["key"]: r["text"] for r in first} == {r["key"]: r["text"] for r in again}


def test_it_stops_the_training(tiny_model, tmp_path):
    watch = watching(tmp_path / "watch", stop_below={"mean_length": 1e6})
    trainer = sft(tiny_model, tmp_path / "a", [watch])
    assert trainer.state.global_step < 5


def test_what_is_wrong_is_said_before_training(tiny_model, tmp_path):
    with pytest.raises(ConfigError, match="every is 0; expected at least 1"):
        watching(tmp_path, every=0)
    with pytest.raises(ConfigError, match=r"stop_below names 'vendi', which is not measured\."):
        watching(tmp_path, stop_below={"vendi": 2})
    with pytest.raises(TrainingError, match=r"is too long for .* a training those flags are"):
        sft(tiny_model, tmp_path / "a", [watching(tmp_path / "long", max_tokens=10_000)])
    assert not (tmp_path / "long").exists()  # else it would be another training's
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "run.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds the samples of another training"):
        sft(tiny_model, tmp_path / "b", [watching(tmp_path / "watch")])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["GRPO", "DPO"])
def test_other_trainers_of_trl_are_the_same_to_the_bit(kind, tiny_model, tmp_path):
    import trl

    def run(output: Path, callbacks: list[Any]) -> Any:
        torch.manual_seed(0)
        shared = {
            "max_steps": 3, "per_device_train_batch_size": 4, "learning_rate": 1e-2,
            "report_to": "none", "use_cpu": True, "bf16": False, "save_strategy": "no",
            "disable_tqdm": True, "dataloader_pin_memory": False, "seed": 3, "logging_steps": 1,
        }  # fmt: skip
        model = AutoModelForCausalLM.from_pretrained(tiny_model)
        tokenizer = AutoTokenizer.from_pretrained(tiny_model)
        tokenizer.pad_token = tokenizer.eos_token
        prompts = [{"prompt": f"Name {i}."} for i in range(12)]
        if kind == "GRPO":
            args = trl.GRPOConfig(str(output), **shared, num_generations=4, max_completion_length=8)
            trainer = trl.GRPOTrainer(
                model, reward_funcs=lambda completions, **_: [len(set(c)) for c in completions],
                args=args, train_dataset=Dataset.from_list(prompts), processing_class=tokenizer,
                callbacks=callbacks,
            )  # fmt: skip
        else:
            rows = [{**row, "chosen": " Yes.", "rejected": " No, not that."} for row in prompts]
            trainer = trl.DPOTrainer(
                model, args=trl.DPOConfig(str(output), **shared),
                train_dataset=Dataset.from_list(rows), processing_class=tokenizer,
                callbacks=callbacks,
            )  # fmt: skip
        trainer.train()
        return trainer

    told = Told()
    plain = run(tmp_path / "a", [])
    watched = run(tmp_path / "b", [watching(tmp_path / "watch", every=1), told])
    same(plain, watched)
    before = AutoModelForCausalLM.from_pretrained(tiny_model).state_dict()
    assert any(not torch.equal(w, before[n]) for n, w in plain.model.state_dict().items())
    seen = [entry["step"] for entry in told.logs if "diversity/unique_rate" in entry]
    assert seen == [0, 1, 2, 3]
