"""vLLM in a process of its own: embeddings, rewards, and how probable given texts are."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.child_process import Remote
from tofu_eval.core.errors import ConfigError, MissingDependencyError, ModelError
from tofu_eval.core.scratch import remove_scratch
from tofu_eval.features.causal_embedding import TEMPLATE, CausalEmbedder
from tofu_eval.features.causal_embedding import Pooling as Pooled
from tofu_eval.features.causal_model import CausalModel
from tofu_eval.features.sentence_embedder import DEFAULT_MODEL, SentenceEmbedder
from tofu_eval.features.sequence_classifier import RewardModel, Row
from tofu_eval.features.weights import first_line

Run = TypeVar("Run", bound="_Running")

CPU_CACHE = 2**30
"""Bytes of cache on a CPU, unless VLLM_CPU_KVCACHE_SPACE (GiB) says otherwise."""


def require_vllm(purpose: str) -> None:
    """Raise MissingDependencyError where vLLM is not installed."""
    if importlib.util.find_spec("vllm") is None:
        raise MissingDependencyError.of(purpose, "vllm", "vllm")


class _Running:
    """A vLLM in a process of its own.

    Args:
        path: the model's directory.
        title: what messages call it.
        arguments: further arguments of `vllm.LLM`.

    Raises:
        ModelError: vLLM cannot load the model.
    """

    made_of: type

    def __init__(self, path: Path, title: str, arguments: Mapping[str, Any]) -> None:
        import torch

        ours: dict[str, Any] = {"dtype": "auto", "disable_log_stats": True}
        environment = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
        if not torch.cuda.is_available():
            ours |= {
                "dtype": "float32",
                "enable_chunked_prefill": False,
                "kv_cache_memory_bytes": CPU_CACHE,
            }
            environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        self._remote = Remote(
            self.made_of, title, str(path), {**ours, **arguments}, environment=environment
        )
        self._remote.call("wait")  # loads it now, so that a failure is told before any work

    def close(self) -> None:
        """End the process."""
        self._remote.close()


class _Pooler:
    """vLLM itself, in the process that holds it."""

    def __init__(self, model: str, arguments: Mapping[str, Any]) -> None:
        import vllm

        self._llm = vllm.LLM(model, runner="pooling", **arguments)

    def wait(self) -> None:
        """Nothing: it is loaded."""

    def rows(self, task: str, rows: Sequence[Sequence[int]]) -> list[list[float]]:
        """A row of numbers for each row of token ids."""
        from vllm import PoolingParams

        # For a reward its default activation squeezes the logit into (0, 1); for an embedding it is
        # the scaling to unit length, which is done where they are received.
        outputs = self._llm.encode(
            [{"prompt_token_ids": list(row)} for row in rows],
            pooling_params=PoolingParams(use_activation=False),
            pooling_task=task,
            use_tqdm=False,
        )
        return [[float(x) for x in output.outputs.data.reshape(-1)] for output in outputs]


class _PromptScorer:
    """vLLM itself, in the process that holds it."""

    def __init__(self, model: str, arguments: Mapping[str, Any]) -> None:
        import vllm

        self._llm = vllm.LLM(model, enable_prefix_caching=False, **arguments)

    def wait(self) -> None:
        """Nothing: it is loaded."""

    def log_probabilities(self, rows: Sequence[Sequence[int]]) -> list[list[float]]:
        """The log-probabilities of the tokens of each row but its first."""
        from vllm import SamplingParams

        outputs = self._llm.generate(
            [{"prompt_token_ids": list(row)} for row in rows],
            SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0),
            use_tqdm=False,
        )
        return [
            [
                found[token].logprob
                for token, found in zip(row[1:], output.prompt_logprobs[1:], strict=True)
            ]
            for row, output in zip(rows, outputs, strict=True)
        ]


class PromptScores(_Running):
    """A running vLLM that says how probable the tokens of given texts are."""

    made_of = _PromptScorer

    def log_probabilities(self, ids: Sequence[Sequence[int]]) -> list[NDArray[np.float64]]:
        """Of the tokens of each row but its first, in nats; ModelError if it fails."""
        rows = self._remote.call("log_probabilities", [list(row) for row in ids])
        return [np.asarray(row, dtype=np.float64) for row in rows]


class Pooling(_Running):
    """A running vLLM that pools."""

    made_of = _Pooler

    def rows(
        self, task: Literal["embed", "classify"], ids: Sequence[Sequence[int]]
    ) -> NDArray[np.float32]:
        """(len(ids), width): vectors, or logits without an activation; ModelError if it fails."""
        rows = self._remote.call("rows", task, [list(row) for row in ids])
        return np.asarray(rows, dtype=np.float32)


class VllmFiles:
    """A causal language model's files as vLLM takes them: an adapter is merged into the weights.

    Args:
        model: which.
        option: the flag that names it, for errors.
        instead: what to use where vLLM cannot, for errors.

    Raises:
        ModelError: there are no files that vLLM could read.
    """

    def __init__(self, model: CausalModel, option: str, instead: str) -> None:
        if model.resolved is None:
            raise ModelError(
                f"vLLM cannot read the quantized file that stands in for '{model.name}' where the "
                f"Hub is out of reach. Give a directory: {option} DIRECTORY, or use {instead}"
            )
        self._resolved, self._name = model.resolved, model.name
        self._merged: Path | None = None

    def open(self, kind: type[Run], title: str, arguments: Mapping[str, Any]) -> Run:
        """A vLLM that has loaded the model; what was merged is there until `close`.

        Raises:
            ModelError: the adapter does not fit, or vLLM cannot load the model.
        """
        import torch

        from tofu_eval.engines.adapters import merge

        path = self._resolved.base
        if self._resolved.adapter is not None:
            dtype = "auto" if torch.cuda.is_available() else "float32"
            path = self._merged = merge(self._resolved, self._name, dtype, trust_remote_code=False)
        try:
            return kind(path, title, {"tokenizer": str(self._resolved.tokenizer), **arguments})
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Delete what was merged."""
        if self._merged is not None:
            remove_scratch(self._merged)
            self._merged = None


