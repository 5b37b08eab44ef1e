"""Scoring a run: what is new or out of date is featurized, scored and estimated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tofu_eval import __version__, provenance
from tofu_eval.config import Settings
from tofu_eval.features.base import FeatureModel
from tofu_eval.leaderboard import build_leaderboard, write_leaderboard
from tofu_eval.metrics import Metric
from tofu_eval.stages import estimate, featurize, score_group
from tofu_eval.store import Run
from tofu_eval.types import ESTIMATE_SCHEMA, Estimate, Group, Report, Score, digest, to_table


def score_run(
    run: Run,
    chosen: Settings,
    scorers: Mapping[str, Sequence[Metric]],
    features: Mapping[str, FeatureModel],
    report: Report,
) -> None:
    """Featurize, score and estimate every model on these tasks; write the leaderboard.

    What is scored already, with the same metrics on the same responses, stays as it is, and so
    does what the run holds of other tasks. A model that lacks responses is left out, and named in
    the run's notes.
    """
    places = [place for place in _places(run, scorers) if _is_whole(run, *place)]
    marks = {(m, t): _mark(run, m, t, scorers[t], features) for m, t in places}
    groups = {place: list(_groups(run, *place)) for place in _stale(run, marks)}
    # Taken back first: whatever stops us, a mark stands only for what is on the disk.
    scored = {place: mark for place, mark in _scored(run).items() if place not in groups}
    facts = {metric.name: metric.facts() for metric in all_metrics(scorers)}
    run.save(
        scored=[[*place, mark] for place, mark in scored.items()],
        metrics={**run.manifest.get("metrics", {}), **facts},
    )
    made_by = dict(run.manifest.get("features", {}))
    for name, feature in features.items():
        with run.timed(f"{name}s"):
            made_by[name] = _featurize_run(run, groups, scorers, feature, report)
            # One model in memory at a time.
            getattr(feature, "close", lambda: None)()
    with run.timed("score"):
        scores = _score_groups(run, groups, scorers, report)
    with run.timed("estimate"):
        made = estimate(scores, all_metrics(scorers), signatures(features), seed=chosen.seed)
        estimates = _in_order(run, [*_kept(run, scorers, places, groups), *made])
        run.write_estimates(estimates)
    scored |= marks
    run.save(
        status="complete",
        features=made_by,
        scored=[[*place, mark] for place, mark in scored.items()],
        notes=[*run.manifest["notes"], *_unfinished(run, scorers), *_lost(run, estimates)],
        finished=provenance.now(),
    )
    board = build_leaderboard(to_table(estimates, ESTIMATE_SCHEMA), run.manifest)
    write_leaderboard(run.path / "leaderboard.json", board)


def _places(run: Run, tasks: Iterable[str]) -> list[tuple[str, str]]:
    return [(model, task) for model in run.manifest["models"] for task in tasks]


def _wanted(run: Run, model: str, task: str) -> int:
    """How many responses a model owes a task; of one that came as a file, any number will do."""
    if run.manifest["models"][model]["engine"] == "file":
        return 1
    described = run.manifest["tasks"][task]
    return int(described["prompts"] * described["sampling"]["samples"])


def _is_whole(run: Run, model: str, task: str) -> bool:
    """Whether all responses are there: the first ones are no fair sample of the others."""
    return len(run.response_keys(model, task)) >= _wanted(run, model, task)


def _unfinished(run: Run, tasks: Iterable[str]) -> list[str]:
    """A remark for each model that has some of its responses to a task, and not all."""
    remarks = []
    for model, task in _places(run, tasks):
        have, want = len(run.response_keys(model, task)), _wanted(run, model, task)
        if 0 < have < want:
            remarks.append(
                f"{model} has {have} of {want} responses to {task} and is left out there; "
                f"name it again to finish it: --model {model}=…"
            )
    return remarks


def _lost(run: Run, estimates: Sequence[Estimate]) -> list[str]:
    """A remark for each task whose scores are there without their estimates."""
    there = {(row.model, row.task) for row in estimates}
    places = _places(run, run.manifest["tasks"])
    lost = {t: None for m, t in places if run.has_scores(m, t) and (m, t) not in there}
    return [f"{t} has scores without estimates; make them again with --task {t}" for t in lost]


def _kept(
    run: Run,
    tasks: Iterable[str],
    places: Sequence[tuple[str, str]],
    groups: Mapping[tuple[str, str], Sequence[Group]],
) -> list[Estimate]:
    """The estimates that stay: of other tasks, and of what is up to date."""
    gone = {place for place in _places(run, tasks) if place not in places}
    for place in gone:
        run.drop_scores(*place)
    stay = set(_places(run, run.manifest["tasks"])).difference(gone, groups)
    return [row for row in run.estimates() if (row.model, row.task) in stay]


def _mark(
    run: Run,
    model: str,
    task: str,
    metrics: Sequence[Metric],
    features: Mapping[str, FeatureModel],
) -> str:
    """Digest of all that a model's scores on a task depend on."""
    made_by = signatures(features)
    cited = [metric.signature(made_by) for metric in metrics]
    return digest([__version__, sorted(run.response_keys(model, task)), cited])


