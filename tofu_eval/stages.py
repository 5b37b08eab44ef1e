"""The stages of the pipeline, each a function of what the one before it made.

generate -> featurize -> score -> estimate; `pipeline.py` puts them together on a run directory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tofu_eval import __version__
from tofu_eval.engines.audit import check
from tofu_eval.engines.base import Engine
from tofu_eval.errors import MetricInputError, ModelError, PluginError, TofuEvalError
from tofu_eval.features.base import FeatureModel
from tofu_eval.metrics import Metric
from tofu_eval.stats import mean_interval
from tofu_eval.store import FeatureCache, Run
from tofu_eval.tasks import Format, render
from tofu_eval.types import (
    Estimate,
    Group,
    Prompt,
    Report,
    Request,
    Response,
    Sampling,
    Score,
    Task,
    digest,
    seed_of,
)

FEATURE_CHUNK = 512
"""Texts whose features are computed and saved together: what a crash can cost."""


@dataclass(frozen=True)
class Plan:
    """A task as this run asks it: its prompts and its sampling, with the user's overrides."""

    task: Task
    prompts: tuple[Prompt, ...]
    sampling: Sampling

    def described(self) -> dict[str, Any]:
        """The task's part of run.json; what may not change under a run's name."""
        return {
            "version": self.task.version,
            "prompts": len(self.prompts),
            "digest": digest([asdict(prompt) for prompt in self.prompts]),
            "sampling": asdict(self.sampling),
            "licence": self.task.licence,
            "source": self.task.source,
            "citation": self.task.citation,
        }


def requests(plan: Plan, format: Format, model: str, engine: Engine, seed: int) -> list[Request]:
    """Every response that a run wants of one model on one task.

    A row's key says what it is (task version, prompt, sample, decoder, model, kind of engine);
    its seed derives from the run's seed and the key, so it does not depend on what else is asked.
    """
    identity = digest(dict(engine.identity))
    wanted = []
    for prompt in plan.prompts:
        text, messages = render(prompt, format)
        asked = [
            plan.task.name,
            plan.task.version,
            prompt.id,
            text,
            None if messages is None else [asdict(message) for message in messages],
            plan.sampling.decoder(),
            identity,
            engine.family,
        ]
        taken: set[int] = set()
        for sample in range(plan.sampling.samples):
            key = digest([*asked, sample])
            row_seed = _fresh_seed(seed, key, taken)
            wanted.append(
                Request(
                    key, row_seed, model, plan.task.name, prompt.id, sample, plan.sampling,
                    text, messages,
                )
            )  # fmt: skip
    return wanted


def _fresh_seed(seed: int, key: str, taken: set[int]) -> int:
    """The row's seed, another than those taken: of 32 bits two may meet, and copy a sample."""
    row_seed, attempt = seed_of(seed, key), 0
    while row_seed in taken:
        attempt += 1
        row_seed = seed_of(seed, key, attempt)
    taken.add(row_seed)
    return row_seed


def generate(
    run: Run, model: str, engine: Engine, wanted: Sequence[Request], report: Report
) -> None:
    """Make the responses that are not on the disk yet; each batch is saved at once.

    `model` is what the progress and errors say; of which models the rows are, `wanted` says.
    """
    places = dict.fromkeys((request.model, request.task) for request in wanted)
    keys = set().union(*(run.response_keys(*place) for place in places))
    finished = sum(request.key in keys for request in wanted)
    stage = f"generate {model}"
    report(stage, finished, len(wanted))
    if finished == len(wanted):
        return
    if remarks := check(engine, wanted):
        run.save(notes=[*run.manifest["notes"], *remarks])
    tokens = getattr(report, "tokens", None)
    for batch in _explained(engine, model, engine.generate(wanted, keys)):
        if tokens is not None:
            tokens(stage, sum(len(row.token_ids or ()) for row in batch))
        for place in dict.fromkeys((row.model, row.task) for row in batch):
            mine = [row for row in batch if (row.model, row.task) == place]
            rows = list({row.key: row for row in mine if row.key not in keys}.values())
            if rows:
                run.add_responses(*place, rows)
                keys.update(row.key for row in rows)
                finished += len(rows)
        report(stage, finished, len(wanted))
    if finished != len(wanted):
        raise ModelError(
            f"The engine '{engine.family}' made {finished} of {len(wanted)} responses of "
            f"'{model}'. What it made is kept; run the same command again."
        )


