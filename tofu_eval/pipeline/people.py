"""Answers of people in a run: a model of their own that nobody asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tofu_eval.core.errors import ConfigError
from tofu_eval.core.reasoning import Tag
from tofu_eval.core.tables import RESPONSE_SCHEMA, to_table
from tofu_eval.core.types import Prompt, Response, digest
from tofu_eval.importers.read import read_responses
from tofu_eval.pipeline.plan import Plan
from tofu_eval.run.store import Run

HUMAN = "human"
"""What people are called among the models of a run."""

FROM_FILE = "file"


def check_name_is_free(models: Mapping[str, Any], *, people: bool) -> None:
    """Refuse a model of the user's that is called as people are.

    Raises:
        ConfigError: there is one.
    """
    if people and HUMAN in models:
        raise ConfigError(
            f"A model is called '{HUMAN}', which is what people are called whose answers the run "
            f"has. Call it otherwise: --model NAME=…"
        )


def has_people(plans: Sequence[Plan], file: Path | None) -> bool:
    """Whether a run has answers of people: in a file, or in its tasks' prompts."""
    return file is not None or any(prompt.human for plan in plans for prompt in plan.prompts)


def add_people(
    run: Run, plans: Sequence[Plan], file: Path | None, *, folder: Path, tags: Sequence[Tag]
) -> list[str]:
    """Add the answers of people to the tasks of a run; those that it has already stay.

    Args:
        run: has the tasks.
        plans: the tasks.
        file: of answers, in any format that is read; its prompts are those of the tasks, by id or
            text. None for the answers that the tasks bring.
        folder: on whose disk rows wait.
        tags: how thoughts begin and end.

    Returns: remarks for the user.

    Raises:
        ConfigError: none of the file's prompts is one of the tasks.
        DataError: the file cannot be read.
    """
    tables: dict[str, pa.Table] = {}
    for plan in plans:
        rows = [_row(plan.task.name, *one) for one in _own_answers(plan.prompts)]
        if rows:
            tables[plan.task.name] = to_table(rows, RESPONSE_SCHEMA)
    remarks = []
    if file is not None:
        read = {p.task.name: _read_file(p, file, folder, tags) for p in plans}
        tables |= {task: table for task, table in read.items() if len(table)}
        if not any(map(len, read.values())):
            raise ConfigError(
                f"{file}: none of its prompts is one of {', '.join(read)}. Give each row the id "
                "or the text of a prompt: tofu-eval tasks show TASK"
            )
        for plan in plans:
            answered = len(read[plan.task.name].column("prompt_id").unique())
            if 0 < answered < len(plan.prompts):
                remarks.append(
                    f"{HUMAN}: people answered {answered} of {len(plan.prompts)} prompts of "
                    f"{plan.task.name}"
                )
    for task, table in tables.items():
        _add_rows(run, task, table)
    return remarks


def mark_people(run: Run, names: Sequence[str]) -> None:
    """Say in run.json that these models are people."""
    known = run.manifest["models"]
    run.save(models={**known, **{name: {**known[name], "people": True} for name in names}})


def _own_answers(prompts: Sequence[Prompt]) -> Iterator[tuple[str, int, str]]:
    for prompt in prompts:
        for sample, text in enumerate(prompt.human):
            yield prompt.id, sample, text


def _row(task: str, prompt_id: str, sample: int, text: str) -> Response:
    key = digest([HUMAN, task, prompt_id, sample, text])
    return Response(key, HUMAN, task, prompt_id, sample, text)


def _read_file(plan: Plan, file: Path, folder: Path, tags: Sequence[Tag]) -> pa.Table:
    """The rows of a file that answer the prompts of a task."""
    found = read_responses(
        [(HUMAN, file)], plan.task.name, spool=folder, tags=tags, known=plan.prompts
    )
    ids = pa.array([prompt.id for prompt in plan.prompts], pa.string())
    tables = [RESPONSE_SCHEMA.empty_table()]
    for rows in found.rows.values():
        for table in rows.tables():
            tables.append(table.filter(pc.is_in(table.column("prompt_id"), ids)))
    return pa.concat_tables(tables)


def _add_rows(run: Run, task: str, table: pa.Table) -> None:
    models = run.manifest["models"]
    entry = {
        "identity": {"kind": "people"}, "engine": FROM_FILE, "prompt_format": {}, "people": True,
        **models.get(HUMAN, {}),
    }  # fmt: skip
    if not entry.get("people"):
        check_name_is_free(models, people=True)
    done = run.response_keys(HUMAN, task)
    fresh = table.filter(
        pa.array([k not in done for k in table.column("key").to_pylist()], pa.bool_())
    )
    if len(fresh):
        run.add_response_table(HUMAN, task, fresh)
    counts = {**entry.get("responses", {}), task: len(done) + len(fresh)}
    run.save(models={**models, HUMAN: {**entry, "responses": counts}})
