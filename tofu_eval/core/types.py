"""The nouns: what flows through the house; `tables.py` has the Arrow schema of each table.

Task -> Prompt -> Response -> Group -> Score -> Estimate, all inside one Run (`run/store.py`).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from json.encoder import encode_basestring_ascii
from typing import Any, Literal

from tofu_eval.core.errors import ConfigError, DataError
from tofu_eval.core.names import LONGEST_ID
from tofu_eval.core.states import State, count_states

PromptFormat = Literal["base", "sft", "chat", "paper", "paper-math"]
Scoring = Literal["generate", "likelihood"]

Report = Callable[[str, int, int], None]
"""Progress: `report(stage, done, total)`; a stage is over when done == total."""

REFERENCE = "reference_"
"""How the name of a feature begins that belongs to a prompt's references."""

OF_PROMPT = "prompt_"
"""How the name of a feature begins that belongs to the prompt, one row a part of its text."""


def feature_of(need: str) -> str:
    """The feature that makes an input: "embedding" for reference_embedding, prompt_embedding."""
    return need.removeprefix(REFERENCE).removeprefix(OF_PROMPT)


ALWAYS_OFF: Mapping[str, float] = {"presence_penalty": 0.0, "frequency_penalty": 0.0}
"""What no decoder of ours does."""

NEUTRAL_SAMPLING: Mapping[str, float] = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    **ALWAYS_OFF,
}
"""The values at which a setting of a decoder does nothing. Engines send them nevertheless: left
out, transformers and servers fill in their own (top-k 50, a model's generation config)."""


def digest(value: object) -> str:
    """Hex SHA-256 of a JSON-able value; equal values have equal digests on every machine."""
    if type(value) is str:  # the same, several times as fast
        text = encode_basestring_ascii(value)
    else:
        text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def seed_of(*parts: object) -> int:
    """A 32-bit seed that depends on JSON-able parts: what every engine's generator takes whole."""
    return int(digest(parts)[:8], 16)


def no_report(stage: str, done: int, total: int) -> None:
    """A Report that says nothing."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked, with what is known about good answers.

    A plain text prompt is one user message. `references` are gold answers;
    `metadata` is for tasks and their own metrics. `paraphrases` ask the same in other words, and
    `human` are answers of people, who are a model of their own in a run; neither is stored with
    the prompt, which is what it was without them.
    """

    id: str
    messages: tuple[Message, ...]
    references: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    paraphrases: tuple[str, ...] = ()
    human: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.id) > LONGEST_ID:
            raise DataError(
                f"The id of a prompt may have at most {LONGEST_ID} characters, got {len(self.id)}: "
                f"'{self.id[:40]}…'. Shorten it, or leave ids out: prompts are then told by their "
                "text."
            )

    @classmethod
    def of_text(
        cls,
        id: str,
        text: str,
        *,
        references: Iterable[str] = (),
        metadata: Mapping[str, str] | None = None,
        paraphrases: Iterable[str] = (),
    ) -> Prompt:
        """A prompt of one user message."""
        turns = (Message("user", text),)
        return cls(id, turns, tuple(references), dict(metadata or {}), tuple(paraphrases))

    def describe(self) -> dict[str, Any]:
        """What is stored of it, JSON-able: what makes it the prompt that it is."""
        return {
            "id": self.id,
            "messages": [{"role": m.role, "content": m.content} for m in self.messages],
            "references": list(self.references),
            "metadata": dict(self.metadata),
        }

    @property
    def text(self) -> str:
        """The contents of the messages, a blank line between them."""
        return "\n\n".join(message.content for message in self.messages)

    @property
    def asked(self) -> str:
        """Its text without the system's messages, where there are others: what is talked about."""
        turns = [message for message in self.messages if message.role != "system"]
        return "\n\n".join(message.content for message in turns or self.messages)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How responses are drawn. Temperature 0 is greedy decoding.

    `top_k`, `min_p` and `repetition_penalty` are off at their defaults. In their order: the penalty
    (on tokens of the prompt and the response), the temperature, then what `min_p`, `top_k` and
    `top_p` leave. A response ends before the first of the texts in `stop`.
    """

    samples: int = 10
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 256
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, least in (("samples", 1), ("max_tokens", 1), ("top_k", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(
                    f"{name} must be a whole number of at least {least}, got {value!r}."
                )
        for name in ("temperature", "top_p", "min_p", "repetition_penalty"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ConfigError(f"{name} must be a number, got {value!r}.")
        if not math.isfinite(self.temperature) or self.temperature < 0:
            raise ConfigError(f"temperature must be at least 0, got {self.temperature}.")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p must lie in (0, 1], got {self.top_p}.")
        if not 0 <= self.min_p < 1:
            raise ConfigError(f"min_p must lie in [0, 1), got {self.min_p}.")
        if not 0 < self.repetition_penalty <= 2:
            raise ConfigError(
                f"repetition_penalty must lie in (0, 2], got {self.repetition_penalty}."
            )
        object.__setattr__(self, "stop", _check_stop(self.stop))
        if self.temperature == 0 and self.samples > 1:
            raise ConfigError(
                f"temperature 0 is greedy: all {self.samples} samples would be the same text. "
                "Use samples=1 or a temperature above 0."
            )

    def decoder(self) -> dict[str, Any]:
        """What shapes one response: all fields except how many are drawn."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "samples"}

    def describe(self) -> dict[str, Any]:
        """For a record, JSON-able: all fields but those that are off unless they are set."""
        optional = {
            "top_k": self.top_k,
            "min_p": self.min_p,
            "repetition_penalty": self.repetition_penalty,
            "stop": list(self.stop),
        }
        used = {k: v for k, v in optional.items() if v and v != NEUTRAL_SAMPLING.get(k)}
        always = ("samples", "temperature", "top_p", "max_tokens")
        return {**{name: getattr(self, name) for name in always}, **used}


