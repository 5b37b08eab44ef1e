"""vLLM, or the command that waits for it, killed while it loads: `make test-engines`."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import invoke

from tofu_eval.run.store import Run
from tofu_eval.run.verify import verify

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None, reason="vLLM is not here: make test-engines"
    ),
]

PATIENCE = 240.0
"""Seconds within which everything here ends, on a machine that does other things too."""

TASK = """
name: fruit
version: 1
licence: CC0-1.0
description: Names of fruit.
prompts:
  - {id: a, text: Name a fruit}
  - {id: b, text: Name a colour}
sampling: {samples: 8, max_tokens: 12}
"""


@pytest.fixture(scope="module")
def ask(served_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Any]:
    """The arguments of a run into a directory."""
    task = tmp_path_factory.mktemp("task") / "fruit.yaml"
    task.write_text(TASK)

    def arguments(output: Path) -> list[str]:
        return [
            *("run", "--model", f"m={served_model}", "--task", str(task), "--output", str(output)),
            *("--engine", "vllm", "--engine-arg", "enforce_eager=true"),
            *("--metric", "unique_rate", "--log-json"),
        ]

    return arguments


@pytest.fixture(scope="module")
def undisturbed(ask: Any, tmp_path_factory: pytest.TempPathFactory) -> Run:
    output = tmp_path_factory.mktemp("undisturbed") / "run"
    result = invoke(*ask(output))
    assert result.exit_code == 0, result.output
    return Run.open(output)


def assert_is_whole(output: Path, undisturbed: Run) -> None:
    run = Run.open(output)
    assert not verify(output).problems
    assert run.responses("m", "fruit").equals(undisturbed.responses("m", "fruit"))
    assert run.scores().equals(undisturbed.scores())


def descendants(pid: int) -> list[int]:
    """All processes that a process started, and those that these did."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *descendants(child)]
    return found


def maps(pid: int, name: str) -> bool:
    """Whether a process has a file of that name in its memory."""
    try:
        return name in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False


def wait_for(sign: Callable[[], Any], alive: Callable[[], bool]) -> Any:
    """What the sign is once it is there."""
    deadline = time.monotonic() + PATIENCE
    while not (seen := sign()):
        assert alive(), "it ended before there was a sign"
        assert time.monotonic() < deadline, "there was no sign"
        time.sleep(0.005)
    return seen


def kill_when(command: list[str], sign: Callable[[int], Any], log: Path) -> None:
    """Start a command, kill it at the sign, and see that all it started ends too."""
    with log.open("w") as out:
        process = subprocess.Popen([sys.executable, "-m", "tofu_eval.cli", *command], stderr=out)
    wait_for(lambda: sign(process.pid), lambda: process.poll() is None)
    children = descendants(process.pid)
    process.kill()
    process.wait()
    assert '"stage": "load m", "done": 1' not in log.read_text(), "it was loaded already"
    deadline = time.monotonic() + PATIENCE
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline, "a child of it goes on"
        time.sleep(0.05)


def test_the_command_killed_while_vllm_loads(ask: Any, undisturbed: Run, tmp_path: Path) -> None:
    """At its manifest, in the middle of the import, and with the model's files in memory."""
    output, log = tmp_path / "run", tmp_path / "log"

    def of_child(name: str) -> Callable[[int], Any]:
        return lambda pid: any(maps(child, name) for child in descendants(pid))

    for sign in (
        lambda _: (output / "run.json").exists(),
        of_child("libtorch_cpu"),
        of_child("vllm/_C"),
    ):
        kill_when(ask(output), sign, log)
        assert not list((output / "responses").rglob("part-*"))
    result = invoke(*ask(output))
    assert result.exit_code == 0, result.output
    assert_is_whole(output, undisturbed)


@pytest.fixture
def core_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM's core in a process of its own, as on a GPU."""
    from tofu_eval.engines.vllm import VllmEngine

    original = VllmEngine._environment
    monkeypatch.setattr(
        VllmEngine,
        "_environment",
        lambda self: {**original(self), "VLLM_ENABLE_V1_MULTIPROCESSING": "1"},
    )


def is_core(pid: int) -> bool:
    """Whether a process is vLLM's core, by the name that it gives itself."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"VLLM::EngineCor")
    except OSError:
        return False


@pytest.mark.usefixtures("core_apart")
def test_vllm_killed_while_it_loads_is_one_line(ask: Any, undisturbed: Run, tmp_path: Path) -> None:
    """Its core, then the process that talks to it; the same command makes the whole run."""
    for victim_of in (lambda core: core, parent_of):
        killed: list[int] = []
        over = threading.Event()
        killer = threading.Thread(target=kill_core, args=(victim_of, killed, over))
        killer.start()
        start = time.monotonic()
        result = invoke(*ask(tmp_path / "run"))
        over.set()
        killer.join()
        assert killed
        assert time.monotonic() - start < PATIENCE
        assert result.exit_code == 2, result.output
        (line,) = [line for line in result.stderr.splitlines() if not line.startswith("{")]
        assert line.startswith("Error: The vLLM engine of 'm' ")
        assert not list((tmp_path / "run" / "responses").rglob("part-*"))
        assert not [pid for pid in descendants(os.getpid()) if is_core(pid)]
    again = invoke(*ask(tmp_path / "run"))
    assert again.exit_code == 0, again.output
    assert_is_whole(tmp_path / "run", undisturbed)


def kill_core(victim_of: Callable[[int], int], killed: list[int], over: threading.Event) -> None:
    """Kill vLLM's core, or another process that is found from it, as soon as it is there."""
    (core,) = wait_for(
        lambda: [pid for pid in descendants(os.getpid()) if is_core(pid)],
        lambda: not over.is_set(),
    )
    killed.append(victim_of(core))
    os.kill(killed[0], signal.SIGKILL)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
