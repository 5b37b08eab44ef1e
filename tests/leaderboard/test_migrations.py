"""Boards of version 1, as tofu-eval wrote them before there was a version 2."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tofu_eval.core.errors import DataError
from tofu_eval.leaderboard import read_leaderboard, write_leaderboard
from tofu_eval.leaderboard.migrations import MIGRATIONS
from tofu_eval.leaderboard.schema import CURRENT

OLD: dict[str, Any] = {
    "schema_version": 1,
    "tool": {"name": "tofu-eval", "version": "0.1.0", "git_revision": None},
    "created": "2026-03-01T12:30:00+00:00",
    "tasks": [
        {
            "name": "open-prompts",
            "version": 1,
            "digest": "ab" * 32,
            "prompts": 60,
            "sampling": {"samples": 10, "temperature": 1.0, "top_p": 1.0, "max_tokens": 256},
            "licence": "Apache-2.0",
            "citation": "",
        }
    ],
    "models": [
        {
            "name": "base",
            "identity": {"files": {"w": "c0"}},
            "prompt_format": {"open-prompts": "sft"},
            "engine": "transformers",
        },
        {"name": "theirs", "identity": {"rows": 600}, "prompt_format": {}, "engine": "file"},
    ],
    "metrics": [
        {
            "name": "vendi",
            "version": 1,
            "direction": "higher",
            "measures": "diversity",
            "range": ["1", "n"],
            "paper": "arXiv:2210.02410",
        }
    ],
    "rows": [
        {
            "model": model,
            "task": "open-prompts",
            "metric": "vendi",
            "value": value,
            "low": None,
            "high": None,
            "n": 1,
            "undefined": 59,
            "method": "bootstrap",
            "signature": "vendi|v:1",
        }
        for model, value in (("base", 4.5), ("theirs", 3.5))
    ],
}


@pytest.fixture
def old() -> dict[str, Any]:
    return copy.deepcopy(OLD)


def read(board: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "leaderboard.json"
    path.write_text(json.dumps(board), "utf-8")
    return read_leaderboard(path)


def test_every_version_has_a_step_to_the_next() -> None:
    assert sorted(MIGRATIONS) == list(range(1, CURRENT))


def test_version_1_becomes_current_and_invents_nothing(old: dict[str, Any], tmp_path: Path) -> None:
    board = read(old, tmp_path)
    assert board["schema_version"] == CURRENT
    (run,) = board["runs"]
    assert run == {
        "id": run["id"],
        "tool": old["tool"],
        "created": old["created"],
        "finished": None,
        "seed": None,
        "machines": [],
        "packages": {},
        "seconds": {},
        "places": [
            {"model": "base", "task": "open-prompts", "prompt_format": "sft", "tokens": None},
            {"model": "theirs", "task": "open-prompts", "prompt_format": None, "tokens": None},
        ],
    }
    for new, before in zip(board["rows"], old["rows"], strict=True):
        assert new == {
            "run": run["id"], **before, "rank": None, "better_than": None, "worse_than": None
        }  # fmt: skip
    assert board["tasks"] == [{"id": "open-prompts", **old["tasks"][0], "package": None}]
    assert board["metrics"] == [{"id": "vendi", **old["metrics"][0], "package": None}]
    assert [model["id"] for model in board["models"]] == ["base", "theirs"]
    assert board["scores"] is None


def test_the_migrated_board_is_written_and_read(old: dict[str, Any], tmp_path: Path) -> None:
    board = read(old, tmp_path)
    path = tmp_path / "new.json"
    assert write_leaderboard(path, board) == board == read_leaderboard(path)
    assert read(old, tmp_path) == board  # the run's id too


def test_files_of_responses_get_no_sampling(old: dict[str, Any], tmp_path: Path) -> None:
    old["rows"] = old["rows"][1:]
    assert read(old, tmp_path)["tasks"][0]["sampling"] is None


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        (["rows", 0, "value"], "4.5", "$.rows[0].value: expected number or null, got"),
        (["rows", 1, "model"], "base", "$.rows[1]: the same model, task and metric as $.rows[0]"),
        (["created"], "2026-13-01T12:00:00Z", "$.created: expected a time"),
        (["models", 1, "name"], "base", 'the model "base" stands twice'),
        (["models", 0, "identity", "n"], 2**60, "exceeds safe integer domain"),
        (["hash"], "sha256:" + "0" * 64, 'the field "hash" is not known'),
    ],
)
def test_version_1_is_held_against_its_own_schema(
    old: dict[str, Any], tmp_path: Path, place: list[Any], value: Any, expected: str
) -> None:
    target: Any = old
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = value
    with pytest.raises(DataError) as caught:
        read(old, tmp_path)
    assert expected in str(caught.value)
