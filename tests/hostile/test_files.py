"""Hostile files, boards and run directories: one line and exit code 2, and nothing is run."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from support.commands import invoke

from hostile.files import ACCEPTED, CONFIGS, RESPONSES, ROW, TASKS
from hostile.test_texts import CONTROL
from tofu_eval.cli import LONGEST_LINE
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
    assert len(errors[0]) < LONGEST_LINE + 100
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
] + [
    _set(name, {"base": {"responses": "x"}}) for name in ("states", "unread", "tokens")
] + [
    _set("models", "base", name, "x") for name in ("responses", "given", "record")
] + [
    _set("settings", name, 7) for name in ("refusals", "embedding")
] + [
    _set("tool", 7), _set("scored_metrics", ["x"]), _set("created", None), _set("more", 2**64),
    _set("more", float("nan")), _set("more", "\ud800"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(RUNS)))
def test_run_directories_of_strangers(number: int, made: Path) -> None:
    shutil.copytree(made / "run", "run")
    manifest = json.loads(Path("run/run.json").read_text())
    RUNS[number](manifest)
    Path("run/run.json").write_text(json.dumps(manifest))
    for command in ("compare", "report"):
        check_refused(command, "run")


def _column(name: str, *cells: object, kind: Any = None) -> Callable[[pa.Table], pa.Table]:
    """A column whose cells are these, again and again."""

    def put(table: pa.Table) -> pa.Table:
        place, there = table.schema.get_field_index(name), table.schema.field(name)
        values = [cells[i % len(cells)] for i in range(len(table))]
        own = pa.array(values, kind or there.type)
        return table.set_column(place, pa.field(name, own.type), own)

    return put


def _no_utf8(table: pa.Table) -> pa.Table:
    ends = pa.array(range(len(table) + 1), pa.int32()).buffers()[1]
    texts = pa.Array.from_buffers(
        pa.string(), len(table), [None, ends, pa.py_buffer(b"\xff" * len(table))]
    )
    return table.set_column(
        table.schema.get_field_index("model"), table.schema.field("model"), texts
    )


TABLES: list[tuple[str, Callable[[pa.Table], pa.Table]]] = [
    ("responses", _column("prompt_id", 1, kind=pa.int64())),
    ("responses", _column("state", "done")),
    ("responses", _column("prompt_id", "p0", "../x")),
    ("responses", _column("sample", None)),
    ("responses", _column("text", b"\xff", kind=pa.binary())),
    ("scores", _column("task", "\x1b[2J")),
    ("scores", _column("model", "sft", "base")),
    ("scores", _column("prompt_id", "p9")),
    ("scores", _column("value", float("inf"))),
    ("scores", _no_utf8),
    ("estimates", _column("task", "x" * 300)),
    ("estimates", _column("value", float("nan"))),
    ("estimates", _no_utf8),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(TABLES)))
def test_tables_that_say_something_else(number: int, made: Path) -> None:
    """What is in the tables of a stranger's run, under names with the right checksums."""
    kind, change = TABLES[number]
    shutil.copytree(made / "run", "run")
    file = next(Path("run").glob(f"{kind}*" if kind == "estimates" else f"{kind}/**/*.parquet"))
    sink = io.BytesIO()
    pq.write_table(change(pq.ParquetFile(file).read()), sink)
    file.unlink()
    sum = hashlib.sha256(sink.getvalue()).hexdigest()[:16]
    name = file.name if kind == "estimates" else f"part-000000-{sum}.parquet"
    file.with_name(name).write_bytes(sink.getvalue())
    check_refused("report", "run")


@pytest.mark.parametrize("table", ["estimates", "scores", "prompts", "responses"])
@pytest.mark.parametrize("content", [b"", b"PAR1" * 9, b"\x80\x04cos\nsystem\n."])
def test_tables_of_strangers(table: str, content: bytes, made: Path) -> None:
    shutil.copytree(made / "run", "run")
    pattern = f"{table}*" if table == "estimates" else f"{table}/**/*.parquet"
    for file in Path("run").glob(pattern):
        file.write_bytes(content)
    check_refused("report", "run")
    assert not Path("CANARY").exists()
