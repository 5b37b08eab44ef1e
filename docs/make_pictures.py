"""Make the pictures of docs/pictures anew, from the responses of examples/.

python docs/make_pictures.py     needs playwright and a Chromium

A picture has less than 200 KB.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

import tofu_eval as te

PICTURES = Path(__file__).with_name("pictures")
RESPONSES = Path(__file__).parents[1] / "examples" / "responses"
METRICS = ("unique_rate", "distinct_2", "self_bleu", "compression_ratio_gzip")
MOST = 200_000

Look = Callable[[Page], bytes]


def first_screen(page: Page) -> bytes:
    """What is seen before anybody scrolls."""
    return page.screenshot()


def part(name: str) -> Look:
    """What is seen where a section begins."""

    def look(page: Page) -> bytes:
        page.evaluate("name => document.getElementById(name).scrollIntoView()", name)
        page.wait_for_timeout(1500)
        return page.screenshot()

    return look


SHOTS: dict[str, tuple[int, int, str, Look]] = {
    "report": (1280, 800, "light", first_screen),
    "report-dark": (1280, 800, "dark", first_screen),
    "report-narrow": (390, 1200, "light", first_screen),
    "responses": (1100, 900, "light", part("responses")),
}
"""By file: width, height, colours, and what is looked at."""


def main(names: list[str]) -> None:
    """Score, write the report, take the pictures that are named, else all."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        files = [(None, RESPONSES / f"{model}.jsonl") for model in ("base", "sft", "tofu")]
        result = te.score_files(files, Path(folder) / "run", metrics=list(METRICS))
        report = te.write_report(result, baseline="base")
        with sync_playwright() as driver:
            browser = driver.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            for name, (width, height, colours, look) in SHOTS.items():
                if names and name not in names:
                    continue
                page = browser.new_page(
                    viewport={"width": width, "height": height},
                    color_scheme="dark" if colours == "dark" else "light",
                )
                page.goto(report.as_uri())
                page.wait_for_timeout(3000)
                write(PICTURES / f"{name}.png", look(page))
                page.close()
            browser.close()


def write(path: Path, png: bytes) -> None:
    """Keep a picture; ValueError where it is large."""
    if len(png) > MOST:
        raise ValueError(f"{path.name} has {len(png)} bytes, at most {MOST} are wanted.")
    path.write_bytes(png)


if __name__ == "__main__":
    main(sys.argv[1:])
