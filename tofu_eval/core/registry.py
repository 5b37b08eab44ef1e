"""One registry for all that can be plugged in: tasks, engines, metrics, losses, judges, ….

Built-ins are found by importing every module of their folder; outsiders through entry points
(`tofu_eval.tasks`, `.metrics`, `.engines`, `.losses`). Both register by being imported, so that
an entry point and a decorator are the same act.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Generic, TypeVar

from tofu_eval.core.errors import DuplicateNameError, PluginError, TofuEvalError, UnknownNameError
from tofu_eval.core.version import __version__

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """One line of a listing: the item, or why it cannot be loaded."""

    name: str
    origin: str
    item: T | None
    error: str | None = None


class Registry(Generic[T]):
    """Items by name.

    Args:
        noun: what an item is called in messages, "metric".
        package: the package whose modules hold the built-ins, "tofu_eval.metrics".
        group: the entry-point group of plug-ins, "tofu_eval.metrics".
        listing: the command that lists all, shown when a name is unknown.
        scan: what finds the built-ins; by default, importing each module of `package`.
    """

    def __init__(
        self,
        noun: str,
        package: str,
        *,
        group: str,
        listing: str,
        scan: Callable[[], None] | None = None,
    ) -> None:
        self.noun = noun
        self._package = package
        self._group = group
        self._listing = listing
        self._scan = scan or self._import_modules
        self._scanned = False
        self._items: dict[str, tuple[T, str]] = {}

    def add(self, name: str, item: T, origin: str) -> None:
        """Register `item`; `origin` is the place that defines it, `file:line`.

        The same place may register again (a file that is loaded twice).

        Raises:
            DuplicateNameError: another place registered the same name.
        """
        if name in self._items and self._items[name][1] != origin:
            plural = f"{self.noun}es" if self.noun.endswith("s") else f"{self.noun}s"
            raise DuplicateNameError(
                f"Two {plural} are called '{name}': {self._items[name][1]} and {origin}. "
                "Rename one of them."
            )
        self._items[name] = (item, origin)

    def __contains__(self, name: object) -> bool:
        """Whether something has that name, whether or not it can be loaded."""
        self._load_builtins()
        return name in self._items or any(point.name == name for point in self._plugins())

    def get(self, name: str) -> T:
        """The item of that name.

        Raises:
            UnknownNameError: there is none.
            PluginError: a plug-in offers the name and cannot be loaded.
        """
        self._load_builtins()
        for point in self._plugins():
            if point.name == name:
                self._load(point)
        if name not in self._items:
            known = {*self._items, *(point.name for point in self._plugins())}
            raise UnknownNameError.of(self.noun, name, sorted(known), self._listing)
        return self._items[name][0]

    def entries(self) -> list[Entry[T]]:
        """Every item by name, a plug-in that cannot be loaded with its error."""
        self._load_builtins()
        broken: list[Entry[T]] = []
        for point in self._plugins():
            try:
                self._load(point)
            except TofuEvalError as error:
                broken.append(Entry(point.name, _package_of(point), None, str(error)))
        found = [Entry(name, origin, item) for name, (item, origin) in self._items.items()]
        return sorted([*found, *broken], key=lambda entry: entry.name)

    def package(self, name: str, origin: str) -> dict[str, str] | None:
        """Name and version of the installed package that brings an item.

        Args:
            name: the item's.
            origin: the place that defines it, as it was registered: another item may have its
                name, in a file of the user's own.
        Returns: None for an item that no package brings.
        """
        if name not in self._items or self._items[name][1] != origin:
            return None
        for point in self._plugins():
            if point.name == name and point.dist is not None:
                return {"name": point.dist.name, "version": point.dist.version}
        builtin = Path(origin.rpartition(":")[0]).is_relative_to(Path(__file__).parents[1])
        return {"name": "tofu-eval", "version": __version__} if builtin else None

    def _plugins(self) -> tuple[EntryPoint, ...]:
        return tuple(entry_points(group=self._group))

    def _load(self, point: EntryPoint) -> None:
        """Import a plug-in, which registers itself."""
        try:
            point.load()
        except DuplicateNameError:
            raise
        except Exception as error:  # a plug-in may fail in any way
            raise PluginError(
                f"The {self.noun} '{point.name}' of the package '{_package_of(point)}' cannot be "
                f"loaded: {type(error).__name__}: {error}. "
                f"Mend or remove it: pip uninstall {_package_of(point)}"
            ) from error
        if point.name not in self._items:
            raise PluginError(
                f"The package '{_package_of(point)}' offers the {self.noun} '{point.name}' as "
                f"{point.value}, which does not register that name. "
                f"Its entry point and its decorator must agree."
            )

    def _load_builtins(self) -> None:
        if not self._scanned:
            self._scanned = True
            self._scan()

    def _import_modules(self) -> None:
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self._package}.{module.name}")


def origin_of(function: Callable[..., object]) -> str:
    """Where a function is defined, `file:line`."""
    code = inspect.unwrap(function).__code__
    return f"{code.co_filename}:{code.co_firstlineno}"


def _package_of(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
