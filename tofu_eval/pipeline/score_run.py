"""Scoring a run: what is new or out of date is featurized, scored and estimated."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import pyarrow as pa

from tofu_eval.core.config import Settings
from tofu_eval.core.tables import SCORE_SCHEMA
from tofu_eval.core.termination import finishing, leave_if_asked
from tofu_eval.core.types import REFERENCE, Estimate, Group, Report, Score, digest
from tofu_eval.core.version import __version__
from tofu_eval.features.open import OpenFeature
from tofu_eval.leaderboard import write_leaderboard
from tofu_eval.metrics import Metric
from tofu_eval.pipeline.board import run_board
from tofu_eval.pipeline.equal_counts import score_smaller, wanted_counts
from tofu_eval.pipeline.estimate import estimate
from tofu_eval.pipeline.inputs import KeptFeature, count_echoes, find_unread
from tofu_eval.pipeline.score import (
    Scorer,
    featurize_ahead,
    featurize_groups,
    score_corpus,
    score_groups,
    scoring_pool,
)
from tofu_eval.run import provenance
from tofu_eval.run.owed import count_owed, is_whole
from tofu_eval.run.responses import Groups, Reading, count_responses, generated_tokens
from tofu_eval.run.store import Run

SCORE_CHUNK = 64
"""Prompts that are scored and saved together: what a crash can cost, and what memory holds."""

AHEAD = 16_384
"""Responses whose single texts are featurized together, sorted by length: the more, the less of
what a model reads is padding."""


def score_run(
    run: Run,
    chosen: Settings,
    scorers: Mapping[str, Sequence[Metric]],
    models: Mapping[str, OpenFeature],
    report: Report,
) -> None:
    """Featurize, score and estimate every model on these tasks; write the leaderboard.

    What is scored already, with the same metrics on the same responses, stays as it is, and so
    does what the run holds of other tasks. A model that lacks responses is left out, and named in
    the run's notes.
    """
    places = [place for place in _places(run, scorers) if is_whole(run, *place)]
    marks = {(m, t): _mark(run, m, t, scorers[t], models, chosen) for m, t in places}
    stale = _stale_places(run, marks)
    # Taken back first: whatever stops us, a mark stands only for what is on the disk.
    scored = {place: mark for place, mark in _scored_marks(run).items() if place not in stale}
    facts = {metric.name: metric.facts() for metric in all_metrics(scorers)}
    run.save(
        scored=[[*place, mark] for place, mark in scored.items()],
        metrics={**run.manifest.get("metrics", {}), **facts},
    )
    features = {
        name: KeptFeature(model, run.features(name, digest(model.identity)))
        for name, model in models.items()
    }
    with run.measure_time("score"), scoring_pool(chosen.workers) as score, finishing():
        progress = _Progress(report)
        indexed = {place: Groups(run, *place, reading_of(chosen)) for place in stale}
        progress.total = sum(map(len, indexed.values()))
        places_of = {place: _Place(run, *place, marks[place], chosen.truncate) for place in indexed}
        _featurize_in_turn(places_of, indexed, scorers, features, report)
        for place, groups in indexed.items():
            _score_place(places_of[place], groups, scorers[place[1]], features, score, progress)
    with run.measure_time("score"):
        _score_equal(run, chosen, scorers, features, marks, report)
    unread = _unread(run, indexed, scorers, features)
    for kept in features.values():
        kept.feature.close()
    estimates = _estimate(run, chosen, scorers, models, places, stale)
    scored |= marks
    states = _states(run, stale)
    run.save(
        status="complete",
        features={**run.manifest.get("features", {}), **_made_by(features)},
        scored=[[*place, mark] for place, mark in scored.items()],
        scored_metrics={
            **run.manifest.get("scored_metrics", {}),
            **{task: [metric.name for metric in metrics] for task, metrics in scorers.items()},
        },
        tokens=_tokens(run, stale),
        states=states,
        unread=unread,
        notes=[
            *run.manifest["notes"],
            *_told_states(states, places),
            *_unfinished_remarks(run, scorers),
            *_lost_remarks(run, estimates),
            *_cut_by_models(features),
            *_told_echoes(indexed, scorers, features),
        ],
        finished=provenance.now(),
    )
    write_leaderboard(run.path / "leaderboard.json", run_board(run).board)


@dataclass(frozen=True)
class _Place:
    """Whose scores are being made, and under which mark."""

    run: Run
    model: str
    task: str
    mark: str
    truncate: int | None

    def finished_parts(self) -> set[int]:
        return self.run.score_parts(self.model, self.task, self.mark)

    def save(self, number: int, rows: Iterable[Score], of: int) -> None:
        place = (self.model, self.task, number)
        self.run.write_score_part(*place, rows, of=of, mark=self.mark)


class _Progress:
    """Prompts scored so far, over all models and tasks."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.done = 0
        self.total = 0

    def add(self, count: int) -> None:
        self.done += count
        self.report("score", self.done, self.total)


