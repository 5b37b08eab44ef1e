from __future__ import annotations

import csv
import io
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from jsonschema import Draft7Validator
from support.boards import A, B, manifest_of, means, source, study

from tofu_eval.core.errors import ConfigError, DataError, UnknownNameError
from tofu_eval.leaderboard import build_leaderboard
from tofu_eval.leaderboard.exports import (
    Evaluator,
    as_csv,
    as_latex,
    as_markdown,
    eval_results,
    every_eval_ever,
    model_index,
)
from tofu_eval.leaderboard.exports.terminal import WIDTH, show
from tofu_eval.leaderboard.merge import merge
from tofu_eval.leaderboard.view import citation, select

HOSTILE = [
    '=HYPERLINK("http://evil.example")',
    "+1",
    "-1",
    "@SUM(A1)",
    " =1+1",
    "\t=1",
    "＝1",
    "<script>alert(1)</script>",
    "](javascript:alert(1))",
    "a|b\n| c | d |",
    r"\input{/etc/passwd} $x^2$ 50% #1 ~ & _",
    "\u202egnp.exe\x1b[31m",
]


@pytest.fixture
def ranked(manifest: dict[str, Any]) -> dict[str, Any]:
    """Three models on one metric, ranked."""
    levels = {"base": 5.0, "sft": 3.0, "tofu": 4.99}
    scores = study(levels)
    return build_leaderboard(means(scores), manifest_of(manifest, A, *levels), scores)


def hostile(board: dict[str, Any], text: str) -> dict[str, Any]:
    """The board with a text in the place of everything that is free text."""
    for metric in board["metrics"]:
        metric.update(id=text, name=text, paper=text, package={"name": text, "version": text})
    for row in board["rows"]:
        row.update(metric=text, signature=text, method=text)
    board["tasks"][0].update(licence=text, citation=text)
    return board


def test_csv_has_all_of_a_row(ranked: dict[str, Any]) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(ranked))))
    assert len(rows) == 3
    for made, row in zip(rows, ranked["rows"], strict=True):
        assert float(made["value"]) == row["value"]
        assert made["rank"] == str(row["rank"])
        assert made["task_package"] == "tofu-eval 0.1.0"
        assert made["citation"] == citation(ranked, row)


@pytest.mark.parametrize("text", HOSTILE)
def test_csv_holds_no_formula_and_no_second_line(ranked: dict[str, Any], text: str) -> None:
    rows = list(csv.reader(io.StringIO(as_csv(hostile(ranked, text)))))
    assert len(rows) == 4
    for cell in rows[1] + rows[2]:
        assert not re.match(r"\s*[=+@＝＋＠]", cell)
        assert not re.match(r"\s*-(?!\d)", cell)  # a negative number is one
        assert cell.isprintable()
    assert any(cell.endswith(text[-2:]) for cell in rows[1]) or not text.isprintable()


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_and_latex_show_hostile_text_as_it_is(ranked: dict[str, Any], text: str) -> None:
    board = hostile(ranked, text)
    markdown = as_markdown(board)
    assert "<" not in markdown
    assert "](" not in markdown.replace("\\]\\(", "")
    bars = {len(re.findall(r"(?<!\\)\|", line)) for line in markdown.splitlines() if "|" in line}
    assert bars <= {6, 0}
    latex = as_latex(board)
    assert "\\input" not in latex
    assert not re.search(r"(?<!\\)[#]", latex)
    assert all(line.isprintable() for line in (*markdown.splitlines(), *latex.splitlines()))


@pytest.mark.parametrize("text", HOSTILE)
def test_the_terminal_gets_no_commands(ranked: dict[str, Any], text: str) -> None:
    assert all(line.isprintable() for line in show(hostile(ranked, text)).plain.splitlines())


def test_markdown_reads_best_first(ranked: dict[str, Any]) -> None:
    lines = as_markdown(ranked).splitlines()
    assert lines[0] == "### open-prompts"
    assert [line.split(" | ")[1:3] for line in lines[4:7]] == [
        ["1", "base"], ["1", "tofu"], ["3", "sft"]
    ]  # fmt: skip


