"""The lab's comparison as cells to print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tofu_eval.lab.findings import (
    AT_MATCHED,
    BETA,
    MATCHED,
    MEASURES,
    MODELS,
    T1,
    T_BETA,
    TOP_P,
    Seeds,
    column,
    spread,
)


@dataclass(frozen=True, slots=True)
class Table:
    """Cells to print: measures down, models across."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(seeds: Seeds) -> list[Table]:
    """The comparison under each decoder, mean over seeds with least and greatest."""
    quality = ("validity", "tail", "unseen", "collision", "distinct_valid")
    return [
        _table(seeds, "Temperature 1", T1, tuple(n for n in MEASURES if n != "temperature")),
        _table(seeds, "Top-p 0.9", TOP_P, quality),
        _table(seeds, f"Temperature {BETA:g}, TOFU's own", T_BETA, (*quality, "kl")),
        _table(
            seeds,
            f"Where {MATCHED:.0%} of the answers are valid",
            AT_MATCHED,
            ("temperature", *quality[1:]),
        ),
    ]


def _table(seeds: Seeds, title: str, decoder: str, names: Sequence[str]) -> Table:
    models = [
        model
        for model in MODELS
        if any(r.model == model and r.decoder == decoder for r in seeds[0])
    ]
    rows = []
    for name in names:
        cells = [_cell(column(seeds, m, decoder, name), MEASURES[name].digits) for m in models]
        rows.append((MEASURES[name].title, *cells))
    return Table(title, ("", *models), tuple(rows))


def _cell(values: Sequence[float | None], digits: int) -> str:
    known = spread(values)
    if known is None:
        return "–"
    mean = f"{known.mean:.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ({known.low:.{digits}f}–{known.high:.{digits}f})"
