"""One registry for all that can be plugged in: tasks, engines, metrics, features, losses, ….

Built-ins are found by importing every module of their folder; outsiders through entry points
(`tofu_eval.tasks`, `.metrics`, `.features`, `.engines`, `.losses`, …). Both register by being
imported, so that an entry point and a decorator are the same act. A Python file that a user names
is run, and registers what is in it (`in_file`); `get` never runs one, so that a name which stands
in somebody's run cannot.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import pkgutil
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from tofu_eval.core.errors import (
    ConfigError,
    DuplicateNameError,
    PluginError,
    TofuEvalError,
    UnknownNameError,
)
from tofu_eval.core.version import __version__

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")

PYTHON = ".py"
"""How the name of a file ends that is run where a user names it."""


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

    _all: ClassVar[list[Registry[Any]]] = []

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
        self._asked: tuple[object, ...] = ()
        self._points: tuple[EntryPoint, ...] = ()
        self._items: dict[str, tuple[T, str]] = {}
        self._all.append(self)

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
            names = {*self._items, *(point.name for point in self._plugins())}
            raise UnknownNameError.of(self.noun, name, sorted(names), self._listing)
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
        working = [Entry(name, origin, item) for name, (item, origin) in self._items.items()]
        return sorted([*working, *broken], key=lambda entry: entry.name)

    def load_all(self) -> dict[str, T]:
        """The items so far, by name: the built-ins, and plug-ins and files that were asked for."""
        self._load_builtins()
        return self.items_so_far()

    def items_so_far(self) -> dict[str, T]:
        """The items that are there already; nothing is imported."""
        return {name: item for name, (item, _) in self._items.items()}

    def in_file(self, file: str | Path) -> list[str]:
        """Run a Python file that a user names, and give the names that it registers here.

        Raises:
            ConfigError: the file cannot be read, fails (with its line), or registers none.
            DuplicateNameError: another place registered one of the names.
        """
        path = load_file(file)
        names = [name for name, (_, origin) in self._items.items() if file_of(origin) == path]
        if not names:
            decorator = self.noun.replace(" ", "_")
            raise ConfigError(
                f"{file} has no {self.noun}: nothing in it is decorated with @{decorator}. "
                f"List all: {self._listing}"
            )
        return names

    def only_in_file(self, file: str | Path) -> str:
        """As `in_file`, of a file that registers one.

        Raises:
            ConfigError: also where it registers several.
        """
        names = self.in_file(file)
        if len(names) > 1:
            raise ConfigError(
                f"{file} has {len(names)} {self.noun}s, expected one: {', '.join(names)}. "
                "Leave one in the file."
            )
        return names[0]

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
        builtin = Path(file_of(origin)).is_relative_to(Path(__file__).parent.parent)
        return {"name": "tofu-eval", "version": __version__} if builtin else None

    def _plugins(self) -> tuple[EntryPoint, ...]:
        """Those that are installed; reading all packages' lists takes long, so once a path."""
        if not _may_be_offered(self._group, tuple(sys.path)):
            return ()
        from importlib.metadata import entry_points

        asked = (entry_points, tuple(sys.path))
        if self._asked != asked:
            self._points = tuple(entry_points(group=self._group))
            self._asked = asked
        return self._points

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

    def _forget(self, path: str) -> None:
        """Drop what a file registered."""
        kept = {n: pair for n, pair in self._items.items() if file_of(pair[1]) != path}
        self._items = kept

    def _load_builtins(self) -> None:
        if not self._scanned:
            self._scanned = True
            self._scan()

    def _import_modules(self) -> None:
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self._package}.{module.name}")


def origin_of(item: Callable[..., object]) -> str:
    """Where a function or a class is defined, `file:line`; of a class, its first method."""
    if not inspect.isclass(item):
        code = inspect.unwrap(item).__code__
        return f"{code.co_filename}:{code.co_firstlineno}"
    methods = [inspect.unwrap(m) for m in vars(item).values() if inspect.isfunction(m)]
    codes = sorted((m.__code__ for m in methods), key=lambda code: code.co_firstlineno)
    if not codes:
        return f"{getattr(sys.modules.get(item.__module__), '__file__', item.__module__)}:1"
    return f"{codes[0].co_filename}:{codes[0].co_firstlineno}"


def file_of(origin: str) -> str:
    """The file of an origin."""
    return origin.rpartition(":")[0]


_digests: dict[str, str] = {}
"""The files that were run because a user named them, by path; each with the start of its digest."""


def load_file(file: str | Path) -> str:
    """Run a Python file that a user names, which registers what is in it; give its path.

    What it registered before is forgotten: it may have been edited.

    Raises:
        ConfigError: the file cannot be read, or fails, with its line.
    """
    path = str(Path(file).resolve())
    try:
        source = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"Cannot read {file}: {error.strerror or error}.") from error
    digest = hashlib.sha256(source).hexdigest()[:12]
    if _digests.get(path) == digest:
        return path
    _forget(path)
    module = ModuleType(f"tofu_eval_file_{digest}")
    module.__file__ = path
    sys.modules[module.__name__] = module  # where annotations are looked up
    _digests[path] = digest
    try:
        exec(compile(source, path, "exec"), vars(module))  # noqa: S102 (the user names the file)
    except BaseException as error:
        _forget(path)
        del sys.modules[module.__name__], _digests[path]
        if isinstance(error, TofuEvalError | KeyboardInterrupt):
            raise
        what = f"{type(error).__name__}: {str(error).strip()}".partition("\n")[0]
        raise ConfigError(f"{file}:{_line_of(error, path)}: {what}") from error
    return path


def _forget(path: str) -> None:
    """Drop what a file registered, in every registry."""
    for registry in Registry._all:
        registry._forget(path)


def loaded_files() -> list[str]:
    """The files that were run because a user named them."""
    return list(_digests)


def digest_of(origin: str) -> str | None:
    """The start of the digest of a file that a user named; None for any other origin."""
    return _digests.get(file_of(origin))


def _line_of(error: BaseException, path: str) -> int:
    """The last line of a file that an exception went through."""
    if isinstance(error, SyntaxError):
        return error.lineno or 1
    frames = traceback.extract_tb(error.__traceback__)
    return next((f.lineno or 1 for f in reversed(frames) if f.filename == path), 1)


@cache
def _may_be_offered(group: str, path: tuple[str, ...]) -> bool:
    """Whether an installed package may offer something in that group.

    Most have none, and to hear so from importlib.metadata costs more than the rest of `--help`:
    its files are looked at instead. Where packages may lie elsewhere than in folders, it is asked.
    """
    others = [finder for finder in sys.meta_path if hasattr(finder, "find_distributions")]
    if others != [PathFinder]:
        return True
    heading = f"[{group}]".encode()
    for folder in map(Path, path):
        if folder.is_file():
            return True
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith((".dist-info", ".egg-info")):
                    with suppress(OSError):
                        if heading in Path(entry.path, "entry_points.txt").read_bytes():
                            return True
    return False


def _package_of(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
