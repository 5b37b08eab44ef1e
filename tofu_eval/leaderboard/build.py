"""The leaderboard of one run, made from the run's tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tofu_eval.analysis.comparison import Comparison
from tofu_eval.analysis.equal_counts import LEAST
from tofu_eval.analysis.intervals import method_of
from tofu_eval.analysis.people import people_of, without_people
from tofu_eval.analysis.warnings import ValidityWarning
from tofu_eval.core.errors import DataError
from tofu_eval.core.tables import ESTIMATE_SCHEMA, SCORE_SCHEMA, to_columns
from tofu_eval.core.types import digest
from tofu_eval.leaderboard.block_counts import scores_at_block_counts
from tofu_eval.leaderboard.board import (
    FROM_FILE,
    Board,
    BoardComparison,
    BoardMetric,
    BoardModel,
    BoardRow,
    BoardRun,
    BoardTask,
    BoardWarning,
    Package,
    RowKey,
    RunCell,
    Source,
    Tool,
)
from tofu_eval.leaderboard.merge_ids import content_identity, metric_id, model_id, task_id
from tofu_eval.leaderboard.prompt_scores import (
    BOARD_SCORE_SCHEMA,
    Values,
    clusters_by_row,
    defining_scores,
    drop_copies,
    in_order,
    interval_of,
    responses_by_row,
    values_by_row,
)
from tofu_eval.leaderboard.ranks import rank_rows

Names = dict[str, dict[str, str]]
"""By noun: the id on the board of what a run calls by a name."""


@dataclass(frozen=True)
class Told:
    """What the comparison of a run comes to, in words: its warnings, each with its text."""

    comparison: Comparison
    answer: str
    warnings: Sequence[tuple[ValidityWarning, str]] = ()


@dataclass(frozen=True)
class Beside:
    """What a board says of a run that stands in none of its scores; by the names of the run.

    Args:
        told: the comparison of its models.
        characters: mean characters of a response by model and task.
        voids: by model, task and metric, why a value can be held against no other.
        clusters: by task, the field that prompts are clustered by, and the cluster of each.
        responses: the number of responses to rank at; by default what all models reach.
        min_responses: responses a prompt below which it is left out.
    """

    told: Told | None = None
    characters: Mapping[tuple[str, str], float] = field(default_factory=dict)
    voids: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    clusters: Mapping[str, tuple[str, Mapping[Any, str]]] = field(default_factory=dict)
    responses: int | None = None
    min_responses: int = LEAST


def build_leaderboard(
    estimates: pa.Table,
    manifest: Mapping[str, Any],
    scores: pa.Table | None = None,
    smaller: pa.Table | None = None,
) -> Board:
    """The leaderboard of a run; `board_of_run` has its per-prompt rows too."""
    return board_of_run(estimates, manifest, scores, smaller=smaller).board


def board_of_run(
    estimates: pa.Table,
    manifest: Mapping[str, Any],
    scores: pa.Table | None = None,
    *,
    smaller: pa.Table | None = None,
    beside: Beside | None = None,
    name: str = "The run",
) -> Source:
    """The leaderboard of one run, with the per-prompt rows as the board calls them.

    Args:
        estimates: a table of ESTIMATE_SCHEMA.
        manifest: run.json; of `metrics`, those that the estimates name.
        scores: a table of SCORE_SCHEMA, for the ranks and the numbers of responses.
        smaller: a table of EQUAL_SCHEMA: the scores at smaller numbers of responses, from which
            those that a metric needs to be ranked are taken.
        beside: what else is known of the run.
        name: what messages call the board.
    Raises:
        DataError: the scores hold two values for one prompt.
    """
    try:
        return _board_of_run(estimates, manifest, scores, smaller, beside or Beside(), name)
    except KeyError as error:
        raise DataError(
            f"run.json of {name} lacks {error}, expected what a run writes there. Score it again: "
            "tofu-eval rescore RUN"
        ) from error


def _board_of_run(
    estimates: pa.Table,
    manifest: Mapping[str, Any],
    scores: pa.Table | None,
    smaller: pa.Table | None,
    beside: Beside,
    name: str,
) -> Source:
    estimates = without_people(estimates, manifest)  # people have no rank
    scores = None if scores is None else without_people(scores, manifest)
    smaller = None if smaller is None else without_people(smaller, manifest)
    people = people_of(manifest)
    entries = {name: entry for name, entry in manifest["models"].items() if name not in people}
    manifest = {**manifest, "models": entries}
    rows = estimates.select(ESTIMATE_SCHEMA.names).to_pylist()
    run = _run(manifest, rows)
    tasks = {key: _task(key, facts, manifest, rows) for key, facts in manifest["tasks"].items()}
    models = _models(manifest["models"], rows, scores)
    used = {row["metric"] for row in rows}
    metrics = {
        key: _metric(key, facts)
        for key, facts in manifest.get("metrics", {}).items()
        if key in used
    }
    ids: Names = {
        noun: {key: item.id for key, item in items.items()}
        for noun, items in (("task", tasks), ("model", models), ("metric", metrics))
    }
    changed: set[tuple[str, str, str]] = set()
    if scores is not None:
        sensitive = {key for key, metric in metrics.items() if metric.count_sensitive}
        fixed = beside.responses or manifest.get("settings", {}).get("responses")
        scores, changed = scores_at_block_counts(
            scores, smaller, sensitive, fixed=fixed, least=beside.min_responses
        )
    table = _scores(run.id, scores, ids, _clusters(beside, metrics))
    responses = responses_by_row(table)
    clusters = clusters_by_row(table)
    values = values_by_row(defining_scores(table)) if changed or clusters else {}
    board_rows: dict[RowKey, BoardRow] = {}
    for row in rows:
        named = {noun: ids[noun].get(row[noun], row[noun]) for noun in ids}
        made = BoardRow(run=run.id, responses=None, **{**row, **named})
        own = (row["model"], row["task"], row["metric"])
        made = replace(
            made,
            responses=responses.get(made.key),
            characters=_characters(beside, manifest, *own),
            cluster=beside.clusters[row["task"]][0] if made.key in clusters else None,
            void=beside.voids.get(own),
        )
        if own in changed or made.cluster is not None:
            made = _estimated_anew(
                made, values[made.key], metrics[row["metric"]], clusters.get(made.key)
            )
        board_rows.setdefault(made.key, made)
    cells = {(ids["model"][c.model], ids["task"][c.task]): c for c in run.cells}
    run = replace(
        run,
        cells=tuple(
            replace(cell, model=model, task=task) for (model, task), cell in sorted(cells.items())
        ),
    )
    names_of_tasks = {task.id: task.name for task in tasks.values()}
    by_id = {metric.id: metric for metric in metrics.values()}
    told = beside.told
    comparisons = () if told is None else (_comparison(run.id, told, ids),)
    board = Board(
        runs=(run,),
        tasks=tuple({item.id: item for item in tasks.values()}.values()),
        models=_each_once(models.values()),
        metrics=tuple(by_id.values()),
        rows=rank_rows(board_rows.values(), by_id, table, names_of_tasks, comparisons),
        comparisons=comparisons,
    )
    return Source(name, board.ordered(), None if scores is None else table)


def _comparison(run: str, told: Told, ids: Names) -> BoardComparison:
    """A comparison as the board calls its models, tasks and metrics."""
    seeds = told.comparison.seeds

    def models(columns: Iterable[str]) -> tuple[str, ...]:
        members = [model for column in columns for model in seeds.get(column, (column,))]
        return tuple(sorted({ids["model"][model] for model in members}))

    return BoardComparison(
        run,
        models([told.comparison.baseline]),
        told.answer,
        tuple(
            BoardWarning(
                warning.kind,
                warning.voids,
                None if warning.task is None else ids["task"][warning.task],
                models(warning.models),
                tuple(sorted(ids["metric"][metric] for metric in warning.metrics)),
                text,
            )
            for warning, text in told.warnings
        ),
    )


def _clusters(
    beside: Beside, metrics: Mapping[str, BoardMetric]
) -> dict[tuple[str, str], Mapping[Any, str]]:
    """The cluster of each prompt by task and metric; the blocks of a corpus have none."""
    return {
        (task, name): clusters
        for task, (_, clusters) in beside.clusters.items()
        for name, metric in metrics.items()
        if metric.level != "corpus"
    }


def _characters(
    beside: Beside, manifest: Mapping[str, Any], model: str, task: str, metric: str
) -> float | None:
    """How long a model's responses are, where that moves the value and nothing made it equal."""
    moved = manifest.get("metrics", {}).get(metric, {}).get("length_sensitive")
    if not moved or manifest.get("settings", {}).get("truncate") is not None:
        return None
    return beside.characters.get((model, task)) or None


