"""Rows that any script may write: a prompt with all its responses, or one response.

Tool: none in particular; what no other importer knows is read as this.
Version: none.
Fields: the prompt is `prompt`, `input`, `instruction` (with `input`, where both are there),
    `question`, `query` or `messages`, a text or a list of messages; the responses are
    `responses`, `generations`, `completions`, `outputs`, `response`, `generation`, `completion`,
    `output`, `generated_text`, `prediction` or `text`, each a text, a list of texts, or messages.
    `id` may stand beside or instead of the prompt; `model` names the model; `references` (or
    `reference`) has the prompt's human or target answers, one row of the prompt is enough.
    `logprob` (of the whole response, nats), `finish_reason`, `reasoning`, `reward` and `correct`
    (true or false) are said of a response; beside several each is a list, one a response. Null is
    as if it were not there; a response that is null is a call that gave no text. `cluster`,
    `category`, `subject` and `topic` say which prompts belong together.
Source: docs/inputs.md.

Other names are given by --prompt-field, --response-field, --id-field and --model-field; several
response fields are a table with a column a model.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tofu_eval.core.types import Message
from tofu_eval.importers.base import (
    OF_PROMPT,
    Answer,
    File,
    Options,
    Record,
    Row,
    RowError,
    cluster_fields,
    fields_of,
    importer,
    kind_of,
    prompt_fact,
    texts_of,
)
from tofu_eval.importers.chat import THOUGHTS, answer_of, is_chat, prompt_of

PROMPTS = ("prompt", "instruction", "question", "query", "messages", "input")
RESPONSES = (
    *("responses", "generations", "response", "generation", "completions", "completion"),
    *("outputs", "output", "generated_text", "prediction"),
)
LISTS = RESPONSES[:2]
LAST_RESORT = "text"
IDS = ("id", "prompt_id", "custom_id")
REFERENCES = ("references", "reference")
OF_RESPONSE = ("logprob", "finish_reason", "correct", "reasoning", "reward")
COLUMNS = (
    *("model", *IDS, *PROMPTS, *RESPONSES, LAST_RESORT, *REFERENCES, *OF_RESPONSE, *OF_PROMPT),
    "reasoning_content",
)
NOT_PLAIN = frozenset((*IDS[1:], *REFERENCES, *OF_RESPONSE, *OF_PROMPT, "reasoning_content"))
"""Fields of rows that take more than a look."""


@dataclass(frozen=True)
class Layout:
    """Which fields of a file mean what, as its first row shows; `many` is found on the way."""

    prompt: str | None
    input: str | None
    responses: tuple[str, ...]
    ids: tuple[str, ...]
    model: str
    is_wide: bool
    is_csv: bool
    in_order: bool
    of_prompt: tuple[str, ...]

    def is_plain(self, row: Row) -> bool:
        """Whether a row has a prompt, a response, their names, and nothing else that counts."""
        usual = not (self.is_wide or self.is_csv or self.input) and self.prompt in row
        named = self.ids == IDS and self.model == "model" and self.responses[0] not in LISTS
        return usual and named and not row.keys() & {*NOT_PLAIN, *self.of_prompt}


@importer("rows", title="rows", fields=())
def rows(file: File) -> Iterator[Record]:
    """A row a prompt with all its responses, or a row a response; one form a file."""
    columns = (*COLUMNS, *_field_names(file.options))
    layout: Layout | None = None
    form: bool | None = None
    plain: Row = {}
    asked = ""
    for row in file.rows(columns):
        if layout is None:
            layout = find_layout(row, file)
            plain = row if layout.is_plain(row) else {}
            asked = layout.prompt or ""
        if plain.keys() == row.keys():
            text, prompt = row[layout.responses[0]], row[asked]
            if type(text) is type(prompt) is str and form is not True:
                form = False
                yield Record((text,), prompt, row.get("id"), row.get("model"))
                continue
        if layout.is_csv:
            row = _of_csv(row, layout)
        for name in layout.responses:
            record, is_many = _record(row, name, layout)
            if form is None:
                form = is_many
            elif form != is_many:
                raise RowError(f"'{name}' here, but the lines before have the other form")
            yield record


def can_read(row: Row) -> bool:
    """Whether a row has fields that rows may have."""
    has_prompt = any(name in row for name in (*PROMPTS, *IDS))
    return has_prompt and any(name in row for name in (*RESPONSES, LAST_RESORT))


def find_layout(row: Row, file: File) -> Layout:
    """Which fields mean what, by their names and by what the user says.

    Raises:
        RowError: there are none, or several that may be the response.
    """
    options = file.options
    names = list(row) + [name for name in file.columns() if name not in row]
    for flag, name in _flags(options):
        if name not in names:
            raise RowError(f"no field '{name}' ({flag}), got {fields_of(dict.fromkeys(names))}")
    prompt = options.prompt or next((name for name in PROMPTS if name in row), None)
    ids = (options.id,) if options.id else IDS
    if prompt is None and not any(id in row for id in ids) and options.prompts is None:
        raise RowError(
            f"expected 'prompt' or 'id', got {fields_of(dict.fromkeys(names))}; name the fields: "
            "--prompt-field FIELD (or --id-field FIELD and --prompts FILE), --response-field FIELD"
        )
    responses = options.responses or (_response_field(row, prompt, names),)
    if prompt in responses:
        prompt = None
    both = prompt == "instruction" and options.prompt is None and "input" in row
    if prompt not in (None, "prompt") or responses[0] not in RESPONSES[:4] or options.responses:
        file.say(_words(prompt, both, responses))
    return Layout(
        prompt,
        "input" if both and "input" not in responses else None,
        responses,
        ids,
        options.model or "model",
        len(responses) > 1,
        file.kind == "csv",
        options.prompts is not None,
        cluster_fields(options),
    )


def _field_names(options: Options) -> list[str]:
    return [name for _, name in _flags(options)]


def _flags(options: Options) -> list[tuple[str, str]]:
    named = [
        ("--prompt-field", options.prompt),
        ("--id-field", options.id),
        ("--model-field", options.model),
        ("--cluster", options.cluster),
        *(("--response-field", name) for name in options.responses),
    ]
    return [(flag, name) for flag, name in named if name]


def _response_field(row: Row, prompt: str | None, names: Sequence[str]) -> str:
    candidates = [name for name in RESPONSES if name in row and name != prompt]
    if not candidates and LAST_RESORT in row:
        candidates = [LAST_RESORT]
    if len(candidates) != 1:
        hint = (
            f"say which it is: --response-field {candidates[0]}"
            if candidates
            else "name it: --response-field FIELD (several are a column a model), or the "
            "format: --input-format NAME"
        )
        raise RowError(
            f"expected one of {', '.join(RESPONSES)}, got {fields_of(dict.fromkeys(names))}; {hint}"
        )
    return candidates[0]


def _words(prompt: str | None, both: bool, responses: Sequence[str]) -> str:
    asked = f"prompt from '{prompt}'" + (" and 'input'" if both else "")
    if len(responses) > 1:
        return f"{asked}, a model each from {', '.join(map(repr, responses))}"
    return (
        f"{asked}, response from '{responses[0]}'" if prompt else f"response from '{responses[0]}'"
    )


def _record(row: Row, name: str, layout: Layout) -> tuple[Record, bool]:
    """A row as a record, and whether it has all responses of its prompt."""
    if name not in row:
        other = next((field for field in RESPONSES if field in row), None)
        if other:
            raise RowError(f"'{other}' here, but the lines before have '{name}'")
        raise RowError(f"expected '{name}' as in the rows before, got {fields_of(row)}")
    value = row[name]
    id = row.get("id")
    if id is None or layout.ids != IDS:
        id = next((row[field] for field in layout.ids if row.get(field) is not None), None)
    prompt = _prompt(row, layout)
    if prompt is None and id is None and not layout.in_order:
        raise RowError(f"expected '{layout.prompt or 'prompt'}' or 'id', got {fields_of(row)}")
    is_many = isinstance(value, list) and not is_chat(value)
    if name in LISTS and not is_many:
        raise RowError(f"'{name}' must be a list of at least one string, got {kind_of(value)}")
    values = value if is_many else [value]
    answers: Sequence[Answer | str | None] = values
    if set(map(type, values)) != {str}:
        answers = [_answer(one, place, name, is_many) for place, one in enumerate(values, start=1)]
        answers = answers or [Answer(None, state="failed")]
    if said := [field for field in OF_RESPONSE if row.get(field) is not None]:
        answers = _with_said(answers, row, said, is_many)
    elif isinstance(row.get("reasoning_content"), str) and not is_many:
        answers = [_join_answer(answers[0], {"reasoning": row["reasoning_content"]})]
    model = name if layout.is_wide else row.get(layout.model)
    references = _references(row) if "references" in row or "reference" in row else ()
    metadata = {field: prompt_fact(row[field]) for field in layout.of_prompt if field in row}
    metadata = {field: value for field, value in metadata.items() if value}
    return Record(answers, prompt, id, model, references, whole=is_many, metadata=metadata), is_many


def _prompt(row: Row, layout: Layout) -> str | Sequence[Message] | None:
    value = row.get(layout.prompt or "prompt")
    if value is None or type(value) is str:
        more = row.get(layout.input) if layout.input else None
        return f"{value}\n\n{more}" if value and isinstance(more, str) and more.strip() else value
    if isinstance(value, list):
        return prompt_of(value, layout.prompt or "prompt")
    raise RowError(f"'{layout.prompt}' must be a string, got {kind_of(value)}")


def _answer(value: object, place: int, name: str, is_many: bool) -> Answer | str | None:
    if value is None or type(value) is str:
        return value
    where = f"response {place} of '{name}'" if is_many else f"'{name}'"
    if is_chat(value) and isinstance(value, list):
        said = [
            turn for turn in value if turn.get("role", turn.get("from")) in ("assistant", "gpt")
        ]
        return answer_of(said[-1] if said else None)
    if isinstance(value, Mapping):
        for field in ("message", "text", "generated_text", "response", "output"):
            if isinstance(value.get(field), str | Mapping):
                answer = answer_of(value[field], finish_reason=value.get("finish_reason"))
                thoughts = (value.get(name) for name in THOUGHTS if name != field)
                thought = next((t for t in thoughts if isinstance(t, str) and t), None)
                return replace(answer, reasoning=answer.reasoning or thought)
        if "content" in value:
            return answer_of(value)
    raise RowError(f"{where} must be a string, got {kind_of(value)}")


def _with_said(
    answers: Sequence[Answer | str | None], row: Row, fields: Sequence[str], is_many: bool
) -> list[Answer | str | None]:
    """The responses with what the row says of each."""
    columns = {}
    for field in fields:
        values = row[field] if is_many else [row[field]]
        if not isinstance(values, list) or len(values) != len(answers):
            got = f"{len(values)} values" if isinstance(values, list) else kind_of(values)
            raise RowError(
                f"'{field}' must be a list of one value a response ({len(answers)}), got {got}"
            )
        columns[field] = [_value(field, value) for value in values]
    return [
        _join_answer(answer, {field: column[place] for field, column in columns.items()})
        for place, answer in enumerate(answers)
    ]


def _join_answer(answer: Answer | str | None, said: Mapping[str, Any]) -> Answer:
    if not isinstance(answer, Answer):
        answer = Answer(answer)
    reward = said.get("reward")
    return Answer(
        answer.text,
        said.get("finish_reason") or answer.finish_reason,
        said.get("logprob"),
        said.get("correct"),
        said.get("reasoning") or answer.reasoning,
        answer.state,
        None if reward is None else {"reward": reward},
    )


def _value(name: str, value: object) -> float | str | bool | None:
    if value is None:
        return None
    if name in ("finish_reason", "reasoning"):
        if not isinstance(value, str):
            raise RowError(f"'{name}' must be a string, got {kind_of(value)}")
        return value
    if name == "correct":
        if not isinstance(value, bool):
            raise RowError(f"'{name}' must be true or false, got {kind_of(value)}")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RowError(f"'{name}' must be a number, got {kind_of(value)}")
    most = 0 if name == "logprob" else sys.float_info.max
    if not -sys.float_info.max <= value <= most:  # NaN is refused too
        expected = "at most 0, the log of a probability" if name == "logprob" else "finite"
        raise RowError(f"'{name}' must be {expected}, got {str(value)[:40]}")
    return float(value)


def _references(row: Row) -> Sequence[str]:
    value = row.get("references")
    if value is None:
        return texts_of(row.get("reference"), "reference")
    if not isinstance(value, list):
        raise RowError(f"'references' must be a list of strings, got {kind_of(value)}")
    for place, text in enumerate(value, start=1):
        if not isinstance(text, str):
            raise RowError(
                f"reference {place} of 'references' must be a string, got {kind_of(text)}"
            )
    return value


def _of_csv(row: Row, layout: Layout) -> dict[str, Any]:
    """A row of a table that knows texts only: numbers and truths read, empty cells left out."""
    texts = {*layout.responses, layout.prompt, layout.input}
    cells = {name: cell for name, cell in row.items() if name in texts or cell != ""}
    for name in ("logprob", "reward"):
        if name in cells:
            try:
                cells[name] = float(cells[name])
            except ValueError as error:
                raise RowError(f"'{name}' must be a number, got '{cells[name]:.40}'") from error
    if "correct" in cells:
        truths = {"true": True, "1": True, "false": False, "0": False}
        cells["correct"] = truths.get(str(cells["correct"]).strip().lower(), cells["correct"])
    for name in ("references", *(name for name in LISTS if name in layout.responses)):
        if name in cells:
            cells[name] = _list_in(cells[name])
    return cells


def _list_in(cell: str) -> list[Any]:
    """The JSON list in a cell, or the cell as the only element."""
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        return [cell]
    return value if isinstance(value, list) else [cell]
