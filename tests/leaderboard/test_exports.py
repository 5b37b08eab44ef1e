from __future__ import annotations

import csv
import io
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from jsonschema import Draft7Validator
from support.boards import A, B, manifest_of, means, name_of, source, study, with_row

from tofu_eval.core.errors import ConfigError, DataError, DuplicateNameError, UnknownNameError
from tofu_eval.leaderboard import Board, build_leaderboard, merge
from tofu_eval.leaderboard.board import BoardRow, Package
from tofu_eval.leaderboard.exports import EXPORTS, Option, export
from tofu_eval.leaderboard.exports.csv import as_csv
from tofu_eval.leaderboard.exports.eval_results import eval_results
from tofu_eval.leaderboard.exports.eval_yaml import eval_yaml
from tofu_eval.leaderboard.exports.every_eval_ever import Evaluator, every_eval_ever
from tofu_eval.leaderboard.exports.latex import as_latex
from tofu_eval.leaderboard.exports.latex_ranks import as_latex_ranks
from tofu_eval.leaderboard.exports.markdown import as_markdown
from tofu_eval.leaderboard.exports.model_index import model_index
from tofu_eval.leaderboard.exports.terminal import WIDTH, as_text, show
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
def ranked(manifest: dict[str, Any]) -> Board:
    """Three models on one metric, ranked."""
    levels = {"base": 5.0, "sft": 3.0, "tofu": 4.99}
    scores = study(levels)
    return build_leaderboard(means(scores), manifest_of(manifest, A, *levels), scores)


def row_of(board: Board, model: str) -> BoardRow:
    return next(row for row in board.rows if name_of(board, row) == model)


def only(board: Board, model: str) -> Board:
    return select(board, models=[model])


def hostile(board: Board, text: str) -> Board:
    """The board with a text in the place of everything that is free text."""
    (metric,), (task,) = board.metrics, board.tasks
    return replace(
        board,
        metrics=(replace(metric, id=text, name=text, paper=text, package=Package(text, text)),),
        tasks=(replace(task, licence=text, citation=text),),
        rows=tuple(
            replace(row, metric=text, signature=text, method=text, unranked=text)
            for row in board.rows
        ),
    )


def test_every_file_of_the_folder_is_an_export_or_what_they_share() -> None:
    names = {entry.name for entry in EXPORTS.entries()}
    assert names == {
        "csv", "markdown", "latex", "latex-ranks", "text", "eval-results", "eval-yaml",
        "model-index", "every-eval-ever",
    }  # fmt: skip
    assert all(entry.item and entry.item.help for entry in EXPORTS.entries())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "takes b, expected a board alone"),
        ([Option("b", "b"), Option("c", "c")], "takes b, expected b, c"),
        ([Option("output", "o")], "an option 'output', which every export has"),
    ],
)
def test_an_export_that_does_not_fit_is_refused(options: list[Option], message: str) -> None:
    with pytest.raises(ConfigError, match=message):

        @export(name="x", help="x", options=options)
        def make(board: Board, *, b: str = "") -> str:
            return b


def test_two_exports_of_one_name_are_refused() -> None:
    EXPORTS.entries()
    with pytest.raises(DuplicateNameError, match="Two export formats are called 'csv'"):

        @export(name="csv", help="mine")
        def make(board: Board) -> str:
            return ""


def test_csv_has_all_of_a_row(ranked: Board) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(ranked))))
    assert len(rows) == 3
    for made, row in zip(rows, ranked.rows, strict=True):
        assert float(made["value"]) == row.value
        assert (made["rank"], made["rank_last"]) == (str(row.rank), str(row.rank_last))
        assert (made["model"], made["model_id"]) == (name_of(ranked, row), row.model)
        assert made["responses"] == "10"
        assert made["task_package"] == "tofu-eval 0.1.0"
        assert made["citation"] == citation(ranked, row)


@pytest.mark.parametrize("text", HOSTILE)
def test_csv_holds_no_formula_and_no_second_line(ranked: Board, text: str) -> None:
    rows = list(csv.reader(io.StringIO(as_csv(hostile(ranked, text)))))
    assert len(rows) == 4
    for cell in rows[1] + rows[2]:
        assert not re.match(r"\s*[=+@＝＋＠]", cell)
        assert not re.match(r"\s*-(?!\d)", cell)  # a negative number is one
        assert cell.isprintable()
    assert any(cell.endswith(text[-2:]) for cell in rows[1]) or not text.isprintable()


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_and_latex_show_hostile_text_as_it_is(ranked: Board, text: str) -> None:
    board = hostile(ranked, text)
    markdown = as_markdown(board)
    assert "<" not in markdown
    assert "](" not in markdown.replace("\\](", "")
    bars = {len(re.findall(r"(?<!\\)\|", line)) for line in markdown.splitlines() if "|" in line}
    assert bars <= {7, 0}
    latex = as_latex(board)
    assert "\\input" not in latex
    assert not re.search(r"(?<!\\)[#]", latex)
    assert all(line.isprintable() for line in (*markdown.splitlines(), *latex.splitlines()))


