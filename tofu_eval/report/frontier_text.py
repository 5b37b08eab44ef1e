"""A frontier as text: a table for a terminal or a paper, CSV, JSON, and sentences to quote."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from tofu_eval.analysis.bootstrap import Estimated
from tofu_eval.analysis.frontier import Frontier, Point, Volume
from tofu_eval.core.errors import UnknownNameError
from tofu_eval.core.escape import markdown_row, markdown_text, spreadsheet_value
from tofu_eval.report.frontier_sentences import (
    contest_lines,
    estimated_text,
    frontier_notes,
    frontier_sentences,
    in_metric_units,
)

WIDTH = 80


def render_frontiers(found: Sequence[Frontier], format: str) -> str:
    """Frontiers as "table", "markdown", "csv" or "json", with a newline at the end.

    A metric stands in its own units; differences at equal quality are oriented in JSON, where
    `diversity_sign` tells. CSV has a row a point; JSON is a list with all there is, in full floats.

    Raises:
        UnknownNameError: another format.
    """
    if format not in FORMATS:
        raise UnknownNameError.of("format", format, FORMATS, "tofu-eval frontier --help")
    return FORMATS[format](found)


def _table(frontier: Frontier) -> str:
    lines = [*_columns(_header(frontier), [_cells(frontier, p) for p in frontier.curves])]
    lines += ["", _reference(frontier)]
    volumes = [*frontier.volumes, frontier.of_all]
    lines += _columns(["series", "hypervolume", "temperatures"], [_volume(v) for v in volumes])
    for contest, sentence in zip(frontier.contests, frontier_sentences(frontier), strict=True):
        lines += ["", *_wrap(sentence)]
        lines += [line for text in contest_lines(frontier, contest) for line in _wrap(text, "  ")]
    lines += ["", *(line for note in frontier_notes(frontier) for line in _wrap(note))]
    return f"{frontier.task}\n" + "\n".join(lines) + "\n"


def _markdown(frontier: Frontier) -> str:
    rows = [_header(frontier), *(_cells(frontier, p) for p in frontier.curves)]
    areas = [
        ["series", "hypervolume", "temperatures"],
        *map(_volume, [*frontier.volumes, frontier.of_all]),
    ]
    lines = [
        f"### {markdown_text(frontier.task)}",
        "",
        *_bars(rows),
        "",
        markdown_text(_reference(frontier)),
    ]
    lines += ["", *_bars(areas), ""]
    for contest, sentence in zip(frontier.contests, frontier_sentences(frontier), strict=True):
        lines.append(f"- {markdown_text(sentence)}")
        lines += [f"  - {markdown_text(text)}" for text in contest_lines(frontier, contest)]
    return (
        "\n".join([*lines, "", *(f"- {markdown_text(note)}" for note in frontier_notes(frontier))])
        + "\n"
    )


def _csv(found: Sequence[Frontier]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    records = [_record(frontier, point) for frontier in found for point in frontier.points]
    writer.writerow(records[0])
    writer.writerows([spreadsheet_value(value) for value in record.values()] for record in records)
    return file.getvalue()


def _json(found: Sequence[Frontier]) -> str:
    content = [_content(frontier) for frontier in found]
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _content(frontier: Frontier) -> dict[str, Any]:
    return {
        "task": frontier.task,
        "quality_metric": frontier.quality_metric,
        "diversity_metric": frontier.diversity_metric,
        "prompts": frontier.prompts,
        "dropped": frontier.dropped,
        "lacking": dict(frontier.lacking),
        "method": frontier.method,
        "points": [_record(frontier, point) for point in frontier.points],
        "curves": [_record(frontier, point) for point in frontier.curves],
        "reference": [s * r for s, r in zip(frontier.signs, frontier.reference, strict=True)],
        "hypervolumes": [asdict(v) for v in (*frontier.volumes, frontier.of_all)],
        "diversity_sign": frontier.signs[1],
        "at_equal_quality": [asdict(contest) for contest in frontier.contests],
        "sentences": frontier_sentences(frontier),
    }


FORMATS: dict[str, Callable[[Sequence[Frontier]], str]] = {
    "table": lambda found: "\n\n".join(map(_table, found)),
    "markdown": lambda found: "\n".join(map(_markdown, found)),
    "csv": _csv,
    "json": _json,
}


def _record(frontier: Frontier, point: Point) -> dict[str, Any]:
    """A point in the metrics' own units."""
    quality = in_metric_units(
        Estimated(point.quality, point.quality_low, point.quality_high), frontier.signs[0]
    )
    diversity = in_metric_units(
        Estimated(point.diversity, point.diversity_low, point.diversity_high), frontier.signs[1]
    )
    return {
        "task": frontier.task,
        "quality_metric": frontier.quality_metric,
        "diversity_metric": frontier.diversity_metric,
        "model": point.model,
        "series": point.series,
        "seed": point.seed,
        "temperature": point.temperature,
        "quality": quality.value,
        "quality_low": quality.low,
        "quality_high": quality.high,
        "diversity": diversity.value,
        "diversity_low": diversity.low,
        "diversity_high": diversity.high,
        "efficient": point.efficient,
        "prompts": frontier.prompts,
    }


def _header(frontier: Frontier) -> list[str]:
    arrows = ["↑" if sign > 0 else "↓" for sign in frontier.signs]
    metrics = (frontier.quality_metric, frontier.diversity_metric)
    return ["", "model", "T", *(f"{m} {a}" for m, a in zip(metrics, arrows, strict=True))]


def _cells(frontier: Frontier, point: Point) -> list[str]:
    record = _record(frontier, point)
    temperature = "–" if point.temperature is None else f"{point.temperature:g}"
    measures = [
        estimated_text(Estimated(*(record[f"{side}{end}"] for end in ("", "_low", "_high"))))
        for side in ("quality", "diversity")
    ]
    return ["●" if point.efficient else " ", point.model, temperature, *measures]


def _volume(volume: Volume) -> list[str]:
    known = ["–" if t is None else f"{t:g}" for t in volume.temperatures]
    area = estimated_text(Estimated(volume.value, volume.low, volume.high))
    return [volume.series, area, ", ".join(known)]


def _reference(frontier: Frontier) -> str:
    quality, diversity = (
        sign * bound + 0.0 for sign, bound in zip(frontier.signs, frontier.reference, strict=True)
    )
    return (
        f"Hypervolume: the area from {frontier.quality_metric} {quality:.3g}, "
        f"{frontier.diversity_metric} {diversity:.3g} to the points"
    )


def _columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines whose cells stand under each other."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for cells in (header, *rows):
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        yield f"  {'  '.join(padded)}".rstrip()


def _bars(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    header, *others = rows
    yield markdown_row([markdown_text(cell) for cell in header])
    yield markdown_row([":--"] * len(header))
    for cells in others:
        yield markdown_row([markdown_text(cell) for cell in cells])


def _wrap(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False
    )
