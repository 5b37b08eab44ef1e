"""A system prompt that asks for variety."""

from __future__ import annotations

from collections.abc import Sequence

from tofu_eval.core.types import Message
from tofu_eval.engines.methods.base import Ask, method

WANTED = (
    "You will get the same request many times and see none of your other answers. Choose each "
    "time among all good answers, the unusual ones too, rather than taking the first that comes."
)


@method("variety", instructs=True)
def put_with_variety(ask: Ask) -> Sequence[Message]:
    """Tell the model, before all else, that unusual answers are wanted as well."""
    turns = list(ask.turns)
    told = [WANTED]
    while turns and turns[0].role == "system":
        told.append(turns.pop(0).content)
    return (Message("system", "\n\n".join(told)), *turns)
