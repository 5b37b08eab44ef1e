"""What the commands share on the terminal: progress, notes, tables."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

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

from tofu_eval.core.escape import printable
from tofu_eval.core.types import Report

KINDS = {"load": "loading", "start": "loading", "generate": "generation", "train": "training"}
"""What a stage's first word counts as; all else is scoring."""


EVERY = 30.0
"""Seconds between two lines of progress where there is no terminal."""


class View:
    """A `Report` that shows progress on stderr: bars, a JSON object a call, or a line now and then.

    `tokens` is told how many tokens a stage has made, for the rate; `every` is the least number of
    seconds between two plain lines, None for none.
    """

    def __init__(self, bar: Progress | None, log: bool, every: float | None = None) -> None:
        self._bar, self._log, self._every = bar, log, every
        self._said = time.monotonic()
        self._bars: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}
        self._made: dict[str, int] = {}
        self._spent: dict[str, float] = {}
        self._last = time.monotonic()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that `done` of `total` are done."""
        now = time.monotonic()
        kind = KINDS.get(stage.partition(" ")[0], "scoring")
        self._spent[kind] = self._spent.get(kind, 0.0) + now - self._last
        self._last = now
        started = self._started.setdefault(stage, now)
        rate = self._made.get(stage, 0) / (now - started) if now > started else 0.0
        if self._bar is not None:
            if stage not in self._bars:
                self._bars[stage] = self._bar.add_task(stage, total=total)
            words = f"{stage}, {rate:,.0f} tokens/s" if rate else stage
            self._bar.update(self._bars[stage], completed=done, total=total, description=words)
        if self._every is not None and now - self._said >= self._every:
            self._said = now
            click.echo(printable(_progress_line(stage, done, total, now - started, rate)), err=True)
        if self._log:
            seconds = now - started
            line = {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "stage": stage,
                "done": done,
                "total": total,
                "seconds": round(seconds, 3),
                "seconds_left": round(seconds / done * (total - done), 1) if done else None,
                "tokens_per_second": round(rate, 1) if rate else None,
                "shares": self.shares(),
            }
            click.echo(json.dumps(line), err=True)

    def tokens(self, stage: str, count: int) -> None:
        """Add tokens that a stage has made."""
        self._made[stage] = self._made.get(stage, 0) + count

    def shares(self) -> dict[str, float]:
        """The share of the time so far in loading, generation and scoring."""
        whole = sum(self._spent.values()) or 1.0
        return {kind: round(value / whole, 3) for kind, value in self._spent.items()}


def _progress_line(stage: str, done: int, total: int, seconds: float, rate: float) -> str:
    """`generate sft: 120 of 400, 85 tokens/s, 2 min so far, about 5 min left`."""
    parts = [f"{stage}: {done:,} of {total:,}"]
    if rate:
        parts.append(f"{rate:,.0f} tokens/s")
    parts.append(f"{_in_words(seconds)} so far")
    if 0 < done < total:
        parts.append(f"about {_in_words(seconds / done * (total - done))} left")
    return ", ".join(parts)


def _in_words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@contextmanager
def progress(log_json: bool = False) -> Iterator[Report]:
    """A `View`: bars on a terminal, else a line every EVERY seconds, or JSON with `log_json`."""
    console = Console(stderr=True)
    if log_json or not console.is_terminal:
        yield View(None, log_json, None if log_json else EVERY)
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
        yield view
    parts = ", ".join(f"{kind} {share:.0%}" for kind, share in view.shares().items())
    console.print(f"Time: {parts}", highlight=False)


def note(text: str) -> None:
    """A remark on stderr, so that stdout stays a table or JSON."""
    click.echo(f"Note: {printable(text)}", err=True)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """A table on stdout as wide as it needs to be; no cell is read as markup or commands."""
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for name in header:
        table.add_column(Text(name), overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    Console().print(table)
