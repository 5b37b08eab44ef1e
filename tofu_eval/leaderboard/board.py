"""What a leaderboard holds: runs, tasks, models, metrics, and a row a value.

A `Board` is a value: what changes one makes another. `file.py` reads and writes it, `build.py`
makes one of a run, `merge.py` one of several.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from operator import attrgetter
from typing import Any, ClassVar, overload

import pyarrow as pa

from tofu_eval.leaderboard.schema import CURRENT, content_hash

FROM_FILE = "file"
"""The engine of a model whose responses came as a file."""

Json = dict[str, Any]
RowKey = tuple[str, str, str, str]
"""Run, model, task and metric: which row of a board something is of."""


@dataclass(frozen=True, slots=True)
class Tool:
    """What made a run."""

    name: str
    version: str
    git_revision: str | None


@dataclass(frozen=True, slots=True)
class RunCell:
    """A model on a task in a run: how prompts were put, how many tokens were generated."""

    model: str
    task: str
    prompt_format: str | None
    tokens: int | None


@dataclass(frozen=True, slots=True)
class BoardRun:
    """Where rows come from, on which machines, with which packages, in how many seconds.

    `by` is who measured, as they call themselves; nobody checks it.
    """

    id: str
    tool: Tool
    created: str
    finished: str | None
    seed: int | None
    machines: tuple[Mapping[str, Any], ...]
    packages: Mapping[str, str]
    seconds: Mapping[str, float]
    cells: tuple[RunCell, ...]
    by: str | None = None

    def is_later(self, than: BoardRun) -> bool:
        """Whether it was scored after another state of the same run."""
        return (self.finished or "") > (than.finished or "")


@dataclass(frozen=True, slots=True)
class Package:
    """The installed package that brings a task or a metric."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class BoardTask:
    """A task; `id` is made of what its values depend on, see `merge_ids.py`."""

    id: str
    name: str
    version: int
    digest: str
    prompts: int
    sampling: Mapping[str, Any] | None
    licence: str
    citation: str
    package: Package | None


@dataclass(frozen=True, slots=True)
class BoardModel:
    """A model; `id` is made of its weights, and its names are labels.

    `aliases` are other names of the same model. `label` is empty but where one run holds two
    models that nothing else tells apart.
    """

    id: str
    name: str
    aliases: tuple[str, ...]
    label: str
    identity: Mapping[str, Any]
    engine: str
    series: str | None
    seed: int | None
    temperature: float | None


@dataclass(frozen=True, slots=True)
class BoardMetric:
    """A metric; `bias` says how the number of responses moves an estimate, and what corrects it.

    Values of one that is `count_sensitive` compare at equal numbers of responses only.
    """

    id: str
    name: str
    version: int
    level: str
    direction: str
    measures: str
    range: tuple[str, str]
    bias: str
    count_sensitive: bool
    paper: str
    package: Package | None


@dataclass(frozen=True, slots=True)
class BoardRow:
    """One value: a model by a metric on a task in a run.

    `responses` is the number of responses to every prompt that the value was made at; None where it
    differs from prompt to prompt, or nobody said it. `characters` is the mean length of a response
    where length moves the value and nothing made lengths equal, else None. `cluster` is the field
    of the prompts that the interval and the tests are clustered by. `void` says why the value can
    be held against no other, whatever its per-prompt rows are. `rank` to `rank_last` are the ranks
    that the row may have among those that it compares with; `unranked` says why there are none.
    `beats` is the probability that it beats another of them, drawn at random, on a prompt drawn at
    random.
    """

    run: str
    model: str
    task: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    undefined: int
    responses: int | None
    method: str
    signature: str
    characters: float | None = None
    cluster: str | None = None
    void: str | None = None
    rank: int | None = None
    rank_last: int | None = None
    better_than: int | None = None
    worse_than: int | None = None
    beats: float | None = None
    beats_low: float | None = None
    beats_high: float | None = None
    unranked: str | None = None

    @property
    def key(self) -> RowKey:
        """Which row of the board this is."""
        return self.run, self.model, self.task, self.metric

    @property
    def is_best(self) -> bool:
        """Whether nothing is shown to be better: what exports print bold."""
        return self.rank is not None and self.worse_than == 0

    def without_rank(self) -> BoardRow:
        """The same measurement, not ranked."""
        none: dict[str, Any] = dict.fromkeys(RANK_FIELDS)
        return replace(self, **none)


