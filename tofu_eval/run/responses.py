"""The responses of one model to one task, prompt by prompt, without holding them all.

What is kept of a response is where it lies (16 bytes); its text is read when its turn comes.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tofu_eval.core.states import State, count_states, has_text
from tofu_eval.core.types import Group, Prompt
from tofu_eval.run.files import places_of, read_row_group, row_groups
from tofu_eval.run.store import Run

COLUMNS = (
    *("text", "finish_reason", "logprob", "token_logprobs"),
    *("correct", "state", "reasoning", "given"),
)
ROW_GROUPS_IN_MEMORY = 8


@dataclass(frozen=True)
class Reading:
    """Which texts are scored. By default those of all responses that have one, without thoughts.

    `unfinished`: whether responses that stopped at the length limit are among them; `reasoning`:
    whether the thoughts stand before the text, as part of it.
    """

    unfinished: Literal["keep", "drop"] = "keep"
    reasoning: Literal["strip", "keep"] = "strip"

    @property
    def signature(self) -> tuple[str, ...]:
        """What a metric's signature says of it."""
        return tuple(
            f"{name}:{value}"
            for name, value, usual in (
                ("unfinished", self.unfinished, "keep"),
                ("reasoning", self.reasoning, "strip"),
            )
            if value != usual
        )

    def select(
        self, states: Sequence[State], texts: Sequence[str], thoughts: Sequence[str | None]
    ) -> tuple[list[int], list[str]]:
        """Which of several responses are scored, and the text of each of these."""
        if self.reasoning == "keep":
            texts = ["\n\n".join(filter(None, pair)) for pair in zip(thoughts, texts, strict=True)]
        kept = [
            i
            for i, (state, text) in enumerate(zip(states, texts, strict=True))
            if has_text(state, text) and not (state == "unfinished" and self.unfinished == "drop")
        ]
        return kept, [texts[i] for i in kept]


WITHOUT_TEXT: tuple[State, ...] = ("empty", "filtered", "failed")
"""States of which no metric sees a text, whatever is stored beside them."""


@dataclass(frozen=True, slots=True)
class ResponseFacts:
    """What many responses are: how many, how long together, how many not whole or not there.

    `prompts` has by prompt the characters of those that are there together, and how many these are.
    """

    count: int = 0
    characters: int = 0
    unfinished: int = 0
    missing: int = 0
    prompts: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def __add__(self, other: ResponseFacts) -> ResponseFacts:
        return ResponseFacts(
            self.count + other.count,
            self.characters + other.characters,
            self.unfinished + other.unfinished,
            self.missing + other.missing,
            _add_by_prompt(dict(self.prompts), other.prompts),
        )

    @property
    def mean_characters(self) -> float:
        """Of the responses that are there."""
        return self.characters / max(1, self.count - self.missing)

    @property
    def unfinished_share(self) -> float:
        """Of all: those that stopped at the token limit."""
        return self.unfinished / max(1, self.count)

    @property
    def missing_share(self) -> float:
        """Of all: those without a text."""
        return self.missing / max(1, self.count)


def response_facts(run: Run, model: str, task: str) -> ResponseFacts:
    """What the responses of one model to one task are, a row group at a time."""
    facts = ResponseFacts()
    prompts: dict[str, tuple[int, int]] = {}
    for part in run.response_parts(model, task):
        for number in range(row_groups(part)):
            rows = read_row_group(part, number, ["prompt_id", "text", "state"])
            states, texts = rows.column("state"), rows.column("text")
            blank = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0)
            missing = reduce(pc.or_, (pc.equal(states, state) for state in WITHOUT_TEXT), blank)
            there = rows.filter(pc.invert(missing))
            lengths = pc.utf8_length(there.column("text"))
            facts += ResponseFacts(
                len(rows),
                pc.sum(lengths).as_py() or 0,
                pc.sum(pc.equal(states, "unfinished")).as_py() or 0,
                pc.sum(missing).as_py() or 0,
            )
            _add_by_prompt(prompts, _sum_by_prompt(there.column("prompt_id"), lengths))
    return replace(facts, prompts=prompts)


def _sum_by_prompt(prompts: Any, lengths: Any) -> dict[str, tuple[int, int]]:
    """Characters and responses of each prompt."""
    table = pa.table({"prompt": prompts, "n": lengths})
    found = table.group_by("prompt").aggregate([("n", "sum"), ("n", "count")])
    columns = (found.column(name).to_pylist() for name in ("prompt", "n_sum", "n_count"))
    return {prompt: (total, count) for prompt, total, count in zip(*columns, strict=True)}


def _add_by_prompt(
    sums: dict[str, tuple[int, int]], others: Mapping[str, tuple[int, int]]
) -> dict[str, tuple[int, int]]:
    for prompt, (total, count) in others.items():
        before = sums.get(prompt, (0, 0))
        sums[prompt] = (before[0] + total, before[1] + count)
    return sums


def generated_tokens(run: Run, model: str, task: str) -> int | None:
    """How many tokens the responses of one model to one task have; None where no row says."""
    total, is_counted = 0, False
    for part in run.response_parts(model, task):
        for number in range(row_groups(part)):
            column = read_row_group(part, number, ["token_ids"]).column("token_ids")
            count = pc.sum(pc.list_value_length(column)).as_py()
            total, is_counted = total + (count or 0), is_counted or count is not None
    return total if is_counted else None


