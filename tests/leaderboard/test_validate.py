"""Boards that somebody changed who knows how to make their hash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.boards import A, manifest_of, means, reseal, study

from tofu_eval.analysis.intervals import mean_intervals, within
from tofu_eval.core.errors import DataError
from tofu_eval.core.tables import ESTIMATE_SCHEMA
from tofu_eval.leaderboard import (
    Source,
    board_of_run,
    merge,
    open_board,
    read_leaderboard,
    validate,
)
from tofu_eval.leaderboard.publishing import save_board
from tofu_eval.leaderboard.validate import Checked
from tofu_eval.metrics import METRICS

LEVELS = {"low": 2.0, "middle": 3.0, "high": 4.0}


def true_estimates(scores: pa.Table) -> pa.Table:
    """Means with the intervals that this package makes."""
    rows = means(scores).to_pylist()
    for row in rows:
        values = [r["value"] for r in scores.to_pylist() if r["model"] == row["model"]]
        made = within(mean_intervals(pa.array(sorted(values)).to_numpy()[None])[0], ("1", "n"))
        bias = METRICS.get("vendi").facts()["bias"]
        method = f"{made.method}; {bias}" if bias else made.method
        row.update(value=made.value, low=made.low, high=made.high, method=method)
    return pa.Table.from_pylist(rows, schema=ESTIMATE_SCHEMA)


@pytest.fixture
def file(manifest: dict[str, Any], tmp_path: Path) -> Path:
    """A true board with its per-prompt rows."""
    manifest["metrics"] = {"vendi": METRICS.get("vendi").facts()}
    scores = study(LEVELS, spread=0.5)
    told = manifest_of(manifest, A, *LEVELS)
    source = board_of_run(true_estimates(scores), told, scores)
    path = tmp_path / "board.json"
    save_board(path, merge([source]))
    return path


def bare(path: Path) -> Source:
    """The board without its per-prompt rows."""
    source = open_board(path)
    return Source(source.name, source.board)


def test_a_true_board_is_made_anew(file: Path) -> None:
    assert validate(open_board(file)) == Checked(rows=3, intervals=3, blocks=1)
    assert validate(bare(file)) == Checked(0, 0, 0)


Change = Callable[[dict[str, Any]], object]


def row(content: dict[str, Any], rank: int) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in content["rows"] if row["rank"] == rank)
    return found


def swap(content: dict[str, Any]) -> None:
    """The first and the last change places."""
    first, last = row(content, 1), row(content, 3)
    for name in ("rank", "rank_last", "better_than", "worse_than"):
        first[name], last[name] = last[name], first[name]


@pytest.mark.parametrize(
    ("change", "expected", "needs_scores"),
    [
        (lambda c: row(c, 1).update(rank=9), "expected rank <= rank_last <= 3", False),
        (lambda c: row(c, 3).update(rank=9, rank_last=9), "rank_last <= 3", False),
        (swap, "because 0 rows that compare have a better value, got 3", False),
        (
            lambda c: c["metrics"][0].update(direction="lower"),
            "expected \"higher\", which 'vendi' version",
            False,
        ),
        (lambda c: c["metrics"][0].update(range=["0", "inf"]), "metrics[0].range: expected", False),
        (lambda c: row(c, 1).update(value=11.0, high=11.5), "expected a number from 1 to n", False),
        (lambda c: row(c, 3).update(low=0.5), "expected a number from 1 to n", False),
        (lambda c: row(c, 2).update(low=row(c, 2)["value"]), "low: expected 2.", True),
        (lambda c: row(c, 2).update(value=row(c, 2)["value"] + 1e-3), "value: expected 3.", True),
        (lambda c: row(c, 2).update(n=39), "n: expected 40", True),
        (lambda c: row(c, 2).update(undefined=1), "undefined: expected 0", True),
        (lambda c: [r.update(responses=8) for r in c["rows"]], "responses: expected 10", True),
        (
            lambda c: [
                r.update(rank=1, rank_last=3, better_than=0, worse_than=0) for r in c["rows"]
            ],
            "which the tests of its per-prompt rows give",
            True,
        ),
        (lambda c: row(c, 1).update(method="mean, by hand"), "method: expected", True),
    ],
)
def test_a_resealed_board_is_found_out(
    file: Path, change: Change, expected: str, needs_scores: bool
) -> None:
    reseal(file, change)
    with pytest.raises(DataError) as caught:
        validate(open_board(file))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    if needs_scores:  # nobody can tell without them
        validate(bare(file))


def test_ids_are_held_against_what_they_are_made_of(file: Path) -> None:
    reseal(file, lambda c: c["models"][0].update(identity={"files": {"w": "another"}}))
    with pytest.raises(DataError, match=r"\$\.models\[0\]\.id: expected "):
        open_board(file)


def test_metrics_of_other_versions_are_taken_at_their_word(file: Path) -> None:
    made = METRICS.get("vendi").version + 1

    def of_another_version(content: dict[str, Any]) -> None:
        content["metrics"][0].update(version=made, id=f"vendi#v{made}", measures="quality")
        for one in content["rows"]:
            one["metric"] = f"vendi#v{made}"

    reseal(file, of_another_version)
    source = Source("b", read_leaderboard(file))
    validate(source)
    assert source.board.metrics[0].measures == "quality"
