from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tofu_eval.training import fused
from tofu_eval.training.distribution_losses import label_smoothing, sed
from tofu_eval.training.losses import ce

TESTS = Path(__file__).parents[1]

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed here"
)


@needs_triton
@pytest.mark.slow
def test_the_fused_losses_tests_pass_in_the_interpreter():
    """Every head, chunk, dtype and model of test_fused.py through the kernels, and every loss that
    asks something of them that no other does."""
    options = ["-q", "-n0", "-p", "support.in_triton", "-p", "no:cacheprovider"]
    # Left out: a tensor of 1988 = 7 · 71 · 4 bytes counts as too large there, which looks like the
    # interpreter's own copy of a tile.
    left_out = ["the_full_logits_are_never_made"]
    # What looks at the whole distribution is worked on in tiles of PyTorch there too.
    left_out += ["label-smoothing", "-sed", "gem-logsigmoid"]
    # Weights of numbers that the kernels give for every loss.
    left_out += ["p-alpha", "psft", "eaft"]
    options += ["-k", f"not ({' or '.join(left_out)})"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(TESTS / "training" / "test_fused.py")],
        env={
            **os.environ,
            "TRITON_INTERPRET": "1",
            "PYTHONPATH": str(TESTS),
            # Sums are rescaled from block to block: 2 of 333 cases were 1.07e-6 off.
            "FLOAT32_TOLERANCE": "2e-6",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for dtype in ("float32", "float16", "bfloat16"):
        assert f"launched in torch.{dtype}" in done.stdout


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from tofu_eval.training import kernels

TYPES = {"target_ptr": "*i64", "vocabulary": "i32", "scale": "fp32", "softcap": "fp32"}
TYPES |= {"inverse": "fp32", "HAS_BIAS": "constexpr", "HAS_SOFTCAP": "constexpr"}
for dtype in ("fp16", "bf16", "fp32"):
    for kernel in (kernels._read, kernels._overwrite):
        for flag in (False, True):
            types = {**TYPES, "product_ptr": "*" + dtype, "bias_ptr": "*" + dtype}
            types["BLOCK"] = "constexpr"
            signature = {name: types.get(name, "*fp32") for name in kernel.arg_names}
            flags = {"HAS_BIAS": flag, "HAS_SOFTCAP": flag, "BLOCK": kernels.BLOCK}
            if "HAS_ENTROPY" in kernel.arg_names:
                signature["HAS_ENTROPY"], flags["HAS_ENTROPY"] = "constexpr", flag
            made = triton.compile(
                ASTSource(kernel, signature, constexprs=flags),
                target=GPUTarget("cuda", 90, 32),
                options={"num_warps": kernels.WARPS},
            )
            assert "st.local" not in made.asm["ptx"]
            print(len(made.asm["cubin"]) > 0)
"""


@needs_triton
@pytest.mark.slow
def test_the_kernels_compile_for_a_gpu_that_is_not_here(tmp_path):
    """The interpreter accepts what the compiler does not."""
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE],
        env={**env, "TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True"] * 12


def test_the_kernels_are_for_cuda_only():
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        assert fused._way(torch.device("cpu"), dtype, ce()) is fused._tile
    assert fused._way(torch.device("cuda"), torch.float64, ce()) is fused._tile


def test_cuda_without_triton_is_said(monkeypatch):
    monkeypatch.setattr(fused, "_has_triton", lambda: True)
    assert fused._way(torch.device("cuda"), torch.bfloat16, ce()) is fused._tile_in_triton
    for spec in (label_smoothing(), sed()):  # functions of the whole tile
        assert fused._way(torch.device("cuda"), torch.bfloat16, spec) is fused._tile
    monkeypatch.setattr(fused, "_has_triton", lambda: False)
    with pytest.warns(UserWarning, match="Triton is not installed, .* pip install triton"):
        assert fused._way(torch.device("cuda"), torch.bfloat16, ce()) is fused._tile
