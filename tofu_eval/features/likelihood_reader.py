"""What gives log-probabilities of texts after a prompt: transformers, vLLM, a server."""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.child_process import Remote
from tofu_eval.core.errors import ModelError
from tofu_eval.features.causal_model import CausalModel, Ids

OPTION = "--likelihood-model"

Pass = tuple[str, tuple[str, ...]]
"""A prompt, which may be empty, and responses to it in an order."""

Rows = NDArray[np.float64]
"""(responses, 2): log-probability in nats, and number of tokens."""


class Reader(Protocol):
    """Reads responses one after the other, each after the prompt and those before it.

    `windowed` counts the single responses so far that were read in several windows.
    """

    identity: Mapping[str, Any]
    signature: str
    windowed: int

    def read(self, passes: Sequence[Pass]) -> list[Rows]:
        """Nats and tokens of the responses of each pass; NaN where several are too long together.

        Raises:
            ModelError: the model fails, or gives no finite numbers.
        """
        ...

    def close(self) -> None:
        """Give the model's memory back; the next `read` loads it again."""
        ...


def open_reader(
    engine: str,
    model: str,
    *,
    window: int,
    url: str | None = None,
    device: str | None = None,
    isolate: bool = False,
) -> Reader:
    """The reader of an engine: "transformers", "vllm" or "openai".

    Raises:
        ModelError: the model cannot be found.
        MissingDependencyError: a package is not installed.
    """
    if engine == "openai":
        return ServedReader(model, url)
    if engine == "vllm":
        return VllmReader(model, window=window)
    made = IsolatedReader if isolate else CausalReader
    return made(model, window=window, device=device)


