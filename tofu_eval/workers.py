"""Scoring in several processes: groups are independent of each other."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from tofu_eval.errors import ConfigError, UnknownNameError
from tofu_eval.metrics import Metric, find
from tofu_eval.stages import Scorer, score_each
from tofu_eval.types import Group, Score


@contextmanager
def scoring_pool(workers: int) -> Iterator[Scorer]:
    """What `score_groups` scores with: this process for 1, else that many others.

    The scores do not depend on it. A worker finds the metrics by their names, so it needs them
    registered by an installed package.

    Raises:
        ConfigError: a worker does not know a metric, or dies.
    """
    if workers == 1:
        yield score_each
        return
    # Forking a process that runs PyTorch's threads can hang.
    pool = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_ignore_interrupt
    )

    def score(
        groups: Sequence[Group], metrics: Sequence[Metric], truncate: int | None
    ) -> list[list[Score]]:
        names = [metric.name for metric in metrics]
        share = max(1, -(-len(groups) // (2 * workers)))
        jobs = [
            pool.submit(_score, groups[start : start + share], names, truncate)
            for start in range(0, len(groups), share)
        ]
        try:
            return [rows for job in jobs for rows in job.result()]
        except UnknownNameError as error:
            raise ConfigError(
                f"A worker does not know a metric: {error} Register it by an entry point, or use "
                "--workers 1."
            ) from error
        except BrokenProcessPool as error:
            raise ConfigError(
                "A scoring process was ended from outside (too little memory?). What is scored is "
                "kept; run the same command again with fewer --workers."
            ) from error

    try:
        yield score
    finally:
        pool.shutdown(cancel_futures=True)


def _ignore_interrupt() -> None:
    """Ctrl-C reaches every process of the terminal; the parent alone answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _score(
    groups: Sequence[Group], names: Sequence[str], truncate: int | None
) -> list[list[Score]]:
    return score_each(groups, [find(name) for name in names], truncate)
