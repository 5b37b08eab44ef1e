"""In-context regeneration: one response after the other, each asked to differ from those before."""

from __future__ import annotations

from collections.abc import Sequence

from tofu_eval.core.types import Message
from tofu_eval.engines.methods.base import Ask, method

ANOTHER = "Now give one more answer to the same request, as unlike the earlier ones as you can."


def cut_at_repeat(ask: Ask) -> Sequence[str]:
    """Of bare text, where the model begins to put the question to itself once more."""
    first = ask.asked.strip().partition("\n")[0]
    return (f"\n\n{first}",) if ask.form == "text" and first else ()


@method("again", sequential=True, instructs=True, cut=cut_at_repeat)
def put_again(ask: Ask) -> Sequence[Message]:
    """Ask for another response, different from the earlier ones, which are shown.

    A chat has them as its own turns, an instruction as a list. A bare text has the prompt with
    each answer, and then the prompt: there, nothing asks for a difference.
    """
    if not ask.earlier:
        return ask.turns
    if ask.form == "chat":
        talk = [
            turn
            for text in ask.earlier
            for turn in (Message("assistant", text), Message("user", ANOTHER))
        ]
        return (*ask.turns, *talk)
    if ask.form == "instruct":
        shown = "\n".join(f"{i}. {text.strip()}" for i, text in enumerate(ask.earlier, start=1))
        return ask.replace_last(f"{ask.asked}\n\nEarlier answers:\n{shown}\n\n{ANOTHER}")
    joint = "" if ask.asked[-1:].isspace() else " "
    shown = "\n\n".join(f"{ask.asked}{joint}{text.strip()}" for text in ask.earlier)
    return ask.replace_last(f"{shown}\n\n{ask.asked}")