def _featurize_in_turn(
    places: Mapping[tuple[str, str], _Place],
    indexed: Mapping[tuple[str, str], Groups],
    scorers: Mapping[str, Sequence[Metric]],
    features: Mapping[str, KeptFeature],
    report: Report,
) -> None:
    """Have each feature model but the last see all texts, then give its memory back.

    So one model at a time is in memory; the rows are found again when groups are scored.
    """
    names = list(features)
    for count, name in enumerate(names[:-1], start=1):
        some = {known: features[known] for known in names[:count]}
        for (model, task), groups in indexed.items():
            place = places[model, task]
            metrics = [metric for metric in scorers[task] if metric.level == "group"]
            done, ahead = place.finished_parts(), _chunks_ahead(groups)
            for number, chunk in groups.chunks(SCORE_CHUNK):
                if number % ahead == 0:
                    chunks = range(number, number + ahead)
                    _featurize_ahead(place, groups, chunks, metrics, some, report)
                if number not in done:
                    halves = featurize_groups(
                        chunk, metrics, some, truncate=place.truncate, report=report
                    )
                    deque(halves, maxlen=0)
        features[name].feature.close()


def _score_place(
    place: _Place,
    groups: Groups,
    metrics: Sequence[Metric],
    features: Mapping[str, KeptFeature],
    score: Scorer,
    progress: _Progress,
) -> None:
    """Score one model on one task, a chunk of prompts at a time; chunks on the disk stay."""
    per_group = [metric for metric in metrics if metric.level == "group"]
    per_corpus = [metric for metric in metrics if metric.level == "corpus"]
    done = place.finished_parts()
    last = -(-len(groups) // SCORE_CHUNK)
    parts = (last if per_group else 0) + bool(per_corpus)
    ahead = _chunks_ahead(groups)
    for number, start in enumerate(range(0, len(groups), SCORE_CHUNK)):
        end = min(start + SCORE_CHUNK, len(groups))
        if number % ahead == 0 and per_group:
            chunks = range(number, number + ahead)
            _featurize_ahead(place, groups, chunks, per_group, features, progress.report)
        if number not in done and per_group:
            rows = score_groups(
                groups.read(start, end),
                per_group,
                features,
                truncate=place.truncate,
                report=progress.report,
                score=score,
            )
            place.save(number, chain.from_iterable(rows), parts)
            leave_if_asked()
        progress.add(end - start)
    if per_corpus and last not in done:
        members = chain.from_iterable(chunk for _, chunk in groups.chunks(SCORE_CHUNK))
        place.save(
            last,
            score_corpus(
                members, per_corpus, features, truncate=place.truncate, report=progress.report
            ),
            parts,
        )


def _chunks_ahead(groups: Groups) -> int:
    """How many chunks of prompts have AHEAD responses."""
    return max(1, AHEAD * len(groups) // max(1, groups.responses) // SCORE_CHUNK)


def _featurize_ahead(
    place: _Place,
    groups: Groups,
    numbers: range,
    metrics: Sequence[Metric],
    features: Mapping[str, KeptFeature],
    report: Report,
) -> None:
    """Compute what single texts of some chunks need, but of those that are scored already."""
    if all(kept.feature.of_groups for kept in features.values()):
        return
    done = place.finished_parts()
    some: list[Group] = []
    for number in numbers:
        start = number * SCORE_CHUNK
        if number not in done and start < len(groups):
            some += groups.read(start, min(start + SCORE_CHUNK, len(groups)))
    featurize_ahead(some, metrics, features, truncate=place.truncate, report=report)


def _score_equal(
    run: Run,
    chosen: Settings,
    scorers: Mapping[str, Sequence[Metric]],
    features: Mapping[str, KeptFeature],
    marks: Mapping[tuple[str, str], str],
    report: Report,
) -> None:
    """Score at smaller numbers of responses what other models have fewer of.

    What that is depends on all models of a task: a model that is added later makes it anew.
    """
    for task, metrics in scorers.items():
        models = [model for model, own in marks if own == task]
        tables = [run.scores_of(model, task) for model in models]
        whole = pa.concat_tables([SCORE_SCHEMA.empty_table(), *tables])
        wanted = wanted_counts(whole, metrics, fixed=chosen.responses)
        for model in models:
            mine = {key: counts for key, counts in wanted.items() if key[0] == model}
            mark = digest([marks[model, task], sorted([*key, *k] for key, k in mine.items())])
            if run.equal_scores_mark(model, task) == mark or (
                not mine and run.equal_scores_mark(model, task) is None
            ):
                continue
            rows = chain.from_iterable(
                score_smaller(
                    chunk, metrics, features, mine, truncate=chosen.truncate, report=report
                )
                for _, chunk in Groups(run, model, task).chunks(SCORE_CHUNK)
            )
            run.write_equal_scores(model, task, rows, mark=mark)


def _estimate(
    run: Run,
    chosen: Settings,
    scorers: Mapping[str, Sequence[Metric]],
    models: Mapping[str, OpenFeature],
    places: Sequence[tuple[str, str]],
    stale: Sequence[tuple[str, str]],
) -> list[Estimate]:
    """All estimates of the run, those of `stale` made anew; they are on the disk then."""
    with run.measure_time("estimate"):
        estimates = list(_kept_estimates(run, scorers, places, stale))
        for model, task in stale:
            estimates += estimate(
                run.scores_of(model, task),
                scorers[task],
                signatures(models),
                truncate=chosen.truncate,
                reading=reading_of(chosen).signature,
            )
        estimates = _in_order(run, estimates)
        run.write_estimates(estimates)
    return estimates


def _tokens(run: Run, stale: Sequence[tuple[str, str]]) -> dict[str, dict[str, int | None]]:
    """Generated tokens by model and task, counted again where responses may be new."""
    counted: dict[str, dict[str, int | None]] = run.manifest.get("tokens", {})
    for model, task in stale:
        counted = {
            **counted,
            model: {**counted.get(model, {}), task: generated_tokens(run, model, task)},
        }
    return counted


def _states(run: Run, stale: Sequence[tuple[str, str]]) -> dict[str, dict[str, dict[str, int]]]:
    """Responses in each state by model and task, counted again where responses may be new."""
    counted: dict[str, dict[str, dict[str, int]]] = run.manifest.get("states", {})
    for model, task in stale:
        counted = {
            **counted,
            model: {**counted.get(model, {}), task: count_responses(run, model, task)},
        }
    return counted


def _told_states(
    states: Mapping[str, Mapping[str, Mapping[str, int]]], places: Iterable[tuple[str, str]]
) -> list[str]:
    """A remark for each model and task with responses that are cut off or have no text."""
    remarks = []
    for model, task in places:
        counts = states[model][task]
        total = counts["responses"]
        parts = [
            f"{counts[state]} {state} ({counts[state] / total:.1%})"
            for state in ("unfinished", "empty", "filtered", "failed")
            if counts[state]
        ]
        if parts:
            remarks.append(f"{model}: of {total} responses to {task}, {', '.join(parts)}")
    return remarks


def _cut_by_models(features: Mapping[str, KeptFeature]) -> list[str]:
    """A remark for each feature model that did not read all texts to their ends."""
    return [
        f"{feature.cache.truncated} different texts are longer than the model behind '{name}' "
        "reads; it saw only their beginnings"
        for name, feature in features.items()
        if feature.cache.truncated
    ]


def _told_echoes(
    indexed: Mapping[tuple[str, str], Groups],
    scorers: Mapping[str, Sequence[Metric]],
    features: Mapping[str, KeptFeature],
) -> list[str]:
    """A remark for each model and task some of whose responses only repeat the prompt."""
    remarks = []
    for (model, task), groups in indexed.items():
        chunks = (chunk for _, chunk in groups.chunks(SCORE_CHUNK))
        if echoes := count_echoes(chunks, scorers[task], features):
            remarks.append(
                f"model '{model}', task '{task}': {echoes} responses only repeat their prompt; "
                "metrics given the prompt leave them out"
            )
    return remarks


def _unread(
    run: Run,
    indexed: Mapping[tuple[str, str], Groups],
    scorers: Mapping[str, Sequence[Metric]],
    features: Mapping[str, KeptFeature],
) -> dict[str, dict[str, dict[str, Any]]]:
    """By model and task, the texts that the embedding model has no words for, as Unread has it."""
    counted: dict[str, dict[str, dict[str, Any]]] = run.manifest.get("unread", {})
    for (model, task), groups in indexed.items():
        chunks = (chunk for _, chunk in groups.chunks(SCORE_CHUNK))
        found = find_unread(chunks, scorers[task], features)
        counted = {**counted, model: {**counted.get(model, {}), task: asdict(found)}}
    return counted


def _made_by(features: Mapping[str, KeptFeature]) -> dict[str, Any]:
    """The features' part of run.json."""
    return {
        name: {
            "identity": feature.feature.identity,
            "truncated": feature.cache.truncated,
        }
        for name, feature in features.items()
    }


def reading_of(chosen: Settings) -> Reading:
    """Which texts are scored, as the user says."""
    return Reading(chosen.unfinished, chosen.reasoning)


def _places(run: Run, tasks: Iterable[str]) -> list[tuple[str, str]]:
    return [(model, task) for model in run.manifest["models"] for task in tasks]


def _unfinished_remarks(run: Run, tasks: Iterable[str]) -> list[str]:
    """A remark for each model that has some of its responses to a task, and not all."""
    remarks = []
    for model, task in _places(run, tasks):
        have, owed = len(run.response_keys(model, task)), count_owed(run, model, task) or 1
        if 0 < have < owed:
            from_file = run.manifest["models"][model]["engine"] == "file"
            remedy = "score its file again" if from_file else f"name it again: --model {model}=…"
            remarks.append(
                f"{model} has {have} of {owed} responses to {task} and is left out there; "
                f"to finish it, {remedy}"
            )
    return remarks


def _lost_remarks(run: Run, estimates: Sequence[Estimate]) -> list[str]:
    """A remark for each task whose scores are there without their estimates."""
    there = {(row.model, row.task) for row in estimates}
    places = _places(run, run.manifest["tasks"])
    lost = {t: None for m, t in places if run.has_scores(m, t) and (m, t) not in there}
    return [f"{t} has scores without estimates; make them again with --task {t}" for t in lost]


def _kept_estimates(
    run: Run,
    tasks: Iterable[str],
    places: Sequence[tuple[str, str]],
    stale: Sequence[tuple[str, str]],
) -> list[Estimate]:
    """The estimates that stay: of other tasks, and of what is up to date."""
    gone = {place for place in _places(run, tasks) if place not in places}
    for place in gone:
        run.drop_scores(*place)
    stay = set(_places(run, run.manifest["tasks"])).difference(gone, stale)
    return [row for row in run.estimates() if (row.model, row.task) in stay]


def _mark(
    run: Run,
    model: str,
    task: str,
    metrics: Sequence[Metric],
    models: Mapping[str, OpenFeature],
    chosen: Settings,
) -> str:
    """Digest of all that a model's scores on a task depend on."""
    made_by = signatures(models)
    reading = reading_of(chosen).signature
    cited = [metric.signature(made_by, chosen.truncate, reading) for metric in metrics]
    keys = sorted(run.response_keys(model, task))
    made_from: list[Any] = [__version__, SCORE_CHUNK, keys, cited]
    needs = {need for metric in metrics for need in metric.needs}
    if any(need in ("references", "correct") or need.startswith(REFERENCE) for need in needs):
        # A later file may bring the references of a prompt.
        made_from.append([[p.id, p.references] for p in run.prompts(task) if p.references])
    return digest(made_from)


def _scored_marks(run: Run) -> dict[tuple[str, str], str]:
    return {(model, task): mark for model, task, mark in run.manifest.get("scored", [])}


def _stale_places(run: Run, marks: Mapping[tuple[str, str], str]) -> list[tuple[str, str]]:
    """The models and tasks whose scores are missing or out of date."""
    scored = _scored_marks(run)
    there = {(row.model, row.task) for row in run.estimates()}
    return [
        place
        for place, mark in marks.items()
        if scored.get(place) != mark or place not in there or not run.has_scores(*place)
    ]


def _in_order(run: Run, estimates: Sequence[Estimate]) -> list[Estimate]:
    """By model and task as the run names them, whichever was scored first."""
    models, tasks = list(run.manifest["models"]), list(run.manifest["tasks"])
    return sorted(estimates, key=lambda row: (models.index(row.model), tasks.index(row.task)))


def all_metrics(scorers: Mapping[str, Sequence[Metric]]) -> list[Metric]:
    """The metrics of all tasks, each once."""
    return list({m.name: m for metrics in scorers.values() for m in metrics}.values())


def signatures(features: Mapping[str, OpenFeature]) -> dict[str, str]:
    """The short names of the feature models, as a metric's signature cites them."""
    return {name: model.signature for name, model in features.items()}
