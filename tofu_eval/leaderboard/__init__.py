"""The published file: what it holds, how it is written, checked, merged, exported, published."""

from tofu_eval.leaderboard.board import build_leaderboard, read_leaderboard, write_leaderboard
from tofu_eval.leaderboard.prompt_scores import read_scores

__all__ = ["build_leaderboard", "read_leaderboard", "read_scores", "write_leaderboard"]
