"""Responses: what is owed, asked of an engine and stored batch by batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any, get_args

from tofu_eval.core.errors import (
    ModelError,
    TofuEvalError,
)
from tofu_eval.core.memory import forget_frames, is_out_of_memory, say_shortage
from tofu_eval.core.reasoning import TAGS, Tag, settle_response
from tofu_eval.core.states import State
from tofu_eval.core.termination import finishing, leave_if_asked
from tofu_eval.core.types import (
    Report,
    Request,
    Response,
    Sampling,
    digest,
    seed_of,
)
from tofu_eval.engines.base import PASSING, SCORED, UNREAD, Engine, fail, may_pass
from tofu_eval.engines.prompt_audit import check
from tofu_eval.pipeline.generation_notes import add_notes, describe_failure
from tofu_eval.pipeline.plan import Plan, choices
from tofu_eval.run.store import Run
from tofu_eval.tasks import Format, converse, render

TOGETHER = 512
"""Responses that are saved together at most, where an engine gives them in smaller lists."""

WAITING_SHARE = 64
"""One in so many of the finished responses may wait to be saved: what a kill can cost."""

NOT_DRAWN = Sampling(samples=1, temperature=0.0, max_tokens=1)
"""The sampling of responses that are given: it has no say."""


def build_requests(
    plan: Plan,
    format: Format,
    model: str,
    engine: Engine,
    seed: int,
    *,
    system: str | None = None,
    date: str = "",
    token_logprobs: bool = False,
) -> list[Request]:
    """Every response that a run wants of one model on one task.

    A row's key says what it is (task version, prompt, sample, decoder, model, kind of engine);
    its seed derives from the run's seed and the key, so it does not depend on what else is asked.

    Args:
        plan: the task as the run asks it.
        format: how its prompts are put to the model.
        model: its name in the run.
        engine: what will answer.
        seed: the run's.
        system: what the run tells the model before each prompt.
        date: of the run's beginning (ISO), for chat templates that read the clock.
        token_logprobs: whether the log-probability of each token is kept.
    """
    identity = digest(dict(engine.identity))
    sampling = NOT_DRAWN if plan.of_choices else plan.sampling
    if format.stop and not plan.of_choices:
        sampling = replace(sampling, stop=(*sampling.stop, *format.stop))
    wanted = []
    for prompt in plan.prompts:
        turns = converse(prompt, format, task=plan.task, system=system)
        text, messages = render(prompt, format, task=plan.task, system=system)
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
            row_seed = fresh_seed(seed, key, taken)
            wanted.append(
                Request(
                    key, row_seed, model, plan.task.name, prompt.id, sample, sampling,
                    text, messages, completion, turns, date, token_logprobs,
                )
            )  # fmt: skip
    return wanted


def fresh_seed(seed: int, key: str, taken: set[int]) -> int:
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
    *,
    tags: Sequence[Tag] = TAGS,
    max_failed: float = 0.05,
    skip_too_long: bool = False,
) -> None:
    """Make the responses that are not on the disk yet; each batch is saved at once.

    `model` is what the progress and errors say; of which models the rows are, `wanted` says. What
    failed for a reason that may pass is saved last, in a part of its own, and asked for again by
    the next call.

    Args:
        run: where the responses go.
        model: what the progress and errors say; of which models the rows are, `wanted` says.
        engine: what answers.
        wanted: all that the run wants of these models.
        report: told about progress.
        tags: how the thoughts begin and end that are taken out of what is generated.
        max_failed: the share of the wanted responses that may fail; filtered ones do not count.
        skip_too_long: whether a prompt that leaves no room for its response fails by itself.

    Raises:
        ModelError: a model cannot be used, or more responses fail than may.
    """
    places = dict.fromkeys((request.model, request.task) for request in wanted)
    for place in places:
        run.drop_responses(*place, "finish_reason", PASSING)
    keys = set().union(*(run.response_keys(*place) for place in places))
    stage = f"generate {model}"
    count = _Count(model, len(wanted), max_failed, sum(r.key in keys for r in wanted))
    count.unread = sum(run.count_beginning(*place, "finish_reason", UNREAD) for place in places)
    failed = sum(run.count_responses(*place, "state", "failed") for place in places)
    count.failed = failed - count.unread
    report(stage, count.finished, len(wanted))
    if count.finished == len(wanted):
        add_notes(run, model, wanted)
        return
    if not getattr(engine, "scores", False) and any(r.completion is not None for r in wanted):
        raise ModelError(
            f"The engine '{engine.family}' gives no log-probabilities of given texts, which "
            "'scoring: likelihood' needs. Use --engine transformers, vllm or openai."
        )
    asked, too_long = _part_too_long(engine, wanted) if skip_too_long else (wanted, [])
    count.add([row for row in too_long if row.key not in keys])
    remarks = [*_too_long_remarks(model, too_long), *_check_prompts(engine, asked)]
    # Kept beside the notes, which each call makes anew, for calls that find nothing left to ask.
    run.save(prompt_remarks={**run.manifest.get("prompt_remarks", {}), model: remarks})
    opened = _find_opened(engine, asked) if tags else set()
    tokens = getattr(report, "tokens", None)
    passing: list[Response] = []
    batches = _explain_failures(engine, model, engine.generate(asked, keys)) if asked else iter(())
    with finishing(), _Saving(run).to_the_end() as saving:
        for batch in chain([too_long] if too_long else [], batches):
            if tokens is not None:
                tokens(stage, sum(len(row.token_ids or ()) for row in batch))
            rows = [
                row
                if row.finish_reason == SCORED
                else settle_response(row, tags=tags, opened=row.key in opened)
                for row in batch
            ]
            rows = list({row.key: row for row in rows if row.key not in keys}.values())
            if batch is not too_long:
                count.add(rows)
            passing += [row for row in rows if may_pass(row)]
            keys.update(row.key for row in rows)
            saving.add([row for row in rows if not may_pass(row)], of=count.finished)
            report(stage, count.finished, len(wanted))
            leave_if_asked()
        saving.save()
        saving.add(passing)
    add_notes(run, model, wanted)
    if count.finished != len(wanted):
        raise ModelError(
            f"The engine '{engine.family}' made {count.finished} of {len(wanted)} responses of "
            f"'{model}'. What it made is kept; run the same command again."
        )


@dataclass
class _Count:
    """How many responses there are, and how many failed, of how many that are wanted.

    A filtered response is none that failed: it is what the model's service says to the prompt, it
    would say it again, and `filtered_rate` measures it. What comparisons make of many of them,
    their warnings say.
    """

    model: str
    wanted: int
    max_failed: float
    finished: int
    failed: int = 0
    unread: int = 0
    reason: str = ""

    def add(self, rows: Sequence[Response]) -> None:
        """Count more responses.

        Raises:
            ModelError: more have failed than may.
        """
        self.finished += len(rows)
        failed = [row for row in rows if row.state == "failed"]
        read = [row for row in failed if not (row.finish_reason or "").startswith(UNREAD)]
        self.unread += len(failed) - len(read)
        failed = read
        self.failed += len(failed)
        if failed and not self.reason:
            self.reason = describe_failure(
                failed[0].prompt_id, failed[0].task, failed[0].finish_reason
            )
        if self.failed > self.max_failed * self.wanted:
            raise ModelError(
                f"{self.failed} of {self.wanted} responses of '{self.model}' failed, more than "
                f"--max-failed {self.max_failed:g} allows; the first: {self.reason}. What is "
                "finished is kept; run the same command again, or with a larger --max-failed."
            )


class _Saving:
    """Saves responses at once while they are few, and later as many together as keeps parts few.

    An engine may give its responses one by one, and a part file a row would be a million files.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._waiting: list[Response] = []

    def add(self, rows: Sequence[Response], *, of: int = 0) -> None:
        """Save these, or let them wait for others; `of` are finished in all."""
        self._waiting += rows
        if len(self._waiting) >= min(TOGETHER, of // WAITING_SHARE):
            self.save()

    def save(self) -> None:
        """Save what waits."""
        rows, self._waiting = self._waiting, []
        for place in dict.fromkeys((row.model, row.task) for row in rows):
            mine = [row for row in rows if (row.model, row.task) == place]
            self._run.add_responses(*place, mine)

    @contextmanager
    def to_the_end(self) -> Iterator[_Saving]:
        """Whatever ends the block, nothing waits after it."""
        try:
            yield self
        finally:
            self.save()


def _part_too_long(
    engine: Engine, wanted: Sequence[Request]
) -> tuple[list[Request], list[Response]]:
    """The requests whose prompts leave room for a response, and the responses to the others."""
    reasons: dict[object, str | None] = {}
    asked: list[Request] = []
    failed: list[Response] = []
    for request in wanted:
        encoder = encoder_of(engine, request.model)
        prompt = (request.model, request.text, request.messages, request.sampling.max_tokens)
        if prompt not in reasons:
            reasons[prompt] = None if encoder is None else find_too_long(encoder, request)
        reason = reasons[prompt]
        if reason is None:
            asked.append(request)
        else:
            failed.append(fail(request, reason))
    return asked, failed


def encoder_of(engine: Any, model: str) -> Any:
    """What tokenizes for a model of the run; None where the engine does not."""
    find = getattr(engine, "encoder_of", None)
    return getattr(engine, "encoders", {}).get(model) if find is None else find(model)


def find_too_long(encoder: Any, request: Request) -> str | None:
    """Why a prompt leaves no room for its response; None where it does."""
    from tofu_eval.engines.prompts import PromptTooLong

    try:
        encoder.encode(request)
    except PromptTooLong as error:
        return str(error).partition(". Use ")[0]
    except ModelError:
        return None  # the audit says what is wrong
    return None


def _too_long_remarks(model: str, failed: Sequence[Response]) -> list[str]:
    prompts = dict.fromkeys((row.task, row.prompt_id) for row in failed)
    return [f"{model}: {len(prompts)} prompts are too long and were left out"] if prompts else []


def _find_opened(engine: Engine, wanted: Sequence[Request]) -> set[str]:
    """The keys of the requests whose prompts end within a thought that the template has opened."""
    looked = LookedAt(engine)
    return {request.key for request in wanted if looked.opens_thought(request)}


@dataclass
class LookedAt:
    """What an engine's encoders say of prompts; each prompt is looked at once."""

    engine: Engine

    def __post_init__(self) -> None:
        self._known: dict[object, bool] = {}
        self._encoders: dict[str, Any] = {}

    def encoder_of(self, model: str) -> Any:
        """What tokenizes for a model; an engine may read it from files each time it is asked."""
        if model not in self._encoders:
            self._encoders[model] = encoder_of(self.engine, model)
        return self._encoders[model]

    def opens_thought(self, request: Request) -> bool:
        """Whether the prompt ends within a thought that the template has opened."""
        prompt = (request.model, request.text, request.messages)
        if prompt not in self._known:
            encoder = self.encoder_of(request.model)
            self._known[prompt] = encoder is not None and encoder.opens_thought(request)
        return self._known[prompt]


def _check_prompts(engine: Engine, wanted: Sequence[Request]) -> list[str]:
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


def _check_batch(engine: Engine, model: str, batch: Sequence[Response]) -> None:
    """Refuse what no table of ours can hold before it is written."""
    for row in batch:
        where = f"prompt '{row.prompt_id}' of task '{row.task}'"
        if row.logprob is not None and not math.isfinite(row.logprob):
            raise ModelError(
                f"'{model}' is broken: the log-probability of a response to {where} is "
                f"{row.logprob}. Check its weights, or use --dtype float32."
            )
        if row.state not in get_args(State):
            raise ModelError(
                f"The engine '{engine.family}' gave a response to {where} in the state "
                f"{row.state!r}; expected one of {', '.join(get_args(State))}. Mend the engine."
            )


def _explain_failures(
    engine: Engine, model: str, batches: Iterator[list[Response]]
) -> Iterator[list[Response]]:
    """The batches; whatever an engine fails with is one line."""
    try:
        for batch in batches:
            _check_batch(engine, model, batch)
            yield batch
    except TofuEvalError:
        raise
    except Exception as error:  # an engine may fail in any way
        if is_out_of_memory(error):
            forget_frames(error)
            raise ModelError(
                f"Not enough memory to ask '{model}': {say_shortage(error)}. What is finished is "
                "kept; run the same command again with more memory or a smaller --batch-size."
            ) from error
        raise ModelError(
            f"The engine '{engine.family}' failed on '{model}': {type(error).__name__}: {error}. "
            "What it made is kept; run the same command again, or with --debug to see where."
        ) from error
