"""`--scoring ray`: features and the scores of groups over actors of Ray Data, on many machines.

It stands at two seams and changes nothing behind them. What a feature's model computes is computed
in actors, in the batches that one process would make, and kept in the run's caches: when the groups
are scored, nothing is missing. Groups that have all their features are scored by a `Scorer` that
deals them out. This process reads and writes the run; actors see neither it nor the run's disk.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from tofu_eval.core.errors import ConfigError
from tofu_eval.core.ray_actors import Actors
from tofu_eval.core.registry import load_file, loaded_files
from tofu_eval.core.termination import leave_if_asked
from tofu_eval.core.types import Group, Prompt, Report, no_report
from tofu_eval.features.base import CHUNK
from tofu_eval.features.open import OpenFeature
from tofu_eval.metrics import Metric
from tofu_eval.pipeline.inputs import KeptFeature, asked_pairs, with_requirements
from tofu_eval.pipeline.score import (
    Half,
    Rows,
    Scorer,
    score_by_name,
    split_halves,
    without_functions,
)
from tofu_eval.run.feature_cache import FeatureCache

Pairs = list[tuple[Prompt, str]]
Asked = tuple[Sequence[Group], Sequence[Metric]]
"""Groups, and the metrics whose features are wanted of them."""


def score_in(actors: Actors) -> Scorer:
    """What scores groups in actors; a metric must be known there by its name."""

    def score(chunks: Iterable[list[Half]]) -> Iterator[list[Rows]]:
        named = ([without_functions(half) for half in halves] for halves in chunks)
        yield from actors.map(_Scores, (loaded_files(),), named, what="scoring")

    return score


def featurize_in(
    actors: Actors,
    features: Mapping[str, KeptFeature],
    windows: Callable[[], Iterable[Asked]],
    chunks: Callable[[], Iterable[Asked]],
    *,
    truncate: int | None,
    report: Report,
) -> None:
    """Have all that models say of texts and groups computed in actors, and kept in the caches.

    Args:
        actors: where.
        features: those that the metrics need; what another is made from stands before it.
        windows: whose texts are sorted by length together.
        chunks: the groups that are scored together.
        truncate: words.
        report: told about progress.
    """
    for kept in features.values():
        if not kept.feature.of_groups:
            _fill_texts(actors, kept, features, windows(), truncate, report)
        elif hasattr(kept.feature.model, "close"):  # the others have no model, and cost little
            _fill_groups(actors, kept, features, chunks(), truncate, report)


def _fill_texts(
    actors: Actors,
    kept: KeptFeature,
    features: Mapping[str, KeptFeature],
    windows: Iterable[Asked],
    truncate: int | None,
    report: Report,
) -> None:
    waiting: list[list[str]] = []

    def batches() -> Iterator[Pairs]:
        dealt: set[str] = set()
        for groups, metrics in windows:
            for members, own, _ in split_halves(groups, metrics, truncate):
                pairs = asked_pairs(members, kept, own, features)
                missing = [key for key in kept.cache.find_missing(pairs) if key not in dealt]
                dealt.update(missing)
                for start in range(0, len(missing), CHUNK):
                    waiting.append(missing[start : start + CHUNK])
                    yield [pairs[key] for key in waiting[-1]]

    for number, (rows, truncated) in enumerate(_map(actors, _Texts, kept.feature, batches())):
        kept.cache.add(waiting[number], rows, truncated)
        waiting[number] = []
        report(f"{kept.feature.name} batches", number + 1, len(waiting))
        leave_if_asked()


def _fill_groups(
    actors: Actors,
    kept: KeptFeature,
    features: Mapping[str, KeptFeature],
    chunks: Iterable[Asked],
    truncate: int | None,
    report: Report,
) -> None:
    def batches() -> Iterator[list[Group]]:
        for groups, metrics in chunks:
            for members, own, _ in split_halves(groups, metrics, truncate):
                yield from with_requirements(members, own, kept, features, no_report)

    for done, (keys, rows, truncated) in enumerate(
        _map(actors, _Groups, kept.feature, batches()), start=1
    ):
        new = kept.cache.find_missing(keys)
        if new:
            place = {key: row for row, key in enumerate(keys)}
            kept.cache.add(new, rows[[place[key] for key in new]], truncated)
        report(f"{kept.feature.name} groups", done, done)
        leave_if_asked()


def _map(actors: Actors, make: type, feature: OpenFeature, batches: Iterable[Any]) -> Iterator[Any]:
    feature.close()  # actors load the weights themselves
    try:
        pickled = pickle.dumps(feature)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"The feature '{feature.name}' cannot be computed in actors of Ray: it cannot be sent "
            f"to them ({error}). Leave --scoring ray out."
        ) from error
    arguments = (loaded_files(), pickled)
    return actors.map(make, arguments, batches, what=f"the feature '{feature.name}'")


# What lives in an actor


class _Known:
    """What the user's files register is known there, as it is here."""

    def __init__(self, files: Sequence[str]) -> None:
        for file in files:
            load_file(file)


class _Scores(_Known):
    """Scores groups that have all their features."""

    def __call__(self, halves: Sequence[Any]) -> list[Rows]:
        return [score_by_name(half) for half in halves]


class _Feature(_Known):
    def __init__(self, files: Sequence[str], pickled: bytes) -> None:
        super().__init__(files)
        self.feature: OpenFeature = pickle.loads(pickled)


class _Texts(_Feature):
    """Makes a feature of single texts: rows, and how many of the texts were too long."""

    def __call__(self, pairs: Pairs) -> tuple[NDArray[Any], int]:
        before = self.feature.truncated
        return self.feature.compute_rows(pairs), self.feature.truncated - before


class _Groups(_Feature):
    """Makes a feature of groups: what it put into its cache."""

    def __call__(self, groups: list[Group]) -> tuple[list[str], NDArray[Any], int]:
        cache = FeatureCache()
        self.feature.compute_groups(groups, cache, no_report)
        keys = cache.keys()
        return keys, cache.rows(keys), cache.truncated
