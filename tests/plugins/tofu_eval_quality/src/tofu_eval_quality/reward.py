"""A reward model without a model: short words are better, and words of the prompt are worse."""

from collections.abc import Sequence

from tofu_eval import Prompt, reward_model


@reward_model(name="plain-words", version=2)
def plain_words(pairs: Sequence[tuple[Prompt, str]]) -> list[float]:
    return [_reward(prompt, text) for prompt, text in pairs]


def _reward(prompt: Prompt, text: str) -> float:
    words = text.lower().split()
    if not words:
        return -10.0
    echoed = set(words) & set(prompt.text.lower().split())
    return -sum(map(len, words)) / len(words) - len(echoed)
