"""The way of the data: generate -> featurize -> score -> estimate -> leaderboard.

Each stage (`stages.py`) reads the tables of the one before and writes its own; nothing calls back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from tofu_eval import provenance
from tofu_eval.config import Settings, settings
from tofu_eval.engines import default_engine, joined, open_engine, together
from tofu_eval.engines.base import Engine
from tofu_eval.errors import ConfigError, MissingDependencyError, StoreError, UnknownNameError
from tofu_eval.estimates import estimate
from tofu_eval.features.base import FeatureModel, GroupFeature
from tofu_eval.ingest import read_responses
from tofu_eval.inputs import Feature
from tofu_eval.judges import EngineJudge
from tofu_eval.metrics import Metric, find
from tofu_eval.models import parse_model, tuned_format
from tofu_eval.reading import Groups
from tofu_eval.scoring import SCORE_CHUNK, all_metrics, score_run, signatures
from tofu_eval.stages import Plan, copies, generate, requests, score_corpus, score_groups
from tofu_eval.store import FeatureCache, Run, conflict
from tofu_eval.tasks import Format, format_of, load_format, load_task
from tofu_eval.types import (
    ESTIMATE_SCHEMA,
    REFERENCE,
    SCORE_SCHEMA,
    Group,
    ModelSpec,
    Prompt,
    Report,
    Sampling,
    Score,
    Task,
    check_name,
    digest,
    no_report,
    to_table,
)
from tofu_eval.workers import scoring_pool

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


NLI: tuple[Literal["nli", "nli_sentences"], ...] = ("nli", "nli_sentences")

OF_SCORING = (
    "metrics",
    "embedding_model",
    "reward_model",
    "reward_engine",
    "equivalence",
    "equivalence_model",
    "equivalence_threshold",
    "judge_model",
    "nli_model",
    "seed",
    "device",
    "truncate",
    "workers",
)
OF_FILES = (*OF_SCORING, "limit")
"""The fields of `config.Settings` that matter where nothing is generated."""


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
    models: Mapping[str, str | Path | ModelSpec | Engine],
    tasks: Sequence[str | Path | Task] | str | Path | Task,
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
        tasks: registered names, paths of task files, or `Task` objects; one or several.
        output: the run directory.
        report: told about progress as (stage, done, total).
        options: the fields of `config.Settings`: samples, temperature, metrics, seed, …

    Raises:
        TofuEvalError: anything wrong with the arguments, before anything is generated; a model
            or a disk that fails, with everything finished so far kept.
    """
    chosen = settings(options)
    tasks = [tasks] if isinstance(tasks, str | Path | Task) else tasks
    plans = [_plan(load_task(task), chosen) for task in tasks]
    _check_lists(models, plans, chosen)
    # Everything that can be wrong is found out before hours of generation.
    scorers = {plan.task.name: _metrics(chosen, plan.task.metrics) for plan in plans}
    features = _feature_models(chosen, all_metrics(scorers))
    engines = {name: _engine(name, model, chosen, report) for name, model in models.items()}
    formats = {
        name: _formats(name, model, engines[name].identity, plans, chosen)
        for name, model in models.items()
    }
    with Run.writing(output) as run:
        _begin(run, chosen)
        _add_tasks(run, plans)
        for name, engine in engines.items():
            _add_model(run, name, engine.identity, engine.family, formats[name])
            _add_series(run, name, models[name])
        run.save(notes=[*run.manifest["notes"], *_mixed(formats)])
        for names in together(engines):
            wanted = [
                request
                for name in names
                for plan in plans
                for request in requests(
                    plan, formats[name][plan.task.name], name, engines[name], chosen.seed
                )
            ]
            served, label = joined([engines[name] for name in names]), "+".join(names)
            with run.timed(f"generate {label}"):
                generate(run, label, served, wanted, report)
            _record(run, names, engines)
            if served is not models[names[0]]:  # the caller's own stays open
                served.close()
        score_run(run, chosen, scorers, features, report)
        return _result(run)


