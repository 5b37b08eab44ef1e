"""What ranks hold, over many studies, from scores to the board that is published."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import beta
from support.boards import A, manifest_of, means, name_of

from tofu_eval.analysis import significantly_better
from tofu_eval.analysis.compare import compare
from tofu_eval.analysis.comparison import is_clear
from tofu_eval.core.tables import SCORE_SCHEMA
from tofu_eval.leaderboard import Board, build_leaderboard

TASK, PROMPTS = "open-prompts", 30


def table_of(values: dict[str, np.ndarray]) -> pa.Table:
    """The scores of models on `vendi`, a value a prompt."""
    rows = [
        {"model": model, "task": TASK, "prompt_id": f"p{i}", "metric": "vendi",
         "value": None if np.isnan(value) else float(value), "reason": None, "n": 10}
        for model, column in values.items()
        for i, value in enumerate(column)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, SCORE_SCHEMA)


def board_of(manifest: dict[str, Any], scores: pa.Table) -> Board:
    models = scores.column("model").unique().to_pylist()
    told = manifest_of(manifest, A, *models)
    return build_leaderboard(means(scores), told, scores)


def disagreements(manifest: dict[str, Any], studies: int) -> tuple[int, int]:
    """How often compare and the board decide otherwise, and how often a difference is clear."""
    rng = np.random.default_rng(187)
    other = clear = 0
    for _ in range(studies):
        shift = rng.choice([0, 1], p=[0.5, 0.5], size=PROMPTS)
        base = rng.integers(0, 5, PROMPTS)
        sft = np.clip(rng.integers(0, 5, PROMPTS) + shift, 0, 4)
        scores = table_of({"base": base / 4 + 1, "sft": sft / 4 + 1})
        (row,) = compare(scores, "base", metrics={"vendi": "higher"}).rows
        said = is_clear(row.cells[1])
        ranks = {row.rank for row in board_of(manifest, scores).rows}
        other += said != (len(ranks) == 2)
        clear += said
    return other, clear


def test_compare_and_the_board_agree(manifest: dict[str, Any]) -> None:
    other, clear = disagreements(manifest, 40)
    assert other == 0
    assert 0 < clear < 40


@pytest.mark.slow
def test_compare_and_the_board_agree_in_400_of_400_studies(manifest: dict[str, Any]) -> None:
    other, clear = disagreements(manifest, 400)
    assert other == 0
    assert 40 < clear < 360


def ranked_studies(manifest: dict[str, Any], studies: int) -> tuple[int, int]:
    """Of boards of six models: those with a model outranked by one that it beats; with an error.

    In half of the studies no two models differ, else the first three do not.
    """
    rng = np.random.default_rng(7)
    outranked = wrong = 0
    for study in range(studies):
        level = np.zeros(6) if study % 2 else np.array([0, 0, 0, 0.4, 0.8, 1.2])
        table = level[:, None] + rng.normal(size=PROMPTS) + rng.normal(0, 0.7, (6, PROMPTS))
        table[rng.random(table.shape) < 0.03] = np.nan
        columns = {f"m{i}": row for i, row in enumerate(table)}
        by_prompt = [{f"p{i}": float(v) for i, v in enumerate(row)} for row in table]
        board = _board(manifest, columns)
        rank_of = {name_of(board, row): row.rank or 0 for row in board.rows}
        ranks = [rank_of[f"m{i}"] for i in range(6)]
        better, _ = significantly_better(by_prompt, higher=True, task=TASK)
        outranked += any(ranks[a] >= ranks[b] for a, b in zip(*np.nonzero(better), strict=True))
        wrong += bool((better & (level[:, None] <= level[None, :])).any())
    return outranked, wrong


def _board(manifest: dict[str, Any], columns: dict[str, np.ndarray]) -> Board:
    scores = table_of(columns)
    estimates = means(
        table_of({name: np.nan_to_num(row, nan=0.0) for name, row in columns.items()})
    )
    told = manifest_of(manifest, A, *columns)
    return build_leaderboard(estimates, told, scores)


def lower_99(errors: int, studies: int) -> float:
    """The lower 99% bound of Clopper and Pearson."""
    return float(beta.ppf(0.01, errors, studies - errors + 1)) if errors else 0.0


def test_nobody_is_outranked_by_whom_he_beats(manifest: dict[str, Any]) -> None:
    outranked, wrong = ranked_studies(manifest, 20)
    assert outranked == 0
    assert lower_99(wrong, 20) <= 0.05


@pytest.mark.slow
def test_ranks_hold_in_200_studies(manifest: dict[str, Any]) -> None:
    outranked, wrong = ranked_studies(manifest, 200)
    assert outranked == 0
    assert lower_99(wrong, 200) <= 0.05
