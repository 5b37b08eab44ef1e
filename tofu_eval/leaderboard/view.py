"""Parts of a board, and the order and the words in which people read it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tofu_eval.analysis.direction import arrow_of, has_direction, sign_of_direction
from tofu_eval.core.errors import UnknownNameError
from tofu_eval.leaderboard.board import (
    Board,
    BoardMetric,
    BoardRow,
    BoardTask,
    kept_comparisons,
)
from tofu_eval.leaderboard.ranks import BlockKey, block_key

if TYPE_CHECKING:
    from tofu_eval.leaderboard.board import BoardModel

_FIRST = ("diversity", "quality")
"""What a metric measures, in the order of reading; all else comes after."""
_KNOWN_FROM = "tofu-eval leaderboard show FILE"
_LEAST_ID = 6
"""Characters of an id that are enough to name a thing by."""


def select(
    board: Board,
    *,
    models: Collection[str] = (),
    tasks: Collection[str] = (),
    metrics: Collection[str] = (),
) -> Board:
    """The board with the rows of some models, tasks and metrics only; none named is all.

    A name stands for all things that are called so, an id, or the start of a model's, for one.

    Raises:
        UnknownNameError: the board has no such thing.
    """
    wanted: dict[str, tuple[Collection[str], dict[str, tuple[str, ...]]]] = {
        "model": (models, {model.id: _names_of(model) for model in board.models}),
        "task": (tasks, {task.id: (task.name,) for task in board.tasks}),
        "metric": (metrics, {metric.id: (metric.name,) for metric in board.metrics}),
    }
    rows: Sequence[BoardRow] = board.rows
    for noun, (chosen, names) in wanted.items():
        if not chosen:
            continue
        ids: set[str] = set()
        for name in chosen:
            meant = {id for id, called in names.items() if name in (id, *called)}
            if not meant and noun == "model" and len(name) >= _LEAST_ID:
                meant = {id for id in names if id.startswith(name)}
            if not meant:
                known = [one for id, called in names.items() for one in (id, *called)]
                raise UnknownNameError.of(noun, name, known, _KNOWN_FROM)
            ids |= meant
        rows = [row for row in rows if getattr(row, noun) in ids]
    baselines = {id for one in board.comparisons for id in one.baseline}
    shown = [{row.key[i] for row in rows} for i in range(4)]
    comparisons = kept_comparisons(
        board.comparisons, shown[0], shown[1] | baselines, shown[2], shown[3]
    )
    return replace(board, rows=tuple(rows), comparisons=tuple(comparisons))


def _names_of(model: BoardModel) -> tuple[str, ...]:
    return (model.name, *model.aliases)


@dataclass(frozen=True)
class Block:
    """Rows that compare: of one task, metric, signature, cluster and, where it matters, number of
    responses.

    They stand best first where there is a best. `labels` says how the model of each run is called.
    """

    task: str
    task_label: str
    metric: str
    metric_label: str
    direction: str
    signature: str
    cluster: str | None
    responses: int | None
    rows: Sequence[BoardRow]
    labels: Mapping[tuple[str, str], str]

    @property
    def sign(self) -> int:
        """1 where higher values are more diverse, or better; -1 where lower ones are; else 0."""
        return sign_of_direction(self.direction)

    @property
    def title(self) -> str:
        """The metric, which way is more diverse (of a quality metric: better), and the N."""
        at = "" if self.responses is None else f" at n = {self.responses}"
        over = "" if self.cluster is None else f" over clusters by {self.cluster}"
        return f"{self.metric_label} {arrow_of(self.direction)}".rstrip() + at + over

    def label_of(self, row: BoardRow) -> str:
        """How the row's model is called."""
        return self.labels[row.run, row.model]


def blocks(board: Board) -> Iterator[Block]:
    """The rows of a board by task, then by metric: of diversity first, then of quality."""
    groups: dict[BlockKey, list[BoardRow]] = defaultdict(list)
    for row in board.rows:
        groups[block_key(row, board.metric_by_id[row.metric])].append(row)
    labels, tasks, metrics = model_labels(board), task_labels(board), metric_labels(board)
    for key in sorted(groups, key=lambda key: _reading_order(board, *key)):
        task, metric, signature, cluster, responses = key
        direction = board.metric_by_id[metric].direction
        sign = -sign_of_direction(direction)
        rows = sorted(
            groups[key],
            key=lambda row: (
                row.value is None, sign * (row.value or 0.0), labels[row.run, row.model]
            ),
        )  # fmt: skip
        yield Block(
            task,
            tasks[task],
            metric,
            metrics[metric],
            direction,
            signature,
            cluster,
            responses,
            rows,
            labels,
        )


def _reading_order(
    board: Board,
    task: str,
    metric: str,
    signature: str,
    cluster: str | None,
    responses: int | None,
) -> tuple[object, ...]:
    measures = board.metric_by_id[metric].measures
    first = _FIRST.index(measures) if measures in _FIRST else len(_FIRST)
    return task, first, metric, signature, cluster or "", responses or 0


def model_labels(board: Board) -> dict[tuple[str, str], str]:
    """How each model of each run is called.

    By its name; where several models have one, with the start of its id; where several runs
    measured it, with the start of the run's.
    """
    runs: dict[str, set[str]] = defaultdict(set)
    for row in board.rows:
        runs[row.model].add(row.run)
    names = Counter(board.model_by_id[id].name for id in runs)
    labels = {}
    for id, measured in runs.items():
        name = board.model_by_id[id].name
        if names[name] > 1:
            name = f"{name} #{id[:_LEAST_ID]}"
        for run in measured:
            labels[run, id] = f"{name} ({run[:_LEAST_ID]})" if len(measured) > 1 else name
    return labels


