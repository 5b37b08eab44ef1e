"""What metrics are given: groups with their features, cut to equal length, or pooled.

`Inputs` makes what a metric `needs` of a group, each once, however many metrics need it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tofu_eval.analysis.comparison import Unread
from tofu_eval.core.errors import MetricInputError
from tofu_eval.core.reasoning import Tag, split_reasoning, state_of
from tofu_eval.core.scripts import truncate_words
from tofu_eval.core.states import count_states
from tofu_eval.core.tokens import TOKENISERS
from tofu_eval.core.types import OF_PROMPT, REFERENCE, Group, Prompt, Report, feature_of, no_report
from tofu_eval.features.base import fill
from tofu_eval.features.open import OpenFeature
from tofu_eval.features.text import tokens
from tofu_eval.metrics import Metric
from tofu_eval.run.feature_cache import FeatureCache
from tofu_eval.run.responses import Reading

OF_ENGINE = {
    "logprob": "log-probability",
    "token_logprobs": "log-probabilities of their tokens (kept by: run --token-logprobs)",
    "finish_reason": "finish reason",
    "correct": "verdict 'correct'",
}
"""What an engine or a file says of a response, by need, and what a reason calls it."""

NO_ANSWER = {"correct": float("nan"), "answer": -1}
"""The row of a response without an answer, by need."""

CORPUS = "the whole corpus"
"""What the prompt of a pooled group is called in messages."""


@dataclass(frozen=True)
class KeptFeature:
    """A feature that is open, and the rows that it has made so far."""

    feature: OpenFeature
    cache: FeatureCache


def with_features(
    groups: Sequence[Group],
    metrics: Sequence[Metric],
    features: Mapping[str, KeptFeature],
    report: Report,
) -> list[Group]:
    """The groups with the features that the metrics need; those of one text come first."""
    groups = of_texts(groups, metrics, features, report)
    return of_groups(groups, metrics, features, report)


def of_texts(
    groups: Sequence[Group],
    metrics: Sequence[Metric],
    features: Mapping[str, KeptFeature],
    report: Report,
) -> list[Group]:
    """The groups with the features of single texts that the metrics need."""
    groups = list(groups)
    needs = needed_inputs(metrics, features)
    for kept in _asked_features(needs, features):
        if not kept.feature.of_groups:
            groups = featurize(groups, kept, report, needs)
    return groups


def of_groups(
    groups: Sequence[Group],
    metrics: Sequence[Metric],
    features: Mapping[str, KeptFeature],
    report: Report,
) -> list[Group]:
    """The groups with the features of all responses together that the metrics need."""
    groups = list(groups)
    for kept in _asked_features(needed_inputs(metrics, features), features):
        if kept.feature.of_groups:
            groups = _with_group_feature(groups, kept, report)
    return groups


def _with_group_feature(groups: list[Group], kept: KeptFeature, report: Report) -> list[Group]:
    rows = kept.feature.compute_groups(groups, kept.cache, report)
    return [
        replace(group, features={**group.features, **more})
        for group, more in zip(groups, rows, strict=True)
    ]


def _asked_features(needs: Iterable[str], features: Mapping[str, KeptFeature]) -> list[KeptFeature]:
    wanted = {feature_of(need) for need in needs}
    return [kept for kept in features.values() if wanted & {*kept.feature.declared.names}]


def needed_inputs(metrics: Iterable[Metric], features: Mapping[str, KeptFeature]) -> frozenset[str]:
    """All inputs that the metrics need, and what the features among them are made from."""
    needs = {need for metric in metrics for need in metric.needs}
    for kept in reversed([*features.values()]):  # what another is made from stands before it
        if kept in _asked_features(needs, features):
            needs.update(kept.feature.requires)
    return frozenset(needs)


@dataclass(frozen=True)
class _Asked:
    """What a feature of single texts is made of: the pairs by key, and each group's keys."""

    pairs: dict[str, tuple[Prompt, str]]
    keys: list[list[str]]
    parts: Mapping[str, Sequence[str]]


def _ask(groups: Sequence[Group], feature: OpenFeature, needs: Iterable[str]) -> _Asked:
    of_references = f"{REFERENCE}{feature.name}" in needs
    of_prompt = f"{OF_PROMPT}{feature.name}" in needs
    parts = {
        group.prompt.asked: split_prompt(feature, group.prompt) if of_prompt else ()
        for group in groups
    }
    texts = [
        (
            *group.texts,
            *(group.prompt.references if of_references else ()),
            *parts[group.prompt.asked],
        )
        for group in groups
    ]
    keys = [
        [feature.key(group.prompt, text) for text in row]
        for group, row in zip(groups, texts, strict=True)
    ]
    pairs = {
        key: (group.prompt, text)
        for group, row_keys, row in zip(groups, keys, texts, strict=True)
        for key, text in zip(row_keys, row, strict=True)
    }
    return _Asked(pairs, keys, parts)


