"""A board as records of 'Every Eval Ever', the shared schema of the EvalEval Coalition.

The schema: github.com/evaleval/every_eval_ever, `eval.schema.json`, version 0.3.0. A record is of
one model as one run measured it.
"""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from tofu_eval.analysis.direction import sign_of_direction
from tofu_eval.core.errors import ConfigError, DataError
from tofu_eval.core.names import check_name
from tofu_eval.core.types import digest
from tofu_eval.leaderboard.board import (
    FROM_FILE,
    Board,
    BoardMetric,
    BoardModel,
    BoardRow,
    BoardRun,
    bound_of,
)
from tofu_eval.leaderboard.exports.base import Option, export
from tofu_eval.leaderboard.view import warnings_of_row

SCHEMA_VERSION = "0.3.0"
COLLECTION = "tofu-eval"
"""The folder of the records, as the project wants one for each source."""

Relationship = Literal["first_party", "third_party", "collaborative", "other"]


@dataclass(frozen=True)
class Evaluator:
    """Who measured: an organisation, and what it is to the makers of the models."""

    organization: str
    relationship: Relationship
    developer: str = "unknown"

    def __post_init__(self) -> None:
        if self.relationship not in get_args(Relationship):
            raise ConfigError(
                f"relationship must be one of {', '.join(get_args(Relationship))}, got "
                f"'{self.relationship}'."
            )
        check_name("developer", self.developer)


@export(
    name="every-eval-ever",
    help="a record a run and model, data/tofu-eval/DEVELOPER/MODEL/UUID.json",
    options=(
        Option("organization", "who measured", required=True),
        Option(
            "relationship",
            "what they are to the models' makers",
            required=True,
            choices=get_args(Relationship),
        ),
        Option("developer", "of models that are not from the Hub"),
    ),
)
def every_eval_ever(
    board: Board,
    *,
    organization: str,
    relationship: Relationship,
    developer: str = "unknown",
) -> dict[str, str]:
    """The records by their path, `data/tofu-eval/DEVELOPER/MODEL/UUID.json`.

    The same board gives the same paths. Rows without a value are left out: a score is a number
    there.

    Args:
        board: a leaderboard.
        organization: who measured.
        relationship: what they are to the models' makers.
        developer: of models that are not from the Hub.

    Raises:
        ConfigError: no such relationship, or a developer that can be no folder.
        DataError: the board has no value.
    """
    by = Evaluator(organization, relationship, developer)
    rows_of: dict[tuple[str, str], list[BoardRow]] = defaultdict(list)
    for row in board.rows:
        if row.value is not None:
            rows_of[row.run, row.model].append(row)
    files = {}
    for (run, id), rows in rows_of.items():
        model = board.model_by_id[id]
        record = _record(board, board.run_by_id[run], model, rows, by)
        checksum = hashlib.sha256(record["evaluation_id"].encode()).digest()
        name = str(uuid.UUID(bytes=checksum[:16], version=4))
        folder = f"data/{COLLECTION}/{record['model_info']['developer']}/{model.name}"
        text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
        files[f"{folder}/{name}.json"] = f"{text}\n"
    if not files:
        raise DataError("The board has no value to export. Look: tofu-eval leaderboard show FILE")
    return files


def _record(
    board: Board, run: BoardRun, model: BoardModel, rows: list[BoardRow], by: Evaluator
) -> dict[str, Any]:
    when = run.finished or run.created
    seconds = str(int(datetime.fromisoformat(when).timestamp()))
    info = _model(model, by)
    return {
        "schema_version": SCHEMA_VERSION,
        # The run's id, and the model's, keep apart what a second and a name would not.
        "evaluation_id": f"{COLLECTION}-{run.id}-{model.id}/{info['id']}/{seconds}",
        "evaluation_timestamp": when,
        "retrieved_timestamp": seconds,
        "source_metadata": {
            "source_name": "tofu-eval leaderboard",
            "source_type": "evaluation_run",
            "source_organization_name": by.organization,
            "evaluator_relationship": by.relationship,
        },
        "eval_library": {
            "name": run.tool.name,
            "version": run.tool.version,
            "additional_details": _texts(
                {"git_revision": run.tool.git_revision, "packages": run.packages}
            ),
        },
        "model_info": info,
        "evaluation_results": list(_results(board, run, rows, when)),
    }


