"""Templates of the sandbox, compiled once: prompt formats, and the fields of a row."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from functools import cache
from typing import Any

import jinja2

from tofu_eval.sandbox import environment


@cache
def compiled(source: str) -> jinja2.Template:
    """The template, compiled once.

    Raises:
        TemplateSyntaxError: it does not parse; its `lineno` says where.
    """
    return environment().from_string(source)


def rendered(source: str, values: Mapping[str, Any]) -> str:
    """The template with `values` as its variables; whatever a template can fail with, it raises."""
    return compiled(source).render(values)


def line_of(error: BaseException) -> int:
    """The line (from 1) of the template where rendering failed."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == "<template>"]
    return (lines[-1] if lines else None) or 1