AS_USUAL = Reading()


def count_responses(run: Run, model: str, task: str) -> dict[str, int]:
    """How many responses there are of one model to one task, and how many in each state."""
    total: Counter[str] = Counter(count_states([]))
    for part in run.response_parts(model, task):
        for number in range(row_groups(part)):
            table = read_row_group(part, number, ["state", "text"])
            total.update(
                count_states(table.column("state").to_pylist(), table.column("text").to_pylist())
            )
    return dict(total)


class Groups:
    """All groups of one model on one task, in the order of the task's prompts.

    Args:
        run: where they are.
        model: the model.
        task: the task.
        reading: which texts are scored.
        prompts: the task's, where somebody has read them already: models share them.

    Raises:
        StoreError: a file of the run is damaged.
    """

    def __init__(
        self,
        run: Run,
        model: str,
        task: str,
        reading: Reading = AS_USUAL,
        prompts: Sequence[Prompt] | None = None,
    ) -> None:
        self._reading = reading
        self._model = model
        self._task = task
        self._prompts = run.prompts(task) if prompts is None else prompts
        self._pieces: list[tuple[Path, int]] = []
        self._open: OrderedDict[int, pa.Table] = OrderedDict()
        self._index(run)

    def __len__(self) -> int:
        return len(self._starts) - 1

    @property
    def responses(self) -> int:
        """How many responses all groups have together."""
        return int(self._starts[-1])

    def chunks(self, size: int) -> Iterator[tuple[int, list[Group]]]:
        """The groups, `size` at a time, with the number of the chunk."""
        for number, start in enumerate(range(0, len(self), size)):
            yield number, self.read(start, min(start + size, len(self)))

    def read(self, start: int, end: int) -> list[Group]:
        """The groups from the `start`-th up to the `end`-th, the latter excluded."""
        rows = self._rows[self._starts[start] : self._starts[end]]
        columns = self._columns(rows)
        groups, begin = [], 0
        for place in range(start, end):
            stop = begin + int(self._starts[place + 1] - self._starts[place])
            own = {name: column[begin:stop] for name, column in columns.items()}
            prompt: Prompt = self._prompts[self._rows["prompt"][self._starts[place]]]
            groups.append(self._group(prompt, own))
            begin = stop
        return groups

    def _group(self, prompt: Prompt, own: dict[str, list[Any]]) -> Group:
        texts, states, thoughts = own.pop("text"), own.pop("state"), own.pop("reasoning")
        given = own.pop("given")
        kept, scored = self._reading.select(states, texts, thoughts)
        if set(own["correct"]) == {None}:
            del own["correct"]  # nobody has said it: a verifier may
        return Group(
            prompt,
            tuple(scored),
            self._model,
            self._task,
            {
                **{name: tuple(rows[i] for i in kept) for name, rows in own.items()},
                "reasoning": tuple(thoughts[i] for i in kept),
                **_given_features([given[i] for i in kept]),
            },
            count_states(states, texts),
            tuple(thought for thought in thoughts if thought and thought.strip()),
        )

    def _index(self, run: Run) -> None:
        order = {prompt.id: place for place, prompt in enumerate(self._prompts)}
        kind = np.dtype(
            [("prompt", "i4"), ("sample", "i4"), ("piece", "i4"), ("row", "i4")]
        )  # fmt: skip
        indices = [np.empty(0, kind)]
        for part in run.response_parts(self._model, self._task):
            for number in range(row_groups(part)):
                table = read_row_group(part, number, ["prompt_id", "sample"])
                rows = np.empty(len(table), kind)
                rows["prompt"] = places_of(table.column("prompt_id"), order, part)
                rows["sample"] = table.column("sample").to_numpy()
                rows["piece"] = len(self._pieces)
                rows["row"] = np.arange(len(table))
                self._pieces.append((part, number))
                indices.append(rows)
        rows = np.concatenate(indices)
        self._rows = rows[np.lexsort((rows["sample"], rows["prompt"]))]
        changes = np.flatnonzero(np.diff(self._rows["prompt"])) + 1
        ends = [len(rows)] if len(rows) else []
        self._starts = np.array([0, *changes, *ends], dtype=np.int64)

    def _columns(self, rows: Any) -> dict[str, list[Any]]:
        columns: dict[str, list[Any]] = {name: [None] * len(rows) for name in COLUMNS}
        for piece in np.unique(rows["piece"]).tolist():
            here = np.flatnonzero(rows["piece"] == piece)
            table = self._piece(piece).take(pa.array(rows["row"][here]))
            for name, column in columns.items():
                values = table.column(name).to_pylist()
                for place, value in zip(here.tolist(), values, strict=True):
                    column[place] = value
        return columns

    def _piece(self, number: int) -> pa.Table:
        if number not in self._open:
            self._open[number] = read_row_group(*self._pieces[number], COLUMNS)
            if len(self._open) > ROW_GROUPS_IN_MEMORY:
                self._open.popitem(last=False)
        self._open.move_to_end(number)
        return self._open[number]


def _given_features(rows: Sequence[Sequence[tuple[str, float]] | None]) -> dict[str, Any]:
    """The features that a file says of every one of some responses."""
    dicts = [dict(row or ()) for row in rows]
    names = set(dicts[0]).intersection(*dicts) if dicts else ()
    return {name: np.array([row[name] for row in dicts]) for name in sorted(names)}
