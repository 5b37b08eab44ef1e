"""What is the same in several boards, and what it is called where they become one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tofu_eval.core.types import digest
from tofu_eval.leaderboard.board import Source
from tofu_eval.leaderboard.schema import short

Item = dict[str, Any]

SAME: Mapping[str, Callable[[Item], list[Any]]] = {
    "task": lambda item: [item[f] for f in ("name", "version", "digest", "sampling")],
    "model": lambda item: [
        *(item[f] for f in ("name", "identity", "engine")),
        *(item.get(f) for f in ("series", "seed", "temperature")),
    ],
    "metric": lambda item: [
        *(item[f] for f in ("name", "version", "direction", "measures", "range")),
        (item["package"] or {}).get("name"),
    ],
}
"""What makes two things the same, by noun."""


class Labels:
    """The things of all boards, each once, and what each board's ids become."""

    def __init__(self, sources: Sequence[Source], remarks: list[str]) -> None:
        self._things: dict[str, dict[str, Item]] = {noun: {} for noun in SAME}
        self._keys: dict[tuple[int, str, str], str] = {}
        for number, source in enumerate(sources):
            for noun in SAME:
                for item in source.board[f"{noun}s"]:
                    self._add(number, source.name, noun, item, remarks)
        self._ids = {noun: self._label(noun, remarks) for noun in SAME}

    def _add(self, number: int, name: str, noun: str, item: Item, remarks: list[str]) -> None:
        key = digest(SAME[noun](item))
        self._keys[number, noun, item["id"]] = key
        known = self._things[noun].setdefault(key, item)
        for fact in sorted(known.keys() | item.keys()):
            if fact != "id" and known.get(fact) != item.get(fact):
                remarks.append(
                    f"{name} says {fact} {short(item.get(fact))} of the {noun} "
                    f"'{item['name']}', another board {short(known.get(fact))}: the latter is kept"
                )

    def _label(self, noun: str, remarks: list[str]) -> dict[str, str]:
        named = defaultdict(list)
        for key, item in self._things[noun].items():
            named[item["name"]].append(key)
        ids = {}
        for name, keys in named.items():
            for key in keys:
                ids[key] = name if len(keys) == 1 else f"{name}#{key[:8]}"
            if len(keys) > 1:
                differ = ", ".join(self._differences(noun, keys))
                remarks.append(
                    f"{len(keys)} different {noun}s are called '{name}' and are kept apart "
                    f"({', '.join(ids[key] for key in keys)}): they differ in {differ}"
                )
        return ids

    def _differences(self, noun: str, keys: Sequence[str]) -> Iterator[str]:
        items = [self._things[noun][key] for key in keys]
        for fact in dict.fromkeys(fact for item in items for fact in item):
            if fact != "id" and any(item.get(fact) != items[0].get(fact) for item in items):
                yield fact

    def of(self, number: int, noun: str, id: str) -> str:
        """What an id of one board is called in the merged one."""
        return self._ids[noun][self._keys[number, noun, id]]

    def items(self, noun: str) -> list[Item]:
        """All things of a noun, under their ids."""
        ids = self._ids[noun]
        return [{**item, "id": ids[key]} for key, item in self._things[noun].items()]

    def relabel(self, number: int, row: Mapping[str, Any]) -> Item:
        """A row of one board, as it is called in the merged one."""
        return {
            name: self.of(number, name, value) if name in SAME else value
            for name, value in row.items()
        }
