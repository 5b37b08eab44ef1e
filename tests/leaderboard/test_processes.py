"""Several processes that publish to one place, and a clock that is wrong."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from support.boards import source
from support.processes import together

from tofu_eval.leaderboard.file import open_board
from tofu_eval.leaderboard.publishing import publish_directory, publish_git
from tofu_eval.leaderboard.publishing.journal import Journal


def board_of(manifest: dict[str, Any], number: int) -> Any:
    return source(manifest, f"{number:016x}", {f"m{number}": float(number)})


@pytest.mark.parametrize("count", [2, 5])
def test_writers_of_one_board(count: int, manifest: dict[str, Any], tmp_path: Path) -> None:
    place = tmp_path / "board"
    made = together(
        count, lambda number: publish_directory(place, board_of(manifest, number)).added
    )
    assert made == [1] * count
    kept = open_board(place / "leaderboard.json")
    assert sorted(model.name for model in kept.board.models) == [f"m{i}" for i in range(count)]
    assert kept.scores is not None
    assert len(list(place.glob("*.parquet"))) == count


@pytest.mark.parametrize("count", [2, 5])
def test_writers_of_one_git_tree(count: int, manifest: dict[str, Any], tmp_path: Path) -> None:
    tree = new_tree(tmp_path / "tree")
    made = together(
        count,
        lambda number: publish_git(tree, board_of(manifest, number), message=f"m{number}").added,
    )
    assert made == [1] * count
    kept = open_board(tree / "leaderboard.json")
    assert sorted(model.name for model in kept.board.models) == [f"m{i}" for i in range(count)]
    assert len(git(tree, "log", "--format=%s").split()) == count + 1
    assert git(tree, "status", "--porcelain") == ""


def git(tree: Path, *arguments: str) -> str:
    told = ["git", "-C", str(tree), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(told, check=True, capture_output=True, text=True).stdout


def new_tree(tree: Path) -> Path:
    subprocess.run(["git", "init", "--quiet", "-b", "main", tree], check=True)
    git(tree, "config", "user.name", "a")
    git(tree, "config", "user.email", "a@b")
    git(tree, "commit", "--quiet", "--allow-empty", "-m", "first")
    return tree


@pytest.mark.parametrize("hours", [-30, 0, 30])
def test_a_killed_publishing_is_taken_back_whatever_the_clock_says(
    hours: float, manifest: dict[str, Any], tmp_path: Path
) -> None:
    tree = new_tree(tmp_path / "tree")
    folder = tree / ".git"
    theirs = folder / "HEAD.lock"  # another program of the user's holds it, and keeps it
    theirs.touch()
    own = folder / "tofu-eval"
    Journal(tree, own, push=False).begin(["leaderboard.json"])
    (tree / "leaderboard.json").write_text("half a bo")
    ours = folder / "index.lock"  # of a git that died
    ours.touch()
    stamp = time.time() + hours * 3600
    for path in (ours, own / "publishing.json"):
        os.utime(path, (stamp, stamp) if path == ours else (time.time() - hours, time.time()))
    Journal(tree, own, push=False).undo()
    assert not ours.exists()
    assert theirs.exists()
    assert not (tree / "leaderboard.json").exists()
    theirs.unlink()
    publish_git(tree, board_of(manifest, 1), message="m")
    assert git(tree, "status", "--porcelain") == ""
