"""What a judge says of each response: a rating from 0 to 5, or whether it does harm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.errors import ModelError
from tofu_eval.core.types import Prompt, digest
from tofu_eval.features.base import pair_key
from tofu_eval.features.equivalence import Judge
from tofu_eval.features.rubric import (
    Reader,
    Rubric,
    harmful,
    question,
    read_rating,
    read_total_rating,
)

READERS: Mapping[str, Reader] = {
    "judge": read_rating,
    "judge_total": read_total_rating,
    "harmful": harmful,
}
"""What is read of an answer, by the feature's name."""


class Judged:
    """A feature from a judge's answers: "judge", "judge_total" or "harmful"; NaN is unreadable.

    "judge" (n, repeats) holds whole numbers from 0 to 5, higher is better; "judge_total" numbers
    from 0 to 5, of any position in the answer. "harmful" holds 1 for a harmful
    response and 0 for another. An answer whose last line is not as the rubric asks is NaN, never
    a number.

    Args:
        name: one of READERS.
        judge: what answers.
        rubric: what it is asked.
        repeats: how often it is asked about each response.
    """

    def __init__(self, name: str, judge: Judge, rubric: Rubric, *, repeats: int = 1) -> None:
        self.name: str = name
        self.identity: Mapping[str, Any] = {
            "judge": dict(judge.identity), "rubric": rubric.digest, "repeats": repeats
        }  # fmt: skip
        times = f"*{repeats}" if repeats > 1 else ""
        # The digest covers what has no place in a name: temperature, longest answer, seed.
        made = digest(dict(self.identity))[:8]
        self.signature: str = f"{judge.signature},{rubric.signature}{times}#{made}"
        self.truncated = 0
        self._judge, self._rubric, self._repeats = judge, rubric, repeats
        self._read = READERS[name]

    def key(self, prompt: Prompt, text: str) -> str:
        """Hex digest of the prompt, its references and the text."""
        return digest([pair_key(prompt, text), prompt.references])

    def compute(self, pairs: Sequence[tuple[Prompt, str]]) -> NDArray[np.float32]:
        """(len(pairs), repeats); each distinct pair is judged once, or `repeats` times.

        Raises:
            ModelError: the judge fails, or does not answer every question.
            PluginError: so does one of another package.
        """
        keys = [self.key(*pair) for pair in pairs]
        distinct = dict(zip(keys, pairs, strict=True))
        special = getattr(self._judge, "special_tokens", ())
        asked = [question(self._rubric, *pair, special) for pair in distinct.values()]
        columns = []
        for repeat in range(self._repeats):
            answers = list(self._judge(asked, repeat))
            if len(answers) != len(asked):
                raise ModelError(
                    f"The judge gave {len(answers)} answers to {len(asked)} questions. "
                    "Use another: --judge-model MODEL"
                )
            columns.append([self._read(answer) for answer in answers])
        place = {key: i for i, key in enumerate(distinct)}
        rows = np.array(columns, dtype=np.float32).reshape(self._repeats, len(asked)).T
        return np.ascontiguousarray(rows[[place[key] for key in keys]])

    def close(self) -> None:
        """Give the judge's memory back, until the next `compute`."""
        getattr(self._judge, "close", lambda: None)()
