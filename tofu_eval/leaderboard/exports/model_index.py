"""A model card with the values of a board in its `model-index`."""

from __future__ import annotations

from typing import Any

from tofu_eval.core.errors import DataError, MissingDependencyError, say_error
from tofu_eval.leaderboard.board import Board
from tofu_eval.leaderboard.exports.base import export
from tofu_eval.leaderboard.exports.one_model import SOURCE_URL, latest_rows, only_model
from tofu_eval.leaderboard.view import warnings_of_row


@export(
    name="model-index",
    help="of one model, into the card --output README.md, whose other content stays",
    options=(SOURCE_URL,),
    amends=True,
)
def model_index(board: Board, *, there: str | None = None, source_url: str | None = None) -> str:
    """The card, ours in the place of what it says of the same tasks and metrics.

    Args:
        board: with rows of one model.
        there: a card whose text and other results stay.
        source_url: address of what the values come from, the published board.

    Raises:
        MissingDependencyError: huggingface-hub is not installed.
        ConfigError: the board is of several models.
        DataError: the model has no value, or the card cannot be read.
    """
    try:
        from huggingface_hub import ModelCard, ModelCardData
    except ModuleNotFoundError as error:
        raise MissingDependencyError.of("A model card", "huggingface-hub", "hf") from error
    model = only_model(board)
    results = _results(board, source_url)
    if there is None:
        data = ModelCardData(model_name=model.name, eval_results=results)
        return str(ModelCard(f"---\n{data.to_yaml()}\n---\n"))
    try:
        card = ModelCard(there)
    except Exception as error:  # YAML and its content can be wrong in many ways
        raise DataError(
            f"What is there is no model card: {type(error).__name__}: {say_error(error)}. Correct "
            "its YAML, or write to another file: --output FILE"
        ) from error
    ours = {_slot(result) for result in results}
    others = [result for result in card.data.eval_results or [] if _slot(result) not in ours]
    card.data.eval_results = [*others, *results]
    card.data.model_name = card.data.model_name or model.name
    return str(card)


def _results(board: Board, source_url: str | None) -> list[Any]:
    from huggingface_hub import EvalResult

    results = []
    for name, row in latest_rows(board).items():
        task, metric = board.task_by_id[row.task], board.metric_by_id[row.metric]
        facts = ("low", "high", "n", "responses", "method", "signature", "run")
        results.append(
            EvalResult(
                task_type="text-generation",
                dataset_type=task.name,
                dataset_name=name.removesuffix(f".{metric.name}"),
                dataset_args={"version": task.version, "digest": task.digest},
                metric_type=metric.name,
                metric_value=row.value,
                metric_name=metric.name,
                metric_args={
                    **{fact: getattr(row, fact) for fact in facts},
                    **({"warnings": said} if (said := warnings_of_row(board, row)) else {}),
                },
                source_name=None if source_url is None else "tofu-eval leaderboard",
                source_url=source_url,
            )
        )
    return results


def _slot(result: Any) -> tuple[Any, ...]:
    """What a result is of: newer ones of it replace it."""
    arguments = result.metric_args or {}
    ours = isinstance(arguments, dict) and "signature" in arguments
    return result.dataset_type, result.dataset_name, result.metric_type, ours
