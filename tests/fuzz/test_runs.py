"""Boards, run.json and the tables of a run, with any fault in them."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.commands import invoke

from fuzz.reading import check_command, check_reader, fuzz
from fuzz.seeds import ROWS
from fuzz.values import VALUES, as_json, damaged, faulty
from tofu_eval.leaderboard.exports.base import EXPORTS
from tofu_eval.leaderboard.file import file_content, open_board, parse_leaderboard
from tofu_eval.leaderboard.merge import merge
from tofu_eval.leaderboard.publishing.versions import parse_versions, read_history
from tofu_eval.leaderboard.schema import HASH, content_hash
from tofu_eval.leaderboard.validate import validate
from tofu_eval.run.verify import verify

COMMANDS = (
    ("compare", "run", "--format", "json"),
    ("leaderboard", "build", "run", "--scores", "--output", "built/board.json"),
    ("runs", "show", "run"),
)

PLAIN_EXPORTS = [
    entry.item
    for entry in EXPORTS.entries()
    if entry.item is not None and not any(option.required for option in entry.item.options)
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two models and its board, with per-prompt rows."""
    folder = tmp_path_factory.mktemp("made")
    rows = [{**ROWS[0], "id": f"p{i}", "prompt": f"Name bird {i}.", "model": model}
            for model in ("base", "sft") for i in range(4)]  # fmt: skip
    (folder / "rows.jsonl").write_bytes(b"\n".join(map(as_json, rows)))
    result = invoke("score", folder / "rows.jsonl", "--metric", "unique_rate", "--output",
                    folder / "run")  # fmt: skip
    assert result.exit_code == 0, result.output
    built = invoke("leaderboard", "build", folder / "run", "--scores", "--output",
                   folder / "board" / "leaderboard.json")  # fmt: skip
    assert built.exit_code == 0, built.output
    return folder


def copy_of(made: Path) -> Path:
    """The run, as good as new."""
    shutil.rmtree("run", ignore_errors=True)
    return Path(shutil.copytree(made / "run", "run"))


def use(name: str, run: Path) -> None:
    """What reads a run, and what goes on with it."""
    check_reader(f"{name}: verify", lambda: verify(run))
    for command in COMMANDS:
        check_command(f"{name}: {command[0]}", *command)


def test_a_good_run_is_read(made: Path) -> None:
    run = copy_of(made)
    assert verify(run).problems == ()
    for command in COMMANDS:
        assert invoke(*command).exit_code == 0, command


@given(data=st.data())
@fuzz(5)
def test_what_run_json_may_hold(made: Path, data: st.DataObject) -> None:
    content = (made / "run" / "run.json").read_bytes()
    good = json.loads(content)
    given = data.draw(
        faulty([good], most=1).map(as_json) | damaged([content]) | VALUES.map(as_json)
    )
    run = copy_of(made)
    (run / "run.json").write_bytes(given)
    use("run.json", run)


@given(data=st.data())
@fuzz(5)
def test_tables_of_a_run(made: Path, data: st.DataObject) -> None:
    run = copy_of(made)
    tables = sorted(run.rglob("*.parquet"))
    contents = [table.read_bytes() for table in tables]
    place = data.draw(st.integers(0, len(tables) - 1))
    tables[place].write_bytes(data.draw(damaged([contents[place]]) | st.sampled_from(contents)))
    use("tables of a run", run)


def sealed(board: Any) -> bytes:
    """A board with the hash that belongs to it, where it can have one."""
    if isinstance(board, dict):
        with suppress(ValueError, TypeError, RecursionError):
            board[HASH] = content_hash(board)
    return as_json(board)


def use_board() -> Any:
    """A board and its rows, read, checked, merged and written again."""
    source = open_board("board/leaderboard.json")
    validate(source)
    merged = merge([source]).board
    assert parse_leaderboard(file_content(merged), "again").ordered() == merged.ordered()
    return merged


def test_a_good_board_is_read(made: Path) -> None:
    shutil.copytree(made / "board", "board")
    assert len(use_board().models) == 2


@given(data=st.data())
@fuzz(13)
def test_boards(made: Path, data: st.DataObject) -> None:
    content = (made / "board" / "leaderboard.json").read_bytes()
    good = json.loads(content)
    given = data.draw(
        faulty([good], most=1).map(sealed) | damaged([content])
        | VALUES.map(as_json)
    )  # fmt: skip
    shutil.copytree(made / "board", "board", dirs_exist_ok=True)
    Path("board/leaderboard.json").write_bytes(given)

    board = check_reader("boards", use_board)
    for export in PLAIN_EXPORTS if board is not None else ():
        check_reader("exports", lambda export=export: export.function(board))


@given(data=st.data())
@fuzz(10)
def test_rows_of_boards(made: Path, data: st.DataObject) -> None:
    shutil.copytree(made / "board", "board", dirs_exist_ok=True)
    (rows,) = Path("board").glob("*.parquet")
    rows.write_bytes(data.draw(damaged([rows.read_bytes()])))
    check_reader("rows of a board", lambda: open_board("board/leaderboard.json"))


VERSIONS = {"versions": [{"published": "2026-01-01T00:00:00Z", "hash": "sha256:" + "0" * 64,
                          "rows": 1, "models": 1}]}  # fmt: skip


@given(content=faulty([VERSIONS]).map(as_json) | damaged([as_json(VERSIONS)]) | VALUES.map(as_json))
@fuzz(20)
def test_versions_of_a_page(content: bytes) -> None:
    def use() -> Any:
        versions = parse_versions(content, "index")
        return read_history(versions, lambda _: b"no gzip", "place")

    check_reader("versions of a page", use)
