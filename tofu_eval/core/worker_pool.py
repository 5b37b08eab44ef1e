"""Worker processes for jobs that take a model: its memory is given back when a worker ends.

Light, because every worker imports it before anything else.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from tofu_eval.core.blas import load_blas_under_limit
from tofu_eval.core.errors import TrainingError
from tofu_eval.core.termination import ignore_signals, leave_if_asked
from tofu_eval.core.types import Report

Item = TypeVar("Item")

_messages: Any = None
"""In a worker: the queue to the process that started it."""


class Workers:
    """A pool whose jobs report their progress to the process that started them."""

    def __init__(self, pool: ProcessPoolExecutor, messages: Any, report: Report) -> None:
        self._pool = pool
        self._messages = messages
        self._report = report

    def start(self, job: Callable[..., Item], *arguments: Any) -> Future[Item]:
        """Queue `job(*arguments, report)`."""
        return self._pool.submit(_run, job, *arguments)

    def first(self, futures: set[Future[Any]]) -> Future[Any]:
        """Wait until one of them is done; pass on what the workers report meanwhile.

        Raises:
            TrainingError: a worker died.
            TofuEvalError: whatever the job raised.
        """
        while True:
            done, _ = wait(futures, timeout=0.1, return_when="FIRST_COMPLETED")
            self._pass_on()
            leave_if_asked()
            for future in done:
                error = future.exception()
                if isinstance(error, BrokenProcessPool):
                    raise TrainingError(
                        "A worker process died, perhaps for lack of memory. What is "
                        "finished is kept; run the same command again."
                    ) from error
                if error is not None:
                    raise error
                return future

    def _pass_on(self) -> None:
        while not self._messages.empty():
            self._report(*self._messages.get())


@contextmanager
def workers(count: int, report: Report, *, threads: int = 1) -> Iterator[Workers]:
    """`count` processes; when the block ends by an error or Ctrl-C, they end at once.

    Args:
        count: jobs at a time, >= 1.
        report: told what the jobs report.
        threads: of torch in each; for tiny models two are slower than one.
    """
    context = get_context("spawn")  # a forked torch may hang
    messages = context.SimpleQueue()  # what a job says arrives before its result does
    # Only this process holds `here`: when it is closed, by us or by our death, `there` ends.
    there, here = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(count, context, _prepare, (messages, there, threads))
    try:
        yield Workers(pool, messages, report)
    except BaseException:
        here.close()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        here.close()
        there.close()


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _prepare(messages: Any, parent: Connection, threads: int) -> None:
    """The first thing in a worker, before torch is imported."""
    global _messages
    _messages = messages
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # those of transformers too
    ignore_signals()
    load_blas_under_limit()
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: Connection) -> None:
    """End this worker when the process that started it wants that, or is no more."""
    parent.poll(None)
    os._exit(1)


def _run(job: Callable[..., Item], *arguments: Any) -> Item:
    def report(stage: str, done: int, total: int) -> None:
        _messages.put((stage, done, total))

    return job(*arguments, report)
