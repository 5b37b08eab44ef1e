from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from tofu_eval.analysis import Difference, Interval
from tofu_eval.analysis.comparison import Cell, Comparison, Row
from tofu_eval.analysis.warnings import ValidityWarning
from tofu_eval.core.errors import UnknownNameError
from tofu_eval.report.comparison_text import render, table
from tofu_eval.report.comparison_view import ComparisonView

METHOD = "mean, 95% percentile bootstrap over prompts, 9999 resamples"


def mean(value: float | None, low: float | None, high: float | None, n: int = 60) -> Interval:
    return Interval(value, low, high, n, METHOD)


def cell(model: str, interval: Interval, *versus: Any, p: float | None = None, **more: Any) -> Cell:
    difference = Difference(*versus) if versus else None
    return Cell(model, interval, more.get("undefined", 0), more.get("reasons", {}), difference, p)


@pytest.fixture
def comparison() -> Comparison:
    """Four models, names as long as they get, a null, a missing model, both marks."""
    bleu = (
        cell("base", mean(60.85, 58.31, 63.44)),
        cell("qwen-sft", mean(53.1, 51.3, 54.9), -7.81, -10.9, -4.65, 60, 0, 0.0002, 0.2, p=0.001),
        cell("qwen-tofu", mean(60.3, 58.0, 62.4), -3.7, -7.35, -0.071, 60, 0, 0.04, 0.4, p=0.2),
        cell("qwen-gem", mean(None, None, None, 0), None, None, None, 0, 60, None, None),
    )
    reasons = {"fewer than 2 responses": 2, "no | n-grams": 1}
    vendi = (
        cell("base", mean(3.0, 3.0, 3.0)),
        cell(
            "qwen-sft", mean(3.25, 2.75, 3.5, 57), 0.25, -0.25, 0.5, 57, 3, 0.3, 0.5, p=0.6,
            undefined=3, reasons=reasons,
        ),
        cell("qwen-tofu", mean(1.0, None, None, 1), -2.0, None, None, 1, 59, None, 0.0,
             undefined=59, reasons={"fewer than 2 responses": 59}),
        cell("qwen-gem", mean(None, None, None, 0), None, None, None, 0, 60, None, None,
             undefined=60, reasons={"fewer than 2 responses": 60}),
    )  # fmt: skip
    return Comparison(
        "base",
        ("base", "qwen-sft", "qwen-tofu", "qwen-gem"),
        (
            Row("open-prompts", "self_bleu", "lower", bleu),
            Row("open-prompts", "mean_pairwise_cosine_distance", "higher", vendi),
            Row("lab", "mean_length", "none", bleu),
        ),
        7,
    )


