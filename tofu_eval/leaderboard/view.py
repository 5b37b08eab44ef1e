"""Parts of a board, and the order in which people read it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tofu_eval.core.errors import UnknownNameError

Row = Mapping[str, Any]

ARROWS = {"higher": " ↑", "lower": " ↓", "none": ""}
_KNOWN_FROM = "tofu-eval leaderboard show FILE"


def select(
    board: Mapping[str, Any],
    *,
    models: Collection[str] = (),
    tasks: Collection[str] = (),
    metrics: Collection[str] = (),
) -> dict[str, Any]:
    """The board with the rows of some models, tasks and metrics only; none named is all.

    A name stands for all things that are called so, an id for one.

    Raises:
        UnknownNameError: the board has no such thing.
    """
    rows = board["rows"]
    for noun, wanted in (("model", models), ("task", tasks), ("metric", metrics)):
        names = {item["id"]: item["name"] for item in board[f"{noun}s"]}
        for name in wanted:
            if name not in names and name not in names.values():
                raise UnknownNameError.of(noun, name, names, _KNOWN_FROM)
        if wanted:
            rows = [r for r in rows if r[noun] in wanted or names[r[noun]] in wanted]
    return {**board, "rows": rows}


@dataclass(frozen=True)
class Block:
    """Rows that compare: of one task, metric and signature, best first where that is known."""

    task: str
    metric: str
    direction: str
    signature: str
    rows: Sequence[Row]

    @property
    def title(self) -> str:
        """The metric, and which way is more diverse (of a quality metric: better)."""
        return f"{self.metric}{ARROWS[self.direction]}"


def blocks(board: Mapping[str, Any]) -> Iterator[Block]:
    """The rows of a board by task, then by metric and signature, in the board's order."""
    directions = {metric["id"]: metric["direction"] for metric in board["metrics"]}
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in board["rows"]:
        groups.setdefault((row["task"], row["metric"], row["signature"]), []).append(row)
    tasks = [task["id"] for task in board["tasks"]]
    for key in sorted(groups, key=lambda key: tasks.index(key[0])):
        task, metric, signature = key
        sign = {"higher": -1, "lower": 1, "none": 0}[directions[metric]]
        rows = sorted(
            groups[key],
            key=lambda row: (row["value"] is None, sign * (row["value"] or 0.0)),
        )
        yield Block(task, metric, directions[metric], signature, rows)


def labels(board: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """How each model of each run is called: with its run where several runs measured it."""
    runs: dict[str, set[str]] = {}
    for row in board["rows"]:
        runs.setdefault(row["model"], set()).add(row["run"])
    return {
        (run, model): f"{model} ({run[:6]})" if len(ids) > 1 else model
        for model, ids in runs.items()
        for run in ids
    }


def citation(board: Mapping[str, Any], row: Row) -> str:
    """One line that says exactly what a value is, to cite it by.

    `vendi|v:1|q:1.0|…|tofu-eval:0.1.0|model:base|task:open-prompts|v:1|digest:…|samples:10|…|run:…`
    """
    task = next(task for task in board["tasks"] if task["id"] == row["task"])
    sampling = "".join(f"|{name}:{value}" for name, value in (task["sampling"] or {}).items())
    return (
        f"{row['signature']}|model:{row['model']}|task:{task['name']}|v:{task['version']}|"
        f"digest:{task['digest'][:12]}{sampling}|prompts:{row['n']}|run:{row['run']}"
    )


def number(value: float | None) -> str:
    """A value for people: four digits, or the word for none."""
    return "undefined" if value is None else f"{value:.4g}"


def interval(row: Row) -> str:
    """The 95% interval for people; empty where there is none."""
    return "" if row["low"] is None else f"[{number(row['low'])}, {number(row['high'])}]"
