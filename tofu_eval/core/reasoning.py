"""Thoughts are not the answer: a response's text, apart from the reasoning before it.

`split_reasoning` takes a text apart, `state_of` says what became of a response, and
`settle_response` does both to a row; engines and importers call them, so that a file and a server
say the same thing in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from tofu_eval.core.errors import ConfigError
from tofu_eval.core.states import State
from tofu_eval.core.types import Response

Tag = tuple[str, str]

TAGS: tuple[Tag, ...] = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("[THINK]", "[/THINK]"),
    ("<|channel|>analysis", "<|end|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<seed:think>", "</seed:think>"),
    ("<longcat_think>", "</longcat_think>"),
    ("◁think▷", "◁/think▷"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<|channel>thought", "<channel|>"),
    ("<unused94>", "<unused95>"),
)
"""How a thought begins and ends, as models write it: DeepSeek and Qwen, prompted models, Magistral,
gpt-oss, OpenThinker, Command A, Seed-OSS, LongCat, Kimi-VL, Apertus, Gemma, MedGemma."""

HARMONY = TAGS[5]
"""gpt-oss writes channels (analysis, commentary, final), of which the last is the answer."""

LENGTH_REASONS = frozenset(
    (
        *("length", "max_tokens", "max_length", "max_output_tokens", "max_new_tokens"),
        *("model_length", "model_context_window_exceeded", "token_limit", "incomplete"),
        *("truncated", "endoftokens"),
    )
)
FILTER_REASONS = frozenset(
    (
        *("content_filter", "content_filtered", "filter", "filtered", "safety", "refusal"),
        *("blocked", "blocklist", "prohibited_content", "recitation", "spii", "guardrail"),
        *("image_safety", "guardrail_intervened"),
    )
)
FAILURE_REASONS = frozenset(
    ("error", "failed", "failure", "abort", "aborted", "cancelled", "canceled", "timeout")
)
"""What engines and services call the end of a response, in lower case, by the state it means."""

_CHANNEL = re.compile(
    r"(?:<\|start\|>\s*assistant\s*)?<\|channel\|>\s*(?P<name>\w+)"
    r"(?:(?:[^<]|<\|constrain\|>)*<\|message\|>)?"
)
_CHANNEL_END = re.compile(r"\s*<\|(?:end|return|call)\|>\s*\Z")
_CHANNELS_DECODED = re.compile(r"\s*analysis(?P<thought>.*?)assistantfinal", re.DOTALL)
"""The same where the special tokens were left out."""

_ANSWER_MARKS = re.compile(
    r"\A\s*(?:<\|begin_of_solution\|>|<\|START_RESPONSE\|>)|"
    r"(?:<\|end_of_solution\|>|<\|END_RESPONSE\|>)\s*\Z"
)
_QUOTES = {"`": "`", '"': '"', "'": "'", "“": "”", "‘": "’", "«": "»", "「": "」"}


@dataclass(frozen=True, slots=True)
class Parts:
    """A text taken apart. `reasoning` is None where there is no thought.

    `closed` is False where a thought was opened that never ends: then there is no answer.
    """

    reasoning: str | None
    answer: str
    closed: bool


def split_reasoning(text: str, *, tags: Sequence[Tag] = TAGS, opened: bool = False) -> Parts:
    """The thoughts of a response, and its answer.

    Everything up to the end of the last closed thought is reasoning, also where its beginning
    stands in the prompt. A tag that is quoted or stands in code is a word of the answer. A text
    without a thought is returned as it is, to the last blank.

    Args:
        text: the response.
        tags: how thoughts begin and end.
        opened: whether the prompt has opened a thought; `opens_thought` says.
    """
    if HARMONY in tags and "<|channel|>" in text:
        return _split_channels(text)
    if HARMONY in tags and (decoded := _CHANNELS_DECODED.match(text)):
        return Parts(decoded["thought"].strip(), text[decoded.end() :].lstrip(), True)
    if not opened and not any(first in text for first in _first_signs(tuple(tags))):
        return Parts(None, text, True)
    thoughts: list[str] = []
    start, inside = 0, opened
    waiting: int | None = None  # the tag whose end is waited for; None takes any
    for mark in _find_marks(text, tuple(tags)):
        if mark.opens:
            if not inside and (mark.is_heading or mark.closes_later):
                thoughts.append(text[start : mark.start])
                start, inside, waiting = mark.end, True, mark.tag
            elif inside and not text[start : mark.start].strip():
                start, waiting = (
                    mark.end,
                    mark.tag,
                )  # the prompt has opened it, and so does the text
        elif not inside or waiting in (None, mark.tag):
            thoughts.append(text[start : mark.start])
            start, inside, waiting = mark.end, False, None
    if not thoughts and not inside:
        return Parts(None, text, True)
    if inside:
        return Parts(_join([*thoughts, text[start:]]), "", False)
    return Parts(_join(thoughts), _ANSWER_MARKS.sub("", text[start:]).lstrip(), True)


def opens_thought(prompt: str, *, tags: Sequence[Tag] = TAGS) -> bool:
    """Whether a prompt, as the model gets it, ends within a thought that it has opened."""
    end = prompt.rstrip().removesuffix("<|message|>").lower()
    return any(end.endswith(opening.lower()) for opening, _ in tags)


def state_of(
    answer: str,
    finish_reason: str | None = None,
    *,
    closed: bool = True,
    filtered: bool = False,
    failed: bool = False,
) -> State:
    """What became of a response.

    Args:
        answer: its text without thoughts.
        finish_reason: as the engine or the service says it.
        closed: False where a thought never ends.
        filtered: whether a filter took it, where something else than the reason says so.
        failed: whether the call failed.
    """
    reason = (finish_reason or "").strip().lower().rpartition(".")[2]
    if failed or reason in FAILURE_REASONS:
        return "failed"
    if filtered or reason in FILTER_REASONS:
        return "filtered"
    if not closed or reason in LENGTH_REASONS:
        return "unfinished"
    return "finished" if answer.strip() else "empty"


def settle_response(row: Response, *, tags: Sequence[Tag] = TAGS, opened: bool = False) -> Response:
    """A row with its thoughts in `reasoning` and its `state`; one that has them keeps them."""
    parts = split_reasoning(row.text, tags=tags, opened=opened and row.reasoning is None)
    reasoning = row.reasoning
    if parts.reasoning is not None:
        reasoning = _join([reasoning or "", parts.reasoning])
    state: State = row.state
    if state in ("finished", "unfinished"):
        told = state_of(parts.answer, row.finish_reason, closed=parts.closed)
        state = "unfinished" if state == "unfinished" and told in ("finished", "empty") else told
    return replace(row, text=parts.answer, reasoning=reasoning, state=state)


def read_tags(texts: Sequence[str]) -> tuple[Tag, ...]:
    """TAGS and those that the user names, each as `OPEN,CLOSE` (or `OPEN…CLOSE`).

    Raises:
        ConfigError: a text that is not two tags.
    """
    named = []
    for text in texts:
        parts = [part.strip() for part in re.split(r",|…|\.\.\.", text)]
        if len(parts) != 2 or not all(parts):
            raise ConfigError(
                f"reasoning_tags got '{text:.60}', expected how a thought begins and how it ends, "
                "with a comma between them: --reasoning-tags '<plan>,</plan>'"
            )
        named.append((parts[0], parts[1]))
    return (*named, *TAGS)


@dataclass(frozen=True, slots=True)
class _Mark:
    """A tag in a text: of which pair, and whether it can begin a thought that never closes."""

    start: int
    end: int
    tag: int
    opens: bool
    is_heading: bool
    closes_later: bool


def _find_marks(text: str, tags: tuple[Tag, ...]) -> Iterator[_Mark]:
    """The tags of a text that are no mere words of it."""
    pattern, numbers = _compile(tags)
    matches = [m for m in pattern.finditer(text) if not _is_quoted(text, m.start(), m.end())]
    last_closing: dict[int, int] = {}
    for match in matches:
        tag, opens = numbers[match.group().lower()]
        if not opens:
            last_closing[tag] = match.start()
    behind_thought = 0
    for match in matches:
        tag, opens = numbers[match.group().lower()]
        line = text[max(behind_thought, text.rfind("\n", 0, match.start()) + 1) : match.start()]
        closes_later = last_closing.get(tag, -1) > match.start()
        yield _Mark(match.start(), match.end(), tag, opens, not line.strip(), closes_later)
        if not opens:
            behind_thought = match.end()


@lru_cache(maxsize=32)
def _first_signs(tags: tuple[Tag, ...]) -> frozenset[str]:
    """The characters that a tag may begin with: most texts have none of them."""
    return frozenset(
        case for pair in tags for tag in pair for case in (tag[0].lower(), tag[0].upper())
    )


@lru_cache(maxsize=32)
def _compile(tags: tuple[Tag, ...]) -> tuple[re.Pattern[str], dict[str, tuple[int, bool]]]:
    """A pattern of all tags, and which tag each text is, and whether it opens."""
    numbers: dict[str, tuple[int, bool]] = {}
    for number, (opening, closing) in enumerate(tags):
        if (opening, closing) != HARMONY:
            numbers.setdefault(opening.lower(), (number, True))
            numbers.setdefault(closing.lower(), (number, False))
    longest_first = sorted(numbers, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE), numbers


def _is_quoted(text: str, start: int, end: int) -> bool:
    """Whether a tag stands between quotation marks, in a line of code or in a fenced block."""
    if not text[:start].strip():
        return False
    before, after = text[start - 1], text[end : end + 1]
    if _QUOTES.get(before) == after:
        return True
    line = text[text.rfind("\n", 0, start) + 1 : start]
    line_end = text.find("\n", end)
    rest = text[end : line_end if line_end >= 0 else len(text)]
    if line.count("`") % 2 and "`" in rest:
        return True
    fences = len(re.findall(r"^[ \t]*```", text[:start], re.MULTILINE))
    return fences % 2 == 1 and re.search(r"^[ \t]*```", text[end:], re.MULTILINE) is not None


def _split_channels(text: str) -> Parts:
    """gpt-oss: the channel `final` is the answer, the others are thoughts."""
    marks = list(_CHANNEL.finditer(text))
    if not marks:
        return Parts(None, text, True)
    thoughts, answers = [text[: marks[0].start()]], list[str]()
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        body = text[mark.end() : following.start() if following else len(text)]
        body = _CHANNEL_END.sub("", body)
        (answers if mark["name"] == "final" else thoughts).append(body)
    thoughts = [_CHANNEL_END.sub("", thought) for thought in thoughts]
    thought = None if len(thoughts) == 1 and not thoughts[0].strip() else _join(thoughts)
    # A call of a tool ends a response without an answer; anything else was cut.
    closed = bool(answers) or text.rstrip().endswith("<|call|>")
    return Parts(thought, "\n\n".join(answers).strip(), closed)


def _join(thoughts: Sequence[str]) -> str:
    """Thoughts as one text."""
    return "\n\n".join(thought.strip() for thought in thoughts if thought.strip())
