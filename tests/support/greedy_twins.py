"""Greedy rows of two engines: where they part, and whether the model was undecided there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def partings(
    model: Path,
    prompts: Mapping[str, list[int]],
    ones: Mapping[str, Any],
    others: Mapping[str, Any],
) -> dict[str, tuple[int, float]]:
    """By key of each row that parts from its twin: where, and how far the best logits are apart.

    The distance is infinite where one of the two tokens is not among the two best: then it is not
    a near tie that parted them.
    """
    import torch
    import transformers

    parted = {key: first_difference(ones[key].token_ids, others[key].token_ids) for key in ones}
    parted = {key: at for key, at in parted.items() if at is not None}
    if not parted:
        return {}
    plain = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    gaps = {}
    for key, at in parted.items():
        mine, theirs = ones[key].token_ids, others[key].token_ids
        with torch.no_grad():
            logits = plain(torch.tensor([[*prompts[key], *mine[:at]]])).logits[0, -1]
        best = logits.topk(2)
        chosen = {ids[at] for ids in (mine, theirs) if at < len(ids)}
        near = chosen <= set(best.indices.tolist())
        gaps[key] = at, float(best.values[0] - best.values[1]) if near else float("inf")
    return gaps


def first_difference(ones: tuple[int, ...], others: tuple[int, ...]) -> int | None:
    """The first position at which two rows differ, None where they are equal."""
    for at, (one, other) in enumerate(zip(ones, others, strict=False)):
        if one != other:
            return at
    return None if len(ones) == len(others) else min(len(ones), len(others))
