r"""Equality of formulas by math-verify, in processes that may be killed.

A model's output is hostile: a tower of powers, a matrix of a thousand rows, a text that is meant
to be run. Three processes keep it away. Ours only sends strings and reads a letter. A second one
imports math-verify once and never looks at a string. It forks a third, which parses and compares:
under limits on processor time, memory and files, with an empty environment, and under an audit
hook that refuses to compile text, to start a process, to open a connection or to write a file.
What takes too long is killed, and another is forked in milliseconds.

Of math-verify only the LaTeX parser (a grammar) is used, never that of plain expressions, which
calls `eval`. Even the former gives each numeral to `sympify`, which would run it as Python; here
`sympify` reads numerals by itself and refuses any other text.
"""

from __future__ import annotations

import math
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from importlib.util import find_spec
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from tofu_eval.core.child_process import Remote
from tofu_eval.core.errors import MissingDependencyError

CPU_SECONDS = 3
"""Processor time of one comparison."""

WALL_SECONDS = 20.0
"""Time of one comparison, however busy the machine is."""

MEMORY = 2 * 2**30
"""Bytes of address space of the process that compares."""

REFUSED = ("compile", "subprocess.", "socket.", "os.", "shutil.", "ctypes.", "pty.")
"""Audit events, or how they begin, that the comparing process may not cause."""

ALLOWED = ("os.listdir", "os.scandir", "os.walk", "os.fwalk", "os.putenv", "os.unsetenv")
"""What an import does."""

Pair = tuple[str, str]


class Algebra:
    """Compares formulas; the processes start at the first question.

    Args:
        cpu_seconds: processor time of one comparison, a whole number.
        wall_seconds: time of one comparison.

    Raises:
        MissingDependencyError: math-verify is not installed.
    """

    def __init__(self, cpu_seconds: int = CPU_SECONDS, wall_seconds: float = WALL_SECONDS) -> None:
        if find_spec("math_verify") is None:
            raise MissingDependencyError.of("The verifier 'math'", "math-verify", "math")
        self._remote = Remote(
            Supervisor, "The checking of answers", cpu_seconds, wall_seconds,
            environment={"OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def equal(self, pairs: Sequence[Pair]) -> list[bool | None]:
        """For each pair (answer, reference) whether they are equal; None where that is unknown.

        Unknown: the answer is no formula, or the comparison hit a limit.

        Raises:
            ModelError: the process that supervises has died.
        """
        found: list[bool | None] = self._remote.call("compare", list(pairs))
        return found

    def close(self) -> None:
        """End the processes; the next question starts others."""
        self._remote.close()


class Supervisor:
    """In the second process: hands pairs to the third and kills it when it hangs."""

    def __init__(self, cpu_seconds: int, wall_seconds: float) -> None:
        self._limits = cpu_seconds, wall_seconds
        self._pid = 0
        self._pipe: Connection | None = None
        _warm()

    def compare(self, pairs: Sequence[Pair]) -> list[bool | None]:
        """A verdict a pair; see `Algebra.equal`."""
        return [self._one(pair) for pair in pairs]

    def _one(self, pair: Pair) -> bool | None:
        pipe = self._pipe or self._fork()
        with suppress(EOFError, OSError):
            pipe.send(pair)
            if pipe.poll(self._limits[1]):
                verdict: bool | None = pipe.recv()
                return verdict
        self._end()
        return None

    def _fork(self) -> Connection:
        self._pipe, theirs = Pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                self._pipe.close()
                _serve(theirs, self._limits[0])
            finally:
                os._exit(1)
        theirs.close()
        return self._pipe

    def _end(self) -> None:
        if self._pipe is None:
            return
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        self._pipe.close()
        self._pipe = None


def _serve(pipe: Connection, cpu_seconds: int) -> None:
    """In the third process: compare until the other side is gone."""
    os.environ.clear()
    for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC, resource.RLIMIT_CORE):
        resource.setrlimit(limit, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.addaudithook(_refuse)
    while True:
        try:
            answer, reference = pipe.recv()
        except EOFError:
            return
        used = math.ceil(time.process_time())
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (used + cpu_seconds, hard))
        pipe.send(_verify_equal(answer, reference))


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """The audit hook: nothing but computing and importing."""
    if event == "open":
        mode, flags = arguments[1], arguments[2]
        writes = set(mode or "") & set("wax+") or (flags or 0) & (os.O_WRONLY | os.O_RDWR)
        if not writes:
            return
    elif event == "compile":
        name = arguments[1]
        # Compiling a module's file is importing; text that is to be run has no file.
        if not str(name).startswith("<"):
            return
    elif event in ALLOWED or not event.startswith(REFUSED):
        return
    raise PermissionError(f"refused: {event}")


def _verify_equal(answer: str, reference: str) -> bool | None:
    from math_verify import verify

    try:
        one = _parse(answer)
        if one is None:
            return None
        other = _parse(reference)
        if other is None:
            return False
        equal = verify(other, one, timeout_seconds=None, raise_on_error=True)
    except (Exception, RecursionError):  # noqa: BLE001 - sympy fails in many ways
        return None
    return bool(equal)


@lru_cache(maxsize=4096)
def _parse(answer: str) -> Any:
    """A formula's tree; None where it is not a formula."""
    from math_verify import LatexExtractionConfig, parse

    trees = parse(
        f"${answer}$", [LatexExtractionConfig()], parsing_timeout=None, fallback_mode="no_fallback"
    )
    return trees[0] if trees else None


def _numeral(text: str, *_: Any, **__: Any) -> Any:
    """In place of sympy's `parse_expr`: a numeral as sympy's number, anything else refused."""
    import sympy

    if re.fullmatch(r"\d+", text):
        return sympy.Integer(text)
    if re.fullmatch(r"\d+\.\d*|\.\d+", text):
        return sympy.Float(text)
    raise SyntaxError(f"refused: {text!r:.40} is no numeral")


def _warm() -> None:
    """Import all that comparing imports, before nothing may be compiled any more."""
    import logging

    import sympy.parsing.sympy_parser

    logging.disable(logging.CRITICAL)  # its log would need a file
    samples = (
        (r"\frac{1}{2}", "0.5"), ("x=1", "1"), (r"(-\infty,3]", r"x\le 3"), (r"\{1,2\}", "1,2"),
        (r"\begin{pmatrix}1&x\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2x-x\\3&4\end{pmatrix}"),
        (r"\sin^2 x+\cos^2 x", "1"), ("x^2+2x+1=0", "(x+1)^2=0"), (r"\sqrt{8}", r"2\sqrt{2}"),
        (r"50\%", "0.5"), (r"\pm 2", "2,-2"), (r"\log_2 8", "3"), ("2x+y=4", "y=4-2x"),
        (r"\int_0^1 x dx", "0.5"), (r"\sum_{k=1}^{3} k", "6"), (r"\binom{5}{2}", "10"),
    )  # fmt: skip
    for answer, reference in samples:
        _verify_equal(answer, reference)
        _verify_equal(reference, answer)
    # After the imports, some of which use it.
    sympy.parsing.sympy_parser.parse_expr = _numeral
