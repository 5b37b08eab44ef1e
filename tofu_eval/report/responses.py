"""What the responses themselves tell: how many are different, how long they are, what they say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.errors import ModelError
from tofu_eval.core.types import Group, digest, seed_of
from tofu_eval.metrics.richness import rarefaction
from tofu_eval.report.equivalence_classes import Classes, is_decided
from tofu_eval.run.responses import Groups
from tofu_eval.run.store import Run

CHUNK = 64
LONGEST = 20_000
"""Characters of a response that the page shows at most."""

SAMPLES = 128
"""Responses of one model to one prompt that the page shows at most."""

BUDGET = 15_000_000
"""Bytes of responses in a page: with all the rest it stays under 20 MB."""

BINS = 30
POINTS = 40
RESAMPLES = 2000


@dataclass(frozen=True)
class Survey:
    """What the responses show, by task.

    `characters` is the mean length of a response by column and task. `texts` is, by task, one
    record a prompt that is shown: `id`, `prompt`, `texts` (the different ones), `cut` (the lengths
    of those that are not shown whole, by place), and, a list a model, `samples` (places in
    `texts`), `classes` (class numbers; no lists where equal text is the class), `long` (samples
    that stopped at the token limit), `more` (how many samples are left out).
    """

    rarefaction: Sequence[dict[str, Any]]
    lengths: Sequence[dict[str, Any]]
    characters: Mapping[tuple[str, str], float]
    texts: Mapping[str, Sequence[dict[str, Any]]]
    method: str
    responses: int
    shown: int
    notes: Sequence[str]


def survey_responses(
    run: Run, columns: Mapping[str, Sequence[str]], tasks: Sequence[str], *, texts: bool
) -> Survey:
    """Read all responses to some tasks, some prompts at a time.

    Args:
        run: where they are.
        columns: the models of each column of the comparison: one, or the seeds of a series.
        tasks: the tasks.
        texts: whether to choose responses to show; they are read a second time.
    Raises:
        StoreError: a file of the run is damaged.
    """
    classes = Classes(run)
    try:
        seen = [
            _Seen(run, name, columns[name], task, classes) for task in tasks for name in columns
        ]
    except ModelError:
        classes.forget()
        seen = [
            _Seen(run, name, columns[name], task, classes) for task in tasks for name in columns
        ]
    seen = [one for one in seen if one.lengths]
    total = sum(len(one.lengths) for one in seen)
    curves = [row for one in seen for row in one.curve(run.manifest["settings"]["seed"])]
    bins = [row for task in tasks for row in _bins([one for one in seen if one.task == task])]
    means = {(one.column, one.task): float(np.mean(one.lengths)) for one in seen}
    notes = [classes.note] if classes.note else []
    if not texts:
        return Survey(curves, bins, means, {}, classes.method, total, 0, notes)
    chosen, longest = _choose(seen)
    models = [model for members in columns.values() for model in members]
    shown = {t: _texts(run, t, models, chosen.get(t, set()), classes, longest) for t in tasks}
    count = sum(len(rows) for task in shown.values() for one in task for rows in one["samples"])
    if count < total:
        notes.append(
            f"The page shows {count:,} of {total:,} responses, a sample of whole prompts chosen "
            "by chance, so that the file stays small. All numbers and charts use all of them."
        )
    return Survey(curves, bins, means, shown, classes.method, total, count, tuple(notes))


class _Seen:
    """What is kept of the responses of one column to one task."""

    def __init__(
        self, run: Run, column: str, models: Sequence[str], task: str, classes: Classes
    ) -> None:
        self.column, self.task = column, task
        self.lengths: list[int] = []
        self.sizes: dict[str, list[int]] = {}
        self._curves: dict[str, list[NDArray[np.float64]]] = {}
        for model in models:
            for _, groups in Groups(run, model, task).chunks(CHUNK):
                for group in groups:
                    self._add(group, classes)

    def _add(self, group: Group, classes: Classes) -> None:
        self.lengths += map(len, group.texts)
        different = dict.fromkeys(group.texts[:SAMPLES])
        before = self.sizes.get(group.prompt.id, [0] * len(_lengths()))
        # Bytes in the page where texts are cut to LONGEST, a quarter of it, and so on.
        self.sizes[group.prompt.id] = [
            size + sum(_bytes(text[:longest]) for text in different) + 12 * len(different)
            for size, longest in zip(before, _lengths(), strict=True)
        ]
        labels = classes.of(group)
        if is_decided(labels):
            self._curves.setdefault(group.prompt.id, []).append(rarefaction(labels))

    def curve(self, seed: int) -> Iterator[dict[str, Any]]:
        """The mean number of classes among k responses, with 95% intervals over prompts."""
        if not self._curves:
            return
        ends = {id: min(map(len, curves)) for id, curves in self._curves.items()}
        # As far as nine prompts in ten go, on those prompts alone: one set for every k.
        last = int(np.quantile(list(ends.values()), 0.1, method="lower"))
        table = np.array(
            [
                np.mean([curve[:last] for curve in curves], axis=0)  # over the seeds of a series
                for id, curves in self._curves.items()
                if ends[id] >= last
            ]
        )
        n = len(table)
        rng = np.random.default_rng(seed_of(seed, self.column, self.task, "rarefaction"))
        drawn = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES) @ table / n
        low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
        ks = np.unique(np.linspace(1, last, min(last, POINTS)).round().astype(int))
        for k in ks.tolist():
            yield {
                "task": self.task,
                "model": self.column,
                "k": k,
                "value": float(table[:, k - 1].mean()),
                "low": float(low[k - 1]) if n > 1 else None,
                "high": float(high[k - 1]) if n > 1 else None,
                "prompts": n,
            }


def _bins(seen: Sequence[_Seen]) -> Iterator[dict[str, Any]]:
    """The share of responses in each bin of length, the same bins for all models of a task.

    A bin from `start` holds what is shorter than `end`; the last has none: all that is longer.
    """
    if not seen:
        return
    longest = max(float(np.quantile(one.lengths, 0.995)) for one in seen)
    width = max(1, int(np.ceil((longest + 1) / BINS)))
    starts = np.arange(0, width * (BINS + 1), width)
    for one in seen:
        counts, _ = np.histogram(one.lengths, [*starts, np.inf])
        ends = [*starts[1:].tolist(), None]
        for start, end, count in zip(starts.tolist(), ends, counts.tolist(), strict=True):
            yield {
                "task": one.task,
                "model": one.column,
                "start": start,
                "end": end,
                "share": count / len(one.lengths),
            }


def _lengths() -> tuple[int, ...]:
    return (LONGEST, LONGEST // 4, LONGEST // 16, LONGEST // 64)


def _choose(seen: Sequence[_Seen]) -> tuple[dict[str, set[str]], int]:
    """The prompts to show, and to how many characters a response is cut."""
    for level, longest in enumerate(_lengths()):
        sizes: dict[tuple[str, str], int] = {}
        for one in seen:
            for prompt, size in one.sizes.items():
                sizes[one.task, prompt] = sizes.get((one.task, prompt), 0) + size[level]
        # Prompts of all tasks in an order of chance that does not depend on the machine.
        left, chosen = BUDGET, dict[str, set[str]]()
        for task, prompt in sorted(sizes, key=digest):
            if sizes[task, prompt] <= left:
                left -= sizes[task, prompt]
                chosen.setdefault(task, set()).add(prompt)
        if chosen:
            return chosen, longest
    return {}, LONGEST


def _texts(
    run: Run,
    task: str,
    models: Sequence[str],
    chosen: set[str],
    classes: Classes,
    longest: int,
) -> list[dict[str, Any]]:
    """The records of the prompts to show, in the task's order."""
    groups: dict[str, dict[str, Group]] = {}
    for model in models:
        for _, chunk in Groups(run, model, task).chunks(CHUNK):
            for group in chunk:
                if group.prompt.id in chosen:
                    groups.setdefault(group.prompt.id, {})[model] = group
    order = [prompt.id for prompt in run.prompts(task) if prompt.id in groups]
    return [_record(groups[id], models, classes, longest) for id in order]


