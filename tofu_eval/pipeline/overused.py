"""Words and phrases that a model overuses over prompts, against its base or texts of a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tofu_eval.analysis.overused import ALPHA, LEAST_PROMPTS, compare_usage
from tofu_eval.core.errors import ConfigError, UnknownNameError
from tofu_eval.core.tokens import Tokens
from tofu_eval.features.text import tokens
from tofu_eval.importers.read import read_responses
from tofu_eval.run.responses import Groups
from tofu_eval.run.store import Run

LONGEST = 4
"""Tokens of a phrase."""

EXPLAINED = 0.8
"""Share of a phrase's excess from which on a longer phrase with it in it stands for both."""

Texts = Mapping[str, Sequence[str]]
"""Responses by prompt."""


@dataclass(frozen=True, slots=True)
class Overused:
    """A phrase of tokens, lower case, that stands in more of the model's responses.

    `share` and `reference` are means over prompts of the share of responses that have it;
    `prompts` in how many prompts the model has it; `p` is adjusted over all phrases.
    """

    task: str
    model: str
    phrase: str
    share: float
    reference: float
    prompts: int
    p: float


@dataclass(frozen=True, slots=True)
class Overuse:
    """What a model overuses on a task, most first, and against how many prompts of what."""

    task: str
    model: str
    against: str
    prompts: int
    same_prompts: bool
    phrases: tuple[Overused, ...]


def find_overuse(
    run: Run,
    *,
    baseline: str | None = None,
    reference: Path | None = None,
    models: Sequence[str] = (),
    tasks: Sequence[str] = (),
) -> list[Overuse]:
    """What each model overuses on each task.

    Args:
        run: has responses.
        baseline: the model whose responses are the reference; by default the first.
        reference: a file of texts instead, in any format that is read as responses. Where it
            answers all of a model's prompts, the same prompts are compared; else they are others.
        models: only these.
        tasks: only these.

    Raises:
        ConfigError: no other model than the baseline, or too few prompts.
        UnknownNameError: the run has no such model or task.
        DataError: the file cannot be read.
    """
    known, known_tasks = list(run.manifest["models"]), list(run.manifest["tasks"])
    listing = f"tofu-eval compare {run.path}"
    for noun, names, there in (
        ("model", [*models, *([baseline] if baseline else [])], known),
        ("task", tasks, known_tasks),
    ):
        for name in names:
            if name not in there:
                raise UnknownNameError.of(noun, name, there, listing)
    base = None if reference else baseline or known[0]
    asked = [model for model in models or known if model != base]
    if not asked:
        raise ConfigError(
            f"{run.path} has only the model '{base}', which is the baseline. Give texts to compare "
            "with: --reference FILE"
        )
    found = []
    for task in tasks or known_tasks:
        against = _read_file(run, task, reference) if reference else _texts(run, str(base), task)
        name = reference.name if reference else str(base)
        for model in asked:
            if run.has_responses(model=model, task=task):
                found.append(_compare(task, model, _texts(run, model, task), name, against))
    return found


def _compare(task: str, model: str, own: Texts, name: str, against: Texts) -> Overuse:
    same = own.keys() <= against.keys() or len(own.keys() & against.keys()) >= LEAST_PROMPTS
    if same:
        ids = [id for id in own if id in against]
        own, against = {id: own[id] for id in ids}, {id: against[id] for id in ids}
    few = min(len(own), len(against))
    if few < LEAST_PROMPTS:
        raise ConfigError(
            f"Responses to {few} prompts of {task} are too few to tell what '{model}' overuses "
            f"against {name}: expected {LEAST_PROMPTS} at least. Give more prompts."
        )
    phrases = _Phrases([own, against])
    parts = phrases.shares[: len(own)], phrases.shares[len(own) :]
    usage = compare_usage(*parts, paired=same)
    excess = usage.share - usage.reference
    sure = np.flatnonzero((usage.p < ALPHA) & (excess > 0))
    rows = [
        Overused(
            task,
            model,
            phrases[int(usage.phrase[i])],
            float(usage.share[i]),
            float(usage.reference[i]),
            int(usage.prompts[i]),
            float(usage.p[i]),
        )
        for i in sure
    ]
    rows.sort(key=lambda row: (row.reference - row.share, row.phrase))
    return Overuse(task, model, name, len(own), same, tuple(_without_parts(rows)))


def _without_parts(rows: Sequence[Overused]) -> Iterable[Overused]:
    """Those that no longer phrase explains which has them in it."""
    for row in rows:
        inside = f" {row.phrase} "
        longer = (
            other.share - other.reference
            for other in rows
            if len(other.phrase) > len(row.phrase) and inside in f" {other.phrase} "
        )
        if max(longer, default=0.0) < EXPLAINED * (row.share - row.reference):
            yield row


class _Phrases:
    """The phrases of all responses: how often, and in words.

    `shares` is sparse (prompts, phrases), the share of a prompt's responses that have a phrase.
    """

    def __init__(self, both: Sequence[Texts]) -> None:
        # Importing SciPy's sparse matrices takes a while.
        from scipy.sparse import csr_matrix

        texts = [text for side in both for some in side.values() for text in some]
        sizes = np.array([len(some) for side in both for some in side.values()])
        prompt = np.repeat(np.arange(len(sizes)), sizes)
        self._rows = Tokens.of(tokens(texts, "tokens_13a"))
        which, columns, starts, orders = [], [], [], []
        count = 0
        for n in range(1, LONGEST + 1):
            text, gram, first = self._find(n)
            which.append(prompt[text])
            columns.append(gram + count)
            starts.append(first)
            orders.append(np.full(len(first), n))
            count += len(first)
        self._starts, self._orders = np.concatenate(starts), np.concatenate(orders)
        own = np.concatenate(which)
        cells = (1.0 / sizes[own], (own, np.concatenate(columns)))
        self.shares = csr_matrix(cells, shape=(len(sizes), count))

    def __getitem__(self, number: int) -> str:
        start, n = int(self._starts[number]), int(self._orders[number])
        return " ".join(self._rows.words[i] for i in self._rows.ids[start : start + n])

    def _find(self, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Of each text and each phrase of n tokens in it, their numbers; where a phrase stands."""
        rows = self._rows
        is_word = np.array([any(map(str.isalnum, word)) for word in rows.words], dtype=bool)
        text = np.repeat(np.arange(len(rows)), rows.lengths)
        numbers, _ = rows.ngrams(n)
        begins = np.flatnonzero(numbers >= 0)
        begins = begins[is_word[rows.ids[begins]] & is_word[rows.ids[begins + n - 1]]]
        known, first, gram = np.unique(numbers[begins], return_index=True, return_inverse=True)
        pairs = np.unique(text[begins] * np.int64(max(1, len(known))) + gram)
        return pairs // max(1, len(known)), pairs % max(1, len(known)), begins[first]


def _texts(run: Run, model: str, task: str) -> dict[str, tuple[str, ...]]:
    return {
        group.prompt.id: group.texts
        for _, chunk in Groups(run, model, task).chunks(64)
        for group in chunk
        if group.texts
    }


def _read_file(run: Run, task: str, file: Path) -> dict[str, list[str]]:
    by_prompt: dict[str, list[str]] = {}
    read = read_responses(
        [("reference", file)], task, spool=run.path.absolute().parent, known=run.prompts(task)
    )
    for rows in read.rows.values():
        for table in rows.tables():
            columns = (table.column(name).to_pylist() for name in ("prompt_id", "text"))
            for id, text in zip(*columns, strict=True):
                if text:
                    by_prompt.setdefault(id, []).append(text)
    return by_prompt
