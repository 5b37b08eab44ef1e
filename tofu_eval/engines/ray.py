"""The ray engine: the prompts in blocks over actors that each hold an engine, on many machines.

Ray Data deals out the blocks; inside an actor works one of our own engines, so that a row is the
same as on one machine. A block is cut from all the requests of a run, as a batch is, and is the
unit of what is made again: by Ray when an actor dies, by us when a run is resumed.
"""

from __future__ import annotations

import importlib.util
import os
import pickle
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from tofu_eval.core.errors import ConfigError, MissingDependencyError, ModelError, TofuEvalError
from tofu_eval.core.types import ModelSpec, Report, Request, Response, no_report
from tofu_eval.engines.base import Engine
from tofu_eval.engines.prompts import Encoder

Open = Callable[..., Engine]

DEFAULTS: Mapping[str, Any] = {
    "actors": 1,
    "num_cpus": 1.0,
    "num_gpus": 0.0,
    "address": None,
}
"""Engines side by side; what each asks of its machine; the cluster (else RAY_ADDRESS, else one
that is started here)."""


class RayEngine:
    """One model in several actors; see `base.Engine`.

    Args:
        spec: which model; every machine finds it under the same path or Hub id.
        open_inner: opens the engine that an actor holds: `(spec, **options)`.
        batch_size: requests of a block.
        report: told about the start of the actors.
        engine_args: any of DEFAULTS; all others are the inner engine's.
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
        if importlib.util.find_spec("ray") is None:
            raise MissingDependencyError.of("The ray engine", "ray", "ray")
        given = dict(engine_args or {})
        self._ray = {name: given.pop(name, default) for name, default in DEFAULTS.items()}
        for name in ("actors", "num_cpus", "num_gpus"):
            value, kinds = self._ray[name], int if name == "actors" else (int, float)
            least = 1 if name == "actors" else 0
            if isinstance(value, bool) or not isinstance(value, kinds) or value < least:
                raise ConfigError(f"The engine argument '{name}' cannot be {value!r}.")
        self._options = {**options, "batch_size": batch_size, "engine_args": given}
        self._spec, self._open, self._report = spec, open_inner, report
        self._size = batch_size
        # Not loaded here: it checks the arguments, names the model and tokenizes.
        self._inner: Any = open_inner(spec, **self._options)
        self.family = f"ray-{self._inner.family}"
        self.identity: Mapping[str, Any] = self._inner.identity
        self.record: dict[str, Any] = {
            **getattr(self._inner, "record", {}),
            "ray": {k: v for k, v in self._ray.items() if k != "address"},
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
        for rows in self._deal([pickle.dumps(block) for block in blocks]):
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

    def _deal(self, blocks: list[bytes]) -> Iterator[list[Response]]:
        ray = self._connect()
        actors = min(self._ray["actors"], len(blocks))
        self._report(f"start {actors} actors", 0, 1)
        data = ray.data.from_items([{"block": block} for block in blocks])
        # One block a piece, or a small input would be one piece and one actor would do it all.
        data = data.repartition(len(blocks)).map_batches(
            _Holder,
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=actors),
            num_cpus=self._ray["num_cpus"],
            num_gpus=self._ray["num_gpus"],
            fn_constructor_args=(self._open, self._spec, self._options),
        )
        first = True
        try:
            for row in data.iter_rows():
                if first:
                    self._report(f"start {actors} actors", 1, 1)
                first = False
                responses = pickle.loads(row["made"])
                if isinstance(responses, str):
                    raise ModelError(responses)
                yield responses
        except ray.exceptions.RayError as error:
            said = " ".join(str(error).split())[-300:]
            raise ModelError(
                f"Ray failed on '{self._spec.name}': {type(error).__name__}: {said}. What it made "
                "is kept; run the same command again."
            ) from error

    def _connect(self) -> Any:
        """Ray, on the cluster that was named or one of its own."""
        import logging

        import ray
        import ray.data

        if not ray.is_initialized():
            here = self._ray["address"] is None and "RAY_ADDRESS" not in os.environ
            cores = max(os.cpu_count() or 1, int(self._ray["actors"] * self._ray["num_cpus"]) + 1)
            try:
                ray.init(
                    address=self._ray["address"],
                    num_cpus=cores if here else None,
                    include_dashboard=False if here else None,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    configure_logging=True,
                )
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise ModelError(f"Ray cannot be started or reached: {error}.") from error
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        return ray


class _Holder:
    """What lives in an actor: one engine, which makes whole blocks."""

    def __init__(self, open_inner: Open, spec: ModelSpec, options: Mapping[str, Any]) -> None:
        self._engine = open_inner(spec, **options)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[bytes]]:
        pickled: list[bytes] = []
        for block in batch["block"]:
            try:
                requests: list[Request] = pickle.loads(block)
                rows = [row for rows in self._engine.generate(requests) for row in rows]
                pickled.append(pickle.dumps(rows))
            except TofuEvalError as error:
                pickled.append(pickle.dumps(str(error)))  # as it is, not as a traceback of Ray's
        return {"made": pickled}
