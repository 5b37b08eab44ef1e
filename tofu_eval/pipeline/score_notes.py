"""What run.json is told of a scored run: counts of its responses, and remarks for the user."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tofu_eval.core.states import SHORT_OF
from tofu_eval.core.types import Estimate
from tofu_eval.metrics import Metric
from tofu_eval.pipeline.inputs import KeptFeature, count_echoes, find_unread
from tofu_eval.run.owed import count_owed
from tofu_eval.run.responses import Groups, count_responses, generated_tokens
from tofu_eval.run.store import Run

TOGETHER = 64
"""Prompts whose texts are in memory at once."""

EACH = 3
"""Models of which a remark each is made; of more there is one with the least and the greatest."""


def places_of_run(run: Run, tasks: Iterable[str]) -> list[tuple[str, str]]:
    """Each of the run's models with each of these tasks."""
    return [(model, task) for model in run.manifest["models"] for task in tasks]


def count_tokens(run: Run, stale: Sequence[tuple[str, str]]) -> dict[str, dict[str, int | None]]:
    """Generated tokens by model and task, counted again where responses may be new."""
    counted: dict[str, dict[str, int | None]] = run.manifest.get("tokens", {})
    for model, task in stale:
        counted = {
            **counted,
            model: {**counted.get(model, {}), task: generated_tokens(run, model, task)},
        }
    return counted


def count_states(
    run: Run, stale: Sequence[tuple[str, str]]
) -> dict[str, dict[str, dict[str, int]]]:
    """Responses in each state by model and task, counted again where responses may be new."""
    counted: dict[str, dict[str, dict[str, int]]] = run.manifest.get("states", {})
    for model, task in stale:
        counted = {
            **counted,
            model: {**counted.get(model, {}), task: count_responses(run, model, task)},
        }
    return counted


def state_remarks(
    states: Mapping[str, Mapping[str, Mapping[str, int]]], places: Iterable[tuple[str, str]]
) -> list[str]:
    """What of the responses to each task is cut off or has no text.

    A remark a model; one of all of them where more than EACH have something to say.
    """
    by_task: dict[str, dict[str, Mapping[str, int]]] = {}
    for model, task in places:
        by_task.setdefault(task, {})[model] = states[model][task]
    remarks = []
    for task, by_model in by_task.items():
        told = {m: parts for m, counts in by_model.items() if (parts := _state_parts(counts))}
        if len(told) > EACH:
            remarks.append(_state_ranges(task, by_model))
        else:
            remarks += [
                f"{model}: of {by_model[model]['responses']} responses to {task}, {parts}"
                for model, parts in told.items()
            ]
    return remarks


def _state_parts(counts: Mapping[str, int]) -> str:
    """`87 unfinished (43.5%), 2 empty (1.0%)`; nothing where all is well."""
    total = counts["responses"]
    return ", ".join(
        f"{counts[state]} {state} ({counts[state] / total:.1%})"
        for state in SHORT_OF
        if counts[state]
    )


def _state_ranges(task: str, by_model: Mapping[str, Mapping[str, int]]) -> str:
    """The least and the greatest share of each state, and of which models they are."""
    parts = []
    for state in SHORT_OF:
        shares = {m: counts[state] / max(1, counts["responses"]) for m, counts in by_model.items()}
        least, most = min(shares, key=lambda m: shares[m]), max(shares, key=lambda m: shares[m])
        if shares[most] == 0:
            continue
        span = f"{shares[least]:.1%} ({least}) to {shares[most]:.1%} ({most})"
        parts.append(f"{span if shares[least] < shares[most] else f'{shares[most]:.1%}'} {state}")
    return (
        f"{task}: of the responses of {len(by_model)} models, {', '.join(parts)}; "
        "the report has each model's"
    )


def cut_remarks(features: Mapping[str, KeptFeature]) -> list[str]:
    """A remark for each feature model that did not read all texts to their ends."""
    return [
        f"{feature.cache.truncated} different texts are longer than the model behind '{name}' "
        "reads; it saw only their beginnings"
        for name, feature in features.items()
        if feature.cache.truncated
    ]


def echo_remarks(
    indexed: Mapping[tuple[str, str], Groups],
    scorers: Mapping[str, Sequence[Metric]],
    features: Mapping[str, KeptFeature],
) -> list[str]:
    """A remark for each model and task some of whose responses only repeat the prompt."""
    remarks = []
    for (model, task), groups in indexed.items():
        chunks = (chunk for _, chunk in groups.chunks(TOGETHER))
        if echoes := count_echoes(chunks, scorers[task], features):
            remarks.append(
                f"model '{model}', task '{task}': {echoes} responses only repeat their prompt; "
                "metrics given the prompt leave them out"
            )
    return remarks


def count_unread(
    run: Run,
    indexed: Mapping[tuple[str, str], Groups],
    scorers: Mapping[str, Sequence[Metric]],
    features: Mapping[str, KeptFeature],
) -> dict[str, dict[str, dict[str, Any]]]:
    """By model and task, the texts that the embedding model has no words for, as Unread has it."""
    counted: dict[str, dict[str, dict[str, Any]]] = run.manifest.get("unread", {})
    for (model, task), groups in indexed.items():
        chunks = (chunk for _, chunk in groups.chunks(TOGETHER))
        found = find_unread(chunks, scorers[task], features)
        counted = {**counted, model: {**counted.get(model, {}), task: asdict(found)}}
    return counted


def describe_features(features: Mapping[str, KeptFeature]) -> dict[str, Any]:
    """The features' part of run.json."""
    return {
        name: {
            "identity": feature.feature.identity,
            "truncated": feature.cache.truncated,
        }
        for name, feature in features.items()
    }


def unfinished_remarks(run: Run, tasks: Iterable[str]) -> list[str]:
    """A remark for each model that has some of its responses to a task, and not all."""
    remarks = []
    for model, task in places_of_run(run, tasks):
        have, owed = run.count_keys(model, task), count_owed(run, model, task) or 1
        if 0 < have < owed:
            from_file = run.manifest["models"][model]["engine"] == "file"
            remedy = "score its file again" if from_file else f"name it again: --model {model}=…"
            remarks.append(
                f"{model} has {have} of {owed} responses to {task} and is left out there; "
                f"to finish it, {remedy}"
            )
    return remarks


def lost_remarks(run: Run, estimates: Sequence[Estimate]) -> list[str]:
    """A remark for each task whose scores are there without their estimates."""
    there = {(row.model, row.task) for row in estimates}
    places = places_of_run(run, run.manifest["tasks"])
    lost = {t: None for m, t in places if run.has_scores(m, t) and (m, t) not in there}
    return [f"{t} has scores without estimates; make them again with --task {t}" for t in lost]
