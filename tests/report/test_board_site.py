"""The page of a board as files: what stands in it, whatever the board says."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from support.boards import reseal
from support.commands import invoke, refused
from support.large_board import publish_in_turn, run_source
from support.reports import HOSTILE

from tofu_eval.leaderboard import Board, merge, open_board
from tofu_eval.leaderboard.board import signed
from tofu_eval.leaderboard.file import file_content, parse_leaderboard
from tofu_eval.leaderboard.merge_ids import metric_id, model_id, task_id
from tofu_eval.leaderboard.publishing.versions import (
    Past,
    parse_versions,
    read_history,
    version_of,
)
from tofu_eval.report.board import board_site
from tofu_eval.report.board.record import LONGEST, Names, board_record

METRICS = ("vendi", "accuracy")
FEW = {"open-prompts": 10, "short-answers": 9}


@pytest.fixture(scope="module")
def board() -> Board:
    """Six models, two of them at another number of responses, by two people."""
    many = run_source("1" * 16, ["a", "b", "c", "d-base"], metrics=METRICS, tasks=FEW)
    few = run_source("2" * 16, ["e", "f"], responses=6, metrics=METRICS, tasks=FEW)
    return signed(merge([many, few]).board, "Ada's laboratory")


class Reader(HTMLParser):
    """The elements of a page with their attributes, its text, and its scripts."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self._inside = ""
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        (self.scripts if self._inside in ("script", "style") else self.text).append(data)


