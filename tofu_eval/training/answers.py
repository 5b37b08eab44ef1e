"""What a model is asked and what it learns to answer, turn by turn, as token ids.

The prompt of every answer is exactly what `tofu-eval run` would send: whatever a chat template
writes differently once an answer follows, the model is trained on what it will be asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from tofu_eval.core.errors import DataError, say_error
from tofu_eval.core.reasoning import TAGS, opens_thought
from tofu_eval.core.types import Message, Prompt
from tofu_eval.engines.prompts import Encoder
from tofu_eval.engines.special_tokens import Mark
from tofu_eval.importers.chat import THOUGHTS
from tofu_eval.importers.training_rows import Example
from tofu_eval.importers.training_turns import ANYWHERE, Turn
from tofu_eval.tasks.formats import Format, render

_EMPTY_THOUGHT = re.compile(
    "|".join(rf"\s*{re.escape(first)}\s*{re.escape(last)}\n{{0,2}}" for first, last in TAGS)
)
"""What hybrids put before an answer that was not thought about."""

_MARKER = re.compile(r"{%-?\s*generation\s*-?%}")
"""How a chat template says which of its texts the model generates."""

_ENDS_WITH_EMPTY_THOUGHT = re.compile(rf"(?:{_EMPTY_THOUGHT.pattern})\s*\Z")


@dataclass(frozen=True, slots=True)
class Answer:
    """One turn to learn: the ids of its prompt, its own, and which of these are learnt.

    `is_put_after` says that the template writes the prompt differently once an answer follows.
    """

    prompt: list[int]
    ids: list[int]
    learnt: list[bool]
    is_put_after: bool = False


@dataclass(frozen=True, slots=True)
class _Piece:
    """A text to learn; `start` is where it stands in the conversation's text, where it does."""

    text: str
    start: int | None = None
    is_put_after: bool = False


