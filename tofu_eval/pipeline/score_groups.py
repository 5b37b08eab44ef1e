"""Groups of responses that are in memory, scored without a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Unpack

from tofu_eval.core.errors import ConfigError
from tofu_eval.core.options import ScoringOptions
from tofu_eval.core.reasoning import read_tags
from tofu_eval.core.tables import EQUAL_SCHEMA, ESTIMATE_SCHEMA, SCORE_SCHEMA, to_table
from tofu_eval.core.types import Group, Report, Score, no_report
from tofu_eval.features.open import open_features
from tofu_eval.features.settings import read_scoring_settings
from tofu_eval.pipeline.equal_counts import measure_lengths, score_smaller, wanted_counts
from tofu_eval.pipeline.estimate import estimate
from tofu_eval.pipeline.evaluate import Result
from tofu_eval.pipeline.inputs import KeptFeature, find_unread, settle_group
from tofu_eval.pipeline.plan import metrics_of
from tofu_eval.pipeline.score import score_chunks, score_corpus, scoring_pool
from tofu_eval.pipeline.score_run import SCORE_CHUNK, reading_of, signatures
from tofu_eval.run.feature_cache import FeatureCache


def score(
    groups: Iterable[Group] | Group,
    *,
    report: Report = no_report,
    **options: Unpack[ScoringOptions],
) -> Result:
    """Score groups of responses in memory; nothing is written.

    Args:
        groups: one a model, task and prompt. Features that they already have are used as they are.
        report: told about progress as (stage, done, total).
        options: the fields of `config.Settings` that concern scoring.

    Raises:
        TofuEvalError: an unknown metric, a feature model that cannot be had, two groups of one
            model, task and prompt, or a feature that only some groups have.
    """
    chosen = read_scoring_settings(options, limit=False)
    if chosen.scoring != "here":
        raise ConfigError(
            "te.score works on groups in memory, in this process; scoring='ray' is for runs. Leave "
            "it out, or score a file: te.score_files"
        )
    groups = _checked_groups(groups)
    tags = read_tags(chosen.reasoning_tags)
    groups = [settle_group(group, reading_of(chosen), tags) for group in groups]
    scorers = metrics_of(chosen, ())
    given = _given_features(groups)
    opened = open_features(chosen, scorers, given)
    features = {name: KeptFeature(one, FeatureCache()) for name, one in opened.items()}
    per_group = [metric for metric in scorers if metric.level == "group"]
    per_corpus = [metric for metric in scorers if metric.level == "corpus"]
    scores: list[Score] = []
    with scoring_pool(chosen.workers) as scorer:
        chunks = [groups[i : i + SCORE_CHUNK] for i in range(0, len(groups), SCORE_CHUNK)]
        done = 0
        for rows in score_chunks(
            chunks, per_group, features, truncate=chosen.truncate, report=report, score=scorer
        ):
            scores += chain.from_iterable(rows)
            done += len(rows)
            report("score", done, len(groups))
    for corpus in _corpora(groups):
        scores += score_corpus(
            corpus, per_corpus, features, truncate=chosen.truncate, report=report
        )
    table = to_table(scores, SCORE_SCHEMA)
    wanted = wanted_counts(table, scorers, fixed=chosen.responses)
    smaller = score_smaller(groups, per_group, features, wanted, truncate=chosen.truncate)
    estimates = estimate(
        table,
        scorers,
        signatures(opened),
        truncate=chosen.truncate,
        reading=reading_of(chosen).signature,
    )
    metadata: dict[str, dict[str, Mapping[str, str]]] = {}
    for group in groups:
        metadata.setdefault(group.task, {})[group.prompt.id] = group.prompt.metadata
    return Result(
        table,
        to_table(estimates, ESTIMATE_SCHEMA),
        smaller=to_table(smaller, EQUAL_SCHEMA),
        metrics={metric.name: metric.facts() for metric in scorers},
        lengths=measure_lengths(groups),
        metadata=metadata,
        truncated=chosen.truncate is not None,
        unread={
            (corpus[0].model, corpus[0].task): find_unread([corpus], scorers, features)
            for corpus in _corpora(groups)
        },
    )


def _corpora(groups: Iterable[Group]) -> Iterable[list[Group]]:
    """The groups of each model and task together."""
    corpora: dict[tuple[str, str], list[Group]] = {}
    for group in groups:
        corpora.setdefault((group.model, group.task), []).append(group)
    return corpora.values()


def _checked_groups(groups: object) -> list[Group]:
    """Groups as the user gives them: one, or several; nothing else."""
    several = isinstance(groups, Iterable) and not isinstance(groups, str)
    given: list[Any] = list(groups) if several else [groups]  # type: ignore[call-overload]
    for place, group in enumerate(given, start=1):
        if not isinstance(group, Group):
            raise ConfigError(
                f"score takes Groups of responses, got {group!r:.60} at place {place}. "
                "Write: te.Group(te.Prompt.of_text('1', 'Name a fruit.'), ('apple', 'pear'))"
            )
    if not given:
        raise ConfigError(
            "score got no groups. "
            "Write: te.Group(te.Prompt.of_text('1', 'Name a fruit.'), ('apple', 'pear'))"
        )
    return given


def _given_features(groups: Sequence[Group]) -> set[str]:
    """The features that the groups bring; also refuses what would count a prompt twice."""
    places = Counter((group.model, group.task, group.prompt.id) for group in groups)
    for (model, task, prompt), count in places.items():
        if count > 1:
            raise ConfigError(
                f"{count} groups are of prompt '{prompt}', task '{task}' and model '{model}'; "
                "expected one. Put their texts into one group."
            )
    given = {name for group in groups for name in group.features}
    for group in groups:
        for name in given.difference(group.features):
            raise ConfigError(
                f"The group of prompt '{group.prompt.id}' lacks the feature '{name}', which other "
                "groups have. Give it to all groups or to none."
            )
    return given
