"""What a decoding method is: other words for a prompt, and how an answer becomes responses.

A method answers the question whether training is needed at all: it asks the same model for as many
responses to a prompt as plain sampling does, in another way.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tofu_eval.core.errors import ConfigError
from tofu_eval.core.names import check_name
from tofu_eval.core.registry import Registry, digest_of, origin_of
from tofu_eval.core.types import Message, Prompt

Form = Literal["chat", "instruct", "text"]
"""How a prompt reaches a model: as turns, as one instruction in a template, or as bare text."""

PLAIN = "plain"
"""The method that changes nothing: each response is drawn by itself."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What one question to the model is about.

    `turns` are those of the prompt, with all that task and run put before it. The answer is for
    `count` responses from number `sample` (from 0) on. `earlier` are the responses so far, for a
    method that is sequential. `converse` makes the turns of another prompt.
    """

    prompt: Prompt
    turns: tuple[Message, ...]
    form: Form
    sample: int
    count: int
    earlier: tuple[str, ...]
    converse: Callable[[Prompt], tuple[Message, ...]]

    @property
    def asked(self) -> str:
        """The user's last words."""
        return next((t.content for t in reversed(self.turns) if t.role == "user"), "")

    def replace_last(self, text: str) -> tuple[Message, ...]:
        """The turns with other words in the place of the user's last ones."""
        turns = list(self.turns)
        for place in reversed(range(len(turns))):
            if turns[place].role == "user":
                turns[place] = replace(turns[place], content=text)
                return tuple(turns)
        return (*turns, Message("user", text))


Put = Callable[[Ask], Sequence[Message]]
Read = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Method:
    """A way to ask for responses.

    Args:
        name: such as `again`.
        put: the turns for one question.
        about: one line for a listing.
        read: takes an answer apart into the responses that it holds, at most so many; None where
            an answer is one response.
        at_once: how many responses one answer is asked for.
        overhead: tokens that each of them takes beyond its own.
        sequential: whether a response is asked for after those before it are known.
        instructs: whether it gives instructions, which only some models follow.
        cut: texts before which an answer is cut off. They are no stop strings of the engine: those
            differ by prompt, and an engine puts rows of one batch under one decoder.
        needs: what is wrong with a prompt that the method cannot use; empty where nothing is.
        version: raised with every change of its words.
        paper: where it is from.
        origin: the place that defines it.
    """

    name: str
    put: Put
    about: str = ""
    read: Read | None = None
    at_once: int = 1
    overhead: int = 0
    sequential: bool = False
    instructs: bool = False
    cut: Callable[[Ask], Sequence[str]] | None = None
    needs: Callable[[Prompt], str] | None = None
    version: int = 1
    paper: str = ""
    origin: str = ""

    @property
    def identity(self) -> dict[str, Any]:
        """Which method this is, JSON-able: its name, its version, and its file where it has one."""
        file = digest_of(self.origin)
        return {"name": self.name, "version": self.version, **({"file": file} if file else {})}


METHODS: Registry[Method] = Registry(
    "method",
    "tofu_eval.engines.methods",
    group="tofu_eval.methods",
    listing="tofu-eval methods list",
)


def method(name: str, **facts: Any) -> Callable[[Put], Put]:
    """Register a function from an `Ask` to the turns that are put to the model.

    Args:
        name: what `--method` calls it; it becomes a part of the names of models.
        facts: the other fields of `Method`.

    Raises:
        ConfigError: a bad name, `at_once` below 1, several responses at once that nothing reads,
            or several at once one after the other.
    """
    check_name("method", name)
    at_once = facts.get("at_once", 1)
    if isinstance(at_once, bool) or not isinstance(at_once, int) or at_once < 1:
        raise ConfigError(f"The method '{name}' has at_once={at_once!r}; expected 1 or more.")
    if at_once > 1 and facts.get("read") is None:
        raise ConfigError(
            f"The method '{name}' asks for {at_once} responses at once and has nothing that takes "
            "the answer apart. Give it read=, a function from the answer to its responses."
        )
    if at_once > 1 and facts.get("sequential"):
        raise ConfigError(f"The method '{name}' asks one after the other: leave out at_once.")

    def register(put: Put) -> Put:
        about = (inspect.getdoc(put) or "").partition("\n")[0]
        origin = origin_of(put)
        METHODS.add(name, Method(name, put, about=about, origin=origin, **facts), origin)
        return put

    return register


@method(PLAIN)
def put_plainly(ask: Ask) -> Sequence[Message]:
    """The prompt as it is; each response is drawn by itself."""
    return ask.turns
