"""Compare what was scored: a run directory, or scores in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tofu_eval.analysis.compare import Comparison, How
from tofu_eval.analysis.compare import compare as compare_scores
from tofu_eval.analysis.compare_run import chosen_scores, compare_run
from tofu_eval.analysis.equal_counts import LEAST
from tofu_eval.core.errors import UnknownNameError
from tofu_eval.pipeline.evaluate import Result
from tofu_eval.run.store import Run


def compare(
    scored: Result | Run | Path | str,
    baseline: str | None = None,
    *,
    metrics: Sequence[str] = (),
    tasks: Sequence[str] = (),
    cluster: str | None = None,
    margins: Mapping[str, float] | None = None,
    min_responses: int = LEAST,
    responses: int | None = None,
) -> Comparison:
    """Every model beside a baseline, on the same prompts and equal numbers of responses.

    Args:
        scored: what `score` or `evaluate` returned, or a run directory.
        baseline: a model or a series; by default the first.
        metrics: only these.
        tasks: only these.
        cluster: a field of the prompts by which they are clustered.
        margins: margins of equivalence by metric, in its unit.
        min_responses: responses a prompt below which it is left out, at least 2.
        responses: the number of responses for all prompts; by default the smaller of two models'.
    Raises:
        UnknownNameError: no such model, metric or task.
        DataError: a prompt has no such field.
    """
    if isinstance(scored, Result) and scored.path is None:
        return _compare_in_memory(
            scored, baseline, metrics, tasks, cluster, margins or {}, min_responses, responses
        )
    if isinstance(scored, Run):
        run = scored
    else:
        where = scored.path if isinstance(scored, Result) and scored.path else scored
        run = Run.open(Path(str(where)))
    return compare_run(
        run,
        chosen_scores(run, tasks=tasks, metrics=metrics),
        baseline,
        cluster=cluster,
        margins=margins,
        min_responses=min_responses,
        responses=responses,
    )


def _compare_in_memory(
    result: Result,
    baseline: str | None,
    metrics: Sequence[str],
    tasks: Sequence[str],
    cluster: str | None,
    margins: Mapping[str, float],
    min_responses: int,
    responses: int | None,
) -> Comparison:
    scores = result.scores
    for noun, wanted in (("task", tasks), ("metric", metrics)):
        known = scores.column(noun).unique().to_pylist()
        for name in wanted:
            if name not in known:
                raise UnknownNameError.of(noun, name, known, "tofu-eval metrics list")
        if wanted:
            scores = scores.filter([name in wanted for name in scores.column(noun).to_pylist()])
    for name in margins:
        if name not in result.metrics:
            raise UnknownNameError.of("metric", name, result.metrics, "tofu-eval metrics list")
    return compare_scores(
        scores,
        baseline or scores.column("model")[0].as_py(),
        metrics={name: fact["direction"] for name, fact in result.metrics.items()},
        smaller=result.smaller,
        how=How(
            facts=result.metrics,
            lengths=result.lengths,
            truncate=result.truncated,
            metadata=result.metadata,
            cluster=cluster,
            margins=margins,
            min_responses=min_responses,
            responses=responses,
        ),
    )
