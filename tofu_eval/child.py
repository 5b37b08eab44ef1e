"""A process of our own for what must not share memory with anything: started, spoken to, ended.

The child imports a module and calls its `serve(pipe)`, which reads (order, arguments) from the
pipe and answers with (kind, content). Only these two processes of one program write to the pipe,
so that what is unpickled from it is our own.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from tofu_eval.errors import ModelError

PATIENCE = 20.0
"""Seconds for a child to end by itself before it is killed."""


_START = """
import importlib, os, sys, threading, time
from multiprocessing.connection import Connection
parent = os.getppid()
def watch():  # killed in the middle of a batch, a parent closes a pipe that nobody looks at
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
threading.Thread(target=watch, daemon=True).start()
importlib.import_module(sys.argv[1]).serve(Connection(int(sys.argv[2])))
os._exit(0)  # threads of the library would keep the process, and its memory, alive
"""


class Child:
    """A running child process.

    Args:
        module: what it runs.
        title: what messages call it, "The vLLM engine of 'base'".
        environment: variables to set for it.
    """

    def __init__(self, module: str, title: str, environment: Mapping[str, str]) -> None:
        self._title = title
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._pipe, theirs = Pipe()
        with theirs:
            # A session of its own: Ctrl-C reaches us alone, and we can end all that it started.
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, module, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": _search_path(), **environment},
            )
        self.pid = self._process.pid

    def send(self, order: str, arguments: Any) -> None:
        """Give an order.

        Raises:
            ModelError: the process has died.
        """
        try:
            self._pipe.send((order, arguments))
        except (BrokenPipeError, ConnectionResetError) as error:
            raise self._died() from error

    def receive(self) -> tuple[str, Any]:
        """Wait for the next answer.

        Raises:
            ModelError: the process has died, or answers with an error.
        """
        try:
            kind, content = self._pipe.recv()
        except (EOFError, ConnectionResetError) as error:
            raise self._died() from error
        if kind == "error":
            raise ModelError(f"{self._title} failed: {_line(content)}. {self._seen()}")
        return kind, content

    def close(self) -> None:
        """End the process and all that it started; its memory is free when this returns."""
        self._pipe.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
            self._log.close()

    def _died(self) -> ModelError:
        code = self._process.wait()
        how = f"was killed (signal {-code})" if code < 0 else f"ended with code {code}"
        remedy = " Is the memory full?" if code == -signal.SIGKILL else ""
        return ModelError(
            f"{self._title} {how}.{remedy} {self._seen()}What it made is kept; run the same "
            "command again."
        )

    def _seen(self) -> str:
        """The last line of its log that says something, as a sentence."""
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", "replace").splitlines()
        told = [line.strip() for line in lines if re.match(r"^(\S+ )*\w*(Error|Exception)\b", line)]
        return f"It said: {_line(told[-1])}. " if told else ""


def _search_path() -> str:
    """So that the child finds this package wherever it was imported from."""
    here = str(Path(__file__).resolve().parent.parent)
    return os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])


def _line(text: str) -> str:
    return " ".join(text.split())[:300].rstrip(". ")
