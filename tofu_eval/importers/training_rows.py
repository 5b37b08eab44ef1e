"""Rows to train on, from files or the Hugging Face Hub; docs/training.md has all their forms.

prompt, completion        TRL's: texts, or lists of messages
messages                  role and content: the assistant's turns are learnt
conversations             ShareGPT's from and value
instruction, output       tatsu-lab/alpaca
instruction, completions  openbmb/UltraFeedback
problem, solution         NuminaMath-CoT
text                      all of it is learnt
input_ids                 tokens, taken as they are
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tofu_eval.core.errors import ConfigError, DataError, MissingDependencyError, say_error
from tofu_eval.core.models import HUB_ID
from tofu_eval.core.types import digest
from tofu_eval.importers.containers import read_rows
from tofu_eval.importers.training_turns import (
    RowError,
    Turn,
    forget_turns,
    read_template_kwargs,
    read_tools,
    read_turns,
)

MASKS = ("completion_mask", "assistant_masks")
"""Columns that say of tokens which are learnt; a token must be in each that there is."""

NO_HISTORY = "'history' must be a list of pairs, each what was asked and the answer"

REFUSED = {
    **dict.fromkeys(
        ("image", "images", "video", "videos", "audio", "audios"), "only text is trained on here"
    ),
    **dict.fromkeys(
        ("weight", "sample_weight"),
        "a row weighs as much as its tokens; give data sets weights: --data FILE=0.5",
    ),
    "position_ids": "the trainer counts positions itself",
}
"""Fields that change what would be learnt and cannot be used, and why."""

COLUMNS = (
    *("prompt", "completion", "messages", "conversations", "instruction", "input", "output"),
    *("completions", "problem", "solution", "text", "input_ids", "labels", "attention_mask"),
    *(*MASKS, "system", "history", "tools", "chat_template_kwargs", *REFUSED),
)

GOOD = 7.0
"""UltraFeedback: the overall score, out of 10, that a prompt's best completion must reach."""

IGNORE = -100


Place = int | str
"""Which row: its line (JSONL) or row number, from 1; of several data sets with the file's name."""


class _Dropped(Exception):
    """Why the rule of a dataset leaves a row out."""


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation.

    `is_dialogue` says that no part of it is called a prompt. `input` is material that belongs to
    the last turn of the user and stands apart from it in the prompt formats that have a place for
    it; `tools` and `template_kwargs` are for chat templates.
    """

    row: Place
    turns: tuple[Turn, ...]
    input: str = ""
    tools: tuple[Any, ...] = ()
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    is_dialogue: bool = False

    @property
    def learnt_texts(self) -> tuple[str, ...]:
        """The answers that are learnt."""
        return tuple(turn.answer for turn in self.turns if turn.learnt)

    def content(self) -> object:
        """What a digest covers."""
        turns = [[*t.as_template_sees_it().items(), t.learnt] for t in self.turns]
        return [turns, self.input, self.tools, self.template_kwargs]


@dataclass(frozen=True, slots=True)
class PlainText:
    """A text that is learnt as a whole."""

    row: Place
    text: str

    @property
    def learnt_texts(self) -> tuple[str, ...]:
        """All of it."""
        return (self.text,)

    def content(self) -> object:
        """What a digest covers."""
        return self.text


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids, and which of them are learnt (-100 where not)."""

    row: Place
    ids: tuple[int, ...]
    labels: tuple[int, ...]

    @property
    def learnt_texts(self) -> tuple[str, ...]:
        """None: which text they are, only their tokenizer knows."""
        return ()

    def content(self) -> object:
        """What a digest covers."""
        return [self.ids, self.labels]


Row = Example | PlainText | Tokens


@dataclass
class Examples:
    """What a source held.

    `identity` says where it is from, `dropped` counts rows by reason, `unused` names the fields
    that nothing was made of, `chats` says whether rows are conversations in lists of messages.
    """

    rows: list[Row]
    identity: dict[str, Any]
    dropped: Counter[str] = field(default_factory=Counter)
    unused: set[str] = field(default_factory=set)
    chats: bool = False


