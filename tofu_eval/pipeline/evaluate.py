"""The way of the data: generate -> featurize -> score -> estimate -> leaderboard.

Each stage (`generate.py`, `score.py`) reads the tables of the one before and writes its own;
nothing calls back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import pyarrow as pa
import pyarrow.compute as pc

from tofu_eval.analysis.comparison import Unread
from tofu_eval.analysis.equal_lengths import Lengths
from tofu_eval.core.errors import ConfigError, MissingDependencyError
from tofu_eval.core.names import check_name
from tofu_eval.core.options import RunOptions, ScoringOptions
from tofu_eval.core.reasoning import read_tags
from tofu_eval.core.tables import EQUAL_SCHEMA, ESTIMATE_SCHEMA, to_table
from tofu_eval.core.types import ModelSpec, Prompt, Report, Task, no_report
from tofu_eval.engines.base import Engine
from tofu_eval.engines.methods.base import PLAIN
from tofu_eval.engines.open import engine_of, group_shared, join_engines
from tofu_eval.features.open import OpenFeature, open_features
from tofu_eval.features.settings import read_scoring_settings, read_settings
from tofu_eval.importers.base import Options
from tofu_eval.importers.read import read_responses
from tofu_eval.metrics import Metric
from tofu_eval.pipeline.generate import build_requests, generate
from tofu_eval.pipeline.methods import (
    Asking,
    Question,
    build_questions,
    check_methods,
    find_methods,
    method_remarks,
    words_by_task,
)
from tofu_eval.pipeline.own_models import name_own_models
from tofu_eval.pipeline.people import (
    HUMAN,
    add_people,
    check_name_is_free,
    has_people,
    mark_people,
)
from tofu_eval.pipeline.plan import (
    check_lists,
    format_remarks,
    formats_of,
    left_out,
    metrics_of,
    plan_of,
    remark_on_published,
    uninstalled_remarks,
    verifiers_of,
)
from tofu_eval.pipeline.rescore import (
    add_scored,
    given_by_files,
    inherit_settings,
    open_given,
    restoring_on_refusal,
)
from tofu_eval.pipeline.result_text import result_html, result_text
from tofu_eval.pipeline.run_json import add_model, add_prompts, add_series, add_tasks, begin, record
from tofu_eval.pipeline.score_run import all_metrics, score_run
from tofu_eval.pipeline.temperatures import Answering, variants_of
from tofu_eval.pipeline.workload import count_work
from tofu_eval.run.store import Run
from tofu_eval.tasks import load_task

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Result:
    """Scores a prompt and estimates over prompts; tables as in `types.py`.

    `path` is the run directory, None where there is none; `notes` are remarks for the user.
    `smaller` has scores at smaller numbers of responses, for comparisons at equal ones; `metrics`
    what is known of each metric, `lengths` how long responses are, by model and task, `metadata`
    what is known of the prompts by task and id, `truncated` whether the texts were cut to equal
    length, and `unread` the texts that the embedding model has no words for.
    """

    scores: pa.Table
    estimates: pa.Table
    path: Path | None = None
    notes: tuple[str, ...] = ()
    smaller: pa.Table = field(default_factory=EQUAL_SCHEMA.empty_table)
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    lengths: Mapping[tuple[str, str], Lengths] = field(default_factory=dict)
    metadata: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)
    truncated: bool = False
    unread: Mapping[tuple[str, str], Unread] = field(default_factory=dict)

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

    def __repr__(self) -> str:
        """What it is of, and its estimates."""
        return result_text(self)

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        return result_html(self)


def evaluate(
    models: Mapping[str, str | Path | ModelSpec | Engine],
    tasks: Sequence[str | Path | Task] | str | Path | Task,
    output: Path | str,
    *,
    only: bool = False,
    report: Report = no_report,
    **options: Unpack[RunOptions],
) -> Result:
    """Generate, score, estimate and write the leaderboard, into the run directory `output`.

    Called again with the same arguments it finishes what is left; models and tasks may be added.

    Args:
        models: by name: a local directory, a Hub id (`@revision`), BASE+ADAPTER, or an engine
            object of your own.
        tasks: registered names, paths of task files, or `Task` objects; one or several.
        output: the run directory.
        only: drop the metrics that an existing run has and that are not asked for; otherwise they
            stay, and what it was scored with holds where the options say nothing.
        report: told about progress as (stage, done, total); where it has a method `announce`, that
            is told the `Workload` before anything is generated.
        options: the fields of `config.Settings`: samples, temperature, metrics, seed, … Several
            temperatures are a sweep: `sft` is then `sft-T0.7` and `sft-T1`, loaded once. Several
            methods are several models too: `sft` and `sft-again`.

    Raises:
        TofuEvalError: anything wrong with the arguments, before anything is generated; a model
            or a disk that fails, with everything finished so far kept.
    """
    chosen = read_settings(inherit_settings(output, options, only=only))
    chosen, of_own = name_own_models(chosen, models)
    tags = read_tags(chosen.reasoning_tags)
    tasks = [tasks] if isinstance(tasks, str | Path | Task) else tasks
    plans = [plan_of(load_task(task), chosen) for task in tasks]
    check_lists(models, plans, chosen)
    methods = {method.name: method for method in find_methods(chosen.methods)}
    check_methods([*methods.values()], plans)
    # Everything that can be wrong is found out before hours of generation.
    asked_metrics = {plan.task.name: metrics_of(chosen, plan.task.metrics) for plan in plans}
    scorers, remarks = add_scored(asked_metrics, output, chosen, only=only)
    features = open_features(chosen, all_metrics(scorers), verifiers=verifiers_of(plans))
    engines = {name: engine_of(name, model, chosen, report) for name, model in models.items()}
    formats = {
        name: formats_of(name, model, engines[name].identity, plans, chosen)
        for name, model in models.items()
    }
    check_name_is_free(models, people=has_people(plans, chosen.human))
    variants = variants_of(models, chosen.sweep, [*methods])
    asked = {variant.name: [variant.plan(plan) for plan in plans] for variant in variants}
    served_by = {variant.name: engines[variant.model] for variant in variants}
    with Run.writing(output) as run:
        with restoring_on_refusal(run):
            begin(run, chosen)
            add_tasks(run, plans)
            for variant in variants:
                engine = served_by[variant.name]
                own = formats[variant.model]
                add_model(
                    run,
                    variant.name,
                    engine.identity,
                    engine.family,
                    own,
                    variant,
                    chosen.system,
                    words_by_task(methods[variant.method], plans),
                )
                add_series(run, variant.name, models[variant.model], variant.method)
            folder = _folder_beside(Path(output))
            people = add_people(run, plans, chosen.human, folder=folder, tags=tags)
        unasked = [remark for plan in plans for remark in left_out(chosen, plan.task)]
        unasked += dict.fromkeys(
            r for p in plans for r in uninstalled_remarks(chosen, p.task.metrics)
        )
        told_beside = [*of_own, *people, *remark_on_published(models, chosen)]
        remarks = [*unasked, *remarks, *told_beside]
        remarks += method_remarks(variants, methods, formats, run.manifest["models"])
        run.save(notes=[*run.manifest["notes"], *format_remarks(formats), *remarks])
        announce = getattr(report, "announce", None)
        if announce is not None:
            announce(count_work(variants, plans, formats, methods, chosen, run))
        for names in group_shared(engines):
            here = [variant for variant in variants if variant.model in names]
            told: dict[str, Any] = {
                "system": chosen.system,
                "date": run.manifest["created"][:10],
                "token_logprobs": chosen.token_logprobs,
            }
            wanted, questions = [], list[Question]()
            for variant in here:
                for plan in asked[variant.name]:
                    of_row = (
                        *(plan, formats[variant.model][plan.task.name], variant.name),
                        *(served_by[variant.name], chosen.seed),
                    )
                    if variant.method == PLAIN:
                        wanted += build_requests(*of_row, **told)
                        continue
                    mine = build_questions(*of_row, methods[variant.method], **told)
                    questions += mine
                    wanted += [row for question in mine for row in question.rows]
            served, label = join_engines([engines[name] for name in names]), "+".join(names)
            with run.measure_time(f"generate {label}"):
                answering: Engine = Answering(served, here)
                if questions:
                    answering = Asking(Answering(served, here), questions, run, tags)
                generate(
                    run,
                    label,
                    answering,
                    wanted,
                    report,
                    tags=tags,
                    max_failed=chosen.max_failed,
                    skip_too_long=chosen.too_long == "skip",
                )
            if isinstance(answering, Asking) and (notes := answering.notes()):
                run.save(notes=[*run.manifest["notes"], *notes])
            record(run, [variant.name for variant in here], served_by)
            if served is not models[names[0]]:  # the caller's own stays open
                served.close()
        score_run(run, chosen, scorers, features, report)
        return result_of(run)


def score_files(
    files: Sequence[tuple[str | None, Path]],
    output: Path | str,
    *,
    task: str = "responses",
    source: Options | None = None,
    human: Path | str | None = None,
    only: bool = False,
    report: Report = no_report,
    **options: Unpack[ScoringOptions],
) -> Result:
    """Score responses that somebody already has: the same tables, without a model.

    Args:
        files: (model name or None, file or directory, "-" for standard input) in any format of
            `importers`.
        output: the run directory.
        task: the name under which the prompts stand in the tables.
        source: what the files do not say: their format, names of fields, where the prompts are.
        human: a file of people's answers to the same prompts; they are the model `human`.
        only: as for `evaluate`.
        report: told about progress as (stage, done, total).
        options: the fields of `config.Settings` that concern scoring.

    Raises:
        TofuEvalError: a malformed file, with its line; an unknown metric; a full disk.
    """
    chosen = read_scoring_settings(inherit_settings(output, options, only=only))
    by_task = {check_name("task", task): metrics_of(chosen, ())}
    scorers, remarks = add_scored(by_task, output, chosen, only=only)
    named = dict.fromkeys(name or path.stem for name, path in files)
    check_name_is_free(named, people=human is not None)
    if human is not None:
        files = [*files, (HUMAN, Path(human))]
    read = read_responses(
        files,
        task,
        spool=_folder_beside(Path(output)),
        options=source,
        tags=read_tags(chosen.reasoning_tags),
        known=_known_prompts(Path(output), task),
    )
    given = given_by_files(read.given, Path(output), task, chosen)
    features = open_features(chosen, all_metrics(scorers), given)
    features |= open_given(given, all_metrics(scorers))
    prompts = tuple(read.prompts.values())
    if chosen.limit:
        prompts = prompts[: chosen.limit]
    if any(prompt.id in read.unasked and not prompt.text for prompt in prompts):
        _refuse_without_prompts(features, scorers[task])
    kept = {prompt.id for prompt in prompts}
    with Run.writing(output) as run:
        with restoring_on_refusal(run):
            begin(run, chosen)
            add_prompts(run, task, prompts)
            for name in read.rows:
                add_model(run, check_name("model", name), read.sources[name], "file", {})
        for name, rows in read.rows.items():
            done = run.response_keys(name, task)
            count = len(done)
            for table in rows.tables():
                left = _new_rows(table, done, kept if chosen.limit else None)
                if len(left):
                    run.add_response_table(name, task, left)
                    count += len(left)
            described = run.manifest["models"][name]
            # What `runs verify` counts against; no prompts and samples say it.
            described["responses"] = {**described.get("responses", {}), task: count}
            described["given"] = {**described.get("given", {}), task: sorted(read.given[name])}
        mark_people(run, [HUMAN] if human is not None and HUMAN in read.rows else [])
        run.save(
            notes=[*run.manifest["notes"], *read.notes, *remarks, *uninstalled_remarks(chosen, ())]
        )
        score_run(run, chosen, scorers, features, report)
        return result_of(run)


# What a run stands on


def _new_rows(table: pa.Table, done: set[str], kept: set[str] | None) -> pa.Table:
    """The rows that a run lacks, of the prompts that are kept; None keeps all."""
    if done:
        keys = table.column("key").to_pylist()
        table = table.filter(pa.array([key not in done for key in keys]))
    if kept is not None:
        table = table.filter(pc.is_in(table.column("prompt_id"), pa.array(list(kept))))
    return table


def _known_prompts(output: Path, task: str) -> list[Prompt]:
    """The prompts of a task that a run has already."""
    if not (output / "run.json").exists():
        return []
    run = Run.open(output)
    return run.prompts(task) if run.has_prompts(task) else []


def _folder_beside(output: Path) -> Path:
    """The folder on whose disk the run will be: the nearest that is there."""
    return next(folder for folder in output.absolute().parents if folder.is_dir())


def _refuse_without_prompts(features: Mapping[str, OpenFeature], metrics: Iterable[Metric]) -> None:
    """Of rows that have only ids, refuse what would be asked about an empty prompt."""
    asks = {
        **{f"the feature '{name}'": one.asks_prompts for name, one in features.items()},
        **{f"the metric '{m.name}'": "prompt" in m.needs for m in metrics},
    }
    for what, wanted in asks.items():
        if wanted:
            raise ConfigError(
                f"Rows have only ids, but {what} needs the prompts. "
                "Add the field 'prompt' to every row, or leave that out."
            )


def result_of(run: Run) -> Result:
    """The tables of a run that is scored, and its remarks."""
    estimates = to_table(run.estimates(), ESTIMATE_SCHEMA)
    return Result(run.scores(), estimates, run.path, tuple(run.manifest["notes"]))
