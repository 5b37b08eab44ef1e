"""Config files, recipes and flags as one mapping."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tofu_eval.core.errors import ConfigError
from tofu_eval.training import train_settings
from tofu_eval.training import trl_config as arguments
from tofu_eval.training.settings import read_configs, recipes

NEEDED = {"model": "m", "data": "d.jsonl", "output": Path("out")}


def test_the_paper_recipe_says_what_the_paper_says():
    fields = read_configs(["paper"])
    assert fields == {
        "loss": "tofu", "loss_settings": {"gamma": 3.0, "beta": 0.8}, "format": "paper",
        "quantize": "nf4",
        "lora": {
            "r": 16, "lora_alpha": 16, "lora_dropout": 0.0,
            "target_modules": [
                *("q_proj", "k_proj", "v_proj", "qkv_proj", "o_proj"),
                *("gate_proj", "up_proj", "gate_up_proj", "down_proj"),
            ],
        },
        "per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "num_train_epochs": 1,
        "learning_rate": 2e-4, "lr_scheduler_type": "linear", "warmup_steps": 50,
        "weight_decay": 0.01, "optim": "paged_adamw_8bit", "max_length": 2048, "bf16": True,
        "seed": 3407,
    }  # fmt: skip
    assert recipes() == ["paper"]


def test_later_files_win_and_every_field_of_trl_is_reachable(tmp_path):
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("learning_rate: 2e-4\nneftune_noise_alpha: 5\nloss: gem\n")
    two.write_text("loss: ce\n")
    settings = train_settings({**NEEDED, **read_configs([str(one), str(two)])})
    assert settings.loss == "ce"
    args = arguments.sft_config(settings)
    assert args.learning_rate == 2e-4  # which YAML reads as text
    assert args.neftune_noise_alpha == 5
    assert args.report_to == []
    assert args.bf16 is torch.cuda.is_available()  # TRL's own default is True everywhere


def test_what_changes_nothing_that_is_learnt_may_differ_on_resume():
    settings = train_settings({**NEEDED, "logging_steps": 3, "save_steps": 7, "seed": 1})
    assert arguments.learnt_with(settings) == {"seed": 1}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["papr"], "There is no config file 'papr', and no recipe of that name. Did"),
        (
            ["paper", "no.yaml"],
            "There is no config file 'no.yaml', and no recipe of that name.",
        ),
    ],
)
def test_a_config_that_is_not_there(names, message):
    with pytest.raises(ConfigError) as caught:
        read_configs(names)
    assert message in str(caught.value)


def test_bad_yaml(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("loss: tofu\nloss: ce\n")
    with pytest.raises(ConfigError, match=r"x\.yaml:2: the key 'loss' is already set on line 1"):
        read_configs([str(file)])
    file.write_text("!!python/object/apply:os.system [ls]")
    with pytest.raises(ConfigError, match="not YAML"):
        read_configs([str(file)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": None}, "No model. Name it: --model"),
        ({"data": None}, "No data. Name it: --data"),
        ({"output": None}, "No output. Name it: --output"),
        ({"quantize": "int4"}, "quantize should be 'none' or 'nf4', got 'int4'"),
        ({"loss_settings": {"gamma": "3"}}, "loss_settings.gamma should be a"),
        ({"loss_settings": {"gamma": float("inf")}}, "tofu: gamma is inf; expected a finite"),
    ],
)
def test_bad_fields(change, message):
    with pytest.raises(ConfigError) as caught:
        train_settings({**NEEDED, **change})
    assert message in str(caught.value)