def _check_stop(stop: object) -> tuple[str, ...]:
    """Stop strings as a tuple, each once; ConfigError for what is no list of texts."""
    texts = [stop] if isinstance(stop, str) else stop
    if not isinstance(texts, list | tuple) or not all(isinstance(t, str) and t for t in texts):
        raise ConfigError(f"stop must be texts that are not empty, got {stop!r:.60}.")
    return tuple(dict.fromkeys(texts))


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt and a good answer to it, shown to a model before it is asked."""

    prompt: str
    answer: str


@dataclass(frozen=True)
class Task:
    """A named, versioned set of prompts and what to do with the responses.

    Any change to the prompts or to the sampling is a new `version`. `load` returns the prompts;
    it is called once per run. `source` says where the prompts come from, `data` which dataset at
    which commit, `origin` which file defines the task. `verifier` names what checks the answers
    (`tofu_eval.features.answers`); empty where answers are not right or wrong. With `scoring`
    "likelihood" nothing is generated: the responses to a prompt are its choices (metadata
    `choices`, a JSON list of texts), each with its log-probability after the prompt. `examples`
    stand before each prompt. `wording` puts a prompt into other words (Jinja over `prompt`), under
    the key "base" for the format base and under "instruct" for all others. `cluster` is the
    metadata field that says to which cluster a prompt belongs; empty where each is one of its own.
    """

    name: str
    version: int
    load: Callable[[], Sequence[Prompt]]
    description: str = ""
    format: PromptFormat = "base"
    sampling: Sampling = Sampling()
    metrics: tuple[str, ...] = ()
    licence: str = ""
    source: str = ""
    citation: str = ""
    verifier: str = ""
    scoring: Scoring = "generate"
    data: Mapping[str, str] = field(default_factory=dict)
    origin: str = ""
    examples: tuple[Example, ...] = ()
    wording: Mapping[str, str] = field(default_factory=dict)
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model as the user names it: local directory or Hub id, at a revision, with an adapter.

    `series` names the method of which this is one `seed`; such models are compared as one.
    """

    name: str
    model: str
    revision: str | None = None
    adapter: str | None = None
    adapter_revision: str | None = None
    series: str | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One response to be made.

    Exactly one of `text` (given to the model as it is) and `messages` (for the chat template of
    the model's tokenizer) is set. `seed` alone decides the row's random stream. Each request
    carries its `sampling`, so that an engine can be given all the tasks of a model at once. With a
    `completion`, nothing is to be drawn: the response is that text, with its log-probability.
    `typed` are the parts of `text` that were written, in their order: what looks like a special
    token there is text. `date` (ISO) is what a chat template that reads the clock is told.
    `token_logprobs` asks for the log-probability of each token of the response.
    """

    key: str
    seed: int
    model: str
    task: str
    prompt_id: str
    sample: int
    sampling: Sampling
    text: str | None = None
    messages: tuple[Message, ...] | None = None
    completion: str | None = None
    typed: tuple[Message, ...] = ()
    date: str = ""
    token_logprobs: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """One row of the table `responses/`.

    `logprob` is the sum over the generated tokens, the end token included, of the model's own
    log-probability in nats (temperature 1, nothing cut off); null where the source has none.
    `correct` is what a file of responses says; no engine does. `reasoning` is what the model
    thought before it answered: kept, not scored, and no part of `text`; null where it did not
    think. Where the limit fell into a thought, `text` is empty and the state `unfinished`. `given`
    has the features that a file says of it, by name: a class number, a reward. `token_logprobs`
    are the parts of `logprob`, kept where the request asks for them.
    """

    key: str
    model: str
    task: str
    prompt_id: str
    sample: int
    text: str
    token_ids: tuple[int, ...] | None = None
    finish_reason: str | None = None
    logprob: float | None = None
    seed: int | None = None
    correct: bool | None = None
    state: State = "finished"
    reasoning: str | None = None
    given: Mapping[str, float] | None = None
    token_logprobs: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Group:
    """All responses of one model to one prompt, with the features that were asked for.

    `features[name][i]` belongs to `texts[i]`; where the name begins with "reference_", it
    belongs to `prompt.references[i]`; where it begins with "prompt_", to a part of the prompt, of
    which there may be any number. What an engine says of a response is a feature too:
    "logprob" (nats) and "finish_reason", each None where it is unknown; so is what a file says of
    it, "correct". `texts` are those of the responses that have one: `states` counts all responses
    to the prompt ("responses") and those in each state, `thoughts` has what was thought before
    them, of those that thought.

    Raises:
        ConfigError: `prompt` is none, `texts` is not several strings, or a feature has another
            length.
    """

    prompt: Prompt
    texts: tuple[str, ...]
    model: str = "model"
    task: str = "responses"
    features: Mapping[str, Any] = field(default_factory=dict)
    states: Mapping[str, int] = field(default_factory=dict)
    thoughts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.prompt, Prompt):
            raise ConfigError(
                f"The first part of a Group is its Prompt, got {self.prompt!r:.60}. "
                "Write: te.Group(te.Prompt.of_text('1', 'Name a fruit.'), ('apple', 'pear'))"
            )
        whole = isinstance(self.texts, Sequence) and not isinstance(self.texts, str)
        if not whole or not all(isinstance(text, str) for text in self.texts):
            raise ConfigError(
                f"The texts of a Group must be a tuple of strings, got {self.texts!r:.60}."
            )
        for name, rows in self.features.items():
            if name.startswith(OF_PROMPT):
                continue
            of_references = name.startswith(REFERENCE)
            owners = self.prompt.references if of_references else self.texts
            noun = "reference" if of_references else "text"
            if len(rows) != len(owners):
                raise ConfigError(
                    f"The feature '{name}' of prompt '{self.prompt.id}' has {len(rows)} rows for "
                    f"{len(owners)} {noun}s; expected one a {noun}."
                )
        if not self.states:
            object.__setattr__(self, "states", count_states(["finished"] * len(self.texts)))


@dataclass(frozen=True, slots=True)
class Score:
    """One value of one metric: of a prompt's group, or of the corpus (`prompt_id` null).

    The `prompt_id` "block 3 of 20" of a corpus metric is a pseudo-value, for its interval.

    Undefined is `value` null and a `reason`; `n` counts the responses it stands on: after texts
    were cut to equal length, or of those that pass, where the metric has a condition.
    """

    model: str
    task: str
    prompt_id: str | None
    metric: str
    value: float | None
    reason: str | None
    n: int


@dataclass(frozen=True, slots=True)
class EqualScore:
    """A score at fewer responses than there are: the mean over subsets of `n` of them.

    `noise` is its variance over other subsets; 0 where it is the mean over all.
    """

    model: str
    task: str
    prompt_id: str | None
    metric: str
    value: float | None
    n: int
    noise: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """The mean of a metric over prompts with its 95% interval.

    `n` counts the prompts it stands on, `undefined` those whose score is null. `low` and `high`
    are null where fewer than two prompts are defined. A metric of level "corpus" has one value;
    `n` is then the number of blocks of prompts that its interval comes from, 1 where there is
    none; `method` says so. `signature` names the metric's
    version, its tokeniser, its settings and the feature models behind it.
    """

    model: str
    task: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    undefined: int
    method: str
    signature: str