class VllmCausalEmbedder(CausalEmbedder):
    """The feature "embedding" from vLLM's pooling of a causal language model; unit vectors.

    What `CausalEmbedder` makes of the state after the last layer at the template's last token: the
    only one that vLLM hands out.

    Args:
        model: as `CausalModel` takes it.
        template: as there.
        layers: None, or the last.
        pooling: "last".
        arguments: further arguments of `vllm.LLM`.

    Raises:
        ConfigError: other layers, another pooling.
        ModelError: the model cannot be found, or has no files that vLLM could read.
        MissingDependencyError: vLLM is not installed.
    """

    def __init__(
        self,
        model: str,
        *,
        template: str = TEMPLATE,
        layers: str | None = None,
        pooling: Pooled = "last",
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        require_vllm("Embeddings on vLLM")
        super().__init__(model, template=template, layers=layers or "1.0", pooling=pooling)
        self._files = VllmFiles(self._model, "--embedding-model", "--embedding-engine causal-lm")
        depth = self._model.depth
        if pooling != "last" or self._layers != [depth]:
            raise ConfigError(
                "vLLM gives the state after the last layer at the last token. Leave out "
                f"--embedding-pooling and --embedding-layers (or say {depth}), or use "
                "--embedding-engine causal-lm"
            )
        self.identity = {**self.identity, "engine": "vllm"}
        self.signature = f"{self.signature}|vllm"
        self._arguments = dict(arguments or {})
        self._pooler: Pooling | None = None

    def close(self) -> None:
        """End vLLM's process; the next `compute` starts another."""
        if self._pooler is not None:
            self._pooler.close()
            self._pooler = None
        self._files.close()

    def _pool(self, rows: Sequence[list[int]], before: int, after: int) -> list[NDArray[Any]]:
        if self._pooler is None:
            title = f"vLLM with the language model '{self._model.name}'"
            self._pooler = self._files.open(Pooling, title, self._arguments)
        return [vector[None] for vector in self._pooler.rows("embed", rows)]


class VllmEmbedder(SentenceEmbedder):
    """The feature "embedding" from vLLM, in a process of its own; unit vectors.

    The tokenizer and the longest text are those of the sentence-transformers model, so that the
    same texts are cut at the same place.

    Args:
        model: a local directory or a Hub id (`@revision`).
        arguments: further arguments of `vllm.LLM`.

    Raises:
        ModelError: as `SentenceEmbedder`; vLLM cannot load the model, or its process dies.
        MissingDependencyError: vLLM is not installed.
    """

    def __init__(
        self, model: str = DEFAULT_MODEL, *, arguments: Mapping[str, Any] | None = None
    ) -> None:
        require_vllm("Embeddings on vLLM")
        super().__init__(model, device="cpu")
        self.identity = {**self.identity, "engine": "vllm"}
        self.signature = f"{self.signature}|vllm"
        self._arguments = dict(arguments or {})
        self._pooling: Pooling | None = None

    def close(self) -> None:
        """End vLLM's process; the next `compute` starts another."""
        if self._pooling is not None:
            self._pooling.close()
            self._pooling = None
        super().close()

    def _encode(self, texts: list[str]) -> tuple[NDArray[np.float32], int]:
        if self._pooling is None:
            title = f"vLLM with the embedding model '{self._model}'"
            self._pooling = Pooling(self._path, title, self._arguments)
        limit = self._encoder.max_seq_length
        try:
            ids = self._encoder.tokenizer(
                texts, truncation=limit is not None, max_length=limit, verbose=False
            )["input_ids"]
            sizes = map(len, self._token_ids(texts))
        except Exception as error:
            raise ModelError(
                f"The tokenizer of the embedding model '{self._model}' failed: "
                f"{first_line(error)}. Give another: --embedding-model PATH_OR_ID"
            ) from error
        vectors = self._pooling.rows("embed", ids)
        if not np.isfinite(vectors).all():
            raise ModelError(
                f"The embedding model '{self._model}' gave NaN or infinite numbers in vLLM. "
                "Use --embedding-engine sentence-transformers"
            )
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
        unit: NDArray[np.float32] = (vectors / lengths).astype(np.float32)
        return unit, sum(limit is not None and size > limit for size in sizes)


class VllmRewardModel(RewardModel):
    """The feature "reward" from vLLM, in a process of its own; raw logits, no activation.

    Args:
        model: a local directory or a Hub id (`@revision`).
        arguments: further arguments of `vllm.LLM`.

    Raises:
        ModelError: as `RewardModel`; vLLM cannot load the model, or its process dies.
        MissingDependencyError: vLLM is not installed.
    """

    def __init__(self, model: str, *, arguments: Mapping[str, Any] | None = None) -> None:
        require_vllm("A reward model on vLLM")
        super().__init__(model, batch_size=4096)
        self.identity = {**self.identity, "engine": "vllm"}
        self.signature = f"{self.signature}|vllm"
        self._arguments = dict(arguments or {})

    def close(self) -> None:
        """End vLLM's process; the next `compute` starts another."""
        if self._scorer is not None:
            self._scorer.close()
            self._scorer = None

    def _load(self) -> Pooling:
        title = f"vLLM with the reward model '{self._model}'"
        return Pooling(self._path, title, self._arguments)

    def _score(self, rows: Sequence[Row]) -> list[float]:
        ids = [row["input_ids"] for row in rows]
        return [float(x) for x in self._scorer.rows("classify", ids)[:, 0]]
