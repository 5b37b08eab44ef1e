"""`tofu-eval leaderboard verify`: a board that was sent, held against its responses."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.boards import reseal
from support.commands import invoke, refused

from tofu_eval.leaderboard import open_board
from tofu_eval.leaderboard.merge import Merged
from tofu_eval.leaderboard.publishing import save_board

WORDS = [f"word{number}" for number in range(13)]


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What somebody sends: a board with its per-prompt rows, and the run with its responses."""
    folder = tmp_path_factory.mktemp("sent")
    for name, words in {"base": 13, "sft": 3}.items():
        rows = [
            {
                "prompt": f"Question {p}?",
                "responses": [
                    " ".join(WORDS[(p + i * (k + 2)) % words] for i in range(6)) for k in range(4)
                ],
            }
            for p in range(10)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = [folder / f"{name}.jsonl" for name in ("base", "sft")]
    metrics = ("--metric", "distinct_1", "--metric", "mean_length")
    for arguments in (
        ("score", *files, "--output", folder / "run", *metrics),
        ("leaderboard", "build", folder / "run", "--scores", "--output", folder / "board.json"),
    ):
        result = invoke(*arguments)
        assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def copy(sent: Path, tmp_path: Path) -> Path:
    """A copy that a test may harm."""
    return Path(shutil.copytree(sent, tmp_path / "sent"))


def verify(folder: Path) -> tuple[int, list[str]]:
    result = invoke("leaderboard", "verify", folder / "board.json", "--responses", folder / "run")
    return result.exit_code, result.stdout.strip().splitlines()


def edit(folder: Path, change: Any) -> None:
    """Change run.json, as somebody may who sends it."""
    path = folder / "run" / "run.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_what_the_responses_give_is_verified(sent: Path) -> None:
    before = {path: path.read_bytes() for path in sent.rglob("*") if path.is_file()}
    code, lines = verify(sent)
    assert (code, len(lines)) == (0, 1)
    assert lines[0].endswith(
        "board.json: verified: 4 of 4 rows are what the responses give, 0 differ, 0 could not be "
        "scored here."
    )
    assert {path: path.read_bytes() for path in sent.rglob("*") if path.is_file()} == before


def test_a_forged_value_is_named(copy: Path) -> None:
    reseal(copy / "board.json", lambda board: board["rows"][0].update(value=0.9, high=0.95))
    code, lines = verify(copy)
    assert code == 1
    assert "board.json at $.rows[0]: distinct_1 of " in lines[0]
    assert " on responses: expected value 0." in lines[0]
    assert lines[0].endswith("which scoring the responses gives, got 0.9.")
    assert "differs: 3 of 4 rows are what the responses give, 1 differ" in lines[-1]


def test_scores_and_features_that_were_sent_count_for_nothing(copy: Path) -> None:
    reseal(copy / "board.json", lambda board: board["rows"][0].update(value=0.9, high=0.95))
    shutil.rmtree(copy / "run" / "scores")
    edit(copy, lambda manifest: manifest.update(scored=[]))
    assert verify(copy)[0] == 1


def test_per_prompt_rows_that_were_turned_round_are_named(copy: Path) -> None:
    """Same mean, same interval; the pairs, on which the ranks stand, are others."""
    source = open_board(copy / "board.json")
    assert source.scores is not None
    rows = source.scores.to_pylist()
    own = [
        row for row in rows if row["model"] == rows[0]["model"] and row["metric"] == "mean_length"
    ]
    values = [row["value"] for row in own]
    own[0]["value"], own[-1]["value"] = values[-1] + 1.0, values[0] - 1.0
    scores = pa.Table.from_pylist(rows, schema=source.scores.schema)
    save_board(copy / "board.json", Merged(replace(source.board, scores=()), scores))
    code, lines = verify(copy)
    assert code == 1
    assert "expected per-prompt row of " in lines[0]


def test_nothing_that_was_sent_is_run_or_loaded(copy: Path) -> None:
    ran = copy / "ran"
    evil = copy / "evil.py"
    evil.write_text(f"from pathlib import Path\nPath({str(ran)!r}).write_text('yes')\n")

    def change(manifest: dict[str, Any]) -> None:
        manifest["settings"] |= {
            "metrics": [str(evil)], "engine": str(evil), "methods": [str(evil)],
            "trust_remote_code": True, "reward": {"model": str(evil), "calibration": str(evil)},
            "judge": {"model": "http://127.0.0.1:1/v1"}, "verifier": {"name": str(evil)},
            "equivalence": {"method": "judge", "model": str(evil)}, "unknown": {"x": str(evil)},
        }  # fmt: skip

    edit(copy, change)
    assert verify(copy)[0] == 0
    assert not ran.exists()


def test_what_cannot_be_scored_here_is_said(copy: Path) -> None:
    edit(copy, lambda manifest: manifest["scored_metrics"]["responses"].remove("mean_length"))
    code, lines = verify(copy)
    assert code == 3
    assert lines[0].startswith("Not verified: mean_length of ")
    assert lines[0].endswith(" on responses and 1 more: the run was not scored with mean_length.")
    assert "verified in part: 2 of 4 rows" in lines[-1]


def test_damaged_responses_verify_nothing(copy: Path) -> None:
    (part,) = (copy / "run" / "responses" / "sft").rglob("*.parquet")
    part.write_bytes(part.read_bytes()[:-9] + b"something")
    code, lines = verify(copy)
    assert code == 3
    assert "is not whole: it is damaged" in lines[0]


def test_responses_of_another_board_are_one_line(copy: Path) -> None:
    edit(copy, lambda manifest: manifest.update(id="0" * 16))
    line = refused("leaderboard", "verify", copy / "board.json", "--responses", copy)
    assert "holds 1 run, none of the board's: expected " in line
    line = refused("leaderboard", "verify", copy / "board.json", "--responses", copy / "nothing")
    assert "holds 0 runs" in line
