"""From a request to the token ids that the model is given; one way for all that tokenize.

What can be wrong with a prompt is said here, in one line and before anything is generated: an
engine that is handed a bad prompt refuses the whole batch, or cuts the prompt without a word.

Two things are not left to templates and tokenizers: a template that reads the clock gets the run's
date, and a special token that somebody typed into a prompt stays text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from tofu_eval.core.errors import ModelError, say_error
from tofu_eval.core.models import ResolvedModel, resized_vocabulary
from tofu_eval.core.reasoning import opens_thought
from tofu_eval.core.types import Message, Request
from tofu_eval.engines.special_tokens import TAG_TEXTS, Mark, SpecialTokens, Written

CLOCK = "strftime_now"
"""The function by which a chat template asks for the date."""


class PromptTooLong(ModelError):
    """A prompt that leaves no room for its response."""


@dataclass(frozen=True)
class Encoder:
    """A model's tokenizer with the facts that bound a prompt.

    Args:
        name: what messages call the model.
        tokenizer: of the transformers library.
        vocabulary: tokens that the model knows.
        context: positions that the model has, prompt and response together; None is no limit.
        ends: the ids that end a response: those of the generation config and the tokenizer's.
        configured: the generation config's own, for the audit.
        template_kwargs: what the chat template is given beside the messages.
    """

    name: str
    tokenizer: Any
    vocabulary: int
    context: int | None
    ends: tuple[int, ...]
    configured: tuple[int, ...] = ()
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        name: str,
        tokenizer: Any,
        config: Any,
        generation: Any,
        vocabulary: int,
        template_kwargs: Mapping[str, Any] | None = None,
    ) -> Encoder:
        """From what transformers loaded; `vocabulary` is the number of the model's embeddings."""
        eos = generation.eos_token_id
        configured = tuple(e for e in (eos if isinstance(eos, list) else [eos]) if e is not None)
        ends = {*configured, tokenizer.eos_token_id} - {None}
        context = getattr(config.get_text_config(), "max_position_embeddings", None)
        known = tuple(sorted(end for end in ends if end < vocabulary))
        given = dict(template_kwargs or {})
        return cls(name, tokenizer, vocabulary, context, known, configured, given)

    def at_most(self, context: int | None) -> Encoder:
        """The same with a shorter context, where one is given."""
        both = [limit for limit in (self.context, context) if limit is not None]
        return replace(self, context=min(both, default=None))

    def encode(self, request: Request) -> list[int]:
        """The token ids of a request's prompt, never cut.

        Raises:
            PromptTooLong: it leaves no room for the response.
            ModelError: it is empty, without a chat template, or has a token that the model does
                not know.
        """
        ids = self._chat(request) if request.messages is not None else self._encode_text(request)
        max_tokens = request.sampling.max_tokens
        where = f"Prompt '{request.prompt_id}' of task '{request.task}'"
        if max(ids) >= self.vocabulary:
            raise ModelError(
                f"The tokenizer of '{self.name}' does not fit the model: {where} has the token "
                f"{max(ids)}, the model knows {self.vocabulary}. Give the tokenizer that the "
                "model was trained with."
            )
        if self.context is not None and len(ids) + max_tokens > self.context:
            room = self.context - len(ids)
            remedy = f"--max-tokens {room} or less, " if room > 0 else ""
            raise PromptTooLong(
                f"{where} is too long for '{self.name}': {len(ids)} tokens and max_tokens "
                f"{max_tokens} are {len(ids) + max_tokens}, its context is {self.context}. Use "
                f"{remedy}a shorter prompt, or --too-long skip to leave it out."
            )
        return ids

    def encode_all(self, requests: Iterable[Request]) -> list[list[int]]:
        """`encode` of each; a prompt that many requests share is tokenized once."""
        by_prompt: dict[Any, list[int]] = {}
        rows = []
        for request in requests:
            asked = (request.text, request.messages, request.date, request.sampling.max_tokens)
            if asked not in by_prompt:
                by_prompt[asked] = self.encode(request)
            rows.append(by_prompt[asked])
        return rows

    def encode_completion(self, request: Request, ids: list[int]) -> list[int]:
        """The token ids of a request's completion after those of its prompt.

        Prompt and completion are tokenized together, a space between them where the prompt ends
        without one; where that changes the prompt's own tokens, and after a chat's template, the
        completion is tokenized by itself.

        Raises:
            ModelError: it is no token, or too long together with the prompt.
        """
        completion = request.completion or ""
        if request.messages is None:
            text = request.text or ""
            joint = "" if not text or text[-1].isspace() else " "
            whole = self._encode_text(replace(request, text=f"{text}{joint}{completion}"))
            added = whole[len(ids) :] if whole[: len(ids)] == ids else None
        else:
            joint, added = "", None
        if added is None:
            added = self.tokenizer(
                f"{joint}{completion}", add_special_tokens=False, verbose=False
            ).input_ids
        where = f"The choice {completion!r:.40} of prompt '{request.prompt_id}', '{request.task}',"
        if not added:
            raise ModelError(f"{where} is no token to '{self.name}'. Give the choice another text.")
        if self.context is not None and len(ids) + len(added) > self.context:
            raise ModelError(
                f"{where} is too long for '{self.name}': {len(ids) + len(added)} tokens with its "
                f"prompt, its context is {self.context}. Use a shorter prompt, or --limit."
            )
        return list(added)

    def texts(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """The text of each response; an end token at the end is no part of it.

        Special tokens are left out, but for those that open and close a thought.
        """
        bodies = [list(ids[:-1] if ids and ids[-1] in self.ends else ids) for ids in rows]
        if self.special.thoughts.keys().isdisjoint(id for ids in bodies for id in ids):
            return self._decode(bodies)
        return ["".join(self._decode(self._pieces(ids))) for ids in bodies]

    @cached_property
    def special(self) -> SpecialTokens:
        """The tokenizer's special tokens."""
        return SpecialTokens(self.name, self.tokenizer, self.ends)

    def opens_thought(self, request: Request) -> bool:
        """Whether a request's prompt ends with the tag that begins a thought."""
        return opens_thought(self.prompt_text(request))

    def reads_clock(self) -> bool:
        """Whether the chat template asks for the date."""
        return CLOCK in (self.template or "")

    def has_generation_prompt(self, request: Request) -> bool:
        """Whether the chat template begins the answer of the model."""
        return self._render_chat(request, True) != self._render_chat(request, False)

    @property
    def template(self) -> str | None:
        """The source of the chat template, None where there is none."""
        template = self.tokenizer.chat_template
        if isinstance(template, Mapping):
            return template.get("default")
        return None if template is None else str(template)

    def unknown_kwargs(self) -> list[str]:
        """What the chat template is given and does not know."""
        source = self.template or ""
        return [name for name in self.template_kwargs if not re.search(rf"\b{name}\b", source)]

    def is_special(self, text: str) -> bool:
        """Whether a text is one special token, which texts of responses do not hold."""
        return text in self.special.tokens.values() and text not in TAG_TEXTS

    def typed_tokens(self, request: Request) -> list[str]:
        """The special tokens that stand in a request's prompt as somebody's text."""
        return [
            match
            for turn in _written(request)
            for match in self.special.control_tokens(turn.role).findall(turn.content)
        ]

    def prompt_text(self, request: Request) -> str:
        """The text that becomes the tokens of a request's prompt."""
        if request.messages is None:
            return request.text or ""
        return self._render_chat(request, True)

    # How a text becomes tokens

    def render(
        self,
        turns: Sequence[Mapping[str, Any]],
        *,
        generation_prompt: bool,
        date: str = "",
        **more: Any,
    ) -> str:
        """What the chat template makes of turns.

        Args:
            turns: messages, each with role, content and what else the template takes.
            generation_prompt: whether it begins the answer.
            date: what it is told of the clock (ISO), today where it is empty.
            more: what it is given beside the model's own template arguments.

        Raises:
            Exception: whatever the template fails with.
        """
        given = {**self.template_values(date), **more}
        text = self.tokenizer.apply_chat_template(
            list(turns), add_generation_prompt=generation_prompt, tokenize=False, **given
        )
        return str(text)

    def template_values(self, date: str) -> dict[str, Any]:
        """What the chat template is given beside the turns; `date` as in `render`."""
        clock = {CLOCK: _clock(date)} if self.reads_clock() else {}
        return {**self.template_kwargs, **clock}

    def encode_open(self, text: str, typed: Sequence[Written], where: str) -> list[int]:
        """The ids of a text that is to be continued.

        Args:
            text: the prompt as it is given to the model.
            typed: what was written of it, in its order: special tokens in it are text. What a
                model wrote keeps the tags that its tokenizer does not call special (tool calls)
                and those of thoughts.
            where: what messages call it.

        Raises:
            ModelError: it is empty, and the tokenizer has no token to begin with.
        """
        end = self.tokenizer.eos_token
        ids = self.tokenize(text, typed, where, begin=True)
        # Some tokenizers close every text; a closed prompt has nothing to be continued.
        if end and ids and ids[-1] == self.tokenizer.eos_token_id and not text.endswith(end):
            ids = ids[:-1]
        if not ids and self.tokenizer.bos_token_id is not None:
            ids = [self.tokenizer.bos_token_id]
        if not ids:
            raise ModelError(
                f"{where} is empty, and the tokenizer of '{self.name}' has no token to begin with. "
                "Give the prompt a text."
            )
        return ids

    def tokenize(
        self,
        text: str,
        typed: Sequence[Written],
        where: str,
        *,
        begin: bool,
        render_again: Callable[[Mark], str] | None = None,
    ) -> list[int]:
        """The ids of a text; special tokens are those of the template, not what was typed.

        Args:
            text: the whole of it.
            typed: as `encode_open`.
            where: the same.
            begin: whether the tokenizer puts its own special tokens around it.
            render_again: as `SpecialTokens.split_typed`.

        Raises:
            ModelError: what was typed cannot be told from the template's own.
        """
        ids: list[int] = []
        pieces = self.special.split_typed(text, typed, where, render_again)
        for i, (part, is_typed) in enumerate(pieces):
            if is_typed:
                ids += self.special.ids_as_text(part)
            else:
                ids += self.special.ids(part, begin=begin and not i)
        return ids

    def _encode_text(self, request: Request) -> list[int]:
        return self.encode_open(request.text or "", _written(request), _where(request))

    def _chat(self, request: Request) -> list[int]:
        """Through the chat template, which writes the special tokens itself."""
        if self.template is None:
            raise ModelError(
                f"The tokenizer of '{self.name}' has no chat template, which the format 'chat' "
                "needs. Use --format base or --format sft."
            )
        text = self._render_chat(request, True)
        ids = self.tokenize(
            text, _written(request), _where(request), begin=False,
            render_again=lambda mark: self._render_chat(_marked(request, mark), True),
        )  # fmt: skip
        if not ids:
            raise ModelError(
                f"The chat template of '{self.name}' makes nothing of the prompt "
                f"'{request.prompt_id}' of task '{request.task}'. Use --format base or sft."
            )
        return ids

    def _render_chat(self, request: Request, generation_prompt: bool) -> str:
        turns = [{"role": m.role, "content": m.content} for m in request.messages or ()]
        try:
            return self.render(turns, generation_prompt=generation_prompt, date=request.date)
        except Exception as error:  # a template may fail in any way
            raise ModelError(
                f"The chat template of '{self.name}' refuses the prompt '{request.prompt_id}' of "
                f"task '{request.task}': {say_error(error)}. Use --format base or --format sft."
            ) from error

    def _pieces(self, ids: list[int]) -> list[list[int]]:
        """The ids, those of thoughts each in a list of its own."""
        pieces: list[list[int]] = [[]]
        for id in ids:
            if id in self.special.thoughts:
                pieces += [[id], []]
            else:
                pieces[-1].append(id)
        return pieces

    def _decode(self, rows: list[list[int]]) -> list[str]:
        thought_tokens = self.special.thoughts
        texts: list[str] = self.tokenizer.batch_decode(
            rows, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return [
            thought_tokens[ids[0]] if len(ids) == 1 and ids[0] in thought_tokens else text
            for ids, text in zip(rows, texts, strict=True)
        ]


def _where(request: Request) -> str:
    return f"Prompt '{request.prompt_id}' of task '{request.task}'"


def _marked(request: Request, mark: Mark) -> Request:
    messages = request.messages or ()
    return replace(
        request, messages=tuple(replace(m, content=mark(m.role, m.content)) for m in messages)
    )


def _written(request: Request) -> tuple[Message, ...]:
    """What people and models wrote of a prompt, in its order."""
    return request.typed if request.messages is None else request.messages


def _clock(date: str) -> Any:
    """A clock that stands at the beginning of a day, ISO; today where none is given."""
    day = datetime.fromisoformat(date) if date else datetime.now(UTC)
    return lambda format: day.strftime(format)


def open_encoder(
    resolved: ResolvedModel,
    name: str,
    *,
    trust_remote_code: bool,
    template_kwargs: Mapping[str, Any] | None = None,
) -> Encoder:
    """The encoder of a model's files; of the weights, at most their shapes are read.

    An adapter's own tokenizer, where it has one, is used: it was trained with that one.

    Raises:
        ModelError: the tokenizer or the configuration cannot be read.
    """
    import transformers

    from tofu_eval.engines.loading import explain_failure, load_tokenizer, silence_transformers

    trust = {"trust_remote_code": trust_remote_code}
    with silence_transformers():
        tokenizer = load_tokenizer(resolved, name, **trust)
        with explain_failure(
            f"The configuration of '{name}' cannot be read from {resolved.base}",
            "Check that it is whole, and a causal language model that this transformers knows.",
        ):
            config = transformers.AutoConfig.from_pretrained(resolved.base, **trust)
            if (resolved.base / "generation_config.json").exists():
                generation = transformers.GenerationConfig.from_pretrained(resolved.base)
            else:
                generation = transformers.GenerationConfig.from_model_config(config)
    vocabulary = config.get_text_config().vocab_size
    if resolved.adapter is not None:
        vocabulary = resized_vocabulary(resolved.adapter, tokenizer, vocabulary)
    return Encoder.of(name, tokenizer, config, generation, vocabulary, template_kwargs)
