"""How many responses a run wants of each model on each task, and how many of them are there."""

from __future__ import annotations

from tofu_eval.core.errors import StoreError
from tofu_eval.run.files import parts_of, read_parquet
from tofu_eval.run.store import Run


def count_owed(run: Run, model: str, task: str) -> int | None:
    """How many responses a model owes a task; None where nobody said.

    Of a model whose responses came from files it is as many as were read; nothing is known of a
    task that a model was never asked.
    """
    described = run.manifest["models"][model]
    if described["engine"] == "file":
        read = described.get("responses", {}).get(task)
        return None if read is None else int(read)
    if task not in described["prompt_format"]:
        return None
    asked = run.manifest["tasks"][task]
    return int(asked.get("rows") or asked["prompts"] * asked["sampling"]["samples"])


def is_whole(run: Run, model: str, task: str) -> bool:
    """Whether all responses are there: the first ones are no fair sample of the others."""
    return run.count_keys(model, task) >= (count_owed(run, model, task) or 1)


def count_all(run: Run) -> dict[tuple[str, str], tuple[int, int | None]]:
    """Responses that are there and that are owed, by model and task; damaged files count none."""
    return {
        (model, task): (_count_rows(run, model, task), count_owed(run, model, task))
        for model in run.manifest["models"]
        for task in run.manifest["tasks"]
    }


def _count_rows(run: Run, model: str, task: str) -> int:
    total = 0
    for part in parts_of(run.path / "responses" / model / task):
        try:
            total += read_parquet(part).num_rows
        except StoreError:
            continue  # `verify` names it
    return total
