"""The tab key: asked as a shell asks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.shell_completion import BashComplete

from tofu_eval.cli import completion, main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("first", "second"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        told = {"models": {"base": {}, "sft": {}}, "metrics": {"vendi": {}}, "tasks": {"fruit": {}}}
        (tmp_path / "runs" / name / "run.json").write_text(json.dumps(told))
    (tmp_path / "runs" / "no-run").mkdir()
    return tmp_path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(completion.ASKED_BY_SHELL, "bash_complete")


def complete(line: str) -> list[str]:
    """What a shell would offer for the last word of a line."""
    *words, incomplete = line.split(" ")
    shell = BashComplete(main, {}, "tofu-eval", completion.ASKED_BY_SHELL)
    found = shell.get_completions(words, incomplete)
    return [item.value for item in found if item.type == "plain"]


pytestmark = pytest.mark.usefixtures("asked")


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("fron", ["frontier"]),
        ("run --dry", ["--dry-run"]),
        ("run --metric vendi_q", ["vendi_q0.5", "vendi_q2.0", "vendi_qinf"]),
        ("metrics show self_bleu_g", ["self_bleu_gem"]),
        ("run --task open", ["open-prompts"]),
        ("tasks show open", ["open-prompts"]),
        ("train --watch open", ["open-prompts"]),
        ("run --suite pap", ["paper"]),
        ("importers show lm", ["lm-eval"]),
    ],
)
def test_names_are_completed(line: str, wanted: list[str]) -> None:
    assert complete(line) == wanted


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("compare ", ["runs/first", "runs/second"]),
        ("report runs/f", ["runs/first"]),
        ("runs verify runs/", ["runs/first", "runs/second"]),
        ("leaderboard build runs/s", ["runs/second"]),
        ("compare runs/first --baseline ", ["base", "sft"]),
        ("compare runs/first --metric ", ["vendi"]),
        ("check runs/first --task ", ["fruit"]),
        ("compare --baseline s runs/no-run --baseline s", []),
    ],
)
def test_runs_and_what_is_in_them_are_completed(line: str, wanted: list[str]) -> None:
    assert complete(line) == wanted


def test_a_name_that_is_the_users_own_is_not_completed() -> None:
    assert complete("score --task open") == []
