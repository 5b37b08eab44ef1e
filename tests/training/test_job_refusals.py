"""What `train` refuses, before a step is made."""

from __future__ import annotations

import json
import shutil

import peft
import pytest
import torch
from support.grown_adapter import make_grown_adapter
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from tofu_eval.core.errors import ConfigError, ModelError, StoreError, UnknownNameError
from tofu_eval.core.models import embedding_rows, parse_model, resolve
from tofu_eval.engines.loading import load
from tofu_eval.training import train, train_settings


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"loss": "toffu"}, UnknownNameError, "Unknown loss 'toffu'. Did you mean 'tofu'?"),
        ({"loss_settings": {"gamma": -1.0}}, ConfigError, "tofu: gamma is -1.0; expected a finite"),
        ({"loss_settings": {"beta": 0.0}}, ConfigError, "tofu: beta is 0.0; expected a finite num"),
        ({"loss_settings": {"beta": float("nan")}}, ConfigError, "tofu: beta is nan; expected a f"),
        ({"loss_settings": {"gama": 1.0}}, ConfigError, "has no setting 'gama'; it takes gamma, b"),
        (
            {"learning_rte": 1.0},
            ConfigError,
            "Unknown setting 'learning_rte'. Did you mean",
        ),
        (
            {"learning_rate": "fast"},
            ConfigError,
            "learning_rate should be of type float, got",
        ),
        ({"loss_type": "dft"}, ConfigError, "The setting 'loss_type' is not used here. Use loss."),
        (
            {"use_liger_kernel": True},
            ConfigError,
            "'use_liger_kernel' is not used here. Use",
        ),
        ({"streaming": True}, ConfigError, "'streaming' is not used here. Use rows, which are rea"),
        ({"save_only_model": True}, ConfigError, "'save_only_model' is not used here. Use check"),
        ({"learning_rate": float("nan")}, ConfigError, "learning_rate is nan; expected a finite"),
        ({"learning_rate": -1.0}, ConfigError, "learning_rate is -1.0; expected a finite number"),
        ({"per_device_train_batch_size": 0}, ConfigError, "batch_size is 0; expected a whole num"),
        ({"gradient_accumulation_steps": 0}, ConfigError, "accumulation_steps is 0; expected a w"),
        (
            {"max_steps": -1, "num_train_epochs": 0},
            ConfigError,
            "num_train_epochs is 0.0; expected",
        ),
        ({"lr_scheduler_type": "cosine_with_min_lr"}, ConfigError, "Training cannot go on: "),
        ({"eos_token": "<nothing>"}, ConfigError, "has no token '<nothing>' (eos_token)"),
        ({"chat_template_path": "org/model"}, ConfigError, "expected a .jinja file"),
        ({"max_length": 100, "eval_data": "DATA"}, ConfigError, "nothing would use it. Add eval_"),
        ({"lora": {"rank": 4}}, ConfigError, "LoRA has no setting 'rank'."),
        ({"lora": {"r": 0}}, ConfigError, "lora r is 0; expected a whole number of at least 1."),
        ({"lora": {"target_modules": ["nothing"]}}, ConfigError, "TRL refuses this: "),
        ({"lora": {"init_lora_weights": "pissa_niter_4"}}, ConfigError, "rewrites the base's wei"),
        ({"lora": {"init_lora_weights": "olora"}}, ConfigError, "'olora' rewrites the base's wei"),
        ({"optim": "grokadamw"}, ConfigError, "Training cannot go on: "),
        (
            {"activation_offloading": True},
            ConfigError,
            "activation_offloading needs an accel",
        ),
        ({"watch": "no-such-task"}, UnknownNameError, "Unknown task 'no-such-task'"),
        ({"watch": "TASK", "watch_every": 0}, ConfigError, "watch_every"),
        ({"eval_strategy": "steps", "eval_steps": 2}, ConfigError, "TRL refuses this"),
        ({"save_strategy": "sometimes"}, ConfigError, "TRL refuses these settings: "),
        ({"format": "xml"}, ConfigError, "Unknown prompt format 'xml'."),
        ({"format": "chat"}, ModelError, "has no chat template, which the format 'chat' needs"),
        (
            {"model": "nothing/here/at/all"},
            ModelError,
            "There is no model at 'nothing/here",
        ),
    ],
)
def test_bad_settings(fields, change, error, message):
    if "eval_data" in change:
        change = {**change, "eval_data": fields["data"]}
    with pytest.raises(error) as caught:
        train(train_settings({**fields, **change}))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rows_beyond_the_models_positions(fields, tmp_path):
    long = tmp_path / "long.jsonl"
    rows = [{"prompt": "Name one fruit.", "completion": "the fig. " * n} for n in (2, 40)]
    long.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ConfigError, match=r"Row 2 of the data has \d+ tokens, and the model"):
        train(train_settings({**fields, "data": str(long)}))
    train(train_settings({**fields, "data": str(long), "max_length": 64, "max_steps": 1}))


