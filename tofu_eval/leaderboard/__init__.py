"""The published file: what it holds, how it is written, checked, merged, exported, published."""

from tofu_eval.leaderboard.board import Board, BoardRow, Source
from tofu_eval.leaderboard.build import board_of_run, build_leaderboard
from tofu_eval.leaderboard.file import open_board, read_leaderboard, write_leaderboard
from tofu_eval.leaderboard.merge import Merged, merge
from tofu_eval.leaderboard.prompt_scores import read_scores
from tofu_eval.leaderboard.validate import validate

__all__ = [
    "Board",
    "BoardRow",
    "Merged",
    "Source",
    "board_of_run",
    "build_leaderboard",
    "merge",
    "open_board",
    "read_leaderboard",
    "read_scores",
    "validate",
    "write_leaderboard",
]