@pytest.mark.parametrize("text", HOSTILE)
def test_the_terminal_gets_no_commands(ranked: Board, text: str) -> None:
    assert all(line.isprintable() for line in show(hostile(ranked, text)).plain.splitlines())


def test_markdown_reads_best_first(ranked: Board) -> None:
    lines = as_markdown(ranked).splitlines()
    assert lines[0] == "### open-prompts"
    assert [line.split(" | ")[1:3] for line in lines[4:7]] == [
        ["1–2", "base"], ["1–2", "tofu"], ["3", "sft"]
    ]  # fmt: skip
    assert [("**" in line) for line in lines[4:7]] == [True, True, False]


def test_latex_is_a_booktabs_table(ranked: Board) -> None:
    latex = as_latex(ranked)
    assert latex.count(r"\toprule") == latex.count(r"\end{table}") == 1
    (line,) = (line for line in latex.splitlines() if line.strip().startswith("sft"))
    assert re.fullmatch(r"    sft & 3\.\d+ \{\[\}2\.\d+, 3\.\d+\{\]\} \\\\", line)
    assert r"\textbf{" in next(line for line in latex.splitlines() if "tofu &" in line)


def test_what_nothing_beats_is_bold_and_nothing_else(manifest: dict[str, Any]) -> None:
    board = source(manifest, A, {"base": 5.0, "sft": 3.0}).board
    unknown = replace(
        row_of(board, "base"), rank=None, rank_last=None, better_than=None, worse_than=None
    )
    first = replace(row_of(board, "sft"), rank=1, worse_than=1)  # a chain that closes to a circle
    assert "textbf" not in as_latex(replace(board, rows=(unknown, first)))


def test_show_fits_80_columns(manifest: dict[str, Any]) -> None:
    long = "a-model-with-quite-a-name-" * 3
    text = show(source(manifest, A, {long: 5.0, "sft": -3.123456}).board).plain
    table = text.split("\n\n")[0]
    assert max(map(len, table.splitlines())) <= WIDTH
    assert "a-model-with" in text
    assert "…" in text
    assert "     2  sft" in text
    assert as_text(source(manifest, A, {"sft": 3.0}).board).startswith("open-prompts\n")


def test_show_tells_signatures_runs_and_models_of_one_name_apart(
    manifest: dict[str, Any],
) -> None:
    one, other = source(manifest, A, {"base": 5.0}), source(manifest, B, {"base": 4.0})
    assert "base (aaaaaa)" in show(merge([one, other]).board).plain
    signed = replace(other, board=with_row(other.board, 0, signature="vendi|v:1|q:0.5"))
    assert "vendi|v:1|q:0.5" in show(merge([one, signed]).board).plain
    entry = {"identity": {"files": {"w": "another"}}, "engine": "hf"}
    namesake = source(manifest, B, {"base": 4.0}, models={"base": entry})
    text = show(merge([one, namesake]).board).plain
    assert {f"base #{model.id[:6]}" for model in merge([one, namesake]).board.models} <= set(
        re.findall(r"base #[0-9a-f]{6}", text)
    )


def test_show_says_the_number_of_responses_and_why_there_is_no_rank(
    manifest: dict[str, Any],
) -> None:
    manifest["metrics"]["vendi"]["count_sensitive"] = True
    board = source(manifest, A, {"base": 5.0}).board
    assert "vendi ↑ at n = 10\n" in show(board).plain
    bare = with_row(board, 0, rank=None, unranked="of some reason")
    assert "Not ranked: vendi (of some reason)." in show(bare).plain


def test_select_by_name_or_id(ranked: Board) -> None:
    (row,) = only(ranked, "sft").rows
    assert name_of(ranked, row) == "sft"
    assert only(ranked, row.model).rows == only(ranked, row.model[:6]).rows == (row,)
    with pytest.raises(UnknownNameError, match=r"Unknown model 'stf'\. Did you mean 'sft'"):
        only(ranked, "stf")


def test_eval_results_are_what_the_hub_reads(ranked: Board) -> None:
    board = only(ranked, "sft")
    text = eval_results(board, dataset="ada/board", source_url="https://example.org")
    (entry,) = parse_eval_result_entries(yaml.safe_load(text))
    row = row_of(ranked, "sft")
    assert (entry.dataset_id, entry.task_id) == ("ada/board", "open-prompts.vendi")
    assert entry.value == row.value
    assert entry.source_url == "https://example.org"
    assert entry.date == "2026-03-01T13:00:00+00:00"
    assert "95% interval" in (entry.notes or "")


