"""`train`: from settings to a checkpoint."""

from __future__ import annotations

import json

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file
from support.architectures import SIZES
from transformers import AutoModelForCausalLM, AutoTokenizer

from tofu_eval import evaluate
from tofu_eval.core.errors import ConfigError, ModelError, TrainingError
from tofu_eval.training import train, train_settings


@pytest.mark.slow
def test_a_checkpoint_that_run_can_compare(fields, base, tmp_path):
    told = []
    result = train(
        train_settings({**fields, "format": "sft"}), report=lambda *message: told.append(message)
    )
    assert (told[0], told[-1]) == (("train out", 0, 12), ("train out", 12, 12))
    assert result.steps == 12
    assert result.final["cross_entropy"] < result.log[0]["cross_entropy"]
    assert {"loss", "mean_weight", "entropy", "mean_token_accuracy"} <= result.final.keys()
    manifest = json.loads((result.path / "training.json").read_text())
    assert manifest["status"] == "complete"
    assert manifest["format"]["name"] == "sft"
    assert manifest["tool"]["name"] == "tofu-eval"
    for folder in (result.path, result.path / "checkpoint-5"):
        AutoModelForCausalLM.from_pretrained(folder)
        AutoTokenizer.from_pretrained(folder)
    assert [f.name for f in result.path.iterdir() if f.name.startswith(".tmp")] == []

    # Asked as it was tuned; the base as the task says.
    models = {
        "base": str(base), "tofu": str(result.path), "middle": str(result.path / "checkpoint-5"),
    }  # fmt: skip
    options = {"limit": 2, "samples": 2, "max_tokens": 3, "metrics": ["distinct_1"]}
    run = evaluate(models, "open-prompts", tmp_path / "run", **options)
    used = json.loads((tmp_path / "run" / "run.json").read_text())["models"]
    formats = {name: model["prompt_format"]["open-prompts"] for name, model in used.items()}
    assert formats == {"base": "base", "tofu": "sft", "middle": "sft"}
    assert any("asked in different prompt formats (base: base; tofu: sft" in n for n in run.notes)
    chosen = evaluate(models, "open-prompts", tmp_path / "one", format="base", **options)
    assert not any("different prompt formats" in note for note in chosen.notes)


def test_a_template_of_the_users_own_goes_with_the_checkpoint(fields, tmp_path):
    template = tmp_path / "mine.jinja"
    template.write_text("Q: {{ prompt }}\nA:")
    path = train(train_settings({**fields, "format": str(template)})).path
    template.unlink()
    options = {"limit": 1, "samples": 1, "max_tokens": 2, "metrics": ["distinct_1"]}
    evaluate({"m": str(path)}, "open-prompts", tmp_path / "run", **options)
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["models"]["m"]["prompt_format"]["open-prompts"].startswith("sft:")

    manifest = json.loads((path / "training.json").read_text())
    manifest["format"]["template"] = "{{ cycler.__init__.__globals__ }}"
    (path / "training.json").write_text(json.dumps(manifest))
    with pytest.raises(ConfigError, match=r"the training\.json of 'm'"):
        evaluate({"m": str(path)}, "open-prompts", tmp_path / "other", **options)
    (path / "training.json").write_text("{")
    with pytest.raises(ModelError, match=r"training\.json is damaged, so the prompt format of"):
        evaluate({"m": str(path)}, "open-prompts", tmp_path / "third", **options)


def test_the_files_do_not_tell_whether_the_machine_was_offline(fields):
    path = train(train_settings({**fields, "max_steps": 1})).path  # HF_HUB_OFFLINE is set here
    config = json.loads((path / "tokenizer_config.json").read_text())
    assert config.get("local_files_only", False) is False


