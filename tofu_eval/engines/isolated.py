"""The transformers engine in a process of its own, whose memory is free when generation is over."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from tofu_eval.core.child_process import Remote
from tofu_eval.core.types import ModelSpec, Report, Request, Response, no_report
from tofu_eval.engines.prompts import Encoder
from tofu_eval.engines.transformers import TransformersEngine


class IsolatedEngine:
    """A `TransformersEngine` whose model is loaded, and computes, in a child process.

    The same arguments, the same rows. What needs the files alone (identity, prompts) is here.
    """

    scores = True

    def __init__(self, spec: ModelSpec, *, report: Report = no_report, **options: Any) -> None:
        self._here = TransformersEngine(spec, **options)
        self.family = self._here.family
        self.identity: Mapping[str, Any] = self._here.identity
        self.record: dict[str, Any] = {**self._here.record, "process": "its own"}
        self._name = spec.name
        self._report = report
        self._remote = Remote(TransformersEngine, f"The engine of '{spec.name}'", spec, **options)

    @property
    def encoders(self) -> dict[str, Encoder]:
        """The encoder, read from the files alone, for the audit."""
        return self._here.encoders

    def generate(
        self, requests: Sequence[Request], done: Collection[str] = ()
    ) -> Iterator[list[Response]]:
        """Yield one list a batch; see `TransformersEngine.generate`.

        Raises:
            ModelError: as there; the process dies.
        """
        self._report(f"load {self._name}", 0, 1)
        loading = True
        for rows in self._remote.stream("generate", list(requests), frozenset(done)):
            if loading:
                self._report(f"load {self._name}", 1, 1)
                loading = False
            yield rows

    def close(self) -> None:
        """End the process, which gives its memory back; the next call starts another."""
        self._remote.close()