RANK_FIELDS = (
    *("rank", "rank_last", "better_than", "worse_than"),
    *("beats", "beats_low", "beats_high", "unranked"),
)
"""What a row says of those that it compares with."""


@dataclass(frozen=True, slots=True)
class BoardWarning:
    """What a reader of some rows of a run must know, in `text`.

    `task` None and no `models` or `metrics` mean all of them; with `voids` the comparison with the
    baseline has no verdict on those metrics of those models.
    """

    kind: str
    voids: bool
    task: str | None
    models: tuple[str, ...]
    metrics: tuple[str, ...]
    text: str

    def is_about(self, row: BoardRow) -> bool:
        """Whether it is about that row of its run."""
        return (
            self.task in (None, row.task)
            and (not self.models or row.model in self.models)
            and (not self.metrics or row.metric in self.metrics)
        )


@dataclass(frozen=True, slots=True)
class BoardComparison:
    """What the comparison of a run's models with one of them comes to, and what limits it.

    `baseline` is that model, or the seeds of that series; `answer` is the sentence of `compare`.
    """

    run: str
    baseline: tuple[str, ...]
    answer: str
    warnings: tuple[BoardWarning, ...]


@dataclass(frozen=True, slots=True)
class ScoresFile:
    """The file of one run's per-prompt rows beside the board."""

    run: str
    file: str
    sha256: str
    rows: int


@dataclass(frozen=True)
class Board:
    """A leaderboard, in one order whatever order it was put together in."""

    runs: tuple[BoardRun, ...] = ()
    tasks: tuple[BoardTask, ...] = ()
    models: tuple[BoardModel, ...] = ()
    metrics: tuple[BoardMetric, ...] = ()
    rows: tuple[BoardRow, ...] = ()
    comparisons: tuple[BoardComparison, ...] = ()
    scores: tuple[ScoresFile, ...] = ()

    version: ClassVar[int] = CURRENT
    """Of the schema that its file has."""

    @cached_property
    def hash(self) -> str:
        """SHA-256 of its content; the same for the same content on every machine."""
        return content_hash(self.outline())

    @cached_property
    def run_by_id(self) -> Mapping[str, BoardRun]:
        """Its runs by id."""
        return {run.id: run for run in self.runs}

    @cached_property
    def task_by_id(self) -> Mapping[str, BoardTask]:
        """Its tasks by id."""
        return {task.id: task for task in self.tasks}

    @cached_property
    def model_by_id(self) -> Mapping[str, BoardModel]:
        """Its models by id."""
        return {model.id: model for model in self.models}

    @cached_property
    def metric_by_id(self) -> Mapping[str, BoardMetric]:
        """Its metrics by id."""
        return {metric.id: metric for metric in self.metrics}

    def to_json(self) -> Json:
        """What its file holds, but for the hash."""
        return {**self.outline(), "rows": list(JsonRows(self.rows))}

    def outline(self) -> Json:
        """The same with rows that are made when they are asked for."""
        return {
            "schema_version": CURRENT,
            "runs": [_run_json(run) for run in self.runs],
            "tasks": [_item_json(task) for task in self.tasks],
            "models": [_item_json(model) for model in self.models],
            "metrics": [_item_json(metric) for metric in self.metrics],
            "rows": JsonRows(self.rows),
            "comparisons": [
                {**_item_json(one), "warnings": [_item_json(w) for w in one.warnings]}
                for one in self.comparisons
            ],
            "scores": [_item_json(file) for file in self.scores],
        }

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> Board:
        """The board of what a file holds, which must be checked already."""
        return cls(
            runs=tuple(map(_run_of, content["runs"])),
            tasks=tuple(BoardTask(**_with_package(item)) for item in content["tasks"]),
            models=tuple(
                BoardModel(**{**item, "aliases": tuple(item["aliases"])})
                for item in content["models"]
            ),
            metrics=tuple(
                BoardMetric(**{**_with_package(item), "range": tuple(item["range"])})
                for item in content["metrics"]
            ),
            rows=tuple(BoardRow(**row) for row in content["rows"]),
            comparisons=tuple(map(_comparison_of, content["comparisons"])),
            scores=tuple(ScoresFile(**file) for file in content["scores"]),
        )

    def ordered(self) -> Board:
        """The same in the one order that boards have, without what no row refers to."""
        used = [{row.key[i] for row in self.rows} for i in range(4)]
        runs, models, tasks, metrics = used
        return replace(
            self,
            runs=_kept(self.runs, runs),
            tasks=_kept(self.tasks, tasks),
            models=_kept(self.models, models),
            metrics=_kept(self.metrics, metrics),
            rows=tuple(sorted(self.rows, key=_row_order)),
            comparisons=tuple(
                sorted(kept_comparisons(self.comparisons, *used), key=lambda one: one.run)
            ),
            scores=tuple(sorted(self.scores, key=lambda file: file.run)),
        )


