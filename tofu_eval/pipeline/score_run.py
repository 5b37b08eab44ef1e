"""Scoring a run: what is new or out of date is featurized, scored and estimated."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa

from tofu_eval.core.config import Settings
from tofu_eval.core.ray_actors import Actors, scoring_actors
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
from tofu_eval.pipeline.inputs import KeptFeature
from tofu_eval.pipeline.ray_scoring import Asked, featurize_in, score_in
from tofu_eval.pipeline.score import (
    Scorer,
    featurize_ahead,
    featurize_groups,
    score_chunks,
    score_corpus,
    scoring_pool,
)
from tofu_eval.pipeline.score_notes import (
    count_states,
    count_tokens,
    count_unread,
    cut_remarks,
    describe_features,
    echo_remarks,
    lost_remarks,
    places_of_run,
    state_remarks,
    unfinished_remarks,
)
from tofu_eval.run import provenance
from tofu_eval.run.owed import is_whole
from tofu_eval.run.responses import Groups, Reading
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
    places = [place for place in places_of_run(run, scorers) if is_whole(run, *place)]
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
    with run.measure_time("score"), _scorer(chosen) as score, finishing():
        progress = _Progress(report)
        prompts = {task: run.prompts(task) for _, task in stale}
        indexed = {
            place: Groups(run, *place, reading_of(chosen), prompts[place[1]]) for place in stale
        }
        progress.total = sum(map(len, indexed.values()))
        places_of = {place: _Place(run, *place, marks[place], chosen.truncate) for place in indexed}
        if (actors := scoring_actors(chosen)) is not None:
            _featurize_on_ray(actors, places_of, indexed, scorers, features, report)
        _featurize_in_turn(places_of, indexed, scorers, features, report)
        for place, groups in indexed.items():
            _score_place(places_of[place], groups, scorers[place[1]], features, score, progress)
    with run.measure_time("score"):
        _score_equal(run, chosen, scorers, features, marks, report)
    unread = count_unread(run, indexed, scorers, features)
    remarks = [*cut_remarks(features), *echo_remarks(indexed, scorers, features)]
    described = describe_features(features)
    for kept in features.values():
        kept.feature.close()
    features.clear()  # the keys of millions of rows, while the board is made
    estimates = _estimate(run, chosen, scorers, models, places, stale)
    scored |= marks
    states = count_states(run, stale)
    run.save(
        status="complete",
        features={**run.manifest.get("features", {}), **described},
        scored=[[*place, mark] for place, mark in scored.items()],
        scored_metrics={
            **run.manifest.get("scored_metrics", {}),
            **{task: [metric.name for metric in metrics] for task, metrics in scorers.items()},
        },
        tokens=count_tokens(run, stale),
        states=states,
        unread=unread,
        notes=[
            *run.manifest["notes"],
            *state_remarks(states, places),
            *unfinished_remarks(run, scorers),
            *lost_remarks(run, estimates),
            *remarks,
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


def _scorer(chosen: Settings) -> AbstractContextManager[Scorer]:
    """What scores groups: this process, several, or actors of Ray."""
    actors = scoring_actors(chosen)
    return scoring_pool(chosen.workers) if actors is None else nullcontext(score_in(actors))


def _featurize_on_ray(
    actors: Actors,
    places: Mapping[tuple[str, str], _Place],
    indexed: Mapping[tuple[str, str], Groups],
    scorers: Mapping[str, Sequence[Metric]],
    features: Mapping[str, KeptFeature],
    report: Report,
) -> None:
    """Have the features of all texts and groups made in actors, before anything is scored."""

    def read(together: Callable[[Groups], int]) -> Iterator[Asked]:
        """The groups that are not scored yet, so many chunks at a time."""
        for place, groups in indexed.items():
            metrics = [metric for metric in scorers[place[1]] if metric.level == "group"]
            done, several = places[place].finished_parts(), together(groups)
            last = -(-len(groups) // SCORE_CHUNK) if metrics else 0
            for start in range(0, last, several):
                left = [n for n in range(start, min(start + several, last)) if n not in done]
                some = [group for number in left for group in _read_chunk(groups, number)]
                if some:
                    yield some, metrics

    def read_windows() -> Iterator[Asked]:
        yield from read(_chunks_ahead)
        for place, groups in indexed.items():
            metrics = [metric for metric in scorers[place[1]] if metric.level == "corpus"]
            if metrics:
                yield [group for _, chunk in groups.chunks(SCORE_CHUNK) for group in chunk], metrics

    featurize_in(
        actors,
        features,
        read_windows,
        lambda: read(lambda _: 1),
        truncate=next((place.truncate for place in places.values()), None),
        report=report,
    )


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
    todo = [number for number in range(last) if number not in done] if per_group else []
    left = sum(_size(groups, number) for number in todo)
    if left < len(groups):
        progress.add(len(groups) - left)

    def chunks() -> Iterator[list[Group]]:
        ahead, window = _chunks_ahead(groups), -1
        for number in todo:
            if number // ahead != window:
                window = number // ahead
                numbers = range(window * ahead, (window + 1) * ahead)
                _featurize_ahead(place, groups, numbers, per_group, features, progress.report)
            yield _read_chunk(groups, number)

    scored = score_chunks(
        chunks(),
        per_group,
        features,
        truncate=place.truncate,
        report=progress.report,
        score=score,
    )
    for number, rows in zip(todo, scored, strict=True):
        place.save(number, chain.from_iterable(rows), parts)
        progress.add(len(rows))
        leave_if_asked()
    if per_corpus and last not in done:
        members = chain.from_iterable(chunk for _, chunk in groups.chunks(SCORE_CHUNK))
        place.save(
            last,
            score_corpus(
                members, per_corpus, features, truncate=place.truncate, report=progress.report
            ),
            parts,
        )


def _size(groups: Groups, number: int) -> int:
    """How many prompts a chunk has."""
    return min(SCORE_CHUNK, len(groups) - number * SCORE_CHUNK)


def _read_chunk(groups: Groups, number: int) -> list[Group]:
    start = number * SCORE_CHUNK
    return groups.read(start, start + _size(groups, number))


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
        if number not in done and number * SCORE_CHUNK < len(groups):
            some += _read_chunk(groups, number)
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


def reading_of(chosen: Settings) -> Reading:
    """Which texts are scored, as the user says."""
    return Reading(chosen.unfinished, chosen.reasoning)


def _kept_estimates(
    run: Run,
    tasks: Iterable[str],
    places: Sequence[tuple[str, str]],
    stale: Sequence[tuple[str, str]],
) -> list[Estimate]:
    """The estimates that stay: of other tasks, and of what is up to date."""
    gone = {place for place in places_of_run(run, tasks) if place not in places}
    for place in gone:
        run.drop_scores(*place)
    stay = set(places_of_run(run, run.manifest["tasks"])).difference(gone, stale)
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
    made_from: list[Any] = [__version__, SCORE_CHUNK, run.key_digest(model, task), cited]
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
