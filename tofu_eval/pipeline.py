"""The way of the data: generate -> featurize -> score -> estimate -> leaderboard.

Each stage (`stages.py`) reads the tables of the one before and writes its own; nothing calls back.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tofu_eval import provenance
from tofu_eval.config import Settings, settings
from tofu_eval.engines import open_engine, parse_model
from tofu_eval.engines.base import Engine
from tofu_eval.errors import ConfigError, MissingDependencyError
from tofu_eval.features.base import FeatureModel
from tofu_eval.ingest import read_responses
from tofu_eval.leaderboard import build_leaderboard, write_leaderboard
from tofu_eval.metrics import METRICS, Metric
from tofu_eval.stages import Plan, estimate, featurize, generate, requests, score_group
from tofu_eval.store import FeatureCache, Run, conflict
from tofu_eval.tasks import Format, load_format, load_task
from tofu_eval.types import (
    ESTIMATE_SCHEMA,
    SCORE_SCHEMA,
    Group,
    ModelSpec,
    Report,
    Sampling,
    Score,
    Task,
    check_name,
    digest,
    no_report,
    to_table,
)

if TYPE_CHECKING:
    import pandas as pd

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


@dataclass(frozen=True)
class Result:
    """Scores a prompt and estimates over prompts; tables as in `types.py`.

    `path` is the run directory, None where there is none; `notes` are remarks for the user.
    """

    scores: pa.Table
    estimates: pa.Table
    path: Path | None = None
    notes: tuple[str, ...] = ()

    def to_arrow(self) -> pa.Table:
        """The estimates, a row per model, task and metric."""
        return self.estimates

    def to_pandas(self) -> pd.DataFrame:
        """The estimates as a pandas frame.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        try:
            frame: pd.DataFrame = self.estimates.to_pandas()
        except ModuleNotFoundError as error:
            raise MissingDependencyError.of("to_pandas", "pandas", "pandas") from error
        return frame


def evaluate(
    models: Mapping[str, str | ModelSpec | Engine],
    tasks: Sequence[str | Path | Task],
    output: Path | str,
    *,
    report: Report = no_report,
    **options: Any,
) -> Result:
    """Generate, score, estimate and write the leaderboard, into the run directory `output`.

    Called again with the same arguments it finishes what is left; models and tasks may be added.

    Args:
        models: by name: a local directory, a Hub id (`@revision`), BASE+ADAPTER, or an engine
            object of your own.
        tasks: registered names, paths of task files, or `Task` objects.
        output: the run directory.
        report: told about progress as (stage, done, total).
        options: the fields of `config.Settings`: samples, temperature, metrics, seed, …

    Raises:
        TofuEvalError: anything wrong with the arguments, before anything is generated; a model
            or a disk that fails, with everything finished so far kept.
    """
    chosen = settings(options)
    plans = [_plan(load_task(task), chosen) for task in tasks]
    _check_lists(models, plans)
    # Everything that can be wrong is found out before hours of generation.
    scorers = {plan.task.name: _metrics(chosen, plan.task.metrics) for plan in plans}
    features = _feature_models(chosen, _all(scorers))
    with Run.writing(output) as run:
        _begin(run, chosen)
        _add_tasks(run, plans)
        for name, model in models.items():
            _generate_model(run, name, model, plans, chosen, report)
        return _score_run(run, chosen, scorers, features, report)


def score_files(
    files: Sequence[tuple[str | None, Path]],
    output: Path | str,
    *,
    task: str = "responses",
    report: Report = no_report,
    **options: Any,
) -> Result:
    """Score responses that somebody already has: the same tables, without a model.

    Args:
        files: (model name or None, JSONL or Parquet path); see `ingest`.
        output: the run directory.
        task: the name under which the prompts stand in the tables.
        report: told about progress as (stage, done, total).
        options: the fields of `config.Settings` that concern scoring.

    Raises:
        TofuEvalError: a malformed file, with its line; an unknown metric; a full disk.
    """
    chosen = settings(options)
    scorers = {check_name("task", task): _metrics(chosen, ())}
    features = _feature_models(chosen, _all(scorers))
    found = read_responses(files, task)
    prompts = tuple(found.prompts.values())
    if chosen.limit:
        prompts = prompts[: chosen.limit]
    if "reward" in features and not all(prompt.text for prompt in prompts):
        raise ConfigError(
            "The metric 'reward' needs the prompts, but the rows have only ids. "
            "Add the field 'prompt', or leave out --reward-model."
        )
    plan = Plan(Task(task, 1, lambda: prompts), prompts, Sampling())
    kept = {prompt.id for prompt in prompts}
    with Run.writing(output) as run:
        _begin(run, chosen)
        _add_tasks(run, [plan])
        for name, rows in found.rows.items():
            _add_model(run, check_name("model", name), found.sources[name], "file", None)
            done = run.response_keys(name, task)
            left = [row for row in rows if row.key not in done and row.prompt_id in kept]
            if left:
                run.add_responses(name, task, left)
        run.save(notes=found.notes)
        return _score_run(run, chosen, scorers, features, report)