def _scored(run: Run) -> dict[tuple[str, str], str]:
    return {(model, task): mark for model, task, mark in run.manifest.get("scored", [])}


def _stale(run: Run, marks: Mapping[tuple[str, str], str]) -> list[tuple[str, str]]:
    """The models and tasks whose scores are missing or out of date."""
    scored = _scored(run)
    there = {(row.model, row.task) for row in run.estimates()}
    return [
        place
        for place, mark in marks.items()
        if scored.get(place) != mark or place not in there or not run.has_scores(*place)
    ]


def _score_groups(
    run: Run,
    groups: Mapping[tuple[str, str], Sequence[Group]],
    scorers: Mapping[str, Sequence[Metric]],
    report: Report,
) -> list[Score]:
    scores: list[Score] = []
    done, total = 0, sum(map(len, groups.values()))
    for (model, task), members in groups.items():
        rows = []
        for group in members:
            rows += score_group(group, scorers[task])
            done += 1
            report("score", done, total)
        run.write_scores(model, task, rows)
        scores += rows
    return scores


def _in_order(run: Run, estimates: Sequence[Estimate]) -> list[Estimate]:
    """By model and task as the run names them, whichever was scored first."""
    models, tasks = list(run.manifest["models"]), list(run.manifest["tasks"])
    return sorted(estimates, key=lambda row: (models.index(row.model), tasks.index(row.task)))


def _featurize_run(
    run: Run,
    groups: dict[tuple[str, str], list[Group]],
    scorers: Mapping[str, Sequence[Metric]],
    feature: FeatureModel,
    report: Report,
) -> dict[str, Any]:
    """Give the groups that need it one more feature; returns its part of run.json."""
    cache = run.features(feature.name, digest(dict(feature.identity)))
    places = [
        (model, task)
        for model, task in groups
        if any(feature.name in metric.needs for metric in scorers[task])
    ]
    # All at once, so that a text which several models gave is computed once.
    made = iter(featurize([g for p in places for g in groups[p]], feature, cache, report))
    for place in places:
        groups[place] = [next(made) for _ in groups[place]]
    return {"identity": dict(feature.identity), "truncated": cache.truncated}


def _groups(run: Run, model: str, task: str) -> Iterator[Group]:
    prompts = {prompt.id: prompt for prompt in run.prompts(task)}
    texts: dict[str, list[str]] = {}
    table = run.responses(model, task)
    for id, text in zip(
        table.column("prompt_id").to_pylist(), table.column("text").to_pylist(), strict=True
    ):
        texts.setdefault(id, []).append(text)
    for id, members in texts.items():
        yield Group(prompts[id], tuple(members), model, task)


def all_metrics(scorers: Mapping[str, Sequence[Metric]]) -> list[Metric]:
    """The metrics of all tasks, each once."""
    return list({m.name: m for metrics in scorers.values() for m in metrics}.values())


def signatures(features: Mapping[str, FeatureModel]) -> dict[str, str]:
    """The short names of the feature models, as a metric's signature cites them."""
    return {name: model.signature for name, model in features.items()}
