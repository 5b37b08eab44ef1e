"""Comparisons between models, and the files that publish them."""

from tofu_eval.leaderboard.board import build_leaderboard, read_leaderboard, write_leaderboard
from tofu_eval.leaderboard.compare import Comparison, How, compare
from tofu_eval.leaderboard.frontier import Frontier, frontier, frontier_points
from tofu_eval.leaderboard.headline import headline
from tofu_eval.leaderboard.render import render, table
from tofu_eval.leaderboard.scores import read_scores
from tofu_eval.leaderboard.series import seeds_together
from tofu_eval.leaderboard.warnings import few_prompts, length_warnings, sample_warnings

__all__ = [
    "Comparison",
    "Frontier",
    "How",
    "build_leaderboard",
    "compare",
    "few_prompts",
    "frontier",
    "frontier_points",
    "headline",
    "length_warnings",
    "read_leaderboard",
    "read_scores",
    "render",
    "sample_warnings",
    "seeds_together",
    "table",
    "write_leaderboard",
]