def _model(model: BoardModel, by: Evaluator) -> dict[str, Any]:
    """Who the model is: its Hub id where it has one, else the developer that the user names."""
    # With an adapter, the base's id is not the model's.
    part = model.identity.get("adapter", model.identity.get("model"))
    hub = part.get("id") if isinstance(part, Mapping) and part.get("kind") == "hub" else None
    full = hub if isinstance(hub, str) and "/" in hub else f"{by.developer}/{model.name}"
    served = model.identity.get("kind") == "server" or model.engine == FROM_FILE
    return {
        "name": model.name,
        "id": full,
        "developer": check_name("developer", full.partition("/")[0]),
        "inference_engine": {"name": model.engine},
        "additional_details": _texts(
            {
                "deployment_type": "unknown" if served else "self_deployed",
                "model_availability": "open_weights" if hub else "unknown",
                "identity": model.identity,
                "identity_digest": digest(model.identity),
                "tofu_eval_id": model.id,
                **{name: getattr(model, name) for name in ("series", "seed", "temperature")},
            }
        ),
    }


def _results(
    board: Board, run: BoardRun, rows: list[BoardRow], when: str
) -> Iterator[dict[str, Any]]:
    cells = {(cell.model, cell.task): cell for cell in run.cells}
    for row in rows:
        task, metric = board.task_by_id[row.task], board.metric_by_id[row.metric]
        cell = cells.get((row.model, row.task))
        sampling = task.sampling or {}
        yield {
            "evaluation_result_id": digest([*row.key, row.signature]),
            "evaluation_name": f"{COLLECTION}.{task.name}",
            "source_data": {
                "dataset_name": task.name,
                "source_type": "other",
                "additional_details": _texts(
                    {
                        name: getattr(task, name)
                        for name in ("version", "digest", "licence", "citation")
                    }
                ),
            },
            "evaluation_timestamp": when,
            "metric_config": _metric(metric, row.responses or sampling.get("samples")),
            "score_details": {
                "score": row.value,
                "details": _texts(
                    {
                        **{name: getattr(row, name) for name in _DETAILS},
                        "warnings": warnings_of_row(board, row) or None,
                    }
                ),
                "uncertainty": _uncertainty(row),
            },
            "generation_config": {
                "generation_args": {
                    name: sampling[name]
                    for name in ("temperature", "top_p", "max_tokens")
                    if name in sampling
                },
                "additional_details": _texts(
                    {
                        "samples_per_prompt": sampling.get("samples"),
                        "prompt_format": cell and cell.prompt_format,
                        "generated_tokens": cell and cell.tokens,
                    }
                ),
            },
        }


_DETAILS = (
    "signature", "method", "undefined", "responses", "cluster", "void", "rank", "rank_last",
    "better_than", "worse_than", "unranked",
)  # fmt: skip


def _metric(metric: BoardMetric, responses: int | None) -> dict[str, Any]:
    low, high = (_bound(end, responses) for end in metric.range)
    scale = {"score_type": "continuous", "min_score": low, "max_score": high}
    return {
        "evaluation_description": metric.paper,
        "metric_id": f"{COLLECTION}.{metric.name}",
        "metric_name": metric.name,
        "metric_kind": metric.measures,
        "metric_parameters": {
            "version": metric.version,
            "direction": metric.direction,
            "range": " to ".join(metric.range),
            "package": metric.package and metric.package.name,
            "package_version": metric.package and metric.package.version,
        },
        "lower_is_better": sign_of_direction(metric.direction) < 0,
        # The project's validator, stricter than its schema, wants both ends of what is continuous.
        **({} if low is None or high is None else scale),
    }


def _bound(end: str, responses: int | None) -> float | str | None:
    """An end of a metric's range as the schema has it; None where nobody knows it."""
    if end in ("inf", "-inf"):
        return "Infinity" if end == "inf" else "-Infinity"
    bound = bound_of(end, responses)
    return bound if bound is None or math.isfinite(bound) else None


def _uncertainty(row: BoardRow) -> dict[str, Any]:
    uncertainty: dict[str, Any] = {"num_samples": row.n}
    if row.low is not None:
        uncertainty["confidence_interval"] = {
            "lower": row.low,
            "upper": row.high,
            "confidence_level": 0.95,
            "method": row.method,
        }
    return uncertainty


def _texts(facts: Mapping[str, Any]) -> dict[str, str]:
    """Facts as the schema has them: texts, and none that is not known."""
    return {
        name: value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=dict)
        for name, value in facts.items()
        if value is not None
    }
