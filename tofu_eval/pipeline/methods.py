"""Asking by a decoding method: which questions there are, and which responses their answers are.

A method's rows are ordinary rows: as many a prompt as plain sampling has, each with a key and a
seed. What it asks may depend on what the model answered before, so an engine is asked in rounds;
each is cut from all that the run wants of it, so that a resumed run equals an undisturbed one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from tofu_eval.core.errors import ConfigError
from tofu_eval.core.reasoning import Tag, settle_response
from tofu_eval.core.states import has_text
from tofu_eval.core.types import Message, Prompt, Request, Response, digest
from tofu_eval.engines.base import UNREAD, Engine, fail, truncate_at_stop
from tofu_eval.engines.methods.base import METHODS, PLAIN, Ask, Form, Method
from tofu_eval.pipeline.generate import (
    LookedAt,
    find_too_long,
    fresh_seed,
)
from tofu_eval.pipeline.plan import Plan
from tofu_eval.pipeline.temperatures import Answering, Variant, name_at
from tofu_eval.run.store import Run
from tofu_eval.tasks import Format, converse, render_turns

Place = tuple[str, str, str]
"""Model, task and prompt."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question to the model: the rows that its answer becomes, and how it is put.

    `put` makes the request, given the responses so far. All rows but the first borrow its words.
    `cut` are texts before which an answer is cut off.
    """

    method: Method
    rows: tuple[Request, ...]
    put: Callable[[tuple[str, ...]], Request]
    cut: tuple[str, ...] = ()

    @property
    def round(self) -> int:
        """When it can be asked: after so many rounds."""
        return self.rows[0].sample if self.method.sequential else 0

    @property
    def place(self) -> Place:
        """Whose responses, to what."""
        return self.rows[0].model, self.rows[0].task, self.rows[0].prompt_id


def find_methods(names: Sequence[str]) -> tuple[Method, ...]:
    """The methods by name.

    Raises:
        UnknownNameError: there is none of a name.
        ConfigError: no name, or one twice.
    """
    if not names:
        raise ConfigError("methods is an empty list. Give at least one: plain.")
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"The method '{name}' is asked for twice. Name it once.")
    return tuple(METHODS.get(name) for name in names)


def check_methods(methods: Sequence[Method], plans: Sequence[Plan]) -> None:
    """Refuse what a method cannot do with a task, before anything is generated.

    Raises:
        ConfigError: nothing is drawn there, or a prompt lacks what the method needs.
    """
    for method in methods:
        for plan in plans:
            if method.name != PLAIN and plan.of_choices:
                raise ConfigError(
                    f"The task '{plan.task.name}' scores the choices that it gives; nothing is "
                    f"drawn that --method {method.name} could change. Leave one of them out."
                )
            lacks = filter(None, map(method.needs or (lambda _: ""), plan.prompts))
            if lack := next(lacks, None):
                raise ConfigError(
                    f"--method {method.name} cannot be used on the task '{plan.task.name}': {lack},"
                    " or leave the method out."
                )


def form_of(format: Format) -> Form:
    """How prompts reach a model in a format."""
    if format.name == "chat":
        return "chat"
    return "text" if format.template is None else "instruct"


def words_by_task(method: Method, plans: Sequence[Plan]) -> dict[str, str]:
    """What stands in run.json of how a method puts each task: other words are another run."""
    if method.name == PLAIN:
        return {}
    words = {}
    for plan in plans:
        told = dict(method.identity)
        if method.needs is not None:
            told["paraphrases"] = [prompt.paraphrases for prompt in plan.prompts]
        words[plan.task.name] = f"{method.name}:{digest(told)[:12]}"
    return words


def method_remarks(
    variants: Sequence[Variant],
    methods: Mapping[str, Method],
    formats: Mapping[str, Mapping[str, Format]],
    known: Mapping[str, object],
) -> list[str]:
    """Remarks: instructions to what is asked in bare text, and methods with nothing beside them."""
    remarks, bare, alone = [], dict[str, list[str]](), list[str]()
    for variant in variants:
        forms = {form_of(format) for format in formats[variant.model].values()}
        if methods[variant.method].instructs and "text" in forms:
            bare.setdefault(variant.method, []).append(variant.name)
        if variant.method != PLAIN and name_of_plain(variant) not in known:
            alone.append(variant.name)
    for name, models in bare.items():
        remarks.append(
            f"{', '.join(models)}: the format base has no turns, so what the method '{name}' says "
            "stands in the text; a base model may not heed it"
        )
    if alone:
        remarks.append(
            f"{', '.join(alone)}: the run has no plain responses to put beside; add them: "
            "--method plain"
        )
    return remarks


def name_of_plain(variant: Variant) -> str:
    """What the same model is called that is asked plainly, at the same temperature."""
    if variant.temperature is None:
        return variant.model
    return name_at(variant.model, variant.temperature)


def build_questions(
    plan: Plan,
    format: Format,
    model: str,
    engine: Engine,
    seed: int,
    method: Method,
    *,
    system: str | None = None,
    date: str = "",
    token_logprobs: bool = False,
) -> list[Question]:
    """Every question that a run wants put to one model on one task by a method.

    Args: as `generate.build_requests`; of `method`, its version is a part of each row's key.
    """
    sampling, size = plan.sampling, method.at_once
    questions = []
    for prompt in plan.prompts:
        taken: set[int] = set()
        about = _About(plan, format, model, method, prompt, system, date, token_logprobs)
        for first in range(0, sampling.samples, size):
            count = min(size, sampling.samples - first)
            asked = about.put(first, count, ())
            of_row = [
                *(plan.task.name, plan.task.version, prompt.id, asked.text),
                [asdict(turn) for turn in asked.messages or ()],
                asked.sampling.decoder(),
                digest(dict(engine.identity)),
                engine.family,
                method.identity,
            ]
            keys = [digest([*of_row, sample]) for sample in range(first, first + count)]
            row_seed = fresh_seed(seed, keys[0], taken)
            rows = tuple(
                replace(asked, key=key, seed=row_seed, sample=first + i)
                for i, key in enumerate(keys)
            )
            put = partial(about.put_row, rows[0], first, count)
            questions.append(Question(method, rows, put, about.cuts()))
    return questions


@dataclass(frozen=True, slots=True)
class _About:
    """What a question is about, but for the sample."""

    plan: Plan
    format: Format
    model: str
    method: Method
    prompt: Prompt
    system: str | None
    date: str
    token_logprobs: bool

    def ask(self, sample: int, count: int, earlier: tuple[str, ...]) -> Ask:
        """What the method is given."""
        task, system = self.plan.task, self.system

        def turns_of(prompt: Prompt) -> tuple[Message, ...]:
            return converse(prompt, self.format, task=task, system=system)

        form = form_of(self.format)
        turns = turns_of(self.prompt)
        return Ask(self.prompt, turns, form, sample, count, earlier, turns_of)

    def cuts(self) -> tuple[str, ...]:
        """The texts before which the method cuts an answer off."""
        return () if self.method.cut is None else tuple(self.method.cut(self.ask(0, 1, ())))

    def put(self, sample: int, count: int, earlier: tuple[str, ...]) -> Request:
        """The request for so many rows from a sample on; without a key and a seed."""
        task, sampling = self.plan.task, self.plan.sampling
        ask = self.ask(sample, count, earlier)
        turns = _checked_turns(self.method, self.method.put(ask))
        text, messages = render_turns(turns, self.prompt, self.format, examples=len(task.examples))
        stop = (*sampling.stop, *self.format.stop)
        tokens = sampling.max_tokens
        if self.method.read is not None:
            tokens = count * (tokens + self.method.overhead)
        return Request(
            "",
            0,
            self.model,
            task.name,
            self.prompt.id,
            sample,
            replace(sampling, stop=stop, max_tokens=tokens),
            text,
            messages,
            typed=turns,
            date=self.date,
            token_logprobs=self.token_logprobs,
        )

    def put_row(self, row: Request, sample: int, count: int, earlier: tuple[str, ...]) -> Request:
        """The request for a question's first row, after these responses."""
        return replace(self.put(sample, count, earlier), key=row.key, seed=row.seed)


