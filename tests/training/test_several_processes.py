"""Two gloo processes against one: gradients of every way to split, and whole trainings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

pytestmark = pytest.mark.slow

SUPPORT = Path(__file__).parents[1] / "support"

MODULE = ("-m", "tofu_eval.training.sft")
LAUNCH = (
    *(sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2"),
    *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
    *("--main_process_port", "0"),
)
"""With ACCELERATE_USE_CPU, accelerate's launcher of several processes uses gloo."""

FSDP_2 = """\
compute_environment: LOCAL_MACHINE
distributed_type: FSDP
fsdp_config:
  fsdp_version: 2
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP
  fsdp_reshard_after_forward: true
  fsdp_state_dict_type: FULL_STATE_DICT
  fsdp_cpu_ram_efficient_loading: false
mixed_precision: 'no'
num_machines: 1
num_processes: 2
use_cpu: true
"""


def run(line: list[str], **environment: str) -> str:
    """What a command wrote to stdout."""
    env = {**os.environ, "ACCELERATE_USE_CPU": "true", **environment}
    done = subprocess.run(line, capture_output=True, text=True, env=env, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_gradients_of_a_split_model_are_those_of_the_whole() -> None:
    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
           str(SUPPORT / "split_models.py")]  # fmt: skip
    lines = [json.loads(line) for line in run(two).splitlines() if line.startswith("{")]
    errors = {line["way"]: line["error"] for line in lines}
    refused = errors.pop("fsdp 1, head")
    assert refused.startswith("The LM head's weights are split over processes by themselves (FSDP")
    assert errors.pop("head, half") < 0.05  # products in bfloat16 against float32
    assert len(errors) == 11
    assert max(errors.values()) < 1e-6, errors


@pytest.fixture(scope="module")
def asked(base: Path, rows: Path) -> list[str]:
    return [
        *("--model", str(base), "--data", str(rows), "--format", "base", "--lr", "1e-3"),
        *("--epochs", "2", "--seed", "3"),
    ]


def launch(way: str, folder: Path) -> list[str]:
    """The command that starts two processes."""
    if way == "ddp":
        return [*LAUNCH, "--multi_gpu"]
    (folder / "fsdp.yaml").write_text(FSDP_2)
    return [*LAUNCH, "--config_file", str(folder / "fsdp.yaml")]


def result(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    manifest = json.loads((path / "training.json").read_text())
    return load_file(path / "model.safetensors"), manifest


@pytest.mark.parametrize(("way", "loss"), [("ddp", "psft"), ("fsdp2", "tofu")])
def test_two_processes_equal_one_with_twice_the_batch(
    way: str, loss: str, asked: list[str], tmp_path: Path
) -> None:
    """The same eight rows a step, once in one process and once in two halves.

    psft's reference column is made in two halves, too.
    """
    import torch

    asked = [*asked, "--loss", loss]
    alone, out = tmp_path / "one", tmp_path / "two"
    run([sys.executable, *MODULE, *asked, "--batch-size", "8", "--output", str(alone)])
    two = [*launch(way, tmp_path), *MODULE, *asked, "--batch-size", "4", "--output", str(out)]
    said = run(two)
    assert said.count("Checkpoint:") == 1  # the first process speaks, alone
    assert said.count("last logged") == 1
    (one, log_one), (two, log_two) = result(alone), result(out)
    assert log_two["asked"]["processes"] == 2
    assert log_one["steps"] == log_two["steps"] == 12
    assert one.keys() == two.keys()
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=0, atol=2e-5, msg=name)
    last_one, last_two = ([e for e in log["log"] if "loss" in e][-1] for log in (log_one, log_two))
    for metric in ("loss", "cross_entropy", "mean_weight", "entropy", "num_tokens"):
        assert last_two[metric] == pytest.approx(last_one[metric], rel=1e-4), metric
