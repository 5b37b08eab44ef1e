"""Bare `LLM.generate` beside the harness: the same requests, to one loaded LLM, in one process.

The harness keeps its worker in a process of its own; here that worker also answers as bare vLLM
would (peers/bare.py). Both sides get the same sampling, seeds and ends, so that they make the same
tokens, which is checked.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bare import BareVllm

from tofu_eval.core.child_process import Remote
from tofu_eval.core.models import parse_model
from tofu_eval.core.types import NEUTRAL_SAMPLING, Request, no_report
from tofu_eval.engines.open import open_engine
from tofu_eval.pipeline.generate import generate
from tofu_eval.run.store import Run

PEERS = Path(__file__).parent / "peers"

SAME = 0.95
"""Share of seeded rows that both sides must have made alike; a near tie may part a row."""

Rows = dict[str, tuple[int, ...]]
"""Token ids by key."""


def open_bare(name: str, ref: str, arguments: dict[str, Any], **options: Any) -> Any:
    """A vLLM engine whose worker also answers as bare vLLM would."""
    engine: Any = open_engine(
        "vllm", parse_model(f"{name}={ref}"), engine_args=arguments, **options
    )
    path = os.pathsep.join([str(PEERS), str(PEERS.parents[1])])
    environment = {**engine._environment(), "PYTHONPATH": path}
    engine.prepare = lambda: engine._remote or _start(engine, environment)
    return engine


def _start(engine: Any, environment: dict[str, str]) -> Remote:
    """The process of such an engine, once for all of its requests."""
    engine._remote = Remote(BareVllm, "bare vLLM", environment=environment)
    engine._remote.start()
    return engine._remote


def share_worker(engine: Any, owner: Any) -> None:
    """Let an engine use another's process, with the model that is loaded there."""
    engine._remote, engine._loaded, engine.record = owner._remote, True, owner.record
    engine.prepare = lambda: engine._remote


def time_harness(run: Run, engine: Any, requests: Sequence[Request]) -> tuple[float, Rows]:
    """Seconds into a run directory, prompts encoded and rows written, and what was made."""
    start = time.perf_counter()
    generate(run, "m", engine, requests, no_report)
    seconds = time.perf_counter() - start
    keys = {request.key for request in requests}
    table = run.responses(requests[0].model, requests[0].task).select(["key", "token_ids"])
    made = {r["key"]: tuple(r["token_ids"]) for r in table.to_pylist() if r["key"] in keys}
    return seconds, made


def time_bare(
    engine: Any, requests: Sequence[Request], *, seeds: bool = True
) -> tuple[float, Rows]:
    """Seconds of `LLM.generate` for the same token ids, and what was made."""
    decoders = [
        {
            **NEUTRAL_SAMPLING,
            **request.sampling.decoder(),
            "stop": list(request.sampling.stop),
            "stop_token_ids": list(engine.encoder.ends),
            "ignore_eos": True,  # the harness's ends are all there are
            "seed": request.seed if seeds else None,
            "logprobs": 0,
        }
        for request in requests
    ]
    seconds, made = engine._remote.call("bare", engine.encoder.encode_all(requests), decoders)
    return seconds, {r.key: tuple(ids) for r, ids in zip(requests, made, strict=True)}


def check_same(ours: Rows, theirs: Rows) -> float:
    """The share of rows that are equal; SystemExit where the two did not do the same work."""
    share = sum(ours.get(key) == ids for key, ids in theirs.items()) / len(theirs)
    if share < SAME:
        raise SystemExit(f"Bare vLLM made {share:.3f} of the harness's rows, wanted {SAME}.")
    return share


def count_tokens(rows: Rows) -> int:
    """All tokens of some rows, their end tokens included."""
    return sum(map(len, rows.values()))