def _run(manifest: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> BoardRun:
    """Where the rows come from; its cells are still called as the run calls them."""
    models, tasks = manifest["models"], manifest["tasks"]
    machine = [manifest["machine"]] if "machine" in manifest else []
    packages = [facts.get("package") for facts in (*tasks.values(), *manifest["metrics"].values())]
    tokens = manifest.get("tokens", {})
    return BoardRun(
        id=manifest["id"],
        tool=Tool(**manifest["tool"]),
        created=manifest["created"],
        finished=manifest.get("finished"),
        seed=manifest.get("settings", {}).get("seed"),
        machines=tuple(manifest.get("machines", machine)),
        packages={
            **manifest.get("versions", {}),
            **{package["name"]: package["version"] for package in packages if package},
        },
        seconds=manifest.get("timings", {}),
        cells=tuple(
            RunCell(
                model,
                task,
                models[model].get("prompt_format", {}).get(task),
                tokens.get(model, {}).get(task),
            )
            for model, task in dict.fromkeys((row["model"], row["task"]) for row in rows)
        ),
    )


def _task(
    name: str,
    facts: Mapping[str, Any],
    manifest: Mapping[str, Any],
    rows: Iterable[Mapping[str, Any]],
) -> BoardTask:
    models = manifest["models"]
    # Nobody knows how the responses in a file were drawn.
    is_generated = any(
        models[row["model"]]["engine"] != FROM_FILE for row in rows if row["task"] == name
    )
    task = BoardTask(
        id="",
        name=name,
        version=facts["version"],
        digest=facts["digest"],
        prompts=facts["prompts"],
        sampling=facts["sampling"] if is_generated else None,
        licence=facts["licence"],
        citation=facts["citation"],
        package=_package(facts),
    )
    return replace(task, id=task_id(task))


def _models(
    entries: Mapping[str, Mapping[str, Any]],
    rows: Iterable[Mapping[str, Any]],
    scores: pa.Table | None,
) -> dict[str, BoardModel]:
    """The models of a run by the names that it gives them; one model may have several names.

    Two names of one identity are one model where all that was measured of them is the same, prompt
    by prompt too, else their names tell them apart.
    """
    measured: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        numbers = [row[field] for field in ("task", "metric", "value", "n", "undefined")]
        measured[row["model"]].append(numbers)
    models = {name: _model(name, facts) for name, facts in entries.items()}
    alike: dict[str, list[str]] = defaultdict(list)
    for name, model in models.items():
        alike[model.id].append(name)
    for names in alike.values():
        if len(names) > 1 and scores is not None:
            for name in names:
                own = scores.filter(pc.equal(scores.column("model"), name))
                measured[name] += own.drop_columns(["model"]).to_pylist()
        if len({digest(sorted(measured[name], key=str)) for name in names}) > 1:
            for name in names:
                labelled = replace(models[name], label=name)
                models[name] = replace(labelled, id=model_id(labelled))
        else:
            first, *others = sorted(names)
            for name in names:
                models[name] = replace(models[first], aliases=tuple(others))
    return models


def _model(name: str, facts: Mapping[str, Any]) -> BoardModel:
    model = BoardModel(
        id="",
        name=name,
        aliases=(),
        label=facts.get("method") or "",  # asked by another method, it is another model
        identity=content_identity(facts["identity"], facts["engine"]),
        engine=facts["engine"],
        series=facts.get("series"),
        seed=facts.get("seed"),
        temperature=facts.get("temperature"),
    )
    return replace(model, id=model_id(model))


def _metric(name: str, facts: Mapping[str, Any]) -> BoardMetric:
    metric = BoardMetric(
        id="",
        name=name,
        version=facts["version"],
        level=facts.get("level", "group"),
        direction=facts["direction"],
        measures=facts["measures"],
        range=tuple(facts["range"]),
        bias=facts.get("bias", ""),
        count_sensitive=facts.get("count_sensitive", False),
        paper=facts["paper"],
        package=_package(facts),
    )
    return replace(metric, id=metric_id(metric))


def _estimated_anew(
    row: BoardRow, values: Values, metric: BoardMetric, clusters: Mapping[str, str] | None
) -> BoardRow:
    """A row whose per-prompt rows are at another number of responses than its estimate, or whose
    prompts are clustered."""
    interval = interval_of(values, metric, clusters)
    return replace(
        row,
        value=interval.value,
        low=interval.low,
        high=interval.high,
        n=interval.n,
        undefined=len(values) - interval.n,
        method=method_of(interval, level=metric.level, bias=metric.bias),
    )


def _package(facts: Mapping[str, Any]) -> Package | None:
    package = facts.get("package")
    return None if package is None else Package(**package)


def _scores(
    run: str,
    scores: pa.Table | None,
    ids: Names,
    clusters: Mapping[tuple[str, str], Mapping[Any, str]],
) -> pa.Table:
    """The scores of a run as rows of a board; none for None."""
    if scores is None:
        return BOARD_SCORE_SCHEMA.empty_table()
    same = pa.array(np.zeros(len(scores), dtype=np.int32))
    columns = {
        "run": pa.DictionaryArray.from_arrays(same, pa.array([run])),
        "cluster": pa.nulls(len(scores), pa.string()),
    }
    for one in SCORE_SCHEMA:
        column = scores.column(one.name)
        if one.name in ids:
            names = column.combine_chunks().dictionary_encode()
            called = [ids[one.name].get(name, name) for name in names.dictionary.to_pylist()]
            column = pa.DictionaryArray.from_arrays(names.indices, pa.array(called, pa.string()))
        columns[one.name] = column
    if clusters:
        places = zip(*to_columns(scores, ("task", "metric", "prompt_id")), strict=True)
        unclustered: Mapping[Any, str] = {}
        members = [clusters.get((t, m), unclustered).get(id) for t, m, id in places]
        columns["cluster"] = pa.array(members, pa.string())
    table = pa.table([columns[name] for name in BOARD_SCORE_SCHEMA.names], BOARD_SCORE_SCHEMA.names)
    table = table.cast(BOARD_SCORE_SCHEMA)
    if _has_aliases(ids):  # one model under several names has each of its rows once for each
        return drop_copies(table)
    return in_order(table)


def _has_aliases(ids: Names) -> bool:
    return len(set(ids["model"].values())) < len(ids["model"])


def _each_once(models: Iterable[BoardModel]) -> tuple[BoardModel, ...]:
    return tuple({model.id: model for model in models}.values())