def _fill(kept: KeptFeature, asked: _Asked, report: Report) -> None:
    """Compute what the cache lacks, texts of similar length together: little is padded."""
    feature, pairs = kept.feature, asked.pairs

    def compute(some: Sequence[str]) -> tuple[NDArray[np.float32], int]:
        before = feature.truncated
        return feature.compute_rows([pairs[key] for key in some]), feature.truncated - before

    fill(kept.cache, _by_length(pairs), compute, stage=f"{feature.name}s", report=report)


def _by_length(pairs: Mapping[str, tuple[Prompt, str]]) -> dict[str, tuple[Prompt, str]]:
    return {key: pairs[key] for key in sorted(pairs, key=lambda key: (len(pairs[key][1]), key))}


def fill_texts(
    groups: Sequence[Group],
    metrics: Sequence[Metric],
    features: Mapping[str, KeptFeature],
    report: Report,
) -> None:
    """Have the features of single texts that the metrics need computed, for later."""
    needs = needed_inputs(metrics, features)
    for kept in _asked_features(needs, features):
        if not kept.feature.of_groups:
            _fill(kept, _ask(groups, kept.feature, needs), report)


def asked_pairs(
    groups: Sequence[Group],
    kept: KeptFeature,
    metrics: Iterable[Metric],
    features: Mapping[str, KeptFeature],
) -> dict[str, tuple[Prompt, str]]:
    """What a feature of single texts is made of, by key, texts of similar length together.

    Empty where the metrics do not need it.
    """
    needs = needed_inputs(metrics, features)
    if kept not in _asked_features(needs, features):
        return {}
    return _by_length(_ask(groups, kept.feature, needs).pairs)


def with_requirements(
    groups: Sequence[Group],
    metrics: Sequence[Metric],
    kept: KeptFeature,
    features: Mapping[str, KeptFeature],
    report: Report,
) -> Iterator[list[Group]]:
    """The groups with all that a feature of groups is made from; nothing where it is not needed."""
    needs = needed_inputs(metrics, features)
    asked = _asked_features(needs, features)
    if kept not in asked:
        return
    groups, before = list(groups), asked[: asked.index(kept)]
    for one in before:
        if not one.feature.of_groups:
            groups = featurize(groups, one, report, needs)
    for one in before:
        if one.feature.of_groups:
            groups = _with_group_feature(groups, one, report)
    yield groups


def featurize(
    groups: Sequence[Group], kept: KeptFeature, report: Report, needs: Iterable[str] = ()
) -> list[Group]:
    """The groups with one more feature; texts that the cache knows are not computed again.

    The references get it too where `needs` has "reference_NAME", and the prompt where it has
    "prompt_NAME": in as many parts as the model has to read it in.
    """
    feature, cache = kept.feature, kept.cache
    asked = _ask(groups, feature, needs)
    _fill(kept, asked, report)
    featured = []
    for group, row in zip(groups, asked.keys, strict=True):
        n = len(group.texts)
        more = {feature.name: cache.rows(row[:n])}
        end = len(row) - len(asked.parts[group.prompt.asked])
        if f"{REFERENCE}{feature.name}" in needs and end > n:
            more[f"{REFERENCE}{feature.name}"] = cache.rows(row[n:end])
        if end < len(row):
            more[f"{OF_PROMPT}{feature.name}"] = cache.rows(row[end:])
        featured.append(replace(group, features={**group.features, **more}))
    return featured


def find_unread(
    chunks: Iterable[Sequence[Group]],
    metrics: Sequence[Metric],
    features: Mapping[str, KeptFeature],
) -> Unread:
    """The texts that the embedding model has no words for, and the metrics that stand on them."""
    kept = features.get("embedding")
    find = getattr(kept.feature.model, "find_unread", None) if kept else None
    standing = tuple(
        metric.name
        for metric in metrics
        if "embedding" in {feature_of(need) for need in needed_inputs([metric], features)}
    )
    texts = total = 0
    for chunk in chunks if find and standing else ():
        own = [text for group in chunk for text in group.texts]
        total += len(own)
        texts += sum(find(own)[0]) if find and own else 0
    return Unread(texts, total, standing)


def count_echoes(
    chunks: Iterable[Sequence[Group]],
    metrics: Sequence[Metric],
    features: Mapping[str, KeptFeature],
) -> int:
    """The responses that only repeat their prompt: metrics given the prompt leave them out."""
    from tofu_eval.metrics.given_prompt import repeats_prompt

    kept, name = features.get("embedding"), f"{OF_PROMPT}embedding"
    if kept is None or not any(name in metric.needs for metric in metrics):
        return 0
    echoes = 0
    for chunk in chunks:
        for group in featurize(chunk, kept, no_report, (name,)):
            if group.texts and name in group.features:
                rows = group.features["embedding"], group.features[name]
                echoes += int(repeats_prompt(*rows).sum())
    return echoes


def split_prompt(feature: OpenFeature, prompt: Prompt) -> tuple[str, ...]:
    """The prompt's text in parts that the model reads whole; none where it has no text."""
    if not prompt.asked.strip():
        return ()
    windows = getattr(feature.model, "windows", None)
    return (prompt.asked,) if windows is None else tuple(windows(prompt.asked))


