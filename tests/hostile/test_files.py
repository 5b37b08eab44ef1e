"""Hostile files, boards and run directories: one line and exit code 2, and nothing is run."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from support.commands import invoke

from hostile.files import ACCEPTED, CONFIGS, RESPONSES, ROW, TASKS
from hostile.test_texts import CONTROL
from tofu_eval.core.names import check_name

LIMIT = 60.0
"""Seconds: a bomb takes hours."""


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def check_refused(*arguments: object) -> str:
    start = time.monotonic()
    result: Result = invoke(*arguments)
    assert time.monotonic() - start < LIMIT
    assert result.exit_code == 2, (result.exit_code, result.output[-500:], result.exception)
    assert isinstance(result.exception, SystemExit)
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1, result.stderr
    assert result.stderr.splitlines()[-1] == errors[0]
    assert len(errors[0]) < 2000
    assert not CONTROL.search(result.output)
    assert not Path("CANARY").exists()
    return errors[0]


@pytest.mark.parametrize("name", RESPONSES)
def test_files_of_responses(name: str) -> None:
    file, content, expected = RESPONSES[name]
    Path(file).write_bytes(content)
    command = ("score", file, "--metric", "unique_rate", "--output", "run")
    if expected == ACCEPTED:
        result = invoke(*command)
        assert result.exit_code == 0, result.output
        assert not CONTROL.search(result.output)
        (model,) = Path("run/responses").iterdir()
        assert check_name("model", model.name)
        assert sorted(p.name for p in Path.cwd().iterdir()) == sorted([file, "run"])
    else:
        check_refused(*command)
        assert not Path("run").exists() or not list(Path("run").rglob("part-*"))
    assert not list(Path.cwd().parent.glob("evil*"))


@pytest.mark.parametrize("name", TASKS)
def test_task_files(name: str) -> None:
    Path("task.yaml").write_text(TASKS[name])
    check_refused("tasks", "check", "task.yaml")


@pytest.mark.parametrize("name", CONFIGS)
def test_settings(name: str) -> None:
    Path("config.yaml").write_text(CONFIGS[name])
    check_refused("run", "--config", "config.yaml", "--output", "run", "--model", "echo", "--task",
                  "open-prompts", "--engine", "none")  # fmt: skip


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/urandom", "/proc/self/mem", "loop"])
def test_what_is_no_file(path: str) -> None:
    Path("loop").symlink_to("loop")
    check_refused("score", f"m={path}", "--metric", "unique_rate", "--output", "run")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    rows = [{**ROW, "id": f"p{i}", "prompt": f"Name fruit {i}.", "model": m}
            for m in ("base", "sft") for i in range(4)]  # fmt: skip
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    run = folder / "run"
    result = invoke("score", folder / "rows.jsonl", "--metric", "unique_rate", "--output", run)
    assert result.exit_code == 0, result.output
    built = invoke("leaderboard", "build", run, "--scores", "--output", folder / "b" / "board.json")
    assert built.exit_code == 0, built.output
    return folder


VALUES: list[object] = [None, [], {}, "../../x", -1, 1e308, True, "\x1b[2J", "x" * 100_000]
FIELDS = ("schema_version", "runs", "models", "tasks", "metrics", "rows", "scores", "hash")


@pytest.mark.parametrize("value", VALUES, ids=lambda v: ascii(v)[:20])
@pytest.mark.parametrize("field", FIELDS)
def test_boards_whose_fields_are_something_else(field: str, value: object, made: Path) -> None:
    board = json.loads((made / "b" / "board.json").read_text())
    if board.get(field) == value:
        return
    board[field] = value
    Path("board.json").write_text(json.dumps(board))
    check_refused("leaderboard", "validate", "board.json")
    check_refused("leaderboard", "publish", "board.json", "--to", "public")
    assert not Path("public/leaderboard.json").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"NaN", b"[" * 200_000, b"\xff\xfe", b'{"schema_version": 1e999}',
     b'{"schema_version": 99999}', b'{"a": 1, "a": 2}', b'{"schema_version": ' + b"9" * 10_000],
)  # fmt: skip
def test_boards_that_are_none(content: bytes) -> None:
    Path("board.json").write_bytes(content)
    for command in ("validate", "show"):
        check_refused("leaderboard", command, "board.json")


def test_rows_of_a_board_are_beside_it_and_nowhere_else(made: Path) -> None:
    shutil.copytree(made / "b", "b")
    (rows,) = Path("b").glob("*.parquet")
    text = Path("b/board.json").read_text()
    for name in ("../x.parquet", "/etc/passwd", "a/b.parquet", "..", "C:\\x", "x\0y", "con"):
        Path("b/board.json").write_text(text.replace(f'"{rows.name}"', json.dumps(name)))
        check_refused("leaderboard", "validate", "b/board.json")


def _set(*path: object) -> Callable[[dict[str, Any]], None]:
    *way, last, value = path

    def change(manifest: dict[str, Any]) -> None:
        place: Any = manifest
        for step in way:
            place = place[step]
        place[last] = value

    return change


RUNS = [
    _set("format", value) for value in (None, "1", 2, 1e308, [], {})
] + [
    _set("models", value) for value in (None, [], "base", {"../../x": {}}, {"base": None}, {"": {}})
] + [
    _set("tasks", value) for value in (None, [], "x", {"../x": {}}, {"responses": None})
] + [
    _set("notes", value) for value in (None, "x", [1], {})
] + [
    _set("scored", value) for value in ("x", [1], [["a"]], {})
] + [
    _set("id", value) for value in (7, "../x", "x", [], "0" * 15)
] + [
    _set("settings", value) for value in (7, [], {}, {"seed": "x"})
] + [
    _set("metrics", value) for value in (7, [], {"unique_rate": 1}, {"unique_rate": {}})
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(RUNS)))
def test_run_directories_of_strangers(number: int, made: Path) -> None:
    shutil.copytree(made / "run", "run")
    manifest = json.loads(Path("run/run.json").read_text())
    RUNS[number](manifest)
    Path("run/run.json").write_text(json.dumps(manifest))
    for command in ("compare", "report"):
        check_refused(command, "run")


@pytest.mark.parametrize("table", ["estimates", "scores", "prompts", "responses"])
@pytest.mark.parametrize("content", [b"", b"PAR1" * 9, b"\x80\x04cos\nsystem\n."])
def test_tables_of_strangers(table: str, content: bytes, made: Path) -> None:
    shutil.copytree(made / "run", "run")
    pattern = f"{table}*" if table == "estimates" else f"{table}/**/*.parquet"
    for file in Path("run").glob(pattern):
        file.write_bytes(content)
    check_refused("report", "run")
    assert not Path("CANARY").exists()
