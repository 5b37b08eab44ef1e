"""What takes a model's own probabilities: distance from the target, and forgetting.

Imports torch: import this module lazily.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from tofu_eval.core.models import resolve
from tofu_eval.core.types import ModelSpec, Report, no_report
from tofu_eval.engines.loading import load
from tofu_eval.lab.data import Document, batch_of, pretraining_documents
from tofu_eval.lab.samples import stream
from tofu_eval.lab.world import SEEN, TOPICS

DRAWS = 64
"""Target answers a topic; the same for every model of a seed."""

TEXTS = 1024
"""Documents of pretraining text."""

BATCH = 256


def likelihoods(
    path: Path,
    *,
    seed: int,
    temperatures: Sequence[float] = (1.0,),
    report: Report = no_report,
    stage: str = "likelihoods",
) -> dict[str, float]:
    """Numbers of one checkpoint, by name.

    Args:
        path: the checkpoint.
        seed: decides the target answers and the texts.
        temperatures: of the logits, for the divergence.
        report: told about progress.
        stage: the name that `report` shows.
    Returns: `kl-t-<temperature>`: KL(target ‖ model) in nats an answer, mean over the seen topics
        in their first wording; the target's log-probabilities are exact, the mean is over 64
        target answers a topic, so it may fall a little below 0. `forgetting`: cross-entropy on
        pretraining text without prompts, nats a token.
    """
    model, tokenizer = load(
        resolve(ModelSpec(path.name, str(path))),
        path.name,
        device=torch.device("cpu"),
        dtype="auto",
        trust_remote_code=False,
    )
    steps = len(temperatures) + 1
    numbers = {}
    for done, temperature in enumerate(temperatures):
        report(stage, done, steps)
        numbers[f"kl-t-{temperature:g}"] = divergence(
            model, tokenizer, seed=seed, temperature=temperature
        )
    report(stage, steps - 1, steps)
    texts = pretraining_documents(stream(seed, "text"), TEXTS, unprompted=1.0)
    logprobs, tokens = log_likelihood(model, tokenizer, texts)
    numbers["forgetting"] = float(-logprobs.sum() / tokens.sum())
    report(stage, steps, steps)
    return numbers


def divergence(model: Any, tokenizer: Any, *, seed: int, temperature: float = 1.0) -> float:
    """KL(target ‖ model) in nats an answer; see `likelihoods`."""
    documents, exact = [], []
    for topic in SEEN:
        rng = stream(seed, "target", TOPICS.index(topic))
        options = topic.draw(rng.random(DRAWS))
        documents += [Document(topic.wordings[0], topic.text(int(o))) for o in options]
        exact.append(np.log(topic.mass()[options]))
    logprobs, _ = log_likelihood(model, tokenizer, documents, temperature=temperature)
    return float((np.concatenate(exact) - logprobs).mean())


def log_likelihood(
    model: Any, tokenizer: Any, documents: Sequence[Document], *, temperature: float = 1.0
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Log-probability of each answer after its prompt, in nats, and its number of tokens.

    The end token is part of the answer.

    Returns: two arrays, (len(documents),).
    """
    logprobs, tokens = [], []
    for start in range(0, len(documents), BATCH):
        batch = batch_of(tokenizer, documents[start : start + BATCH], learn_prompt=False)
        labels = batch.pop("labels")[:, 1:]
        with torch.inference_mode():
            logits = model(**batch, use_cache=False).logits[:, :-1] / temperature
            losses = cross_entropy(logits.transpose(1, 2), labels, reduction="none")
        logprobs.append(-losses.double().sum(1).numpy())
        tokens.append((labels >= 0).sum(1).numpy())
    return np.concatenate(logprobs), np.concatenate(tokens)
