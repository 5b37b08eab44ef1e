"""A function over batches on actors of Ray Data, which may stand on many machines.

Ray deals out the batches, and deals a batch again when its actor dies. What an actor holds is made
in it once (`make`), and called with one batch at a time; so a batch gives what it would give here.
"""

from __future__ import annotations

import importlib.util
import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from itertools import islice
from typing import Any

from tofu_eval.core.config import Scoring
from tofu_eval.core.errors import (
    ConfigError,
    MissingDependencyError,
    ModelError,
    TofuEvalError,
)

AT_ONCE = 1024
"""Batches an actor that wait in Ray's object store, which puts on a disk what does not fit in its
memory; for so many, actors are started once."""


@dataclass(frozen=True)
class Actors:
    """How many there are, what each asks of its machine, and which cluster (else RAY_ADDRESS, else
    one that is started here)."""

    actors: int = 1
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    address: str | None = None

    @classmethod
    def take(cls, arguments: dict[str, Any], noun: str, of: str) -> Actors:
        """Those that some arguments describe, which are taken out of them.

        Args:
            arguments: NAME=VALUE pairs of a user's.
            noun: what messages call one: "engine argument".
            of: what needs Ray, for the message where it is not installed.

        Raises:
            ConfigError: a value that cannot be.
            MissingDependencyError: Ray is not installed.
        """
        if not has_ray():
            raise MissingDependencyError.of(of, "ray", "ray")
        names = [one.name for one in fields(cls)]
        given = {name: arguments.pop(name) for name in names if name in arguments}
        for name, value in given.items():
            kind: Any = {"actors": int, "address": str | None}.get(name, int | float)
            least = 1 if name == "actors" else 0
            bad = isinstance(value, bool) or not isinstance(value, kind)
            if bad or (name != "address" and value < least):
                raise ConfigError(f"The {noun} '{name}' cannot be {value!r}.")
        return cls(**given)

    def describe(self) -> dict[str, Any]:
        """For a run's record; which cluster it was says nothing of the rows."""
        return {name: value for name, value in asdict(self).items() if name != "address"}

    def map(
        self,
        make: Callable[..., Callable[[Any], Any]],
        arguments: tuple[Any, ...],
        batches: Iterable[Any],
        *,
        what: str,
        in_order: bool = True,
        started: Callable[[int], object] = lambda count: None,
    ) -> Iterator[Any]:
        """What `make(*arguments)` gives for each batch.

        Args:
            make: called in each actor; a class or function that workers can import.
            arguments: what it is called with.
            batches: read AT_ONCE an actor at a time.
            what: on what an error happened: "'sft'".
            in_order: whether the results come in the order of the batches, else as they are made.
            started: told, with the number of actors, before they start, and with 0 when the first
                result is there.

        Raises:
            TofuEvalError: what was raised in an actor.
            ModelError: an actor fails in another way, or a cluster cannot be had.
        """
        ray = self._connect()
        left = iter(batches)
        while blocks := [_put(ray, batch) for batch in islice(left, AT_ONCE * self.actors)]:
            size = min(self.actors, len(blocks))
            started(size)
            ray.data.DataContext.get_current().execution_options.preserve_order = in_order
            # A block is a batch: Ray neither splits nor joins them.
            data = ray.data.from_arrow_refs(blocks).map_batches(
                _Holder,
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=size),
                num_cpus=self.num_cpus,
                num_gpus=self.num_gpus,
                fn_constructor_args=(make, arguments),
            )
            yield from self._results(ray, data, what, started)

    def _results(
        self, ray: Any, data: Any, what: str, started: Callable[[int], object]
    ) -> Iterator[Any]:
        first = True
        try:
            for row in data.iter_rows():
                if first:
                    started(0)
                first = False
                result, error = pickle.loads(row["made"])
                if error is not None:
                    raise error
                yield result
        except ray.exceptions.RayError as error:
            said = " ".join(str(error).split())[-300:]
            raise ModelError(
                f"Ray failed on {what}: {type(error).__name__}: {said}. What it made is kept; run "
                "the same command again."
            ) from error

    def _connect(self) -> Any:
        """Ray, on the cluster that was named or one of its own."""
        import logging

        import ray
        import ray.data

        if not ray.is_initialized():
            here = self.address is None and "RAY_ADDRESS" not in os.environ
            cores = max(os.cpu_count() or 1, int(self.actors * self.num_cpus) + 1)
            try:
                ray.init(
                    address=self.address,
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


def has_ray() -> bool:
    """Whether Ray is installed."""
    return importlib.util.find_spec("ray") is not None


def scoring_actors(chosen: Scoring) -> Actors | None:
    """The actors that features and scores are made in; None where that is done here.

    Raises:
        ConfigError: an argument that there is not, or a value that cannot be.
        MissingDependencyError: Ray is not installed.
    """
    left = dict(chosen.scoring_args)
    if chosen.scoring != "ray":
        for name in left:
            raise ConfigError(f"--scoring-arg {name} says something of --scoring ray. Add that.")
        return None
    if chosen.workers > 1:
        raise ConfigError(
            "--workers says how many processes score here, and --scoring ray has actors. Write "
            f"--scoring-arg actors={chosen.workers}."
        )
    actors = Actors.take(left, "scoring argument", "--scoring ray")
    for name in left:
        known = ", ".join(one.name for one in fields(Actors))
        raise ConfigError(f"--scoring ray has no argument '{name}'. Known: {known}.")
    return actors


def _put(ray: Any, batch: Any) -> Any:
    """A batch in the object store, as a table of one row."""
    import pyarrow as pa

    return ray.put(pa.table({"batch": pa.array([pickle.dumps(batch)], pa.large_binary())}))


class _Holder:
    """What lives in an actor: something that is called with batches."""

    def __init__(
        self, make: Callable[..., Callable[[Any], Any]], arguments: tuple[Any, ...]
    ) -> None:
        self._call = make(*arguments)

    def __call__(self, table: Mapping[str, Any]) -> dict[str, list[bytes]]:
        pickled: list[bytes] = []
        for batch in table["batch"]:
            try:
                pickled.append(pickle.dumps((self._call(pickle.loads(batch)), None)))
            except TofuEvalError as error:
                pickled.append(pickle.dumps((None, error)))  # as it is, not as a traceback of Ray's
        return {"made": pickled}
