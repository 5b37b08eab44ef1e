"""Gradients of a model that is split over two gloo processes, as a program of torch's launcher.

    python -m torch.distributed.run --nproc-per-node 2 split_models.py

Each process has two rows; the first prints, for every way to split, the largest error of a
gradient relative to that of one process with all four rows, as a line of JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel
from transformers import LlamaConfig, LlamaForCausalLM

from tofu_eval.core.errors import TrainingError
from tofu_eval.training.lm_head import add_fused_loss
from tofu_eval.training.losses import tofu

Split = Callable[[Any, Any], Any]


def units(*names: str, **policy: Any) -> Split:
    """FSDP 2 with the root and these parts as units."""

    def split(model: Any, mesh: Any) -> Any:
        parts = {
            "layers": list(model.model.layers), "head": [model.lm_head], "body": [model.model],
            "embeddings": [model.model.embed_tokens],
            "ends": [[model.lm_head, model.model.embed_tokens]],
        }  # fmt: skip
        for name in names:
            for part in parts[name]:
                fully_shard(part, mesh=mesh, **policy)
        return fully_shard(model, mesh=mesh, **policy)

    return split


def fsdp_1_head(model: Any, mesh: Any) -> Any:
    cpu = torch.device("cpu")
    model.lm_head = FullyShardedDataParallel(model.lm_head, use_orig_params=True, device_id=cpu)
    return FullyShardedDataParallel(model, use_orig_params=True, device_id=cpu)


HALF = {"mp_policy": MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)}

WAYS: dict[str, tuple[Split, bool]] = {
    "ddp": (lambda model, _: DistributedDataParallel(model), False),
    "root": (units(), False),
    "layers": (units("layers"), False),
    "body": (units("layers", "body"), False),
    "embeddings": (units("layers", "embeddings"), False),
    "head": (units("layers", "head"), False),
    "everything": (units("layers", "head", "embeddings", "body"), False),
    "head and embeddings in one": (units("layers", "ends"), False),
    "head, half": (units("layers", "head", **HALF), False),
    "ddp, tied": (lambda model, _: DistributedDataParallel(model), True),
    "layers, tied": (units("layers"), True),
    "head and embeddings in one, tied": (units("layers", "ends"), True),
    "fsdp 1, head": (fsdp_1_head, False),
}
"""A way to split, and whether head and embeddings are one matrix."""


def build(tied: bool) -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=tied,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    add_fused_loss(model, tofu())
    return model


def loss_of(model: Any, ids: Any) -> Any:
    found = model(input_ids=ids, labels=ids.clone(), fused_loss=True)
    return found.loss / found.tokens


def worst_error(split: Split, tied: bool, rows: Any, mesh: Any) -> float:
    """Twice over, so that accumulated gradients are looked at, too; evaluations stand between."""
    whole = build(tied)
    for _ in range(2):
        (sum(loss_of(whole, part) for part in rows) / len(rows)).backward()
    model = build(tied)
    wrapped = split(model, mesh)
    for _ in range(2):
        with torch.no_grad():
            loss_of(wrapped, rows[dist.get_rank()])  # an evaluation leaves nothing behind
        loss_of(wrapped, rows[dist.get_rank()]).backward()
    errors = [0.0]
    for (name, ours), (_, theirs) in zip(
        model.named_parameters(), whole.named_parameters(), strict=True
    ):
        grad = ours.grad.full_tensor() if hasattr(ours.grad, "full_tensor") else ours.grad
        assert grad is not None, name
        errors.append(((grad - theirs.grad).abs().max() / theirs.grad.abs().max()).item())
    return max(errors)


def main() -> None:
    dist.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    torch.manual_seed(1)
    rows = torch.randint(3, 50, (dist.get_world_size(), 2, 9))
    for name, (split, tied) in WAYS.items():
        try:
            found: Any = worst_error(split, tied, rows, mesh)
        except TrainingError as error:
            found = str(error)
        if dist.get_rank() == 0:
            print(json.dumps({"way": name, "error": found}), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
