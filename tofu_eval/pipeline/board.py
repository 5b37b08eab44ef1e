"""The leaderboard of a run, with what the comparison of its models comes to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from tofu_eval.analysis.compare_run import (
    Facts,
    chosen_scores,
    cluster_fields,
    compare_run,
    facts_of,
    prompt_metadata,
)
from tofu_eval.analysis.comparison import Comparison, How
from tofu_eval.analysis.equal_counts import LEAST
from tofu_eval.analysis.warnings import MISSING_SHARE, UNREAD_SHARE
from tofu_eval.core.tables import ESTIMATE_SCHEMA, to_table
from tofu_eval.leaderboard.board import Source
from tofu_eval.leaderboard.build import Beside, Told, board_of_run
from tofu_eval.leaderboard.publishing.changes import Page
from tofu_eval.report.board import board_site
from tofu_eval.report.headline import headline
from tofu_eval.report.warning_text import warning_text
from tofu_eval.run.store import Run

MISSING = "most of its responses are empty, filtered or failed"
UNREAD = "the embedding model has no words for many of its texts"


def run_board(
    run: Run,
    baseline: str | None = None,
    *,
    cluster: str | None = None,
    margins: Mapping[str, float] | None = None,
    min_responses: int = LEAST,
    responses: int | None = None,
    models: Mapping[str, Mapping[str, Any]] | None = None,
) -> Source:
    """The leaderboard of a run with its per-prompt rows.

    Args:
        run: a run; one without a score has an empty board.
        baseline, cluster, margins, min_responses, responses, models: as `compare_run` has them.

    Raises:
        DataError: a prompt has no such field, or run.json lacks something.
        UnknownNameError: the baseline has no scores, or `margins` names no metric of the run.
    """
    estimates = run.own_estimates()
    table = to_table(estimates, ESTIMATE_SCHEMA)
    if not estimates:
        return board_of_run(table, run.manifest, name=str(run.path))
    scores = chosen_scores(run)
    facts = facts_of(run, scores)
    comparison = compare_run(
        run,
        scores,
        baseline,
        models=models,
        cluster=cluster,
        margins=margins,
        min_responses=min_responses,
        responses=responses,
        facts=facts,
    )
    tasks = scores.column("task").unique().to_pylist()
    fields = cluster_fields(run, tasks, cluster)
    how = How(metadata={task: prompt_metadata(run, task) for task in fields}, fields=fields)
    beside = Beside(
        told=_told(comparison),
        characters={place: own.mean_characters for place, own in facts.items()},
        voids=_voids(run, scores, facts),
        clusters={task: (field, how.clusters(task) or {}) for task, field in fields.items()},
        responses=responses,
        min_responses=min_responses,
    )
    return board_of_run(
        table, run.manifest, scores, smaller=run.equal_scores(), beside=beside, name=str(run.path)
    )


def page_for(wanted: bool) -> Page:
    """How publishing makes a place's page: where it is wanted, or there already."""
    return Page(board_site, datetime.now(UTC), wanted)


def _told(comparison: Comparison) -> Told:
    words = [(w, warning_text(w, comparison.baseline)) for w in comparison.warnings]
    answer = headline(comparison) if len(comparison.models) > 1 else ""
    return Told(comparison, answer, words)


def _voids(run: Run, scores: pa.Table, facts: Facts) -> dict[tuple[str, str, str], str]:
    """Why the value of a model by a metric can be held against no other model's."""
    voids: dict[tuple[str, str, str], str] = {}
    unread = run.manifest.get("unread", {})
    keys = scores.group_by(["model", "task", "metric"]).aggregate([]).to_pylist()
    for model, task, metric in ((key["model"], key["task"], key["metric"]) for key in keys):
        own = facts.get((model, task))
        texts = unread.get(model, {}).get(task)
        if own is not None and own.missing_share > MISSING_SHARE:
            voids[model, task, metric] = MISSING
        elif texts and metric in texts["metrics"] and _share(texts) > UNREAD_SHARE:
            voids[model, task, metric] = UNREAD
    return voids


def _share(texts: Mapping[str, Any]) -> float:
    return float(texts["texts"] / texts["total"]) if texts["total"] else 0.0
