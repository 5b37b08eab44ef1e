"""Answers that are right or wrong: found in a response, compared with a reference.

A verifier is a function that finds the final answer in a response, under a decorator:

    @verifier(name="last-word", version=1)
    def last_word(prompt: Prompt, text: str) -> str | None: ...

A response is correct when its answer equals one of the prompt's references. What "equals" means is
`equal=`, a function from pairs (answer, reference) to True, False or None (cannot be read); without
it, equal texts. The same function says which answers to a prompt are one answer.

A task names its verifier (`verifier: math` in its file, `verifier="math"` in Python); `--verifier`
names it for files of responses. An installed package offers its own through the entry points
`tofu_eval.verifiers`. Built in are `math`, `choice`, `letter`, `text`, `listed`, ….
"""

from tofu_eval.features.answers.base import VERIFIERS, Verifier, verifier

__all__ = ["VERIFIERS", "Verifier", "verifier"]
