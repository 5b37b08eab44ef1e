"""Responses: what is owed, asked of an engine and stored batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from tofu_eval.core.errors import (
    ModelError,
    TofuEvalError,
)
from tofu_eval.core.reasoning import TAGS, Tag, settle_response
from tofu_eval.core.types import (
    Report,
    Request,
    Response,
    Sampling,
    digest,
    seed_of,
)
from tofu_eval.engines.base import Engine
from tofu_eval.engines.prompt_audit import check
from tofu_eval.pipeline.plan import Plan, choices
from tofu_eval.run.store import Run
from tofu_eval.tasks import Format, render

NOT_DRAWN = Sampling(samples=1, temperature=0.0, max_tokens=1)
"""The sampling of responses that are given: it has no say."""


def requests(plan: Plan, format: Format, model: str, engine: Engine, seed: int) -> list[Request]:
    """Every response that a run wants of one model on one task.

    A row's key says what it is (task version, prompt, sample, decoder, model, kind of engine);
    its seed derives from the run's seed and the key, so it does not depend on what else is asked.
    """
    identity = digest(dict(engine.identity))
    sampling = NOT_DRAWN if plan.of_choices else plan.sampling
    wanted = []
    for prompt in plan.prompts:
        text, messages = render(prompt, format)
        asked = [
            plan.task.name,
            plan.task.version,
            prompt.id,
            text,
            None if messages is None else [asdict(message) for message in messages],
            sampling.decoder(),
            identity,
            engine.family,
        ]
        taken: set[int] = set()
        texts = choices(prompt) if plan.of_choices else [None] * plan.sampling.samples
        for sample, completion in enumerate(texts):
            scored = [] if completion is None else ["likelihood", completion]
            key = digest([*asked, sample, *scored])
            row_seed = _fresh_seed(seed, key, taken)
            wanted.append(
                Request(
                    key, row_seed, model, plan.task.name, prompt.id, sample, sampling,
                    text, messages, completion,
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
    run: Run,
    model: str,
    engine: Engine,
    wanted: Sequence[Request],
    report: Report,
    tags: Sequence[Tag] = TAGS,
) -> None:
    """Make the responses that are not on the disk yet; each batch is saved at once.

    `model` is what the progress and errors say; of which models the rows are, `wanted` says.
    Thoughts are taken out of what is generated, `tags` says how they begin and end; a completion
    that was given stays as it is.
    """
    places = dict.fromkeys((request.model, request.task) for request in wanted)
    keys = set().union(*(run.response_keys(*place) for place in places))
    finished = sum(request.key in keys for request in wanted)
    stage = f"generate {model}"
    report(stage, finished, len(wanted))
    if finished == len(wanted):
        return
    if not getattr(engine, "scores", False) and any(r.completion is not None for r in wanted):
        raise ModelError(
            f"The engine '{engine.family}' gives no log-probabilities of given texts, which "
            "'scoring: likelihood' needs. Use --engine transformers, vllm or openai."
        )
    if remarks := _looked_at(engine, wanted):
        run.save(notes=[*run.manifest["notes"], *remarks])
    given = {request.key for request in wanted if request.completion is not None}
    tokens = getattr(report, "tokens", None)
    for batch in _explained(engine, model, engine.generate(wanted, keys)):
        if tokens is not None:
            tokens(stage, sum(len(row.token_ids or ()) for row in batch))
        for place in dict.fromkeys((row.model, row.task) for row in batch):
            mine = [row for row in batch if (row.model, row.task) == place]
            rows = list({row.key: row for row in mine if row.key not in keys}.values())
            if rows:
                rows = [r if r.key in given else settle_response(r, tags=tags) for r in rows]
                run.add_responses(*place, rows)
                keys.update(row.key for row in rows)
                finished += len(rows)
        report(stage, finished, len(wanted))
    if finished != len(wanted):
        raise ModelError(
            f"The engine '{engine.family}' made {finished} of {len(wanted)} responses of "
            f"'{model}'. What it made is kept; run the same command again."
        )


def _looked_at(engine: Engine, wanted: Sequence[Request]) -> list[str]:
    """What is odd about the prompts; an engine that takes long to start does so meanwhile."""
    prepare = getattr(engine, "prepare", None)
    if prepare is None:
        return check(engine, wanted)
    prepare()
    try:
        return check(engine, wanted)
    except BaseException:
        engine.close()
        raise


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
