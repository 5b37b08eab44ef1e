"""`tofu-eval check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tofu_eval.cli.comparing import comparing_options

if TYPE_CHECKING:
    from tofu_eval.analysis.conditions import Judgement

FAILED, UNKNOWN = 1, 3


@click.command("check")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--fail-if",
    "conditions",
    multiple=True,
    required=True,
    metavar="CONDITION",
    help="'narrower: METRIC AMOUNT' (wider, worse, better, higher, lower); repeatable.",
)
@click.option("--baseline", metavar="MODEL", help="Compare with this model. Default: the first.")
@click.option("--model", "models", multiple=True, help="Only these models.")
@click.option("--task", "tasks", multiple=True, help="Only these tasks.")
@comparing_options
@click.pass_context
def command(
    context: click.Context,
    /,
    run: Path,
    conditions: tuple[str, ...],
    baseline: str | None,
    models: tuple[str, ...],
    tasks: tuple[str, ...],
    **how: Any,
) -> None:
    """Fail where the evidence carries it: a guard for a pipeline that fine-tunes.

    \b
    tofu-eval check runs/x --fail-if 'narrower: vendi 0.3' --fail-if 'worse: accuracy 0.02'
    tofu-eval check runs/x --fail-if narrower        the verdict of all metrics of diversity

    Exit code 1: a condition holds, and the whole 95% interval lies beyond its amount. 0: none is
    shown to hold. 3: nothing can be said of some. 2: bad input.
    """
    from tofu_eval.analysis.compare_run import chosen_scores, compare_run
    from tofu_eval.analysis.conditions import judge_condition, parse_condition
    from tofu_eval.cli.measured import check_measured
    from tofu_eval.core.errors import ConfigError, UnknownNameError
    from tofu_eval.run.store import Run

    parsed = [parse_condition(text) for text in conditions]
    opened = Run.open(run)
    check_measured(opened, [condition.metric for condition in parsed if condition.metric])
    comparison = compare_run(opened, chosen_scores(opened, tasks=tasks), baseline, **how)
    others = [name for name in comparison.models if name != comparison.baseline]
    if not others:
        raise ConfigError(f"{run} has only {comparison.baseline}: there is nothing to compare.")
    for name in models:
        if name not in others:
            raise UnknownNameError.of("model", name, others, f"tofu-eval compare {run}")
    judgements = [
        judgement
        for condition in parsed
        for judgement in judge_condition(comparison, condition)
        if judgement.model in (models or others)
    ]
    context.exit(_report(judgements, comparison.baseline))


def _report(judgements: list[Judgement], baseline: str) -> int:
    """Say in one line what it comes to, and return the exit code."""
    from tofu_eval.core.escape import printable
    from tofu_eval.report.condition_text import judgement_text

    for state, says, code in (
        ("carried", "Failed", FAILED),
        ("unknown", "Nothing can be said", UNKNOWN),
        ("not carried", "Passed, nothing of this is shown", 0),
    ):
        lines = [judgement_text(j, baseline) for j in judgements if j.state == state]
        if lines:
            click.echo(printable(f"{says}: {'; '.join(lines)}"))
            return code
    return 0
