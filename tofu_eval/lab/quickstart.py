"""The whole story on a laptop: pretrain, fine-tune with two losses, measure, compare.

Everything is real but small, and the truth is known. Each seed has a world of its own: its own
pretraining text, first weights and fine-tuning data. Nothing but a processor is needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tofu_eval.analysis.frontier import Frontier
from tofu_eval.core.errors import ConfigError, StoreError
from tofu_eval.core.types import Report, no_report
from tofu_eval.core.worker_pool import Workers, cores, workers
from tofu_eval.engines.base import Engine
from tofu_eval.features.embedding import EMBEDDING_MODEL
from tofu_eval.lab import findings as say
from tofu_eval.lab.findings import MeasuredRow
from tofu_eval.lab.hotter import hotter_sentences, lab_frontiers
from tofu_eval.lab.metrics import LAB_METRICS
from tofu_eval.lab.tables import Table, by_temperature, tables
from tofu_eval.lab.target import TargetEngine
from tofu_eval.lab.tasks import lab_task
from tofu_eval.pipeline.evaluate import evaluate
from tofu_eval.pipeline.temperatures import name_at, name_by
from tofu_eval.run.files import hold_lock, write_json
from tofu_eval.run.store import conflict

if TYPE_CHECKING:
    from tofu_eval.lab.checkpoints import Pretraining

SEEDS = 3
LOSSES = ("ce", "tofu")
"""What the base is fine-tuned with unless others are asked for."""

TEMPERATURES = (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.5)
"""Wide enough for each model to be read off at the matched validity, and for cross-entropy to be
sampled as hot as it takes to be no more often right than TOFU at 1."""

CONTROLS = ("again", "paraphrase")
"""Ways of asking the cross-entropy model that need no training: is another loss needed at all?"""

CONTROL_TEMPERATURES = (0.7, 1.0, 1.3)
"""At which they are asked; a sequential one takes a round a response."""

OF_LAB = ("validity", "tail", "unseen", "collision", "distinct_valid")
OF_TEXT = ("self_bleu", "vendi")


@dataclass(frozen=True, slots=True)
class SeedPlan:
    """One seed's part of the quickstart; `quick` shrinks the model, its training and the sample."""

    output: Path
    seed: int
    quick: bool = False
    losses: tuple[str, ...] = LOSSES

    @property
    def tuned_models(self) -> dict[str, str]:
        """The fine-tuned models: the loss of each. Cross-entropy's is plain "sft"."""
        return {"sft" if loss == "ce" else loss: loss for loss in self.losses}

    @property
    def trained_models(self) -> tuple[str, ...]:
        """Every model but the target."""
        return ("base", *self.tuned_models)

    @property
    def checkpoints(self) -> Path:
        """Where this seed's models are."""
        return self.output / "checkpoints" / f"seed-{self.seed}"

    @property
    def run(self) -> Path:
        """This seed's run directory."""
        return self.output / "runs" / f"seed-{self.seed}"

    @property
    def sweep(self) -> Path:
        """The run directory of this seed's sweep of temperatures."""
        return self.output / "runs" / f"seed-{self.seed}-temperatures"

    @property
    def samples(self) -> int:
        """Responses a prompt."""
        return 16 if self.quick else 64

    def pretraining_settings(self) -> Pretraining:
        """How the base is made."""
        from tofu_eval.lab.checkpoints import Pretraining

        return Pretraining(width=96, round_steps=500) if self.quick else Pretraining()