def load_examples(source: str) -> Examples:
    """Read a data set.

    Args:
        source: a JSONL or Parquet file, or a Hub id (`@revision`), of which the split `train` is
            taken.

    Raises:
        DataError: with file and line, for a row that is in none of the forms, says what cannot be
            used, or whose completion is empty.
        ConfigError: there is no such file and it is no Hub id.
        MissingDependencyError: a Hub id without the package datasets.
    """
    path = Path(source)
    if path.exists() or path.suffix in (".jsonl", ".json", ".parquet", ".pq"):
        rows, sha256 = read_rows(path, COLUMNS)
        identity = {"kind": "file", "sha256": sha256}
    else:
        rows, identity = _hub_rows(source)
    loaded = Examples([], identity)
    empty: list[int] = []
    for number, row in rows:
        try:
            made = _read_row(row, number, loaded)
        except _Dropped as reason:
            loaded.dropped[str(reason)] += 1
            continue
        except RowError as error:
            raise DataError(
                f"{source}, row {number}: {error}. Mend that row and try again."
            ) from error
        if _is_empty(made):
            empty.append(number)
        else:
            loaded.rows.append(made)
    if empty:
        shown = ", ".join(map(str, empty[:8])) + (" …" if len(empty) > 8 else "")
        raise DataError(
            f"{source}: {len(empty)} rows have an empty completion (row {shown}), from which "
            "nothing can be learnt. Take them out and try again."
        )
    if not loaded.rows:
        raise DataError(f"{source} has no rows to train on. Give rows with prompt and completion.")
    return loaded


def load_mixture(sources: Sequence[tuple[str, float]], seed: int) -> Examples:
    """Several data sets as one.

    Args:
        sources: data sets as for `load_examples`, and how often each row of it is taken; of a
            fraction, rows are drawn.
        seed: of the drawing.

    Raises:
        TofuEvalError: as `load_examples`.
    """
    if len(sources) == 1 and sources[0][1] == 1:
        return load_examples(sources[0][0])
    mixed = Examples([], {"kind": "mixture", "sources": []})
    for number, (source, weight) in enumerate(sources):
        part = load_examples(source)
        named = [replace(row, row=f"{source}:{row.row}") for row in part.rows]
        some = round((weight % 1) * len(named))
        drawn = np.random.default_rng([seed, number]).permutation(len(named))[:some]
        mixed.rows += named * int(weight) + [named[i] for i in sorted(drawn)]
        mixed.identity["sources"].append({**part.identity, "weight": weight})
        mixed.dropped += part.dropped
        mixed.unused |= part.unused
        mixed.chats |= part.chats
    if not mixed.rows:
        raise DataError("The weights of the data sets leave no row. Use larger ones.")
    return mixed


def content_digest(examples: Iterable[Row]) -> str:
    """Hex digest of what is learnt, whatever file or form it came in."""
    return digest([example.content() for example in examples])


def _hub_rows(source: str) -> tuple[Iterator[tuple[int, object]], dict[str, Any]]:
    repo, _, revision = source.partition("@")
    if not HUB_ID.match(repo):
        raise ConfigError(
            f"There is no data at '{source}': no such file, and it is not a Hub id (like org/name)."
        )
    try:
        import datasets
    except ImportError as error:
        raise MissingDependencyError.of(f"The data set '{source}'", "datasets", "hf") from error
    try:
        data = datasets.load_dataset(repo, split="train", revision=revision or None)
    except Exception as error:  # the Hub, the network and the data set may fail in any way
        raise DataError(
            f"The data set '{source}' cannot be loaded: no such local file, and the Hub says: "
            f"{say_error(error)}. Check its name and the network, or give a JSONL or Parquet file."
        ) from error
    keep = [name for name in COLUMNS if name in data.column_names]
    if not keep:
        raise DataError(f"{source}: {_describe_fields(data.column_names)}.")
    return enumerate(data.select_columns(keep), start=1), {
        "kind": "hub",
        "id": repo,
        "revision": revision,
    }


# What a row means