class AnswerWriter:
    """Makes the answers of a conversation, in a prompt format.

    Args:
        encoder: the model's.
        format: how prompts are put.
        date: what a template that reads the clock is told, ISO.
        unused: gets the fields of messages that the template has no place for.
    """

    def __init__(
        self, encoder: Encoder, format: Format, date: str = "", unused: set[str] | None = None
    ) -> None:
        self.encoder, self.format, self.date = encoder, format, date
        self.unused = set() if unused is None else unused
        source = encoder.template or ""
        names = [name for name in THOUGHTS if re.search(rf"\b{name}\b", source)]
        self._thought = names[0] if names else THOUGHTS[0]
        self._has_markers = _MARKER.search(source) is not None

    def answers(self, example: Example, *, last: bool = False) -> Iterator[Answer]:
        """The turns of a conversation that are learnt, in their order; with `last`, the last only.

        Raises:
            DataError: the format or the chat template has no place for something in the row.
            ModelError: there is no chat template, or no token to begin with.
        """
        places = [i for i, turn in enumerate(example.turns) if turn.learnt]
        for i in places[-1:] if last else places:
            if self.format.name == "chat":
                yield self._chat_answer(example, i)
            else:
                yield self._text_answer(example, i)

    # In a template of ours, or as plain text

    def _text_answer(self, example: Example, place: int) -> Answer:
        where = f"row {example.row} of the data"
        self._check_for_text(example, where)
        before = _with_input(example, place, self.format)
        turns = tuple(Message(turn.role, turn.content) for turn in before)  # type: ignore[arg-type]
        given = {"input": example.input} if self.format.takes_input else {}
        text = render(Prompt(where, turns, metadata=given), self.format)[0] or ""
        self._check_shown(text, before, where, "prompt format", example.input)
        prompt = self.encoder.encode_open(text, self._written(before), _capital(where))
        turn = example.turns[place]
        answer = self.format.complete(_thinking(turn))
        pieces = self.encoder.special.split_typed(answer, self._written([turn]), _capital(where))
        ids = self._close(self._continue(text, prompt, pieces, special=True))
        return Answer(prompt, ids, [True] * len(ids))

    def _check_for_text(self, example: Example, where: str) -> None:
        odd = [f"a turn of the role '{t.role}'" for t in example.turns if t.role not in ANYWHERE]
        odd += [f"'{name}' in a message" for t in example.turns for name in t.more]
        odd += ["'tools'"] if example.tools else []
        odd += ["'chat_template_kwargs'"] if example.template_kwargs else []
        if odd:
            raise DataError(
                f"{_capital(where)} has {odd[0]}, for which the format '{self.format.name}' has no "
                "place. Use --format chat, with a model that has a chat template."
            )

    # In the chat template of the model

    def _chat_answer(self, example: Example, place: int) -> Answer:
        where = f"row {example.row} of the data"
        before = _with_input(example, place, self.format)
        turn = example.turns[place]
        asked = self._render(example, before, where, generation_prompt=True)
        whole = self._render(example, [*before, turn], where, generation_prompt=False)
        self._check_chat(example, before, asked, where)
        prompt = self.encoder.tokenize(
            asked, self._written(before), _capital(where), begin=False,
            render_again=lambda mark: self._render(
                example, [_marked(one, mark) for one in before], where, generation_prompt=True
            ),
        )  # fmt: skip
        piece = _answer_piece(asked, whole, turn, where)
        self._check_answer(turn, piece.text, where)
        pieces = self.encoder.special.split_typed(
            piece.text, self._written([turn]), _capital(where)
        )
        ids = self._continue(asked, prompt, pieces, special=False)
        learnt = self._marked(example, [*before, turn], piece, pieces, ids)
        closed = self._close(ids)
        # The end is always learnt: without it no answer would end.
        learnt = [*learnt, True][: len(closed)]
        learnt[-1] = True
        return Answer(prompt, closed, learnt, piece.is_put_after)

    def _render(
        self, example: Example, turns: Sequence[Turn], where: str, *, generation_prompt: bool
    ) -> str:
        given = self._given(example)
        with _explained(where):
            return self.encoder.render(
                [self._message(turn) for turn in turns],
                generation_prompt=generation_prompt, date=self.date, **given,
            )  # fmt: skip

    def _given(self, example: Example) -> dict[str, Any]:
        tools = {"tools": list(example.tools)} if example.tools else {}
        return {**example.template_kwargs, **tools}

    def _message(self, turn: Turn) -> dict[str, Any]:
        thought = {} if turn.thought is None else {self._thought: turn.thought}
        return {"role": turn.role, "content": turn.content, **thought, **turn.more}

    def _check_chat(self, example: Example, before: Sequence[Turn], asked: str, where: str) -> None:
        """Nothing of a row is dropped by the template without a word."""
        source = self.encoder.template or ""
        self._check_shown(asked, before, where, "chat template", example.input)
        for tool in example.tools:
            name = (tool.get("function") or tool).get("name")
            if isinstance(name, str) and name not in asked:
                _refuse(where, "chat template", f"'tools' ({name})")
        for name in example.template_kwargs:
            if not re.search(rf"\b{re.escape(name)}\b", source):
                self.unused.add(f"chat_template_kwargs.{name}")
        for turn in example.turns:
            for name in ("name", "tool_call_id"):
                if name in turn.more and not re.search(rf"\b{name}\b", source):
                    self.unused.add(f"messages[].{name}")

    def _check_shown(
        self, text: str, turns: Sequence[Turn], where: str, what: str, input: str
    ) -> None:
        letters = _letters(text)
        for i, turn in enumerate(turns, start=1):
            if turn.role != "assistant" and _letters(turn.content) not in letters:
                _refuse(where, what, f"turn {i} (role '{turn.role}')")
            if turn.role == "assistant":
                self._check_calls(turn, text, where)
        if _letters(input) not in letters:
            _refuse(where, what, "the input")

    def _check_calls(self, turn: Turn, text: str, where: str) -> None:
        for call in turn.more.get("tool_calls", ()):
            name = call.get("function", call)["name"]
            if name not in text:
                _refuse(where, "chat template", f"'tool_calls' ({name})")

    def _check_answer(self, turn: Turn, text: str, where: str) -> None:
        """The whole turn is in what is learnt."""
        letters = _letters(text)
        if _letters(turn.answer) not in letters:
            _refuse(where, "chat template", "the answer as it stands")
        if turn.reasoning and _letters(turn.reasoning) not in letters:
            _refuse(where, "chat template", "the thought before an answer")
        self._check_calls(turn, text, where)

    # As token ids

    def _continue(
        self, text: str, prompt: list[int], pieces: Sequence[tuple[str, bool]], *, special: bool
    ) -> list[int]:
        """The ids of an answer, tokenized with its prompt where that leaves the prompt as it is.

        A special token that stands in what the row says is text: it would end the answer there.
        """
        first, rest = pieces[0][0], pieces[1:]
        whole: list[int] = self.encoder.tokenizer(
            f"{text}{first}", add_special_tokens=special, verbose=False
        ).input_ids
        special_tokens = self.encoder.special
        follows = whole[: len(prompt)] == prompt
        ids = whole[len(prompt) :] if follows else special_tokens.ids(first)
        for part, is_typed in rest:
            ids += special_tokens.ids_as_text(part) if is_typed else special_tokens.ids(part)
        return ids

    def _written(self, turns: Iterable[Turn]) -> list[Message]:
        """What stands in turns as somebody wrote it: thoughts, contents, texts of tool calls."""
        written = []
        for turn in turns:
            control = self.encoder.special.control_tokens(turn.role)
            texts = [turn.thought or "", turn.content, *filter(control.search, _texts(turn.more))]
            written += [Message(turn.role, text) for text in texts if text]  # type: ignore[arg-type]
        return written

    def _close(self, ids: list[int]) -> list[int]:
        """The ids up to the last that ends a response, or with an end put behind them.

        What a template writes behind its end, a newline, is never generated.
        """
        ends = set(self.encoder.ends)
        tail = len(ids)
        while tail and ids[tail - 1] not in ends and not self._text(ids[tail - 1 :]).strip():
            tail -= 1
        if tail and ids[tail - 1] in ends:
            return ids[:tail]
        return [*ids, self.encoder.tokenizer.eos_token_id]

    def _text(self, ids: list[int]) -> str:
        return str(self.encoder.tokenizer.decode(ids))

    def _marked(
        self,
        example: Example,
        turns: Sequence[Turn],
        piece: _Piece,
        pieces: Sequence[tuple[str, bool]],
        ids: list[int],
    ) -> list[bool]:
        """Which ids of an answer stand between the template's generation markers; all without."""
        if not self._has_markers or piece.start is None:
            return [True] * len(ids)
        with _explained(f"row {example.row} of the data"):
            spans = self._generated_spans(example, turns)
        alone, offsets = self._offsets(pieces)
        if not spans or alone != ids:
            return [True] * len(ids)
        first, end = (place - piece.start for place in spans[-1])
        return [first < b and a < end for a, b in offsets]

    def _offsets(
        self, pieces: Sequence[tuple[str, bool]]
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """The ids of an answer by itself, and where in it each stands."""
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        start = 0
        for part, is_typed in pieces:
            if is_typed:
                new = self.encoder.special.ids_as_text(part)
                places = [(0, len(part))] * len(new)
            else:
                tokenized = self.encoder.tokenizer(
                    part, add_special_tokens=False, return_offsets_mapping=True, verbose=False
                )
                new, places = tokenized["input_ids"], tokenized["offset_mapping"]
            ids += new
            offsets += [(start + a, start + b) for a, b in places]
            start += len(part)
        return ids, offsets

    def _generated_spans(self, example: Example, turns: Sequence[Turn]) -> list[tuple[int, int]]:
        """Where the texts stand that the chat template marks as generated."""
        from transformers.utils.chat_template_utils import render_jinja_template

        encoder = self.encoder
        given = {**encoder.template_values(self.date), **self._given(example)}
        _, spans = render_jinja_template(
            conversations=[[self._message(turn) for turn in turns]],
            chat_template=encoder.template,
            return_assistant_tokens_mask=True,
            **{**encoder.tokenizer.special_tokens_map, **given},
        )
        return [(first, end) for first, end in spans[0]]


@contextmanager
def _explained(where: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a template may fail in any way
        raise DataError(
            f"The chat template refuses {where}: {say_error(error)}. "
            "Use --format base or --format sft, or mend that row."
        ) from error


def _answer_piece(asked: str, whole: str, turn: Turn, where: str) -> _Piece:
    """The text of an answer, as it stands behind the prompt that is asked.

    Args:
        asked: the conversation before it with the generation prompt.
        whole: the conversation with the answer.
        turn: the answer.
        where: of the row, for messages.
    """
    thinks = bool(turn.reasoning)
    no_thought = _ENDS_WITH_EMPTY_THOUGHT.search(asked)
    if no_thought and thinks:
        raise DataError(
            f"{_capital(where)} has a thought, and the chat template begins its answer without one "
            "(enable_thinking). Take out one or the other."
        )
    if whole.startswith(asked):
        return _without_empty_thought(whole, len(asked), thinks or opens_thought(asked))
    if no_thought and whole.startswith(asked[: no_thought.start()]):
        return _without_empty_thought(whole, no_thought.start(), False)
    opening = next((pair for pair in TAGS if asked.rstrip().endswith(pair[0])), None)
    if opening is not None:
        begin = asked[: asked.rstrip().rindex(opening[0])]
        if whole.startswith(begin):
            return _Piece(_closing_thought(whole[len(begin) :], turn, opening))
    place = whole.rfind(turn.content.strip())
    text = whole[place:] if place >= 0 and turn.content.strip() else turn.content
    return _Piece(text, None, True)


def _without_empty_thought(whole: str, start: int, keep: bool) -> _Piece:
    match = None if keep else _EMPTY_THOUGHT.match(whole, start)
    start = match.end() if match else start
    return _Piece(whole[start:], start)


def _closing_thought(rest: str, turn: Turn, tag: tuple[str, str]) -> str:
    """An answer behind a prompt that has opened a thought: the thought is closed before it."""
    opening, closing = tag
    if rest.lstrip().startswith(opening):  # the template writes the thought, with other spaces
        return rest.lstrip().removeprefix(opening).removeprefix("\n")
    if closing in rest:
        return rest
    return f"{(turn.reasoning or '').strip()}\n{closing}\n\n{rest}"


def _marked(turn: Turn, mark: Mark) -> Turn:
    """A turn with each of its texts as `mark` makes it."""

    def marked(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: marked(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [marked(inner) for inner in value]
        return mark(turn.role, value) if isinstance(value, str) else value

    return replace(
        turn, content=marked(turn.content), thought=marked(turn.thought), more=marked(turn.more)
    )


def _texts(value: object) -> Iterator[str]:
    """The texts within a value of JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(inner)


def _thinking(turn: Turn) -> str:
    """An answer with the thought of its own field before it, as models write it."""
    if turn.thought is None:
        return turn.content
    opening, closing = TAGS[0]
    return f"{opening}\n{turn.thought.strip()}\n{closing}\n\n{turn.content}"


def _with_input(example: Example, place: int, format: Format) -> list[Turn]:
    """The turns before an answer, the input in its last question where the format has no place."""
    before = list(example.turns[:place])
    if example.input and not format.takes_input and place == len(example.turns) - 1:
        asked = before[-1]
        before[-1] = replace(asked, content=f"{asked.content}\n\n{example.input}")
    return before


def _refuse(where: str, what: str, lost: str) -> None:
    raise DataError(
        f"The {what} has no place for {lost} of {where}. Use another --format, or take it out."
    )


def _capital(where: str) -> str:
    return f"{where[0].upper()}{where[1:]}"


def _letters(text: str) -> str:
    """A text without white space, which templates may change."""
    return "".join(text.split())
