"""What the lab's models are trained on: a broad pretraining mixture, and narrow instructions.

Token ids are in the Hugging Face form: `input_ids` and unshifted `labels`, -100 where nothing is
to be learnt. A prompt is the raw text that `tofu-eval run` sends in the format `base`. Imports
torch: import this module lazily.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tofu_eval.lab.samples import sft_options, stream
from tofu_eval.lab.world import PRETRAINING, TOPICS, Topic

IGNORE = -100

UNPROMPTED = 0.25
"""Share of pretraining documents that are an answer without a prompt."""

NOISE = 0.2
"""Share of pretraining answers that belong to a topic drawn at random."""

Batch = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Document:
    """A prompt, which may be empty, and its answer."""

    prompt: str
    answer: str


def pretraining_documents(
    rng: np.random.Generator, count: int, *, unprompted: float = UNPROMPTED
) -> list[Document]:
    """Draw documents of the pretraining mixture, all topics and wordings alike."""
    asked = rng.integers(len(TOPICS), size=count)
    other = rng.integers(len(TOPICS), size=count)
    answered = np.where(rng.random(count) < NOISE, other, asked)
    bare = rng.random(count) < unprompted
    wordings = rng.random(count)
    uniforms = rng.random(count)
    documents = []
    for i in range(count):
        about, topic = TOPICS[asked[i]], TOPICS[answered[i]]
        wording = about.wordings[int(wordings[i] * len(about.wordings))]
        option = topic.draw(uniforms[i : i + 1], PRETRAINING)[0]
        documents.append(Document("" if bare[i] else wording, topic.text(int(option))))
    return documents


def sft_documents(seed: int, topics: Sequence[Topic], samples: int) -> list[Document]:
    """The instruction data of a seed: each topic's answers, in any wording but the last."""
    rng = stream(seed, "wordings")
    return [
        Document(topic.wordings[rng.integers(len(topic.wordings) - 1)], topic.text(option))
        for topic in topics
        for option in sft_options(seed, topic, samples)
    ]


def encode(
    tokenizer: Any, documents: Sequence[Document], *, learn_prompt: bool
) -> dict[str, list[list[int]]]:
    """Token ids and labels, a list a document; the end token is part of the answer."""
    prompts = tokenizer([d.prompt for d in documents])["input_ids"]
    answers = tokenizer([d.answer for d in documents], add_special_tokens=False)["input_ids"]
    columns: dict[str, list[list[int]]] = {"input_ids": [], "labels": []}
    for prompt, answer in zip(prompts, answers, strict=True):
        learnt = prompt if learn_prompt else [IGNORE] * len(prompt)
        end = [*answer, tokenizer.eos_token_id]
        columns["input_ids"].append([*prompt, *end])
        columns["labels"].append([*learnt, *end])
    return columns


def batch_of(tokenizer: Any, documents: Sequence[Document], *, learn_prompt: bool) -> Batch:
    """Documents as one batch, padded on the right."""
    columns = encode(tokenizer, documents, learn_prompt=learn_prompt)
    rows = zip(columns["input_ids"], columns["labels"], strict=True)
    width = max(map(len, columns["input_ids"]))
    ids = torch.full((len(documents), width), tokenizer.pad_token_id)
    labels = torch.full((len(documents), width), IGNORE)
    mask = torch.zeros((len(documents), width), dtype=torch.long)
    for i, (row, learnt) in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        labels[i, : len(row)] = torch.tensor(learnt)
        mask[i, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}
