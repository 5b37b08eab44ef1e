"""`tofu-eval leaderboard`, from runs to what is published."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from support.boards import reseal
from support.commands import invoke, refused

from tofu_eval.leaderboard import read_leaderboard
from tofu_eval.leaderboard.exports import EXPORTS

WORDS = [f"word{number}" for number in range(13)]


def done(*arguments: object) -> str:
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two people's runs of the same prompts: a rich model and a poor one; one in between."""
    folder = tmp_path_factory.mktemp("runs")
    made = []
    for person, models in (("ada", {"base": 13, "sft": 3}), ("emmy", {"tofu": 7})):
        files = []
        for name, words in models.items():
            rows = [
                {
                    "prompt": f"Question {p}?",
                    "responses": [
                        " ".join(WORDS[(p + i * (k + 2)) % words] for i in range(6))
                        for k in range(4)
                    ],
                }
                for p in range(20)
            ]
            files.append(folder / f"{name}.jsonl")
            files[-1].write_text("".join(json.dumps(row) + "\n" for row in rows))
        metrics = ("--metric", "distinct_1", "--metric", "mean_length")
        done("score", *files, "--output", folder / person, *metrics)
        made.append(folder / person)
    return made


@pytest.fixture
def board(runs: list[Path], tmp_path: Path) -> Path:
    """Both runs as one board with its per-prompt rows."""
    done("leaderboard", "build", *runs, "--scores", "--output", tmp_path / "both.json")
    return tmp_path / "both.json"


def test_build_of_several_runs_ranks_them_together(board: Path) -> None:
    told = done("leaderboard", "validate", board)
    assert "valid, schema version 3, 3 models, 1 tasks, 6 rows; made anew from 120" in told
    assert "per-prompt rows: 6 values, 6 intervals, the ranks of 1 blocks. sha256:" in told
    lines = done("leaderboard", "show", board, "--metric", "distinct_1").splitlines()
    assert max(map(len, lines)) <= 80
    (head,) = (i for i, line in enumerate(lines) if line.split()[:2] == ["rank", "model"])
    ranked = [line.split()[:2] for line in lines[head + 2 : head + 5]]
    assert ranked == [["1", "base"], ["2", "tofu"], ["3", "sft"]]
    assert lines[0].startswith("Compared with base, sft is narrower (distinct_1 -0.333")


def test_build_and_merge_are_the_same(runs: list[Path], board: Path, tmp_path: Path) -> None:
    for number, run in enumerate(runs):
        done("leaderboard", "build", run, "--scores", "--output", tmp_path / f"{number}.json")
    out = tmp_path / "merged.json"
    done("leaderboard", "merge", tmp_path / "0.json", tmp_path / "1.json", "--output", out)
    one, other = read_leaderboard(out), read_leaderboard(board)
    assert replace(one, scores=()) == replace(other, scores=())
    assert [file.sha256 for file in one.scores] == [file.sha256 for file in other.scores]
    # Onto itself: what is there is replaced, and no old per-prompt rows are left.
    done("leaderboard", "merge", out, tmp_path / "0.json", "--output", out)
    assert len(list(tmp_path.glob("merged-*.parquet"))) == 2
    done("leaderboard", "validate", out)


