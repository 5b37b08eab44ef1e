"""The target as an engine: what a model would be that had learnt the world perfectly."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from tofu_eval.core.errors import ModelError
from tofu_eval.core.types import Request, Response
from tofu_eval.lab.world import TARGET, TOPICS, Floats, Topic, identity, pick, product, zipf

CHUNK = 1024
"""Responses that are saved together."""

LONGEST = 13
"""Tokens of the longest answer, its end included."""

_ASKED = {wording: topic for topic in TOPICS for wording in topic.wordings}


class TargetEngine:
    """Draws answers from the grammar itself; see `engines.base.Engine`.

    It writes word by word like a model whose every next-word probability is right: temperature
    and top-p act on each slot's distribution, and the fixed words have probability 1. A row
    depends on its request's seed alone. `logprob` is exact.
    """

    family = "lab-target"

    def __init__(self) -> None:
        self.identity: Mapping[str, Any] = identity()

    def generate(
        self, requests: Sequence[Request], done: Collection[str] = ()
    ) -> Iterator[list[Response]]:
        """Yield the responses that are not done, in their order.

        Raises:
            ModelError: before the first list, for a prompt that is none of the lab's wordings, or
                a `max_tokens` that would cut an answer.
        """
        topics = {request.text: _topic(request) for request in requests}
        left = [request for request in requests if request.key not in done]
        for start in range(0, len(left), CHUNK):
            yield [_response(r, topics[r.text]) for r in left[start : start + CHUNK]]

    def close(self) -> None:
        """Nothing to give back."""


@cache
def under_decoder(shape: tuple[int, ...], temperature: float, top_p: float) -> Floats:
    """Probability of each option under a decoder, (options,).

    Args:
        shape: words per slot.
        temperature: >= 0; 0 takes the most likely word.
        top_p: in (0, 1]; the shortest list of most likely words that reaches it is kept.
    """
    return product([_decode(zipf(count, TARGET), temperature, top_p) for count in shape])


def _decode(slot: Floats, temperature: float, top_p: float) -> Floats:
    """One slot; its words are in falling order of probability."""
    if temperature == 0:
        first: Floats = np.eye(1, len(slot))[0]
        return first
    logits = np.log(slot) / temperature
    tempered = np.exp(logits - logits.max())
    tempered /= tempered.sum()
    kept = np.where(np.cumsum(tempered) - tempered < top_p, tempered, 0.0)
    decoded: Floats = kept / kept.sum()
    return decoded


def _topic(request: Request) -> Topic:
    if request.text not in _ASKED:
        raise ModelError(
            f"The lab's target knows only the lab's prompts as raw text, and prompt "
            f"'{request.prompt_id}' of task '{request.task}' is none. "
            "Use it on the lab's tasks, in the format 'base'."
        )
    if request.sampling.max_tokens < LONGEST:
        raise ModelError(
            f"The lab's target writes whole answers of up to {LONGEST} tokens, but max_tokens is "
            f"{request.sampling.max_tokens}. Use --max-tokens {LONGEST} or more."
        )
    return _ASKED[request.text]


def _response(request: Request, topic: Topic) -> Response:
    decoder = request.sampling
    uniform = np.random.default_rng(request.seed).random(1)
    option = int(pick(under_decoder(topic.shape, decoder.temperature, decoder.top_p), uniform)[0])
    return Response(
        request.key,
        request.model,
        request.task,
        request.prompt_id,
        request.sample,
        topic.text(option),
        finish_reason="stop",
        logprob=float(np.log(topic.mass()[option])),
        seed=request.seed,
    )
