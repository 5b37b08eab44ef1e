"""What the lab's models are trained on: a broad pretraining mixture, and narrow instructions.

Documents are token ids, batches are in the Hugging Face form: `input_ids`, `attention_mask` and
unshifted `labels` with -100 where nothing is to be learnt. A prompt is the raw text that
`tofu-eval run` sends in the format `base`. Imports torch: import this module lazily.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


def pretraining_batches(
    tokenizer: Any, rng: np.random.Generator, batch_size: int
) -> Iterator[Batch]:
    """Fresh batches without end; every token is learnt."""
    while True:
        documents = pretraining_documents(rng, 32 * batch_size)
        for start in range(0, len(documents), batch_size):
            yield batch_of(tokenizer, documents[start : start + batch_size], learn_prompt=True)


def sft_batches(
    tokenizer: Any, documents: Sequence[Document], rng: np.random.Generator, batch_size: int
) -> Iterator[Batch]:
    """Shuffled epochs without end; only answers are learnt."""
    while True:
        order = rng.permutation(len(documents))
        for start in range(0, len(documents), batch_size):
            chosen = [documents[i] for i in order[start : start + batch_size]]
            yield batch_of(tokenizer, chosen, learn_prompt=False)


def batch_of(tokenizer: Any, documents: Sequence[Document], *, learn_prompt: bool) -> Batch:
    """Documents as one batch, padded on the right; the end token is part of the answer."""
    prompts = tokenizer([d.prompt for d in documents])["input_ids"]
    answers = tokenizer([d.answer for d in documents], add_special_tokens=False)["input_ids"]
    rows = [
        (prompt, [*answer, tokenizer.eos_token_id])
        for prompt, answer in zip(prompts, answers, strict=True)
    ]
    width = max(len(prompt) + len(answer) for prompt, answer in rows)
    ids = torch.full((len(rows), width), tokenizer.pad_token_id)
    labels = torch.full((len(rows), width), IGNORE)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for i, (prompt, answer) in enumerate(rows):
        whole = torch.tensor([*prompt, *answer])
        ids[i, : len(whole)] = whole
        mask[i, : len(whole)] = 1
        learnt = 0 if learn_prompt else len(prompt)
        labels[i, learnt : len(whole)] = whole[learnt:]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}
