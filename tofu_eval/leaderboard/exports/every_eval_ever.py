"""A board as records of 'Every Eval Ever', the shared schema of the EvalEval Coalition.

The schema: github.com/evaleval/every_eval_ever, `eval.schema.json`, version 0.3.0. A record is of
one model as one run measured it.
"""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from tofu_eval.core.errors import ConfigError, DataError
from tofu_eval.core.types import check_name, digest
from tofu_eval.leaderboard.view import Row

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


def every_eval_ever(board: Mapping[str, Any], by: Evaluator) -> dict[str, str]:
    """The records by their path, `data/tofu-eval/DEVELOPER/MODEL/UUID.json`.

    The same board gives the same paths. Rows without a value are left out: a score is a number
    there.

    Args:
        board: a leaderboard.
        by: who measured.

    Raises:
        DataError: the board has no value.
    """
    files = {}
    models = {model["id"]: model for model in board["models"]}
    for run in board["runs"]:
        for id, model in models.items():
            rows = [
                row
                for row in board["rows"]
                if (row["run"], row["model"]) == (run["id"], id) and row["value"] is not None
            ]
            if rows:
                record = _record(board, run, model, rows, by)
                sum = hashlib.sha256(record["evaluation_id"].encode()).digest()
                name = str(uuid.UUID(bytes=sum[:16], version=4))
                developer = record["model_info"]["developer"]
                folder = f"data/{COLLECTION}/{developer}/{model['name']}"
                text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
                files[f"{folder}/{name}.json"] = f"{text}\n"
    if not files:
        raise DataError("The board has no value to export. Look: tofu-eval leaderboard show FILE")
    return files


def _record(
    board: Mapping[str, Any],
    run: Mapping[str, Any],
    model: Mapping[str, Any],
    rows: list[Row],
    by: Evaluator,
) -> dict[str, Any]:
    when = run["finished"] or run["created"]
    seconds = str(int(datetime.fromisoformat(when).timestamp()))
    info = _model(model, by)
    return {
        "schema_version": SCHEMA_VERSION,
        # The run's id keeps apart what one second would not.
        "evaluation_id": f"{COLLECTION}-{run['id']}/{info['id']}/{seconds}",
        "evaluation_timestamp": when,
        "retrieved_timestamp": seconds,
        "source_metadata": {
            "source_name": "tofu-eval leaderboard",
            "source_type": "evaluation_run",
            "source_organization_name": by.organization,
            "evaluator_relationship": by.relationship,
        },
        "eval_library": {
            "name": run["tool"]["name"],
            "version": run["tool"]["version"],
            "additional_details": _texts(
                {"git_revision": run["tool"]["git_revision"], "packages": run["packages"]}
            ),
        },
        "model_info": info,
        "evaluation_results": list(_results(board, run, rows, when)),
    }


def _model(model: Mapping[str, Any], by: Evaluator) -> dict[str, Any]:
    """Who the model is: its Hub id where it has one, else the developer that the user names."""
    # With an adapter, the base's id is not the model's.
    part = model["identity"].get("adapter", model["identity"].get("model"))
    hub = part.get("id") if isinstance(part, dict) and part.get("kind") == "hub" else None
    full = hub if isinstance(hub, str) and "/" in hub else f"{by.developer}/{model['name']}"
    served = model["identity"].get("kind") == "server" or model["engine"] == "file"
    return {
        "name": model["name"],
        "id": full,
        "developer": check_name("developer", full.partition("/")[0]),
        "inference_engine": {"name": model["engine"]},
        "additional_details": _texts(
            {
                "deployment_type": "unknown" if served else "self_deployed",
                "model_availability": "open_weights" if hub else "unknown",
                "identity": model["identity"],
                "identity_digest": digest(model["identity"]),
                **{name: model.get(name) for name in ("series", "seed", "temperature")},
            }
        ),
    }


def _results(
    board: Mapping[str, Any], run: Mapping[str, Any], rows: list[Row], when: str
) -> Iterator[dict[str, Any]]:
    tasks = {task["id"]: task for task in board["tasks"]}
    metrics = {metric["id"]: metric for metric in board["metrics"]}
    places = {(place["model"], place["task"]): place for place in run["places"]}
    for row in rows:
        task, metric = tasks[row["task"]], metrics[row["metric"]]
        place = places.get((row["model"], row["task"]), {})
        sampling = task["sampling"] or {}
        yield {
            "evaluation_result_id": digest([run["id"], row["model"], row["task"], row["metric"]]),
            "evaluation_name": f"{COLLECTION}.{task['name']}",
            "source_data": {
                "dataset_name": task["name"],
                "source_type": "other",
                "additional_details": _texts(
                    {name: task[name] for name in ("version", "digest", "licence", "citation")}
                ),
            },
            "evaluation_timestamp": when,
            "metric_config": _metric(metric, sampling.get("samples")),
            "score_details": {
                "score": row["value"],
                "details": _texts({name: row[name] for name in _DETAILS}),
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
                        "prompt_format": place.get("prompt_format"),
                        "generated_tokens": place.get("tokens"),
                    }
                ),
            },
        }


_DETAILS = ("signature", "method", "undefined", "rank", "better_than", "worse_than")


def _metric(metric: Mapping[str, Any], samples: int | None) -> dict[str, Any]:
    package = metric["package"] or {}
    low, high = (_bound(text, samples) for text in metric["range"])
    scale = {"score_type": "continuous", "min_score": low, "max_score": high}
    return {
        "evaluation_description": metric["paper"],
        "metric_id": f"{COLLECTION}.{metric['name']}",
        "metric_name": metric["name"],
        "metric_kind": metric["measures"],
        "metric_parameters": {
            "version": metric["version"],
            "direction": metric["direction"],
            "range": " to ".join(metric["range"]),
            "package": package.get("name"),
            "package_version": package.get("version"),
        },
        "lower_is_better": metric["direction"] == "lower",
        # The project's validator, stricter than its schema, wants both ends of what is continuous.
        **({} if low is None or high is None else scale),
    }


def _bound(text: str, samples: int | None) -> float | str | None:
    """An end of a metric's range as the schema has it; null where nobody knows it.

    `n` is the number of responses to a prompt.
    """
    known: dict[str, float | str] = {"inf": "Infinity", "-inf": "-Infinity"}
    if samples is not None:
        known |= {"n": float(samples), "1/n": 1 / samples}
    if text in known:
        return known[text]
    try:
        bound = float(text)
    except ValueError:
        return None
    return bound if math.isfinite(bound) else None


def _uncertainty(row: Row) -> dict[str, Any]:
    found: dict[str, Any] = {"num_samples": row["n"]}
    if row["low"] is not None:
        found["confidence_interval"] = {
            "lower": row["low"],
            "upper": row["high"],
            "confidence_level": 0.95,
            "method": row["method"],
        }
    return found


def _texts(facts: Mapping[str, Any]) -> dict[str, str]:
    """Facts as the schema has them: texts, and none that is not known."""
    return {
        name: value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        for name, value in facts.items()
        if value is not None
    }