def check(tasks: Sequence[str | Path | Task], **options: Any) -> None:
    """Find out what `evaluate` would find wrong with tasks and options, without a model.

    Raises:
        TofuEvalError: anything wrong with them.
    """
    chosen = settings(options)
    plans = [_plan(load_task(task), chosen) for task in tasks]
    _feature_models(chosen, [m for plan in plans for m in _metrics(chosen, plan.task.metrics)])


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
    chosen = _scoring_settings(options, OF_FILES)
    scorers = {check_name("task", task): _metrics(chosen, ())}
    features = _feature_models(chosen, all_metrics(scorers))
    found = read_responses(files, task)
    prompts = tuple(found.prompts.values())
    if chosen.limit:
        prompts = prompts[: chosen.limit]
    if not all(prompt.text for prompt in prompts):
        _refuse_without_prompts(chosen, features, scorers[task])
    kept = {prompt.id for prompt in prompts}
    with Run.writing(output) as run:
        _begin(run, chosen)
        _add_prompts(run, task, prompts)
        for name, rows in found.rows.items():
            _add_model(run, check_name("model", name), found.sources[name], "file", {})
            done = run.response_keys(name, task)
            count = len(done)
            for batch in rows.batches():
                left = [row for row in batch if row.key not in done and row.prompt_id in kept]
                if left:
                    run.add_responses(name, task, left)
                    count += len(left)
            described = run.manifest["models"][name]
            # What `runs verify` counts against; no prompts and samples say it.
            described["responses"] = {**described.get("responses", {}), task: count}
        run.save(notes=[*run.manifest["notes"], *found.notes])
        score_run(run, chosen, scorers, features, report)
        return _result(run)


def score(
    groups: Iterable[Group] | Group,
    *,
    metrics: Sequence[str] | None = None,
    report: Report = no_report,
    **options: Any,
) -> Result:
    """Score groups of responses in memory; nothing is written.

    Args:
        groups: one a model, task and prompt. Features that they already have are used as they are.
        metrics: names; by default DEFAULT_METRICS.
        report: told about progress as (stage, done, total).
        options: the fields of `config.Settings` that concern scoring.

    Raises:
        TofuEvalError: an unknown metric, a feature model that cannot be had, two groups of one
            model, task and prompt, or a feature that only some groups have.
    """
    if metrics is not None:
        options["metrics"] = metrics
    chosen = _scoring_settings(options, OF_SCORING)
    groups = [groups] if isinstance(groups, Group) else list(groups)
    scorers = _metrics(chosen, ())
    given = _given(groups)
    models = _feature_models(chosen, scorers, given)
    features = {name: Feature(model, FeatureCache()) for name, model in models.items()}
    per_group = [metric for metric in scorers if metric.level == "group"]
    per_corpus = [metric for metric in scorers if metric.level == "corpus"]
    scores: list[Score] = []
    with scoring_pool(chosen.workers) as scorer:
        for start in range(0, len(groups), SCORE_CHUNK):
            chunk = groups[start : start + SCORE_CHUNK]
            rows = score_groups(
                chunk, per_group, features, truncate=chosen.truncate, report=report, score=scorer
            )
            scores += chain.from_iterable(rows)
            report("score", start + len(chunk), len(groups))
    for corpus in _corpora(groups):
        scores += score_corpus(
            corpus, per_corpus, features, truncate=chosen.truncate, report=report
        )
    table = to_table(scores, SCORE_SCHEMA)
    estimates = estimate(table, scorers, signatures(models), truncate=chosen.truncate)
    return Result(table, to_table(estimates, ESTIMATE_SCHEMA))


def _corpora(groups: Iterable[Group]) -> Iterable[list[Group]]:
    """The groups of each model and task together."""
    corpora: dict[tuple[str, str], list[Group]] = {}
    for group in groups:
        corpora.setdefault((group.model, group.task), []).append(group)
    return corpora.values()


# What a run stands on


def _scoring_settings(options: Mapping[str, Any], known: Sequence[str]) -> Settings:
    for name in options:
        if name not in known:
            raise ConfigError(
                f"The setting '{name}' has no meaning where nothing is generated. "
                f"Known here: {', '.join(known)}."
            )
    return settings(options)


def _refuse_without_prompts(
    chosen: Settings, features: Iterable[str], metrics: Iterable[Metric]
) -> None:
    """Of rows that have only ids, refuse what would be asked about an empty prompt."""
    asks = {
        "the feature 'reward'": "reward" in features,
        "the judge of equivalence": "equivalence" in features and chosen.equivalence == "judge",
        **{f"the metric '{m.name}'": "prompt" in m.needs for m in metrics},
    }
    for what, wanted in asks.items():
        if wanted:
            raise ConfigError(
                f"Rows have only ids, but {what} needs the prompts. "
                "Add the field 'prompt' to every row, or leave that out."
            )


def _given(groups: Sequence[Group]) -> set[str]:
    """The features that the groups bring; also refuses what would count a prompt twice."""
    places = Counter((group.model, group.task, group.prompt.id) for group in groups)
    for (model, task, prompt), count in places.items():
        if count > 1:
            raise ConfigError(
                f"{count} groups are of prompt '{prompt}', task '{task}' and model '{model}'; "
                "expected one. Put their texts into one group."
            )
    given = {name for group in groups for name in group.features}
    for group in groups:
        for name in given.difference(group.features):
            raise ConfigError(
                f"The group of prompt '{group.prompt.id}' lacks the feature '{name}', which other "
                "groups have. Give it to all groups or to none."
            )
    return given