def test_latex_is_a_booktabs_table(ranked: dict[str, Any]) -> None:
    latex = as_latex(ranked)
    assert latex.count(r"\toprule") == latex.count(r"\end{table}") == 1
    (line,) = (line for line in latex.splitlines() if line.strip().startswith("sft"))
    assert re.fullmatch(r"    sft & 3\.\d+ \{\[\}2\.\d+, 3\.\d+\{\]\} \\\\", line)
    assert r"\textbf{" in next(line for line in latex.splitlines() if "tofu &" in line)


def test_show_fits_80_columns(manifest: dict[str, Any]) -> None:
    long = "a-model-with-quite-a-name-" * 3
    one = source(manifest, A, {long: 5.0, "sft": -3.123456})
    text = show(one.board).plain
    table = text.split("\n\n")[0]
    assert max(map(len, table.splitlines())) <= WIDTH
    assert "a-model-with" in text
    assert "…" in text
    assert "     2  sft" in text


def test_show_tells_signatures_and_runs_apart(manifest: dict[str, Any]) -> None:
    one, other = source(manifest, A, {"base": 5.0}), source(manifest, B, {"base": 4.0})
    assert "base (aaaaaa)" in show(merge([one, other]).board).plain
    other.board["rows"][0]["signature"] = "vendi|v:1|q:0.5"
    assert "vendi|v:1|q:0.5" in show(merge([one, other]).board).plain


def test_select_by_name_or_id(ranked: dict[str, Any]) -> None:
    assert [r["model"] for r in select(ranked, models=["sft"])["rows"]] == ["sft"]
    with pytest.raises(UnknownNameError, match=r"Unknown model 'stf'\. Did you mean 'sft'"):
        select(ranked, models=["stf"])


def test_eval_results_are_what_the_hub_reads(ranked: dict[str, Any]) -> None:
    text = eval_results(ranked, "sft", dataset="ada/board", source="https://example.org")
    (entry,) = parse_eval_result_entries(yaml.safe_load(text))
    row = next(row for row in ranked["rows"] if row["model"] == "sft")
    assert (entry.dataset_id, entry.task_id) == ("ada/board", "open-prompts.vendi")
    assert entry.value == row["value"]
    assert entry.date == "2026-03-01T13:00:00+00:00"
    assert entry.source_url == "https://example.org"
    assert "vendi|v:1" in (entry.notes or "")
    with pytest.raises(ConfigError, match="--dataset must be a dataset repository, got 'board'"):
        eval_results(ranked, "sft", dataset="board")
    with pytest.raises(DataError, match="The model 'nobody' has no value"):
        eval_results(ranked, "nobody", dataset="ada/board")


