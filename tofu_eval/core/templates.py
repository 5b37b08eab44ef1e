"""Templates of anybody, without reach into Python and within bounds: Jinja's sandbox.

A template can loop, and what it makes can grow; neither may stop a run. So each turn of a loop and
each call of a macro is a step, of which there are STEPS, and nothing may be longer than LONGEST.
"""

from __future__ import annotations

import re
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, wraps
from types import BuiltinFunctionType, MethodType
from typing import Any

import jinja2
from jinja2 import StrictUndefined, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import soft_str

STEPS = 100_000
"""Turns of loops and calls of macros that one rendering may take."""

SECONDS = 10.0
"""How long they may take."""

LONGEST = 1 << 24
"""Characters of a text, or items of a list, that a template may make."""

BITS = 14_000
"""Of the greatest integer: about what Python still prints."""


SIZED = "no longer than a template may make"
"""The filter, which no template can name, that is put behind a block that is kept in a variable."""


class TemplateLimitError(jinja2.TemplateError):
    """A template that does too much."""


class _Spent(threading.local):
    steps = 0
    until = float("inf")


_spent = _Spent()


@cache
def compile_template(source: str) -> jinja2.Template:
    """The template, compiled once.

    Raises:
        TemplateSyntaxError: it does not parse; its `lineno` says where.
    """
    return environment().from_string(source)


def render_template(source: str, values: Mapping[str, Any]) -> str:
    """The template with `values` as its variables; whatever a template can fail with, it raises."""
    return compile_template(source).render(values)


def bound_chat_templates() -> None:
    """Keep the chat templates that checkpoints bring within the same bounds.

    transformers renders them in a sandbox without any, of the class that stands under this name.
    """
    from transformers.utils import chat_template_utils

    chat_template_utils.ImmutableSandboxedEnvironment = _Bounded


def render_html(source: str, values: Mapping[str, Any]) -> str:
    """A template of ours as HTML; what stands for a variable is escaped, unless it is Markup."""
    return _compile_html(source).render(values)


@cache
def _compile_html(source: str) -> jinja2.Template:
    return _html_environment().from_string(source)


def line_of(error: BaseException) -> int:
    """The line (from 1) of the template where rendering failed."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == "<template>"]
    return (lines[-1] if lines else None) or 1


@cache
def environment() -> ImmutableSandboxedEnvironment:
    """Jinja without reach into Python; `random` and the globals (`lipsum`) would be unseeded."""
    return _without_chance(_Bounded(**_OPTIONS))


@cache
def _html_environment() -> ImmutableSandboxedEnvironment:
    return _without_chance(ImmutableSandboxedEnvironment(**_OPTIONS, autoescape=True))


_OPTIONS: dict[str, Any] = {
    "undefined": StrictUndefined,
    "trim_blocks": True,
    "lstrip_blocks": True,
    "keep_trailing_newline": True,
}


def _without_chance(sandbox: ImmutableSandboxedEnvironment) -> ImmutableSandboxedEnvironment:
    sandbox.globals.clear()
    del sandbox.filters["random"]
    return sandbox


class _BoundedTemplate(jinja2.Template):
    """A template of which each rendering has its own steps and time."""

    def render(self, *args: Any, **kwargs: Any) -> str:
        """Its text."""
        _begin()
        return super().render(*args, **kwargs)

    def generate(self, *args: Any, **kwargs: Any) -> Iterator[str]:
        """Its text, piece by piece."""
        _begin()
        size = 0
        for piece in super().generate(*args, **kwargs):
            size += len(piece)
            _check_size(size)
            yield piece


def _begin() -> None:
    _spent.steps, _spent.until = 0, time.monotonic() + SECONDS


def _concatenated(pieces: Iterable[str]) -> str:
    kept, size = [], 0
    for piece in pieces:
        kept.append(piece)
        size += len(piece)
        _check_size(size)
    return "".join(kept)


class _Filters(dict[str, Callable[..., Any]]):
    """Filters, each of which looks at its arguments first."""

    def __setitem__(self, name: str, filter: Callable[..., Any]) -> None:
        super().__setitem__(name, _bounded(name, filter))


class _Bounded(ImmutableSandboxedEnvironment):
    """A sandbox in which every turn of a loop is counted and everything that grows is looked at."""

    intercepted_binops = frozenset(["+", "*", "%", "**"])
    template_class = _BoundedTemplate
    concat = staticmethod(_concatenated)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, finalize=_writable)
        plain, self.filters = self.filters, _Filters()
        for name, filter in plain.items():
            self.filters[name] = filter
        self.filters[SIZED] = _sized
        self.globals.pop("lipsum")  # as many words as it is asked for

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for node in tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock)):
            node.body = [_tick(node.lineno), *node.body]  # type: ignore[attr-defined]
        for node in tree.find_all(nodes.AssignBlock):
            node.filter = nodes.Filter(node.filter, SIZED, [], [], None, None, lineno=node.lineno)
        _replace_joins(tree)
        return tree

    @staticmethod
    def tick() -> str:
        """One more step; nothing is shown."""
        _spent.steps += 1
        if _spent.steps > STEPS:
            raise TemplateLimitError(f"it takes more than {STEPS:,} steps")
        if time.monotonic() > _spent.until:
            raise TemplateLimitError(f"it takes longer than {SECONDS:g} s")
        return ""

    @staticmethod
    def joined(*parts: object) -> str:
        """What `~` gives."""
        texts = [soft_str(_writable(part)) for part in parts]
        _check_size(sum(map(len, texts)))
        return "".join(texts)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """An operator that can make much of little."""
        _check_operands(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """A call; methods of Python's own types have their arguments looked at."""
        method = getattr(obj, "__wrapped__", obj)  # the sandbox wraps str.format
        if isinstance(method, BuiltinFunctionType | MethodType):
            if method.__name__ == "join":
                args = tuple(map(_drawn, args))
            _check_call(method.__name__, (getattr(method, "__self__", None), *args), kwargs)
        return _sized(super().call(context, obj, *args, **kwargs))


