"""Evaluation results of one model, as the Hugging Face Hub reads them from its repository.

The format: hub-docs, `eval_results.yaml`.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from tofu_eval.core.errors import ConfigError
from tofu_eval.leaderboard.board import Board, BoardRow
from tofu_eval.leaderboard.exports.base import Option, export
from tofu_eval.leaderboard.exports.one_model import SOURCE_URL, latest_rows
from tofu_eval.leaderboard.view import warnings_of_row

_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@export(
    name="eval-results",
    help="of one model, for .eval_results/NAME.yaml of its repository on the Hub",
    options=(
        Option("dataset", "the Hub's benchmark, a dataset repository", "ORG/NAME", required=True),
        SOURCE_URL,
    ),
)
def eval_results(board: Board, *, dataset: str, source_url: str | None = None) -> str:
    """YAML for `.eval_results/*.yaml` of a model repository.

    A value belongs to a benchmark, which is a dataset repository with a task `TASK.METRIC` for each
    of its leaderboards; of a model that several runs measured, the last measurement counts.

    Args:
        board: with rows of one model.
        dataset: the benchmark, `org/name`.
        source_url: address of what the values come from, the published board.

    Raises:
        ConfigError: the dataset is no repository, or the board is of several models.
        DataError: the model has no value.
    """
    if not _REPO.fullmatch(dataset):
        raise ConfigError(
            f"--dataset must be a dataset repository, got '{dataset}'. Example: --dataset ORG/NAME"
        )
    entries = []
    for name, row in latest_rows(board).items():
        run = board.run_by_id[row.run]
        entry: dict[str, Any] = {
            "dataset": {"id": dataset, "task_id": name},
            "value": row.value,
            "date": str(run.finished or run.created),
        }
        if source_url is not None:
            entry["source"] = {"url": source_url, "name": "tofu-eval leaderboard"}
        entries.append({**entry, "notes": _notes(board, row)})
    return yaml.safe_dump(entries, sort_keys=False, allow_unicode=True, width=1000)


def _notes(board: Board, row: BoardRow) -> str:
    """How the value was made, as far as one line can say it."""
    span = "" if row.low is None else f"95% interval {row.low:.6g} to {row.high:.6g}; "
    one = row.responses == 1
    at = "" if row.responses is None else f" at {row.responses} response{'' if one else 's'}"
    said = "".join(f"; {warning}" for warning in warnings_of_row(board, row))
    prompts = f"{row.n} prompt{'' if row.n == 1 else 's'}"
    return f"{span}mean over {prompts}{at}; {row.signature}; run {row.run}{said}"
