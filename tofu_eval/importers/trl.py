"""TRL: `completions/completions_STEP.parquet` of GRPO and its relatives (`log_completions=True`).

Tool: TRL, GRPOTrainer and RLOOTrainer.
Version: 1.0 to 1.4.
Fields: `step`, `prompt` and `completion` (texts after the chat template, or lists of messages), a
    column a reward function, `advantage`; further columns may hold the references.
Source: trl/trainer/grpo_trainer.py (`log`, `_logs`).

Rewards become the feature "reward": their sum, as TRL adds them up where no weights are set.
"""

from __future__ import annotations

from collections.abc import Iterator

from tofu_eval.importers.base import (
    Answer,
    File,
    Record,
    Row,
    RowError,
    has_several_steps,
    importer,
    kind_of,
    metadata_in,
    number_of,
    texts_of,
)
from tofu_eval.importers.chat import answer_of, is_chat, prompt_of

OURS = ("step", "prompt", "completion", "advantage")
REFERENCES = ("solution", "answer", "ground_truth", "target", "reference", "references")


@importer(
    "trl", title="TRL completions", fields=("step", "prompt", "completion"), file_is_model=True
)
def trl(file: File) -> Iterator[Record]:
    """A row a completion."""
    first = next(iter(file.rows()), {})
    rewards = [name for name, value in first.items() if name not in OURS and _is_number(value)]
    if rewards:
        file.say(f"reward from {' + '.join(rewards)}")
    several = has_several_steps(file)
    for row in file.rows():
        step = row["step"]
        yield Record(
            [_answer(row, rewards)],
            prompt=prompt_of(row["prompt"], "prompt"),
            references=_references(row),
            step=step if several and isinstance(step, int) else None,
            metadata=metadata_in(file, row),
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _answer(row: Row, rewards: list[str]) -> Answer:
    numbers = [number for name in rewards if (number := number_of(row.get(name))) is not None]
    given = {"reward": sum(numbers)} if numbers else None
    completion = row["completion"]
    if is_chat(completion):
        said = [turn for turn in completion if turn.get("role") == "assistant"]
        return answer_of(said[-1] if said else None, given=given)
    if completion is not None and not isinstance(completion, str):
        raise RowError(f"'completion' must be a string or messages, got {kind_of(completion)}")
    return Answer(completion, given=given)


def _references(row: Row) -> list[str]:
    for name in REFERENCES:
        value = row.get(name)
        if isinstance(value, str) or (isinstance(value, list) and value):
            return texts_of(value, name)
    return []