def test_a_model_that_three_runs_measured_has_one_result_a_task(manifest: dict[str, Any]) -> None:
    again = "2026-03-02T00:00:00+00:00"
    runs = [
        source(manifest, A, {"sft": 3.0}),
        source(manifest, B, {"sft": 4.0}, finished=again),
        source(manifest, "c" * 16, {"sft": 5.0}),
    ]
    board = merge(runs).board
    assert len(board.rows) == 3
    (entry,) = yaml.safe_load(eval_results(board, dataset="ada/board"))
    assert entry["value"] == pytest.approx(4.0, abs=0.2)
    assert len(ModelCard(model_index(board)).data.eval_results) == 1


def test_eval_results_of_nothing_are_refused(ranked: Board) -> None:
    with pytest.raises(ConfigError, match="must be a dataset repository, got 'board'"):
        eval_results(only(ranked, "sft"), dataset="board")
    with pytest.raises(ConfigError, match="is of one model, the board has 3: base"):
        eval_results(ranked, dataset="a/b")
    empty = with_row(only(ranked, "sft"), 0, value=None, low=None, high=None, n=0)
    with pytest.raises(DataError, match="has no value of 'sft'"):
        eval_results(empty, dataset="a/b")
    with pytest.raises(DataError, match="has no value of no model"):
        eval_results(replace(ranked, rows=()), dataset="a/b")


def test_a_card_is_made_and_amended(ranked: Board) -> None:
    made = model_index(only(ranked, "sft"), source_url="https://example.org")
    card = ModelCard(made)
    assert card.data.model_name == "sft"
    (result,) = card.data.eval_results
    assert (result.metric_name, result.source_url) == ("vendi", "https://example.org")
    theirs = made.replace("vendi", "theirs").replace("signature:", "other:")
    amended = ModelCard(
        model_index(only(ranked, "sft"), there=theirs.rstrip("\n") + "\n\n# Mine\n")
    )
    assert sorted(r.metric_name for r in amended.data.eval_results) == ["theirs", "vendi"]
    assert "# Mine" in amended.text
    assert str(ModelCard(model_index(only(ranked, "sft"), there=str(amended)))) == str(amended)


def test_a_card_that_is_none_is_named(ranked: Board) -> None:
    there = "---\n!!python/object/apply:os.system [id]\n---\n"
    with pytest.raises(DataError, match="is no model card: "):
        model_index(only(ranked, "sft"), there=there)


BY: dict[str, Any] = {
    "organization": "Ada's lab", "relationship": "third_party", "developer": "ada"
}  # fmt: skip


def test_every_eval_ever_paths_are_stable_and_one_a_model(ranked: Board) -> None:
    files = every_eval_ever(ranked, **BY)
    assert files == every_eval_ever(ranked, **BY)
    # What the project's schema asks of the file of instances beside a record: a UUID of version 4.
    uuid = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    pattern = re.compile(rf"data/tofu-eval/ada/(base|sft|tofu)/{uuid}\.json")
    assert {match[1] for match in map(pattern.fullmatch, files) if match} == {"base", "sft", "tofu"}
    assert len(files) == 3


def test_every_eval_ever_records_say_what_was_measured(ranked: Board) -> None:
    base = row_of(ranked, "base")
    models = tuple(
        replace(model, identity={"model": {"kind": "hub", "id": "org/m", "commit": "c"}})
        if model.id == base.model
        else model
        for model in ranked.models
    )
    files = every_eval_ever(replace(ranked, models=models), **BY)
    record = json.loads(next(text for name, text in files.items() if "/org/base/" in name))
    assert record["model_info"]["id"] == "org/m"
    assert record["model_info"]["additional_details"]["model_availability"] == "open_weights"
    (result,) = record["evaluation_results"]
    assert result["score_details"]["score"] == base.value
    assert result["score_details"]["uncertainty"]["confidence_interval"]["confidence_level"] == 0.95
    scale = ("score_type", "min_score", "max_score")
    assert [result["metric_config"][name] for name in scale] == ["continuous", 1.0, 10.0]


