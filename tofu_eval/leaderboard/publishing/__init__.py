"""Where boards are published: a directory, a git working tree, a dataset repository of the Hub."""

from tofu_eval.leaderboard.publishing.directory import publish_directory, save
from tofu_eval.leaderboard.publishing.git import publish_git
from tofu_eval.leaderboard.publishing.hub import publish_hub
from tofu_eval.leaderboard.publishing.plan import Plan

__all__ = ["Plan", "publish_directory", "publish_git", "publish_hub", "save"]
