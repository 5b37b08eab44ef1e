"""A run that is scored again: more metrics are added to what it holds, and nothing is dropped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from tofu_eval.core.config import Settings, settings
from tofu_eval.core.errors import ConfigError, TofuEvalError
from tofu_eval.core.tokens import retokenize
from tofu_eval.core.types import Report, Task, no_report
from tofu_eval.features.open import feature_models
from tofu_eval.metrics import Metric, find
from tofu_eval.pipeline.plan import metrics_of
from tofu_eval.pipeline.score_run import all_metrics, score_run
from tofu_eval.run.store import Run

Scorers = dict[str, list[Metric]]


def inherit_settings(
    output: Path | str, options: Mapping[str, Any], fields: Sequence[str], *, only: bool
) -> dict[str, Any]:
    """The options, and for these fields what the run was scored with where they say nothing.

    Args:
        output: a run directory, or where one will be.
        options: what the user says.
        fields: the settings that concern scoring.
        only: whether the run's own scores are of no account.
    """
    if only or not (Path(output) / "run.json").is_file():
        return dict(options)
    stored: dict[str, Any] = Run.open(output).manifest.get("settings", {})
    usual = Settings().model_dump(mode="json")
    found = dict(options)
    for name in fields:
        value = stored.get(name)
        if name == "metrics" or name not in stored or value == usual[name]:
            continue
        if isinstance(value, dict) and isinstance(found.get(name), Mapping):
            found[name] = {**value, **found[name]}
        else:
            found.setdefault(name, value)
    return found


def add_scored(
    scorers: Mapping[str, Sequence[Metric]], output: Path | str, chosen: Settings, *, only: bool
) -> tuple[Scorers, list[str]]:
    """The metrics asked for and those that the run has already, and a remark on those dropped.

    Args:
        scorers: what is asked for, by task.
        output: a run directory, or where one will be.
        chosen: the settings.
        only: whether what is not asked for is dropped.
    """
    found = {task: list(metrics) for task, metrics in scorers.items()}
    if not (Path(output) / "run.json").is_file():
        return found, []
    dropped: dict[str, None] = {}
    for row in Run.open(output).estimates():
        mine = found.get(row.task)
        if mine is None or row.metric in [metric.name for metric in mine]:
            continue
        if only:
            dropped[row.metric] = None
        else:
            metric = find(row.metric)
            mine.append(replace(metric, needs=retokenize(metric.needs, chosen.tokenizer)))
    return found, [f"dropped, as --only says: {', '.join(dropped)}"] if dropped else []


@contextmanager
def restoring_on_refusal(run: Run) -> Iterator[None]:
    """What is refused within the block leaves run.json and the prompts as they were before it."""
    existed = (run.path / "run.json").is_file()
    before = deepcopy(run.manifest)
    prompts = {file: file.read_bytes() for file in (run.path / "prompts").glob("*.parquet")}
    try:
        yield
    except TofuEvalError:
        if existed and _has_its_scores(run, before):
            for file in (run.path / "prompts").glob("*.parquet"):
                if prompts.get(file) is None:
                    file.unlink()
                elif file.read_bytes() != prompts[file]:
                    file.write_bytes(prompts[file])
            run.manifest = {}
            run.save(**before)
        raise


def rescore(
    path: Path | str, *, only: bool = False, report: Report = no_report, **options: Any
) -> Run:
    """Add metrics to a run, from the responses that it holds.

    All models on all tasks get them. Whatever is not said is as the run was scored before; without
    `metrics`, what it has is made anew under the settings that are said.

    Args:
        path: a run directory.
        only: drop the metrics that are not named.
        report: told about progress as (stage, done, total).
        options: `metrics`, and the other settings that concern scoring.

    Raises:
        TofuEvalError: there is no run, an unknown metric, a feature model that cannot be had; the
            run is then as it was.
    """
    held = Run.open(path)
    if not held.has_responses():
        raise ConfigError(
            f"{path} has no responses that could be scored. Make some: tofu-eval run … or "
            f"tofu-eval score … --output {path}"
        )
    stored = {k: v for k, v in held.manifest.get("settings", {}).items() if k != "metrics"}
    chosen = settings({**stored, **options})
    asked = {
        task: metrics_of(chosen, ()) if chosen.metrics else [] for task in held.manifest["tasks"]
    }
    scorers, remarks = add_scored(asked, path, chosen, only=only)
    tasks = [
        Task(name, 1, tuple, verifier=described.get("verifier", ""))
        for name, described in held.manifest["tasks"].items()
    ]
    features = feature_models(chosen, all_metrics(scorers), tasks=tasks)
    with Run.writing(path) as run, restoring_on_refusal(run):
        notes = [*run.manifest.get("notes", []), *run.mend(), *remarks]
        run.save(status="running", settings=chosen.model_dump(mode="json"), notes=notes)
        score_run(run, chosen, scorers, features, report)
        run.save(notes=list(dict.fromkeys(run.manifest["notes"])))
        return run


def _has_its_scores(run: Run, manifest: Mapping[str, Any]) -> bool:
    """Whether the scores that a run.json speaks of are all there."""
    return all(run.has_scores(model, task) for model, task, _ in manifest.get("scored", ()))
