"""Boards of different people as one.

Two things are the same where all that a value depends on is the same: of a task its name, version,
prompts and sampling; of a model its name, weights and engine; of a metric its name, version, sense
and package. Things of one name that are not the same are kept apart, under ids that end in the
start of a digest. Nothing is averaged: a row stays the row of its run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tofu_eval.core.errors import DataError
from tofu_eval.leaderboard.board import Source
from tofu_eval.leaderboard.merge_ids import SAME, Item, Labels
from tofu_eval.leaderboard.prompt_scores import (
    BOARD_SCORE_SCHEMA,
    PLACE,
    Place,
    place_of,
    places_of,
)
from tofu_eval.leaderboard.ranks import ranked
from tofu_eval.leaderboard.schema import short

_RANK = ("rank", "better_than", "worse_than")


@dataclass
class Merged:
    """A board, its per-prompt rows, and a remark for all that a reader of it should know.

    `added` and `replaced` count the rows that the first board did not have, or had otherwise.
    """

    board: dict[str, Any]
    scores: pa.Table | None
    remarks: list[str] = field(default_factory=list)
    added: int = 0
    replaced: int = 0


def merge(sources: Sequence[Source]) -> Merged:
    """The union of boards; merging again what is there already changes nothing.

    Of rows of one run that was scored again in between, the later ones stay. Ranks are made anew
    where all rows of a group have per-prompt rows, kept where a group is as it was in one board,
    and null elsewhere.

    Raises:
        DataError: two boards say different things of one run, scored at the same time.
    """
    remarks: list[str] = []
    labels = Labels(sources, remarks)
    runs = _runs(sources, labels)
    tables = _relabelled(sources, labels)
    held = [set() if table is None else places_of(table) for table in tables]
    rows, owners, counts = _rows(sources, labels, held, remarks)
    remarks += _measured_twice(rows)
    metrics = labels.items("metric")
    scores = _kept(tables, owners)
    directions = {metric["id"]: metric["direction"] for metric in metrics}
    done = ranked(rows.values(), directions, scores)
    remarks += _keep_ranks(sources, labels, done, directions)
    board = {
        "schema_version": sources[0].board["schema_version"],
        "runs": runs,
        "tasks": labels.items("task"),
        "models": labels.items("model"),
        "metrics": metrics,
        "rows": done,
        "scores": None,
    }
    return Merged(board, scores if len(scores) else None, remarks, *counts)


def _runs(sources: Sequence[Source], labels: Labels) -> list[Item]:
    """Each run once, as it was when it was last scored, with all its places."""
    runs: dict[str, Item] = {}
    told: dict[str, str] = {}
    for number, source in enumerate(sources):
        for run in source.board["runs"]:
            own = {**run, "places": [labels.relabel(number, place) for place in run["places"]]}
            known = runs.get(run["id"])
            if known is None:
                runs[run["id"]], told[run["id"]] = own, source.name
                continue
            newer = _later(own, known)
            if not newer and not _later(known, own):
                _same_run(own, known, source.name, told[run["id"]])
            old, new = (known, own) if newer else (own, known)
            places = {(p["model"], p["task"]): p for p in (*old["places"], *new["places"])}
            runs[run["id"]] = {**new, "places": list(places.values())}
            told[run["id"]] = source.name if newer else told[run["id"]]
    return list(runs.values())


def _later(run: Mapping[str, Any], than: Mapping[str, Any]) -> bool:
    return (run["finished"] or "") > (than["finished"] or "")


def _same_run(one: Item, other: Item, name: str, before: str) -> None:
    for fact in one:
        if fact != "places" and one[fact] != other[fact]:
            raise DataError(
                f"{name} and {before} differ in '{fact}' of the run {one['id']}, which is one run "
                f"scored at one time: {short(one[fact])} and {short(other[fact])}. One of them was "
                "changed: take the one that its maker published."
            )


def _rows(
    sources: Sequence[Source],
    labels: Labels,
    held: Sequence[set[Place]],
    remarks: list[str],
) -> tuple[dict[Place, Item], dict[Place, int], tuple[int, int]]:
    """Each row once; which board it is of; how many the first board did not have, or otherwise."""
    rows: dict[Place, Item] = {}
    owners: dict[Place, int] = {}
    replaced: dict[Place, None] = {}
    times = [{run["id"]: run for run in source.board["runs"]} for source in sources]
    for number, source in enumerate(sources):
        for row in source.board["rows"]:
            own = labels.relabel(number, row)
            place = place_of(own)
            if place in rows and not _equal(own, rows[place]):
                before = owners[place]
                mine, theirs = times[number][own["run"]], times[before][own["run"]]
                if not _later(mine, theirs) and not _later(theirs, mine):
                    raise _conflict(own, rows[place], source.name, sources[before].name)
                replaced[place] = None
                if _later(theirs, mine):
                    continue
            elif place in rows and (place not in held[number] or place in held[owners[place]]):
                continue
            rows[place], owners[place] = own, number
    if replaced:
        remarks.append(
            f"{len(replaced)} rows are of a run that was scored again in between: the later stay"
        )
    first = {place_of(labels.relabel(0, row)) for row in sources[0].board["rows"]}
    changed = sum(owners[place] != 0 for place in replaced if place in first)
    return rows, owners, (len(rows.keys() - first), changed)


def _equal(one: Item, other: Item) -> bool:
    return all(one[name] == other[name] for name in one if name not in _RANK)


def _conflict(one: Item, other: Item, name: str, before: str) -> DataError:
    fact = next(f for f in one if f not in _RANK and one[f] != other[f])
    return DataError(
        f"{name} and {before} hold different rows of '{one['metric']}' for the model "
        f"'{one['model']}' on '{one['task']}' of the run {one['run']}, scored at one time: "
        f"{fact} {short(one[fact])} and {short(other[fact])}. One of them was changed: take the "
        "one that its maker published."
    )


def _measured_twice(rows: Mapping[Place, Item]) -> Iterator[str]:
    """A remark for each model and task that several runs measured in the same way."""
    runs: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    seen: dict[tuple[str, ...], str] = {}
    for row in rows.values():
        what = (row["model"], row["task"], row["metric"], row["signature"])
        first = seen.setdefault(what, row["run"])
        if first != row["run"]:
            runs[what[:2]].update({first: None, row["run"]: None})
    for (model, task), ids in runs.items():
        yield (
            f"{model} on {task} was measured by {len(ids)} runs ({', '.join(ids)}): "
            "each keeps its own rows"
        )


def _relabelled(sources: Sequence[Source], labels: Labels) -> list[pa.Table | None]:
    """The per-prompt rows of each board, as the merged one calls them."""
    made: list[pa.Table | None] = []
    for number, source in enumerate(sources):
        table = source.scores
        if table is None:
            made.append(None)
            continue
        for noun in SAME:
            place = BOARD_SCORE_SCHEMA.get_field_index(noun)
            column = table.column(noun).combine_chunks().dictionary_encode()
            names = [labels.of(number, noun, id) for id in column.dictionary.to_pylist()]
            column = pa.DictionaryArray.from_arrays(column.indices, pa.array(names, pa.string()))
            table = table.set_column(
                place, BOARD_SCORE_SCHEMA.field(place), column.cast(pa.string())
            )
        made.append(table)
    return made


def _kept(tables: Sequence[pa.Table | None], owners: Mapping[Place, int]) -> pa.Table:
    """The per-prompt rows of the rows that stay."""
    kept = [BOARD_SCORE_SCHEMA.empty_table()]
    for number, table in enumerate(tables):
        if table is not None:
            gone = [place for place in places_of(table) if owners.get(place) != number]
            kept.append(_without(table, gone) if gone else table)
    return pa.concat_tables(kept)


def _without(table: pa.Table, places: Sequence[Place]) -> pa.Table:
    """The rows that are of none of these places, in their order."""
    gone = set(places)
    columns = zip(*(table.column(name).to_pylist() for name in PLACE), strict=True)
    return table.filter(pa.array([place not in gone for place in columns], pa.bool_()))


def _keep_ranks(
    sources: Sequence[Source],
    labels: Labels,
    rows: Sequence[Item],
    directions: Mapping[str, str],
) -> Iterator[str]:
    """Give groups without per-prompt rows the ranks that they had, where they are as they were."""
    groups = _groups(rows, directions)
    lacking = {
        key: g for key, g in groups.items() if all(row["rank"] is None for row in g.values())
    }
    for number, source in enumerate(sources):
        relabelled = [labels.relabel(number, row) for row in source.board["rows"]]
        for key, group in _groups(relabelled, directions).items():
            own = lacking.get(key)
            if own and own.keys() == group.keys() and all(_equal(group[p], own[p]) for p in own):
                for place, row in own.items():
                    row.update({name: group[place][name] for name in _RANK})
                del lacking[key]
    several = sum(len({row["run"] for row in group.values()}) > 1 for group in lacking.values())
    if several:
        yield (
            f"{several} groups of rows from several runs are not ranked, because not all have "
            "per-prompt rows: tofu-eval leaderboard build RUN --scores --output FILE"
        )


def _groups(
    rows: Sequence[Item], directions: Mapping[str, str]
) -> dict[tuple[str, str, str], dict[Place, Item]]:
    """Rows that are ranked together."""
    groups: dict[tuple[str, str, str], dict[Place, Item]] = defaultdict(dict)
    for row in rows:
        if row["value"] is not None and directions[row["metric"]] != "none":
            groups[row["task"], row["metric"], row["signature"]][place_of(row)] = row
    return groups
