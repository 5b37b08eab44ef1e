"""The transformers engine: batches across prompts, and rows that do not depend on their batch.

Batches are cut from the full list of requests, so that a resumed run makes the same batches as an
undisturbed one. The generation loop, its cache and its stopping are transformers' own; the draw
is ours (`sampler.py`).
"""

from __future__ import annotations

import importlib.util
import inspect
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import transformers
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from tofu_eval.core.errors import MissingDependencyError, ModelError
from tofu_eval.core.memory import (
    forget_frames,
    free_memory,
    is_out_of_memory,
    reserve_memory,
)
from tofu_eval.core.models import resolve
from tofu_eval.core.types import ALWAYS_OFF, ModelSpec, Report, Request, Response, no_report
from tofu_eval.engines.base import score_response, truncate_at_stop
from tofu_eval.engines.loading import (
    check_quantize,
    load,
    pick_device,
    pick_dtype,
)
from tofu_eval.engines.prompts import Encoder, open_encoder
from tofu_eval.engines.sampler import Draw


@dataclass(frozen=True, slots=True)
class _Row:
    request: Request
    ids: list[int]
    completion: int = 0
    """How many of the ids, at their end, are to be scored."""


class TransformersEngine:
    """A causal language model of the transformers library; see `base.Engine`.

    Constructing it finds the files and settles `identity`; the model is loaded when it is first
    needed, so that a finished run loads nothing.

    Args:
        spec: which model; an adapter is loaded without merging it.
        batch_size: rows (responses) made at once; halves for good when memory runs out.
        device: "cuda", "mps", "cpu", …; by default the first of these that is there.
        dtype: auto, float32, bfloat16 or float16; by default the weights' own type on an
            accelerator and float32 on the CPU.
        trust_remote_code: run Python code that comes with the model.
        report: told about the loading, and a GGUF file's conversion, as (stage, done, total).
        chat_template_kwargs: what the chat template is given beside the messages.
        quantize: "nf4" loads the weights in 4 bits, which needs a CUDA device.

    Raises:
        ModelError: the model cannot be found.
        ConfigError: there is no such device or dtype, or none to quantize for.
        MissingDependencyError: an adapter without the package peft.
    """

    family = "transformers"
    scores = True
    _shares = True  # until a cache is met that cannot be shared between rows

    def __init__(
        self,
        spec: ModelSpec,
        *,
        batch_size: int = 128,
        device: str | None = None,
        dtype: str | None = None,
        trust_remote_code: bool = False,
        report: Report = no_report,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        quantize: str | None = None,
    ) -> None:
        self._device = pick_device(device)
        self._dtype = pick_dtype(dtype, self._device)
        self._quantize = check_quantize(quantize, self._device)
        self._resolved = resolve(spec, report)
        if self._resolved.adapter is not None and importlib.util.find_spec("peft") is None:
            raise MissingDependencyError.of("An adapter", "peft", "hf")
        self._name = spec.name
        self._rows = self._batch_size = batch_size
        self._trust_remote_code = trust_remote_code
        self._report = report
        self._template_kwargs = dict(chat_template_kwargs or {})
        self.identity: Mapping[str, Any] = {
            **self._resolved.identity,
            "dtype": self._dtype,
            **({"quantize": quantize} if quantize else {}),
            **({"chat_template_kwargs": self._template_kwargs} if self._template_kwargs else {}),
        }
        self.record: dict[str, Any] = {
            "sampling": dict(ALWAYS_OFF), "sampler": "tofu-eval, a stream of its own for each row"
        }  # fmt: skip

    def generate(
        self, requests: Sequence[Request], done: Collection[str] = ()
    ) -> Iterator[list[Response]]:
        """Yield one list a batch, longest prompts first; see `base.Engine.generate`.

        Raises:
            ModelError: the model cannot be loaded, or a prompt is too long, empty or without a
                chat template, before anything is generated; a single row that does not fit into
                memory; logits that are not numbers.
        """
        for batch in self._batches(requests):
            left = {row.request.key for row in batch}.difference(done)
            if left:
                made = self._make(batch)
                yield [response for response in made if response.key in left]

    def close(self) -> None:
        """Give the model's memory back; the engine cannot be used any more."""
        self.__dict__.pop("_loaded", None)
        free_memory()

    # Before anything is generated

    @property
    def encoders(self) -> dict[str, Encoder]:
        """The encoder, read from the files alone, for the audit."""
        encoder = open_encoder(
            self._resolved,
            self._name,
            trust_remote_code=self._trust_remote_code,
            template_kwargs=self._template_kwargs,
        )
        return {self._name: encoder}

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """The model and its tokenizer, loaded when they are first needed."""
        self._report(f"load {self._name}", 0, 1)
        model, tokenizer = load(
            self._resolved,
            self._name,
            device=self._device,
            dtype=self._dtype,
            trust_remote_code=self._trust_remote_code,
            quantize=self._quantize,
        )
        self._encoder = Encoder.of(
            self._name,
            tokenizer,
            model.config,
            model.generation_config,
            len(model.get_input_embeddings().weight),
            self._template_kwargs,
        )
        self._ends = self._encoder.ends
        # Whatever is unset in our own configuration would be filled from the model's: a top_k or
        # a repetition penalty must not slip into the measurement. An adapter asks its base.
        core = model if self._resolved.adapter is None else model.get_base_model()
        core.generation_config = transformers.GenerationConfig()
        self._report(f"load {self._name}", 1, 1)
        return model, tokenizer

    @property
    def _model(self) -> Any:
        return self._loaded[0]

    @cached_property
    def _can_skip(self) -> bool:
        """Whether the model can be asked for the last logits alone."""
        core = getattr(self._model, "get_base_model", lambda: self._model)()
        return "logits_to_keep" in inspect.signature(core.forward).parameters

    def _batches(self, requests: Sequence[Request]) -> list[list[_Row]]:
        """Check every request, then cut: rows of one batch share their decoder."""
        _ = self._loaded
        groups: dict[Any, list[_Row]] = {}
        for request, ids in zip(requests, self._encoder.encode_all(requests), strict=True):
            decoder = tuple(request.sampling.decoder().values())
            if request.completion is None:
                groups.setdefault(decoder, []).append(_Row(request, ids))
            else:
                added = self._encoder.encode_completion(request, ids)
                row = _Row(request, ids + added, len(added))
                groups.setdefault("likelihood", []).append(row)
        size = self._batch_size
        batches = []
        for rows in groups.values():
            # Longest first: what memory cannot hold shows at once.
            rows.sort(key=lambda row: -len(row.ids))
            batches += [rows[start : start + size] for start in range(0, len(rows), size)]
        return batches

    # Generation

    def _make(self, batch: Sequence[_Row]) -> list[Response]:
        """The responses of a batch, in as many pieces as the memory asks for."""
        responses: list[Response] = []
        while len(responses) < len(batch):
            piece = batch[len(responses) : len(responses) + self._rows]
            finished = self._attempt(piece)
            if finished is None:
                self._rows = (len(piece) + 1) // 2
                free_memory()
            else:
                responses += finished
        return responses

    def _attempt(self, rows: Sequence[_Row]) -> list[Response] | None:
        """The responses, or None where memory ran out and there is something to halve."""
        reserve = None
        try:
            reserve = reserve_memory()
            return self._decode(rows)
        except (RuntimeError, MemoryError, OSError) as error:
            if reserve is not None:
                reserve.close()  # before anything else: what is done here needs some
            if not is_out_of_memory(error):
                raise
            forget_frames(error)
            if len(rows) > 1:
                return None
            row = rows[0]
            raise ModelError(
                f"'{self._name}' runs out of memory on a single response of prompt "
                f"'{row.request.prompt_id}' ({len(row.ids)} tokens, max_tokens "
                f"{row.request.sampling.max_tokens}). What is finished is kept: run the same "
                "command again with more memory, or another with --dtype bfloat16, fewer "
                "--max-tokens or another --device."
            ) from error
        finally:
            if reserve is not None:
                reserve.close()

    def _decode(self, rows: Sequence[_Row]) -> list[Response]:
        if rows[0].completion:
            return self._score(rows)
        sampling = rows[0].request.sampling
        width = max(len(row.ids) for row in rows)
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, width - len(row.ids) :] = torch.tensor(row.ids)
            mask[i, width - len(row.ids) :] = 1
        padding = [width - len(row.ids) for row in rows]
        draw = Draw([r.request.seed for r in rows], sampling, padding)
        watch = [StopWatch(self._encoder, sampling.stop, width)] if sampling.stop else []
        ids, mask = ids.to(self._device), mask.to(self._device)
        sequences = self._model.generate(
            input_ids=ids,
            attention_mask=mask,
            **self._read_prompts(rows, ids, mask),
            generation_config=self._configuration(sampling.max_tokens),
            logits_processor=transformers.LogitsProcessorList([draw]),
            stopping_criteria=transformers.StoppingCriteriaList(watch),
        )
        tokens = sequences[:, width:].tolist()
        logprobs = torch.stack(draw.logprobs, dim=1).double().cpu()
        lengths = [self._length(row) for row in tokens]
        if watch:
            lengths = [min(n, watch[0].length(i, n)) for i, n in enumerate(lengths)]
        each = [logprobs[i, :n].tolist() for i, n in enumerate(lengths)]
        self._check_finite(rows, [math.fsum(one) for one in each])
        return self._responses(rows, [t[:n] for t, n in zip(tokens, lengths, strict=True)], each)

    def _read_prompts(
        self, rows: Sequence[_Row], ids: torch.Tensor, mask: torch.Tensor
    ) -> dict[str, Any]:
        """What `generate` begins with: the cache of all but each row's last token.

        Each prompt is read once for all of its rows. Empty where no prompt has several rows, or
        the cache holds more than keys and values.
        """
        places: dict[tuple[int, ...], int] = {}
        place_of = [places.setdefault(tuple(row.ids), len(places)) for row in rows]
        if not self._shares or len(places) == len(rows) or min(map(len, places)) < 2:
            return {}
        firsts = [place_of.index(place) for place in range(len(places))]
        read = self._model.generate(
            input_ids=ids[firsts, :-1],
            attention_mask=mask[firsts, :-1],
            generation_config=self._configuration(1, return_dict_in_generate=True),
        )
        cache: Any = getattr(read, "past_key_values", None)
        self._shares = can_repeat_rows(cache)
        if not self._shares:
            return {}
        cache.reorder_cache(torch.tensor(place_of, device=self._device))
        return {"past_key_values": cache}

    def _score(self, rows: Sequence[_Row]) -> list[Response]:
        """The completions with their log-probabilities: one forward pass, padded on the right."""
        width = max(len(row.ids) for row in rows)
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, : len(row.ids)] = torch.tensor(row.ids)
            mask[i, : len(row.ids)] = 1
        # Of the logits, which are far the largest, those before all completions are not wanted.
        first = min(len(row.ids) - row.completion for row in rows) - 1 if self._can_skip else 0
        kept = {"logits_to_keep": width - first} if first else {}
        with torch.inference_mode():
            logits = self._model(
                input_ids=ids.to(self._device), attention_mask=mask.to(self._device), **kept
            ).logits
            sums = [
                float(_log_probability(logits[i], row.ids[first:], row.completion))
                for i, row in enumerate(rows)
            ]
        self._check_finite(rows, sums)
        return [
            score_response(row.request, tuple(row.ids[-row.completion :]), total)
            for row, total in zip(rows, sums, strict=True)
        ]

    def _configuration(self, max_tokens: int, **options: Any) -> Any:
        return transformers.GenerationConfig(
            max_new_tokens=max_tokens,
            eos_token_id=list(self._ends) or None,
            # Any token will do: padding is masked, and what follows an end is cut off.
            pad_token_id=self._ends[0] if self._ends else 0,
            do_sample=False,
            use_cache=True,
            **options,
        )

    def _length(self, tokens: Sequence[int]) -> int:
        """How many tokens the response has, its end token included."""
        ends = (i + 1 for i, token in enumerate(tokens) if token in self._ends)
        return next(ends, len(tokens))

    def _check_finite(self, rows: Sequence[_Row], sums: Sequence[float]) -> None:
        for row, total in zip(rows, sums, strict=True):
            if not math.isfinite(total):
                raise ModelError(
                    f"'{self._name}' is broken: its logits on prompt '{row.request.prompt_id}' of "
                    f"task '{row.request.task}' are NaN or infinite. Check its weights, or use "
                    "--dtype float32."
                )

    def _responses(
        self, rows: Sequence[_Row], tokens: Sequence[list[int]], logprobs: Sequence[list[float]]
    ) -> list[Response]:
        texts = self._encoder.texts(tokens)
        cut = [
            truncate_at_stop(text, row.request.sampling.stop)
            for row, text in zip(rows, texts, strict=True)
        ]
        stopped = [
            at_stop or ids[-1] in self._ends for (_, at_stop), ids in zip(cut, tokens, strict=True)
        ]
        texts = [text for text, _ in cut]
        return [
            Response(
                row.request.key,
                row.request.model,
                row.request.task,
                row.request.prompt_id,
                row.request.sample,
                text,
                tuple(ids),
                "stop" if stop else "length",
                math.fsum(each),
                row.request.seed,
                token_logprobs=tuple(each) if row.request.token_logprobs else None,
            )
            for row, text, ids, stop, each in zip(
                rows, texts, tokens, stopped, logprobs, strict=True
            )
        ]


