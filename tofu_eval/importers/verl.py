"""verl: `STEP.jsonl` of rollouts and of validation.

Tool: verl, `trainer.rollout_data_dir` and `trainer.validation_data_dir`.
Version: 0.5 to 0.7.
Fields: `input` and `output` (decoded texts), `gts` (the ground truth), `score` (the reward),
    `step`, and what the reward function adds, of which `acc` is read as right or wrong.
Source: verl/trainer/ppo/ray_trainer.py (`_dump_generations`).
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
    truth_of,
)
from tofu_eval.importers.chat import prompt_of


@importer(
    "verl", title="verl rollouts", fields=("input", "output", "score", "step"), file_is_model=True
)
def verl(file: File) -> Iterator[Record]:
    """A line a rollout; the score is the feature "reward"."""
    file.say("reward from 'score'")
    several = has_several_steps(file)
    for row in file.rows():
        step = row["step"]
        yield Record(
            [_answer(row)],
            prompt=prompt_of(row["input"], "input"),
            references=_references(row.get("gts")),
            step=step if several and isinstance(step, int) else None,
            metadata=metadata_in(file, row),
        )


def _answer(row: Row) -> Answer:
    text, score = row["output"], number_of(row["score"])
    if text is not None and not isinstance(text, str):
        raise RowError(f"'output' must be a string, got {kind_of(text)}")
    given = {"reward": score} if score is not None else None
    return Answer(text, correct=truth_of(row.get("acc")), given=given)


def _references(truth: object) -> list[str]:
    """The ground truth where it is text; reward functions may have anything else there."""
    if isinstance(truth, str):
        return [truth]
    if isinstance(truth, list) and all(isinstance(text, str) for text in truth):
        return truth
    return []
