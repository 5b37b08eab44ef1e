"""What the responses themselves tell: how many are different, how long they are, what they say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tofu_eval.analysis.bootstrap import resampled_means
from tofu_eval.core.errors import ModelError
from tofu_eval.core.types import Group, digest, seed_of
from tofu_eval.metrics.richness import rarefaction
from tofu_eval.report.equivalence_classes import Classes, is_decided
from tofu_eval.report.response_records import LENGTHS, SAMPLES, response_records, sizes_of
from tofu_eval.run.responses import Groups
from tofu_eval.run.store import Run

CHUNK = 64
SHOWN = 10_000
"""Responses in a page at most: more could not be searched while one types."""

BUDGET = 15_000_000
"""Bytes of responses in a page: with all the rest it stays under 20 MB."""

BINS = 30
LONG_TAIL = 6.0
"""Where the longest responses are that many times as long as the middle one, bins are equal in
ratio and the axis is logarithmic."""

POINTS = 40
RESAMPLES = 2000


@dataclass(frozen=True)
class Survey:
    """What the responses show, by task.

    `characters` is the mean length of a response by column and task. `texts` is, by task, one
    record a prompt that is shown, as `response_records` has them.
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
    run: Run,
    columns: Mapping[str, Sequence[str]],
    tasks: Sequence[str],
    *,
    texts: bool,
    prompts: Mapping[str, Collection[str]] | None = None,
) -> Survey:
    """Read all responses to some tasks, some prompts at a time.

    Args:
        run: where they are.
        columns: the models of each column of the comparison: one, or the seeds of a series.
        tasks: the tasks.
        texts: whether to choose responses to show; they are read a second time.
        prompts: by task, the prompts to show; by default what fits, chosen by chance.
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
    chosen, longest = _choose(seen, prompts)
    models = [model for members in columns.values() for model in members]
    shown = {
        t: response_records(run, t, models, chosen.get(t, set()), classes, longest) for t in tasks
    }
    count = sum(len(rows) for task in shown.values() for one in task for rows in one["samples"])
    if count < total:
        how = "those asked for" if prompts is not None else "a sample of whole prompts, by chance"
        notes.append(
            f"The page shows {count:,} of {total:,} responses, {how}; at most {SHOWN:,}, so that "
            "it stays quick. All numbers and charts use all of them. Others: tofu-eval report "
            "RUN --prompts 1-100"
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
        self.counts: dict[str, int] = {}
        self._curves: dict[str, list[NDArray[np.float64]]] = {}
        for model in models:
            for _, groups in Groups(run, model, task).chunks(CHUNK):
                for group in groups:
                    self._add(group, classes)

    def _add(self, group: Group, classes: Classes) -> None:
        self.lengths += map(len, group.texts)
        before = self.sizes.get(group.prompt.id, [0] * len(LENGTHS))
        self.sizes[group.prompt.id] = [
            size + more for size, more in zip(before, sizes_of(group), strict=True)
        ]
        self.counts[group.prompt.id] = self.counts.get(group.prompt.id, 0) + min(
            len(group.texts), SAMPLES
        )
        labels = classes.of(group)
        if group.texts and is_decided(labels):
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
        drawn = resampled_means(table.T, rng, RESAMPLES)[1:]
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
    median = float(np.median(np.concatenate([one.lengths for one in seen])))
    is_log = longest > LONG_TAIL * max(median, 1.0)
    starts = _even_ratios(longest) if is_log else _even_widths(longest)
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
                "responses": len(one.lengths),
                "log": is_log,
            }


def _even_widths(longest: float) -> NDArray[np.int64]:
    width = max(1, int(np.ceil((longest + 1) / BINS)))
    return np.arange(0, width * (BINS + 1), width)


def _even_ratios(longest: float) -> NDArray[np.int64]:
    """From 1 character on, which a logarithmic axis can show; what is empty counts as that."""
    return np.unique(np.geomspace(1, longest + 1, BINS + 1).round().astype(np.int64))


def _choose(
    seen: Sequence[_Seen], wanted: Mapping[str, Collection[str]] | None
) -> tuple[dict[str, set[str]], int]:
    """The prompts to show, and to how many characters a response is cut."""
    counts: Counter[tuple[str, str]] = Counter()
    for one in seen:
        counts.update({(one.task, prompt): count for prompt, count in one.counts.items()})
    if wanted is None:  # an order of chance that does not depend on the machine
        order = sorted(counts, key=digest)
    else:
        order = [pair for pair in counts if pair[1] in wanted.get(pair[0], ())]
    for level, longest in enumerate(LENGTHS):
        sizes: Counter[tuple[str, str]] = Counter()
        for one in seen:
            sizes.update({(one.task, prompt): size[level] for prompt, size in one.sizes.items()})
        room, left, chosen = BUDGET, SHOWN, dict[str, set[str]]()
        for pair in order:
            if sizes[pair] <= room and counts[pair] <= left:
                room, left = room - sizes[pair], left - counts[pair]
                chosen.setdefault(pair[0], set()).add(pair[1])
        if chosen:
            return chosen, longest
    return {}, LENGTHS[0]
