from collections.abc import Sequence

from tofu_eval import metric


@metric(
    name="dummy_shout",
    level="group",
    direction="none",
    range=("0", "1"),
    cost="cpu",
    needs=("text",),
    paper="",
)
def shout(texts: Sequence[str]) -> float:
    """Share of responses that end in an exclamation mark."""
    return sum(text.endswith("!") for text in texts) / len(texts)
