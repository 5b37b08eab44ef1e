"""How much a run has to make, counted before any model is opened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from tofu_eval.core.config import Settings
from tofu_eval.core.errors import StoreError
from tofu_eval.core.options import RunOptions
from tofu_eval.core.types import ModelSpec, Request, Task
from tofu_eval.engines.base import Engine
from tofu_eval.engines.methods.base import PLAIN, Method
from tofu_eval.features.open import open_features
from tofu_eval.features.settings import read_settings
from tofu_eval.pipeline.generate import build_requests
from tofu_eval.pipeline.methods import build_questions, check_methods, find_methods
from tofu_eval.pipeline.own_models import name_own_models
from tofu_eval.pipeline.plan import Plan, check_lists, formats_of, metrics_of, plan_of, verifiers_of
from tofu_eval.pipeline.rescore import add_scored, inherit_settings
from tofu_eval.pipeline.score_run import all_metrics
from tofu_eval.pipeline.temperatures import Variant, variants_of
from tofu_eval.run.store import Run
from tofu_eval.tasks import Format, load_task

BYTES_A_TOKEN = 4
"""What a token of text comes to in UTF-8, roughly; a model's own tokenizer knows better."""


@dataclass(frozen=True, slots=True)
class Work:
    """What one model owes one task.

    `done` of the `responses` are on the disk. `reads` is about how many tokens all requests hold,
    `makes` how many tokens all responses have at most.
    """

    model: str
    task: str
    prompts: int
    responses: int
    done: int
    reads: int
    makes: int

    @property
    def left(self) -> float:
        """The share that is still to be made."""
        return 1 - self.done / self.responses if self.responses else 0.0


@dataclass(frozen=True, slots=True)
class Workload:
    """What a run has to make; totals are of what is left."""

    parts: tuple[Work, ...]

    @property
    def responses(self) -> int:
        """Responses that are left."""
        return sum(part.responses - part.done for part in self.parts)

    @property
    def done(self) -> int:
        """Responses that are there."""
        return sum(part.done for part in self.parts)

    @property
    def prompts(self) -> int:
        """Prompts of all tasks."""
        return sum({part.task: part.prompts for part in self.parts}.values())

    @property
    def models(self) -> int:
        """Models that have something left."""
        return len({part.model for part in self.parts if part.left})

    @property
    def reads(self) -> int:
        """About how many tokens of prompts the models read for what is left."""
        return round(sum(part.reads * part.left for part in self.parts))

    @property
    def makes(self) -> int:
        """How many tokens they make at most."""
        return round(sum(part.makes * part.left for part in self.parts))

    def price(self, per_million_in: float, per_million_out: float) -> float:
        """What is left costs at most so much, in the money of the two prices."""
        return (self.reads * per_million_in + self.makes * per_million_out) / 1e6


class _Unopened:
    """Stands for an engine where only its requests are looked at."""

    family = "unopened"
    identity: Mapping[str, Any] = {}

    def generate(self, requests: Sequence[Request], done: Iterable[str] = ()) -> Any:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is open."""


def find_workload(
    models: Mapping[str, str | Path | ModelSpec | Engine],
    tasks: Sequence[str | Path | Task],
    output: Path | str,
    *,
    only: bool = False,
    **options: Unpack[RunOptions],
) -> Workload:
    """What `evaluate` would make with the same arguments; it checks them, and opens no model.

    Raises:
        TofuEvalError: anything that is wrong with the arguments.
    """
    chosen = read_settings(inherit_settings(output, options, only=only))
    chosen, _ = name_own_models(chosen, models)
    plans = [plan_of(load_task(task), chosen) for task in tasks]
    check_lists(models, plans, chosen)
    asked = {plan.task.name: metrics_of(chosen, plan.task.metrics) for plan in plans}
    scorers, _ = add_scored(asked, output, chosen, only=only)
    open_features(chosen, all_metrics(scorers), verifiers=verifiers_of(plans))
    formats = {name: formats_of(name, model, {}, plans, chosen) for name, model in models.items()}
    methods = {method.name: method for method in find_methods(chosen.methods)}
    check_methods([*methods.values()], plans)
    variants = variants_of(models, chosen.sweep, [*methods])
    run = None
    with suppress(StoreError):  # none yet
        run = Run.open(output)
    return count_work(variants, plans, formats, methods, chosen, run)


def check(tasks: Sequence[str | Path | Task], **options: Any) -> None:
    """Find out what `evaluate` would find wrong with tasks and options, whatever the models are.

    Raises:
        TofuEvalError: anything wrong with them.
    """
    chosen = read_settings(options)
    plans = [plan_of(load_task(task), chosen) for task in tasks]
    methods = find_methods(chosen.methods)
    check_methods(methods, plans)
    for variant in variants_of(["model"], chosen.sweep, [method.name for method in methods]):
        for plan in plans:
            variant.plan(plan)
    metrics = [m for plan in plans for m in metrics_of(chosen, plan.task.metrics)]
    open_features(chosen, metrics, verifiers=verifiers_of(plans))


def count_work(
    variants: Iterable[Variant],
    plans: Sequence[Plan],
    formats: Mapping[str, Mapping[str, Format]],
    methods: Mapping[str, Method],
    chosen: Settings,
    run: Run | None,
) -> Workload:
    """The work of each model of a run on each task.

    Args:
        variants: the models.
        plans: the tasks.
        formats: how each model is asked, by model and task.
        methods: by name.
        chosen: the run's settings.
        run: what is on the disk; None where there is nothing.
    """
    parts = []
    for variant in variants:
        for plan in map(variant.plan, plans):
            name = plan.task.name
            format = formats[variant.model][name]
            reads, makes = _count_tokens(variant, plan, format, methods[variant.method], chosen)
            done = 0 if run is None else run.count_keys(variant.name, name)
            work = (len(plan.prompts), plan.rows, min(done, plan.rows), reads, makes)
            parts.append(Work(variant.name, name, *work))
    return Workload(tuple(parts))


def _count_tokens(
    variant: Variant, plan: Plan, format: Format, method: Method, chosen: Settings
) -> tuple[int, int]:
    """Tokens that are read, about, and made, at most."""
    about = (plan, format, variant.name, _Unopened(), chosen.seed)
    if method.name == PLAIN:
        asked = build_requests(*about, system=chosen.system)
        reads = sum(_count_read(request) for request in asked)
        return reads, 0 if plan.of_choices else len(asked) * plan.sampling.max_tokens
    questions = build_questions(*about, method, system=chosen.system)
    reads = makes = 0
    for question in questions:
        request = question.put(("",) * question.round)
        # A method that shows its earlier answers reads those, too.
        reads += _count_read(request) + question.round * plan.sampling.max_tokens
        makes += request.sampling.max_tokens
    return reads, makes


def _count_read(request: Request) -> int:
    texts = [request.text or "", request.completion or ""]
    texts += [message.content for message in request.messages or ()]
    return -(-sum(len(text.encode("utf-8", "replace")) for text in texts) // BYTES_A_TOKEN)