def printed(comparison: Comparison, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(table(comparison))
    return console.file.getvalue()


def test_the_table(comparison: Comparison) -> None:
    assert [line.rstrip() for line in printed(comparison).splitlines()] == [
        "open-prompts",
        "  model      mean [95% interval]  minus base                n",
        "self_bleu ↓",
        "  base       60.9 [58.3, 63.4]                             60",
        "  qwen-sft   53.1 [51.3, 54.9]    -7.8 [-10.9, -4.7] **    60",
        "  qwen-tofu  60.3 [58.0, 62.4]    -3.70 [-7.35, -0.07] *   60",
        "  qwen-gem   —                    —                         0",
        "mean_pairwise_cosine_distance ↑",
        "  base       3.00 [3.00, 3.00]                             60",
        "  qwen-sft   3.25 [2.75, 3.50]    +0.250 [-0.250, +0.500]  57",
        "  qwen-tofu  1.00                 -2.00                     1",
        "  qwen-gem   undefined            —                         0",
        "",
        "lab",
        "  model      mean [95% interval]  minus base                n",
        "mean_length",
        "  base       60.9 [58.3, 63.4]                             60",
        "  qwen-sft   53.1 [51.3, 54.9]    -7.8 [-10.9, -4.7] **    60",
        "  qwen-tofu  60.3 [58.0, 62.4]    -3.70 [-7.35, -0.07] *   60",
        "  qwen-gem   —                    —                         0",
        "",
        "↑ higher is more diverse, ↓ lower is; of a quality metric: better. Intervals are",
        "over the n prompts.",
        "minus base: the mean difference on the same prompts.",
        "* the interval of the difference excludes 0; ** its sign-flip p-value is also",
        "below 0.05 after the adjustment (max-T) over the 7 differences compared.",
        "Prompts without a value for both models are left out of a difference.",
        "—: the model has no scores there.",
        "open-prompts, qwen-sft: mean_pairwise_cosine_distance undefined on 3 of 60",
        "prompts (2: fewer than 2 responses; 1: no | n-grams).",
        "open-prompts, qwen-tofu: mean_pairwise_cosine_distance undefined on 59 of 60",
        "prompts (59: fewer than 2 responses).",
        "open-prompts, qwen-gem: mean_pairwise_cosine_distance undefined on 60 of 60",
        "prompts (60: fewer than 2 responses).",
    ]


def test_four_models_fit_in_80_columns(comparison: Comparison) -> None:
    # Wrapping would add lines: at 80 columns only the notes wrap.
    rows = printed(comparison).split("↑ higher")[0]
    assert rows == printed(comparison, width=200).split("↑ higher")[0]
    assert max(map(len, rows.splitlines())) <= 80


def test_long_names_have_lines_of_their_own() -> None:
    names = ("meta-llama-3.1-8b-instruct-base-seed0", "meta-llama-3.1-8b-instruct-tofu-seed0")
    cells = (
        cell(names[0], mean(60.85, 58.31, 63.44)),
        cell(names[1], mean(53.1, 51.3, 54.9), -7.81, -10.9, -4.65, 60, 0, 0.0002, 0.2, p=0.001),
    )
    rows = tuple(Row(task, "self_bleu", "lower", cells) for task in ("open-prompts", "lab"))
    text = printed(Comparison(names[0], names, rows, 2))
    assert [line.rstrip() for line in text.splitlines()][:7] == [
        "open-prompts",
        "  model",
        "    mean [95% interval]  minus baseline          n",
        "self_bleu ↓",
        f"  {names[0]}",
        "    60.9 [58.3, 63.4]                           60",
        f"  {names[1]}",
    ]
    assert max(map(len, text.splitlines())) <= 80
    assert (
        printed(Comparison(names[0], names, rows, 2), width=500).split("↑ higher")[0]
        == (text.split("↑ higher")[0])
    )


def test_rich_reads_no_markup(comparison: Comparison) -> None:
    row = Row("[red]x[/red]", "[bold]m", "none", comparison.rows[0].cells)
    text = printed(Comparison("base", comparison.models, (row,), 0))
    assert "[red]x[/red]" in text
    assert "[bold]m" in text


def test_the_markdown(comparison: Comparison) -> None:
    lines = render(comparison, "markdown").splitlines()
    assert lines[0].startswith("| model | task | verdict | effect [95% interval] | prompts | adj")
    assert lines[2].startswith("| qwen-sft | open-prompts | wider | self_bleu -7.8 [-10.9, -4.7] |")
    assert lines[9].startswith("Compared with base, qwen-sft is wider on open-prompts (self_bleu")
    lines = lines[lines.index("### open-prompts") :]
    assert lines[:5] == [
        "### open-prompts",
        "",
        "| metric | model | mean [95% interval] | minus base | d_z | won | n |",
        "| :-- | :-- | :-- | :-- | :-- | :-- | --: |",
        "| self_bleu ↓ | base | 60.9 [58.3, 63.4] |  |  |  | 60 |",
    ]
    bleu = r"| self_bleu ↓ | qwen-sft | 53.1 [51.3, 54.9] | -7.8 [-10.9, -4.7] \*\* |  |  | 60 |"
    assert bleu in lines
    assert lines[12:14] == ["", "### lab"]
    assert any(r"1: no \| n-grams" in line for line in lines)


def test_markdown_shows_names_as_they_are(comparison: Comparison) -> None:
    row = Row("a|b", "<b>*x*`\ny", "none", comparison.rows[0].cells)
    lines = render(Comparison("base", comparison.models, (row,), 0), "markdown").splitlines()
    start = lines.index(r"### a\|b")
    assert lines[start + 4].startswith(r"| &lt;b&gt;\*x\*\`\\ny | base |")


def test_csv_and_json_hold_the_same_numbers(comparison: Comparison) -> None:
    parsed = json.loads(render(comparison, "json"))
    assert (parsed["baseline"], parsed["tests"], len(parsed["rows"])) == ("base", 7, 12)
    assert parsed["models"] == list(comparison.models)
    lines = list(csv.DictReader(io.StringIO(render(comparison, "csv"))))
    assert len(lines) == 12
    for line, row in zip(lines, parsed["rows"], strict=True):
        assert list(line) == list(row)
        for field, value in row.items():
            if isinstance(value, int | float):
                assert float(line[field]) == value
            elif field != "reasons":
                assert line[field] == (value or "")


def test_a_record_says_all(comparison: Comparison) -> None:
    assert json.loads(render(comparison, "json"))["rows"][5] == {
        "task": "open-prompts",
        "metric": "mean_pairwise_cosine_distance",
        "direction": "higher",
        "model": "qwen-sft",
        "value": 3.25,
        "low": 2.75,
        "high": 3.5,
        "n": 57,
        "undefined": 3,
        "reasons": {"fewer than 2 responses": 2, "no | n-grams": 1},
        "method": METHOD,
        "baseline": "base",
        "difference": 0.25,
        "difference_low": -0.25,
        "difference_high": 0.5,
        "p_value": 0.3,
        "p_adjusted": 0.6,
        "pairs": 57,
        "dropped": 3,
        "higher": 0.5,
        "lower": None,
        "effect": None,
        "beats": None,
        "beats_low": None,
        "beats_high": None,
        "seeds": 1,
        "variance_of_prompts": None,
        "variance_of_seeds": None,
        "variance_of_rest": None,
        "verdict": "wider",
        "quality_verdict": "not measured",
        "warnings": "",
    }
    line = list(csv.DictReader(io.StringIO(render(comparison, "csv"))))[5]
    assert line["reasons"] == "2: fewer than 2 responses; 1: no | n-grams"


@pytest.mark.parametrize("name", ["=1+1", "+x", "-x", "@x", " =x", "＝x", "\t=x"])
def test_no_spreadsheet_runs_a_name(comparison: Comparison, name: str) -> None:
    row = Row("task", name, "none", comparison.rows[0].cells)
    text = render(Comparison("base", comparison.models, (row,), 0), "csv")
    lines = list(csv.DictReader(io.StringIO(text)))
    shown = name if name == "\t=x" else f"'{name}"
    assert lines[0]["metric"] == shown.replace("\t", "\\t")
    assert lines[1]["difference"] == "-7.81"


def test_one_model_has_no_column_of_differences() -> None:
    row = Row("lab", "vendi", "higher", (cell("only", mean(0.0, -0.0, 0.0)),))
    alone = Comparison("only", ("only",), (row,), 0)
    assert printed(alone).splitlines()[1:4] == [
        "  model  mean [95% interval]   n",
        "vendi ↑",
        "  only   0.00 [0.00, 0.00]    60",
    ]
    assert "minus" not in printed(alone)
    assert "| metric | model | mean [95% interval] | n |" in render(alone, "markdown")


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((99.96, 99.0, 100.0), "100 [99, 100]"),
        ((1234.5, 1000.0, 2000.0), "1234 [1000, 2000]"),
        ((0.5, 0.00004, 0.9), "0.500 [0.000, 0.900]"),
        ((0.000123, 0.0001, 0.0002), "0.000123 [0.000100, 0.000200]"),
        ((1.23e-7, 1e-7, 2e-7), "1.23e-07 [1.00e-07, 2.00e-07]"),
        ((1e150, 1e150, 1e150), "1.00e+150 [1.00e+150, 1.00e+150]"),
    ],
)
def test_numbers_are_short(numbers: tuple[float, float, float], expected: str) -> None:
    row = Row("lab", "vendi", "higher", (cell("only", mean(*numbers)),))
    assert f"  {expected}  " in printed(Comparison("only", ("only",), (row,), 0))


