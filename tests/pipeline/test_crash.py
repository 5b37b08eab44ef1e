"""Killed at any moment and started again, a run equals one that nobody disturbed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tofu_eval.run.store import Run

# The run of the tests below, in forks of one process, so that Python starts once. A fork kills
# itself before its k-th fsync or rename; another then makes the same run again.
SCRIPT = textwrap.dedent("""
    import importlib, os, signal, sys
    from importlib.util import find_spec
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from support.fakes import FakeEngine
    import tofu_eval as te
    te.evaluate
    for slow in filter(find_spec, ("jsonschema", "pandas", "pyarrow.parquet", "scipy.special")):
        importlib.import_module(slow)  # before the forks, once

    steps = 0
    fsync, replace = os.fsync, Path.replace

    def evaluate(output, moment):
        def step(original):
            def stepping(*args, **kwargs):
                global steps
                steps += 1
                if steps == moment:
                    os.kill(os.getpid(), signal.SIGKILL)
                return original(*args, **kwargs)
            return stepping

        os.fsync, Path.replace = step(fsync), step(replace)
        prompts = [te.Prompt.of_text(str(i), f"Name fruit {{i}}.") for i in range(2)]
        task = te.Task("fruit", 1, lambda: prompts, sampling=te.Sampling(samples=3, max_tokens=8))
        models = {{"base": FakeEngine(), "sft": FakeEngine(3)}}
        te.evaluate(models, [task], output, metrics=["unique_rate"])
        return steps

    def fork(output, moment):
        \"\"\"How a process ended: less than 0 by a signal, else the steps that it took.\"\"\"
        inward, outward = os.pipe()
        if (child := os.fork()) == 0:
            taken = evaluate(output, moment)
            os.write(outward, str(taken).encode())
            os._exit(0)
        os.close(outward)
        with os.fdopen(inward) as pipe:
            taken = pipe.read()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return int(taken) if code == 0 else code

    folder = Path(sys.argv[1])
    whole = fork(folder / "whole", 0)
    print(whole)
    for moment in range(1, whole + 1):
        print(moment, fork(folder / str(moment), moment), fork(folder / str(moment), 0), flush=True)
""").format(tests=str(Path(__file__).parents[1]))


def tables(path: Path, task: str) -> list[object]:
    run = Run.open(path)
    models = list(run.manifest["models"])
    responses = [run.responses(model, task).to_pylist() for model in models]
    return [models, *responses, run.scores().to_pylist(), run.estimates()]


@pytest.mark.slow
def test_killed_before_each_step_of_each_write(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, check=True
    )
    whole, *lines = done.stdout.splitlines()
    assert int(whole) == len(lines) > 20, done.stderr
    expected = tables(tmp_path / "whole", "fruit")
    for line in lines:
        moment, killed, resumed = map(int, line.split())
        assert killed == -signal.SIGKILL
        assert resumed >= 0, done.stderr
        output = tmp_path / str(moment)
        assert tables(output, "fruit") == expected
        assert not list(output.rglob(".tmp-*"))


@pytest.mark.slow
def test_killed_at_ten_random_moments_with_a_real_model(tmp_path: Path, tiny_model: Path) -> None:
    def command(output: Path) -> list[str]:
        return [
            *(sys.executable, "-m", "tofu_eval.cli", "run", "--model", f"tiny={tiny_model}"),
            *("--task", "open-prompts", "--samples", "8", "--max-tokens", "24"),
            *("--batch-size", "8", "--metric", "distinct_2", "--output", str(output)),
        ]

    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True)
    draw = random.Random(0)
    killed = tmp_path / "killed"
    parts = killed / "responses" / "tiny" / "open-prompts"
    made = []
    for _ in range(10):
        process = subprocess.Popen(
            command(killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        target = len(list(parts.glob("part-*"))) + draw.randint(0, 2)
        deadline = time.monotonic() + 60
        while len(list(parts.glob("part-*"))) < target and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(draw.uniform(0, 0.1 if target else 8))
        process.send_signal(signal.SIGKILL)
        process.wait()
        made.append(len(list(parts.glob("part-*"))))
    assert max(made) > 0  # some of the kills fell into generation
    assert made[-1] < 78  # and something was left for the last call
    subprocess.run(command(killed), check=True, capture_output=True)
    assert tables(killed, "open-prompts") == tables(tmp_path / "whole", "open-prompts")
