"""Templates of anybody, without reach into Python: Jinja's sandbox, each compiled once."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from functools import cache
from typing import Any

import jinja2
from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment


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


def render_html(source: str, values: Mapping[str, Any]) -> str:
    """A template of ours as HTML; what stands for a variable is escaped, unless it is Markup."""
    return environment(html=True).from_string(source).render(values)


def line_of(error: BaseException) -> int:
    """The line (from 1) of the template where rendering failed."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == "<template>"]
    return (lines[-1] if lines else None) or 1


@cache
def environment(*, html: bool = False) -> ImmutableSandboxedEnvironment:
    """Jinja without reach into Python; `random` and the globals (`lipsum`) would be unseeded."""
    sandbox = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=html,
    )
    sandbox.globals.clear()
    del sandbox.filters["random"]
    return sandbox
