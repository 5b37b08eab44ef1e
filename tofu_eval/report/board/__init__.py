"""The page of a leaderboard: a static site of a published file."""

from tofu_eval.report.board.site import board_site

__all__ = ["board_site"]