ROW_FIELDS = tuple(one.name for one in fields(BoardRow))
_values_of = attrgetter(*ROW_FIELDS)


class JsonRows(Sequence[Json]):
    """Rows as their file holds them, each made when it is asked for: a board may have 100,000."""

    def __init__(self, rows: Sequence[BoardRow]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> Json: ...

    @overload
    def __getitem__(self, place: slice) -> list[Json]: ...

    def __getitem__(self, place: int | slice) -> Json | list[Json]:
        if isinstance(place, slice):
            return list(JsonRows(self._rows[place]))
        return dict(zip(ROW_FIELDS, _values_of(self._rows[place]), strict=True))


@dataclass(frozen=True)
class Source:
    """A board with its per-prompt rows where there are any; `name` is what messages call it."""

    name: str
    board: Board
    scores: pa.Table | None = field(default=None, compare=False)


def signed(board: Board, by: str | None) -> Board:
    """The board with who measured, of the runs that do not say it; None says nothing."""
    if by is None:
        return board
    return replace(board, runs=tuple(replace(run, by=run.by or by) for run in board.runs))


def bound_of(end: str, responses: int | None) -> float | None:
    """An end of a metric's range as a number; None where nobody knows it.

    `n` is the number of responses to a prompt.
    """
    if responses is not None and end in ("n", "1/n"):
        return float(responses) if end == "n" else 1 / responses
    try:
        bound = float(end)
    except ValueError:
        return None
    return None if math.isnan(bound) else bound


def kept_comparisons(
    comparisons: Iterable[BoardComparison],
    runs: Collection[str],
    models: Collection[str],
    tasks: Collection[str],
    metrics: Collection[str],
) -> Iterator[BoardComparison]:
    """The comparisons of these runs, with what they say of these models, tasks and metrics."""
    for one in comparisons:
        if one.run not in runs or not set(one.baseline) <= set(models):
            continue
        kept = []
        for warning in one.warnings:
            about = replace(
                warning,
                models=tuple(id for id in warning.models if id in models),
                metrics=tuple(id for id in warning.metrics if id in metrics),
            )
            left = [(warning.models, about.models), (warning.metrics, about.metrics)]
            if all(some or not before for before, some in left) and warning.task in (None, *tasks):
                kept.append(about)
        yield replace(one, warnings=tuple(kept))


def _row_order(row: BoardRow) -> tuple[str, ...]:
    return row.task, row.metric, row.signature, row.model, row.run


def _kept(items: Iterable[Any], used: set[str]) -> tuple[Any, ...]:
    return tuple(sorted((item for item in items if item.id in used), key=_reading_order))


def _reading_order(item: Any) -> tuple[str, str]:
    return getattr(item, "name", ""), item.id


def _item_json(item: Any) -> Json:
    content = {one.name: getattr(item, one.name) for one in fields(item)}
    for name, value in content.items():
        if isinstance(value, Package | Tool):
            content[name] = _item_json(value)
        else:
            content[name] = _in_order(value)
    return content


def _in_order(value: Any) -> Any:
    """JSON whose objects have their fields in alphabetical order: one text for one content."""
    if isinstance(value, Mapping):
        return {key: _in_order(value[key]) for key in sorted(value)}
    return [_in_order(item) for item in value] if isinstance(value, list | tuple) else value


def _run_json(run: BoardRun) -> Json:
    return {**_item_json(run), "cells": [_item_json(cell) for cell in run.cells]}


def _run_of(content: Json) -> BoardRun:
    return BoardRun(
        **{
            **content,
            "tool": Tool(**content["tool"]),
            "machines": tuple(content["machines"]),
            "cells": tuple(RunCell(**cell) for cell in content["cells"]),
        }
    )


def _comparison_of(content: Json) -> BoardComparison:
    return BoardComparison(
        run=content["run"],
        baseline=tuple(content["baseline"]),
        answer=content["answer"],
        warnings=tuple(
            BoardWarning(**{**w, "models": tuple(w["models"]), "metrics": tuple(w["metrics"])})
            for w in content["warnings"]
        ),
    )


def _with_package(item: Json) -> Json:
    package = item["package"]
    return {**item, "package": None if package is None else Package(**package)}
