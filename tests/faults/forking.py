"""Commands in forks of a process that has imported everything, so that Python starts once."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.interpose import Seen, arm, attach, read_seen

PATIENCE = 120.0
"""Seconds that a command may take."""


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (negative by a signal), what it printed, what was seen."""

    code: int | None
    said: str
    seen: Seen


def do_nothing() -> None:
    """Most commands run as they are."""


def call(
    folder: Path,
    command: Sequence[str],
    *,
    mode: str = "count",
    at: int = 0,
    prepare: Callable[[], None] = do_nothing,
    fresh: bool = False,
) -> Ended:
    """Call a command in `folder`/harm/work, with temporary files beside that; harm it at `at`.

    A code of None says that it did not end by itself.
    """
    state, log = folder.with_suffix(".state"), folder.with_suffix(".log")
    arm(state, folder / "harm", mode, at)
    log.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        _be_a_command(folder, command, state, log, prepare, fresh)
    deadline = time.monotonic() + PATIENCE
    pid = status = 0
    while pid == 0 and time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0 if pid else 0.002)
    if pid == 0:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status) if pid else None
    return Ended(code, log.read_text("utf-8", "replace"), read_seen(state))


def _be_a_command(
    folder: Path,
    command: Sequence[str],
    state: Path,
    log: Path,
    prepare: Callable[[], None],
    fresh: bool,
) -> None:
    code = 70
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(folder / "harm" / "work")
        os.environ["TMPDIR"] = str(folder / "harm" / "tmp")
        tempfile.tempdir = None
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(out, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if fresh:
            environment = {**os.environ, "FAULTS_STATE": str(state)}
            program = [sys.executable, "-m", "tofu_eval.cli", *command]
            os.execve(sys.executable, program, environment)
        fork_workers()
        prepare()
        attach(state)
        code = _invoke(command)
    except BaseException:  # noqa: BLE001 - a fork must not go on in the harness
        import traceback

        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _invoke(command: Sequence[str]) -> int:
    from tofu_eval.cli import main

    try:
        main(list(command), prog_name="tofu-eval")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    atexit._run_exitfuncs()
    return code


def fork_workers() -> None:
    """Let a command fork its workers, which else start Python and import torch anew each.

    Of all that a spawned worker does not have, a forked one must give back the end of the pipe that
    tells it of its parent's death.
    """
    from tofu_eval.core import worker_pool

    context = multiprocessing.get_context("fork")
    held: list[Any] = []
    make_pipe, begin = context.Pipe, worker_pool._prepare

    def pipe(duplex: bool) -> tuple[Any, Any]:
        held[:] = make_pipe(duplex)
        return held[0], held[1]

    def prepare(*arguments: Any) -> None:
        held[1].close()
        begin(*arguments)

    context.Pipe = pipe
    worker_pool.get_context = lambda method: context
    worker_pool._prepare = prepare


def warm(folder: Path, command: Sequence[str]) -> None:
    """Call a command in this process: forks then find imported and compiled what it takes."""
    from click.testing import CliRunner

    from tofu_eval.cli import main

    before = Path.cwd()
    os.chdir(folder / "harm" / "work")
    try:
        CliRunner().invoke(main, list(command), catch_exceptions=False)
    finally:
        os.chdir(before)
