"""The first screen's rows in a terminal: 80 columns, and the same without colour."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from tofu_eval.analysis import Difference, Interval
from tofu_eval.analysis.comparison import Cell, Comparison, Row
from tofu_eval.analysis.direction import Effect
from tofu_eval.report.comparison_text import answer_text
from tofu_eval.report.first_screen import Mark, model_rows
from tofu_eval.report.scale import Scale
from tofu_eval.report.text_bars import BAR, bar_head, bar_of


def compared(tasks: int, model: str = "sft") -> Comparison:
    """A model that is narrower by vendi on every task but the first, and better by reward."""
    rows = []
    for i in range(tasks):
        for metric, measures, value in (("vendi", "diversity", -1.0), ("reward", "quality", 0.5)):
            p = 0.5 if (i, metric) == (0, "vendi") and tasks > 1 else 0.001
            found = Difference(
                value, value - 0.2, value + 0.2, 40, 0, p, 0.1, effect=value, sd=1.0,
                a_mean=3 + value, b_mean=3.0, units=40,
            )  # fmt: skip
            mean = Interval(3.0, 2.0, 4.0, 40, "by hand")
            cells = (Cell("base", mean, 0, {}, None), Cell(model, mean, 0, {}, found, p))
            rows.append(Row(f"task-{i}", metric, "higher", cells, measures=measures))
    return Comparison("base", ("base", model), tuple(rows), len(rows))


def printed(comparison: Comparison, **style: object) -> list[str]:
    console = Console(width=80, file=io.StringIO(), **style)
    console.print(answer_text(comparison))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_bar_is_an_interval_on_a_line() -> None:
    scale = Scale(1.0)
    narrower = Mark(Effect(-1, -1, -0.3), True, "")
    assert bar_of([narrower], scale) == f"●{'─' * 10}     ┊{' ' * 16}"
    unsure = Mark(Effect(0.1, -0.1, 0.4), False, "")
    # log 1.1 / log 2 of 47% of 33 cells right of the middle, and so on.
    assert bar_of([unsure], scale) == f"{' ' * 14}────○──────{' ' * 8}"
    assert len(bar_of([unsure], scale)) == len(bar_head()) == BAR
    assert bar_of([], scale).strip() == "┊"
    both = bar_of([narrower, Mark(Effect(0.8, 0.6, 1), True, "")], scale)
    assert both.count("●") == 2
    assert both.index("┊") == BAR // 2


def test_a_row_is_words_and_a_bar_in_80_columns() -> None:
    lines = printed(compared(1), color_system=None)
    assert lines[0] == f"{'':47}{bar_head()}"
    assert lines[1].startswith("sft: narrower   ")
    assert lines[1].index("●") < lines[1].index("┊") < 80
    assert lines[2] == "  vendi -1.00 [-1.20, -0.80]"
    assert max(map(len, lines)) <= 80


def test_colours_change_no_character() -> None:
    plain = printed(compared(1), color_system=None)
    coloured = Console(width=80, file=io.StringIO(), color_system="standard", force_terminal=True)
    coloured.print(answer_text(compared(1)))
    text = coloured.file.getvalue()
    assert "\x1b[" in text
    assert [line.plain.rstrip() for line in answer_text(compared(1)).split("\n")][:3] == plain[:3]


def test_a_name_that_leaves_no_room_has_the_bar_below() -> None:
    lines = printed(compared(1, "meta-llama-3.1-8b-instruct-tofu-seed0"), color_system=None)
    assert lines[1] == "meta-llama-3.1-8b-instruct-tofu-seed0: narrower"
    assert "●" in lines[2]
    assert max(map(len, lines)) <= 80


def test_many_tasks_have_two_lines_each() -> None:
    lines = printed(compared(5), color_system=None)
    assert lines[1] == "sft"
    assert lines[2].startswith("  task-0: not clearly different")
    assert "○" in lines[2]
    assert lines[4].startswith("  task-1: narrower")
    assert lines[5] == "    vendi -1.00 [-1.20, -0.80]; quality better"
    assert max(map(len, lines)) <= 80


def test_a_model_s_row_counts_its_tasks() -> None:
    (row,) = model_rows(compared(5))
    assert [(count.outcome, count.word) for count in row.counts] == [
        *(("less", "narrower on 4"), ("unclear", "not clear on 1"))
    ]
    assert [count.word for count in row.qualities] == ["better on 5"]
    assert [cell.symbol for cell in row.cells] == ["·", "◀", "◀", "◀", "◀"]
    assert [mark.is_clear for mark in row.marks] == [False, True, True, True, True]
    assert row.marks[1].effect == Effect(-1.0, -1.2, -0.8)


def test_one_task_has_its_evidence_in_the_row() -> None:
    (row,) = model_rows(compared(1))
    assert row.lines == ("vendi -1.00 [-1.20, -0.80]", "40 prompts · adjusted p = 0.001")
    assert row.quality_text == "reward +0.500 [+0.300, +0.700]"
    none = replace(compared(1), rows=())
    assert model_rows(none) == []