def _read_row(row: object, number: int, loaded: Examples) -> Row:
    if not isinstance(row, dict):
        raise RowError(f"expected an object with fields, got {type(row).__name__}")
    given = {name: value for name, value in row.items() if value is not None}
    for form in FORMS:
        if given.keys() >= set(form.columns):
            for name, why in REFUSED.items():
                if given.get(name) not in (None, [], ""):
                    raise RowError(f"the field '{name}' cannot be used: {why}")
            loaded.unused.update(given.keys() - {*form.columns, *form.uses})
            loaded.chats |= form.is_chat(given)
            return form.read(given, number, loaded.unused)
    raise RowError(_describe_fields(given))


def _is_empty(made: Row) -> bool:
    """Whether there is nothing that could be learnt of a row."""
    if isinstance(made, PlainText):
        return not made.text.strip()
    if isinstance(made, Tokens):
        return all(label == IGNORE for label in made.labels)
    learnt = [turn for turn in made.turns if turn.learnt]
    return not learnt or any(not turn.answer.strip() and not turn.more for turn in learnt)


def _describe_fields(has: Iterable[str]) -> str:
    forms = "; ".join(" and ".join(form.columns) for form in FORMS)
    return f"expected the fields {forms}; got {', '.join(sorted(has)) or 'none'}"


