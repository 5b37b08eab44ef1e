"""What a command has made, as something to compare: the same from every undisturbed command."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

from tofu_eval.leaderboard.file import open_board
from tofu_eval.run.store import Run
from tofu_eval.run.verify import verify

PASSING = {
    *("id", "created", "finished", "started", "timings", "machine", "machines", "hash", "seconds"),
    "git_revision",
}
"""Fields of JSON files that say when, where, how fast and from which working tree."""

CHECKPOINT = re.compile(r"checkpoint-\d+/")
"""SIGTERM leaves one more, of the step at which it came: what the training goes on from."""

PART = re.compile(r"part-\d{6}-[0-9a-f]{16}\.parquet")
OWN = re.compile(r"(leaderboard|board)-([0-9a-f]{16})-[0-9a-f]{16}\.parquet")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[0-9.:+Z]*")


class Wrong(Exception):
    """What a fault did that it must not: one word, and what exactly."""

    def __init__(self, word: str, detail: str) -> None:
        super().__init__(f"{word}: {detail}")
        self.word = word


def look_at_run(path: Path) -> dict[str, Any]:
    """All tables of a run, its run.json and its board, without what says when they were made.

    Raises:
        Wrong: rows stand twice, or the run is not whole.
    """
    report = verify(path)
    if report.problems:
        raise Wrong("damaged", str(report.problems[0]))
    run = Run.open(path)
    responses = {}
    for model in run.manifest["models"]:
        for task in run.manifest["tasks"]:
            rows = run.responses(model, task).to_pylist()
            twice = [key for key, n in Counter(row["key"] for row in rows).items() if n > 1]
            if twice:
                raise Wrong("doubled", f"{len(twice)} rows of {model}")
            responses[f"{model}/{task}"] = rows
    id = run.manifest["id"]
    return {
        "responses": responses,
        "prompts": {task: list(map(repr, run.prompts(task))) for task in run.manifest["tasks"]},
        "features": _features(path),
        "scores": run.scores().to_pylist(),
        "equal scores": run.equal_scores().to_pylist(),
        "estimates": list(map(repr, run.estimates())),
        "run.json": _without_passing(run.manifest),
        "board": json.loads(
            json.dumps(_without_passing(_read(path / "leaderboard.json"))).replace(id, "RUN")
        ),
    }


def look_at_board(file: Path) -> dict[str, Any]:
    """A board and its per-prompt rows: whole, and nothing beside them."""
    source = open_board(file)
    rows = [] if source.scores is None else source.scores.to_pylist()
    kept = {scores.file for scores in source.board.scores}
    beside = {p.name for p in file.parent.glob(f"{file.stem}-*.parquet")}
    if beside != kept:
        raise Wrong("orphan", ", ".join(sorted(beside - kept)))
    return {"board": file.read_text("utf-8"), "rows": rows}


def look_at_tree(folder: Path) -> dict[str, Any]:
    """A git working tree: what is committed, and that nothing is half done."""
    left = [p for p in (folder / ".git").rglob("?*.lock") if p.parent.name != "tofu-eval"]
    if left:
        raise Wrong("left", ", ".join(str(p.relative_to(folder)) for p in left))
    return {
        **look_at_board(folder / "leaderboard.json"),
        "status": _git(folder, "status", "--porcelain"),
        "log": _git(folder, "log", "--format=%s %T"),
        "remote": _git(folder.parents[2] / "remote/bare.git", "log", "--format=%s %T", "main"),
        "notes": (folder / "notes.txt").read_text("utf-8"),
    }


def look_at_training(path: Path) -> dict[str, Any]:
    """A checkpoint's weights, byte by byte, and training.json.

    Its log is left out: a line is a mean over the steps since the line before, and one that was
    begun before a checkpoint goes over fewer steps in a training that is resumed from there.
    """
    manifest = _without_passing(_read(path / "training.json"))
    del manifest["log"]
    return {
        "files": {p.name: _sum(p) for p in sorted(path.glob("*.safetensors"))},
        "config": _read(path / "config.json"),
        "training.json": manifest,
    }


def look_at_file(path: Path) -> Any:
    """One file's bytes, without times and the run's id."""
    content = path.read_bytes()
    if path.suffix in (".html", ".svg"):
        return hashlib.sha256(TIME.sub("TIME", content.decode()).encode()).hexdigest()
    return hashlib.sha256(content).hexdigest()


def names_in(folder: Path) -> Counter[str]:
    """The names of all files, those of parts without their numbers and sums; git's own left out."""
    names: Counter[str] = Counter()
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if "/.git/" in f"/{name}" or name.startswith(".git/") or not path.is_file():
            continue
        name = CHECKPOINT.sub("checkpoint/", name)
        names[OWN.sub(r"\1-\2.parquet", PART.sub("part.parquet", name))] += 1
    return names


def extra_names(folder: Path, expected: Counter[str]) -> list[str]:
    """Files of a kind that an undisturbed command does not leave."""
    return sorted(name for name in names_in(folder) if name not in expected)


def _features(path: Path) -> dict[str, dict[str, list[float]]]:
    import pyarrow.parquet as pq

    found: dict[str, dict[str, list[float]]] = {}
    for part in sorted((path / "features").rglob("part-*.parquet")):
        rows = found.setdefault(str(part.parent.relative_to(path)), {})
        for row in pq.read_table(part).to_pylist():
            if row["key"] in rows:
                raise Wrong("doubled", f"a row of {part}")
            rows[row["key"]] = row["row"]
    return {name: dict(sorted(rows.items())) for name, rows in found.items()}


def _without_passing(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_passing(v) for k, v in value.items() if k not in PASSING}
    if isinstance(value, list):
        return [_without_passing(item) for item in value]
    return TIME.sub("TIME", value) if isinstance(value, str) else value


def _read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
