"""From what a user names to what works: plans, metrics, feature models, engines, formats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tofu_eval.config import Settings
from tofu_eval.engines import default_engine, open_engine
from tofu_eval.engines.base import Engine
from tofu_eval.errors import ConfigError, UnknownNameError
from tofu_eval.metrics import Metric, find
from tofu_eval.models import parse_model, tuned_format
from tofu_eval.stages import Plan
from tofu_eval.tasks import Format, format_of, load_format, with_data
from tofu_eval.types import (
    ModelSpec,
    Report,
    Task,
    check_name,
)

DEFAULT_METRICS = (
    "distinct_1",
    "distinct_2",
    "distinct_3",
    "distinct_4",
    "self_bleu",
    "unique_rate",
    "mean_length",
    "mean_pairwise_cosine_distance",
    "vendi",
)
"""What is measured where neither the task nor the user says otherwise."""

MODELS_OF = {
    "reward": ("reward_model",),
    "reward_level": ("reward_model",),
    "judge": ("judge_model",),
    "harmful": ("harm_model", "judge_model"),
}
"""Features that a task's metrics may need, and which settings name what makes them."""


def plan_of(task: Task, chosen: Settings) -> Plan:
    """A task with its prompts and the sampling that the user wants.

    Raises:
        ConfigError: a bad name, no prompts, or two of one id.
    """
    check_name("task", task.name)
    loaded = with_data(task, chosen.data_dir).load()
    prompts = tuple(loaded)[: chosen.limit]
    if not prompts:
        raise ConfigError(f"Task '{task.name}' has no prompts. Look: tofu-eval tasks check")
    for id, count in Counter(prompt.id for prompt in prompts).items():
        if count > 1:
            raise ConfigError(f"Task '{task.name}' has {count} prompts called '{id}'; ids differ.")
    given = chosen.sampling()
    if chosen.sweep and not task.sampling.temperature:
        given["temperature"] = 1.0  # each model has its own; greedy would refuse several samples
    sampling = replace(task.sampling, **given)
    return Plan(task, prompts, sampling, getattr(loaded, "data", task.data))


def check_lists(models: Mapping[str, Any], plans: Sequence[Plan], chosen: Settings) -> None:
    """Refuse nothing to do, names that are no names, a task twice, a format for nobody."""
    if not models:
        raise ConfigError("No models. Name at least one: --model base=PATH_OR_ID")
    if not plans:
        raise ConfigError("No tasks. Name at least one: --task open-prompts")
    names = [plan.task.name for plan in plans]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"Task '{name}' is asked for twice. Name it once.")
    for name in models:
        check_name("model", name)
    for name in chosen.format if isinstance(chosen.format, dict) else ():
        if name not in models:
            raise UnknownNameError.of("model", name, models, "tofu-eval run --help")


def metrics_of(chosen: Settings, of_task: Sequence[str]) -> list[Metric]:
    """The metrics that the user names, else those of the task, else DEFAULT_METRICS.

    Of the task's, those are left out for which nobody has named a model; `left_out` tells.
    """
    names = list(chosen.metrics or of_task or DEFAULT_METRICS)
    if not chosen.metrics:
        names = [name for name in names if not _unnamed(chosen, name)]
    if chosen.reward_model and "reward" not in names:
        names.append("reward")
    if chosen.judge_model:
        names += _of_judge(chosen, names)
    for name in names:
        if chosen.truncate and "[" in name:
            raise ConfigError(
                f"'{name}' cannot be computed on cut responses: how good one is, is known of the "
                "whole. Leave out --truncate, or the condition."
            )
    return [find(name) for name in dict.fromkeys(names)]


