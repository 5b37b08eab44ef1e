from __future__ import annotations

import subprocess
import sys

import pytest

import tofu_eval.training

LIGHT = "import sys, tofu_eval.training as t; print({'torch', 'transformers'} & set(sys.modules))"

LISTING = (
    "import sys; from tofu_eval.training import LOSSES; "
    "import tofu_eval.training.fused; "
    "print(len(LOSSES.entries()), 'trl' in sys.modules, 'torch._dynamo' in sys.modules)"
)


def test_importing_the_package_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_listing_the_losses_imports_neither_trainers_nor_a_compiler():
    done = subprocess.run(
        [sys.executable, "-c", LISTING], capture_output=True, text=True, check=True
    )
    assert done.stdout == "14 False False\n"


def test_every_name_is_there():
    for name in tofu_eval.training.__all__:
        assert getattr(tofu_eval.training, name).__module__ is not None
    assert dir(tofu_eval.training) == sorted(tofu_eval.training.__all__)


def test_a_name_that_is_not():
    with pytest.raises(AttributeError, match=r"'tofu_eval\.training' has no attribute 'sfft'"):
        _ = tofu_eval.training.sfft