def truncate_group(group: Group, words: int) -> Group:
    """The responses of at least that many words, each cut to its first `words`.

    Shorter ones are left out, so that all texts are equally long; features of the texts are
    dropped, what the engine said of a response stays.
    """
    truncated = [truncate_words(text, words) for text in group.texts]
    kept = [i for i, text in enumerate(truncated) if text is not None]
    return replace(
        group,
        texts=tuple(text for text in truncated if text is not None),
        features={
            name: [rows[i] for i in kept]
            for name, rows in group.features.items()
            if name in OF_ENGINE
        },
    )


def settle_group(group: Group, reading: Reading, tags: Sequence[Tag]) -> Group:
    """A group as the user made it, of the texts that are scored: without thoughts, none empty."""
    if group.states["responses"] != len(group.texts) or group.thoughts:
        return group  # whoever made it has done so
    reasons = group.features.get("finish_reason", [None] * len(group.texts))
    parts = [split_reasoning(text, tags=tags) for text in group.texts]
    states = [
        state_of(part.answer, reason, closed=part.closed)
        for part, reason in zip(parts, reasons, strict=True)
    ]
    texts = [part.answer for part in parts]
    kept, scored = reading.select(states, texts, [part.reasoning for part in parts])
    return replace(
        group,
        texts=tuple(scored),
        features={name: _rows_of(name, rows, kept) for name, rows in group.features.items()},
        states=count_states(states, texts),
        thoughts=tuple(part.reasoning for part in parts if part.reasoning),
    )


def _rows_of(name: str, rows: Any, kept: Sequence[int]) -> Any:
    if name.startswith((REFERENCE, OF_PROMPT)) or len(kept) == len(rows):
        return rows
    return rows[list(kept)] if isinstance(rows, np.ndarray) else [rows[i] for i in kept]


def take_thoughts(group: Group) -> Group:
    """What was thought before the responses in place of the responses, for those that thought."""
    return replace(group, texts=group.thoughts, features={})


def pool_groups(groups: Iterable[Group]) -> Group:
    """All groups of one model and task as one: what a metric of level "corpus" is computed on."""
    members = list(groups)
    first = members[0]
    names = set(first.features).intersection(*(group.features for group in members))
    names = {name for name in names if not name.startswith(OF_PROMPT)}
    references = tuple(text for group in members for text in group.prompt.references)
    return Group(
        Prompt(CORPUS, (), references),
        tuple(text for group in members for text in group.texts),
        first.model,
        first.task,
        {
            **{name: _join([group.features[name] for group in members]) for name in names},
            "prompts": np.repeat(np.arange(len(members)), [len(g.texts) for g in members]),
        },
        {state: sum(group.states[state] for group in members) for state in first.states},
        tuple(thought for group in members for thought in group.thoughts),
    )


def _join(parts: Sequence[Any]) -> Any:
    parts = [part for part in parts if len(part)] or parts[:1]
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return [row for part in parts for row in part]


class Inputs:
    """What metrics may need of a group, each made when it is first asked for."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._made: dict[str, Any] = {
            "text": group.texts, "prompt": group.prompt, "states": group.states,
            "prompts": np.zeros(len(group.texts), dtype=np.int64), **group.features
        }  # fmt: skip

    def arguments(self, metric: Metric) -> list[Any]:
        """What a metric is called with, in the order of its needs.

        What is asked about answers alone counts the empty responses too: who says nothing has an
        answer that cannot be read.
        """
        arrays = [self[need] for need in metric.needs]
        if not set(metric.needs) <= set(NO_ANSWER):
            return arrays
        empty = self._group.states["empty"]
        return [
            np.append(np.asarray(array), [NO_ANSWER[need]] * empty) if empty else array
            for need, array in zip(metric.needs, arrays, strict=True)
        ]

    def __getitem__(self, need: str) -> Any:
        """The input; MetricInputError where the group has none."""
        if need not in self._made:
            self._made[need] = self._make(need)
        if need in OF_ENGINE:
            unknown = sum(row is None for row in self._made[need])
            if unknown:
                raise MetricInputError(
                    f"{unknown} of {len(self._group.texts)} responses have no {OF_ENGINE[need]}"
                )
        return self._made[need]

    def _make(self, need: str) -> Any:
        if need in TOKENISERS:
            return tokens(self._group.texts, need)
        if need.startswith(OF_PROMPT):
            raise MetricInputError("the prompt has no text")
        feature_name = need.removeprefix(REFERENCE)
        if need == "references" or feature_name != need:
            if not self._group.prompt.references:
                raise MetricInputError("the prompt has no references")
            if need == "references":
                return self._group.prompt.references
            if feature_name in TOKENISERS:
                return tokens(self._group.prompt.references, feature_name)
        raise MetricInputError(f"the responses have no {OF_ENGINE.get(need, need)}")
