"""What the commands share on the terminal: progress, notes, tables."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from tofu_eval.cli.heartbeat import in_words, is_first_process, saying
from tofu_eval.core.escape import printable
from tofu_eval.core.secrets import strike_secrets

if TYPE_CHECKING:
    from tofu_eval.pipeline.workload import Workload

KINDS = {"load": "loading", "start": "loading", "generate": "generation", "train": "training"}
"""What a stage's first word counts as; all else is scoring."""


FIRST_BATCHES, FIRST_SECONDS, WORTH_SAYING = 2, 5.0, 30.0
"""How long a run will take is said once, after so many batches and seconds, if it is that long."""


class View:
    """A `Report` that shows progress on stderr: bars, or a JSON object a call.

    `tokens` is told how many tokens a stage has made, for the rate, and `announce` how much a run
    has to make. `line` is what to say where there are no bars.
    """

    def __init__(self, bar: Progress | None, log: bool) -> None:
        self._bar, self._log = bar, log
        self._bars: dict[str, TaskID] = {}
        self._stages: dict[str, _Stage] = {}
        self._spent: dict[str, float] = {}
        self._last = time.monotonic()
        self._latest: _Stage | None = None
        self._wanted = 0
        self._responses = 0  # of stages that have begun anew
        self._announced_at = 0

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that `done` of `total` are done; where that is less than before, it begins anew."""
        now = time.monotonic()
        kind = KINDS.get(stage.partition(" ")[0], "scoring")
        self._spent[kind] = self._spent.get(kind, 0.0) + now - self._last
        self._last = now
        again = stage in self._stages and done < self._stages[stage].done
        if again:
            self._responses += self._stages.pop(stage).responses
        if stage not in self._stages:
            self._stages[stage] = _Stage(stage, started=now, before=done)
        self._latest = at = self._stages[stage]
        at.tell(done, total, now)
        if self._bar is not None:
            if stage not in self._bars:
                self._bars[stage] = self._bar.add_task(stage, total=total)
            elif again:
                self._bar.reset(self._bars[stage], total=total)
            words = f"{stage}, {at.rate(now):,.0f} tokens/s" if at.rate(now) else stage
            self._bar.update(self._bars[stage], completed=done, total=total, description=words)
        if self._log:
            left, rate = at.seconds_left(now), at.rate(now)
            self._write(
                stage=stage,
                done=done,
                total=total,
                seconds=round(now - at.started, 3),
                seconds_left=None if left is None else round(left, 1),
                tokens_per_second=round(rate, 1) if rate else None,
                shares=self.shares(),
            )
        elif kind == "generation":
            self._foretell(at, now)

    def announce(self, work: Workload) -> None:
        """Say how much a run has to make; nothing where all is there."""
        self._wanted, self._announced_at = work.responses, self._made()
        if self._log:
            self._write(stage="plan", done=work.done, total=work.done + work.responses,
                        tokens_at_most=work.makes)  # fmt: skip
        elif work.responses:
            self._say(workload_text(work))

    def tokens(self, stage: str, count: int) -> None:
        """Add tokens that a stage has made."""
        if stage in self._stages:
            self._stages[stage].made += count

    def shares(self) -> dict[str, float]:
        """The share of the time so far in loading, generation and scoring."""
        whole = sum(self._spent.values()) or 1.0
        return {kind: round(value / whole, 3) for kind, value in self._spent.items()}

    def line(self, _seconds: float) -> str | None:
        """`generate sft: 120 of 400, 85 tokens/s, 2 min so far, about 5 min left`."""
        if self._log or self._bar is not None:
            return None
        return self._latest.line(time.monotonic()) if self._latest is not None else "starting"

    def _made(self) -> int:
        """Responses that were made so far."""
        return self._responses + sum(stage.responses for stage in self._stages.values())

    def _foretell(self, at: _Stage, now: float) -> None:
        """Say once how long the rest will take, after the first batches."""
        pace = at.pace(now)
        if not self._wanted or pace is None:
            return
        seconds = pace * (self._wanted - (self._made() - self._announced_at))
        self._wanted = 0
        if seconds >= WORTH_SAYING:
            self._say(f"At this pace all responses take about {in_words(seconds)} more.")

    def _say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(Text(printable(text)), soft_wrap=True)
        else:
            click.echo(printable(text), err=True)

    def _write(self, **facts: object) -> None:
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
        click.echo(json.dumps({"time": stamp, **facts}), err=True)


@dataclass(slots=True)
class _Stage:
    """How far a stage is: `before` were done when it began, `made` tokens came since."""

    name: str
    started: float
    before: int
    done: int = 0
    total: int = 0
    made: int = 0
    batches: list[tuple[float, int]] = field(default_factory=list)

    @property
    def responses(self) -> int:
        """How many responses it has made since it began."""
        generates = KINDS.get(self.name.partition(" ")[0]) == "generation"
        return self.done - self.before if generates else 0

    def tell(self, done: int, total: int, now: float) -> None:
        """What is known by now."""
        if done > self.done and done > self.before and len(self.batches) < FIRST_BATCHES + 1:
            self.batches.append((now, done))
        self.done, self.total = done, total

    def rate(self, now: float) -> float:
        """Tokens a second."""
        return self.made / (now - self.started) if now > self.started else 0.0

    def pace(self, now: float) -> float | None:
        """Seconds a response, not counting what came before the first; None while too few came."""
        if len(self.batches) < FIRST_BATCHES or now - self.started < FIRST_SECONDS:
            return None
        first, done = self.batches[0]
        return (now - first) / (self.done - done)

    def seconds_left(self, now: float) -> float | None:
        """Seconds until it ends, at the pace since it began."""
        since = self.done - self.before
        if self.done == self.total:
            return 0.0
        return (now - self.started) / since * (self.total - self.done) if since else None

    def line(self, now: float) -> str:
        """One line for a log."""
        parts = [f"{self.name}: {self.done:,} of {self.total:,}"]
        if rate := self.rate(now):
            parts.append(f"{rate:,.0f} tokens/s")
        parts.append(f"{in_words(now - self.started)} so far")
        if left := self.seconds_left(now):
            parts.append(f"about {in_words(left)} left")
        return ", ".join(parts)


def workload_text(work: Workload) -> str:
    """`To make: 400 responses to 40 prompts by 2 models, at most 25,600 tokens.`"""
    models = f"{work.models} models" if work.models > 1 else "1 model"
    prompts = f"{work.prompts:,} prompts" if work.prompts > 1 else "1 prompt"
    there = f" ({work.done:,} are there)" if work.done else ""
    return (
        f"To make: {work.responses:,} responses{there} to {prompts} by {models}, "
        f"at most {work.makes:,} tokens."
    )


@contextmanager
def progress(log_json: bool = False) -> Iterator[View]:
    """A `View`: bars on a terminal, else a line now and then, or JSON with `log_json`."""
    console = Console(stderr=True)
    if log_json or not console.is_terminal or not is_first_process():
        view = View(None, log_json)
        with saying(view.line):
            yield view
        return
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
        console=console,
    ) as bar:
        view = View(bar, False)
        with saying(view.line):
            yield view
    parts = ", ".join(f"{kind} {share:.0%}" for kind, share in view.shares().items())
    console.print(f"Time: {parts}", highlight=False)


def note(text: str) -> None:
    """A remark on stderr, so that stdout stays a table or JSON."""
    click.echo(f"Note: {printable(strike_secrets(text))}", err=True)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """A table on stdout as wide as it needs to be; no cell is read as markup or commands."""
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for name in header:
        table.add_column(Text(name), overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    Console().print(table)
