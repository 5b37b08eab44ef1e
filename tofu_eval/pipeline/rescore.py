"""A run that is scored again: more metrics are added to what it holds, and nothing is dropped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from tofu_eval.core.config import Settings
from tofu_eval.core.errors import ConfigError, TofuEvalError
from tofu_eval.core.tokens import retokenize
from tofu_eval.core.types import Report, no_report
from tofu_eval.features.base import Feature
from tofu_eval.features.given import GivenFeature
from tofu_eval.features.open import OpenFeature, open_features
from tofu_eval.features.settings import check_settings, read_settings, run_named_files, settings_in
from tofu_eval.metrics import Metric, find
from tofu_eval.pipeline.lost_plugins import (
    DROP,
    drop_lost_plugins,
    refuse_lost_metrics,
    refuse_lost_plugins,
)
from tofu_eval.pipeline.own_models import name_own_models, stored_models
from tofu_eval.pipeline.plan import check_truncated, metrics_of
from tofu_eval.pipeline.score_run import all_metrics, score_run
from tofu_eval.pipeline.stored_servers import withhold_from_stored
from tofu_eval.run.files import remove_file, restore_file
from tofu_eval.run.store import Run

MADE_BY = {
    "equivalence": {"equivalence.method", "equivalence.model", "equivalence.threshold"},
    "reward": {"reward.model"},
    "reward_level": {"reward.model", "reward.calibration"},
    "judge": {"judge.model"},
}
"""Features that a file may bring, and the settings that ask for them to be made anew."""

SAID_ANEW = ("metrics", "trust_remote_code")
"""Settings that a run does not hand on."""

Scorers = dict[str, list[Metric]]


def inherit_settings(
    output: Path | str, options: Mapping[str, Any], *, only: bool
) -> dict[str, Any]:
    """The options, and the models behind features that the run was scored with, where they say
    nothing.

    Args:
        output: a run directory, or where one will be.
        options: what the user says.
        only: whether the run's own scores are of no account.
    """
    if only or not (Path(output) / "run.json").is_file():
        withhold_from_stored({}, options)
        return dict(options)
    run = Run.open(output)
    stored = {
        name: value
        for name, value in _unusual_settings(run).items()
        if name not in Settings.model_fields
    }
    refuse_lost_plugins(run, stored, options, DROP)
    withhold_from_stored(stored, options)
    return _merge_settings(stored, options)


def _unusual_settings(run: Run) -> dict[str, Any]:
    """What a run was made with, but for the defaults and what is said anew: metrics, and trust.

    Whose code may run is said by who is at the keyboard, not by a run.json.
    """
    stored = settings_in(run.path / "run.json", run.manifest.get("settings"))
    usual = read_settings({}).model_dump(mode="json")
    unusual: dict[str, Any] = {}
    for name, value in stored.items():
        if name in SAID_ANEW or name not in usual or value == usual[name]:
            continue
        if name not in Settings.model_fields:  # a section: its own defaults count
            value = {k: v for k, v in value.items() if v != usual[name].get(k)}
        unusual[name] = value
    return unusual


def _merge_settings(stored: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**stored, **options}
    for name in stored.keys() & options.keys():
        if name not in Settings.model_fields:
            merged[name] = {**stored[name], **options[name]}
    return merged


def add_scored(
    scorers: Mapping[str, Sequence[Metric]], output: Path | str, chosen: Settings, *, only: bool
) -> tuple[Scorers, list[str]]:
    """The metrics asked for and those that the run has already, and a remark on those dropped.

    Args:
        scorers: what is asked for, by task.
        output: a run directory, or where one will be.
        chosen: the settings.
        only: whether what is not asked for is dropped.

    Raises:
        ConfigError: one that the run has cannot be computed on truncated responses, or is nothing
            here any more.
    """
    by_task = {task: list(metrics) for task, metrics in scorers.items()}
    kept: Scorers = {task: [] for task in by_task}
    if not (Path(output) / "run.json").is_file():
        return by_task, []
    run = Run.open(output)
    if not only:
        refuse_lost_metrics(run)
    dropped: dict[str, None] = {}
    # run.json says it, so that a damaged table hides nothing.
    for task, names in run.manifest.get("scored_metrics", {}).items():
        asked = {metric.name for metric in by_task.get(task, ())}
        for name in names if task in by_task else ():
            if name in asked:
                continue
            if only:
                dropped[name] = None
            else:
                check_truncated(name, chosen)
                metric = find(name)
                needs = retokenize(metric.needs, chosen.tokenizer)
                kept[task].append(replace(metric, needs=needs))
    by_task = {task: [*kept[task], *metrics] for task, metrics in by_task.items()}
    return by_task, [f"dropped, as --only says: {', '.join(dropped)}"] if dropped else []


def given_by_files(
    found: Mapping[str, set[str]], output: Path, task: str, chosen: Settings
) -> set[str]:
    """The features that the files of all models bring, those in the run included.

    What the user names a model or a method for is made by that.
    """
    sets = list(found.values())
    if (output / "run.json").exists():
        models = Run.open(output).manifest["models"]
        sets += [
            set(model.get("given", {}).get(task, ()))
            for name, model in models.items()
            if name not in found and task in model.get("responses", {})
        ]
    given = set.intersection(*sets) if sets else set()
    for name, asking in MADE_BY.items():
        if chosen.given_paths() & asking:
            given.discard(name)
    return given


def open_given(given: Iterable[str], metrics: Iterable[Metric]) -> dict[str, OpenFeature]:
    """The features that files bring and the metrics need."""
    needs = {need for metric in metrics for need in metric.needs}
    return {
        name: OpenFeature(Feature(name, GivenFeature, level="group"), GivenFeature(name))
        for name in sorted(needs.intersection(given))
    }


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
                if file not in prompts:
                    remove_file(file)
            for file, content in prompts.items():
                restore_file(file, content)
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
    stored = _unusual_settings(held)
    if only:
        stored = drop_lost_plugins(held, stored, options)
    else:
        refuse_lost_plugins(held, stored, options, DROP)
        refuse_lost_metrics(held)
    withhold_from_stored(stored, options)
    chosen = check_settings(_merge_settings(stored, run_named_files(options)))
    chosen, of_own = name_own_models(chosen, stored_models(held.manifest))
    asked = {
        task: metrics_of(chosen, ()) if chosen.metrics else [] for task in held.manifest["tasks"]
    }
    scorers, remarks = add_scored(asked, path, chosen, only=only)
    verifiers = {
        name: described.get("verifier", "") for name, described in held.manifest["tasks"].items()
    }
    metrics = all_metrics(scorers)
    given = set.intersection(
        *(given_by_files({}, Path(path), task, chosen) for task in held.manifest["tasks"])
    )
    features = open_features(chosen, metrics, given, verifiers)
    features |= open_given(given, metrics)
    with Run.writing(path) as run, restoring_on_refusal(run):
        notes = [*run.manifest.get("notes", []), *run.mend(), *remarks, *of_own]
        run.save(status="running", settings=chosen.model_dump(mode="json"), notes=notes)
        score_run(run, chosen, scorers, features, report)
        run.save(notes=list(dict.fromkeys(run.manifest["notes"])))
        return run


def _has_its_scores(run: Run, manifest: Mapping[str, Any]) -> bool:
    """Whether the scores that a run.json speaks of are all there."""
    return all(run.has_scores(model, task) for model, task, _ in manifest.get("scored", ()))
