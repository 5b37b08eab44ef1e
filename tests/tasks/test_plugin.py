"""A package of somebody else's, really installed: its entry points work, break and clash."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tofu_eval.core.version import __version__

PLUGIN = Path(__file__).parents[1] / "plugins" / "tofu_eval_dummy"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the dummy package installed, by pip and without a network."""
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    subprocess.run(
        [*pip, "--no-deps", "--no-build-isolation", "--no-index", "--target", target, PLUGIN],
        check=True,
    )
    return target


def run(site: Path, code: str) -> str:
    """What `code` prints in a fresh interpreter that sees the package."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(site), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_task_loads_by_name(site: Path) -> None:
    code = (
        "from tofu_eval.tasks import load_task\n"
        "task = load_task('dummy-greetings')\n"
        "print(task.version, task.licence, [p.text for p in task.load()], task.origin)\n"
    )
    out = run(site, code)
    assert out.startswith("3 MIT ['Greet Ada:', 'Greet Emmy:'] ")
    assert out.strip().endswith("greetings.py:6")


def test_the_metric_loads_by_name(site: Path) -> None:
    code = "from tofu_eval.metrics import METRICS\nprint(METRICS.get('dummy_shout')(['a!', 'b']))\n"
    assert run(site, code) == "0.5\n"


def test_both_say_which_package_brings_them(site: Path) -> None:
    code = (
        "from tofu_eval.metrics import METRICS, find\n"
        "from tofu_eval.tasks import load_task\n"
        "from tofu_eval.tasks.base import TASKS\n"
        "task = load_task('dummy-greetings')\n"
        "print(TASKS.package(task.name, task.origin))\n"
        "print(TASKS.package(task.name, 'mine.yaml:1'))\n"
        "print(find('dummy_shout').facts()['package'])\n"
        "print(find('self_bleu').facts()['package'])\n"
    )
    theirs = "{'name': 'tofu-eval-dummy', 'version': '1.0.0'}"
    ours = f"{{'name': 'tofu-eval', 'version': '{__version__}'}}"
    assert run(site, code).splitlines() == [theirs, "None", theirs, ours]


@pytest.mark.slow
def test_a_board_says_which_package_brings_a_metric(site: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "Hi?", "responses": ["a!", "b"]}\n')
    code = (
        "from tofu_eval.cli import main\n"
        f"main(['score', {str(tmp_path / 'a.jsonl')!r}, '--output', {str(tmp_path / 'run')!r}, "
        "'--metric', 'dummy_shout', '--metric', 'unique_rate'], standalone_mode=False)\n"
        f"main(['leaderboard', 'show', {str(tmp_path / 'run' / 'leaderboard.json')!r}])\n"
    )
    shown = run(site, code)
    assert "The metric dummy_shout, version 1, is of tofu-eval-dummy 1.0.0." in shown
    assert "The metric unique_rate" not in shown
    board = json.loads((tmp_path / "run" / "leaderboard.json").read_text())
    assert board["metrics"][0]["package"] == {"name": "tofu-eval-dummy", "version": "1.0.0"}
    assert board["runs"][0]["packages"]["tofu-eval-dummy"] == "1.0.0"


def test_a_listing_shows_both_and_the_broken_one_as_broken(site: Path) -> None:
    code = (
        "from tofu_eval.tasks import TASKS\n"
        "for entry in TASKS.entries(): print(entry.name, entry.error)\n"
    )
    lines = dict(line.split(" ", 1) for line in run(site, code).splitlines())
    assert lines["dummy-greetings"] == "None"
    assert lines["open-prompts"] == "None"
    assert lines["dummy-broken"] == (
        "The task 'dummy-broken' of the package 'tofu-eval-dummy' cannot be loaded: "
        "ModuleNotFoundError: No module named 'a_module_that_nobody_has_installed'. "
        "Mend or remove it: pip uninstall tofu-eval-dummy"
    )


def test_the_broken_one_raises_when_it_is_asked_for(site: Path) -> None:
    code = (
        "from tofu_eval.tasks import load_task\n"
        "try: load_task('dummy-broken')\n"
        "except Exception as error: print(type(error).__name__, type(error.__cause__).__name__)\n"
    )
    assert run(site, code) == "PluginError ModuleNotFoundError\n"


def test_a_clash_of_names_names_both_files(site: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from tofu_eval.tasks import TASKS, task\n"
        "@task(name='dummy-greetings', version=1)\n"
        "def hello(): return ['Hello:']\n"
        "try: TASKS.get('dummy-greetings')\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    out = run(site, f"import runpy; runpy.run_path({str(mine)!r})")
    assert out.startswith("DuplicateNameError Two tasks are called 'dummy-greetings': ")
    assert f"{mine}:2 and {site}" in out
    assert out.endswith("greetings.py:6. Rename one of them.\n")


def test_a_name_close_to_a_plugin_gets_a_hint(site: Path) -> None:
    code = (
        "from tofu_eval.tasks import load_task\n"
        "try: load_task('dummy-greeting')\n"
        "except Exception as error: print(error)\n"
    )
    assert "Did you mean 'dummy-greetings'?" in run(site, code)
