"""How charts look on a light and on a dark page.

Every colour has a contrast of 3 to 1 at least against its background, every ink 4.5 to 1; each
model has a shape and a dash of its own too, so that nothing hangs on colour alone. tests check.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"

SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 2], [1, 3])
"""Cycles over the models, as the colours of a theme are."""


def _theme(background: str, ink: str, faint: str, colours: list[str]) -> dict[str, Any]:
    text = {"labelColor": ink, "titleColor": ink, "labelFontSize": 12, "titleFontSize": 12}
    return {
        "background": background,
        "ink": ink,
        "colours": colours,
        "config": {
            "background": None,
            "font": FONT,
            "axis": {
                **text,
                "titleFontWeight": "normal",
                "gridColor": faint,
                "domainColor": faint,
                "tickColor": faint,
                "tickCount": 6,
                "labelLimit": 200,
                "labelOverlap": True,
            },
            "legend": {
                **text,
                "columns": 4,
                "symbolOpacity": 1,
                "symbolStrokeWidth": 2,
                "symbolSize": 80,
            },
            "range": {"category": colours},
            "style": {
                "reference": {"color": ink, "stroke": ink},
                "people": {"color": ink, "stroke": ink, "fill": ink},
                "note": {"fill": ink},
            },
            "title": {"color": ink, "subtitleColor": ink, "fontSize": 13, "anchor": "start"},
            "view": {"stroke": None},
        },
    }


THEMES: Mapping[str, dict[str, Any]] = {
    "light": _theme(
        *("#ffffff", "#44505c", "#dfe4e8"),
        [
            *("#1a5fb4", "#c2410c", "#1b7f4b", "#8b2fb0"),
            *("#8a6100", "#b8266b", "#0e7490", "#57606a"),
        ],
    ),
    "dark": _theme(
        *("#151a21", "#b4c0cc", "#2c3540"),
        [
            *("#6cb2ff", "#ff9a62", "#58d19a", "#d59bff"),
            *("#e2bd4a", "#ff8cc0", "#4fd2e2", "#b6c0ca"),
        ],
    ),
}
