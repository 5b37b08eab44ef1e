"""The page of a board in a real browser: sort, filter, open a model; no message, no request."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.large_board import publish_in_turn
from support.reports import HOSTILE, Look

from tofu_eval.leaderboard import read_leaderboard
from tofu_eval.report.board import board_site

METRICS = ("mean_pairwise_cosine_distance", "vendi", "accuracy", "mean_length")
TASKS = {"open-prompts": 9, "short-answers": 8}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve models of three people, the last with other numbers of responses."""
    folder = tmp_path_factory.mktemp("board")
    publish_in_turn(folder, 12, metrics=METRICS, tasks=TASKS)
    return folder


def names(page: Any) -> list[str]:
    """The models of the table from above."""
    return list(page.locator("#matrix tbody tr[data-entry] th a").all_inner_texts())


def choose(page: Any, label: str, value: str) -> None:
    page.locator(f"label:has(> span:text-is('{label}')) select").select_option(label=value)


def by_rank(site: Path, task: str, metric: str, responses: int | None) -> list[tuple[str, str]]:
    """Model and ranks of a ranking, as the file has them."""
    board = read_leaderboard(site / "leaderboard.json")
    sign = 1 if board.metric_by_id[metric].direction == "lower" else -1
    rows = [
        row
        for row in board.rows
        if (board.task_by_id[row.task].name, row.metric) == (task, metric)
        and responses in (None, row.responses)
    ]
    rows.sort(key=lambda row: (row.rank, row.rank_last, sign * (row.value or 0)))
    return [
        (
            board.model_by_id[row.model].name,
            str(row.rank) if row.rank == row.rank_last else f"{row.rank}–{row.rank_last}",
        )
        for row in rows
    ]


def test_sort_filter_and_open_a_model(look: Look, site: Path) -> None:
    page = look(site / "index.html")
    # Ranked by what leads, ties bracketed, as the file says.
    expected = by_rank(site, "open-prompts", METRICS[0], None)
    assert names(page) == [name for name, _ in expected]
    ranks = page.locator("#matrix td.lead .rank").all_inner_texts()
    assert ranks == [text for _, text in expected]
    firsts = [text.partition("–")[0] for text in ranks]
    assert page.locator("#matrix .tie.first").count() == len(set(firsts))
    assert page.locator("#plane .dot").count() == page.locator("#stairs .stair").count() == 12
    # Another metric ranks: two numbers of responses are two rankings.
    page.get_by_role("button", name="vendi").first.click()
    sections = page.locator("#matrix .section").all_inner_texts()
    assert [text.partition(":")[0] for text in sections] == [
        "One ranking", "Another ranking, not comparable with the one above"
    ]  # fmt: skip
    assert "at n = 10" in sections[0]
    assert "at n = 6" in sections[1]
    many = [name for name, _ in by_rank(site, "open-prompts", "vendi", 10)]
    assert names(page)[: len(many)] == many
    head = page.locator("#matrix th.lead")
    assert head.get_attribute("aria-sort") == "ascending"
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert names(page)[: len(many)] == many[::-1]
    page.locator("#matrix thead th.name button").click()
    assert names(page) == sorted(names(page))
    # Filters: who measured, the name, the task; a metric without a better end has no rank.
    choose(page, "Measured by", "Ada's laboratory")
    assert page.locator("#count").inner_text() == "6 of 12 measured models"
    choose(page, "Measured by", "everybody")
    page.get_by_label("Find a model").fill("ASPEN")
    page.get_by_text("2 of 12 measured models", exact=True).wait_for()
    assert all("aspen" in name for name in names(page))
    choose(page, "Task", "short-answers")
    choose(page, "Rank by", "mean_length")
    assert "No rank: the metric has no better end" in page.locator("#matrix").inner_text()
    assert "find=aspen" in page.evaluate("location.hash")
    # A model's page, and back to the same view.
    name = names(page)[0]
    page.locator("#matrix tbody th a").first.click()
    assert page.locator("h1").inner_text() == name
    assert page.locator("#scores tbody tr").count() == len(METRICS) * len(TASKS)
    page.get_by_text("← All models").click()
    page.wait_for_selector("html[data-ready=true]")
    assert len(names(page)) == 12


def test_the_pictures_name_what_is_under_the_pointer(look: Look, site: Path) -> None:
    page = look(site / "index.html", color_scheme="dark")
    stair = page.locator("#stairs .stair").nth(3)
    entry = stair.get_attribute("data-entry")
    stair.locator(".bar").hover()
    told = page.locator("#tooltip:not([hidden])").inner_text()
    assert page.locator(f"#matrix tr[data-entry='{entry}'].on th a").inner_text() in told
    assert page.locator(f"#plane .dot.on[data-entry='{entry}']").count() == 1
    assert "beats another on" in told


def test_it_fits_a_phone(look: Look, site: Path) -> None:
    page = look(site / "index.html", width=390, is_mobile=True, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("#matrix thead th").count() == 2
    page.locator("#matrix tbody th a").first.click()
    page.locator("#provenance-title").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_nothing_that_a_board_says_runs(look: Look, site: Path, tmp_path: Path) -> None:
    """Texts that get past the files' own escaping would run here: names of models are free."""
    board = read_leaderboard(site / "leaderboard.json")
    texts = json.dumps(HOSTILE[:-1])
    runs = tuple(replace(run, by=f"{HOSTILE[i]} {HOSTILE[5]}") for i, run in enumerate(board.runs))
    metrics = tuple(replace(metric, name=f"{metric.name}{texts}") for metric in board.metrics)
    for name, content in board_site(replace(board, runs=runs, metrics=metrics)).items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    page = look(tmp_path / "index.html")
    assert page.evaluate("typeof window.owned") == "undefined"
    assert page.locator("main img, main script, main style, main [onload]").count() == 0
    assert HOSTILE[0] in page.locator("#measured").inner_text()
    page.locator("#matrix tbody th a").first.click()
    assert page.evaluate("typeof window.owned") == "undefined"
    assert "<img src=x onerror" in page.locator("main").inner_text()
