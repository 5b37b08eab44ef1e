"""Proof that adapters in one engine do not leak into each other's rows, before a run relies on it.

Greedy rows of the base and of each adapter, all mixed in one batch and each model alone, must be
the same. With too few adapter slots, vLLM 0.32 on a CPU silently answered for the base with an
adapter's weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tofu_eval.core.errors import ModelError
from tofu_eval.engines.vllm_worker import Ask, Made

PROMPTS = 3
TOKENS = 12
TOLERANCE = 0.05
"""Nats a token by which a row may differ where batching changes the last digits of a logit."""


def prove(
    asks: Sequence[Ask],
    generate: Callable[[Sequence[Ask]], list[Made]],
    models: Sequence[str],
    exact: bool,
) -> dict[str, Any]:
    """Compare mixed and lone greedy rows; returns what was compared.

    Args:
        asks: the run's requests, from which the probes are taken.
        generate: what answers them.
        models: names, for the message.
        exact: whether the rows must be the same tokens; else the mean log-probability counts.

    Raises:
        ModelError: a row differs.
    """
    prompts = list(dict.fromkeys(ask.ids for ask in asks))[:PROMPTS]
    adapters = sorted({ask.adapter for ask in asks} | {0})
    decoder = {**dict(asks[0].decoder), "temperature": 0.0, "top_p": 1.0, "max_tokens": TOKENS}
    probes = [
        # Interleaved, so that neighbours are of different models.
        replace(asks[0], number=i, ids=ids, adapter=adapter, decoder=tuple(decoder.items()))
        for i, (ids, adapter) in enumerate((ids, a) for ids in prompts for a in adapters)
    ]
    mixed = {row.number: row for row in generate(probes)}
    for adapter in adapters:
        alone = generate([probe for probe in probes if probe.adapter == adapter])
        for row in alone:
            if not _rows_agree(row, mixed[row.number], exact):
                raise ModelError(
                    f"The canary failed: in one engine with {' and '.join(models)}, greedy rows of "
                    f"{'the base' if adapter == 0 else f'adapter {adapter}'} change when other "
                    "models' rows are in the batch. Nothing was generated. Run each model by "
                    "itself, or use --engine transformers."
                )
    return {"prompts": len(prompts), "models": len(adapters), "agree": True, "exact": exact}


def _rows_agree(a: Made, b: Made, exact: bool) -> bool:
    if a.ids == b.ids or exact:
        return a.ids == b.ids
    ours, theirs = ((row.logprob or 0.0) / max(len(row.ids), 1) for row in (a, b))
    return abs(ours - theirs) < TOLERANCE