def record_of(page: bytes) -> dict[str, Any]:
    found = re.search(rb'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    record: dict[str, Any] = json.loads(found[1])
    return record


def test_the_record_holds_every_row_once(board: Board) -> None:
    record = record_of(board_site(board)["index.html"])
    assert record == board_record(board, Names.of(board))
    assert len(record["rows"]) == len(board.rows) == 24
    for made, row in zip(record["rows"], board.rows, strict=True):
        task, metric, responses, _, signature = record["blocks"][made[0]]
        model, run, label = record["entries"][made[1]]
        assert (record["metrics"][metric]["label"], signature) == (row.metric, row.signature)
        assert record["tasks"][task] == board.task_by_id[row.task].name
        assert (model, label) == (row.model, board.model_by_id[row.model].name)
        assert record["runs"][run] == "Ada's laboratory"
        assert made[2] == pytest.approx(row.value, rel=1e-5)
        assert made[5:11] == [
            row.n, row.undefined, row.rank, row.rank_last, row.better_than, row.worse_than
        ]  # fmt: skip
        assert responses == (row.responses if row.metric == "vendi" else None)


def test_rows_of_another_number_of_responses_are_another_ranking(board: Board) -> None:
    record = board_record(board, Names.of(board))
    of_vendi = [b for b in record["blocks"] if record["metrics"][b[1]]["label"] == "vendi"]
    assert sorted((task, n) for task, _, n, *_ in of_vendi) == [(0, 6), (0, 10), (1, 6), (1, 10)]


def test_a_page_a_model_says_where_it_comes_from(board: Board) -> None:
    files = board_site(board)
    assert {name for name in files if name.startswith("models/")} == {
        f"models/{model.id}.html" for model in board.models
    }
    (model,) = (model for model in board.models if model.name == "e")
    text = " ".join(Reader(files[f"models/{model.id}.html"]).text)
    for part in (
        model.id, "Ada's laboratory", "at n = 6", "vendi|v:1", "python 3.11.7", "of 2",
        str(model.identity["files"]["w"]), "chat", "2222222222222222",
    ):  # fmt: skip
        assert part in text


def test_what_has_no_rank_says_why_on_its_model_page(board: Board) -> None:
    rows = tuple(
        replace(row.without_rank(), undefined=3, unranked="no rank for <this> reason")
        if board.model_by_id[row.model].name == "a" and row.metric == "vendi"
        else row
        for row in board.rows
    )
    (model,) = (model for model in board.models if model.name == "a")
    page = board_site(replace(board, rows=rows))[f"models/{model.id}.html"]
    assert "no rank for &lt;this&gt; reason" in page.decode()
    assert "3 prompts without a value" in page.decode()


def hostile_board(board: Board, text: str) -> Board:
    """The board with a text wherever the schema takes any, its ids made of it."""
    tasks = {
        t.id: replace(t, name=f"{_name(text)}-{t.prompts}", licence=text, citation=text)
        for t in board.tasks
    }
    tasks = {id: replace(task, id=task_id(task)) for id, task in tasks.items()}
    models = {
        m.id: replace(
            m, aliases=(), label=text, engine=text or "x", series=text or None,
            identity={text: text, "w": m.id},
        )
        for m in board.models
    }  # fmt: skip
    models = {id: replace(model, id=model_id(model)) for id, model in models.items()}
    metrics = {
        m.id: replace(m, name=m.name + text, package=None, paper=text) for m in board.metrics
    }
    metrics = {id: replace(metric, id=metric_id(metric)) for id, metric in metrics.items()}
    runs = tuple(
        replace(
            run, packages={text: text}, by=text[:200] or None,
            machines=({"system": text, "processor": [text]},),
            cells=tuple(
                replace(c, model=models[c.model].id, task=tasks[c.task].id, prompt_format=text)
                for c in run.cells
            ),
        )
        for run in board.runs
    )  # fmt: skip
    rows = tuple(
        replace(
            row.without_rank(), task=tasks[row.task].id, model=models[row.model].id,
            metric=metrics[row.metric].id, signature=text, method=text, unranked=text,
        )
        for row in board.rows
    )  # fmt: skip
    made = replace(
        board, runs=runs, tasks=tuple(tasks.values()), models=tuple(models.values()),
        metrics=tuple(metrics.values()), rows=rows, comparisons=(), scores=(),
    )  # fmt: skip
    return made.ordered()


def _name(text: str) -> str:
    """What a task may be called."""
    return re.sub(r"[^a-z0-9]", "-", text.lower()).strip("-")[:40] or "x"


LONG = "m" * 3_000_000


ALL = " ".join(HOSTILE[:-1])


def test_a_hostile_board_is_a_board(board: Board) -> None:
    hostile = hostile_board(board, ALL)
    assert parse_leaderboard(file_content(hostile), "hostile.json") == hostile


@pytest.mark.parametrize(
    "text", [ALL, pytest.param(LONG, marks=pytest.mark.slow)], ids=["markup", "3 MB"]
)
def test_nothing_of_a_board_is_markup(board: Board, text: str) -> None:
    harmless = board_site(hostile_board(board, "x"))
    begun = time.perf_counter()
    files = board_site(hostile_board(board, text))
    assert time.perf_counter() - begun < 30
    for name, page in files.items():
        if name == ".nojekyll":
            continue
        like = harmless["index.html" if name == "index.html" else _page(harmless)]
        made, wanted = Reader(page), Reader(like)
        assert [tag for tag, _ in made.tags] == [tag for tag, _ in wanted.tags]
        assert [sorted(a) for _, a in made.tags] == [sorted(a) for _, a in wanted.tags]
        links = {a["href"] for tag, a in made.tags if tag == "a"}
        assert all(link and not link.startswith("javascript") for link in links)
        shown = "".join(made.text) + json.dumps(record_of(page) if name == "index.html" else "")
        assert not set("\u202e\u2066\x00\x07\x1b\u2028") & set(shown)
        assert re.fullmatch(r"index\.html|models/[0-9a-f]{16}\.html", name)
        assert len(page) < 400_000


def _page(files: dict[str, bytes]) -> str:
    return next(name for name in files if name.startswith("models/"))


def test_the_policy_lets_nothing_load_and_no_other_script_run(board: Board) -> None:
    files = board_site(board)
    for name in ("index.html", _page(files)):
        page = Reader(files[name])
        (policy,) = (a["content"] for tag, a in page.tags if a.get("http-equiv"))
        assert policy is not None
        assert policy.startswith("default-src 'none'; script-src ")
        assert "unsafe" not in policy
        assert ("'sha256-" in policy.split(";")[1]) == (name == "index.html")
        assert not [a for tag, a in page.tags if "src" in a or tag == "link"]
        addresses = {a["href"] for tag, a in page.tags if tag == "a"}
        assert not [one for one in addresses if one and ("//" in one or one.startswith("/"))]


@pytest.mark.slow
def test_ten_to_the_five_rows_are_one_page(board: Board) -> None:
    """Three hundred models by 334 metrics: the size is that of the rows, and it opens."""
    (task, _), (metric, _) = board.tasks, board.metrics
    models = [replace(board.models[0], identity={"w": i}, name=f"model-{i}") for i in range(300)]
    models = [replace(model, id=model_id(model)) for model in models]
    metrics = [replace(metric, name=f"m{i}", package=None) for i in range(334)]
    metrics = [replace(one, id=metric_id(one)) for one in metrics]
    row = next(row for row in board.rows if row.task == task.id and row.metric == metric.id)
    rows = tuple(
        replace(row, model=model.id, metric=one.id, value=1.0 + i / 300)
        for one in metrics
        for i, model in enumerate(models)
    )
    large = replace(
        board, tasks=(task,), models=tuple(models), metrics=tuple(metrics), rows=rows,
        runs=tuple(run for run in board.runs if run.id == row.run), comparisons=(),
    )  # fmt: skip
    record = board_record(large, Names.of(large))
    assert len(record["rows"]) == 100_200
    assert len(json.dumps(record, separators=(",", ":"))) < 10_000_000


def test_history_says_what_is_new_and_how_ranks_moved(board: Board) -> None:
    before = replace(
        board, rows=tuple(row for row in board.rows if board.model_by_id[row.model].name != "f")
    ).ordered()
    times = [datetime(2026, month, 1, tzinfo=UTC) for month in (3, 4)]
    history = [
        Past(version_of(one, time), one) for one, time in zip((before, board), times, strict=True)
    ]
    files = board_site(board, history)
    record = record_of(files["index.html"])
    was = {(record["entries"][row[1]][2], row[0]): row[-1] for row in record["rows"]}
    assert {label for (label, _), ranks in was.items() if ranks == 0} == {"f"}
    assert all(ranks for (label, _), ranks in was.items() if label in "abcd")
    text = " ".join(Reader(files["index.html"]).text)
    assert "version 2, published 2026-04-01" in text
    links = [a["href"] for tag, a in Reader(files["index.html"]).tags if tag == "a"]
    assert [link for link in links if link and link.startswith("versions/")] == [
        past.version.file for past in history[::-1]
    ]
    (model,) = (model for model in board.models if model.name == "a")
    assert b'class="trail"' in files[f"models/{model.id}.html"]


def test_long_names_are_short(board: Board) -> None:
    names = Names.of(
        replace(board, metrics=(replace(board.metrics[0], name=LONG), *board.metrics[1:]))
    )
    assert max(map(len, names.metrics.values())) == LONGEST


def test_the_command_makes_the_site_of_a_place_with_its_history(tmp_path: Path) -> None:
    place, site = tmp_path / "place", tmp_path / "site"
    publish_in_turn(place, 4, metrics=METRICS, tasks=FEW)
    told = invoke("leaderboard", "page", place / "leaderboard.json", "--output", site)
    assert told.exit_code == 0, told.output
    assert "site/index.html: 4 models, 16 values, 5 pages, " in told.stdout
    assert (site / "index.html").read_bytes() == (place / "index.html").read_bytes()
    assert len(list((site / "versions").iterdir())) == 3
    # What lies there is a board like any other, with its per-prompt rows.
    source = open_board(site / "leaderboard.json")
    assert source.scores is not None
    stray = site / "models" / f"{'0' * 16}.html"
    stray.write_text("of a model that went")
    mine = site / "models" / "notes.html"
    mine.write_text("mine")
    assert invoke("leaderboard", "page", site / "leaderboard.json", "--output", site).exit_code == 0
    assert not stray.exists()
    assert mine.exists()


def test_what_is_no_board_gets_no_page(tmp_path: Path, board: Board) -> None:
    path = tmp_path / "board.json"
    path.write_bytes(file_content(board))
    assert "Cannot read the leaderboard" in refused(
        "leaderboard", "page", tmp_path, "--output", tmp_path / "out"
    )
    assert "--output must be a folder" in refused("leaderboard", "page", path, "--output", path)
    reseal(path, lambda content: content["models"][0].update(id="../../etc/passwd"))
    line = refused("leaderboard", "page", path, "--output", tmp_path / "out")
    assert "board.json at $.models[0].id" in line
    assert not (tmp_path / "out").exists()


BOARDS = sorted((Path(__file__).parents[2] / "docs" / "boards").glob("*/leaderboard.json"))


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.parent.name)
def test_the_boards_of_the_docs_are_whole(path: Path) -> None:
    source = open_board(path)
    assert source.scores is not None
    assert source.board.hash[:19] in (path.parent / "index.html").read_text("utf-8")
    versions = parse_versions((path.parent / "versions.json").read_bytes(), "versions.json")
    history = read_history(versions, lambda name: (path.parent / name).read_bytes(), "docs")
    assert history[-1].board == source.board


def test_there_is_a_board_to_look_at() -> None:
    assert "quickstart" in {path.parent.name for path in BOARDS}
