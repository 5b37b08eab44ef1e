"""A pytest plug-in: the fused loss takes the Triton kernels on CPU tensors, in the interpreter.

For a process of its own with TRITON_INTERPRET=1, which must be there before triton is imported.
"""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from tofu_eval.training import fused, kernel_products, kernels

launched: Counter[str] = Counter()


def pytest_configure() -> None:
    # V = 71 in the tests is then more than one block, and no multiple of it.
    kernels.BLOCK, kernels.COLUMNS, kernel_products.TOKENS = 64, 16, 16
    choose, launch = fused.choose_tile, kernels.Logits._launch
    fused.choose_tile = lambda device, dtype, spec: choose(torch.device("cuda"), dtype, spec)
    # In float32 nothing is left out, and the interpreter multiplies the bits of bfloat16 as if they
    # were integers. It takes seconds for a product: those of two heads of five are enough.
    fused._skips = lambda device, dtype, job: dtype == torch.float16 and job.softcap is not None

    def counted(self, kernel, grid, *tensors, **flags):
        launched[f"{self.product.dtype}"] += 1
        return launch(self, kernel, grid, *tensors, **flags)

    kernels.Logits._launch = counted


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for dtype in sorted(launched):
        terminalreporter.write_line(f"launched in {dtype}")
