"""What an export is, and the decorator that registers one.

An export makes text of a board: one file of it, or several by their paths. It is one module in this
folder, or in a package with an entry point in the group `tofu_eval.exports` whose name is the
format's and whose value is the module. `tofu-eval leaderboard export --help` and the choices of
`--format` follow from what is registered.

    @export(name="titles", help="a line a task")
    def as_titles(board: Board) -> str:
        return "".join(f"{printable(task.name)}\\n" for task in board.tasks)

What a board says is other people's text: each export makes it safe for where it goes, with
`tofu_eval.core.escape`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tofu_eval.core.errors import ConfigError
from tofu_eval.core.registry import Registry, origin_of

Files = Mapping[str, str]
"""Text by the path of its file, below a folder that the user names."""

RESERVED = frozenset({"file", "format", "output", "model", "task", "metric", "help", "there"})
"""Names of flags that every export has."""

Function = TypeVar("Function", bound=Callable[..., "str | Files"])


@dataclass(frozen=True, slots=True)
class Option:
    """A flag of an export: `--source-url` of "source_url", the name of the function's argument.

    `choices` are all values that it takes; none given, it takes any text.
    """

    name: str
    help: str
    metavar: str | None = None
    required: bool = False
    choices: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """What the command line calls it."""
        return f"--{self.name.replace('_', '-')}"


@dataclass(frozen=True, slots=True)
class Export:
    """A format: what makes it of a board, and what there is to know about it.

    An export that `amends` is given, as its argument `there`, the text of the file that it is
    written to, None where there is no such file: what else stands in it stays.
    """

    name: str
    function: Callable[..., str | Files]
    help: str
    options: tuple[Option, ...] = ()
    amends: bool = False


EXPORTS: Registry[Export] = Registry(
    "export format",
    "tofu_eval.leaderboard.exports",
    group="tofu_eval.exports",
    listing="tofu-eval leaderboard export --help",
)


def export(
    *, name: str, help: str, options: Sequence[Option] = (), amends: bool = False
) -> Callable[[Function], Function]:
    """Register a function of a board as an export format.

    Args:
        name: what `--format` calls it.
        help: a line for `--help`, without the name.
        options: flags of its own; the function has an argument of each name, and one that is not
            required has a default there.
        amends: see `Export`.

    Raises:
        ConfigError: at registration, where the function's arguments and the options do not fit.
        DuplicateNameError: another place has the name.
    """

    def register(function: Function) -> Function:
        if taken := RESERVED & {option.name for option in options}:
            raise ConfigError(
                f"The export '{name}' has an option '{min(taken)}', which every export has. Call "
                "it otherwise."
            )
        arguments = list(inspect.signature(function).parameters.values())[1:]
        wanted = {option.name for option in options} | ({"there"} if amends else set())
        named = {argument.name for argument in arguments}
        if named != wanted:
            raise ConfigError(
                f"The export '{name}' takes {', '.join(sorted(named)) or 'a board alone'}, "
                f"expected {', '.join(sorted(wanted)) or 'a board alone'}. Its options and its "
                "arguments must agree."
            )
        item = Export(name, function, help, tuple(options), amends)
        EXPORTS.add(name, item, origin_of(function))
        return function

    return register