def test_a_card_keeps_what_is_not_ours(ranked: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(
        "---\nlicense: mit\nmodel-index:\n- name: theirs\n  results:\n  - task:\n"
        "      type: text-generation\n    dataset:\n      type: gsm8k\n      name: GSM8K\n"
        "    metrics:\n    - type: accuracy\n      value: 0.5\n---\n# A model\n\nText.\n"
    )
    for _ in range(2):  # the second time, ours replace ours
        path.write_text(model_index(ranked, "sft", card=path, source="https://example.org"))
    card = ModelCard(path.read_text())
    assert card.data.license == "mit"
    assert card.text.strip() == "# A model\n\nText."
    results = {result.metric_type: result for result in card.data.eval_results}
    assert len(card.data.eval_results) == 2
    assert results["accuracy"].metric_value == 0.5
    row = next(row for row in ranked["rows"] if row["model"] == "sft")
    assert results["vendi"].metric_value == row["value"]
    assert results["vendi"].metric_args["signature"] == "vendi|v:1"
    assert results["vendi"].source_url == "https://example.org"
    assert ModelCard(model_index(ranked, "sft")).data.model_name == "sft"


def test_a_card_that_is_none_is_named(ranked: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("---\n!!python/object/apply:os.system [id]\n---\n")
    with pytest.raises(DataError, match=r"README.md is no model card: "):
        model_index(ranked, "sft", card=path)


BY = Evaluator("Ada's lab", "third_party", developer="ada")


def test_every_eval_ever_paths_are_stable_and_one_a_model(ranked: dict[str, Any]) -> None:
    files = every_eval_ever(ranked, BY)
    assert files == every_eval_ever(ranked, BY)
    # What the project's schema asks of the file of instances beside a record: a UUID of version 4.
    uuid = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    pattern = re.compile(rf"data/tofu-eval/ada/(base|sft|tofu)/{uuid}\.json")
    assert {match[1] for match in map(pattern.fullmatch, files) if match} == {"base", "sft", "tofu"}
    assert len(files) == 3


def test_every_eval_ever_records_say_what_was_measured(ranked: dict[str, Any]) -> None:
    ranked["models"][0]["identity"] = {"model": {"kind": "hub", "id": "org/m", "commit": "c"}}
    text = next(t for name, t in every_eval_ever(ranked, BY).items() if "/org/base/" in name)
    record = json.loads(text)
    assert record["model_info"]["id"] == "org/m"
    assert record["model_info"]["additional_details"]["model_availability"] == "open_weights"
    (result,) = record["evaluation_results"]
    assert result["score_details"]["score"] == ranked["rows"][0]["value"]
    assert result["score_details"]["uncertainty"]["confidence_interval"]["confidence_level"] == 0.95
    scale = ("score_type", "min_score", "max_score")
    assert [result["metric_config"][name] for name in scale] == ["continuous", 1.0, 10.0]


@pytest.mark.parametrize(
    ("range", "samples", "expected"),
    [
        (["1/n", "n"], 10, [0.1, 10.0]),
        (["-inf", "inf"], None, ["-Infinity", "Infinity"]),
        (["0", "100"], None, [0.0, 100.0]),
        (["1", "n"], None, None),  # of files of responses nobody knows n
        (["0", "1e999"], 10, None),
        (["nan", "many"], 10, None),
    ],
)
def test_every_eval_ever_gets_both_ends_of_a_range_or_none(
    ranked: dict[str, Any], range: list[str], samples: int | None, expected: list[Any] | None
) -> None:
    ranked["metrics"][0]["range"] = range
    sampling = ranked["tasks"][0]["sampling"]
    ranked["tasks"][0]["sampling"] = samples and {**sampling, "samples": samples}
    (told, *_) = every_eval_ever(ranked, BY).values()
    config = json.loads(told)["evaluation_results"][0]["metric_config"]
    if expected is None:
        assert "score_type" not in config
    else:
        assert [config["min_score"], config["max_score"]] == expected


def test_every_eval_ever_leaves_out_what_has_no_value(ranked: dict[str, Any]) -> None:
    ranked["rows"][0].update(value=None, low=None, high=None, n=0)
    assert len(every_eval_ever(ranked, BY)) == 2
    with pytest.raises(DataError, match="The board has no value to export"):
        every_eval_ever(select(ranked, models=["base"]), BY)


def test_an_evaluator_is_somebody() -> None:
    with pytest.raises(ConfigError, match="relationship must be one of first_party"):
        Evaluator("x", "self")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="Invalid developer name"):
        Evaluator("x", "other", developer="../x")


@pytest.mark.skipif(
    "EVERY_EVAL_EVER_SCHEMA" not in os.environ,
    reason="EVERY_EVAL_EVER_SCHEMA does not name the project's eval.schema.json",
)
def test_every_eval_ever_records_fit_the_projects_own_schema(
    ranked: dict[str, Any], board: dict[str, Any]
) -> None:
    schema = json.loads(Path(os.environ["EVERY_EVAL_EVER_SCHEMA"]).read_text("utf-8"))
    Draft7Validator.check_schema(schema)
    validator = Draft7Validator(schema)
    files = every_eval_ever(ranked, BY) | every_eval_ever(board, BY)
    assert len(files) == 5
    for text in files.values():
        assert [error.message for error in validator.iter_errors(json.loads(text))] == []
    broken = json.loads(text)
    del broken["evaluation_results"][0]["metric_config"]["lower_is_better"]
    assert not validator.is_valid(broken)