def left_out(chosen: Settings, task: Task) -> list[str]:
    """A remark where metrics of the task want a model that the user has not named."""
    if chosen.metrics:
        return []
    wanted: dict[tuple[str, ...], list[str]] = {}
    for name in task.metrics:
        if settings := _unnamed(chosen, name):
            wanted.setdefault(settings, []).append(name)
    return [
        f"{task.name}: without {' or '.join('--' + s.replace('_', '-') for s in settings)}, "
        f"not computed: {', '.join(names)}"
        for settings, names in wanted.items()
    ]


def _unnamed(chosen: Settings, metric: str) -> tuple[str, ...]:
    """The settings of which one would have to name a model for this metric; empty where none."""
    for need in find(metric).needs:
        settings = MODELS_OF.get(need, ())
        if settings and not any(getattr(chosen, setting) for setting in settings):
            return settings
    return ()


def _of_judge(chosen: Settings, names: Sequence[str]) -> list[str]:
    """The metrics of a judge that the user names; one named for something else rates nothing."""
    needs = {need for name in names for need in find(name).needs}
    elsewhere = chosen.equivalence == "judge" or ("harmful" in needs and not chosen.harm_model)
    more = []
    if "judge" in needs or not elsewhere:
        more = ["judge_rating", "judge_unparsable_rate"]
        if chosen.judge_repeats > 1:
            more += ["judge_agreement", "judge_exact_agreement"]
    if "harmful" in needs and not chosen.harm_model:
        more.append("harm_unparsable_rate")
    return [name for name in more if name not in names]


def apart(chosen: Settings) -> bool:
    """Whether each model gets a process of its own: by default where there is an accelerator."""
    if chosen.isolate is not None or find_spec("torch") is None:
        return bool(chosen.isolate)
    if chosen.device is not None:
        return not chosen.device.startswith("cpu")
    import torch

    return bool(torch.accelerator.is_available())


def engine_of(
    name: str, model: str | Path | ModelSpec | Engine, chosen: Settings, report: Report
) -> Engine:
    """The engine of a model; an engine object is its own."""
    if not isinstance(model, str | Path | ModelSpec):
        return model
    return open_engine(
        chosen.engine or default_engine(),
        model if isinstance(model, ModelSpec) else replace(parse_model(str(model)), name=name),
        batch_size=chosen.batch_size,
        device=chosen.device,
        dtype=chosen.dtype,
        trust_remote_code=chosen.trust_remote_code,
        engine_args=chosen.engine_args,
        base_url=chosen.base_url.get(name)
        if isinstance(chosen.base_url, dict)
        else chosen.base_url,
        isolate=apart(chosen),
        report=report,
    )


def formats_of(
    name: str,
    model: str | Path | ModelSpec | Engine,
    identity: Mapping[str, Any],
    plans: Sequence[Plan],
    chosen: Settings,
) -> dict[str, Format]:
    """How the prompts of each task are put to a model: as the user says, else as it was tuned."""
    given = chosen.format.get(name) if isinstance(chosen.format, dict) else chosen.format
    tuned = None
    if given is None and isinstance(model, str | Path | ModelSpec):
        spec = model if isinstance(model, ModelSpec) else parse_model(str(model))
        if saved := tuned_format(spec, identity):
            tuned = format_of(*saved, f"the training.json of '{name}'")
    return {plan.task.name: tuned or load_format(given or plan.task.format) for plan in plans}


def mixed(formats: Mapping[str, Mapping[str, Format]]) -> list[str]:
    """A remark where models are asked in different formats: that is a difference of its own."""
    names = {
        model: ", ".join(dict.fromkeys(format_name(f) for f in of_task.values()))
        for model, of_task in formats.items()
    }
    if len(set(names.values())) < 2:
        return []
    shown = "; ".join(f"{model}: {name}" for model, name in names.items())
    return [f"Models are asked in different prompt formats ({shown}). One for all: --format sft"]


def format_name(format: Format) -> str:
    """`base`, `sft`, `chat`; a template of the user's own with the start of its digest."""
    own = format.digest != load_format(format.name).digest
    return f"{format.name}:{format.digest[:12]}" if own else format.name