def _for_templates(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row says to chat templates beside its turns."""
    return {
        "tools": tuple(read_tools(row.get("tools"))),
        "template_kwargs": read_template_kwargs(row.get("chat_template_kwargs", {})),
    }


def _system(row: Mapping[str, Any]) -> tuple[Turn, ...]:
    text = _text(row["system"], "system") if row.get("system") else ""
    return (Turn("system", text),) if text.strip() else ()


def _prompt_completion(row: Mapping[str, Any], number: int, unused: set[str]) -> Row:
    completion = row["completion"]
    if isinstance(completion, str):
        turns: tuple[Turn, ...] = (Turn("assistant", completion, learnt=True),)
    elif isinstance(completion, list):
        turns = read_turns(completion, "completion", unused)
    else:
        raise RowError(f"'completion' must be text or messages, got {type(completion).__name__}")
    if turns[-1].role != "assistant":
        raise RowError("'completion' must be text, or end with a message of the assistant")
    prompt = forget_turns(read_turns(row["prompt"], "prompt", unused))
    return Example(number, (*_system(row), *prompt, *turns), **_for_templates(row))


def _conversation(row: Mapping[str, Any], number: int, unused: set[str]) -> Row:
    name = "messages" if "messages" in row else "conversations"
    turns = (*_system(row), *read_turns(row[name], name, unused))
    if len(turns) < 2 or turns[-1].role != "assistant":
        raise RowError(f"'{name}' must end with a turn of the assistant, which is what is learnt")
    if turns[0].role == "assistant":  # a greeting: nothing was asked
        turns = (replace(turns[0], learnt=False), *turns[1:])
    if not any(turn.role == "assistant" and turn.learnt for turn in turns):
        raise _Dropped("no turn of the assistant is to be learnt (weight 0)")
    return Example(number, turns, is_dialogue=True, **_for_templates(row))


def _alpaca(row: Mapping[str, Any], number: int, unused: set[str]) -> Row:
    output = _text(row["output"], "output")
    if not output.strip():
        raise _Dropped("an empty output")
    history = [turn for pair in _history(row.get("history")) for turn in _exchange(pair)]
    asked = Turn("user", _text(row["instruction"], "instruction"))
    answer = Turn("assistant", output, learnt=True)
    turns = (*_system(row), *history, asked, answer)
    return Example(number, turns, _text(row.get("input") or "", "input"))


def _history(pairs: Any) -> list[object]:
    if not isinstance(pairs or [], list):
        raise RowError(NO_HISTORY)
    return pairs or []


def _exchange(pair: object) -> tuple[Turn, ...]:
    if not isinstance(pair, list) or len(pair) != 2:
        raise RowError(NO_HISTORY)
    asked, answer = (_text(text, "history") for text in pair)
    return Turn("user", asked), Turn("assistant", answer, learnt=True)


def _ultrafeedback(row: Mapping[str, Any], number: int, unused: set[str]) -> Row:
    rated = [
        _parse_rated(c) for c in _list(row["completions"]) if c.get("overall_score") is not None
    ]
    best = max(rated, key=lambda pair: pair[0], default=(0.0, ""))  # of equals, the first
    if best[0] < GOOD or not best[1].strip():
        raise _Dropped(f"no completion with an overall score of at least {GOOD:g}")
    return _pair(number, _text(row["instruction"], "instruction"), best[1])


def _list(completions: object) -> list[dict[str, Any]]:
    if not isinstance(completions, list) or not all(isinstance(c, dict) for c in completions):
        raise RowError("'completions' must be a list of objects with response and overall_score")
    return completions


def _parse_rated(completion: Mapping[str, Any]) -> tuple[float, str]:
    score = completion["overall_score"]
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        raise RowError(f"'overall_score' must be a number, got {score!r}")
    return float(score), _text(completion.get("response"), "response")


def _problem(row: Mapping[str, Any], number: int, unused: set[str]) -> Row:
    return _pair(number, _text(row["problem"], "problem"), _text(row["solution"], "solution"))


def _plain_text(row: Mapping[str, Any], number: int, unused: set[str]) -> Row:
    return PlainText(number, _text(row["text"], "text"))


def _tokens(row: Mapping[str, Any], number: int, unused: set[str]) -> Row:
    ids = _integers(row["input_ids"], "input_ids")
    if not ids or min(ids) < 0:
        raise RowError("'input_ids' must hold token ids, one or more")
    labels = _same_length(row, "labels", ids) if "labels" in row else ids
    if any(label not in (IGNORE, id) for id, label in zip(ids, labels, strict=True)):
        raise RowError("'labels' must be the token's own id, or -100 where it is not learnt")
    for name in (*MASKS, "attention_mask"):
        if name in row:
            mask = _same_length(row, name, ids)
            if not set(mask) <= {0, 1} or (name == "attention_mask" and 0 in mask):
                what = "1 everywhere (no padding)" if name == "attention_mask" else "0 or 1"
                raise RowError(f"'{name}' must be {what}")
            labels = tuple(b if keep else IGNORE for b, keep in zip(labels, mask, strict=True))
    return Tokens(number, ids, labels)


def _same_length(row: Mapping[str, Any], name: str, ids: tuple[int, ...]) -> tuple[int, ...]:
    values = _integers(row[name], name)
    if len(values) != len(ids):
        raise RowError(f"'{name}' has {len(values)} values, 'input_ids' {len(ids)}")
    return values


def _integers(value: object, name: str) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(number) is int for number in value):
        raise RowError(f"'{name}' must be a list of whole numbers")
    return tuple(value)


def _pair(number: int, asked: str, answer: str) -> Example:
    return Example(number, (Turn("user", asked), Turn("assistant", answer, learnt=True)))


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise RowError(f"'{name}' must be text, got {type(value).__name__}")
    return value


@dataclass(frozen=True, slots=True)
class Form:
    """What a row must have to be of this form, what is read of it beside, and how."""

    columns: tuple[str, ...]
    read: Callable[[Mapping[str, Any], int, set[str]], Row]
    uses: tuple[str, ...] = ()

    def is_chat(self, row: Mapping[str, Any]) -> bool:
        """Whether a row says who says what."""
        return isinstance(row[self.columns[0]], list) and self.read is not _tokens


_BESIDE = ("system", "tools", "chat_template_kwargs")

FORMS = (
    Form(("input_ids",), _tokens, ("labels", "attention_mask", *MASKS)),
    Form(("prompt", "completion"), _prompt_completion, _BESIDE),
    Form(("messages",), _conversation, _BESIDE),
    Form(("conversations",), _conversation, _BESIDE),
    Form(("instruction", "output"), _alpaca, ("input", "history", "system", "text")),
    Form(("instruction", "completions"), _ultrafeedback),
    Form(("problem", "solution"), _problem, ("messages",)),
    Form(("text",), _plain_text),
)
"""The first that fits is taken. Alpaca's `text` is its own prompt and answer once more."""
