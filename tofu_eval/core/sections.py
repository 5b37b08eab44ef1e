"""Sections of the settings: fields that belong together, declared once.

    @section("reward", title="Reward model")
    class RewardSettings:
        model: str | None = setting(None, metavar="MODEL", help="What says how good …")

The flag `--reward-model`, what a config file may say under `reward:` and what Python takes as
`reward={"model": …}` all follow from that. Light, so that `--help` waits for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform, get_type_hints

from tofu_eval.core.errors import ConfigError

if TYPE_CHECKING:
    from tofu_eval.core.registry import Registry

Section = TypeVar("Section")

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of a section.

    `kind` is its annotation, `flag` its name on the command line, `least` and `most` are the
    bounds of a number.
    """

    section: str
    name: str
    kind: Any
    default: Any
    help: str
    flag: str
    metavar: str | None
    least: float | None
    most: float | None
    registry: Callable[[], Registry[Any]] | None

    @property
    def path(self) -> str:
        """How messages call it: `reward.model`."""
        return f"{self.section}.{self.name}"


def setting(
    default: Any,
    *,
    help: str,
    flag: str | None = None,
    metavar: str | None = None,
    least: float | None = None,
    most: float | None = None,
    registry: Callable[[], Registry[Any]] | None = None,
) -> Any:
    """A field of a section.

    Args:
        default: its value where nobody sets it.
        help: one line for `--help`; what its default means, too.
        flag: by default `--SECTION-NAME`; another must begin as that does, or be `--SECTION`.
        metavar: what `--help` shows for a value.
        least: of a number, the least that is allowed.
        most: of a number, the most that is allowed.
        registry: of a name, the registry in which it may stand; then a Python file that registers
            one such thing may be given, too.
    """
    told = {"help": help, "flag": flag, "metavar": metavar, "least": least, "most": most}
    return field(default=default, metadata={**told, "registry": registry})


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(setting,))
def section(name: str, *, title: str) -> Callable[[type[Section]], type[Section]]:
    """Make a class of fields a section of the settings.

    Args:
        name: its name in a config file and in Python, and how its flags begin.
        title: the heading of its flags in `--help`.

    Raises:
        ConfigError: a name that no flag could have, a field without `setting`, or a flag that does
            not begin with the section's name.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"The section '{name}' of the settings needs a name of small letters, digits and '_'."
        )

    def declare(kind: type[Section]) -> type[Section]:
        record = dataclass(frozen=True, kw_only=True)(kind)
        record.section_name, record.section_title = name, title  # type: ignore[attr-defined]
        # Now, while the names in its annotations can be looked up, wherever it stands.
        record.section_settings = _settings_of(record, name)  # type: ignore[attr-defined]
        return record

    return declare


def name_of(kind: type) -> str:
    """The name of a section."""
    name: str = kind.section_name  # type: ignore[attr-defined]
    return name


def title_of(kind: type) -> str:
    """The heading of a section's flags."""
    title: str = kind.section_title  # type: ignore[attr-defined]
    return title


def settings_of(kind: type) -> tuple[Setting, ...]:
    """The fields of a section, in the order in which they are declared."""
    declared: tuple[Setting, ...] = kind.section_settings  # type: ignore[attr-defined]
    return declared


def _settings_of(kind: type, name: str) -> tuple[Setting, ...]:
    hints = get_type_hints(kind)
    begin = f"--{name.replace('_', '-')}"
    declared = []
    for one in fields(kind):
        if one.default is MISSING or "help" not in one.metadata:
            raise ConfigError(
                f"The field '{one.name}' of the section '{name}' has no default or no help. "
                f"Write: {one.name}: KIND = setting(DEFAULT, help=…)"
            )
        facts = dict(one.metadata)
        flag = facts.pop("flag") or f"{begin}-{one.name.replace('_', '-')}"
        if flag != begin and not flag.startswith(f"{begin}-"):
            raise ConfigError(
                f"The flag {flag} of the section '{name}' should be {begin}, or begin with {begin}-"
            )
        declared.append(Setting(name, one.name, hints[one.name], one.default, flag=flag, **facts))
    return tuple(declared)
