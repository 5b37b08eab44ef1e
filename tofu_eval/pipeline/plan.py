"""From what a user names to what works: plans, metrics, feature models, engines, formats."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tofu_eval.core.config import Settings
from tofu_eval.core.errors import (
    ConfigError,
    MissingDependencyError,
    TofuEvalError,
    UnknownNameError,
)
from tofu_eval.core.models import parse_model, tuned_format
from tofu_eval.core.names import check_name
from tofu_eval.core.tokens import retokenize
from tofu_eval.core.types import ModelSpec, Prompt, Sampling, Task, digest
from tofu_eval.engines.base import Engine
from tofu_eval.features.open import added_metrics, open_features, unnamed_model
from tofu_eval.metrics import Metric, find
from tofu_eval.tasks import Format, format_of, load_format, with_data
from tofu_eval.tasks.problems import find_unclustered

DEFAULT_METRICS = (
    "distinct_1",
    "distinct_2",
    "distinct_3",
    "distinct_4",
    "self_bleu",
    "unique_rate",
    "mean_length",
    "cosine_distance_given_prompt",
    "mean_pairwise_cosine_distance",
    "vendi",
)
"""What is measured where neither the task nor the user says otherwise."""


def plan_of(task: Task, chosen: Settings) -> Plan:
    """A task with its prompts and the sampling that the user wants.

    Raises:
        ConfigError: a bad name, no prompts, two of one id, or one that does not say its cluster.
    """
    check_name("task", task.name)
    loaded = with_data(task, chosen.data_dir).load()
    prompts = tuple(loaded)[: chosen.limit]
    if not prompts:
        raise ConfigError(f"Task '{task.name}' has no prompts. Look: tofu-eval tasks check")
    if lack := find_unclustered(prompts, task.cluster):
        raise ConfigError(f"Task '{task.name}': {lack}.")
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

    Of those that the user has not named, those are left out for which nobody has named a model,
    or whose package is not installed; `left_out` and `uninstalled` tell.
    """
    names = list(chosen.metrics or of_task or DEFAULT_METRICS)
    if not chosen.metrics:
        names = [name for name in names if not unnamed_model(chosen, find(name))]
        names = [name for name in names if not _missing_package(chosen, name)]
    needs = {need for name in names for need in find(name).needs}
    names += added_metrics(chosen, needs)
    for name in names:
        check_truncated(name, chosen)
    metrics = [find(name) for name in dict.fromkeys(names)]
    return [replace(m, needs=retokenize(m.needs, chosen.tokenizer)) for m in metrics]


def check_truncated(name: str, chosen: Settings) -> None:
    """Refuse a condition on the quality of responses of which only a part is scored.

    Raises:
        ConfigError: so.
    """
    if chosen.truncate and "[" in name and not name.endswith("[reasoning]"):
        raise ConfigError(
            f"'{name}' cannot be computed on truncated responses: how good one is, is known "
            "of the whole. Leave out --truncate, or the condition; what a run has is dropped with "
            "--only."
        )


def left_out(chosen: Settings, task: Task) -> list[str]:
    """A remark where metrics of the task want a model that the user has not named."""
    if chosen.metrics:
        return []
    wanted: dict[tuple[str, ...], list[str]] = {}
    for name in task.metrics:
        if flags := unnamed_model(chosen, find(name)):
            wanted.setdefault(tuple(flags), []).append(name)
    return [
        f"{task.name}: without {' or '.join(flags)}, not computed: {', '.join(names)}"
        for flags, names in wanted.items()
    ]


def uninstalled_remarks(chosen: Settings, of_task: Sequence[str]) -> list[str]:
    """A remark where metrics that nobody has named want a package that is not installed."""
    if chosen.metrics:
        return []
    missing: dict[str, list[str]] = {}
    for name in of_task or DEFAULT_METRICS:
        if error := _missing_package(chosen, name):
            missing.setdefault(error.partition("Install it: ")[2], []).append(name)
    return [
        f"not computed, for want of a package: {', '.join(names)}. Install it: {command}"
        for command, names in missing.items()
    ]


