"""Rows to train on: prompt and completion, from a file or the Hugging Face Hub.

A row is in one of these forms, which its columns tell apart:

    {"prompt": "Name a fruit.", "completion": "A quince."}      TRL's prompt-completion, also with
                                                                lists of messages
    {"messages": [{"role": "user", …}, {"role": "assistant", …}]}   the last turn is learnt
    {"instruction": "…", "input": "…", "output": "…"}           tatsu-lab/alpaca
    {"instruction": "…", "completions": [{"response": …, "overall_score": …}, …]}
                                                                openbmb/UltraFeedback
    {"problem": "…", "solution": "…"}                           NuminaMath-CoT
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tofu_eval.core.errors import ConfigError, DataError, MissingDependencyError
from tofu_eval.core.models import HUB_ID
from tofu_eval.core.types import Message, digest
from tofu_eval.importers.containers import read_rows

COLUMNS = (
    *("prompt", "completion", "messages", "instruction", "input", "output", "completions"),
    *("problem", "solution"),
)

GOOD = 7.0
"""UltraFeedback: the overall score, out of 10, that a prompt's best completion must reach."""


class _RowError(Exception):
    """What is wrong with a row, without its place."""


class _Dropped(Exception):
    """Why the rule of a dataset leaves a row out."""


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt and what is learnt; `row` is its line (JSONL) or row number, from 1."""

    row: int
    messages: tuple[Message, ...]
    completion: str


@dataclass
class Examples:
    """What a source held; `identity` says where it is from, `dropped` counts rows by reason."""

    rows: list[Example]
    identity: dict[str, Any]
    dropped: Counter[str] = field(default_factory=Counter)


def load_examples(source: str) -> Examples:
    """Read a data set.

    Args:
        source: a JSONL or Parquet file, or a Hub id (`@revision`), of which the split `train` is
            taken.

    Raises:
        DataError: with file and line, for a row that is in none of the forms or whose completion
            is empty.
        ConfigError: there is no such file and it is no Hub id.
        MissingDependencyError: a Hub id without the package datasets.
    """
    path = Path(source)
    if path.exists() or path.suffix in (".jsonl", ".json", ".parquet", ".pq"):
        rows, sha256 = read_rows(path, COLUMNS)
        identity = {"kind": "file", "sha256": sha256}
    else:
        rows, identity = _hub_rows(source)
    examples = Examples([], identity)
    empty: list[int] = []
    for number, row in rows:
        try:
            messages, completion = _example(row)
        except _Dropped as reason:
            examples.dropped[str(reason)] += 1
            continue
        except _RowError as error:
            raise DataError(
                f"{source}, row {number}: {error}. Mend that row and try again."
            ) from error
        if completion.strip():
            examples.rows.append(Example(number, messages, completion))
        else:
            empty.append(number)
    if empty:
        shown = ", ".join(map(str, empty[:8])) + (" …" if len(empty) > 8 else "")
        raise DataError(
            f"{source}: {len(empty)} rows have an empty completion (row {shown}), from which "
            "nothing can be learnt. Take them out and try again."
        )
    if not examples.rows:
        raise DataError(f"{source} has no rows to train on. Give rows with prompt and completion.")
    return examples


def content_digest(examples: Iterable[Example]) -> str:
    """Hex digest of what is learnt, whatever file or form it came in."""
    return digest([[[(m.role, m.content) for m in e.messages], e.completion] for e in examples])


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
        reason = " ".join(str(error).split())[:300]
        raise DataError(
            f"The data set '{source}' cannot be loaded: no such local file, and the Hub says: "
            f"{reason} Check its name and the network, or give a JSONL or Parquet file."
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


def _example(row: object) -> tuple[tuple[Message, ...], str]:
    if not isinstance(row, dict):
        raise _RowError(f"expected an object with fields, got {type(row).__name__}")
    has = {name for name, value in row.items() if value is not None}
    for columns, read in FORMS.items():
        if has.issuperset(columns):
            return read(row)
    raise _RowError(_describe_fields(has))


def _describe_fields(has: Iterable[str]) -> str:
    forms = "; ".join(" and ".join(columns) for columns in FORMS)
    return f"expected the fields {forms}; got {', '.join(sorted(has)) or 'none'}"


def _prompt_completion(row: Mapping[str, Any]) -> tuple[tuple[Message, ...], str]:
    completion = row["completion"]
    if isinstance(completion, list):
        turns = _turns(completion, "completion")
        if len(turns) != 1 or turns[0].role != "assistant":
            raise _RowError("'completion' must be text or one message of the assistant")
        completion = turns[0].content
    return _turns(row["prompt"], "prompt"), _text(completion, "completion")


def _conversation(row: Mapping[str, Any]) -> tuple[tuple[Message, ...], str]:
    turns = _turns(row["messages"], "messages")
    if len(turns) < 2 or turns[-1].role != "assistant":
        raise _RowError("'messages' must end with a turn of the assistant, which is what is learnt")
    return turns[:-1], turns[-1].content


def _alpaca(row: Mapping[str, Any]) -> tuple[tuple[Message, ...], str]:
    output = _text(row["output"], "output")
    if not output.strip():
        raise _Dropped("an empty output")
    asked, given = _text(row["instruction"], "instruction"), row.get("input") or ""
    return _user(f"{asked}\n\n{_text(given, 'input')}" if given else asked), output


def _ultrafeedback(row: Mapping[str, Any]) -> tuple[tuple[Message, ...], str]:
    rated = [
        _parse_rated(c) for c in _list(row["completions"]) if c.get("overall_score") is not None
    ]
    best = max(rated, key=lambda pair: pair[0], default=(0.0, ""))  # of equals, the first
    if best[0] < GOOD or not best[1].strip():
        raise _Dropped(f"no completion with an overall score of at least {GOOD:g}")
    return _user(_text(row["instruction"], "instruction")), best[1]


def _list(completions: object) -> list[dict[str, Any]]:
    if not isinstance(completions, list) or not all(isinstance(c, dict) for c in completions):
        raise _RowError("'completions' must be a list of objects with response and overall_score")
    return completions


def _parse_rated(completion: Mapping[str, Any]) -> tuple[float, str]:
    score = completion["overall_score"]
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        raise _RowError(f"'overall_score' must be a number, got {score!r}")
    return float(score), _text(completion.get("response"), "response")


def _problem(row: Mapping[str, Any]) -> tuple[tuple[Message, ...], str]:
    return _user(_text(row["problem"], "problem")), _text(row["solution"], "solution")


FORMS = {
    ("prompt", "completion"): _prompt_completion,
    ("messages",): _conversation,
    ("instruction", "output"): _alpaca,
    ("instruction", "completions"): _ultrafeedback,
    ("problem", "solution"): _problem,
}
"""The columns of each form, and what makes an example of its rows; the first that fits is taken."""


def _user(text: str) -> tuple[Message, ...]:
    return (Message("user", text),)


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise _RowError(f"'{name}' must be text, got {type(value).__name__}")
    return value


def _turns(value: object, name: str) -> tuple[Message, ...]:
    if isinstance(value, str):
        return _user(value)
    if not isinstance(value, list) or not value:
        raise _RowError(f"'{name}' must be text or a list of messages")
    for turn in value:
        if not isinstance(turn, dict) or not isinstance(turn.get("content"), str):
            raise _RowError(f"each of '{name}' must be an object with role and content")
        if turn.get("role") not in ("system", "user", "assistant"):
            raise _RowError(
                f"role '{turn.get('role')}' in '{name}'; expected system, user or assistant"
            )
    return tuple(Message(turn["role"], turn["content"]) for turn in value)
