"""Merging: the whole model's logits are those of base and adapter."""

from __future__ import annotations

import json

import torch
from support.commands import invoke, refused
from support.grown_adapter import make_grown_adapter
from transformers import AutoModelForCausalLM, AutoTokenizer

from tofu_eval.core.models import parse_model, resolve
from tofu_eval.engines.loading import load
from tofu_eval.run.files import LOCK, TEMPORARY, hold_lock


def logits(ref: str) -> torch.Tensor:
    model, _ = load(
        resolve(parse_model(f"m={ref}")), "m",
        device=torch.device("cpu"), dtype="float32", trust_remote_code=False,
    )  # fmt: skip
    with torch.no_grad():
        return model(torch.arange(3, 20)[None]).logits


def test_the_logits_are_those_of_base_and_adapter(tiny_model, tiny_adapter, tmp_path):
    pair, output = f"{tiny_model}+{tiny_adapter}", tmp_path / "merged"
    done = invoke("merge-adapter", pair, "--output", output)
    assert done.exit_code == 0, done.output
    assert (logits(pair) - logits(str(tiny_model))).abs().max() > 0.01
    torch.testing.assert_close(logits(str(output)), logits(pair), rtol=0, atol=1e-5)
    assert AutoTokenizer.from_pretrained(output).vocab_size > 0
    half = tmp_path / "half"
    assert invoke("merge-adapter", pair, "--output", half, "--dtype", "bfloat16").exit_code == 0
    assert AutoModelForCausalLM.from_pretrained(half).dtype == torch.bfloat16


def test_added_tokens_go_along(base, tmp_path):
    adapter = make_grown_adapter(base, tmp_path / "adapter")
    (adapter / "training.json").write_text(json.dumps({"format": {"name": "base"}}))
    pair, output = f"{base}+{adapter}", tmp_path / "merged"
    assert invoke("merge-adapter", pair, "--output", output).exit_code == 0
    torch.testing.assert_close(logits(str(output)), logits(pair), rtol=0, atol=1e-5)
    assert (output / "training.json").exists()


def test_what_cannot_be_merged(tiny_model, tiny_adapter, tmp_path):
    assert "has no adapter to merge. Name it: BASE+ADAPTER" in refused(
        "merge-adapter", tiny_model, "--output", tmp_path / "out"
    )
    assert "exists. Name another --output" in refused(
        "merge-adapter", f"{tiny_model}+{tiny_adapter}", "--output", tmp_path
    )


def test_one_process_merges_into_an_output(tiny_model, tiny_adapter, tmp_path):
    """Two wrote into one folder, and one removed what the other had saved."""
    making = tmp_path / f"{TEMPORARY}out"
    call = ("merge-adapter", f"{tiny_model}+{tiny_adapter}", "--output", tmp_path / "out")
    with hold_lock(making):
        (making / "model.safetensors").write_bytes(b"half")
        assert "is being written by another process" in refused(*call)
        assert (making / "model.safetensors").read_bytes() == b"half"
    assert invoke(*call).exit_code == 0  # that process was killed
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert not (tmp_path / "out" / LOCK).exists()