@dataclass(frozen=True, slots=True)
class SeedResult:
    """What one seed gave: a row a model and decoder, and where the files are."""

    seed: int
    rows: tuple[MeasuredRow, ...]
    run: Path
    sweep: Path
    leaderboard: Path
    checkpoints: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class QuickstartResult:
    """All seeds, in order; `findings` are sentences that a rule derived from them.

    `frontiers` are quality against diversity over all seeds and temperatures, without the target.
    """

    output: Path
    seeds: tuple[SeedResult, ...]
    findings: tuple[str, ...]
    frontiers: tuple[Frontier, ...] = ()

    def tables(self) -> list[Table]:
        """The comparison as cells to print: a title, a header and rows of strings each."""
        seeds = [seed.rows for seed in self.seeds]
        return [*tables(seeds), *by_temperature(seeds, TEMPERATURES)]

    def hotter(self) -> list[str]:
        """Does a loss beat sampling cross-entropy hotter? Sentences from three seeds on."""
        return hotter_sentences(self.frontiers) if len(self.seeds) >= say.ENOUGH else []


def quickstart(
    output: Path | str,
    *,
    seed: int = 0,
    quick: bool = False,
    losses: Sequence[str] = LOSSES,
    report: Report = no_report,
) -> QuickstartResult:
    """Make or reuse the checkpoints and runs under `output`, and compare.

    Seeds run in processes of their own, so a script must call this under
    `if __name__ == "__main__":`.

    Args:
        output: a directory; called again with the same arguments, what is finished is reused.
        seed: the first of three seeds, >= 0.
        quick: one seed, a smaller model and fewer responses.
        losses: registered losses to fine-tune the base with; `ce` is among them.
        report: told about progress as (stage, done, total).

    Raises:
        ConfigError: a seed below 0, no `ce`, or a loss that is named twice.
        UnknownNameError: no loss has that name.
        TrainingError: a base model fails its gate.
        StoreError: `output` holds something else, is in use, or cannot be written.
        ModelError, MissingDependencyError: the embedding model cannot be had.
    """
    if seed < 0:
        raise ConfigError(f"seed must be at least 0, got {seed}.")
    _check_losses(losses)
    # Found out now rather than after the training.
    from tofu_eval.features.sentence_embedder import SentenceEmbedder

    SentenceEmbedder(EMBEDDING_MODEL)
    plans = [
        SeedPlan(Path(output), seed + i, quick, tuple(losses)) for i in range(1 if quick else SEEDS)
    ]
    with hold_lock(Path(output)), workers(min(cores(), len(plans)), report) as pool:
        results = _all(plans, pool)
    return QuickstartResult(
        Path(output),
        tuple(results),
        tuple(say.findings([result.rows for result in results])),
        lab_frontiers(
            {result.seed: result.sweep for result in results},
            [*plans[0].trained_models, *(name_by("sft", method) for method in CONTROLS)],
        ),
    )


def _all(plans: list[SeedPlan], pool: Workers) -> list[SeedResult]:
    """Train every seed, and measure each as soon as it is trained."""
    training = {pool.start(train_seed, plan): plan for plan in plans}
    running: set[Future[Any]] = set(training)
    measured: dict[Future[Any], SeedPlan] = {}
    results: dict[int, SeedResult] = {}
    while running:
        done = pool.first(running)
        running.remove(done)
        if done in training:
            started = pool.start(measure_seed, training[done])
            measured[started] = training[done]
            running.add(started)
        else:
            results[measured[done].seed] = done.result()
    return [results[plan.seed] for plan in plans]


def train_seed(plan: SeedPlan, report: Report) -> None:
    """The base of a seed, and the base fine-tuned with each loss."""
    from tofu_eval.lab.checkpoints import finetune, pretrain

    tell = _name_stages(plan, report)
    base = pretrain(
        plan.checkpoints / "base", seed=plan.seed, settings=plan.pretraining_settings(), report=tell
    )
    for name, loss in plan.tuned_models.items():
        finetune(plan.checkpoints / name, base, loss, seed=plan.seed, report=tell)