def can_repeat_rows(cache: Any) -> bool:
    """Whether a cache holds keys and values alone: of others it is not known what a row is."""
    return type(cache) is transformers.DynamicCache and all(
        type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in cache.layers
    )


class StopWatch(transformers.StoppingCriteria):  # type: ignore[misc]
    """Ends a row as soon as its text holds a stop string.

    Transformers' own criterion matches tokens and not text: it would end rows elsewhere than a
    server does.

    Args:
        encoder: makes texts of tokens.
        stop: the strings.
        width: tokens of the prompt, padding included.
    """

    def __init__(self, encoder: Encoder, stop: Sequence[str], width: int) -> None:
        self._encoder = encoder
        self._stop = stop
        self._width = width
        # A token has a byte at least, but for special ones; the rest is for half characters.
        self._window = max(len(word.encode()) for word in stop) + 8
        self._lengths: dict[int, int] = {}

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        """Which rows are done, (rows,)."""
        rows = input_ids[:, self._width :].tolist()
        open_ = [i for i in range(len(rows)) if i not in self._lengths]
        ends = self._encoder.texts([rows[i][-self._window :] for i in open_])
        for i, end in zip(open_, ends, strict=True):
            if any(word in end for word in self._stop):
                self._lengths[i] = len(rows[i])
        done = [i in self._lengths for i in range(len(rows))]
        return torch.tensor(done, dtype=torch.bool, device=input_ids.device)

    def length(self, row: int, otherwise: int) -> int:
        """How many tokens a row has up to its stop string."""
        return self._lengths.get(row, otherwise)


def _log_probability(logits: torch.Tensor, ids: Sequence[int], count: int) -> torch.Tensor:
    """Sum of the log-probabilities of the last `count` of `ids`; logits (length, vocabulary)."""
    end = len(ids)
    logprobs = logits[end - count - 1 : end - 1].float().log_softmax(-1)
    chosen = torch.tensor(list(ids[end - count :]), device=logits.device)
    return logprobs.gather(1, chosen[:, None]).double().sum()
