"""An engine without a model, as a plug-in: words from a row's seed."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence

import tofu_eval as te
from tofu_eval.core.types import Request

WORDS = ["apple", "pear", "plum", "fig", "lime", "kiwi", "date", "sloe", "mango", "quince"]


class Echo:
    family = "echo"

    def __init__(self, words: int, batch_size: int) -> None:
        self.identity = {"kind": "echo", "words": words}
        self._words, self._size = WORDS[:words], batch_size

    def generate(
        self, requests: Sequence[Request], done: Collection[str] = ()
    ) -> Iterator[list[te.Response]]:
        for start in range(0, len(requests), self._size):
            batch = requests[start : start + self._size]
            if any(request.key not in done for request in batch):
                yield [self._answer(request) for request in batch]

    def _answer(self, request: Request) -> te.Response:
        stream = random.Random(request.seed)
        text = " ".join(stream.choices(self._words, k=6))
        place = (request.key, request.model, request.task, request.prompt_id, request.sample)
        return te.Response(*place, text, tuple(range(6)), "stop", -stream.random(), request.seed)

    def close(self) -> None:
        pass


@te.engine("echo")
def open_echo(spec: te.ModelSpec, *, batch_size: int = 32, **_: object) -> Echo:
    return Echo(int(spec.model), batch_size)