WARNED = ValidityWarning(
    "lengths",
    voids=True,
    task="open-prompts",
    models=("qwen-sft",),
    metrics=("self_bleu",),
    numbers={"characters": 100.0, "baseline_characters": 50.0},
)


def test_a_warning_stands_in_every_format(comparison: Comparison) -> None:
    warned = replace(comparison, warnings=(WARNED,))
    said = "On open-prompts, qwen-sft has responses of 100 characters on average, base of 50"
    view = ComparisonView.of(warned)
    assert said in " ".join(repr(view).split())
    assert said in view._repr_html_()
    assert said in render(warned, "markdown")
    latex = render(warned, "latex")
    assert said in latex
    assert r"qwen-sft & open-prompts &" in latex
    parsed = json.loads(render(warned, "json"))
    (record,) = parsed["warnings"]
    assert record["text"].startswith(said)
    assert (record["kind"], record["voids"], record["metrics"]) == ("lengths", True, ["self_bleu"])
    assert record["numbers"] == {"characters": 100.0, "baseline_characters": 50.0}
    (about,) = [row["warnings"] for row in parsed["rows"] if row["warnings"]]
    assert about.startswith(said)
    assert said in render(warned, "csv")


def test_what_is_void_is_not_marked_as_clear(comparison: Comparison) -> None:
    text = printed(replace(comparison, warnings=(WARNED,)))
    assert "-7.8 [-10.9, -4.7] †" in text
    assert text.count("[-10.9, -4.7] **") == 1  # on the other task
    assert "† no verdict: what voids it stands above." in text


