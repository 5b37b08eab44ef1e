"""YAML as plain values: nothing is run, no key stands twice, no alias makes a small text large."""

from __future__ import annotations

from typing import Any

import yaml

MOST_NODES = 10_000
"""Values that a text may have with every alias written out; settings have some dozens."""

DEEPEST = 50
"""Levels of nesting."""


class NotYaml(Exception):
    """What is wrong with a text, and on which line (from 1), where that is known."""

    def __init__(self, what: str, line: int | None = None) -> None:
        super().__init__(what)
        self.line = line


class RepeatedKey(NotYaml):
    """A key that stands twice in one mapping."""


def load_yaml(text: str) -> Any:
    """The values of one YAML document.

    Raises:
        NotYaml: it is none, or one that is not read.
    """
    try:
        # As safe as yaml.safe_load: the loader is PyYAML's SafeLoader.
        return yaml.load(text, Loader=_Loader)  # noqa: S506
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise NotYaml(problem, mark.line + 1 if mark else None) from error
    except RecursionError as error:
        raise NotYaml("it is nested too deeply") from error
    # PyYAML trusts dates, escapes such as "\UFFFFFFFF", and what is tagged as a number.
    except (ValueError, LookupError, OverflowError, TypeError, AttributeError) as error:
        raise NotYaml(str(error).partition("\n")[0] or type(error).__name__) from error


class _Loader(yaml.SafeLoader):
    """PyYAML's safe reader; of a key that stands twice it would silently take the last."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._depth = 0
        self._nodes = 0
        self._weights: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        mark, is_alias = self.get_mark(), self.check_event(yaml.AliasEvent)
        if self._depth >= DEEPEST:
            what = f"it is nested deeper than {DEEPEST} levels"
            raise yaml.MarkedYAMLError(problem=what, problem_mark=mark)
        before = self._nodes
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if is_alias and id(node) not in self._weights:
            raise yaml.MarkedYAMLError(problem="an alias of what it is part of", problem_mark=mark)
        self._nodes += self._weights[id(node)] if is_alias else 1
        if self._nodes > MOST_NODES:
            what = f"it has more than {MOST_NODES:,} values, every alias written out"
            raise yaml.MarkedYAMLError(problem=what, problem_mark=mark)
        self._weights.setdefault(id(node), self._nodes - before)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        first: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # which no mapping can have; PyYAML says so
            line = key.start_mark.line + 1
            if key.value in first:
                what = f"the key '{key.value}' is already set on line {first[key.value]}"
                raise RepeatedKey(what, line)
            first[key.value] = line
        return node