@pytest.mark.slow
def test_an_adapter_and_going_on_with_it(fields, base, tmp_path):
    first = train(train_settings({**fields, "lora": {"r": 2}})).path
    config = json.loads((first / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (2, 2)
    assert "lm_head" not in config["target_modules"]
    before = load_file(first / "adapter_model.safetensors")
    second = train(
        train_settings({**fields, "model": f"{base}+{first}", "output": tmp_path / "second"})
    ).path
    after = load_file(second / "adapter_model.safetensors")
    assert after.keys() == before.keys()
    assert any(not torch.equal(after[name], before[name]) for name in after)


def test_packing(fields):
    result = train(train_settings({**fields, "packing": True, "max_steps": 3}))
    assert result.steps == 3


def test_rows_that_are_too_long_are_told(fields, rows):
    result = train(train_settings({**fields, "max_length": 14}))
    assert any("longer than max_length=14 and are cut" in note for note in result.notes)
    with pytest.raises(ConfigError, match=r"All 48 prompts are longer than max_length=2"):
        train(train_settings({**fields, "max_length": 2, "output": fields["output"] / "b"}))


def test_the_end_token_of_the_settings_is_the_one_that_is_learnt(fields):
    path = train(train_settings({**fields, "eos_token": "<unk>", "max_steps": 1})).path
    assert AutoTokenizer.from_pretrained(path).eos_token == "<unk>"
    manifest = json.loads((path / "training.json").read_text())
    assert manifest["asked"]["settings"]["eos_token"] == "<unk>"


def test_held_out_rows_are_evaluated(fields, rows):
    more = {"eval_data": str(rows), "eval_strategy": "steps", "eval_steps": 6}
    result = train(train_settings({**fields, **more}))
    losses = [e["eval_cross_entropy"] for e in result.log if "eval_cross_entropy" in e]
    assert len(losses) == 2
    assert losses[1] < losses[0]


def test_the_last_update_is_looked_at(fields):
    """No loss is computed after it, so nothing else would notice."""
    destroys = {**fields, "max_steps": 1, "learning_rate": 1e38, "lr_scheduler_type": "constant"}
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf), expected a finite number"):
        train(train_settings(destroys))
    assert not (fields["output"] / "model.safetensors").exists()


def test_an_adapter_on_an_adapter(fields, base):
    first = train(train_settings({**fields, "lora": {"r": 2}, "max_steps": 1})).path
    again = {**fields, "model": f"{base}+{first}", "lora": {"r": 2}, "output": first / "b"}
    with pytest.raises(ConfigError, match=r"has an adapter already\. Leave --lora-r out"):
        train(train_settings(again))


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (
            transformers.LlamaConfig,
            {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"},
        ),
        (transformers.Phi3Config, {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"}),  # phi-4's
    ],
)
def test_the_papers_adapter_is_on_every_projection(config, named, fields):
    """Of phi-4 q, k and v are one matrix, and gate and up are."""
    from tofu_eval.training import trl_config as arguments
    from tofu_eval.training.settings import read_configs

    settings = train_settings(
        {**read_configs(["paper"]), **{k: fields[k] for k in ("model", "data", "output")}}
    )
    sizes = {**SIZES, "num_key_value_heads": 2}
    model = transformers.AutoModelForCausalLM.from_config(config(**sizes))
    tuned = peft.get_peft_model(model, arguments.lora_config(settings))
    has = {name.split(".")[-2] for name, _ in tuned.named_modules() if name.endswith(".lora_A")}
    assert has == named
    linear = {
        name.split(".")[-1]
        for name, module in model.named_modules()
        if hasattr(module, "base_layer") or isinstance(module, torch.nn.Linear)
    }
    assert linear - {"lm_head", "default", "base_layer"} == named


def test_the_recipe_with_another_loss_keeps_what_that_has():
    from tofu_eval.cli.train import training_fields

    focal = training_fields(("paper",), {"loss": "focal"})
    assert focal["loss_settings"] == {"gamma": 3.0}
    assert "loss_settings" not in training_fields(("paper",), {"loss": "ce"})
    assert training_fields(("paper",), {"loss": "gem"})["loss_settings"] == {"beta": 0.8}
    own = training_fields(("paper",), {"loss": "focal", "gamma": 1.0})
    assert own["loss_settings"] == {"gamma": 1.0}
    assert training_fields(("paper",), {})["loss_settings"] == {"gamma": 3.0, "beta": 0.8}


def test_conversations_are_trained_in_the_models_own_template(tiny_chat_model, tmp_path):
    user = {"role": "user", "content": "Name a fruit."}
    row = {"messages": [user, {"role": "assistant", "content": "A pear."}], "source": "x"}
    files = [tmp_path / f"{name}.jsonl" for name in ("a", "b")]
    for file in files:
        file.write_text(f"{json.dumps(row)}\n" * 4)
    settings = {
        "model": str(tiny_chat_model), "output": tmp_path / "out", "max_steps": 1,
        "data": [str(files[0]), {"path": str(files[1]), "weight": 0.5}],
        "eval_data": {"left": str(files[0]), "right": str(files[1])}, "eval_strategy": "steps",
        "eval_steps": 1, "assistant_only_loss": True, "gradient_checkpointing": False,
        "truncation_mode": "keep_end", "max_length": 6,
    }  # fmt: skip
    result = train(train_settings(settings))
    manifest = json.loads((tmp_path / "out" / "training.json").read_text())
    assert manifest["format"]["name"] == "chat"
    notes = " ".join(result.notes)
    assert "it is trained in that (--format chat)" in notes
    assert "Not used of the data: source." in notes
    assert "6 of 6 rows are longer than max_length=6 and are cut, so their beginnings" in notes
    entries = set().union(*result.log)
    assert {"eval_left_loss", "eval_right_loss"} <= entries


def test_the_diversity_on_a_task_is_watched(fields, tmp_path):
    task = tmp_path / "fruit.yaml"
    task.write_text(
        "name: fruit\nversion: 1\nlicence: CC0-1.0\nsource: a test\ncitation: none\nformat: base\n"
        "sampling: {samples: 8, temperature: 1.0, max_tokens: 4}\n"
        "prompts: ['Name one fruit.', 'Name one colour.']\n"
    )
    watched = {"watch": str(task), "watch_every": 2, "watch_metrics": ["unique_rate"]}
    made = train(train_settings({**fields, **watched, "max_steps": 3}))
    seen = [entry["step"] for entry in made.log if "diversity/unique_rate" in entry]
    assert seen == [0, 2, 3]
    assert (fields["output"] / "diversity" / "leaderboard.json").exists()
    again = train(train_settings({**fields, "max_steps": 3}))  # it is no part of what is learnt
    assert again.steps == 3
