"""Worker processes: progress comes back, errors come back, nothing is left running."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tofu_eval.core.errors import ConfigError, TrainingError
from tofu_eval.core.worker_pool import cores, workers


def square(number, report):
    report(f"job {number}", 1, 1)
    return number * number, os.getpid()


def settings(report):
    import torch
    from transformers.utils import logging

    return torch.get_num_threads(), logging.is_progress_bar_enabled()


def fail(report):
    raise ConfigError("a clear line")


def die(report):
    os._exit(9)


def sleep(report):
    report("sleeping", 0, 1)
    time.sleep(120)


def test_results_and_progress_come_back() -> None:
    told = []
    with workers(2, lambda *message: told.append(message)) as pool:
        futures = {pool.start(square, number) for number in (2, 3)}
        results = []
        while futures:
            done = pool.first(futures)
            futures.remove(done)
            results.append(done.result())
    assert sorted(value for value, _ in results) == [4, 9]
    assert os.getpid() not in {pid for _, pid in results}
    assert sorted(told) == [("job 2", 1, 1), ("job 3", 1, 1)]


@pytest.mark.slow
def test_a_worker_has_its_threads_and_no_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with workers(1, lambda *_: None, threads=1) as pool:
        assert pool.first({pool.start(settings)}).result() == (1, False)


def test_our_errors_come_back_as_they_are() -> None:
    with (
        pytest.raises(ConfigError, match=r"^a clear line$"),
        workers(1, lambda *_: None) as pool,
    ):
        pool.first({pool.start(fail)})


def test_a_worker_that_dies_is_one_line() -> None:
    with (
        pytest.raises(TrainingError, match="A worker process died"),
        workers(1, lambda *_: None) as pool,
    ):
        pool.first({pool.start(die)})


def test_an_interrupt_ends_the_workers_at_once() -> None:
    started = []

    def interrupt(*_: object) -> None:
        started.append(time.monotonic())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), workers(1, interrupt) as pool:
        pool.first({pool.start(sleep)})
    assert time.monotonic() - started[0] < 20
    assert not multiprocessing.active_children()


def test_workers_do_not_outlive_the_process_that_started_them(tmp_path) -> None:
    script = tmp_path / "main.py"
    script.write_text(
        "import os, pathlib, time\n"
        "from tofu_eval.core.worker_pool import workers\n"
        "def job(report):\n"
        f"    pathlib.Path({str(tmp_path)!r}, 'pid').write_text(str(os.getpid()))\n"
        "    report('up', 0, 1)\n"
        "    time.sleep(120)\n"
        "if __name__ == '__main__':\n"
        "    with workers(1, lambda *_: os.kill(os.getpid(), 9)) as pool:\n"
        "        pool.first({pool.start(job)})\n"
    )
    done = subprocess.run([sys.executable, script], timeout=60)
    assert done.returncode == -9
    pid = int((tmp_path / "pid").read_text())
    end = time.monotonic() + 20
    while _is_running(pid) and time.monotonic() < end:
        time.sleep(0.1)
    assert not _is_running(pid)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # Dead, but nobody has asked for its exit status.
    status = Path(f"/proc/{pid}/status")
    return not (status.exists() and "State:\tZ" in status.read_text())


def test_cores_are_counted() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)
