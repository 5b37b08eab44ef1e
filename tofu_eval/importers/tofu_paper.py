"""The TOFU paper's `responses.jsonl`, and the same after its judge.

Tool: the code of arXiv:2605.00195, inference_sft.py and its scoring.
Version: of the paper.
Fields: `prompt` in a template of tags (`<|instruct|> … <|/instruct|>`, `<|problem|> … `), which
    ends in an open one (`<|response|>`, `<|solution|>`); `responses`, each with the closing tag
    where it was not cut; `correct_solution`, `correct_response`; after scoring
    `scored_responses[].response` and `.rating`. The folder is called after the model.
Source: inference_sft.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tofu_eval.importers.base import (
    Answer,
    File,
    Record,
    Row,
    RowError,
    importer,
    kind_of,
    list_at,
    look,
    metadata_in,
    number_of,
    text_at,
    texts_of,
)

BLOCK = re.compile(r"<\|(\w+)\|>(.*?)<\|/\1\|>", re.DOTALL)
OPEN_AT_END = re.compile(r"<\|(\w+)\|>\s*\Z")


def _has_template(row: Row) -> bool:
    prompt = row["prompt"]
    return isinstance(prompt, str) and bool(BLOCK.search(prompt) and OPEN_AT_END.search(prompt))


@importer(
    "tofu-paper",
    title="responses of the TOFU paper's code",
    fields=("prompt", "responses"),
    or_fields=("prompt", "scored_responses"),
    matches=_has_template,
)
def tofu_paper(file: File) -> Iterator[Record]:
    """A row a prompt; tags are taken off, and tell which responses were cut."""
    model = file.path.absolute().parent.name if file.path.stem == "responses" else None
    if model:
        file.say("model from the folder's name")
    for row in file.rows():
        prompt = text_at(row, "prompt")
        tag = OPEN_AT_END.search(prompt)
        if tag is None:
            raise RowError("'prompt' must end in an open tag, such as <|response|>")
        blocks = [text.strip() for _, text in BLOCK.findall(prompt)]
        yield Record(
            _answers(row, f"<|/{tag[1]}|>"),
            prompt="\n\n".join(block for block in blocks if block),
            model=model,
            references=[
                text
                for name in ("correct_solution", "correct_response")
                for text in texts_of(row.get(name), name)
            ],
            whole=True,
            metadata=metadata_in(file, row),
        )


def _answers(row: Row, end: str) -> list[Answer]:
    if "responses" in row:
        return [_answer(text, end, None) for text in list_at(row, "responses")]
    scored = list_at(row, "scored_responses")
    return [_answer(look(one, "response"), end, look(one, "rating")) for one in scored]


def _answer(text: object, end: str, rating: object) -> Answer:
    if text is None:
        return Answer(None, state="failed")
    if not isinstance(text, str):
        raise RowError(f"a response must be a string, got {kind_of(text)}")
    answer, closed, _ = text.partition(end)
    number = number_of(rating)
    return Answer(
        answer.strip(),
        finish_reason="stop" if closed else "length",
        given=None if number is None else {"judge": number},
    )
