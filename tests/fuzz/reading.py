"""What a reader may do with any input, and how many inputs each was given."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from support.commands import invoke

from tofu_eval.cli import Failure
from tofu_eval.core.errors import TofuEvalError

EXAMPLES = int(os.environ.get("TOFU_EVAL_FUZZ", "0"))
"""Inputs a reader; 0 is the small number of every test run, always the same inputs."""

SECONDS = 20.0
"""A reader that takes longer hangs: the inputs are of some kilobytes."""

LONGEST_LINE = 3000
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

COUNTS: dict[str, Counter[str]] = {}


def fuzz(small: int) -> Any:
    """Hypothesis's settings: `small` inputs, or as many as the environment says."""
    return settings(
        max_examples=EXAMPLES or small,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


def check_reader(name: str, read: Callable[[], Any]) -> Any:
    """Call a reader: it gives a result, or one of our errors, and soon.

    Returns: what was read; None where it was refused.
    """
    counts = COUNTS.setdefault(name, Counter())
    start = time.monotonic()
    result = None
    try:
        result = read()
        counts["read"] += 1
    except TofuEvalError as error:
        counts["refused"] += 1
        check_line(str(error))
    assert time.monotonic() - start < SECONDS
    return result


def check_line(text: str) -> None:
    """An error as the command line says it has words, and is a line that a terminal shows."""
    line = Failure(text).format_message()
    assert line.strip(), "an error without words"
    assert not CONTROL.search(line), ascii(line)
    assert len(line) < LONGEST_LINE, len(line)


def check_command(name: str, *arguments: object) -> None:
    """Call a command: it ends by itself, or with one line and exit code 2."""

    def call() -> Any:
        result = invoke(*arguments)
        if result.exit_code == 0 or (result.exit_code == 1 and arguments[0] == "check"):
            return result
        if not isinstance(result.exception, SystemExit):
            raise result.exception or AssertionError(result.output)
        lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        assert (result.exit_code, len(lines)) == (2, 1), result.output[-2000:]
        raise TofuEvalError(lines[0])

    check_reader(name, call)