def test_an_output_that_is_a_file(fields):
    fields["output"].write_text("mine")
    with pytest.raises(StoreError, match=r"is a file\. Use a new or empty directory"):
        train(train_settings(fields))


def test_a_folder_of_something_else_is_left_alone(fields):
    fields["output"].mkdir()
    (fields["output"] / "thesis.txt").write_text("mine")
    with pytest.raises(StoreError, match="is not empty and not a training"):
        train(train_settings(fields))
    assert [f.name for f in fields["output"].iterdir()] == ["thesis.txt"]
    (fields["output"] / "training.json").write_text("[]")
    with pytest.raises(StoreError, match=r"training\.json is damaged\."):
        train(train_settings(fields))


def test_vocabularies_that_differ(fields, base, tmp_path):
    path = tmp_path / "wide"
    shutil.copytree(base, path)
    tokenizer = AutoTokenizer.from_pretrained(path)
    tokenizer.add_tokens(["quincunx"])
    tokenizer.save_pretrained(path)
    with pytest.raises(ModelError, match=r"vocabularies of tokenizer and model differ: .* 518 "):
        train(train_settings({**fields, "model": str(path)}))


def test_an_adapter_of_another_vocabulary(fields, base, tmp_path):
    """One that brings tokens along is trained on with them, and keeps them."""
    adapter = make_grown_adapter(base, tmp_path / "grown")
    asked = {**fields, "model": f"{base}+{adapter}", "max_steps": 1}
    trained = train(train_settings(asked)).path
    name = f"tuned={base}+{trained}"
    model, tokenizer = load(
        resolve(parse_model(name)), "tuned", device=torch.device("cpu"), dtype="float32",
        trust_remote_code=False,
    )  # fmt: skip
    assert len(model.get_input_embeddings().weight) == len(tokenizer) == embedding_rows(adapter)


def test_an_adapter_of_another_base(fields, base, tmp_path):

    config = AutoConfig.from_pretrained(base)
    config.hidden_size *= 2
    model = AutoModelForCausalLM.from_config(config)
    lora = peft.LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM", r=2)
    peft.get_peft_model(model, lora).save_pretrained(tmp_path / "adapter")
    with pytest.raises(ModelError, match=r"does not fit the base model of .*size mismatch"):
        train(train_settings({**fields, "model": f"{base}+{tmp_path / 'adapter'}"}))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_what_needs_a_gpu_says_so(fields):
    from tofu_eval.training.settings import read_configs

    paper = {**read_configs(["paper"]), **{k: fields[k] for k in ("model", "data", "output")}}
    with pytest.raises(ConfigError) as caught:
        train(train_settings(paper))
    assert str(caught.value) == (
        "quantize nf4 and optim paged_adamw_8bit need a CUDA GPU (bitsandbytes), and there is none "
        "here. Train on one, or use --quantize none and 'optim: adamw_torch' in a further --config "
        "file."
    )


def test_the_paper_recipe_without_what_needs_a_gpu(fields):
    """Everything of it that a CPU can do, two steps of it."""
    from tofu_eval.training.settings import read_configs

    paper = {
        **read_configs(["paper"]), **{k: fields[k] for k in ("model", "data", "output", "format")},
        "quantize": "none", "optim": "adamw_torch", "bf16": False, "max_steps": 2,
    }  # fmt: skip
    settings = train_settings(paper)
    assert (settings.loss, settings.loss_settings) == ("tofu", {"gamma": 3.0, "beta": 0.8})
    result = train(settings)
    config = json.loads((result.path / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (16, 16, 0.0)


def test_a_quantized_base_needs_an_adapter(fields):
    from tofu_eval.training import trl_config as arguments

    with pytest.raises(ConfigError, match=r"keeps the weights fixed, .* Add --lora-r 16"):
        arguments.quantization(train_settings({**fields, "quantize": "nf4"}))
    settings = train_settings({**fields, "quantize": "nf4", "lora": {"r": 4}})
    made = arguments.quantization(settings)["quantization_config"]
    assert (made.bnb_4bit_quant_type, made.bnb_4bit_use_double_quant) == ("nf4", True)
    assert made.bnb_4bit_compute_dtype == torch.bfloat16
