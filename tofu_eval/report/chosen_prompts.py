"""`--prompts`: which prompts' responses a page shows, by place or by id."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tofu_eval.core.errors import ConfigError
from tofu_eval.run.store import Run

_PLACES = re.compile(r"(\d+)(?:-(\d+))?")


def chosen_prompts(run: Run, tasks: Sequence[str], asked: Sequence[str]) -> dict[str, set[str]]:
    """The ids of the prompts that are meant, by task.

    Args:
        run: whose prompts they are.
        tasks: where they are looked for; places count from 1 within each.
        asked: ids, places such as "7", and ranges of them such as "101-200". What is the id of
            a prompt is no place.
    Raises:
        ConfigError: no task has such a prompt.
    """
    ids = {task: [prompt.id for prompt in run.prompts(task)] for task in tasks}
    chosen: dict[str, set[str]] = {task: set() for task in tasks}
    for name in asked:
        found = {task: _named(name, own) for task, own in ids.items()}
        if not any(found.values()):
            most = max(map(len, ids.values()), default=0)
            raise ConfigError(
                f"--prompts takes ids, or places from 1 to {most} such as 7 or 101-200, "
                f"got '{name:.60}', which is none of {', '.join(tasks)}. A prompt of the page "
                "says its id and place when it is pointed at."
            )
        for task, some in found.items():
            chosen[task].update(some)
    return chosen


def _named(name: str, ids: Sequence[str]) -> Sequence[str]:
    if name in ids:
        return [name]
    if not (places := _PLACES.fullmatch(name)):
        return []
    first = int(places[1])
    last = int(places[2] or first)
    return ids[max(first, 1) - 1 : last] if first else []
