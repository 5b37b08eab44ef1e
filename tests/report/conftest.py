"""Runs to report on, and a browser to look at them with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.reports import FRUIT, HOSTILE, Look, score, written


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
    complaints: list[str] = []
    contexts = []

    def open_page(path: Path, *, width: int = 1280, ready: bool = True, **settings: Any) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": 860}, **settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.add_init_script(
            "document.addEventListener('securitypolicyviolation', (event) =>"
            " console.error(`policy: ${event.violatedDirective} ${event.sample}`))"
        )
        page.on(
            "console",
            lambda said: (
                complaints.append(f"{said.type}: {said.text}")
                if said.type in ("error", "warning")
                else None
            ),
        )
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on(
            "request",
            lambda asked: (
                complaints.append(f"request: {asked.url}")
                if not asked.url.startswith("file:")
                else None
            ),
        )
        page.goto(path.as_uri())
        if ready:
            page.wait_for_selector("html[data-ready=true]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="session")
def fruit_page(run: Path) -> Path:
    return written(run)


@pytest.fixture(scope="session")
def hostile_page(hostile: Path) -> Path:
    return written(hostile)
