"""The lab's comparison as cells to print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tofu_eval.lab.findings import (
    AT_MATCHED,
    BETA,
    MAIN,
    MATCHED,
    MEASURES,
    T1,
    T_BETA,
    TOP_P,
    Seeds,
    column,
    models,
    spread,
)

FRONTIER = ("validity", "distinct_valid", "unseen")
"""Quality, and two measures of diversity, over temperatures."""

BESIDE = 3
"""Other losses in one table: with cross-entropy, four columns fit into a terminal."""


@dataclass(frozen=True, slots=True)
class Table:
    """Cells to print: measures down, models across."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(seeds: Seeds) -> list[Table]:
    """The comparison under each decoder, mean over seeds with least and greatest.

    More models than fit beside each other get tables of their own, with cross-entropy again.
    """
    quality = ("validity", "tail", "unseen", "collision", "distinct_valid")
    decoders = (
        ("Temperature 1", T1, tuple(n for n in MEASURES if n != "temperature")),
        ("Top-p 0.9", TOP_P, quality),
        (f"Temperature {BETA:g}, TOFU's own", T_BETA, (*quality, "kl")),
        (
            f"Where {MATCHED:.0%} of the answers are valid",
            AT_MATCHED,
            ("temperature", *quality[1:]),
        ),
    )
    others = [model for model in models(seeds) if model not in MAIN]
    lines = []
    for title, decoder, names in decoders:
        lines.append(_table(seeds, title, decoder, names, MAIN))
        for start in range(0, len(others), BESIDE):
            columns = ("sft", *others[start : start + BESIDE])
            lines.append(_table(seeds, f"{title}, other losses", decoder, names, columns))
    return lines


def by_temperature(seeds: Seeds, temperatures: Sequence[float]) -> list[Table]:
    """Quality and diversity of each model as it is sampled hotter, means over seeds.

    More models than fit beside each other get tables of their own, with cross-entropy again.
    """
    title = ", ".join(MEASURES[name].title for name in FRONTIER)
    others = [model for model in models(seeds) if model not in MAIN]
    columns = [MAIN, *(("sft", *others[i : i + BESIDE]) for i in range(0, len(others), BESIDE))]
    lines = []
    for number, names in enumerate(columns):
        shown = [name for name in names if name in models(seeds)]
        rows = []
        for t in temperatures:
            cells = []
            for model in shown:
                spreads = [spread(column(seeds, model, f"T={t:g}", m)) for m in FRONTIER]
                cells.append("  ".join("–" if s is None else f"{s.mean:.2f}" for s in spreads))
            rows.append((f"T={t:g}", *cells))
        more = ", other losses" if number else ""
        lines.append(Table(f"Sampled hotter{more}: {title}", ("", *shown), tuple(rows)))
    return lines


def _table(
    seeds: Seeds, title: str, decoder: str, names: Sequence[str], columns: Sequence[str]
) -> Table:
    shown = [m for m in columns if any((r.model, r.decoder) == (m, decoder) for r in seeds[0])]
    rows = []
    for name in names:
        cells = [_cell(column(seeds, m, decoder, name), MEASURES[name].digits) for m in shown]
        rows.append((MEASURES[name].title, *cells))
    return Table(title, ("", *shown), tuple(rows))


def _cell(values: Sequence[float | None], digits: int) -> str:
    cell_spread = spread(values)
    if cell_spread is None:
        return "–"
    mean = f"{cell_spread.mean:.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ({cell_spread.low:.{digits}f}–{cell_spread.high:.{digits}f})"
