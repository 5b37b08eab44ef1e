"""Bases in 4 bits, with and without an adapter, up to where a GPU is needed."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from support.engine_requests import asks, rows
from support.grown_adapter import make_grown_adapter

import tofu_eval as te
from tofu_eval.core.errors import ConfigError, MissingDependencyError
from tofu_eval.core.models import is_quantized, parse_model, resolve
from tofu_eval.core.types import Sampling
from tofu_eval.engines import loading, vllm
from tofu_eval.engines.open import open_engine

GPU = torch.device("cuda")
PACKED = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")


class _Stop(Exception):
    pass


@pytest.fixture
def grown(tiny_model: Path, tmp_path: Path) -> Path:
    return make_grown_adapter(tiny_model, tmp_path / "grown")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What transformers is asked for, at the call that needs the GPU."""
    seen: dict[str, Any] = {}

    def record(path: Any, **options: Any) -> Any:
        seen.update(options, path=path)
        raise _Stop("here it would be loaded")

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", record)
    return seen


@pytest.fixture
def packed(tiny_model: Path, tmp_path: Path) -> Path:
    """A checkpoint that says that its weights are in 4 bits, as bitsandbytes saves them."""
    path = Path(shutil.copytree(tiny_model, tmp_path / "packed"))
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "quantization_config": PACKED}))
    return path


def load(model: str, **options: Any) -> Any:
    resolved = resolve(parse_model(model))
    return loading.load(
        resolved, "m", device=GPU, dtype="bfloat16", trust_remote_code=False, **options
    )


@pytest.mark.parametrize("adapter", [False, True])
def test_transformers_is_asked_for_what_the_paper_had(
    adapter: bool, tiny_model: Path, grown: Path, asked: dict[str, Any]
) -> None:
    model = f"m={tiny_model}+{grown}" if adapter else f"m={tiny_model}"
    with pytest.raises(te.TofuEvalError, match="here it would be loaded"):
        load(model, quantize="nf4")
    packing = asked["quantization_config"]
    assert (packing.load_in_4bit, packing.bnb_4bit_quant_type) == (True, "nf4")
    assert packing.bnb_4bit_use_double_quant
    assert packing.bnb_4bit_compute_dtype == torch.bfloat16
    assert asked["device_map"] == {"": GPU}  # packed weights cannot be moved afterwards
    assert asked["path"] == resolve(parse_model(model)).base


def test_a_checkpoint_in_four_bits_is_put_where_it_stays(
    packed: Path, asked: dict[str, Any]
) -> None:
    assert is_quantized(resolve(parse_model(f"m={packed}")))
    with pytest.raises(te.TofuEvalError, match="here it would be loaded"):
        load(f"m={packed}")
    assert asked["device_map"] == {"": GPU}
    assert "quantization_config" not in asked  # the checkpoint's own


@without_gpu
def test_what_needs_a_gpu_says_so(tiny_model: Path, packed: Path) -> None:
    spec = parse_model(f"m={tiny_model}")
    with pytest.raises(ConfigError, match="--quantize nf4 needs a CUDA device, here it is 'cpu'"):
        open_engine("transformers", spec, device="cpu", quantize="nf4")
    engine = open_engine("transformers", parse_model(f"m={packed}"), device="cpu")
    with pytest.raises(te.TofuEvalError, match="The model 'm' cannot be loaded") as caught:
        rows(engine, asks(Sampling(samples=1, max_tokens=2), ["a"]))
    assert str(caught.value).isprintable()


def test_bitsandbytes_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="bitsandbytes"):
        loading.check_quantize("nf4", GPU)
    with pytest.raises(MissingDependencyError, match="bitsandbytes"):
        vllm._quantized_arguments("nf4", on_cpu=False)
    with pytest.raises(ConfigError, match="Unknown quantization 'int3'"):
        loading.check_quantize("int3", GPU)


def test_vllm_is_asked_for_four_bits(
    monkeypatch: pytest.MonkeyPatch, tiny_model: Path, tmp_path: Path
) -> None:
    """On a GPU with bitsandbytes: its arguments, and adapters served beside the packed base."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(vllm, "_check_device", lambda device: False)
    plain = open_engine("vllm", parse_model(f"m={tiny_model}"))
    packed = open_engine("vllm", parse_model(f"m={tiny_model}"), quantize="nf4")
    assert packed._arguments["quantization"] == "bitsandbytes"
    assert packed.identity != plain.identity
    assert packed._mode == "mixed"
    with pytest.raises(ConfigError, match="An adapter cannot be merged into 4 bits"):
        open_engine(
            "vllm", parse_model(f"m={tiny_model}"), quantize="nf4",
            engine_args={"adapters": "merged"},
        )  # fmt: skip
    monkeypatch.setattr(vllm, "_check_device", lambda device: True)
    with pytest.raises(ConfigError, match="--quantize nf4 needs a CUDA device, and the vLLM"):
        open_engine("vllm", parse_model(f"m={tiny_model}"), quantize="nf4")
