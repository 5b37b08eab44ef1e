"""What run.json is told while a run is made, and what a second call may not change."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tofu_eval.core.config import Settings
from tofu_eval.core.errors import StoreError
from tofu_eval.core.names import check_name
from tofu_eval.core.types import ModelSpec, Prompt, Sampling, Task
from tofu_eval.engines.base import Engine
from tofu_eval.engines.methods.base import PLAIN
from tofu_eval.pipeline.plan import Plan, format_name
from tofu_eval.pipeline.score import copies
from tofu_eval.pipeline.score_run import SCORE_CHUNK
from tofu_eval.pipeline.temperatures import Variant, name_by
from tofu_eval.run import provenance
from tofu_eval.run.responses import Groups
from tofu_eval.run.store import Run, conflict
from tofu_eval.tasks import Format
from tofu_eval.tasks.base import TASKS


def begin(run: Run, chosen: Settings) -> None:
    """Say in run.json what is being made, before anything is."""
    before = run.manifest.get("settings")
    # Here and below: what has made no response yet can still be changed.
    if before is not None and run.has_responses():
        conflict(run.path, "run.json", {"seed": before["seed"]}, {"seed": chosen.seed})
    machine = provenance.machine()
    run.save(
        status="running",
        id=run.manifest.get("id", uuid.uuid4().hex[:16]),
        tool=provenance.tool(),
        versions=provenance.versions(),
        machine=machine,
        # A run may be generated on one machine and scored on another.
        machines=[*(m for m in run.manifest.get("machines", []) if m != machine), machine],
        created=run.manifest.get("created", provenance.now()),
        settings=chosen.model_dump(mode="json"),
        timings=run.manifest.get("timings", {}),
        notes=run.mend(),
    )


def add_tasks(run: Run, plans: Sequence[Plan]) -> None:
    """Write the tasks and their prompts; StoreError where responses to others are there."""
    recorded = run.manifest["tasks"]
    for plan in plans:
        check_apart("task", plan.task.name, [*recorded, *(other.task.name for other in plans)])
        described = plan.describe()
        fixed = plan.task.name in recorded and run.has_responses(task=plan.task.name)
        if fixed:
            # Where the same prompts were read does not matter, `digest` says they are the same;
            # nor how they are compared.
            have, want = (
                {k: v for k, v in told.items() if k not in ("package", "data", "cluster")}
                for told in (recorded[plan.task.name], described)
            )
            conflict(run.path, f"task '{plan.task.name}'", have, want)
        if not fixed or not run.has_prompts(plan.task.name):
            run.write_prompts(plan.task.name, plan.prompts)
    made = {plan.task.name: {**plan.describe(), "package": _package(plan)} for plan in plans}
    run.save(tasks={**recorded, **made})


def _package(plan: Plan) -> dict[str, str] | None:
    """Which package brings the task; None for a file or an object of the user's own."""
    return TASKS.package(plan.task.name, plan.task.origin)


def add_prompts(run: Run, task: str, prompts: Sequence[Prompt]) -> None:
    """Add the prompts of a file of responses to those of the files before."""
    stored = {p.id: p for p in run.prompts(task)} if run.has_prompts(task) else {}
    for prompt in prompts:
        there = stored.setdefault(prompt.id, prompt)
        both = there.references and prompt.references
        if there.text != prompt.text or (both and there.references != prompt.references):
            what = "another text" if there.text != prompt.text else "other references"
            raise StoreError(
                f"Cannot add to {run.path}: its prompt '{prompt.id}' has {what} there. "
                "Use a new --output, or ids that differ."
            )
        references = prompt.references or there.references
        stored[prompt.id] = replace(prompt, references=references)
    union = tuple(stored.values())
    plan = Plan(Task(task, 1, lambda: union), union, Sampling())
    run.write_prompts(task, plan.prompts)
    run.save(tasks={**run.manifest["tasks"], task: plan.describe()})


def add_model(
    run: Run,
    name: str,
    identity: Mapping[str, Any],
    family: str,
    formats: Mapping[str, Format],
    variant: Variant | None = None,
    system: str | None = None,
    words: Mapping[str, str] | None = None,
) -> None:
    """Write who a model is, at which temperature of a sweep, and how it is asked.

    `formats` are how, by task; `words` is what a method adds to each, by task.

    Raises:
        StoreError: responses of another are under its name.
    """
    described: dict[str, Any] = {"identity": dict(identity), "engine": family}
    if variant is not None and variant.temperature is not None:
        described |= {"series": variant.series, "temperature": variant.temperature}
    if variant is not None and variant.method != PLAIN:
        described |= {"method": variant.method, "asked_model": variant.model}
    used = {task: format_name(format, system) for task, format in formats.items()}
    used = {task: "+".join([name, *_words(words, task)]) for task, name in used.items()}
    recorded = run.manifest["models"].get(name)
    check_apart("model", name, run.manifest["models"])
    kept = {key: recorded[key] for key in ("series", "seed") if recorded and key in recorded}
    if recorded is not None and run.has_responses(model=name):
        before = recorded["prompt_format"]
        have, want = ({t: names[t] for t in used if t in before} for names in (before, used))
        conflict(run.path, f"model '{name}'", _fixed_fields(recorded), _fixed_fields(described))
        conflict(run.path, f"prompt format of model '{name}'", have, want)
        used = {**before, **used}
    models = {**run.manifest["models"], name: {**kept, **described, "prompt_format": used}}
    run.save(models=models)


def _words(words: Mapping[str, str] | None, task: str) -> list[str]:
    return [words[task]] if words and task in words else []


def check_apart(noun: str, name: str, others: Iterable[str]) -> None:
    """Refuse a name that is another's but for its case: on some disks they are one folder.

    Raises:
        StoreError: names both.
    """
    for other in others:
        if other != name and other.casefold() == name.casefold():
            raise StoreError(
                f"The {noun}s '{other}' and '{name}' of a run would be one folder on disks that do "
                "not tell capitals from small letters. Rename one of them."
            )


def add_series(run: Run, name: str, model: object, method: str = PLAIN) -> None:
    """Say in run.json of which series a model is a seed, where its caller does."""
    if isinstance(model, ModelSpec) and model.series is not None:
        known = run.manifest["models"]
        series = check_name("series", name_by(model.series, method))
        told = {"series": series, "seed": model.seed}
        run.save(models={**known, name: {**known[name], **told}})


def _fixed_fields(model: Mapping[str, Any]) -> dict[str, Any]:
    """What may not change of a model that has responses."""
    return {k: model[k] for k in ("identity", "engine", "temperature", "method") if k in model}


def record(run: Run, names: Sequence[str], engines: Mapping[str, Engine]) -> None:
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
    sampled = run.manifest["tasks"][task]["sampling"].get("temperature")
    if run.manifest["models"][model].get("temperature", sampled) == 0:
        return []
    if run.manifest["tasks"][task].get("scoring") == "likelihood":
        return []
    groups, copied = Groups(run, model, task), []
    for _, chunk in groups.chunks(SCORE_CHUNK):
        copied += copies({group.prompt.id: group.texts for group in chunk})
    if not copied:
        return []
    return [
        f"{model}: all samples of {len(copied)} of {len(groups)} prompts of {task} are one text "
        f"(the prompt '{copied[0]}', for one): is the model that sure, or does something cache?"
    ]
