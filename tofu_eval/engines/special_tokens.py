"""A tokenizer's special tokens, and what looks like one where somebody wrote it: that is text.

A special token that a user types into a prompt must not end a turn, and one that stands in an
answer to learn must not end the answer: templates write the real ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, Protocol

from tofu_eval.core.errors import ModelError
from tofu_eval.core.reasoning import TAGS, split_reasoning

TAG_TEXTS = frozenset(tag for pair in TAGS for tag in pair)


class Written(Protocol):
    """A turn, or a part of one, that stands in a prompt or an answer."""

    @property
    def role(self) -> str:
        """Who wrote it."""

    @property
    def content(self) -> str:
        """What."""


Mark = Callable[[str, str], str]
"""What is to stand in the place of a text, given the role of who wrote it."""

Span = tuple[int, int]

FIRST_MARK = 0x100000
"""The first of the characters that stand for typed tokens: private ones, that no template knows."""


class SpecialTokens:
    """The special tokens of a tokenizer.

    Args:
        name: what messages call the model.
        tokenizer: of the transformers library.
        ends: the ids that end a response.
    """

    def __init__(self, name: str, tokenizer: Any, ends: Sequence[int]) -> None:
        self.name, self.tokenizer, self.ends = name, tokenizer, ends

    def control_tokens(self, role: str) -> re.Pattern[str]:
        """What is no text, but would be taken for a token if somebody in this role wrote it."""
        return self._control_of_models if role == "assistant" else self._control_of_people

    def split_typed(
        self,
        text: str,
        typed: Sequence[Written],
        where: str,
        render_again: Callable[[Mark], str] | None = None,
    ) -> list[tuple[str, bool]]:
        """A text in pieces: those that are typed special tokens, and what stands between them.

        Args:
            text: the whole of it.
            typed: what was written of it, in its order.
            where: what messages call it.
            render_again: makes the text once more, of what a function makes of each text in it,
                told who wrote it. So a typed token is told from the template's own beside it.
        Returns: pieces, each with whether it is such a token; the first is none and may be empty.

        Raises:
            ModelError: what was typed cannot be told from the template's own.
        """
        pieces: list[tuple[str, bool]] = []
        start = 0
        for first, last in self._spans(text, typed, where, render_again):
            pieces += [(text[start:first], False), (text[first:last], True)]
            start = last
        pieces.append((text[start:], False))
        return [piece for i, piece in enumerate(pieces) if piece[0] or i == 0]

    def ids(self, text: str, *, begin: bool = False) -> list[int]:
        """The ids of a text in which special tokens are special.

        Args:
            text: it.
            begin: whether the tokenizer puts its own special tokens around it.
        """
        ids: list[int] = self.tokenizer(text, add_special_tokens=begin, verbose=False).input_ids
        return ids

    def ids_as_text(self, token: str) -> list[int]:
        """The ids of what looks like a special token, none of them special."""
        ids: list[int] = self.tokenizer(
            token, add_special_tokens=False, split_special_tokens=True, verbose=False
        ).input_ids
        if not self.tokens.keys().isdisjoint(ids):  # an added token that is not called special
            ids = [id for half in (token[:1], token[1:]) for id in self.ids(half)]
        return ids

    @cached_property
    def tokens(self) -> dict[int, str]:
        """Tokens that are no text: special ones, and added ones that look like a tag."""
        return {
            id: str(token)
            for id, token in self._added.items()
            if str(token).strip()
            and (getattr(token, "special", True) or re.fullmatch(r"[<\[].+[>\]]", str(token)))
        }

    @cached_property
    def thoughts(self) -> dict[int, str]:
        """The special tokens that open or close a thought."""
        return {id: token for id, token in self.tokens.items() if token in TAG_TEXTS}

    def _spans(
        self,
        text: str,
        typed: Sequence[Written],
        where: str,
        render_again: Callable[[Mark], str] | None,
    ) -> list[Span]:
        if not any(self.control_tokens(turn.role).search(turn.content) for turn in typed):
            return []
        marked = None if render_again is None else self._marked_spans(text, render_again)
        return self._typed_spans(text, typed, where) if marked is None else marked

    def _marked_spans(self, text: str, render_again: Callable[[Mark], str]) -> list[Span] | None:
        """Where typed special tokens stand, by marks in their place; None where that fails."""
        tokens = sorted(set(self.tokens.values()))
        marks = {token: chr(FIRST_MARK + i) for i, token in enumerate(tokens)}
        token_of = {mark: token for token, mark in marks.items()}

        def mark(role: str, written: str) -> str:
            return self.control_tokens(role).sub(lambda m: marks[m.group()], written)

        spans, place, restored = [], 0, []
        for letter in re.split(f"({'|'.join(token_of)})", render_again(mark)):
            part = token_of.get(letter, letter)
            if letter in token_of:
                spans.append((place, place + len(part)))
            restored.append(part)
            place += len(part)
        return spans if "".join(restored) == text else None

    def _typed_spans(self, text: str, typed: Sequence[Written], where: str) -> list[Span]:
        """Where special tokens were typed, in the text that a template made."""
        spans: list[Span] = []
        place = 0
        for turn in typed:
            control = self.control_tokens(turn.role)
            forms = [turn.content, turn.content.strip()]
            if turn.role == "assistant":  # templates leave out what was thought earlier
                forms.append((split_reasoning(turn.content).answer or "").strip())
            own = next((form for form in forms if text.find(form, place) >= 0), None)
            if own is not None:
                place = text.find(own, place)
                spans += [(m.start() + place, m.end() + place) for m in control.finditer(own)]
                place += len(own)
            elif match := control.search(turn.content):
                raise ModelError(
                    f"{where} holds '{match.group()}', a special token of '{self.name}', and the "
                    "template changes its text, so that the two cannot be told apart. Use another "
                    "--format, or take it out."
                )
        return spans

    @cached_property
    def _added(self) -> dict[int, Any]:
        return dict(getattr(self.tokenizer, "added_tokens_decoder", {}))

    @cached_property
    def _control_of_people(self) -> re.Pattern[str]:
        return _any_of(self.tokens.values())

    @cached_property
    def _control_of_models(self) -> re.Pattern[str]:
        """Without the tags of thoughts and calls, which a model writes."""
        return _any_of(
            text
            for id, text in self.tokens.items()
            if id in self.ends
            or (getattr(self._added[id], "special", True) and text not in TAG_TEXTS)
        )


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    """A pattern for each of the texts, the longest first; without any it matches nothing."""
    several = sorted(texts, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, several)) if several else r"(?!)")
