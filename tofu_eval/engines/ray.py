"""The ray engine: the prompts in blocks over actors that each hold an engine, on many machines.

Ray Data deals out the blocks; inside an actor works one of our own engines, so that a row is the
same as on one machine. A block is cut from all the requests of a run, as a batch is, and is the
unit of what is made again: by Ray when an actor dies, by us when a run is resumed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from tofu_eval.core.ray_actors import Actors
from tofu_eval.core.types import ModelSpec, Report, Request, Response, no_report
from tofu_eval.engines.base import Engine
from tofu_eval.engines.prompts import Encoder

Open = Callable[..., Engine]


class RayEngine:
    """One model in several actors; see `base.Engine`.

    Args:
        spec: which model; every machine finds it under the same path or Hub id.
        open_inner: opens the engine that an actor holds: `(spec, **options)`.
        batch_size: requests of a block.
        report: told about the start of the actors.
        engine_args: any of the fields of `Actors`; all others are the inner engine's.
        options: for the inner engine: device, dtype, trust_remote_code.

    Raises:
        ModelError: the model cannot be found.
        ConfigError: an argument that cannot be.
        MissingDependencyError: ray[data] is not installed.
    """

    def __init__(
        self,
        spec: ModelSpec,
        open_inner: Open,
        *,
        batch_size: int = 128,
        report: Report = no_report,
        engine_args: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        given = dict(engine_args or {})
        self._actors = Actors.take(given, "engine argument", "The ray engine")
        self._options = {**options, "batch_size": batch_size, "engine_args": given}
        self._spec, self._open, self._report = spec, open_inner, report
        self._size = batch_size
        self._starting = ""
        # Not loaded here: it checks the arguments, names the model and tokenizes.
        self._inner: Any = open_inner(spec, **self._options)
        self.family = f"ray-{self._inner.family}"
        self.identity: Mapping[str, Any] = self._inner.identity
        self.record: dict[str, Any] = {
            **getattr(self._inner, "record", {}),
            "ray": self._actors.describe(),
        }

    @property
    def encoders(self) -> Mapping[str, Encoder]:
        """The inner engine's, for the audit."""
        found: Mapping[str, Encoder] = getattr(self._inner, "encoders", {})
        return found

    def generate(
        self, requests: Sequence[Request], done: Collection[str] = ()
    ) -> Iterator[list[Response]]:
        """Yield the responses of a block when it is done; see `base.Engine.generate`.

        Raises:
            ModelError: a prompt that cannot be served, before anything starts; an actor that
                fails on its block; a cluster that cannot be had.
        """
        for encoder in self.encoders.values():
            encoder.encode_all(requests)
        blocks = [b for b in self._blocks(requests) if any(r.key not in done for r in b)]
        if not blocks:
            return
        holder = (self._open, self._spec, self._options)
        made = self._actors.map(
            _Holder,
            holder,
            blocks,
            what=f"'{self._spec.name}'",
            in_order=False,
            started=self._tell_start,
        )
        for rows in made:
            yield [row for row in rows if row.key not in done]

    def close(self) -> None:
        """The actors end with the generation; nothing is held."""
        self._inner.close()

    def _blocks(self, requests: Sequence[Request]) -> list[list[Request]]:
        """Rows of one block share their decoder, as those of a batch do; longest prompts first."""
        groups: dict[Any, list[Request]] = {}
        for request in requests:
            groups.setdefault(request.sampling, []).append(request)
        blocks = []
        for rows in groups.values():
            rows.sort(key=lambda r: -len(r.text or "".join(m.content for m in r.messages or ())))
            blocks += [rows[i : i + self._size] for i in range(0, len(rows), self._size)]
        return blocks

    def _tell_start(self, actors: int) -> None:
        if actors:
            self._starting = f"start {actors} actors"
        self._report(self._starting, int(not actors), 1)


class _Holder:
    """What lives in an actor: one engine, which makes whole blocks."""

    def __init__(self, open_inner: Open, spec: ModelSpec, options: Mapping[str, Any]) -> None:
        self._engine = open_inner(spec, **options)

    def __call__(self, block: Sequence[Request]) -> list[Response]:
        return [row for rows in self._engine.generate(block) for row in rows]
