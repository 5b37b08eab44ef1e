from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tofu_eval.training import fused, tiles
from tofu_eval.training.distribution_losses import label_smoothing, sed
from tofu_eval.training.loss_probes import drops_most, looks_at_collision
from tofu_eval.training.losses import LOSSES, LossSpec, ce
from tofu_eval.training.tiles import Job, choose_tile, tile_in_torch, tile_in_triton

TESTS = Path(__file__).parents[1]

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed here"
)


@needs_triton
@pytest.mark.slow
def test_the_fused_losses_tests_pass_in_the_interpreter():
    """Every head, chunk, dtype and model of test_fused*.py through the kernels, and every loss that
    asks something of them that no other does."""
    options = ["-q", "-n0", "-p", "support.in_triton", "-p", "no:cacheprovider"]
    # Left out: a tensor of 1988 = 7 · 71 · 4 bytes counts as too large there, which looks like the
    # interpreter's own copy of a tile.
    left_out = ["the_full_logits_are_never_made"]
    # In tiles of PyTorch there too: what looks at the whole distribution, and float64.
    left_out += ["label-smoothing", "sed]", "gem-logsigmoid", "plug-in", "float64_is_exact"]
    # To the kernels a loss is its weights and its temperature: those of others are as these.
    left_out += ["p-alpha", "psft", "eaft", "focal", "gem]", "dft]"]
    # Done before or after them.
    left_out += ["upstream_gradient", "ignored_tokens", "torch_compile"]
    left_out += ["(chunk_sizes and not tofu])"]
    options += ["-k", f"not ({' or '.join(left_out)})"]
    files = sorted((TESTS / "training").glob("test_fused*.py"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *files],
        env={
            **os.environ,
            "TRITON_INTERPRET": "1",
            "PYTHONPATH": str(TESTS),
            "FLOAT32_TOLERANCE": "2e-6",  # sums are rescaled from block to block
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
from tofu_eval.training import kernel_products, kernels

TYPES = {"target_ptr": "*i64", "table_ptr": "*i8", "scale": "fp32", "softcap": "fp32"}
TYPES |= {"inverse": "fp32", "vocabulary": "i32", "stride": "i32", "tokens": "i32"}
TYPES |= {"width": "i32", "blocks": "i32"}
VALUES = {"BLOCK": kernels.BLOCK, "COLUMNS": kernels.COLUMNS}
VALUES |= {"TOKENS": kernel_products.TOKENS, "WIDTH": kernel_products.WIDTH}
OF_TILES = ("product_ptr", "bias_ptr", "grad_ptr", "head_ptr", "hidden_ptr")

for arch, dtype in ((90, "fp16"), (90, "bf16"), (90, "fp32"), (80, "fp16")):
    of_tiles = {name: "*" + dtype for name in OF_TILES}
    for kernel, warps in (
        (kernels._read, kernels.WARPS),
        (kernels._overwrite, kernels.WARPS),
        (kernel_products._hidden, kernel_products.WARPS),
        (kernel_products._head, kernel_products.WARPS),
    ):
        for flag in (False, True):
            names = kernel.arg_names
            fixed = {n: VALUES.get(n, flag) for n in names if n.isupper()}
            types = {**TYPES, **of_tiles, **dict.fromkeys(fixed, "constexpr")}
            made = triton.compile(
                ASTSource(kernel, {n: types.get(n, "*fp32") for n in names}, constexprs=fixed),
                target=GPUTarget("cuda", arch, 32),
                options={"num_warps": warps},
            )
            assert "st.local" not in made.asm["ptx"]
            # What the smallest of these devices has for a program is 99 KiB. In full precision a
            # product does not fit there, and is not used.
            assert made.metadata.shared <= 64 * 1024 or dtype == "fp32"
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
    assert done.stdout.split() == ["True"] * 32


SKIPPING = """
import math
import torch
from tofu_eval.training import fused, kernel_products, kernels, products

kernels.COLUMNS, kernel_products.TOKENS, kernel_products.WIDTH = 16, 16, 32
stream = torch.Generator().manual_seed(0)
for dtype in (torch.float16, torch.float32):  # bfloat16 is beyond the interpreter's products
    tokens, vocabulary, width = 40, 150, 40
    grad = torch.randn(tokens, 160, generator=stream)[:, :vocabulary] * 1e-7
    for token in range(tokens):  # a few large columns in each row, and rows that weigh nothing
        grad[token, (token // 16) * 48 : (token // 16) * 48 + 5] = 1.0 / (token + 1)
    grad[16:32] = 0
    grad = grad.to(dtype)
    padded = torch.zeros(tokens, 160)
    padded[:, :vocabulary] = grad.float().abs()
    mass = padded.view(tokens, 10, 16).sum(2)
    table = kernel_products.blocks_to_keep(mass, dtype)
    kept = table.repeat_interleave(16, 0)[:tokens].repeat_interleave(16, 1)[:, :vocabulary].bool()
    left_out = torch.where(kept, 0.0, grad.float().abs()).sum(1)
    assert (left_out <= torch.finfo(dtype).eps / 2 * grad.float().abs().sum(1)).all()
    assert not table[1].any()
    if dtype != torch.float32:
        assert table.tolist()[0] == [1] + 9 * [0]
    for strange in (math.inf, math.nan):
        mixed = mass.index_put((torch.tensor(0), torch.tensor(9)), torch.tensor(strange))
        assert kernel_products.blocks_to_keep(mixed, dtype)[0, 9]
    hidden = torch.randn(tokens, width, generator=stream).to(dtype)
    head = torch.randn(vocabulary, width, generator=stream).to(dtype)
    lift = torch.ldexp(torch.ones(tokens), torch.arange(tokens) % 5)
    lift = lift if dtype == torch.float16 else None
    report = products.TileReport(torch.ones(7, tokens), lift, mass)
    nothing = torch.full((tokens, width), math.nan), torch.zeros(vocabulary, width)
    sums = products.Gradients(*nothing, None)
    untouched = ~kept.any(0)
    sums.weight[untouched] = math.nan  # neither read nor written where nothing is added
    part = products.Part(slice(0, tokens), grad, hidden, head, report)
    kernel_products.add_products(sums, part, mass)
    only = torch.where(kept, grad.double(), 0.0) / (1 if lift is None else lift[:, None])
    of_head = (only.T @ hidden.double())[~untouched]
    for got, wanted in ((sums.hidden, only @ head.double()), (sums.weight[~untouched], of_head)):
        largest = wanted.abs().max().item()
        torch.testing.assert_close(got.double(), wanted, rtol=0, atol=1e-3 * largest)
    assert sums.weight[untouched].isnan().all()
    assert untouched.any() or dtype == torch.float32
    print(dtype)
"""


@needs_triton
@pytest.mark.slow
def test_blocks_below_the_resolution_are_left_out_and_nothing_else(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SKIPPING],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["torch.float16", "torch.float32"]


def test_the_kernels_are_for_cuda_only():
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        assert choose_tile(torch.device("cpu"), dtype, ce()) is tile_in_torch
    assert choose_tile(torch.device("cuda"), torch.float64, ce()) is tile_in_torch


def test_cuda_without_triton_is_said(monkeypatch):
    monkeypatch.setattr(tiles, "has_triton", lambda: True)
    assert choose_tile(torch.device("cuda"), torch.bfloat16, ce()) is tile_in_triton
    for spec in (label_smoothing(), sed()):  # functions of the whole tile
        assert choose_tile(torch.device("cuda"), torch.bfloat16, spec) is tile_in_torch
    monkeypatch.setattr(tiles, "has_triton", lambda: False)
    with pytest.warns(UserWarning, match="Triton is not installed, .* pip install triton"):
        assert choose_tile(torch.device("cuda"), torch.bfloat16, ce()) is tile_in_torch


def test_tiles_are_chosen_from_the_device(monkeypatch):
    def rows(gigabytes: float, vocabulary: int, dtype: torch.dtype = torch.bfloat16) -> int:
        memory = SimpleNamespace(total_memory=int(gigabytes * 2**30))
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: memory)
        return fused.rows_of_tile(torch.device("cuda"), dtype, vocabulary)

    assert rows(80, 128_256) == 2048
    assert 1024 <= rows(24, 128_256) < 2048
    assert rows(24, 128_256, torch.float32) < rows(24, 128_256)
    assert rows(0.5, 256_000) == 64
    assert all(rows(g, v) % 64 == 0 for g in (8, 16, 40) for v in (32_000, 151_936))
    assert fused.rows_of_tile(torch.device("cpu"), torch.float32, 128_256) == 256


def test_losses_that_drop_most_tokens_are_known_by_their_weights():
    dropping = {e.name for e in LOSSES.entries() if drops_most(LOSSES.get(e.name)())}
    assert dropping == {"lambda-pr"}


@pytest.mark.parametrize(
    ("device", "dtype", "loss", "asked", "capability", "skips"),
    [
        ("cuda", torch.bfloat16, "lambda-pr", None, (9, 0), True),
        ("cuda", torch.float16, "lambda-pr", None, (8, 9), True),
        ("cuda", torch.bfloat16, "lambda-pr", False, (9, 0), False),
        ("cuda", torch.bfloat16, "ce", None, (9, 0), False),
        ("cuda", torch.bfloat16, "ce", True, (9, 0), True),
        ("cuda", torch.float16, "ce", True, (7, 5), False),
        ("cuda", torch.float32, "ce", True, (9, 0), False),  # does not fit the registers
        ("cuda", torch.float64, "ce", True, (9, 0), False),
        ("cpu", torch.bfloat16, "ce", True, (9, 0), False),
    ],
)
def test_blocks_are_left_out_where_that_is_worth_it(
    monkeypatch, device, dtype, loss, asked, capability, skips
):
    monkeypatch.setattr(fused, "drops_most", lambda spec, device: drops_most(spec))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    job = Job(LOSSES.get(loss)(), torch.zeros(1), (), None, 1.0, 64, True, asked)
    assert fused._skips(torch.device(device), dtype, job) == skips


def test_what_is_a_sum_over_the_vocabulary_is_made_only_where_a_loss_looks_at_it():
    looking = {e.name for e in LOSSES.entries() if looks_at_collision(LOSSES.get(e.name)())}
    assert looking == {"deft"}
    plug_in = LossSpec("plug-in", ce().weight, entropy=lambda stats: stats.collision)
    assert looks_at_collision(plug_in)
