"""The process that holds a pooling model in vLLM, started by `vllm_pooling.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any


def serve(pipe: Connection) -> None:
    """Answer ("load", (model, arguments)) and (task of pooling, token ids of each row)."""
    llm: Any = None
    while True:
        try:
            order, content = pipe.recv()
        except EOFError:
            return
        try:
            if order == "load":
                llm = _load(*content)
                pipe.send(("loaded", None))
            else:
                pipe.send(("rows", _pooled(llm, order, content)))
        except BrokenPipeError:
            return
        except BaseException as error:  # noqa: BLE001 - vLLM fails in many ways; the parent says which
            pipe.send(("error", f"{type(error).__name__}: {error}"))


def _load(model: str, arguments: Mapping[str, Any]) -> Any:
    import vllm

    return vllm.LLM(model, runner="pooling", **arguments)


def _pooled(llm: Any, task: str, rows: Sequence[Sequence[int]]) -> list[list[float]]:
    from vllm import PoolingParams

    # For a reward its default activation squeezes the logit into (0, 1); for an embedding it is
    # the scaling to unit length, which is done where they are received.
    outputs = llm.encode(
        [{"prompt_token_ids": list(row)} for row in rows],
        pooling_params=PoolingParams(use_activation=False),
        pooling_task=task,
        use_tqdm=False,
    )
    return [[float(x) for x in output.outputs.data.reshape(-1)] for output in outputs]