def lay_out(prompt: str, texts: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """What the model reads of a pass, and where in it each response stands."""
    whole = prompt.strip("\n")
    spans = []
    for number, text in enumerate(texts):
        whole += ("\n\n" if whole else "") + f"Response {label_of(number)}: "
        spans.append((len(whole), len(whole) + len(text)))
        whole += text
    return whole, spans


def label_of(number: int) -> str:
    """A, B, ..., Z, AA, AB, ... for 0, 1, ..."""
    label = ""
    number += 1
    while number:
        number, letter = divmod(number - 1, 26)
        label = string.ascii_uppercase[letter] + label
    return label


def tokens_of(spans: Iterable[tuple[int, int]], offsets: Sequence[tuple[int, int]]) -> list[range]:
    """For each span of characters, the numbers of the tokens that have one of them."""
    found = []
    for start, end in spans:
        inside = [i for i, (first, last) in enumerate(offsets) if last > start and first < end]
        found.append(range(inside[0], inside[-1] + 1) if inside else range(0))
    return found


class CausalReader:
    """Any causal language model of transformers, see `CausalModel`.

    Args:
        model: as `CausalModel` takes it.
        window: most tokens that are read at once, at most what the model can.
        device: as PyTorch names it.
    """

    def __init__(self, model: str, *, window: int, device: str | None = None) -> None:
        self._model = CausalModel(model, OPTION, device=device)
        self._asked = window
        self.windowed = 0
        self.identity: Mapping[str, Any] = {**self._model.identity, "window": window}
        self.signature = f"{self._model.signature}|window:{window}"

    def read(self, passes: Sequence[Pass]) -> list[Rows]:
        """See `Reader`."""
        laid = [lay_out(*one) for one in passes]
        coded = [self._encode(whole) for whole, _ in laid]
        single = [len(texts) == 1 for _, texts in passes]
        window = self._window
        rows: list[Ids] = []
        parts: list[list[tuple[int, int]]] = []  # of each pass: row, and first token it counts for
        for (ids, _), alone in zip(coded, single, strict=True):
            parts.append([])
            if len(ids) > window and not alone:
                continue
            self.windowed += len(ids) > window
            for start, counts_from in _windows(len(ids), window):
                parts[-1].append((len(rows), counts_from))
                rows.append(ids[start : start + window])
        nats = dict(self._log_probabilities(rows))
        found = []
        for (_, offsets), (_, spans), some in zip(coded, laid, parts, strict=True):
            if not some:
                found.append(np.full((len(spans), 2), np.nan))
                continue
            # The first token of all has nothing before it, and belongs to the prompt's side.
            each = np.concatenate([[0.0], *(nats[row][-count:] for row, count in some)])
            tokens = [range(max(1, t.start), t.stop) for t in tokens_of(spans, offsets)]
            found.append(np.array([[each[t.start : t.stop].sum(), len(t)] for t in tokens]))
        self._check(found, [bool(some) for some in parts])
        return found

    def close(self) -> None:
        """See `Reader`."""
        self._model.close()

    @property
    def _window(self) -> int:
        return min(self._asked, self._model.limit)

    def _log_probabilities(self, rows: Sequence[Ids]) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """The number of each row, and the log-probabilities of its tokens but the first."""
        for batch, values in self._model.log_probabilities(rows):
            for place, number in enumerate(batch):
                kept = values[place, : len(rows[number]) - 1]
                yield number, kept.numpy().astype(np.float64)

    def _encode(self, text: str) -> tuple[Ids, list[tuple[int, int]]]:
        """Token ids, with what the tokenizer begins a text with, and their characters."""
        tokenizer = self._model.tokenizer
        if not tokenizer.is_fast:
            raise ModelError(
                f"The tokenizer of '{self._model.name}' does not say which characters a token "
                f"has. Give a model with a fast tokenizer: {OPTION} PATH_OR_ID"
            )
        coded = tokenizer(text, verbose=False, return_offsets_mapping=True)
        ids, offsets = list(coded["input_ids"]), list(coded["offset_mapping"])
        while (
            len(ids) > 1 and ids[-1] == tokenizer.eos_token_id and offsets[-1][0] == offsets[-1][1]
        ):
            ids.pop(), offsets.pop()
        return ids, offsets

    def _check(self, found: Sequence[Rows], read: Sequence[bool]) -> None:
        for rows, was_read in zip(found, read, strict=True):
            if was_read and not np.isfinite(rows).all():
                raise ModelError(
                    f"'{self.signature}' gave NaN or infinite numbers. "
                    f"Give another: {OPTION} PATH_OR_ID"
                )


class IsolatedReader(CausalReader):
    """A `CausalReader` whose weights are loaded, and asked, in a child process."""

    def __init__(self, model: str, *, window: int, device: str | None = None) -> None:
        super().__init__(model, window=window, device=device)
        self._before = 0
        title = "The model of the feature 'likelihood'"
        self._remote = Remote(CausalReader, title, model, window=window, device=device)

    def read(self, passes: Sequence[Pass]) -> list[Rows]:
        """See `Reader`."""
        found: list[Rows] = self._remote.call("read", list(passes))
        self.windowed = self._before + self._remote.get("windowed")
        return found

    def close(self) -> None:
        """See `Reader`."""
        self._before = self.windowed
        self._remote.close()


class VllmReader(CausalReader):
    """A model on vLLM, in a process of its own, by its log-probabilities of a prompt.

    An adapter is merged into the weights, in a temporary folder: what vLLM serves is one model.

    Args:
        model: a local directory, a Hub id (`@revision`) or BASE+ADAPTER.
        window: most tokens that are read at once, at most what the model can.
        arguments: further arguments of `vllm.LLM`.
    """

    def __init__(
        self, model: str, *, window: int, arguments: Mapping[str, Any] | None = None
    ) -> None:
        from tofu_eval.features.vllm import VllmFiles, require_vllm

        require_vllm("Likelihoods on vLLM")
        super().__init__(model, window=window)
        self._files = VllmFiles(self._model, OPTION, "--likelihood-engine transformers")
        self.identity = {**self.identity, "engine": "vllm"}
        self.signature = f"{self.signature}|vllm"
        self._arguments = dict(arguments or {})
        self._scorer: Any = None

    def close(self) -> None:
        """See `Reader`."""
        if self._scorer is not None:
            self._scorer.close()
            self._scorer = None
        self._files.close()

    @property
    def _window(self) -> int:
        return min(self._asked, self._model.limit - 1)  # vLLM has to draw a token

    def _log_probabilities(self, rows: Sequence[Ids]) -> Iterator[tuple[int, NDArray[np.float64]]]:
        from tofu_eval.features.vllm import PromptScores

        if self._scorer is None:
            title = f"vLLM with the language model '{self._model.name}'"
            arguments = {"max_model_len": self._window + 1, **self._arguments}
            self._scorer = self._files.open(PromptScores, title, arguments)
        yield from enumerate(self._scorer.log_probabilities(rows))


class ServedReader:
    """A model behind OpenAI's `/completions`, on a server that echoes the prompt with logprobs.

    A pass goes as it is: one that is longer than the model reads is the server's to refuse.

    Args:
        model: its name on the server.
        url: the server's address.
    """

    def __init__(self, model: str, url: str | None) -> None:
        from tofu_eval.features.served import DEADLINE, Server

        self._server = Server(url, model, "--likelihood-base-url", deadline=DEADLINE)
        self.identity: Mapping[str, Any] = {"kind": "server", "id": model}
        self.signature = f"{model}@server"
        self.windowed = 0

    def read(self, passes: Sequence[Pass]) -> list[Rows]:
        """See `Reader`."""
        laid = [lay_out(*one) for one in passes]
        bodies = [
            {"prompt": whole, "echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0.0}
            for whole, _ in laid
        ]
        answers = self._server.post("/completions", bodies, field="choices")
        return [
            self._rows(choices, whole, spans)
            for choices, (whole, spans) in zip(answers, laid, strict=True)
        ]

    def close(self) -> None:
        """Nothing is held between calls."""

    def _rows(self, choices: Sequence[Any], whole: str, spans: list[tuple[int, int]]) -> Rows:
        choice = choices[0] if choices and isinstance(choices[0], dict) else {}
        told = choice.get("logprobs")
        told = told if isinstance(told, dict) else {}
        values, starts = told.get("token_logprobs") or [], told.get("text_offset") or []
        if not str(choice.get("text") or "").startswith(whole) or len(values) != len(starts):
            raise self._refused()
        offsets = list(zip(starts, [*starts[1:], len(whole)], strict=True))
        # The token that it had to draw begins where the text ends.
        offsets = [(a, b) if a < len(whole) else (a, a) for a, b in offsets]
        rows = []
        for tokens in tokens_of(spans, offsets):
            some = [values[i] for i in tokens if i]
            if not some or not all(isinstance(v, int | float) and np.isfinite(v) for v in some):
                raise self._refused()
            rows.append([sum(some), len(some)])
        return np.array(rows, dtype=np.float64)

    def _refused(self) -> ModelError:
        return ModelError(
            f"The server {self._server.url} gives no log-probabilities of a given text (echo with "
            "logprobs), which the feature 'likelihood' needs. Use --likelihood-engine "
            "transformers or vllm."
        )


def _windows(length: int, window: int) -> list[tuple[int, int]]:
    """Starts of windows that overlap by half, and how many tokens at its end each counts for."""
    found = [(0, min(length, window) - 1)]
    end = window
    while end < length:
        start = min(end - window // 2, length - window)
        new = min(length, start + window) - end
        found.append((start, new))
        end += new
    return found
