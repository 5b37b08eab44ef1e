"""What the tab key completes: names of metrics, tasks, suites and losses, runs and their models.

Options and commands need nothing: Click knows them. Names are looked up only while a shell asks.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

ASKED_BY_SHELL = "_TOFU_EVAL_COMPLETE"
"""The variable with which a shell asks."""

Names = Callable[[click.Context], Iterable[str]]


def is_asked() -> bool:
    """Whether a shell wants names."""
    return ASKED_BY_SHELL in os.environ


def add_names(command: click.Command) -> click.Command:
    """Let a command complete the names that its parameters take."""
    takes_run = any(parameter.name == "run" for parameter in command.params)
    for parameter in command.params:
        if isinstance(parameter.type, _Completed):
            continue
        if parameter.name in ("run", "runs"):
            parameter.type = _Completed(parameter.type, _runs)
        elif (find := _names_for(parameter, takes_run)) is not None:
            parameter.type = _Completed(parameter.type, _beginning(find))
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            add_names(inner)
            shown = _SHOWN.get(command.name or "") if name == "show" else None
            for parameter in inner.params:
                if shown is not None and isinstance(parameter, click.Argument):
                    parameter.type = _Completed(parameter.type, _beginning(shown))
    return command


def _names_for(parameter: click.Parameter, takes_run: bool) -> Names | None:
    """Which names an option takes; of a command that reads a run, those in the run."""
    flags = set(parameter.opts)
    for kind, (options, everything) in _KINDS.items():
        if flags & options and not (kind == "tasks" and isinstance(parameter.default, str)):
            return _in_run(kind, everything) if takes_run else everything
    return None


def _in_run(kind: str, everything: Names) -> Names:
    """The names that the run of the command line has; where it has none, all."""

    def find(context: click.Context) -> Iterable[str]:
        # Where the last option has no value yet, Click leaves arguments as they were typed.
        for folder in filter(None, (context.params.get("run"), *context.args)):
            try:
                return list(json.loads((Path(folder) / "run.json").read_text("utf-8"))[kind])
            except (OSError, ValueError, KeyError, TypeError):
                continue
        return everything(context)

    return find


def _metrics(_context: click.Context) -> Iterable[str]:
    from tofu_eval.metrics import METRICS

    return [entry.name for entry in METRICS.entries()]


def _tasks(_context: click.Context) -> Iterable[str]:
    from tofu_eval.tasks import TASKS

    return [entry.name for entry in TASKS.entries()]


def _suites(_context: click.Context) -> Iterable[str]:
    from tofu_eval.tasks import SUITES

    return [entry.name for entry in SUITES.entries()]


def _losses(_context: click.Context) -> Iterable[str]:
    from tofu_eval.training.losses import LOSSES

    return [entry.name for entry in LOSSES.entries()]


def _importers(_context: click.Context) -> Iterable[str]:
    from tofu_eval.importers.base import IMPORTERS

    return [entry.name for entry in IMPORTERS.entries()]


def _none(_context: click.Context) -> Iterable[str]:
    return ()


_KINDS: Mapping[str, tuple[set[str], Names]] = {
    "metrics": ({"--metric", "--watch-metric", "--quality", "--diversity"}, _metrics),
    "tasks": ({"--task", "--watch"}, _tasks),
    "suites": ({"--suite"}, _suites),
    "losses": ({"--loss"}, _losses),
    "models": ({"--model", "--baseline"}, _none),
}
"""By the part of run.json that has such names: the options that take them, and all there are."""

_SHOWN: Mapping[str, Names] = {
    "metrics": _metrics,
    "tasks": _tasks,
    "losses": _losses,
    "importers": _importers,
}
"""What `tofu-eval metrics show` and its like take."""


def _beginning(find: Names) -> Callable[[click.Context, str], list[CompletionItem]]:
    def complete(context: click.Context, incomplete: str) -> list[CompletionItem]:
        names = [CompletionItem(name) for name in find(context) if name.startswith(incomplete)]
        return names or [CompletionItem(incomplete, type="file")]

    return complete


def _runs(_context: click.Context, incomplete: str) -> list[CompletionItem]:
    """The run directories of a folder that is being named, and the folders to go on into."""
    folder, slash, begin = incomplete.rpartition("/")
    place = Path(folder or ("/" if slash else "."))
    runs = sorted(
        f"{folder}{slash}{path.parent.name}"
        for path in place.glob("*/run.json")
        if path.parent.name.startswith(begin)
    )
    if not slash and not runs:
        runs = sorted(path.parent.as_posix() for path in Path("runs").glob("*/run.json"))
        runs = [name for name in runs if name.startswith(incomplete)]
    return [*map(CompletionItem, runs)] or [CompletionItem(incomplete, type="dir")]


class _Completed(click.ParamType):  # type: ignore[type-arg]  # generic from Click 8.4 on
    """A type that also knows names."""

    def __init__(
        self,
        inner: click.ParamType,  # type: ignore[type-arg]
        complete: Callable[[click.Context, str], list[CompletionItem]],
    ) -> None:
        self.name, self._inner, self._complete = inner.name, inner, complete

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As the type does."""
        return self._inner.convert(value, param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The names that begin so."""
        return self._complete(ctx, incomplete)