def _checked_turns(method: Method, turns: object) -> tuple[Message, ...]:
    """The turns that a method gives; ConfigError where it gives something else."""
    found = tuple(turns) if isinstance(turns, Sequence) and not isinstance(turns, str) else ()
    if not found or not all(isinstance(turn, Message) for turn in found):
        raise ConfigError(
            f"The method '{method.name}' gave {turns!r:.60}; expected the turns of a conversation, "
            "each a Message. Return ask.turns, or ask.replace_last('…')."
        )
    return found


@dataclass
class Asking:
    """An engine that is asked by methods: in rounds, its answers taken apart into responses.

    Requests that belong to no question are asked as they are, in the first round.

    Args:
        engine: answers for all variants of its models.
        questions: of the methods.
        run: has the responses so far.
        tags: how thoughts begin and end; they are no part of what is shown again or read.
    """

    engine: Answering
    questions: Sequence[Question]
    run: Run
    tags: Sequence[Tag]
    shortened: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.family = self.engine.family
        self.identity: Mapping[str, Any] = self.engine.identity
        self._texts: dict[Place, dict[int, str]] = {}
        self._looked = LookedAt(self.engine)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def generate(
        self, requests: Sequence[Request], done: Collection[str] = ()
    ) -> Iterator[list[Response]]:
        """Yield the responses, round after round; see `engines.base.Engine`."""
        wanted = {request.key for request in requests}
        questions = [q for q in self.questions if any(row.key in wanted for row in q.rows)]
        of_method = {row.key for question in questions for row in question.rows}
        others = [request for request in requests if request.key not in of_method]
        self._read_known(questions)
        for number in sorted({0, *(question.round for question in questions)}):
            now = [question for question in questions if question.round == number]
            yield from self._ask_round(now, [] if number else others, done)

    def notes(self) -> list[str]:
        """What a reader of the run should know."""
        return [
            f"{model}: {count} responses were asked for with only the latest of the earlier ones "
            "in the prompt, as many as the context had room for"
            for model, count in self.shortened.items()
        ]

    def _ask_round(
        self, questions: Sequence[Question], others: Sequence[Request], done: Collection[str]
    ) -> Iterator[list[Response]]:
        asked, by_key, failed = list(others), dict[str, Question](), list[Response]()
        for question in questions:
            request = self._put(question)
            if isinstance(request, str):
                failed += [fail(row, request) for row in question.rows if row.key not in done]
                continue
            asked.append(request)
            by_key[request.key] = question
        if failed:
            yield failed
        finished = {request.key for request in others if request.key in done}
        finished |= {k for k, q in by_key.items() if all(row.key in done for row in q.rows)}
        if len(finished) == len(asked):
            return
        requests = {request.key: request for request in asked}
        for batch in self.engine.generate(asked, finished):
            rows: list[Response] = []
            for answer in batch:
                if (of := by_key.get(answer.key)) is None:
                    rows.append(answer)
                else:
                    opened = self._looked.opens_thought(requests[answer.key])
                    settled = settle_response(answer, tags=self.tags, opened=opened)
                    rows += self._read(of, settled)
            yield rows

    def _put(self, question: Question) -> Request | str:
        """The request, with as many of the earlier responses as there is room for; or why not."""
        texts = self._texts.get(question.place, {})
        first = question.rows[0].sample
        earlier = tuple(text for sample, text in sorted(texts.items()) if sample < first)
        encoder = self._looked.encoder_of(question.place[0])
        request = question.put(earlier)
        if encoder is None or not earlier:  # a first prompt that is too long, others refuse
            return request

        def reason(left_out: int) -> str | None:
            return find_too_long(encoder, question.put(earlier[left_out:]))

        if reason(0) is None:
            return request
        # The fewest that have to go: what is shorter fits as well.
        counts = range(1, len(earlier) + 1)
        place = bisect_left(counts, True, key=lambda left_out: reason(left_out) is None)
        if place == len(counts):
            return reason(len(earlier)) or "too long"
        model = question.place[0]
        self.shortened[model] = self.shortened.get(model, 0) + 1
        return question.put(earlier[counts[place] :])

    def _read(self, question: Question, answer: Response) -> list[Response]:
        """The responses that an answer holds: the first ones it has, the others failed."""
        if question.method.read is None:
            text, is_cut = truncate_at_stop(answer.text, question.cut)
            if is_cut:  # its tokens and their probability are those of the whole answer
                answer = replace(_without_tokens(answer), text=text)
                answer = replace(answer, finish_reason="stop", state="finished")
            if question.method.sequential and has_text(answer.state, answer.text):
                self._texts.setdefault(question.place, {})[answer.sample] = answer.text
            return [answer]
        rows = question.rows
        blank = replace(_without_tokens(answer), reasoning=None)
        if answer.state in ("failed", "filtered"):
            return [
                replace(blank, key=row.key, sample=row.sample, seed=None if i else answer.seed)
                for i, row in enumerate(rows)
            ]
        texts = list(question.method.read(answer.text, len(rows)))[: len(rows)]
        cut = "; the answer was cut at max_tokens" if answer.state == "unfinished" else ""
        reason = f"{UNREAD}the answer has {len(texts)} of {len(rows)} responses{cut}"
        made = []
        for i, row in enumerate(rows):
            own = replace(blank, key=row.key, sample=row.sample)
            # Seed and thoughts are the answer's, which its first response stands for.
            kept = {"reasoning": answer.reasoning} if i == 0 else {"seed": None}
            own = replace(own, **kept)
            if i < len(texts):
                own = replace(own, text=texts[i], finish_reason="stop", state="finished")
            else:
                own = replace(own, text="", finish_reason=reason, state="failed")
            made.append(own)
        return made

    def _read_known(self, questions: Sequence[Question]) -> None:
        """The responses that the run has, of what is asked one after the other."""
        places = dict.fromkeys(q.place[:2] for q in questions if q.method.sequential)
        for model, task in places:
            table = self.run.responses(model, task)
            columns = ("prompt_id", "sample", "text", "state")
            for id, sample, text, state in zip(
                *(table.column(name).to_pylist() for name in columns), strict=True
            ):
                if has_text(state, text):
                    self._texts.setdefault((model, task, id), {})[sample] = text


def _without_tokens(answer: Response) -> Response:
    """A response of which the text is a part: its tokens and their probability are the whole's."""
    return replace(answer, token_ids=None, logprob=None, token_logprobs=None)