@pytest.mark.parametrize(
    ("range", "responses", "expected"),
    [
        (("1/n", "n"), 10, [0.1, 10.0]),
        (("-inf", "inf"), None, ["-Infinity", "Infinity"]),
        (("0", "100"), None, [0.0, 100.0]),
        (("1", "n"), None, None),  # of files of responses nobody knows n
        (("0", "1e999"), 10, None),
        (("nan", "many"), 10, None),
    ],
)
def test_every_eval_ever_gets_both_ends_of_a_range_or_none(
    ranked: Board,
    range: tuple[str, str],
    responses: int | None,
    expected: list[Any] | None,
) -> None:
    board = replace(
        ranked,
        metrics=(replace(ranked.metrics[0], range=range),),
        tasks=(replace(ranked.tasks[0], sampling=None),),
        rows=tuple(replace(row, responses=responses) for row in ranked.rows),
    )
    (told, *_) = every_eval_ever(board, **BY).values()
    config = json.loads(told)["evaluation_results"][0]["metric_config"]
    if expected is None:
        assert "score_type" not in config
    else:
        assert [config["min_score"], config["max_score"]] == expected


def test_every_eval_ever_leaves_out_what_has_no_value(ranked: Board) -> None:
    board = with_row(ranked, 0, value=None, low=None, high=None, n=0)
    assert len(every_eval_ever(board, **BY)) == 2
    with pytest.raises(DataError, match="The board has no value to export"):
        every_eval_ever(only(board, board.rows[0].model), **BY)


def test_an_evaluator_is_somebody() -> None:
    with pytest.raises(ConfigError, match="relationship must be one of first_party"):
        Evaluator("x", "self")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="Invalid developer name"):
        Evaluator("x", "other", developer="../x")


@pytest.mark.skipif(
    "EVERY_EVAL_EVER_SCHEMA" not in os.environ,
    reason="EVERY_EVAL_EVER_SCHEMA does not name the project's eval.schema.json",
)
def test_every_eval_ever_records_fit_the_projects_own_schema(ranked: Board, board: Board) -> None:
    schema = json.loads(Path(os.environ["EVERY_EVAL_EVER_SCHEMA"]).read_text("utf-8"))
    Draft7Validator.check_schema(schema)
    validator = Draft7Validator(schema)
    files = every_eval_ever(ranked, **BY) | every_eval_ever(board, **BY)
    assert len(files) == 5
    for text in files.values():
        assert [error.message for error in validator.iter_errors(json.loads(text))] == []
    broken = json.loads(text)
    del broken["evaluation_results"][0]["metric_config"]["lower_is_better"]
    assert not validator.is_valid(broken)


def test_latex_ranks_are_the_ranges_of_the_board(ranked: Board) -> None:
    lines = as_latex_ranks(ranked).splitlines()
    assert r"    model & vendi $\uparrow$ \\" in lines
    assert r"     & of 3 \\" in lines
    assert r"    base & \textbf{1--2} \\" in lines
    assert r"    tofu & \textbf{1--2} \\" in lines
    assert r"    sft & 3 \\" in lines


def test_beats_is_a_column_of_what_people_read(ranked: Board) -> None:
    row = row_of(ranked, "sft")
    assert row.beats is not None
    share = f"{row.beats:.0%}"
    (line,) = (line for line in as_text(ranked).splitlines() if " sft " in line)
    assert line.split()[-2:] == [share, "40"]
    assert f"| {share} | 40 |" in as_markdown(ranked)
    assert "Beats: the probability that" in as_text(ranked)


def test_eval_yaml_has_the_ids_that_eval_results_name(ranked: Board) -> None:
    text = eval_yaml(ranked, title="Diversity", config="default", split="test")
    content = yaml.safe_load(text)
    results = yaml.safe_load(eval_results(only(ranked, "sft"), dataset="org/board"))
    ids = [result["dataset"]["task_id"] for result in results]
    assert content == {
        "name": "Diversity",
        "description": "Diversity and quality of several responses to each prompt, on "
        "open-prompts.",
        "evaluation_framework": "tofu-eval",
        "tasks": [{"id": id, "config": "default", "split": "test"} for id in ids],
    }
    assert ids == ["open-prompts.vendi"]
    assert yaml.safe_load(eval_yaml(ranked, title="x", framework="inspect-ai"))["tasks"] == [
        {"id": "open-prompts.vendi"}
    ]


def test_eval_yaml_says_where_lower_is_better(board: Board) -> None:
    text = eval_yaml(board, title="x")
    assert "# Lower is more diverse, or better: open-prompts.self_bleu.\n" in text
    empty = replace(board, rows=tuple(replace(row, value=None) for row in board.rows))
    with pytest.raises(DataError, match="no value, expected one"):
        eval_yaml(empty, title="x")
    with pytest.raises(ConfigError, match="--title is empty"):
        eval_yaml(board, title=" ")


@pytest.mark.parametrize("text", HOSTILE)
def test_eval_yaml_of_a_hostile_board_is_yaml(ranked: Board, text: str) -> None:
    content = yaml.safe_load(eval_yaml(hostile(ranked, text), title=text))
    assert content["name"] == text
    assert content["tasks"] == [{"id": f"open-prompts.{text}"}]
