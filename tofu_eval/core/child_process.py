"""An object in a process of its own, called by name; its memory is free when it is closed.

For what holds a GPU: memory that PyTorch has cached, and its context on the device, are given back
for sure only when their process ends.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tofu_eval.core.blas import load_blas_under_limit
from tofu_eval.core.errors import ModelError, TofuEvalError
from tofu_eval.core.termination import is_asked


class Remote:
    """`make(*arguments, **options)`, made in a child process at the first call, or by `start`.

    Args:
        make: a class or a function of a module; everything it gets can be pickled.
        title: what messages call it, "The engine of 'base'".
        environment: variables to set for the process.
    """

    def __init__(
        self,
        make: Callable[..., Any],
        title: str,
        *arguments: Any,
        environment: dict[str, str] | None = None,
        **options: Any,
    ) -> None:
        self._recipe = (make, arguments, options)
        self._title = title
        self._environment = environment or {}
        self._child: Child | None = None
        self._made = False

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        return self._child.pid if self._child is not None else None

    def start(self) -> None:
        """Begin to make the object, without waiting; what fails is told by the first call."""
        if self._child is None:
            self._child = Child("tofu_eval.core.child_process", self._title, self._environment)
            self._made = False
            self._child.send("make", self._recipe)

    def call(self, method: str, *arguments: Any) -> Any:
        """What the method returns; after an error the process is ended.

        Raises:
            TofuEvalError: as the method does.
            ModelError: it fails in another way, or its process dies.
        """
        child = self._ready()
        try:
            child.send("call", (method, arguments))
            return _receive(child)[1]
        except BaseException:
            self.close()
            raise

    def get(self, attribute: str) -> Any:
        """An attribute of the object, as it is now."""
        return self.call("__getattribute__", attribute)

    def stream(self, method: str, *arguments: Any) -> Iterator[Any]:
        """What the method yields, as it yields it; raises as `call` does."""
        child = self._ready()
        try:
            child.send("stream", (method, arguments))
            while (answer := _receive(child))[0] != "end":
                yield answer[1]
        except BaseException:  # half an answer is left in the pipe
            self.close()
            raise

    def close(self) -> None:
        """End the process; the next call starts another."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def _ready(self) -> Child:
        """The process with the object in it."""
        try:
            self.start()
            if self._child is None:
                raise ModelError(f"{self._title} is closed. Run the command again.")
            if not self._made:
                _receive(self._child)
                self._made = True
        except BaseException:
            self.close()
            raise
        return self._child


def _receive(child: Child) -> tuple[str, Any]:
    kind, content = child.receive()
    if kind == "raised":
        raise content
    return kind, content


def serve(pipe: Connection) -> None:
    """In the child: make the object, then answer for it until the other side is gone."""
    served: Any = None
    while True:
        try:
            order, content = pipe.recv()
        except EOFError:
            return
        try:
            if order == "make":
                load_blas_under_limit()
                make, arguments, options = content
                served = make(*arguments, **options)
                pipe.send(("made", None))
            else:
                method, arguments = content
                answer = getattr(served, method)(*arguments)
                if order == "call":
                    pipe.send(("value", answer))
                else:
                    for part in answer:
                        pipe.send(("part", part))
                    pipe.send(("end", None))
        except (BrokenPipeError, ConnectionResetError):
            return
        except TofuEvalError as error:
            pipe.send(("raised", error))
        except BaseException as error:  # noqa: BLE001 - a framework fails in many ways
            pipe.send(("error", f"{type(error).__name__}: {error}"))


PATIENCE = 20.0
"""Seconds for a child to end by itself before it is killed."""

SHORT_PATIENCE = 5.0
"""The same where we are asked to end soon."""


_START = """
import importlib, os, signal, sys, threading, time
signal.signal(signal.SIGTERM, lambda number, frame: None)  # the parent decides what it means
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
            raise ModelError(f"{self._title} failed: {_line(content)}. {self._quote_log()}")
        return kind, content

    def close(self) -> None:
        """End the process and all that it started; its memory is free when this returns."""
        self._pipe.close()
        try:
            self._process.wait(SHORT_PATIENCE if is_asked() else PATIENCE)
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
            f"{self._title} {how}.{remedy} {self._quote_log()}What it made is kept; run the same "
            "command again."
        )

    def _quote_log(self) -> str:
        """The last line of its log that says something, as a sentence."""
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", "replace").splitlines()
        told = [line.strip() for line in lines if re.match(r"^(\S+ )*\w*(Error|Exception)\b", line)]
        return f"It said: {_line(told[-1])}. " if told else ""


def _search_path() -> str:
    """So that the child finds this package wherever it was imported from."""
    here = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])


def _line(text: str) -> str:
    return " ".join(text.split())[:300].rstrip(". ")
