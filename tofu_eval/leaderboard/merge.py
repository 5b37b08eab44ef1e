"""Boards of different people as one.

Ids say what a thing is (`merge_ids.py`), so a merge is a union: the same bytes in whatever order,
and merging again what is there changes nothing. Nothing is averaged: a row stays the row of its
run. Of one measurement that two boards have there is one row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import pyarrow as pa

from tofu_eval.core.errors import DataError
from tofu_eval.leaderboard.board import (
    FROM_FILE,
    Board,
    BoardComparison,
    BoardMetric,
    BoardModel,
    BoardRow,
    BoardRun,
    RowKey,
    Source,
)
from tofu_eval.leaderboard.prompt_scores import BOARD_SCORE_SCHEMA, of_rows, row_keys, union
from tofu_eval.leaderboard.ranks import NO_SCORES, BlockKey, group_by_block, rank_rows
from tofu_eval.leaderboard.schema import shortened

_CHANGED = "One of them was changed: take the one that its maker published."


@dataclass
class Merged:
    """A board, its per-prompt rows, and a remark for all that a reader of it should know.

    `added` and `replaced` count the rows that the first board did not have, or had otherwise.
    """

    board: Board
    scores: pa.Table | None
    remarks: list[str] = field(default_factory=list)
    added: int = 0
    replaced: int = 0


def merge(sources: Sequence[Source]) -> Merged:
    """The union of boards.

    Of rows of one run that was scored again in between, the later ones stay. Ranks are made anew
    where all rows of a block have per-prompt rows, kept where a block is as it was in one board,
    and null elsewhere.

    Raises:
        DataError: two boards contradict each other.
    """
    remarks: list[str] = []
    runs = _runs(sources)
    tasks = _same_things(sources, "tasks", remarks)
    models = _same_models(sources, remarks)
    metrics = _same_things(sources, "metrics", remarks)
    states = _latest_rows(sources)
    scored_again = sum(len(rows) > 1 for rows in states.values())
    if scored_again:
        remarks.append(
            f"{scored_again} rows are of a run that was scored again in between: the later stay"
        )
    rows = _measurements(
        {key: found[-1] for key, found in states.items()}, runs, models, metrics, remarks
    )
    scores = _scores_of(sources, rows)
    names = {task.id: task.name for task in tasks.values()}
    comparisons = _latest_comparisons(sources, remarks)
    ranked = rank_rows(rows.values(), metrics, scores, names, comparisons)
    board = Board(
        runs=tuple(runs.values()),
        tasks=tuple(tasks.values()),
        models=tuple(models.values()),
        metrics=tuple(metrics.values()),
        rows=_with_kept_ranks(sources, ranked, metrics, remarks),
        comparisons=comparisons,
    ).ordered()
    remarks += _same_names(board)
    remarks += _measured_twice(board)
    first = {row.key: row.without_rank() for row in sources[0].board.rows}
    merged = {row.key: row.without_rank() for row in board.rows}
    return Merged(
        board,
        scores if len(scores) else None,
        remarks,
        added=len(merged.keys() - first.keys()),
        replaced=sum(merged[key] != row for key, row in first.items() if key in merged)
        + len(first.keys() - merged.keys()),
    )


def _runs(sources: Sequence[Source]) -> dict[str, BoardRun]:
    """Each run once, as it was when it was last scored, with all its cells."""
    runs: dict[str, BoardRun] = {}
    named: dict[str, str] = {}
    for source in sources:
        for run in source.board.runs:
            before = runs.setdefault(run.id, run)
            origin = named.setdefault(run.id, source.name)
            if not run.is_later(before) and not before.is_later(run):
                _check_same_run(run, before, source.name, origin)
            old, new = (before, run) if run.is_later(before) else (run, before)
            cells = {(cell.model, cell.task): cell for cell in (*old.cells, *new.cells)}
            by = min(filter(None, (old.by, new.by)), default=None)
            runs[run.id] = replace(new, cells=tuple(cells[key] for key in sorted(cells)), by=by)
            if new is run:
                named[run.id] = source.name
    return runs


def _check_same_run(one: BoardRun, other: BoardRun, name: str, before: str) -> None:
    for fact in (one.name for one in fields(BoardRun) if one.name not in ("cells", "by")):
        mine, theirs = getattr(one, fact), getattr(other, fact)
        if mine != theirs:
            raise DataError(
                f"{name} and {before} differ in '{fact}' of the run {one.id}, which is one run "
                f"scored at one time: {_shown(mine)} and {_shown(theirs)}. {_CHANGED}"
            )


def _same_things(sources: Sequence[Source], nouns: str, remarks: list[str]) -> dict[str, Any]:
    """The tasks, or metrics, of all boards by id, each once.

    What an id is not made of may differ: the first in the alphabet is kept, whatever the order. Of
    a metric that holds for what a reader is told (the paper, the package's version), not for what
    its values mean.
    """
    things: dict[str, Any] = {}
    for source in sources:
        for item in getattr(source.board, nouns):
            before = things.setdefault(item.id, item)
            changes = {}
            for fact in (one.name for one in fields(item)):
                mine, theirs = getattr(item, fact), getattr(before, fact)
                if mine == theirs:
                    continue
                if isinstance(item, BoardMetric) and fact not in ("paper", "package"):
                    raise DataError(
                        f"{source.name} says {fact} {_shown(mine)} of the metric '{item.name}', "
                        f"version {item.version}, another board {_shown(theirs)}. {_CHANGED}"
                    )
                kept = min(mine, theirs, key=str)
                changes[fact] = kept
                if fact != "package":
                    remarks.append(
                        f"{source.name} says {fact} {_shown(mine)} of the {nouns[:-1]} "
                        f"'{item.name}', another board {_shown(theirs)}: {_shown(kept)} is kept"
                    )
            things[item.id] = replace(before, **changes)
    return things


def _same_models(sources: Sequence[Source], remarks: list[str]) -> dict[str, BoardModel]:
    """The models of all boards by id; the first of their names in the alphabet is the label."""
    names: dict[str, set[str]] = defaultdict(set)
    series: dict[str, set[str]] = defaultdict(set)
    models: dict[str, BoardModel] = {}
    for source in sources:
        for model in source.board.models:
            models[model.id] = model
            names[model.id] |= {model.name, *model.aliases}
            series[model.id] |= set() if model.series is None else {model.series}
    for id, model in models.items():
        first, *others = sorted(names[id])
        labels = sorted(series[id])
        models[id] = replace(
            model, name=first, aliases=tuple(others), series=labels[0] if labels else None
        )
        if others and not any(names[id] == _names(source, id) for source in sources):
            remarks.append(
                f"{' and '.join(sorted(names[id]))} are one model under {len(names[id])} names; it "
                f"is called '{first}'"
            )
    return models


def _names(source: Source, id: str) -> set[str]:
    """What a board calls a model."""
    model = source.board.model_by_id.get(id)
    return set() if model is None else {model.name, *model.aliases}


def _latest_rows(sources: Sequence[Source]) -> dict[RowKey, list[BoardRow]]:
    """The states of each row, the latest last.

    Raises:
        DataError: two boards hold different rows of one run, scored at one time.
    """
    states: dict[RowKey, list[tuple[str, BoardRow, str]]] = defaultdict(list)
    for source in sources:
        runs = source.board.run_by_id
        for row in source.board.rows:
            bare = row.without_rank()
            time = runs[row.run].finished or ""
            for other_time, other, name in states[row.key]:
                if other_time == time and other != bare:
                    raise _conflict(bare, other, source.name, name)
            if all(other != bare for _, other, _ in states[row.key]):
                states[row.key].append((time, bare, source.name))
            else:  # the same numbers, scored again: what counts is when last
                states[row.key] = [
                    (max(time, other_time) if other == bare else other_time, other, name)
                    for other_time, other, name in states[row.key]
                ]
    return {
        key: [row for _, row, _ in sorted(found, key=lambda state: state[0])]
        for key, found in states.items()
    }


def _conflict(one: BoardRow, other: BoardRow, name: str, before: str) -> DataError:
    fact = next(f.name for f in fields(one) if getattr(one, f.name) != getattr(other, f.name))
    return DataError(
        f"{name} and {before} hold different rows of '{one.metric}' for the model {one.model} on "
        f"'{one.task}' of the run {one.run}, scored at one time: {fact} "
        f"{_shown(getattr(one, fact))} and {_shown(getattr(other, fact))}. {_CHANGED}"
    )


def _measurements(
    rows: Mapping[RowKey, BoardRow],
    runs: Mapping[str, BoardRun],
    models: Mapping[str, BoardModel],
    metrics: Mapping[str, BoardMetric],
    remarks: list[str],
) -> dict[RowKey, BoardRow]:
    """Each measurement once.

    The same responses from a file, by the same metric, are one measurement however many runs made
    it: the one that was scored last stays. Generated responses are the same where the seed and all
    numbers are.
    """
    of: dict[tuple[Any, ...], list[BoardRow]] = defaultdict(list)
    for row in rows.values():
        what: tuple[Any, ...] = (row.task, row.metric, row.signature, row.model, row.responses)
        if models[row.model].engine != FROM_FILE:
            what += (runs[row.run].seed, row.value, row.low, row.high, row.n, row.undefined)
            what += () if runs[row.run].seed is not None else (row.run,)
        of[what].append(row)
    kept = {}
    several = 0
    for same in of.values():
        last = max(same, key=lambda row: (runs[row.run].finished or "", row.run))
        kept[last.key] = last
        several += len(same) - 1
    if several:
        remarks.append(
            f"{several} rows are measurements that another run made too, of the same responses: "
            "each stands once, as it was scored last"
        )
    return kept


def _latest_comparisons(
    sources: Sequence[Source], remarks: list[str]
) -> tuple[BoardComparison, ...]:
    """One comparison a run: of its last state, and of several of that the first by its text."""
    states: dict[str, dict[BoardComparison, str]] = defaultdict(dict)
    for source in sources:
        for one in source.board.comparisons:
            finished = source.board.run_by_id[one.run].finished or ""
            own = states[one.run]
            own[one] = max(finished, own.get(one, ""))
    kept = []
    for run, found in states.items():
        last = max(found.values())
        same = [one for one, finished in found.items() if finished == last]
        kept.append(min(same, key=repr))
        if len(same) > 1:
            remarks.append(
                f"the models of the run {run} are compared in {len(same)} ways, with another "
                "baseline or other settings: one of them is kept"
            )
    return tuple(kept)


def _scores_of(sources: Sequence[Source], rows: Mapping[RowKey, BoardRow]) -> pa.Table:
    """The per-prompt rows of the rows that stay."""
    tables = []
    for source in sources:
        if source.scores is None:
            continue
        own = {row.key for row in source.board.rows if rows.get(row.key) == row.without_rank()}
        if own & row_keys(source.scores):
            tables.append(of_rows(source.scores, own))
    if len(tables) == 1:
        return tables[0]
    return union(tables) if tables else BOARD_SCORE_SCHEMA.empty_table()


def _with_kept_ranks(
    sources: Sequence[Source],
    rows: Sequence[BoardRow],
    metrics: Mapping[str, BoardMetric],
    remarks: list[str],
) -> tuple[BoardRow, ...]:
    """Give blocks without per-prompt rows the ranks that they had, where they are as they were."""
    by_key = {row.key: row for row in rows}
    lacking = {
        key: members
        for key, members in group_by_block(rows, metrics).items()
        if any(row.unranked == NO_SCORES for row in members)
    }
    held = _ranked_blocks(sources, metrics)
    kept = []
    for key, members in lacking.items():
        bare = frozenset(row.without_rank() for row in members)
        for before, name in held.get((key, bare), ()):
            for row in before:
                if by_key[row.key].rank is not None and by_key[row.key] != row:
                    raise DataError(
                        f"{name} ranks '{row.metric}' on '{row.task}' otherwise than another "
                        f"board with the same rows. {_CHANGED} See: tofu-eval leaderboard "
                        "validate FILE"
                    )
                by_key[row.key] = row
            kept.append(key)
    left = [m for key, m in lacking.items() if key not in kept]
    if several := sum(len({row.run for row in members}) > 1 for members in left):
        remarks.append(
            f"{several} blocks of rows from several runs are not ranked, because not all have "
            "per-prompt rows: tofu-eval leaderboard build RUN --scores --output FILE"
        )
    return tuple(by_key[row.key] for row in rows)


Held = dict[tuple[BlockKey, frozenset[BoardRow]], list[tuple[Sequence[BoardRow], str]]]


def _ranked_blocks(sources: Sequence[Source], metrics: Mapping[str, BoardMetric]) -> Held:
    """The blocks of all boards that are ranked there, by what they hold but for the ranks."""
    held: Held = defaultdict(list)
    for source in sources:
        for key, members in group_by_block(source.board.rows, metrics).items():
            if any(row.rank is not None for row in members):
                bare = frozenset(row.without_rank() for row in members)
                held[key, bare].append((members, source.name))
    return held


def _same_names(board: Board) -> Iterator[str]:
    """A remark for each name that several things have."""
    for noun, items in (("task", board.tasks), ("model", board.models), ("metric", board.metrics)):
        named: dict[str, list[Any]] = defaultdict(list)
        for item in items:
            named[item.name].append(item)
        for name, same in named.items():
            if len(same) > 1:
                differ = ", ".join(_differences(same))
                ids = ", ".join(item.id for item in same)
                yield (
                    f"{len(same)} different {noun}s are called '{name}' and are kept apart "
                    f"({ids}): they differ in {differ}"
                )


def _differences(items: Sequence[Any]) -> Iterator[str]:
    for fact in (one.name for one in fields(items[0]) if one.name != "id"):
        if any(getattr(item, fact) != getattr(items[0], fact) for item in items):
            yield fact


def _measured_twice(board: Board) -> Iterator[str]:
    """A remark for each model and task that several runs measured in the same way."""
    runs: dict[tuple[str, str], set[str]] = defaultdict(set)
    seen: dict[tuple[Any, ...], str] = {}
    for row in board.rows:
        what = (row.model, row.task, row.metric, row.signature, row.responses)
        first = seen.setdefault(what, row.run)
        if first != row.run:
            runs[row.model, row.task] |= {first, row.run}
    for (model, task), ids in runs.items():
        yield (
            f"{board.model_by_id[model].name} on {board.task_by_id[task].name} was measured by "
            f"{len(ids)} runs ({', '.join(sorted(ids))}): each keeps its own rows"
        )


def _shown(value: object) -> str:
    return shortened(list(value) if isinstance(value, tuple) else value)
