"""What the values of options say: numbers, names, pairs, and one value of several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tofu_eval.core.types import ModelSpec

APART = "__"
"""What stands between a section and its setting in the name of a parameter."""


class Temperatures(click.ParamType):  # type: ignore[type-arg]  # generic from Click 8.4 on
    """One temperature, or several for a sweep: 0.7 or 0.3,0.7,1.0."""

    name = "T[,T…]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | tuple[float, ...]:
        """A number for one, a tuple for several."""
        try:
            numbers = tuple(float(part) for part in names(str(value)))
        except ValueError:
            numbers = ()
        if not numbers:
            self.fail(f"got '{value}'. Write one number, or a sweep: 0.3,0.7,1.0", param, ctx)
        return numbers if "," in str(value) else numbers[0]


def pairs(option: str, texts: tuple[str, ...]) -> dict[str, Any] | None:
    """NAME=VALUE pairs with the names as they stand; a value is read as YAML reads it."""
    from tofu_eval.core.errors import ConfigError
    from tofu_eval.core.plain_yaml import NotYaml, load_yaml

    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"{option} got '{text}'. Write NAME=VALUE.")
        try:
            values[name.strip()] = load_yaml(value)
        except NotYaml as error:
            raise ConfigError(f"{option} {text}: the value is not YAML.") from error
    return values or None


def arguments(option: str, texts: tuple[str, ...]) -> dict[str, Any] | None:
    """NAME=VALUE pairs; a value is read as YAML reads it, so 2 is a number and true a truth."""
    from tofu_eval.core.errors import ConfigError
    from tofu_eval.core.plain_yaml import NotYaml, load_yaml

    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        try:
            values[name.strip().replace("-", "_")] = load_yaml(value)
        except NotYaml as error:
            raise ConfigError(f"{option} {text}: the value is not YAML.") from error
        if not equals or not name.strip():
            raise ConfigError(f"{option} got '{text}'. Write NAME=VALUE.")
    return values or None


def given_values(**options: Any) -> dict[str, Any]:
    """The options that the user gave: not None, not an empty tuple; a section's as one mapping."""
    values: dict[str, Any] = {}
    for name, value in options.items():
        section, apart, setting = name.partition(APART)
        if value not in (None, ()):
            part = values.setdefault(section, {}) if apart else values
            part[setting if apart else name] = value
    return values


def merge_settings(file: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    """What a file and flags say together: a flag wins, also within a section."""
    merged = {**file, **flags}
    for name, part in flags.items():
        if isinstance(part, dict) and isinstance(file.get(name), dict):
            merged[name] = {**file[name], **part}
    return merged


def names(text: str) -> list[str]:
    """The parts of `a,b,c`."""
    return [part.strip() for part in text.split(",") if part.strip()]


def split_names(specs: list[ModelSpec]) -> dict[str, ModelSpec]:
    """The models by name; ConfigError for two of one name."""
    from tofu_eval.core.errors import ConfigError

    by_name = {spec.name: spec for spec in specs}
    if len(by_name) < len(specs):
        names = [spec.name for spec in specs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"Two models are called '{twice}'. Name them apart: --model NAME=REF")
    return by_name


def formats_by_model(formats: tuple[str, ...]) -> str | dict[str, str]:
    """The values of --format: one for all models, or one for each."""
    from tofu_eval.core.errors import ConfigError

    pairs = [text.partition("=") for text in formats]
    if len(pairs) == 1 and not pairs[0][1]:
        return formats[0]
    if not all(equals for _, equals, _ in pairs):
        raise ConfigError(
            f"--format got {' and '.join(formats)}: give one for all models, or MODEL=FORMAT each."
        )
    names = [name for name, _, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"--format names the model '{name}' twice. Give it one format.")
    return {model: format for model, _, format in pairs}
