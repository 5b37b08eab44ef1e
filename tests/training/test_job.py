"""`train`: from settings to a checkpoint, killed and resumed, refused and explained."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file
from support.architectures import SIZES
from support.grown_adapter import make_grown_adapter
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from tofu_eval import evaluate
from tofu_eval.core.errors import (
    ConfigError,
    ModelError,
    StoreError,
    TrainingError,
    UnknownNameError,
)
from tofu_eval.core.models import embedding_rows, parse_model, resolve
from tofu_eval.engines.loading import load
from tofu_eval.training import train, train_settings

FIELDS = {
    "loss": "tofu", "format": "base", "learning_rate": 1e-3, "max_steps": 12, "logging_steps": 1,
    "per_device_train_batch_size": 4, "save_steps": 5, "gradient_checkpointing": False,
}  # fmt: skip


@pytest.fixture
def fields(base: Path, rows: Path, tmp_path: Path) -> dict[str, Any]:
    return {**FIELDS, "model": str(base), "data": str(rows), "output": tmp_path / "out"}


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path / "model.safetensors")


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


KILLED = """
import os, sys, json
from tofu_eval.training import sft, train, train_settings
tell = sft.ReportProgress.on_step_end
def on_step_end(self, args, state, control, **more):
    tell(self, args, state, control, **more)
    if state.global_step == int(sys.argv[2]):
        os.kill(os.getpid(), 9)
sft.ReportProgress.on_step_end = on_step_end
train(train_settings(json.loads(sys.argv[1])), resume=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, {"r": 2, "lora_dropout": 0.1}], ids=["full", "lora"])
def test_killed_between_two_saves_and_resumed(fields, tmp_path, lora):
    """The same last loss, to the bit, and the same weights as an undisturbed run."""
    fields = {**fields, "lora": lora}
    undisturbed = train(train_settings({**fields, "output": tmp_path / "undisturbed"}))
    asked = json.dumps({**fields, "output": str(fields["output"])})
    for step in ("3", "8"):  # before the first save, and between two
        line = [sys.executable, "-c", KILLED, asked, step]
        assert subprocess.run(line, capture_output=True).returncode == -9
    assert json.loads((fields["output"] / "training.json").read_text())["status"] == "running"
    with pytest.raises(StoreError, match="unfinished training, with a checkpoint at step 5"):
        train(train_settings(fields))
    resumed = train(train_settings(fields), resume=True)
    # TRL counts its num_tokens from where the process began.
    last = [{**r.final, "num_tokens": None} for r in (resumed, undisturbed)]
    assert last[0] == last[1]
    name = "adapter_model.safetensors" if lora else "model.safetensors"
    one, other = load_file(resumed.path / name), load_file(undisturbed.path / name)
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.slow
def test_an_interrupted_save_leaves_the_checkpoint_before(fields, monkeypatch):
    whole = train(train_settings(fields))
    manifest = json.loads((whole.path / "training.json").read_text())
    expected = weights(whole.path)
    # As kill -9 leaves it in the middle of saving step 10: weights, but no trainer state.
    (whole.path / "training.json").write_text(json.dumps({**manifest, "status": "running"}))
    shutil.rmtree(whole.path / "checkpoint-12")
    (whole.path / "checkpoint-10" / "trainer_state.json").write_text('{"global_st')
    (whole.path / "checkpoint-10" / "optimizer.pt").write_bytes(b"half")
    (whole.path / "model.safetensors").unlink()
    told = []
    again = train(train_settings(fields), resume=True, report=lambda *m: told.append(m))
    assert told[0] == ("train out", 5, 12)
    assert all(torch.equal(w, expected[name]) for name, w in weights(again.path).items())


def test_when_finished_it_only_reads(fields):
    first = train(train_settings(fields))
    before = {f: f.stat().st_mtime_ns for f in first.path.rglob("*") if f.is_file()}
    for resume in (False, True):
        again = train(train_settings({**fields, "logging_steps": 3}), resume=resume)
        assert (again.final, again.steps) == (first.final, first.steps)
    assert {f: f.stat().st_mtime_ns for f in before} == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 2e-3}, "has learning_rate=0.001, you asked for 0.002"),
        ({"loss": "ce"}, 'has loss="tofu", you asked for "ce"'),
        ({"loss_settings": {"gamma": 2.0}}, "has gamma=null, you asked for 2.0"),
        ({"format": "sft"}, "has format="),
        ({"lora": {"r": 2}}, 'has lora=null, you asked for {"r": 2}'),
    ],
)
def test_another_configuration_is_not_resumed(fields, change, message):
    train(train_settings({**fields, "max_steps": 5}))
    with pytest.raises(StoreError) as caught:
        train(train_settings({**fields, "max_steps": 5, **change}), resume=True)
    assert f"Cannot resume {fields['output']}: its training.json {message}" in str(caught.value)


