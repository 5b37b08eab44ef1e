"""`tofu-eval audit`: what the prompts of tasks become for each model, without loading weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tofu_eval.core.config import Settings
from tofu_eval.core.errors import ConfigError
from tofu_eval.core.models import resolve
from tofu_eval.core.types import ModelSpec, Request
from tofu_eval.tasks import converse, load_format, load_task, render


@dataclass(frozen=True)
class Audit:
    """The first prompts as tokens, (model, task, prompt id, ids, tokens), and what is wrong."""

    samples: tuple[tuple[str, str, str, tuple[int, ...], tuple[str, ...]], ...]
    fatal: tuple[str, ...]
    remarks: tuple[str, ...]


def audit(
    models: Mapping[str, ModelSpec], tasks: Sequence[str], chosen: Settings, *, first: int = 2
) -> Audit:
    """Tokenize every prompt of the tasks for each model, and look at them.

    Args:
        models: by name.
        tasks: names, or paths of task files.
        chosen: the run's settings; format, sampling, limit and trust_remote_code matter here.
        first: prompts of each task that are shown.

    Raises:
        TofuEvalError: a model or a task cannot be found.
    """
    from tofu_eval.engines.prompt_audit import differing_templates, findings, samples
    from tofu_eval.engines.prompts import open_encoder

    if not models or not tasks:
        raise ConfigError("Name what to look at: --model NAME=REF --task NAME")
    given_kwargs = dict(chosen.chat_template_kwargs)
    if chosen.reasoning_effort is not None:
        given_kwargs.setdefault("reasoning_effort", chosen.reasoning_effort)
    encoders = {
        name: open_encoder(
            resolve(spec),
            name,
            trust_remote_code=chosen.trust_remote_code,
            template_kwargs=given_kwargs,
        )
        for name, spec in models.items()
    }
    remarks, shown, chats = [], [], False
    for name, encoder in encoders.items():
        given = chosen.format.get(name) if isinstance(chosen.format, dict) else chosen.format
        asked = [request for task in tasks for request in _requests(name, task, given, chosen)]
        chats = chats or any(request.messages is not None for request in asked)
        mine = findings(encoder, asked)
        remarks += mine
        if not any(finding.fatal for finding in mine):
            shown += samples(encoder, asked, first)
    if chats:
        remarks += differing_templates(encoders)
    return Audit(
        tuple((s.model, s.task, s.prompt_id, s.ids, s.tokens) for s in shown),
        tuple(str(finding) for finding in remarks if finding.fatal),
        tuple(str(finding) for finding in remarks if not finding.fatal),
    )


def _requests(model: str, name: str, format: str | None, chosen: Settings) -> list[Request]:
    task = load_task(name, chosen.data_dir)
    sampling = replace(task.sampling, **chosen.sampling())
    shape = load_format(format or task.format)
    sampling = replace(sampling, stop=(*sampling.stop, *shape.stop))
    asked = []
    for prompt in tuple(task.load())[: chosen.limit]:
        turns = converse(prompt, shape, task=task, system=chosen.system)
        text, messages = render(prompt, shape, task=task, system=chosen.system)
        asked.append(
            Request("", 0, model, task.name, prompt.id, 0, sampling, text, messages, typed=turns)
        )
    return asked
