"""Many trainings of one base, compared with each other: a grid of losses and seeds, one board.

output/checkpoints/<loss>-seed<n>/   what `tofu-eval train` makes
output/run/                          a run directory with the base and all of them
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from math import fsum
from pathlib import Path
from typing import Any

from tofu_eval.core.errors import ConfigError
from tofu_eval.core.models import parse_model
from tofu_eval.core.names import check_name
from tofu_eval.core.types import ModelSpec, Report, Task, no_report
from tofu_eval.core.worker_pool import cores, workers
from tofu_eval.pipeline.evaluate import Result, evaluate
from tofu_eval.pipeline.temperatures import name_at
from tofu_eval.pipeline.workload import check
from tofu_eval.training import LOSSES, TrainSettings, train_settings
from tofu_eval.training.checkpoints import read_manifest

BASE = "base"
"""What the model before training is called."""


@dataclass(frozen=True, slots=True)
class Training:
    """One cell of the grid."""

    name: str
    loss: str
    seed: int
    settings: TrainSettings


@dataclass(frozen=True, slots=True)
class LossRow:
    """One loss, task and metric over the seeds: mean, least and greatest of the estimates.

    `missing` counts seeds without a value; with any, the numbers are null.
    """

    loss: str
    task: str
    metric: str
    mean: float | None
    low: float | None
    high: float | None
    missing: int


def grid(
    fields: Mapping[str, Any], losses: Sequence[str], seeds: Sequence[int], output: Path
) -> list[Training]:
    """The trainings of a sweep, loss by loss.

    Args:
        fields: what all trainings share, as for `train_settings`; a loss setting goes to the
            losses that have one of that name.
        losses: registered losses.
        seeds: a training each.
        output: the sweep's directory.

    Raises:
        ConfigError: nothing to train, a name twice, or a setting that no loss has.
        UnknownNameError: no loss has that name.
    """
    if not losses or not seeds:
        raise ConfigError("A sweep needs a loss and a seed. For example: --loss ce,tofu --seeds 3")
    for what, names in (("loss", losses), ("seed", seeds)):
        for name in names:
            if list(names).count(name) > 1:
                raise ConfigError(f"The {what} '{name}' is named twice. Name it once.")
    given = dict(fields.get("loss_settings") or {})
    takes = {loss: set(LOSSES.get(loss).settings()) for loss in losses}
    for setting in given:
        if not any(setting in known for known in takes.values()):
            raise ConfigError(f"None of {', '.join(losses)} has a setting '{setting}'.")
    trainings = []
    for loss in losses:
        for seed in seeds:
            name = check_name("model", f"{loss}-seed{seed}")
            taken = {key: value for key, value in given.items() if key in takes[loss]}
            settings = train_settings(
                {
                    **fields,
                    "loss": loss,
                    "loss_settings": taken,
                    "seed": seed,
                    "output": output / "checkpoints" / name,
                }
            )
            trainings.append(Training(name, loss, seed, settings))
    return trainings


def sweep(
    trainings: Sequence[Training],
    tasks: Sequence[str | Path | Task],
    output: Path,
    *,
    jobs: int = 1,
    report: Report = no_report,
    **options: Any,
) -> Result:
    """Train what is not trained yet, then run the tasks on the base and on every checkpoint.

    Called again with the same arguments it goes on where it stopped.

    Args:
        trainings: from `grid`.
        tasks: as for `evaluate`.
        output: the sweep's directory.
        jobs: trainings at a time, each in a process of its own; on a GPU 1.
        report: told about progress as (stage, done, total).
        options: as for `evaluate`.

    Raises:
        TofuEvalError: as `train` and `evaluate`.
    """
    if jobs < 1:
        raise ConfigError(f"jobs must be at least 1, got {jobs}.")
    shared = trainings[0].settings
    check(tasks, **options)  # rather than after hours of training
    notes = train_all([t.settings for t in trainings], jobs=jobs, report=report)
    models: dict[str, ModelSpec] = {BASE: parse_model(f"{BASE}={shared.model}")}
    models |= {t.name: find_model(t) for t in trainings}
    options.setdefault("format", dict.fromkeys(models, shared.format or _trained_format(shared)))
    result = evaluate(models, tasks, output / "run", report=report, **options)
    return replace(result, notes=(*notes, *result.notes))


def train_all(
    settings: Sequence[TrainSettings], *, jobs: int = 1, report: Report = no_report
) -> list[str]:
    """Finish every training, `jobs` at a time; a model's memory is free again when it is trained.

    Returns: what the user should know about the data, each remark once.

    Raises:
        TofuEvalError: as `train`, of the first that fails; what others finished is kept.
    """
    threads = max(1, cores() // jobs)
    with workers(min(jobs, len(settings)), report, threads=threads) as pool:
        left: set[Future[Any]] = {pool.start(_train, one) for one in settings}
        notes: dict[str, None] = {}
        while left:
            done = pool.first(left)
            left.remove(done)
            notes.update(dict.fromkeys(done.result()))
    return list(notes)


def summarise_seeds(
    result: Result, trainings: Sequence[Training], temperatures: Sequence[float] | None = None
) -> list[LossRow]:
    """The estimates of the models of one loss, put together; of a sweep, at each temperature."""
    values: dict[tuple[str, str, str], list[float | None]] = {}
    losses = {BASE: BASE, **{t.name: t.loss for t in trainings}}
    if temperatures is not None:
        losses = {name_at(m, t): name_at(losses[m], t) for m in losses for t in temperatures}
    for row in result.estimates.to_pylist():
        if row["model"] in losses:
            place = (losses[row["model"]], row["task"], row["metric"])
            values.setdefault(place, []).append(row["value"])
    rows = []
    for place, column in values.items():
        numbers = [value for value in column if value is not None]
        missing = len(column) - len(numbers)
        if missing:
            rows.append(LossRow(*place, None, None, None, missing))
        else:
            mean = fsum(numbers) / len(numbers)
            rows.append(LossRow(*place, mean, min(numbers), max(numbers), 0))
    return rows


def find_model(training: Training) -> ModelSpec:
    """A checkpoint as a model: an adapter goes onto the base that it was trained on."""
    settings, path = training.settings, str(training.settings.output)
    base = parse_model(f"{BASE}={settings.model}")
    if settings.lora is None and base.adapter is None:
        spec = ModelSpec(training.name, path)
    else:
        spec = ModelSpec(training.name, base.model, base.revision, path)
    return replace(spec, series=training.loss, seed=training.seed)


def _trained_format(settings: TrainSettings) -> str:
    """The prompt format that a finished training chose for itself."""
    manifest = read_manifest(settings.output) or {}
    return str(manifest["format"]["name"])


def _train(settings: TrainSettings, report: Report) -> tuple[str, ...]:
    from tofu_eval.training.job import train

    return train(settings, resume=True, report=report).notes
