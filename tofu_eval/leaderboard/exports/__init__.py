"""A board for others: spreadsheets, papers, the Hub, the 'Every Eval Ever' project."""

from tofu_eval.leaderboard.exports.every_eval_ever import Evaluator, every_eval_ever
from tofu_eval.leaderboard.exports.hub import eval_results, model_index
from tofu_eval.leaderboard.exports.tables import as_csv, as_latex, as_markdown

__all__ = [
    "Evaluator",
    "as_csv",
    "as_latex",
    "as_markdown",
    "eval_results",
    "every_eval_ever",
    "model_index",
]