def _plan(task: Task, chosen: Settings) -> Plan:
    check_name("task", task.name)
    prompts = tuple(task.load())[: chosen.limit]
    if not prompts:
        raise ConfigError(f"Task '{task.name}' has no prompts. Look: tofu-eval tasks check")
    for id, count in Counter(prompt.id for prompt in prompts).items():
        if count > 1:
            raise ConfigError(f"Task '{task.name}' has {count} prompts called '{id}'; ids differ.")
    return Plan(task, prompts, replace(task.sampling, **chosen.sampling()))


def _check_lists(models: Mapping[str, Any], plans: Sequence[Plan], chosen: Settings) -> None:
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


def _metrics(chosen: Settings, of_task: Sequence[str]) -> list[Metric]:
    names = list(chosen.metrics or of_task or DEFAULT_METRICS)
    if chosen.reward_model and "reward" not in names:
        names.append("reward")
    for name in names:
        if chosen.truncate and "[" in name:
            raise ConfigError(
                f"'{name}' cannot be computed on cut responses: how good one is, is known of the "
                "whole. Leave out --truncate, or the condition."
            )
    return [find(name) for name in dict.fromkeys(names)]


def _feature_models(
    chosen: Settings, metrics: Iterable[Metric], given: Iterable[str] = ()
) -> dict[str, FeatureModel | GroupFeature]:
    """The models behind the features that the metrics need and nobody has given.

    What another is made from stands before it.
    """
    needs = {need for metric in metrics for need in metric.needs} - set(given)
    needed = {need.removeprefix(REFERENCE) for need in needs}
    models: dict[str, FeatureModel | GroupFeature] = {}
    by_vectors = "equivalence" in needed and chosen.equivalence == "embedding"
    if "embedding" in needed or (by_vectors and "embedding" not in given):
        from tofu_eval.features.embedding import SentenceEmbedder

        models["embedding"] = SentenceEmbedder(chosen.embedding_model, device=chosen.device)
    if "reward" in needed:
        from tofu_eval.features.reward import RewardModel

        if not chosen.reward_model:
            raise ConfigError(
                "The metric 'reward' needs a reward model. Name one: --reward-model PATH_OR_ID"
            )
        if chosen.reward_engine == "vllm":
            from tofu_eval.features.vllm_reward import VllmRewardModel

            models["reward"] = VllmRewardModel(chosen.reward_model)
        else:
            models["reward"] = RewardModel(chosen.reward_model, device=chosen.device)
    for kind in NLI:
        if kind in needed:
            from tofu_eval.features.nli import Inference

            models[kind] = Inference(kind, chosen.nli_model, device=chosen.device)
    if "equivalence" in needed:
        models["equivalence"] = _equivalence(chosen, f"{REFERENCE}equivalence" in needs)
    return models


def _equivalence(chosen: Settings, references: bool) -> GroupFeature:
    from tofu_eval.features.equivalence import Equivalence

    judge = None
    if chosen.equivalence == "judge" and chosen.judge_model:
        spec = parse_model(chosen.judge_model)
        engine = _engine("judge", replace(spec, name="judge"), chosen, no_report)
        judge = EngineJudge(engine, f"{spec.model}@{digest(dict(engine.identity))[:12]}")
    return Equivalence(
        chosen.equivalence,
        model=chosen.equivalence_model,
        threshold=chosen.equivalence_threshold,
        judge=judge,
        references=references,
        device=chosen.device,
    )


def _begin(run: Run, chosen: Settings) -> None:
    """Say in run.json what is being made, before anything is."""
    before = run.manifest.get("settings")
    # Here and below: what has made no response yet can still be changed.
    if before is not None and run.has_responses():
        conflict(run.path, "run.json", {"seed": before["seed"]}, {"seed": chosen.seed})
    run.save(
        status="running",
        tool=provenance.tool(),
        versions=provenance.versions(),
        machine=provenance.machine(),
        created=run.manifest.get("created", provenance.now()),
        settings=chosen.model_dump(mode="json"),
        timings=run.manifest.get("timings", {}),
        notes=run.mend(),
    )


def _add_tasks(run: Run, plans: Sequence[Plan]) -> None:
    known = run.manifest["tasks"]
    for plan in plans:
        described = plan.described()
        fixed = plan.task.name in known and run.has_responses(task=plan.task.name)
        if fixed:
            conflict(run.path, f"task '{plan.task.name}'", known[plan.task.name], described)
        if not fixed or not run.has_prompts(plan.task.name):
            run.write_prompts(plan.task.name, plan.prompts)
    run.save(tasks={**known, **{plan.task.name: plan.described() for plan in plans}})


