"""A board for others: spreadsheets, papers, the Hub, the 'Every Eval Ever' project.

One file an export; `base.py` says what one is.
"""

from tofu_eval.leaderboard.exports.base import EXPORTS, Export, Files, Option, export

__all__ = ["EXPORTS", "Export", "Files", "Option", "export"]