def _missing_package(chosen: Settings, name: str) -> str:
    """What an error says of the package that a metric's model lacks; empty where none does."""
    if find_spec("torch") is not None and find_spec("sentence_transformers") is not None:
        return ""
    metric = find(name)
    if metric.cost == "cpu" or unnamed_model(chosen, metric):
        return ""
    try:
        open_features(chosen, [metric])
    except MissingDependencyError as error:
        return str(error)
    except TofuEvalError:
        return ""  # said where it is computed
    return ""


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


def format_remarks(formats: Mapping[str, Mapping[str, Format]]) -> list[str]:
    """A remark where models are asked in different formats: that is a difference of its own."""
    names = {
        model: ", ".join(dict.fromkeys(format_name(f) for f in of_task.values()))
        for model, of_task in formats.items()
    }
    if len(set(names.values())) < 2:
        return []
    shown = "; ".join(f"{model}: {name}" for model, name in names.items())
    return [f"Models are asked in different prompt formats ({shown}). One for all: --format sft"]


PUBLISHED = "TOFU-SFT/"
"""Whose adapters on the Hub were tuned on sentences that are not ours to hand on."""


def remark_on_published(models: Mapping[str, object], chosen: Settings) -> list[str]:
    """A remark for each of the paper's own adapters that is asked in other words than its own."""
    remarks = []
    for name, model in models.items():
        given = chosen.format.get(name) if isinstance(chosen.format, dict) else chosen.format
        own = given is not None and given.endswith(".jinja")
        ref = f"{model.model}+{model.adapter or ''}" if isinstance(model, ModelSpec) else str(model)
        if not own and any(part.startswith(PUBLISHED) for part in ref.split("+")):
            remarks.append(
                f"{name}: the paper's adapters were tuned on prompts of other words; give those as "
                "a template of your own: --format FILE.jinja (docs/paper.md says where they stand)"
            )
    return remarks


def format_name(format: Format, system: str | None = None) -> str:
    """Its name; with the start of its digest, a template or a system prompt of the user's own."""
    own = format.digest != load_format(format.name).digest
    name = f"{format.name}:{format.digest[:12]}" if own else format.name
    return f"{name}+system:{digest(system)[:12]}" if system else name


@dataclass(frozen=True)
class Plan:
    """A task as this run asks it: its prompts and its sampling, with the user's overrides.

    `data` says where the prompts were read: dataset and commit, or file and digest.
    """

    task: Task
    prompts: tuple[Prompt, ...]
    sampling: Sampling
    data: Mapping[str, str] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """The task's part of run.json; what may not change under a run's name, but for `data` and
        `cluster`."""
        return {
            "version": self.task.version,
            "prompts": len(self.prompts),
            "digest": digest([prompt.describe() for prompt in self.prompts]),
            "sampling": self.sampling.describe(),
            "licence": self.task.licence,
            "source": self.task.source,
            "citation": self.task.citation,
            **({"scoring": "likelihood", "rows": self.rows} if self.of_choices else {}),
            **({"verifier": self.task.verifier} if self.task.verifier else {}),
            **({"cluster": self.task.cluster} if self.task.cluster else {}),
            **({"data": dict(self.data)} if self.data else {}),
        }

    @property
    def of_choices(self) -> bool:
        """Whether the responses are the prompts' choices, and nothing is drawn."""
        return self.task.scoring == "likelihood"

    @property
    def rows(self) -> int:
        """How many responses a model owes this task."""
        if self.of_choices:
            return sum(len(choices(prompt)) for prompt in self.prompts)
        return len(self.prompts) * self.sampling.samples


def verifiers_of(plans: Sequence[Plan]) -> dict[str, str]:
    """What checks the answers of each task; empty where nothing does."""
    return {plan.task.name: plan.task.verifier for plan in plans}


def choices(prompt: Prompt) -> list[str]:
    """The choices of a prompt: its metadata `choices`, a JSON list of texts.

    Raises:
        ConfigError: it has none, fewer than two, or an empty one.
    """
    try:
        texts = json.loads(prompt.metadata.get("choices", "null"))
    except ValueError:
        texts = None
    good = isinstance(texts, list) and len(texts) > 1
    if not good or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ConfigError(
            f"The prompt '{prompt.id}' has no choices to be scored: its metadata 'choices' must be "
            "a JSON list of two texts or more. Add them, or leave out 'scoring: likelihood'."
        )
    return [text.strip() for text in texts]