def _record(
    groups: Mapping[str, Group], models: Sequence[str], classes: Classes, longest: int
) -> dict[str, Any]:
    (prompt,) = {group.prompt.id for group in groups.values()}
    kept = {m: groups[m].texts[:SAMPLES] if m in groups else () for m in models}
    place = {t: i for i, t in enumerate(dict.fromkeys(t for m in models for t in kept[m]))}
    labels = {}
    if classes.method != "exact":
        labels = {m: classes.of(group)[:SAMPLES].tolist() for m, group in groups.items()}
    reasons = {m: group.features.get("finish_reason", ()) for m, group in groups.items()}
    return {
        "id": prompt,
        "prompt": next(iter(groups.values())).prompt.text[:longest],
        "texts": [text[:longest] for text in place],
        "cut": {str(i): len(text) for text, i in place.items() if len(text) > longest},
        "samples": [[place[text] for text in kept[m]] for m in models],
        "classes": [labels.get(m, []) for m in models] if labels else [],
        "long": [
            [i for i, why in enumerate(reasons.get(m, ())[:SAMPLES]) if why == "length"]
            for m in models
        ],
        "more": [len(groups[m].texts) - len(kept[m]) if m in groups else 0 for m in models],
    }


def _bytes(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode()) + 5 * sum(map(text.count, "<>&"))
