"""Comparisons between models, and the file that publishes them."""

from tofu_eval.leaderboard.board import build_leaderboard, read_leaderboard, write_leaderboard
from tofu_eval.leaderboard.compare import Comparison, compare, length_warnings
from tofu_eval.leaderboard.frontier import Frontier, frontier, frontier_points
from tofu_eval.leaderboard.headline import headline
from tofu_eval.leaderboard.render import render, table

__all__ = [
    "Comparison",
    "Frontier",
    "build_leaderboard",
    "compare",
    "frontier",
    "frontier_points",
    "headline",
    "length_warnings",
    "read_leaderboard",
    "render",
    "table",
    "write_leaderboard",
]
