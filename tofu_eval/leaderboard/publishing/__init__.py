"""Where boards are published: a directory, a git working tree, a repository of the Hub."""

from tofu_eval.leaderboard.publishing.changes import Changes, Page
from tofu_eval.leaderboard.publishing.directory import publish_directory, save_board
from tofu_eval.leaderboard.publishing.git import publish_git
from tofu_eval.leaderboard.publishing.hub import publish_hub

__all__ = ["Changes", "Page", "publish_directory", "publish_git", "publish_hub", "save_board"]
