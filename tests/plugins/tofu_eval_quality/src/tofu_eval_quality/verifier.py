"""A verifier: the answer is the only word of the last line, whatever its case."""

from collections.abc import Sequence

from tofu_eval import Prompt
from tofu_eval.features.answers import verifier


def same_word(pairs: Sequence[tuple[str, str]]) -> list[bool | None]:
    return [one.casefold() == other.casefold() for one, other in pairs]


@verifier(name="one-word", version=1, equal=same_word)
def one_word(prompt: Prompt, text: str) -> str | None:
    words = text.rstrip().rpartition("\n")[2].split()
    return words[0].strip(".!") if len(words) == 1 else None