def score(
    groups: Iterable[Group],
    *,
    metrics: Sequence[str] | None = None,
    report: Report = no_report,
    **options: Any,
) -> Result:
    """Score groups of responses in memory; nothing is written.

    Args:
        groups: one a model and prompt. Features that a group already has are used as they are.
        metrics: names; by default DEFAULT_METRICS.
        report: told about progress as (stage, done, total).
        options: the fields of `config.Settings` that concern scoring.

    Raises:
        TofuEvalError: an unknown metric, or a feature model that cannot be had.
    """
    chosen = settings({**options, **({} if metrics is None else {"metrics": tuple(metrics)})})
    groups = list(groups)
    scorers = _metrics(chosen, ())
    given = set.intersection(*(set(group.features) for group in groups)) if groups else set()
    models = _feature_models(chosen, scorers, given)
    for model in models.values():
        groups = featurize(groups, model, FeatureCache(), report)
    scores = []
    for done, group in enumerate(groups, start=1):
        scores += score_group(group, scorers)
        report("score", done, len(groups))
    estimates = estimate(scores, scorers, _signatures(models), seed=chosen.seed)
    return Result(to_table(scores, SCORE_SCHEMA), to_table(estimates, ESTIMATE_SCHEMA))


# What a run stands on


def _plan(task: Task, chosen: Settings) -> Plan:
    check_name("task", task.name)
    prompts = tuple(task.load())[: chosen.limit]
    if not prompts:
        raise ConfigError(f"Task '{task.name}' has no prompts. Look: tofu-eval tasks check")
    return Plan(task, prompts, replace(task.sampling, **chosen.sampling()))


def _check_lists(models: Mapping[str, Any], plans: Sequence[Plan]) -> None:
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


def _metrics(chosen: Settings, of_task: Sequence[str]) -> list[Metric]:
    names = list(chosen.metrics or of_task or DEFAULT_METRICS)
    if chosen.reward_model and "reward" not in names:
        names.append("reward")
    return [METRICS.get(name) for name in dict.fromkeys(names)]


def _all(scorers: Mapping[str, Sequence[Metric]]) -> list[Metric]:
    """The metrics of all tasks, each once."""
    return list({m.name: m for metrics in scorers.values() for m in metrics}.values())


def _feature_models(
    chosen: Settings, metrics: Iterable[Metric], given: Iterable[str] = ()
) -> dict[str, FeatureModel]:
    """The models behind the features that the metrics need and nobody has given."""
    needed = {need for metric in metrics for need in metric.needs} - set(given)
    models: dict[str, FeatureModel] = {}
    if "embedding" in needed:
        from tofu_eval.features.embedding import SentenceEmbedder

        models["embedding"] = SentenceEmbedder(chosen.embedding_model, device=chosen.device)
    if "reward" in needed:
        from tofu_eval.features.reward import RewardModel

        if not chosen.reward_model:
            raise ConfigError(
                "The metric 'reward' needs a reward model. Name one: --reward-model PATH_OR_ID"
            )
        models["reward"] = RewardModel(chosen.reward_model, device=chosen.device)
    return models


def _signatures(features: Mapping[str, FeatureModel]) -> dict[str, str]:
    return {name: model.signature for name, model in features.items()}


def _begin(run: Run, chosen: Settings) -> None:
    """Say in run.json what is being made, before anything is."""
    before = run.manifest.get("settings")
    if before is not None:
        conflict(run.path, "run.json", {"seed": before["seed"]}, {"seed": chosen.seed})
    run.save(
        status="running",
        tool=provenance.tool(),
        versions=provenance.versions(),
        machine=provenance.machine(),
        created=run.manifest.get("created", _now()),
        settings=chosen.model_dump(mode="json"),
        timings=run.manifest.get("timings", {}),
        notes=[],
    )


def _add_tasks(run: Run, plans: Sequence[Plan]) -> None:
    known = run.manifest["tasks"]
    for plan in plans:
        described = plan.described()
        if plan.task.name in known:
            conflict(run.path, f"task '{plan.task.name}'", known[plan.task.name], described)
        else:
            run.write_prompts(plan.task.name, plan.prompts)
    run.save(tasks={**known, **{plan.task.name: plan.described() for plan in plans}})


def _add_model(
    run: Run, name: str, identity: Mapping[str, Any], family: str, format: str | None
) -> None:
    described = {"identity": dict(identity), "engine": family, "prompt_format": format}
    known = run.manifest["models"]
    if name in known:
        conflict(run.path, f"model '{name}'", known[name], described)
    run.save(models={**known, name: described})


