"""What all files of a call share while they are read, and what they held."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tofu_eval.core.reasoning import TAGS, Tag
from tofu_eval.core.types import Prompt
from tofu_eval.importers.base import (
    Options,
    on_one_line,
)
from tofu_eval.importers.containers import STDIN
from tofu_eval.importers.prompts import Prompts
from tofu_eval.importers.prompts_file import GivenPrompts
from tofu_eval.importers.spool import Rows, Spool


@dataclass
class Responses:
    """What files held: prompts by id, rows by model, and remarks for the user.

    `names` has each model's name as it was written, before it became a folder's; `given` the
    features that every response of a model with a text has in its file; `unasked` the prompts that
    have responses with texts and may have no text themselves.
    """

    prompts: dict[str, Prompt] = field(default_factory=dict)
    rows: dict[str, Rows] = field(default_factory=dict)
    sources: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    given: dict[str, set[str]] = field(default_factory=dict)
    unasked: set[str] = field(default_factory=set)


class Reading:
    """What all files of a call share."""

    def __init__(
        self,
        task: str,
        spool: Spool,
        folder: Path,
        options: Options,
        tags: tuple[Tag, ...],
        known: Sequence[Prompt],
    ) -> None:
        self.task = task
        self.spool = spool
        self.folder = folder
        self.options = options
        self.tags = tags
        self.signs = signs_of(tags)
        self.found = Responses()
        self.prompts = Prompts(known)
        self.elsewhere = GivenPrompts(options, folder)
        self.counts: dict[str, dict[str, int]] = {}
        self.samples: dict[str, set[tuple[str, int]]] = {}
        self.firsts: dict[tuple[str, str], str] = {}
        self.givens: dict[str, frozenset[str]] = {}

    def rows_of(self, model: str) -> Rows:
        """The rows of a model, made when it is first met."""
        if model not in self.found.rows:
            self.found.rows[model] = Rows(model, self.task, self.spool)
            self.counts[model] = {}
            self.samples[model] = set()
        return self.found.rows[model]

    def end_source(self, path: Path, sums: Sequence[str], earlier: set[str]) -> None:
        """Say of the models that a file or directory brought where they come from."""
        sha256 = sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()
        name = "-" if path == STDIN else on_one_line(path.name or path.absolute().name)
        brought = self.found.rows.keys() - earlier
        for model in brought:
            which = {"model": model} if len(brought) > 1 else {}  # what tells them apart
            source = {"kind": "file", "file": name, "sha256": sha256, **which}
            self.found.sources[model] = source
            self.found.given[model] = set(self.givens.get(model, ()))


def signs_of(tags: Sequence[Tag]) -> tuple[str, ...]:
    """What a text with a thought has one of: most texts have none."""
    if tuple(tags) == TAGS:
        return ("<", "[", "◁", "assistantfinal")
    every = {case for pair in tags for tag in pair for case in (tag[0].lower(), tag[0].upper())}
    return (*sorted(every), "assistantfinal")