def test_other_data_is_not_resumed(fields, rows, tmp_path):
    train(train_settings({**fields, "max_steps": 5}))
    copy = tmp_path / "copy.jsonl"
    copy.write_text(rows.read_text())
    train(train_settings({**fields, "max_steps": 5, "data": str(copy)}))  # the same rows
    copy.write_text("\n".join(rows.read_text().splitlines()[1:]))
    with pytest.raises(StoreError, match=r"its training\.json has data="):
        train(train_settings({**fields, "max_steps": 5, "data": str(copy)}))


def test_rows_that_are_too_long_are_told(fields, rows):
    result = train(train_settings({**fields, "max_length": 14}))
    assert any("longer than max_length=14 and are cut" in note for note in result.notes)
    with pytest.raises(ConfigError, match=r"All 48 prompts are longer than max_length=2"):
        train(train_settings({**fields, "max_length": 2, "output": fields["output"] / "b"}))


def test_a_loss_that_is_not_finite_keeps_the_checkpoints(fields, base, tmp_path):
    broken = tmp_path / "broken"
    model = AutoModelForCausalLM.from_pretrained(base)
    AutoTokenizer.from_pretrained(base).save_pretrained(broken)
    model.save_pretrained(broken)
    huge = {**fields, "model": str(broken), "learning_rate": 1e30, "max_grad_norm": 0.0}
    with pytest.raises(TrainingError, match=r"stopped at step \d+ of 12: the loss is (nan|inf)"):
        train(train_settings(huge))
    assert json.loads((fields["output"] / "training.json").read_text())["status"] == "running"


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


def test_an_output_that_is_a_file(fields):
    fields["output"].write_text("mine")
    with pytest.raises(StoreError, match=r"is a file\. Use a new or empty directory"):
        train(train_settings(fields))


def test_a_training_that_is_not_finished_is_not_asked(fields, tmp_path):
    path = train(train_settings({**fields, "max_steps": 1})).path
    manifest = json.loads((path / "training.json").read_text())
    (path / "training.json").write_text(json.dumps({**manifest, "status": "running"}))
    with pytest.raises(ModelError, match=r"The training of '.*' is not finished\. Finish it with"):
        evaluate({"m": str(path)}, "open-prompts", tmp_path / "run", limit=1, samples=1)


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
    import peft

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


def test_a_quantized_base_needs_an_adapter(fields):
    from tofu_eval.training import trl_config as arguments

    with pytest.raises(ConfigError, match=r"keeps the weights fixed, .* Add --lora-r 16"):
        arguments.quantization(train_settings({**fields, "quantize": "nf4"}))
    settings = train_settings({**fields, "quantize": "nf4", "lora": {"r": 4}})
    made = arguments.quantization(settings)["quantization_config"]
    assert (made.bnb_4bit_quant_type, made.bnb_4bit_use_double_quant) == ("nf4", True)
    assert made.bnb_4bit_compute_dtype == torch.bfloat16


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


@pytest.mark.slow
def test_more_epochs_of_a_finished_training(fields, tmp_path):
    """As one that was asked for all of them at once, where the learning rate is constant."""
    constant = {**fields, "lr_scheduler_type": "constant"}
    train(train_settings({**constant, "max_steps": 4}))
    with pytest.raises(StoreError, match="max_steps=4, you asked for 7"):
        train(train_settings({**constant, "max_steps": 7}))
    longer = train(train_settings({**constant, "max_steps": 7}), resume=True)
    whole = train(train_settings({**constant, "max_steps": 7, "output": tmp_path / "whole"}))
    assert longer.steps == whole.steps == 7
    one, other = (load_file(r.path / "model.safetensors") for r in (longer, whole))
    assert all(torch.equal(weight, other[name]) for name, weight in one.items())
    with pytest.raises(StoreError, match=r"has learning_rate=0\.001, you asked for 0\.1"):
        train(train_settings({**constant, "max_steps": 9, "learning_rate": 0.1}), resume=True)


@pytest.mark.slow
def test_early_stopping(fields, rows, tmp_path):
    """At a learning rate of 0 nothing gets better: the first evaluation, and two more."""
    still = {"learning_rate": 0.0, "eval_data": str(rows), "eval_strategy": "steps"}
    asked = {**fields, **still, "eval_steps": 1, "save_steps": 1, "early_stopping": 2}
    assert train(train_settings(asked)).steps == 3
    with pytest.raises(ConfigError, match="early_stopping needs held-out rows to look at"):
        train(train_settings({**fields, "early_stopping": 2, "output": tmp_path / "b"}))