def _generate_model(
    run: Run,
    name: str,
    model: str | ModelSpec | Engine,
    plans: Sequence[Plan],
    chosen: Settings,
    report: Report,
) -> None:
    if isinstance(model, str | ModelSpec):
        spec = parse_model(f"{name}={model}") if isinstance(model, str) else model
        engine = open_engine(
            chosen.engine,
            spec,
            batch_size=chosen.batch_size,
            device=chosen.device,
            dtype=chosen.dtype,
            trust_remote_code=chosen.trust_remote_code,
        )
    else:
        engine = model
    given = chosen.format.get(name) if isinstance(chosen.format, dict) else chosen.format
    formats = {plan.task.name: load_format(given or plan.task.format) for plan in plans}
    used = "+".join(sorted({_format_name(format) for format in formats.values()}))
    _add_model(run, name, engine.identity, engine.family, used)
    identity = digest(dict(engine.identity))
    wanted = [
        request
        for plan in plans
        for request in requests(
            plan, formats[plan.task.name], name, identity, engine.family, chosen.seed
        )
    ]
    try:
        with _timed(run, f"generate {name}"):
            generate(run, name, engine, wanted, report)
    finally:
        if engine is not model:
            engine.close()


def _format_name(format: Format) -> str:
    """`base`, `sft`, `chat`; a template of the user's own with the start of its digest."""
    own = format.digest != load_format(format.name).digest
    return f"{format.name}:{format.digest[:12]}" if own else format.name


def _score_run(
    run: Run,
    chosen: Settings,
    scorers: Mapping[str, Sequence[Metric]],
    features: Mapping[str, FeatureModel],
    report: Report,
) -> Result:
    """Featurize, score and estimate every model on these tasks; write the leaderboard.

    What the run holds of other tasks stays as it is.
    """
    groups = {
        (model, task): list(_groups(run, model, task))
        for model in run.manifest["models"]
        for task in scorers
    }
    made_by = dict(run.manifest.get("features", {}))
    for name, feature in features.items():
        with _timed(run, f"{name}s"):
            made_by[name] = _featurize_run(run, groups, scorers, feature, report)
    scores: list[Score] = []
    done, total = 0, sum(map(len, groups.values()))
    with _timed(run, "score"):
        for (model, task), members in groups.items():
            rows = []
            for group in members:
                rows += score_group(group, scorers[task])
                done += 1
                report("score", done, total)
            run.write_scores(model, task, rows)
            scores += rows
    with _timed(run, "estimate"):
        kept = [row for row in run.estimates() if row.task not in scorers]
        made = estimate(scores, _all(scorers), _signatures(features), seed=chosen.seed)
        run.write_estimates([*kept, *made])
    run.save(status="complete", features=made_by, finished=_now())
    names = dict.fromkeys(row.metric for row in [*kept, *made])
    estimates = to_table([*kept, *made], ESTIMATE_SCHEMA)
    board = build_leaderboard(estimates, run.manifest, [METRICS.get(name) for name in names])
    write_leaderboard(run.path / "leaderboard.json", board)
    return Result(run.scores(), estimates, run.path, tuple(run.manifest["notes"]))


def _featurize_run(
    run: Run,
    groups: dict[tuple[str, str], list[Group]],
    scorers: Mapping[str, Sequence[Metric]],
    feature: FeatureModel,
    report: Report,
) -> dict[str, Any]:
    """Give the groups that need it one more feature; returns its part of run.json."""
    cache = run.features(feature.name, digest(dict(feature.identity)))
    places = [
        (model, task)
        for model, task in groups
        if any(feature.name in metric.needs for metric in scorers[task])
    ]
    # All at once, so that a text which several models gave is computed once.
    made = iter(featurize([g for p in places for g in groups[p]], feature, cache, report))
    for place in places:
        groups[place] = [next(made) for _ in groups[place]]
    return {"identity": dict(feature.identity), "truncated": cache.truncated}


def _groups(run: Run, model: str, task: str) -> Iterator[Group]:
    prompts = {prompt.id: prompt for prompt in run.prompts(task)}
    texts: dict[str, list[str]] = {}
    table = run.responses(model, task)
    for id, text in zip(
        table.column("prompt_id").to_pylist(), table.column("text").to_pylist(), strict=True
    ):
        texts.setdefault(id, []).append(text)
    for id, members in texts.items():
        yield Group(prompts[id], tuple(members), model, task)


@contextmanager
def _timed(run: Run, stage: str) -> Iterator[None]:
    """Add the seconds that a stage took to run.json, over all the times that it was resumed."""
    start = time.perf_counter()
    try:
        yield
    finally:
        timings = dict(run.manifest["timings"])
        timings[stage] = timings.get(stage, 0.0) + time.perf_counter() - start
        run.manifest["timings"] = timings


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
