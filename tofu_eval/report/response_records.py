"""The responses that a page holds: a record a prompt, each different text once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tofu_eval.core.types import Group
from tofu_eval.report.embedding_map import EmbeddingMap
from tofu_eval.report.equivalence_classes import Classes
from tofu_eval.report.meaning_classes import MeaningClasses
from tofu_eval.report.shared_classes import join_classes
from tofu_eval.run.responses import Groups
from tofu_eval.run.store import Run

CHUNK = 64

SAMPLES = 128
"""Responses of one model to one prompt that the page shows at most."""

LENGTHS = (20_000, 5_000, 1_250, 312)
"""Characters of a response that the page shows at most, where all else does not fit the next."""

Record = dict[str, Any]


def response_records(
    run: Run,
    task: str,
    models: Sequence[str],
    chosen: set[str],
    classes: Classes,
    longest: int,
) -> list[Record]:
    """The records of some prompts, in the task's order.

    Of each: `id`, `prompt`, `texts` (the different ones), `cut` (the lengths of those that are not
    shown whole, by place), `map` (where the texts lie, if the run has embeddings), and, a list a
    model, `samples` (places in `texts`), `classes` (the same number is the same class in every
    model), `meanings` (the same by embeddings, where the run has these and no equivalence), `long`
    (samples that stopped at the token limit), `thoughts` (by sample), `without`
    (how many have no text, by state) and `more` (how many samples are left out).
    """
    groups: dict[str, dict[str, Group]] = {}
    for model in models:
        for _, chunk in Groups(run, model, task).chunks(CHUNK):
            for group in chunk:
                if group.prompt.id in chosen:
                    groups.setdefault(group.prompt.id, {})[model] = group
    order = [prompt.id for prompt in run.prompts(task) if prompt.id in groups]
    maps, meanings = EmbeddingMap(run), MeaningClasses(run)
    return [_record(groups[id], models, classes, meanings, maps, longest) for id in order]


def sizes_of(group: Group) -> list[int]:
    """Bytes in the page of one model's responses to a prompt, for each of LENGTHS."""
    different = dict.fromkeys(group.texts[:SAMPLES])
    thoughts = [thought for thought in _thoughts(group) if thought]
    return [
        sum(_bytes(text[:longest]) for text in (*different, *thoughts)) + 24 * len(different)
        for longest in LENGTHS
    ]


def _record(
    groups: Mapping[str, Group],
    models: Sequence[str],
    classes: Classes,
    meanings: MeaningClasses,
    maps: EmbeddingMap,
    longest: int,
) -> Record:
    prompt = next(iter(groups.values())).prompt
    kept = {m: groups[m].texts[:SAMPLES] if m in groups else () for m in models}
    place = {t: i for i, t in enumerate(dict.fromkeys(t for m in models for t in kept[m]))}
    labels = join_classes(groups, classes)
    reasons = {m: group.features.get("finish_reason", ()) for m, group in groups.items()}
    return {
        "id": prompt.id,
        "prompt": prompt.text[:longest],
        "texts": [text[:longest] for text in place],
        "cut": {str(i): len(text) for text, i in place.items() if len(text) > longest},
        "map": maps.places(tuple(place)),
        "samples": [[place[text] for text in kept[m]] for m in models],
        "classes": [labels.get(m, [])[:SAMPLES] for m in models],
        "meanings": meanings.of(prompt, [kept[m] for m in models]),
        "long": [
            [i for i, why in enumerate(reasons.get(m, ())[:SAMPLES]) if why == "length"]
            for m in models
        ],
        "thoughts": [
            {str(i): t[:longest] for i, t in enumerate(_thoughts(groups[m])) if t}
            if m in groups
            else {}
            for m in models
        ],
        "without": [_without_text(groups[m]) if m in groups else {} for m in models],
        "more": [len(groups[m].texts) - len(kept[m]) if m in groups else 0 for m in models],
    }


def _thoughts(group: Group) -> list[str]:
    """What was thought before each of the responses that are shown; empty where nothing was."""
    told = group.features.get("reasoning", ())[:SAMPLES]
    return [thought if thought and thought.strip() else "" for thought in told]


def _without_text(group: Group) -> dict[str, int]:
    """How many responses have no text, by what became of them."""
    states = ("empty", "filtered", "failed")
    return {state: group.states[state] for state in states if group.states.get(state)}


def _bytes(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode()) + 5 * sum(map(text.count, "<>&"))