def _tick(line: int) -> nodes.Node:
    call = nodes.Call(nodes.EnvironmentAttribute("tick"), [], [], None, None)
    return nodes.Output([call], lineno=line).set_lineno(line)


def _replace_joins(node: nodes.Node) -> None:
    """Put `joined` in the place of every `~`."""
    for field, value in list(node.iter_fields()):
        if isinstance(value, list):
            setattr(node, field, [_without_join(item) for item in value])
        elif isinstance(value, nodes.Node):
            setattr(node, field, _without_join(value))


def _without_join(node: Any) -> Any:
    if not isinstance(node, nodes.Node):
        return node
    _replace_joins(node)
    if not isinstance(node, nodes.Concat):
        return node
    call = nodes.Call(nodes.EnvironmentAttribute("joined"), node.nodes, [], None, None)
    return call.set_lineno(node.lineno)


def _bounded(name: str, filter: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that looks at its arguments first."""

    @wraps(filter)  # which also keeps the mark of a filter that wants the environment
    def looked_at(*args: Any, **kwargs: Any) -> Any:
        if name == "join":
            args = tuple(map(_drawn, args))
        _check_call(name, args, kwargs)
        return _sized(filter(*args, **kwargs))

    return looked_at


def _check_operands(operator: str, left: Any, right: Any) -> None:
    numbers = isinstance(left, int) and isinstance(right, int)
    if operator == "**" and numbers:
        _check_bits(left.bit_length() * max(right, 1))
    elif operator == "*" and numbers:
        _check_bits(left.bit_length() + right.bit_length())
    elif operator == "*":
        for one, other in ((left, right), (right, left)):
            if isinstance(other, int) and hasattr(one, "__len__"):
                _check_size(len(one) * other)
    elif operator == "+" and hasattr(left, "__len__") and hasattr(right, "__len__"):
        _check_size(len(left) + len(right))
    elif operator == "%" and isinstance(left, str):
        _check_call("format", (left, right), {})


_WIDE = re.compile(r"\d{7,}")


def _check_call(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Refuse the arguments of a method or a filter that would make too much."""
    for arg in (*args, *kwargs.values()):
        _writable(arg)
    texts = [arg for arg in args if isinstance(arg, str)]
    numbers = [n for n in (*args, *kwargs.values()) if isinstance(n, int)]
    numbers += [n for arg in args if isinstance(arg, list | tuple) for n in arg if type(n) is int]
    for number in numbers:
        _check_size(abs(number))
    if name in ("format", "format_map") and texts and _WIDE.search(texts[0]):
        raise TemplateLimitError("a number is to be written too wide")
    if name == "replace" and len(texts) > 2:
        _check_size(len(texts[0]) + texts[0].count(texts[1]) * len(texts[2]))
    elif name in ("indent", "expandtabs") and texts and numbers:
        _check_size(len(texts[0]) * max(numbers))
    elif name == "join" and texts:
        sequence = next((arg for arg in args if isinstance(arg, list | tuple)), ())
        _check_size(sum(len(str(s)) for s in sequence) + len(texts[-1]) * len(sequence))


def _drawn(items: Any) -> Any:
    """What an iterator gives, as long as it may be; all else as it is."""
    if not isinstance(items, Iterator):
        return items
    kept, size = [], 0
    for item in items:
        size += len(item) if isinstance(item, str) else 1
        _check_size(size)
        kept.append(item)
    return kept


def _writable(value: Any) -> Any:
    """The value, if its text is not too long: a list may hold one list many times over."""
    waiting, size = [value] if isinstance(value, _NESTING) else [], 0
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, _NESTING):
            size += 2 + len(inner)
            waiting += inner
            waiting += inner.values() if isinstance(inner, dict) else ()
        else:
            size += len(inner) if isinstance(inner, str) else 1
        _check_size(max(size, len(waiting)))
    return value


_NESTING = (list, tuple, set, frozenset, dict)


def _sized(made: Any) -> Any:
    """What a call or a filter made, if it is not too long."""
    if isinstance(made, str | list | tuple):
        _check_size(len(made))
    return made


def _check_size(size: int) -> None:
    if size > LONGEST:
        raise TemplateLimitError(f"it makes more than {LONGEST:,} characters or items")


def _check_bits(bits: int) -> None:
    if bits > BITS:
        raise TemplateLimitError("it makes a number of more than 4,200 digits")