def task_labels(board: Board) -> dict[str, str]:
    """How each task is called: by its name, where several have one by its id."""
    names = Counter(task.name for task in board.tasks)
    return {task.id: task.id if names[task.name] > 1 else task.name for task in board.tasks}


def metric_labels(board: Board) -> dict[str, str]:
    """How each metric is called: by its name, where several have one by its id."""
    names = Counter(metric.name for metric in board.metrics)
    return {
        metric.id: metric.id if names[metric.name] > 1 else metric.name for metric in board.metrics
    }


def citation(board: Board, row: BoardRow) -> str:
    """One line that says exactly what a value is, to cite it by.

    `vendi|v:1|q:1.0|…|n:8|model:base|id:…|task:open-prompts|v:1|digest:…|samples:10|…|run:…|by:…`
    """
    task, model = board.task_by_id[row.task], board.model_by_id[row.model]
    tool = board.run_by_id[row.run].tool
    sampling = "".join(f"|{name}:{value}" for name, value in (task.sampling or {}).items())
    responses = "" if row.responses is None else f"|n:{row.responses}"
    return (
        f"{row.signature}{responses}|model:{model.name}|id:{model.id}|task:{task.name}|"
        f"v:{task.version}|digest:{task.digest[:12]}{sampling}|prompts:{row.n}|run:{row.run}|"
        f"{tool.name}:{tool.version}"
    )


def number_text(value: float | None) -> str:
    """A value for people: four digits, or the word for none."""
    return "undefined" if value is None else f"{value:.4g}"


def interval_text(row: BoardRow) -> str:
    """The 95% interval for people; empty where there is none."""
    return "" if row.low is None else f"[{number_text(row.low)}, {number_text(row.high)}]"


def rank_text(row: BoardRow) -> str:
    """`3` or, where no test settles it, the ranks that it may have: `3–5`; empty for none."""
    if row.rank is None:
        return ""
    return str(row.rank) if row.rank == row.rank_last else f"{row.rank}–{row.rank_last}"


def beats_text(row: BoardRow, *, interval: bool = False) -> str:
    """`62%`: how often the row beats another of its ranking on a prompt; `62% [58, 66]`."""
    if row.beats is None:
        return ""
    share = f"{row.beats:.0%}"
    if not interval or row.beats_low is None or row.beats_high is None:
        return share
    return f"{share} [{100 * row.beats_low:.0f}, {100 * row.beats_high:.0f}]"


def answers_of(board: Board) -> list[str]:
    """What the comparison of each run comes to; which run, where there are several."""
    several = len(board.comparisons) > 1
    return [
        f"{one.answer} (run {one.run[:_LEAST_ID]})" if several else one.answer
        for one in board.comparisons
        if one.answer
    ]


def warnings_of_board(board: Board) -> list[str]:
    """What limits the comparisons, what voids a verdict first; none twice."""
    warnings = [warning for one in board.comparisons for warning in one.warnings]
    return list(dict.fromkeys(w.text for w in sorted(warnings, key=lambda w: not w.voids)))


def warnings_of_row(board: Board, row: BoardRow) -> list[str]:
    """Those that are about a row of its run."""
    own = (one for one in board.comparisons if one.run == row.run)
    return [warning.text for one in own for warning in one.warnings if warning.is_about(row)]


def notes_of(board: Board) -> list[str]:
    """What stands below a table: how to read it, what has no rank, what is not of this house."""
    notes = [
        "↑ higher is more diverse, ↓ lower is; of a quality metric: better. The ranks of a model "
        "are those that the tests leave it: the first counts who is significantly better, the last "
        "who is significantly worse. Beats: the probability that the model beats another of its "
        "ranking, drawn at random, on a prompt drawn at random; a tie is half. Each table of a "
        "metric has its own error of 5%: of twenty by which nothing differs, one orders models by "
        "chance.",
        *_unranked_notes(board),
        *_series_notes(board),
    ]
    for noun, items in (("task", board.tasks), ("metric", board.metrics)):
        for item in items:
            if item.package is None or item.package.name != "tofu-eval":
                who = package_text(item) or "no installed package"
                notes.append(f"The {noun} {item.name}, version {item.version}, is of {who}.")
    return notes


def _unranked_notes(board: Board) -> Iterator[str]:
    """One line for each reason why rows have no rank."""
    names = metric_labels(board)
    reasons: dict[str, dict[str, None]] = defaultdict(dict)
    for row in board.rows:
        if row.unranked is not None and has_direction(board.metric_by_id[row.metric].direction):
            reasons[row.unranked][names[row.metric]] = None
    for reason, metrics in reasons.items():
        yield f"Not ranked: {', '.join(metrics)} ({reason})."


def _series_notes(board: Board) -> Iterator[str]:
    """A line for each method of which the board has several seeds."""
    seeds: dict[tuple[str, float | None], list[str]] = defaultdict(list)
    for model in board.models:
        if model.series is not None and model.seed is not None:
            seeds[model.series, model.temperature].append(model.name)
    for (series, _), names in seeds.items():
        if len(names) > 1:
            yield (
                f"{', '.join(names)} are seeds of {series}: each is ranked as a model of its own, "
                "over prompts; the sentence of their run crosses prompts with seeds."
            )


def package_text(item: BoardTask | BoardMetric) -> str:
    """`name version` of the package that brings a task or metric; empty for the user's own."""
    return "" if item.package is None else f"{item.package.name} {item.package.version}"
