"""Each response to the same question in other words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tofu_eval.core.types import Message, Prompt
from tofu_eval.engines.methods.base import Ask, method


def lack_paraphrases(prompt: Prompt) -> str:
    """What a prompt lacks to be asked in other words."""
    if prompt.paraphrases:
        return ""
    return f"the prompt '{prompt.id}' has no paraphrases. Add 'paraphrases: [...]' to it"


@method("paraphrase", needs=lack_paraphrases)
def put_in_other_words(ask: Ask) -> Sequence[Message]:
    """Ask in the prompt's own words, then in each of its paraphrases, and so on in turn."""
    wordings = (None, *ask.prompt.paraphrases)
    words = wordings[ask.sample % len(wordings)]
    if words is None:
        return ask.turns
    turns = list(ask.prompt.messages)
    last = max((i for i, turn in enumerate(turns) if turn.role == "user"), default=len(turns) - 1)
    turns[last] = replace(turns[last], content=words)
    return ask.converse(replace(ask.prompt, messages=tuple(turns)))
