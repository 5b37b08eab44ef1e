"""Whether a run has a metric that was asked for, and whether it is of the kind that is wanted."""

from __future__ import annotations

from collections.abc import Iterable

from tofu_eval.core.errors import ConfigError, TofuEvalError
from tofu_eval.run.store import Run


def check_measured(run: Run, metrics: Iterable[str]) -> None:
    """Tell a metric that exists, but that the run lacks, from a name that nothing has.

    Raises:
        ConfigError: the run was not scored with a metric that exists. Of names that nothing has,
            whoever looks them up says so.
    """
    measured = set(run.scores().column("metric").unique().to_pylist())
    for name in metrics:
        if name not in measured and _exists(name):
            raise ConfigError(
                f"{run.path} was not scored with '{name}'. Score it again with --metric '{name}'; "
                f"it has {', '.join(sorted(measured))}."
            )


def check_kind(run: Run, metric: str, kind: str, flag: str) -> None:
    """Refuse a metric of another kind than "quality" or "diversity".

    Raises:
        ConfigError: the run's metric measures something else.
    """
    facts = run.manifest.get("metrics", {})
    measures = facts.get(metric, {}).get("measures", kind)
    if measures != kind:
        fitting = [name for name, fact in facts.items() if fact.get("measures") == kind]
        has = f"{run.path} has {', '.join(fitting)}" if fitting else f"{run.path} has none"
        raise ConfigError(
            f"'{metric}' measures {measures}; {flag} takes a metric of {kind}. {has}."
        )


def _exists(name: str) -> bool:
    from tofu_eval.metrics import find

    try:
        find(name)
    except TofuEvalError:
        return False
    return True
