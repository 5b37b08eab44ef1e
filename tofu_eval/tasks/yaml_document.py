"""A YAML file as plain values, with the line of each: what makes `my_task.yaml:7:` possible."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tofu_eval.core.errors import ConfigError
from tofu_eval.tasks.problems import Problem, TaskError, one_line, show_value, surrogate

Loc = tuple[str | int, ...]
"""The way to a value: ("prompts", 3, "text")."""

LARGEST = 4 * 2**20
"""Characters of YAML; PyYAML takes more than a second a megabyte, JSONL has no limit."""

DEEPEST = 20
"""Levels of nesting; a task needs five."""


def _tags(*names: str) -> set[str]:
    return {f"tag:yaml.org,2002:{name}" for name in names}


_TYPED = _tags("bool", "float", "int", "null")
_KNOWN = {
    yaml.MappingNode: _tags("map"),
    yaml.SequenceNode: _tags("seq"),
    # A date, "<<" and "=" are what they look like: text.
    yaml.ScalarNode: _TYPED | _tags("str", "timestamp", "merge", "value"),
}


@dataclass
class Document:
    """Plain values, the line (from 1) of each by its way, and what is wrong so far."""

    file: str
    value: Any = None
    lines: dict[Loc, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, loc: Loc) -> int:
        """The line of the value at `loc`, or of the nearest one around it."""
        while loc and loc not in self.lines:
            loc = loc[:-1]
        return self.lines.get(loc, 1)

    def report(self, loc: Loc, text: str) -> None:
        """Add a problem at `loc`."""
        self.problems.append(Problem(self.file, self.line(loc), text))


def read_text(path: Path) -> str:
    """A file's text, without its byte-order mark and with `\\n` at line ends.

    Raises:
        ConfigError: it cannot be read; with the line, where it is not UTF-8.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {one_line(error)}.") from error
    try:
        text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        what = f"not UTF-8: byte 0x{error.object[error.start]:02x}. Save the file as UTF-8."
        raise TaskError([Problem(str(path), line, what)], str(path)) from error
    return text.replace("\r\n", "\n")


def read_yaml(path: Path) -> Document:
    """Read one YAML document; nothing in it can make Python import or run anything.

    Duplicate keys and unpaired surrogates are reported in the document's `problems`.

    Raises:
        ConfigError: as `read_text`, or the file is not YAML at all.
    """
    text = read_text(path)
    document = Document(str(path))
    if len(text) > LARGEST:
        what = f"more than {LARGEST // 2**20} MiB of YAML. Move the prompts to a JSONL file."
        raise TaskError([Problem(document.file, 1, what)], document.file)
    loader = None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise _not_yaml(document, line, str(error.problem or error.context)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"the character U+{error.character:04X} is not allowed"
        raise _not_yaml(document, line, what) from error
    except (ValueError, OverflowError) as error:  # PyYAML trusts escapes such as "\UFFFFFFFF"
        line = loader.line + 1 if loader else 1
        raise _not_yaml(document, line, one_line(error)) from error
    if root is not None:
        document.value = _Reader(document, loader).read(root, ())
    return document


def _not_yaml(document: Document, line: int, text: str) -> TaskError:
    return TaskError([Problem(document.file, line, f"not valid YAML: {text}")], document.file)


class _Loader(yaml.SafeLoader):
    """PyYAML's reader, without what makes a small file grow large or nest without end."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        mark = self.get_mark()
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem="aliases (*name) are not supported in a task; repeat the text",
                problem_mark=mark,
            )
        if self._depth >= DEEPEST:
            raise yaml.MarkedYAMLError(
                problem=f"nested deeper than {DEEPEST} levels", problem_mark=mark
            )
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


@dataclass
class _Reader:
    """Turns YAML nodes into plain values and notes their lines."""

    document: Document
    loader: _Loader

    def read(self, node: yaml.Node, loc: Loc) -> Any:
        self.document.lines.setdefault(loc, node.start_mark.line + 1)
        if node.tag not in _KNOWN[type(node)]:
            line = node.start_mark.line + 1
            self._report(line, f"the tag '{node.tag}' is not supported in a task")
        if isinstance(node, yaml.MappingNode):
            return dict(self._entries(node, loc))
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*loc, index)) for index, item in enumerate(node.value)]
        return self._scalar(node)

    def _entries(self, node: yaml.MappingNode, loc: Loc) -> Iterator[tuple[str, Any]]:
        """Keys are read as text, whatever YAML takes them for; the first of two counts."""
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                self._report(line, "a key must be text")
                continue
            way = (*loc, key.value)
            if way in self.document.lines:
                self._report(
                    line, f"key '{key.value}' is already set on line {self.document.lines[way]}"
                )
                continue
            self.document.lines[way] = line  # the key's, where the value begins below it
            yield self._text(key), self.read(value, way)

    def _scalar(self, node: yaml.Node) -> Any:
        line = node.start_mark.line + 1
        if node.tag not in _TYPED:
            return self._text(node)
        try:
            return self.loader.construct_object(node)
        except (ValueError, LookupError, OverflowError):  # as PyYAML fails on "!!int"
            self._report(
                line, f"{show_value(node.value)} cannot be read as {node.tag.split(':')[-1]}"
            )
            return node.value

    def _text(self, node: yaml.Node) -> str:
        """A scalar's text; half characters are reported once and then left out."""
        text: str = node.value
        if lone := surrogate(text):
            line = node.start_mark.line + 1
            self._report(line, f"half a character ({lone}), which is not valid Unicode")
            return text.encode("utf-8", "ignore").decode("utf-8")
        return text

    def _report(self, line: int, text: str) -> None:
        self.document.problems.append(Problem(self.document.file, line, text))
