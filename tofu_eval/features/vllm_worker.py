"""The process that holds a reward model in vLLM, started by `vllm_reward.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any


def serve(pipe: Connection) -> None:
    """Answer ("load", (model, arguments)) and ("score", token ids of each row) until the end."""
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
                pipe.send(("scores", _score(llm, content)))
        except BrokenPipeError:
            return
        except BaseException as error:  # noqa: BLE001 - vLLM fails in many ways; the parent says which
            pipe.send(("error", f"{type(error).__name__}: {error}"))


def _load(model: str, arguments: Mapping[str, Any]) -> Any:
    import vllm

    return vllm.LLM(model, runner="pooling", **arguments)


def _score(llm: Any, rows: Sequence[Sequence[int]]) -> list[float]:
    from vllm import PoolingParams

    # Its default activation squeezes a raw reward into (0, 1).
    outputs = llm.encode(
        [{"prompt_token_ids": list(row)} for row in rows],
        pooling_params=PoolingParams(use_activation=False),
        pooling_task="classify",
        use_tqdm=False,
    )
    return [float(output.outputs.data.reshape(-1)[0]) for output in outputs]
