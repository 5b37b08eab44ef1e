"""An engine without a model: text from the row's seed alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tofu_eval.core.types import Request, Response

WORDS = ["apple", "pear", "plum", "fig", "lime", "kiwi", "date", "sloe", "mango", "quince"]


class FakeEngine:
    """Batches of `batch_size` rows; stops after `fail_after` batches, if given."""

    family = "fake"

    def __init__(
        self, words: int = len(WORDS), *, batch_size: int = 4, fail_after: int | None = None
    ) -> None:
        self.identity: Mapping[str, Any] = {"kind": "fake", "words": words}
        self.batch_size = batch_size
        self.fail_after = fail_after
        self.made: list[str] = []

    def generate(
        self, requests: Sequence[Request], done: Collection[str] = ()
    ) -> Iterator[list[Response]]:
        for number, start in enumerate(range(0, len(requests), self.batch_size)):
            batch = requests[start : start + self.batch_size]
            if all(request.key in done for request in batch):
                continue
            if number == self.fail_after:
                raise KeyboardInterrupt
            self.made += [request.key for request in batch]
            yield [self._response(request) for request in batch]

    def _response(self, request: Request) -> Response:
        draw = np.random.default_rng(request.seed)
        words = draw.choice(WORDS[: self.identity["words"]], size=6)
        return Response(
            request.key,
            request.model,
            request.task,
            request.prompt_id,
            request.sample,
            " ".join(words),
            tuple(range(6)),
            "stop",
            -float(draw.random()),
            request.seed,
        )

    def close(self) -> None:
        pass