def _add_prompts(run: Run, task: str, prompts: Sequence[Prompt]) -> None:
    """Add the prompts of a file of responses to those of the files before."""
    known = {p.id: p for p in run.prompts(task)} if run.has_prompts(task) else {}
    for prompt in prompts:
        there = known.setdefault(prompt.id, prompt)
        both = there.references and prompt.references
        if there.text != prompt.text or (both and there.references != prompt.references):
            what = "another text" if there.text != prompt.text else "other references"
            raise StoreError(
                f"Cannot add to {run.path}: its prompt '{prompt.id}' has {what} there. "
                "Use a new --output, or ids that differ."
            )
        if prompt.references:
            known[prompt.id] = prompt
    union = tuple(known.values())
    plan = Plan(Task(task, 1, lambda: union), union, Sampling())
    run.write_prompts(task, plan.prompts)
    run.save(tasks={**run.manifest["tasks"], task: plan.described()})


def _add_model(
    run: Run,
    name: str,
    identity: Mapping[str, Any],
    family: str,
    formats: Mapping[str, Format],
) -> None:
    described = {"identity": dict(identity), "engine": family}
    used = {task: _format_name(format) for task, format in formats.items()}
    known = run.manifest["models"].get(name)
    kept = {key: known[key] for key in ("series", "seed") if known and key in known}
    if known is not None and run.has_responses(model=name):
        before = known["prompt_format"]
        have, want = ({t: names[t] for t in used if t in before} for names in (before, used))
        conflict(run.path, f"model '{name}'", {k: known[k] for k in described}, described)
        conflict(run.path, f"prompt format of model '{name}'", have, want)
        used = {**before, **used}
    models = {**run.manifest["models"], name: {**kept, **described, "prompt_format": used}}
    run.save(models=models)


def _add_series(run: Run, name: str, model: object) -> None:
    """Say in run.json of which method a model is a seed, where its caller does."""
    if isinstance(model, ModelSpec) and model.series is not None:
        known = run.manifest["models"]
        told = {"series": check_name("series", model.series), "seed": model.seed}
        run.save(models={**known, name: {**known[name], **told}})


def _record(run: Run, names: Sequence[str], engines: Mapping[str, Engine]) -> None:
    """Note in run.json what was in force: versions, decoder settings, what a server ignores."""
    models, notes = dict(run.manifest["models"]), list(run.manifest["notes"])
    for name in names:
        if record := getattr(engines[name], "record", None):
            # A call that finds nothing left to do learns nothing new.
            models[name] = {**models[name], "record": {**models[name].get("record", {}), **record}}
        notes += models[name].get("record", {}).get("remarks", ())
        for task in run.manifest["tasks"]:
            notes += _copies(run, name, task)
    templates = {
        record.get("chat_template") for m in models.values() if (record := m.get("record", {}))
    }
    if len(templates - {None}) > 1 and names[-1] == list(engines)[-1]:
        notes.append("the models' chat templates differ; look: tofu-eval audit")
    run.save(models=models, notes=notes)


def _copies(run: Run, model: str, task: str) -> list[str]:
    """A remark where all samples of a prompt are one text, which sampling seldom gives."""
    if run.manifest["tasks"][task]["sampling"].get("temperature") == 0:
        return []
    groups, found = Groups(run, model, task), []
    for _, chunk in groups.chunks(SCORE_CHUNK):
        found += copies({group.prompt.id: group.texts for group in chunk})
    if not found:
        return []
    return [
        f"{model}: all samples of {len(found)} of {len(groups)} prompts of {task} are one text "
        f"(such as '{found[0]}'): is the model that sure, or does something cache?"
    ]


def _engine(
    name: str, model: str | Path | ModelSpec | Engine, chosen: Settings, report: Report
) -> Engine:
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
        report=report,
    )


def _formats(
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


def _mixed(formats: Mapping[str, Mapping[str, Format]]) -> list[str]:
    """A remark where models are asked in different formats: that is a difference of its own."""
    names = {
        model: ", ".join(dict.fromkeys(_format_name(f) for f in of_task.values()))
        for model, of_task in formats.items()
    }
    if len(set(names.values())) < 2:
        return []
    shown = "; ".join(f"{model}: {name}" for model, name in names.items())
    return [f"Models are asked in different prompt formats ({shown}). One for all: --format sft"]


def _format_name(format: Format) -> str:
    """`base`, `sft`, `chat`; a template of the user's own with the start of its digest."""
    own = format.digest != load_format(format.name).digest
    return f"{format.name}:{format.digest[:12]}" if own else format.name


def _result(run: Run) -> Result:
    estimates = to_table(run.estimates(), ESTIMATE_SCHEMA)
    return Result(run.scores(), estimates, run.path, tuple(run.manifest["notes"]))
