"""The page of one model: its scores and ranks, what was left out, where it comes from."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property

from markupsafe import Markup

from tofu_eval.analysis.direction import arrow_of
from tofu_eval.core.escape import printable
from tofu_eval.core.templates import render_html
from tofu_eval.core.version import __version__
from tofu_eval.leaderboard.board import Board, BoardModel, BoardRow, RowKey
from tofu_eval.leaderboard.publishing.versions import Past
from tofu_eval.leaderboard.ranks import BlockKey, block_key
from tofu_eval.leaderboard.view import (
    beats_text,
    interval_text,
    number_text,
    rank_text,
    warnings_of_row,
)
from tofu_eval.report.board.record import (
    Names,
    Record,
    excluded_of,
    measurer_text,
    metrics_in_order,
    short_text,
)
from tofu_eval.report.board.strips import Scale, scales_of, strip_svg, trail_svg
from tofu_eval.report.page import content_policy

IDENTITY = 20_000
"""Characters of a model's identity that are shown."""

WARNING = 1200


class Pages:
    """The pages of all models of a board, which share what the board's rankings span."""

    def __init__(
        self, board: Board, names: Names, history: Sequence[Past], style: str, template: str
    ) -> None:
        self.board, self.names = board, names
        self.boards = [past.board for past in history if past.board is not None]
        self.template, self.style = template, style
        self.scales: Mapping[BlockKey, Scale] = scales_of(board)
        self.metric_places = {metric.id: i for i, metric in enumerate(metrics_in_order(board))}

    def page_of(self, model: BoardModel) -> bytes:
        """The page of one of them."""
        rows = self._rows_by_model[model.id]
        names = {self.names.models[row.run, row.model] for row in rows}
        values = {
            "policy": content_policy([], [self.style]),
            "style": Markup(self.style),  # noqa: S704 (our own)
            "name": names.pop() if len(names) == 1 else short_text(model.name),
            "facts": self._facts(model, rows),
            "tasks": self._tasks(rows),
            "moved": len(self.boards) > 1,
            "excluded": excluded_of(self.board, rows),
            "warnings": self._warnings(rows),
            "identity": _identity(model),
            "tables": self._provenance(model, rows),
            "version": __version__,
            "hash": self.board.hash[:19],
        }
        return render_html(self.template, values).encode()

    @cached_property
    def _rows_by_model(self) -> Mapping[str, list[BoardRow]]:
        rows: dict[str, list[BoardRow]] = defaultdict(list)
        for row in self.board.rows:
            rows[row.model].append(row)
        return rows

    @cached_property
    def _ranks_before(self) -> list[Mapping[RowKey, tuple[int, int, int]]]:
        """The ranks of each row in each version, with how many were ranked with it."""
        versions: list[Mapping[RowKey, tuple[int, int, int]]] = []
        for board in self.boards:
            scales = scales_of(board)
            versions.append(
                {
                    row.key: (
                        row.rank,
                        row.rank_last,
                        scales[block_key(row, board.metric_by_id[row.metric])].ranked,
                    )
                    for row in board.rows
                    if row.rank is not None and row.rank_last is not None
                }
            )
        return versions

    def _facts(self, model: BoardModel, rows: Sequence[BoardRow]) -> list[tuple[str, str]]:
        measurers = {measurer_text(self.board, row.run) for row in rows}
        facts = [
            ("measured by", ", ".join(sorted(measurers)[:5])),
            ("engine", short_text(model.engine)),
            ("id", model.id),
            ("also called", short_text(", ".join(model.aliases[:20]))),
            ("method", short_text(model.label)),
            ("series", short_text(model.series or "")),
            ("seed", "" if model.seed is None else str(model.seed)),
            ("temperature", "" if model.temperature is None else f"{model.temperature:g}"),
        ]
        return [(label, value) for label, value in facts if value]

    def _tasks(self, rows: Sequence[BoardRow]) -> list[Record]:
        by_task: dict[str, list[BoardRow]] = defaultdict(list)
        for row in rows:
            by_task[row.task].append(row)
        return [
            {
                "name": self.names.tasks[task],
                "rows": [
                    self._row(row)
                    for row in sorted(own, key=lambda r: (self.metric_places[r.metric], r.run))
                ],
            }
            for task, own in by_task.items()
        ]

    def _row(self, row: BoardRow) -> Record:
        metric = self.board.metric_by_id[row.metric]
        scale = self.scales[block_key(row, metric)]
        arrow = arrow_of(metric.direction)
        several = len({other.run for other in self._rows_by_model[row.model]}) > 1
        by = f" ({measurer_text(self.board, row.run)})" if several else ""
        ranks = rank_text(row)
        why = "; ".join(filter(None, (row.unranked, row.void)))
        return {
            "metric": f"{self.names.metrics[row.metric]} {arrow}".rstrip() + by,
            "rank": f"{ranks} of {scale.ranked}" if ranks else "no rank",
            "strip": Markup(strip_svg(row, scale)),  # noqa: S704 (numbers only)
            "value": f"{number_text(row.value)} {interval_text(row)}".strip(),
            "beats": beats_text(row, interval=True),
            "made": _made_of(row),
            "signature": short_text(row.signature, 400),
            "why": short_text(why, 400),
            "before": Markup(self._trail(row)),  # noqa: S704 (numbers only)
        }

    def _trail(self, row: BoardRow) -> str:
        return trail_svg([version.get(row.key) for version in self._ranks_before])

    def _warnings(self, rows: Sequence[BoardRow]) -> list[str]:
        texts = (text for row in rows for text in warnings_of_row(self.board, row))
        return [short_text(text, WARNING) for text in dict.fromkeys(texts)]

    def _provenance(self, model: BoardModel, rows: Sequence[BoardRow]) -> list[Record]:
        runs = [self.board.run_by_id[id] for id in dict.fromkeys(row.run for row in rows)]
        cells = [
            [
                measurer_text(self.board, run.id),
                self.names.tasks[cell.task],
                short_text(cell.prompt_format or "from a file"),
                "" if cell.tokens is None else f"{cell.tokens:,}",
            ]
            for run in runs
            for cell in run.cells
            if cell.model == model.id and cell.task in self.names.tasks
        ]
        told = [
            [
                measurer_text(self.board, run.id),
                run.id,
                short_text(f"{run.tool.name} {run.tool.version} {run.tool.git_revision or ''}"),
                run.created,
                run.finished or "",
                "" if run.seed is None else run.seed,
                short_text(", ".join(f"{k} {v}" for k, v in run.packages.items()), 1000),
            ]
            for run in runs
        ]
        return [
            {
                "title": "How it was asked",
                "names": ["who", "task", "prompt format", "tokens generated"],
                "rows": cells,
            },
            {
                "title": "The runs",
                "names": ["who", "run", "tool", "began", "scored", "seed", "packages"],
                "rows": told,
            },
        ]


def _made_of(row: BoardRow) -> str:
    parts = [f"{row.n} prompt{'' if row.n == 1 else 's'}"]
    if row.undefined:
        parts.append(f"{row.undefined} without a value")
    if row.responses is not None:
        parts.append(f"at n = {row.responses}")
    if row.cluster is not None:
        parts.append(f"over clusters by {short_text(row.cluster, 40)}")
    return ", ".join(parts)


def _identity(model: BoardModel) -> str:
    """The identity as JSON, a line a line."""
    lines = json.dumps(model.identity, indent=2, ensure_ascii=False, default=dict)[:IDENTITY]
    more = "\n…" if len(lines) == IDENTITY else ""
    return "\n".join(map(printable, lines.split("\n"))) + more
