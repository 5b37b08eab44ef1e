"""What the transformers engine loads, and what it refuses: models, adapters, options."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import PeftModel
from support.engine_requests import PROMPTS, asks, rows
from support.tiny_engine import edit, ids_of, open_tiny

from tofu_eval.core.errors import ConfigError, ModelError
from tofu_eval.core.models import parse_model
from tofu_eval.core.types import Sampling
from tofu_eval.engines.transformers import TransformersEngine

# Adapters


def test_an_adapter_is_loaded_and_not_merged(
    tiny_model: Path, tiny_adapter: Path, tmp_path: Path, engine: TransformersEngine
) -> None:
    adapted = open_tiny(f"{tiny_model}+{tiny_adapter}", batch_size=7)
    assert isinstance(adapted._model, PeftModel)
    requests = asks(Sampling(samples=2, max_tokens=16))
    made = rows(adapted, requests)
    base = rows(engine, requests)
    assert all(ids_of(made[key]) != ids_of(base[key]) for key in made)
    assert adapted.identity["model"] == engine.identity["model"]
    assert set(adapted.identity["adapter"]["files"]) >= {"adapter_model.safetensors"}

    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_model)
    PeftModel.from_pretrained(model, tiny_adapter).merge_and_unload().save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path)
    merged = rows(open_tiny(tmp_path, batch_size=7), requests)
    for key, row in made.items():
        assert ids_of(row) == ids_of(merged[key])
        assert row.logprob == pytest.approx(merged[key].logprob, abs=1e-3)


def test_the_tokenizer_of_an_adapter_is_used(
    tiny_model: Path, tiny_adapter: Path, tiny_chat_model: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_adapter, tmp_path / "adapter")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(tiny_chat_model / name, folder)
    engine = open_tiny(f"{tiny_model}+{folder}")
    assert len(rows(engine, asks(Sampling(samples=1, max_tokens=1), ["hi"], chat=True))) == 1


def shrunk(tiny_model: Path, path: Path, **sizes: int) -> Path:
    """A base of other sizes than the one that the adapter was made for."""
    config = transformers.AutoConfig.from_pretrained(tiny_model, **sizes)
    transformers.LlamaForCausalLM(config).save_pretrained(path)
    transformers.AutoTokenizer.from_pretrained(tiny_model).save_pretrained(path)
    return path


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ({"hidden_size": 64}, "size mismatch"),
        ({"num_hidden_layers": 1}, "4 of its weights have no place in the base"),
        ({"num_hidden_layers": 3}, "Found missing adapter keys"),
    ],
)
def test_an_adapter_whose_base_does_not_fit(
    tiny_model: Path, tiny_adapter: Path, tmp_path: Path, sizes: dict[str, int], reason: str
) -> None:
    base = shrunk(tiny_model, tmp_path / "other", **sizes)
    with pytest.raises(ModelError, match="does not fit the base model of 'm'") as caught:
        open_tiny(f"{base}+{tiny_adapter}")
    assert reason in str(caught.value)
    assert str(caught.value).endswith("trained on: --model NAME=BASE+ADAPTER")
    assert "\n" not in str(caught.value)


# Loading


def test_a_broken_model_makes_an_error_and_no_text(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_tiny(tiny_model)
    engine._model.lm_head.weight.data[7] = float("nan")
    with pytest.raises(ModelError, match=r"'m' is broken: its logits on prompt 'p2' .*NaN"):
        rows(engine, asks(Sampling(samples=1, max_tokens=4)))


def test_what_cannot_be_loaded(copy: Path) -> None:
    good = (copy / "config.json").read_text()
    cases: list[tuple[dict[str, Any], str]] = [
        ({"model_type": "nonsense"}, "model type `nonsense` but Transformers does not recognize"),
        ({"model_type": "t5", "architectures": ["T5Model"]}, "cannot be loaded"),
        ({"hidden_size": 64}, r"its weights do not match its config\.json: \d+ mismatched"),
        ({"num_hidden_layers": 3}, r"its weights do not match its config\.json: 9 missing"),
    ]
    for changes, reason in cases:
        (copy / "config.json").write_text(good)
        edit(copy / "config.json", **changes)
        with pytest.raises(ModelError, match=reason) as caught:
            open_tiny(copy)
        assert str(caught.value).startswith(f"The model 'm' cannot be loaded from {copy}: ")
        assert "\n" not in str(caught.value)
    (copy / "config.json").write_text(good)
    (copy / "model.safetensors").write_bytes(b"garbage")
    with pytest.raises(ModelError, match=r"its files have 7 bytes\. Was it copied"):
        open_tiny(copy)
    (copy / "model.safetensors").write_bytes(b"garbage" * 40_000)
    with pytest.raises(ModelError, match="Check that it is whole, and a causal language model"):
        open_tiny(copy)
    (copy / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="The tokenizer of 'm' cannot be loaded from"):
        open_tiny(copy)


def test_code_of_the_model_runs_only_when_trusted(copy: Path) -> None:
    (copy / "mine.py").write_text(
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        "class MineConfig(LlamaConfig):\n    model_type = 'mine'\n"
        "class Mine(LlamaForCausalLM):\n    config_class = MineConfig\n"
    )
    names = {"AutoConfig": "mine.MineConfig", "AutoModelForCausalLM": "mine.Mine"}
    edit(copy / "config.json", model_type="mine", auto_map=names)
    with pytest.raises(ModelError, match="If you trust its author, add --trust-remote-code"):
        open_tiny(copy)
    engine = open_tiny(copy, trust_remote_code=True)
    assert type(engine._model).__name__ == "Mine"


def test_options_that_cannot_be(tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match=r"Unknown dtype 'int3'\. Use one of auto, float32"):
        open_tiny(tiny_model, dtype="int3")
    spec = parse_model(str(tiny_model))
    with pytest.raises(ConfigError, match=r"Unknown device 'toaster'\. This machine has .*cpu"):
        TransformersEngine(spec, device="toaster")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match=r"No device 'cuda' here\. This machine has cpu"):
        TransformersEngine(parse_model(str(tiny_model)), device="cuda")


def test_identity_and_dtype(tiny_model: Path, engine: TransformersEngine) -> None:
    assert (engine.family, engine.identity["dtype"]) == ("transformers", "float32")
    half = open_tiny(tiny_model, dtype="bfloat16")
    assert half.identity == {**engine.identity, "dtype": "bfloat16"}
    assert len(rows(half, asks(Sampling(samples=1, max_tokens=2)))) == len(PROMPTS)
    json.dumps(half.identity)


def test_loading_is_reported_and_the_terminal_stays_clean(
    tiny_model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told: list[tuple[str, int, int]] = []
    bars = transformers.utils.logging.is_progress_bar_enabled()
    engine = open_tiny(tiny_model, report=lambda *news: told.append(news))
    rows(engine, asks(Sampling(samples=2, max_tokens=4)))
    engine.close()
    assert told == [("load m", 0, 1), ("load m", 1, 1)]
    assert capfd.readouterr() == ("", "")
    assert transformers.utils.logging.is_progress_bar_enabled() == bars
