"""The vLLM engine: every request of a model, or of several adapters on one base, at once.

One request a sample, each with its own seed and all decoder settings spelled out, so that a row
depends neither on its neighbours nor on a model's generation config. vLLM itself lives in a
process of its own (`vllm_worker.py`); here are the token ids, the checks and the texts.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tofu_eval.core.child_process import Remote
from tofu_eval.core.errors import ConfigError, MissingDependencyError, ModelError
from tofu_eval.core.models import embedding_rows, resolve
from tofu_eval.core.scratch import remove_scratch
from tofu_eval.core.types import (
    ALWAYS_OFF,
    ModelSpec,
    Report,
    Request,
    Response,
    digest,
    no_report,
)
from tofu_eval.engines.adapters import check_adapter, lora_rank, merge
from tofu_eval.engines.base import score_response, truncate_at_stop
from tofu_eval.engines.canary import prove
from tofu_eval.engines.prompts import Encoder, open_encoder
from tofu_eval.engines.vllm_worker import Ask, Made, Vllm

OURS = ("model", "tokenizer", "seed", "enable_lora", "max_loras", "max_lora_rank", "lora_modules")
"""Arguments of vLLM that are decided here."""

CPU_CACHE = 2 * 2**30
"""Bytes of cache on a CPU where neither an argument nor VLLM_CPU_KVCACHE_SPACE (GiB) says more."""

CPU_BLOCK = 32
"""Tokens of a block of that cache, the fewest that vLLM's attention on a CPU takes."""

RESOURCES = frozenset(
    {
        "tensor_parallel_size",
        "pipeline_parallel_size",
        "gpu_memory_utilization",
        "max_model_len",
        "max_num_seqs",
        "max_num_batched_tokens",
        "swap_space",
        "cpu_offload_gb",
        "enforce_eager",
        "enable_prefix_caching",
        "enable_chunked_prefill",
        "distributed_executor_backend",
        "disable_custom_all_reduce",
        "download_dir",
        "kv_cache_memory_bytes",
        "max_parallel_loading_workers",
        "block_size",
    }
)
"""Arguments that say where and how fast, not what is computed: they may change between calls."""


