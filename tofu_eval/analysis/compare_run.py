"""The comparison of a run's models, from the run's own tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from tofu_eval.analysis.compare import compare
from tofu_eval.analysis.comparison import Comparison, How, Unread
from tofu_eval.analysis.equal_counts import LEAST
from tofu_eval.analysis.equal_lengths import Lengths
from tofu_eval.analysis.people import people_of, without_people
from tofu_eval.analysis.warnings import warnings_of
from tofu_eval.core.errors import ConfigError, UnknownNameError
from tofu_eval.run.responses import ResponseFacts, response_facts
from tofu_eval.run.store import Run


def chosen_scores(run: Run, *, tasks: Sequence[str] = (), metrics: Sequence[str] = ()) -> pa.Table:
    """The scores of the run, of these tasks and metrics alone where any are named.

    Raises:
        UnknownNameError: the run has no such task or metric.
        StoreError: it has no scores, or a file of it is damaged.
    """
    scores = run.scores()
    for noun, wanted in (("task", tasks), ("metric", metrics)):
        known = scores.column(noun).unique().to_pylist()
        for name in wanted:
            if name not in known:
                raise UnknownNameError.of(noun, name, known, f"tofu-eval compare {run.path}")
        if wanted:
            scores = scores.filter([name in wanted for name in scores.column(noun).to_pylist()])
    return scores


def compare_run(
    run: Run,
    scores: pa.Table,
    baseline: str | None = None,
    *,
    models: Mapping[str, Mapping[str, Any]] | None = None,
    cluster: str | None = None,
    margins: Mapping[str, float] | None = None,
    min_responses: int = LEAST,
    responses: int | None = None,
    facts: Facts | None = None,
) -> Comparison:
    """Every model beside the baseline; seeds of one series are one model.

    Args:
        run: where the scores are from.
        scores: of `chosen_scores`.
        baseline: a model or a series; by default the first that has scores. Answers of people are
            left out unless they are the baseline.
        models: entries of run.json; by default the run's own.
        cluster: a field of the prompts by which they are clustered; by default what their task
            says.
        margins: margins of equivalence by metric.
        min_responses: responses a prompt below which it is left out.
        responses: the number of responses for all prompts; by default what the run was scored with.
        facts: what its responses are, where they were read already.
    Raises:
        UnknownNameError: the baseline has no scores, or `margins` names no metric of the run.
        DataError: a prompt has no such field.
    """
    # What the run was scored with, whether or not it is still installed.
    known = run.manifest.get("metrics", {})
    facts = facts_of(run, scores) if facts is None else facts
    chosen = run.manifest["settings"]
    for name in margins or {}:
        if name not in known:
            raise UnknownNameError.of("metric", name, known, f"tofu-eval compare {run.path}")
    entries = models or run.manifest["models"]
    people = people_of(run.manifest)
    if people and baseline not in people:  # people are compared where somebody asks for it
        scores = without_people(scores, run.manifest)
        entries = {name: entry for name, entry in entries.items() if name not in people}
        if not len(scores):
            raise ConfigError(
                f"{run.path} has answers of people and of no model: nothing to compare them with."
            )
    columns = seeds_together(entries)
    tasks = scores.column("task").unique().to_pylist()
    first = scores.column("model")[0].as_py()
    comparison = compare(
        scores,
        baseline or next((name for name, own in columns.items() if first in own), first),
        metrics={name: fact["direction"] for name, fact in known.items()},
        smaller=run.equal_scores(),
        series=columns,
        how=How(
            facts=known,
            lengths={place: Lengths.of_sums(own.prompts) for place, own in facts.items()},
            truncate=chosen.get("truncate") is not None,
            metadata={task: prompt_metadata(run, task) for task in tasks},
            fields=cluster_fields(run, tasks, cluster),
            margins=margins or {},
            min_responses=min_responses,
            responses=responses or chosen.get("responses"),
            unread={
                (model, task): Unread(**counts)
                for model, tasks in run.manifest.get("unread", {}).items()
                for task, counts in tasks.items()
            },
        ),
    )
    return replace(comparison, warnings=warnings_of(run, comparison, facts))


def how_of(
    run: Run,
    tasks: Sequence[str],
    *,
    cluster: str | None = None,
    margins: Mapping[str, float] | None = None,
    min_responses: int = LEAST,
    responses: int | None = None,
) -> How:
    """How something of a run is compared that is no table of `compare`: its frontier, a split.

    Args: as `compare_run`.

    Raises:
        UnknownNameError: `margins` names no metric of the run.
    """
    known = run.manifest.get("metrics", {})
    for name in margins or {}:
        if name not in known:
            raise UnknownNameError.of("metric", name, known, f"tofu-eval compare {run.path}")
    fields = cluster_fields(run, tasks, cluster)
    return How(
        facts=known,
        metadata={task: prompt_metadata(run, task) for task in fields},
        fields=fields,
        margins=margins or {},
        min_responses=min_responses,
        responses=responses or run.manifest["settings"].get("responses"),
    )


def seeds_together(models: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """The columns of a comparison: its models by name, those of one series as one.

    Models are seeds of one another where `series` and `temperature` agree and each has a `seed`.
    Any other model is a column of its own.

    Args:
        models: the entries of run.json, by name.
    Returns: members by column, in the order of the first; the column of several members has the
        name of the series, with the temperature where the series has several.
    """
    kinds: dict[tuple[Any, ...], list[str]] = {}
    for name, entry in models.items():
        series, seed = entry.get("series"), entry.get("seed")
        lone = series is None or seed is None
        kinds.setdefault((name,) if lone else (series, entry.get("temperature")), []).append(name)
    columns: dict[str, tuple[str, ...]] = {}
    for kind, members in kinds.items():
        if len(members) == 1:
            columns[members[0]] = (members[0],)
            continue
        series, temperature = kind
        several = sum(len(other) == 2 and other[0] == series for other in kinds) > 1
        name = series if not several or temperature is None else f"{series}@T={temperature:g}"
        if name in models and name not in members:  # a model of its own has that name
            name = f"{name} ({len(members)} seeds)"
        columns[name] = tuple(members)
    return columns


Facts = Mapping[tuple[str, str], ResponseFacts]
"""What the responses are, by model and task; those that have any."""


def facts_of(run: Run, scores: pa.Table) -> dict[tuple[str, str], ResponseFacts]:
    """What the responses of each model and task with scores are."""
    places = scores.group_by(["model", "task"]).aggregate([]).to_pylist()
    found = {
        (row["model"], row["task"]): response_facts(run, row["model"], row["task"])
        for row in places
    }
    return {place: facts for place, facts in found.items() if facts.count}


def cluster_fields(run: Run, tasks: Sequence[str], cluster: str | None) -> dict[str, str]:
    """The field by which the prompts of each task are clustered: as asked for, else as it says."""
    told = {task: cluster or run.manifest["tasks"][task].get("cluster") for task in tasks}
    return {task: name for task, name in told.items() if name}


def prompt_metadata(run: Run, task: str) -> dict[str, Mapping[str, str]]:
    """What is known of each prompt of a task."""
    return {prompt.id: prompt.metadata for prompt in run.prompts(task)}