def _explained(
    engine: Engine, model: str, batches: Iterator[list[Response]]
) -> Iterator[list[Response]]:
    """The batches; whatever an engine fails with is one line."""
    try:
        yield from batches
    except TofuEvalError:
        raise
    except Exception as error:  # an engine may fail in any way
        raise ModelError(
            f"The engine '{engine.family}' failed on '{model}': {type(error).__name__}: {error}. "
            "What it made is kept; run the same command again, or with --debug to see where."
        ) from error


def featurize(
    groups: Sequence[Group], model: FeatureModel, cache: FeatureCache, report: Report
) -> list[Group]:
    """The groups with one more feature; texts that the cache knows are not computed again."""
    keys = [[model.key(group.prompt, text) for text in group.texts] for group in groups]
    pairs = {
        key: (group.prompt, text)
        for group, row in zip(groups, keys, strict=True)
        for key, text in zip(row, group.texts, strict=True)
    }
    left = cache.missing(pairs)
    for start in range(0, len(left), FEATURE_CHUNK):
        report(f"{model.name}s", start, len(left))
        chunk = left[start : start + FEATURE_CHUNK]
        before = model.truncated
        rows = model.compute([pairs[key] for key in chunk])
        cache.add(chunk, rows, model.truncated - before)
    report(f"{model.name}s", len(left), len(left))
    return [
        replace(group, features={**group.features, model.name: cache.rows(row)})
        for group, row in zip(groups, keys, strict=True)
    ]


def copies(texts: Mapping[str, Sequence[str]]) -> list[str]:
    """The prompts, of texts by prompt, to which several samples are all the same text."""
    return [id for id, rows in texts.items() if len(rows) > 1 and len(set(rows)) == 1]


def score_group(group: Group, metrics: Sequence[Metric]) -> list[Score]:
    """Every metric on one group; where one is undefined, null and the reason."""
    inputs = _inputs(group, {need for metric in metrics for need in metric.needs})
    scores = []
    for metric in metrics:
        value, reason = None, None
        try:
            value = float(metric(*(inputs[need] for need in metric.needs)))
            if not math.isfinite(value):
                value, reason = None, f"the metric gave {value}"
        except MetricInputError as undefined:
            reason = str(undefined)
        except Exception as error:  # a plug-in may fail in any way
            raise PluginError(
                f"The metric '{metric.name}' failed on prompt '{group.prompt.id}' of task "
                f"'{group.task}', model '{group.model}': {type(error).__name__}: {error}. "
                "Leave it out with --metric, or run with --debug to see where."
            ) from error
        place = (group.model, group.task, group.prompt.id)
        scores.append(Score(*place, metric.name, value, reason, len(group.texts)))
    return scores


def estimate(
    scores: Sequence[Score], metrics: Sequence[Metric], features: Mapping[str, str], *, seed: int
) -> list[Estimate]:
    """Mean over prompts with its 95% interval, for every model, task and metric."""
    by_name = {metric.name: metric for metric in metrics}
    values: dict[tuple[str, str, str], list[float | None]] = {}
    for row in scores:
        values.setdefault((row.model, row.task, row.metric), []).append(row.value)
    estimates = []
    for place, column in values.items():
        interval = mean_interval(column, seed=seed_of(seed, *place))
        signature = f"{by_name[place[2]].signature(features)}|tofu-eval:{__version__}"
        estimates.append(
            Estimate(
                *place,
                interval.value,
                interval.low,
                interval.high,
                interval.n,
                sum(value is None for value in column),
                interval.method,
                signature,
            )
        )
    return estimates


def _inputs(group: Group, needs: set[str]) -> dict[str, Any]:
    """What the metrics may need of a group, each made once."""
    from tofu_eval.features.text import tokens

    inputs: dict[str, Any] = {"text": group.texts, "prompt": group.prompt, **group.features}
    if "tokens" in needs:
        inputs["tokens"] = tokens(group.texts)
    return inputs
