"""Comparisons between models, and the files that publish them."""

from tofu_eval.leaderboard.board import build_leaderboard, read_leaderboard, write_leaderboard
from tofu_eval.leaderboard.compare import Comparison, compare, length_warnings
from tofu_eval.leaderboard.render import render, table
from tofu_eval.leaderboard.scores import read_scores

__all__ = [
    "Comparison",
    "build_leaderboard",
    "compare",
    "length_warnings",
    "read_leaderboard",
    "read_scores",
    "render",
    "table",
    "write_leaderboard",
]
