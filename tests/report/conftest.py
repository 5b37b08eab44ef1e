"""Runs to report on, and a browser to look at them with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.reports import FRUIT, HOSTILE, Look, Looks, score, written


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three models on 24 prompts: sft says less, tofu nearly as much as base."""
    rows = []
    for model, words, step in (("base", 8, 1), ("sft", 2, 1), ("tofu", 7, 3)):
        for i in range(24):
            texts = [
                f"{FRUIT[(i + step * j) % words]} and {FRUIT[(i * j) % words]}" for j in range(8)
            ]
            references = [
                f"{FRUIT[i % 8]} and {FRUIT[0]}",
                f"{FRUIT[(i + 1) % 8]} and {FRUIT[i % 2]}",
            ]
            rows.append(
                {
                    "id": f"prompt-{i:02d}",
                    "prompt": f"Name two fruits, number {i}.",
                    "model": model,
                    "responses": texts,
                    "references": references,
                }
            )
    return score(tmp_path_factory.mktemp("report") / "fruit", rows)


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models whose prompts and responses try to be more than text."""
    rows = [
        {
            "id": f"<b>{i}</b>",
            "prompt": f"{HOSTILE[i]} prompt {i}",
            "model": model,
            "responses": HOSTILE[offset:] + HOSTILE[:offset],
            "references": ["<script>window.owned = 7</script>"],
        }
        for model, offset in (("base", 0), ("sft", 3))
        for i in range(4)
    ]
    return score(tmp_path_factory.mktemp("report") / "hostile", rows)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless Chromium, driven by Playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if path is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    # Chromium's own sandbox does not work for root.
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def look(chromium: Any) -> Iterator[Look]:
    """Open a report; afterwards, whatever the page complained of fails the test."""
    looks = Looks(chromium)
    yield looks.open
    looks.close()
    assert looks.complaints == []


@pytest.fixture(scope="module")
def module_looks(chromium: Any) -> Iterator[Looks]:
    """Pages that several tests share."""
    looks = Looks(chromium)
    yield looks
    looks.close()


@pytest.fixture(scope="module")
def untouched(module_looks: Looks, fruit_page: Path) -> Any:
    return module_looks.open(fruit_page, height=800)


@pytest.fixture(scope="module")
def touched(module_looks: Looks, fruit_page: Path) -> Any:
    return module_looks.open(fruit_page, height=800)


@pytest.fixture
def fruit(untouched: Any, module_looks: Looks) -> Iterator[Any]:
    """The report of `run` as it opens, for tests that leave it so."""
    yield untouched
    assert module_looks.complaints == []


@pytest.fixture
def fresh(touched: Any, module_looks: Looks) -> Iterator[Any]:
    """The same for tests that press and choose: loaded again for each."""
    touched.reload()
    touched.wait_for_selector("html[data-ready=true]")
    yield touched
    assert module_looks.complaints == []


@pytest.fixture(scope="session")
def fruit_page(run: Path) -> Path:
    return written(run)


@pytest.fixture(scope="session")
def hostile_page(hostile: Path) -> Path:
    return written(hostile)
