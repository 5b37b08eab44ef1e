"""Models that are seeds of one method, as run.json's `series` and `seed` say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def seeds_together(models: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """The columns of a comparison: its models by name, those of one series as one.

    Models are seeds of one another where `series` and `temperature` agree and each has a `seed`.
    Any other model is a column of its own.

    Args:
        models: the entries of run.json, by name.
    Returns: members by column, in the order of the first; the column of several members has the
        name of the series, with the temperature where the series has several.
    """
    kinds: dict[tuple[Any, ...], list[str]] = {}
    for name, entry in models.items():
        series, seed = entry.get("series"), entry.get("seed")
        lone = series is None or seed is None
        kinds.setdefault((name,) if lone else (series, entry.get("temperature")), []).append(name)
    columns: dict[str, tuple[str, ...]] = {}
    for kind, members in kinds.items():
        if len(members) == 1:
            columns[members[0]] = (members[0],)
            continue
        series, temperature = kind
        several = sum(len(other) == 2 and other[0] == series for other in kinds) > 1
        name = series if not several or temperature is None else f"{series}@T={temperature:g}"
        if name in models and name not in members:  # a model of its own has that name
            name = f"{name} ({len(members)} seeds)"
        columns[name] = tuple(members)
    return columns