def measure_seed(plan: SeedPlan, report: Report) -> SeedResult:
    """Run the benchmark on a seed's models and the target, and collect the rows."""
    tell = _name_stages(plan, report)
    models = {name: plan.checkpoints / name for name in plan.trained_models}
    tasks = {
        say.T1: lab_task(plan.seed, samples=plan.samples),
        say.TOP_P: lab_task(plan.seed, samples=plan.samples, top_p=0.9),
    }
    engines: dict[str, str | Engine] = {"target": TargetEngine()}
    engines |= {name: str(path) for name, path in models.items()}
    sweep = evaluate(
        engines,
        tasks[say.T1],
        plan.sweep,
        metrics=LAB_METRICS,
        temperature=TEMPERATURES,
        seed=plan.seed,
        report=tell,
    )
    evaluate(
        {"sft": str(models["sft"])},
        tasks[say.T1],
        plan.sweep,
        methods=CONTROLS,
        metrics=LAB_METRICS,
        temperature=CONTROL_TEMPERATURES,
        seed=plan.seed,
        report=tell,
    )
    result = evaluate(
        engines, [*tasks.values(), "lab-held-out"], plan.run, seed=plan.seed, report=tell
    )
    decoders = {task.name: decoder for decoder, task in tasks.items()}
    swept = {name_at(name, t): (name, f"T={t:g}") for name in engines for t in TEMPERATURES}
    values: dict[tuple[str, str], dict[str, float | None]] = {}
    for row in (*sweep.estimates.to_pylist(), *result.estimates.to_pylist()):
        name = row["metric"].removeprefix("lab_")
        place = swept.get(row["model"], (row["model"], decoders.get(row["task"], "")))
        known = place[0] in engines and place[1]  # a run may hold more losses than these
        if known and name in (*OF_LAB, *OF_TEXT):
            values.setdefault(place, {})[name] = row["value"]
    for name in plan.trained_models:
        found = _likelihoods(plan, name, tell)
        values[name, say.T1] |= {"kl": found["kl-t-1"], "forgetting": found["forgetting"]}
        values[name, say.T_BETA]["kl"] = found[f"kl-t-{say.BETA:g}"]
    values["target", say.T1]["kl"] = 0.0  # by definition
    rows = [MeasuredRow(*place, measures) for place, measures in values.items()]
    for name in plan.trained_models:
        curve = [(t, values[name, f"T={t:g}"]) for t in TEMPERATURES]
        rows.append(MeasuredRow(name, say.AT_MATCHED, say.interpolate_at_validity(curve)))
    board = plan.run / "leaderboard.json"
    return SeedResult(plan.seed, tuple(rows), plan.run, plan.sweep, board, models)


def _likelihoods(plan: SeedPlan, name: str, report: Report) -> dict[str, float]:
    """The numbers of one checkpoint, kept beside the runs."""
    from tofu_eval.lab.checkpoints import weights_digest
    from tofu_eval.lab.likelihood import likelihoods

    path = plan.output / "likelihoods" / f"seed-{plan.seed}" / f"{name}.json"
    asked = {"seed": plan.seed, "weights": weights_digest(plan.checkpoints / name)}
    if path.exists():
        try:
            kept = json.loads(path.read_text("utf-8"))
            conflict(path, "file", kept["asked"], asked)
            return dict(kept["values"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"{path} is damaged. Delete it and run the same command again: it is made anew."
            ) from error
    values = likelihoods(
        plan.checkpoints / name,
        seed=plan.seed,
        temperatures=(1.0, say.BETA),
        report=report,
        stage=f"likelihoods {name}",
    )
    write_json(path, {"asked": asked, "values": values})
    return values


def _name_stages(plan: SeedPlan, report: Report) -> Report:
    """The same report, every stage with its seed."""
    return lambda stage, done, total: report(f"seed {plan.seed}: {stage}", done, total)


def _check_losses(losses: Sequence[str]) -> None:
    from tofu_eval.training.losses import LOSSES as REGISTERED

    for name in losses:
        REGISTERED.get(name)
    if "ce" not in losses or len(set(losses)) < len(losses):
        raise ConfigError(
            f"The losses are {', '.join(losses) or 'none'}; expected each once, 'ce' among them, "
            "since the others are compared with it."
        )