def test_a_comparison_shows_itself(comparison: Comparison) -> None:
    hostile = Row("<b>lab</b>", "<script>", "higher", comparison.rows[0].cells)
    view = ComparisonView.of(replace(comparison, rows=(hostile,)))
    html = view._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "\nqwen-sft: narrower  " in repr(view)
    assert max(map(len, repr(view).splitlines())) <= 80
    frame = ComparisonView.of(comparison).to_pandas()
    rows = json.loads(render(comparison, "json"))["rows"]
    assert list(frame["difference"].dropna()) == [
        row["difference"] for row in rows if row["difference"] is not None
    ]
    assert list(frame.columns) == list(rows[0])


def test_an_unknown_format(comparison: Comparison) -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown format 'cvs'. Did you mean 'csv'?"):
        render(comparison, "cvs")


@pytest.mark.parametrize(
    ("low", "high", "p", "mark"),
    [(0.0, 2.0, 0.01, ""), (-2.0, 0.0, 0.01, ""), (0.5, 2.0, 0.05, " *"), (0.5, 2.0, 0.01, " **")],
)
def test_an_interval_that_touches_0_is_not_marked(
    low: float, high: float, p: float, mark: str
) -> None:
    plain = mean(3.0, 2.0, 4.0)
    cells = (cell("a", plain), cell("b", plain, 1.0, low, high, 60, 0, p, 0.5, p=p))
    line = printed(Comparison("a", ("a", "b"), (Row("t", "m", "none", cells),), 1)).splitlines()[4]
    assert line.partition("]")[2].partition("]")[2].removesuffix("60").rstrip() == mark