class VllmEngine:
    """A causal language model in vLLM; see `base.Engine`.

    Constructing it finds the files and settles `identity`; vLLM starts when it is first needed.

    Args:
        spec: which model.
        batch_size: responses saved together; vLLM decides itself what it computes together.
        device: "cpu" or "cuda"; vLLM is built for one of them, another is refused.
        dtype: auto, float32, bfloat16 or float16; by default float32 on the CPU.
        trust_remote_code: run Python code that comes with the model.
        report: told about the loading, and a GGUF file's conversion, as (stage, done, total).
        engine_args: further arguments of `vllm.LLM`; `batch_invariant: true` asks for rows that
            do not depend on their batch on a GPU either; `adapters: mixed` serves all adapters
            of a base from one loading (the default on a GPU), `merged` each as a whole model.
        chat_template_kwargs: what the chat template is given beside the messages.
        quantize: "nf4" loads the weights in 4 bits, which needs a CUDA device.
        seeds: "row" gives each request its own seed, which can switch vLLM's fastest sampler off;
            "run" gives none: faster, and a resumed run is no longer equal to an undisturbed one.

    Raises:
        ModelError: the model cannot be found, or vLLM cannot serve its adapter.
        ConfigError: an argument that is decided here.
        MissingDependencyError: vLLM is not installed.
    """

    family = "vllm"
    scores = True

    def __init__(
        self,
        spec: ModelSpec,
        *,
        batch_size: int = 128,
        device: str | None = None,
        dtype: str | None = None,
        trust_remote_code: bool = False,
        report: Report = no_report,
        engine_args: Mapping[str, Any] | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        quantize: str | None = None,
        seeds: str = "row",
        **_: Any,
    ) -> None:
        if importlib.util.find_spec("vllm") is None:
            raise MissingDependencyError.of("The vLLM engine", "vllm", "vllm")
        arguments = dict(engine_args or {})
        for name in OURS:
            if name in arguments:
                raise ConfigError(f"The argument '{name}' of vLLM is set by the run itself.")
        self._on_cpu = _check_device(device)
        self._batch_invariant = bool(arguments.pop("batch_invariant", False))
        if arguments.get("data_parallel_size", 1) != 1:
            raise ConfigError(
                "data_parallel_size is for servers. For several engines side by side use "
                "--engine ray, or `vllm serve --data-parallel-size N` with --engine openai."
            )
        arguments = {"dtype": dtype or ("float32" if self._on_cpu else "auto"), **arguments}
        if quantize is not None:
            arguments |= _quantized_arguments(quantize, self._on_cpu)
        self._resolved = resolve(spec, report)
        self._mode = _mode(
            arguments.pop("adapters", None), self._on_cpu, self._resolved.adapter, quantize
        )
        if self._resolved.adapter is not None and self._mode == "mixed":
            check_adapter(self._resolved.adapter, spec.name)
        self._name = spec.name
        self._chunk = batch_size
        self._trust_remote_code = trust_remote_code
        self._report = report
        self._arguments = arguments
        self._served: dict[str, VllmEngine] = {spec.name: self}
        changing = {k: v for k, v in arguments.items() if k not in RESOURCES}
        self._template_kwargs = dict(chat_template_kwargs or {})
        self._seeded = seeds == "row"
        self.identity: Mapping[str, Any] = {
            **self._resolved.identity,
            **changing,
            **({"chat_template_kwargs": self._template_kwargs} if self._template_kwargs else {}),
            **({} if self._seeded else {"seeds": "run"}),
        }
        self.record: dict[str, Any] = {"sampling": dict(ALWAYS_OFF), "arguments": arguments}
        if self._resolved.adapter is not None:
            self.identity = {**self.identity, "adapters": self._mode}
        self._merged: Path | None = None
        self._remote: Remote | None = None
        self._loaded = False

    @property
    def shares(self) -> str | None:
        """What must be equal for two models to be served by one loading; None is by itself."""
        if self._mode == "merged" and self._resolved.adapter is not None:
            return None
        base = self._resolved.identity["model"]
        return digest([base, self._arguments, self._batch_invariant, self._trust_remote_code])

    def join(self, others: Sequence[VllmEngine]) -> VllmEngine:
        """Serve the models of these engines as well, from one loading of the common base."""
        for other in others:
            self._served[other._name] = other
        return self

    def generate(
        self, requests: Sequence[Request], done: Collection[str] = ()
    ) -> Iterator[list[Response]]:
        """Yield the responses as they finish; see `base.Engine.generate`.

        Raises:
            ModelError: before anything is generated, a prompt that is too long, empty or without a
                chat template, a model that vLLM cannot load, an adapter that leaks into other
                rows; while it runs, a vLLM that fails or is killed.
        """
        left = [request for request in requests if request.key not in done]
        if not left:
            return
        remote = self.prepare()
        try:
            # Before the model is loaded: vLLM would refuse a whole batch for one bad prompt.
            asks = self._asks(left)
            if not self._loaded:
                self._load(remote, asks)
                self._loaded = True
        except BaseException:
            self.close()  # after an adapter error the next call of that vLLM would hang
            raise
        for made in self._stream(asks):
            yield self._responses([(left[row.number], row) for row in made])

    def prepare(self) -> Remote:
        """Begin to import vLLM, which takes long, while the prompts are still looked at."""
        if self._remote is None:
            names = "+".join(self._served)
            self._report(f"load {names}", 0, 1)
            title = f"The vLLM engine of '{names}'"
            self._remote = Remote(Vllm, title, environment=self._environment())
            self._remote.start()
        return self._remote

    def close(self) -> None:
        """End vLLM's process, which gives its memory back; the engine may start again."""
        if self._remote is not None:
            self._remote.close()
            self._remote, self._loaded = None, False
        if self._merged is not None:
            remove_scratch(self._merged)
            self._merged = None

    # The prompt

    @cached_property
    def encoder(self) -> Encoder:
        """The tokenizer and its limits."""
        encoder = open_encoder(
            self._resolved,
            self._name,
            trust_remote_code=self._trust_remote_code,
            template_kwargs=self._template_kwargs,
        )
        return encoder.at_most(self._arguments.get("max_model_len"))

    @property
    def encoders(self) -> dict[str, Encoder]:
        """The encoders of all models that are served, for the audit."""
        return {name: engine.encoder for name, engine in self._served.items()}

    def _encoder_of(self, model: str) -> Encoder:
        return self._served[model].encoder

    @property
    def _adapters(self) -> list[VllmEngine]:
        mixed = self._mode == "mixed"
        return [e for e in self._served.values() if mixed and e._resolved.adapter is not None]

    def _asks(self, requests: Sequence[Request]) -> list[Ask]:
        """Every prompt as token ids; ModelError for one that cannot be asked."""
        by_model: dict[str, list[Request]] = {}
        for request in requests:
            by_model.setdefault(request.model, []).append(request)
        rows = {
            request.key: ids
            for model, mine in by_model.items()
            for request, ids in zip(mine, self._encoder_of(model).encode_all(mine), strict=True)
        }
        return [self._ask(i, request, rows[request.key]) for i, request in enumerate(requests)]

    def _ask(self, number: int, request: Request, ids: list[int]) -> Ask:
        engine = self._served[request.model]
        adapters = self._adapters
        adapter = adapters.index(engine) + 1 if engine in adapters else 0
        decoder = {
            **ALWAYS_OFF,
            **request.sampling.decoder(),
            "seed": request.seed if self._seeded else None,
            "stop": list(request.sampling.stop),
            "stop_token_ids": list(engine.encoder.ends),
            "ignore_eos": True,  # the ends above are all there are
        }
        if request.completion is None:
            drawn = tuple(decoder.items())
            return Ask(number, tuple(ids), adapter, drawn, each=request.token_logprobs)
        added = engine.encoder.encode_completion(request, ids)
        return Ask(number, (*ids, *added), adapter, tuple(decoder.items()), len(added))

    # The process

    def _load(self, remote: Remote, asks: Sequence[Ask]) -> None:
        adapters = [
            # The prefix cache knows an adapter by its name: so the name says what is in it.
            (f"{e._name}-{digest(e._resolved.identity)[:12]}", str(Path(e._resolved.adapter)))
            for e in self._adapters
            if e._resolved.adapter is not None
        ]
        base = self._resolved.base
        if self._resolved.adapter is not None and self._mode == "merged":
            dtype, trust = str(self._arguments["dtype"]), self._trust_remote_code
            base = self._merged = merge(self._resolved, self._name, dtype, trust_remote_code=trust)
            self.record["adapters"] = "merged"
        arguments = self._llm_arguments(len(adapters))
        if any(dict(ask.decoder)["stop"] for ask in asks):  # which vLLM looks for in texts
            arguments |= {"skip_tokenizer_init": False, "tokenizer": str(self._resolved.tokenizer)}
        self.record.update(remote.call("load", str(base), arguments, adapters))
        if adapters:
            self.record["canary"] = prove(
                asks, lambda probe: list(self._probe(probe)), list(self._served), self._exact
            )
            self.record["adapters"] = "mixed"
        for other in self._served.values():
            other.record = self.record
        self._report(f"load {'+'.join(self._served)}", 1, 1)

    @property
    def _exact(self) -> bool:
        """Whether batching cannot change a row."""
        return self._batch_invariant or self.record.get("dtype") == "float32"

    def _probe(self, asks: Sequence[Ask]) -> Iterator[Made]:
        for rows in self._stream(asks):
            yield from rows

    def _stream(self, asks: Sequence[Ask]) -> Iterator[list[Made]]:
        if self._remote is None:
            raise ModelError(f"The vLLM engine of '{self._name}' is closed. Run the command again.")
        try:
            for rows in self._remote.stream("generate", asks, self._chunk):
                if rows:
                    yield rows
        except BaseException:
            self.close()  # its process has ended, and with it what was loaded
            raise

    def _llm_arguments(self, adapters: int) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "enable_prefix_caching": True,
            "generation_config": "vllm",  # vLLM's own defaults, of which none is used
            "skip_tokenizer_init": True,
            "disable_log_stats": True,
            "trust_remote_code": self._trust_remote_code,
        }
        if self._on_cpu:
            # vLLM 0.32 on a CPU dies on a seeded request whose prompt is split.
            arguments["enable_chunked_prefill"] = False
            # A variable of vLLM's own wins; without either it would take half the memory.
            arguments["kv_cache_memory_bytes"] = CPU_CACHE
            # Only whole blocks of a prompt are shared: of vLLM's 128 tokens, few prompts are one.
            arguments["block_size"] = CPU_BLOCK
        if adapters:
            arguments["enable_lora"] = True
            # One more than there are: with as many slots as adapters, vLLM 0.32 on a CPU gave
            # the base's rows an adapter's weights, without a word. The canary watches for it.
            arguments["max_loras"] = adapters + 1
            folders = [e._resolved.adapter for e in self._adapters if e._resolved.adapter]
            arguments["max_lora_rank"] = lora_rank(folders)
        return {**arguments, **self._arguments}

    def _environment(self) -> dict[str, str]:
        variables = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
        if self._batch_invariant:
            variables["VLLM_BATCH_INVARIANT"] = "1"
        if self._on_cpu:
            variables["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # the process is its own already
        return variables

    # The rows

    def _responses(self, made: Sequence[tuple[Request, Made]]) -> list[Response]:
        texts: dict[int, str] = {}
        stops = {row.number: request.sampling.stop for request, row in made}
        for model in dict.fromkeys(request.model for request, _ in made):
            mine = [row for request, row in made if request.model == model]
            decoded = self._encoder_of(model).texts([list(row.ids) for row in mine])
            for row, text in zip(mine, decoded, strict=True):
                texts[row.number] = truncate_at_stop(text, stops[row.number])[0]
        return [
            score_response(request, row.ids, row.logprob)
            if request.completion is not None
            else Response(
                request.key,
                request.model,
                request.task,
                request.prompt_id,
                request.sample,
                texts[row.number],
                row.ids,
                row.reason,
                row.logprob,
                request.seed if self._seeded else None,
                token_logprobs=row.token_logprobs,
            )
            for request, row in made
        ]


def _mode(given: object, on_cpu: bool, adapter: Path | None, quantize: str | None) -> str:
    """How adapters are served: on a CPU merged weights were faster as the volume grew."""
    if given not in (None, "mixed", "merged"):
        raise ConfigError(f"The engine argument 'adapters' is mixed or merged, got {given!r}.")
    if quantize is not None:
        if given == "merged":
            raise ConfigError("An adapter cannot be merged into 4 bits. Use adapters=mixed.")
        return "mixed"
    # Rows of the embedding that an adapter brings along can only be merged.
    brings_rows = adapter is not None and embedding_rows(adapter) is not None
    return str(given or ("merged" if on_cpu or brings_rows else "mixed"))


def _quantized_arguments(name: str, on_cpu: bool) -> dict[str, Any]:
    """vLLM's arguments for weights in 4 bits."""
    if name != "nf4":
        raise ConfigError(f"Unknown quantization '{name}'. Use nf4.")
    if on_cpu:
        raise ConfigError(
            "--quantize nf4 needs a CUDA device, and the vLLM that is installed here runs on 'cpu'."
            " Leave it out."
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingDependencyError.of("--quantize nf4", "bitsandbytes", "quantize")
    return {"quantization": "bitsandbytes"}


def _check_device(device: str | None) -> bool:
    """Whether vLLM runs on the CPU here."""
    import torch

    on_cpu = not torch.cuda.is_available()
    if device is not None and (device == "cpu") != on_cpu:
        have = "cpu" if on_cpu else "cuda"
        raise ConfigError(
            f"The vLLM that is installed here runs on '{have}', you asked for '{device}'. Use "
            f"--device {have}, or --engine transformers."
        )
    return on_cpu