def test_build_overwrites_boards_only(runs: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "thesis.json"
    other.write_text("my thesis")
    assert "thesis.json, line 1" in refused("leaderboard", "build", runs[0], "--output", other)
    assert other.read_text() == "my thesis"


def test_a_board_of_a_run_says_what_its_run_said(runs: list[Path], tmp_path: Path) -> None:
    done("leaderboard", "build", runs[0], "--output", tmp_path / "b.json")
    assert read_leaderboard(tmp_path / "b.json") == read_leaderboard(runs[0] / "leaderboard.json")
    # Its numbers are made anew from the run that it lies in.
    told = done("leaderboard", "validate", runs[0] / "leaderboard.json")
    assert "made anew from 80 per-prompt rows: 4 values, 4 intervals" in told
    told = done("leaderboard", "validate", tmp_path / "b.json")
    assert "no per-prompt rows to make its numbers anew from" in told


def test_validate_holds_values_against_their_per_prompt_rows(board: Path) -> None:
    def narrow(content: dict[str, Any]) -> None:
        row = content["rows"][0]
        row.update(value=row["value"] + 1e-3, low=None, high=None)

    reseal(board, narrow)  # a forger who knows how to hash
    line = refused("leaderboard", "validate", board)
    assert "both.json at $.rows[0].value: expected 0." in line
    assert "which its per-prompt rows give" in line
    assert line == refused("leaderboard", "publish", board, "--to", board.parent / "public")


def test_the_schema_is_printed(board: Path) -> None:
    schema = json.loads(done("leaderboard", "schema"))
    Draft202012Validator(schema).validate(json.loads(board.read_text("utf-8")))
    assert schema["$id"] == "urn:tofu-eval:leaderboard:3"


def test_the_formats_and_their_flags_are_those_that_are_registered(board: Path) -> None:
    told = done("leaderboard", "export", "--help")
    for entry in EXPORTS.entries():
        assert entry.name in told
        assert entry.item is not None
        assert all(option.flag in told for option in entry.item.options)
    line = refused("leaderboard", "export", board, "--format", "csv", "--dataset", "a/b")
    assert "--dataset is no option of --format csv" in line
    assert "is not one of" in invoke("leaderboard", "export", board, "--format", "pdf").output


def test_cite_says_exactly_what_a_value_is(board: Path) -> None:
    line = done("leaderboard", "show", board, "--cite", "--model", "sft").splitlines()[0]
    value, cited = line.split("  ")
    assert float(value) > 0
    assert cited.startswith("distinct_1|v:1|")
    for part in ("|tofu-eval:0", "|n:4|", "|model:sft|", "|task:responses|v:1|digest:", "|run:"):
        assert part in cited


def test_publish_to_a_directory(board: Path, tmp_path: Path) -> None:
    place = tmp_path / "public"
    dry = done("leaderboard", "publish", board, "--to", place, "--dry-run")
    assert "would have 6 rows, 6 new, 0 replaced" in dry
    assert not place.exists()
    assert "has 6 rows, 6 new" in done("leaderboard", "publish", board, "--to", place)
    assert "has it all already" in done("leaderboard", "publish", board, "--to", place)
    done("leaderboard", "validate", place / "leaderboard.json")


def test_publish_says_what_does_not_fit_together(board: Path, tmp_path: Path) -> None:
    assert "Expected one of --to DIR" in refused("leaderboard", "publish", board)
    both = ("--to", tmp_path, "--hub", "a/b")
    assert "got 2" in refused("leaderboard", "publish", board, *both)
    line = refused("leaderboard", "publish", board, "--to", tmp_path, "--create-pr")
    assert "--create-pr belongs to --hub" in line
    assert "not a git working tree" in refused("leaderboard", "publish", board, "--git", tmp_path)


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("csv", "task,task_version"),
        ("markdown", "| metric | rank"),
        ("text", "95% interval"),
        ("latex", "\\toprule"),
    ],
)
def test_export_of_tables(board: Path, tmp_path: Path, style: str, expected: str) -> None:
    text = done("leaderboard", "export", board, "--format", style)
    assert expected in text
    done("leaderboard", "export", board, "--format", style, "--output", tmp_path / "t")
    assert (tmp_path / "t").read_text() == text


def test_export_for_the_hub(board: Path, tmp_path: Path) -> None:
    to_hub = ("--format", "eval-results", "--dataset", "ada/board")
    assert "is of one model, the board has 3" in refused("leaderboard", "export", board, *to_hub)
    text = done("leaderboard", "export", board, *to_hub, "--model", "sft")
    assert [entry["dataset"]["id"] for entry in yaml.safe_load(text)] == ["ada/board"] * 2
    line = refused("leaderboard", "export", board, "--format", "eval-results", "--model", "sft")
    assert "needs --dataset" in line
    card = tmp_path / "README.md"
    card.write_text("# Mine\n")
    to_card = ("--format", "model-index", "--model", "sft", "--output", card)
    done("leaderboard", "export", board, *to_card)
    assert "model-index:" in card.read_text()
    assert card.read_text().rstrip().endswith("# Mine")


def test_export_for_every_eval_ever(board: Path, tmp_path: Path) -> None:
    to_them = ("--format", "every-eval-ever", "--output", tmp_path / "eee")
    assert "needs --organization" in refused("leaderboard", "export", board, *to_them)
    who = ("--organization", "Ada", "--relationship", "third_party")
    done("leaderboard", "export", board, *to_them, *who)
    found = sorted((tmp_path / "eee").glob("data/tofu-eval/unknown/*/*.json"))
    assert [path.parent.name for path in found] == ["base", "sft", "tofu"]
