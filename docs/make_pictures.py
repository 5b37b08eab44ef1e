"""Make docs/report.png anew: the first screen of a report of made-up responses.

python docs/make_pictures.py     needs playwright and a Chromium
"""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

import tofu_eval as te

FRUIT = [
    "apple",
    "pear",
    "plum",
    "fig",
    "lime",
    "kiwi",
    "date",
    "sloe",
    "mango",
    "quince",
    "cherry",
    "medlar",
]
SAID = {"base": 12, "sft": 3, "tofu": 9}
"""How many of these each made-up model knows."""


def write_responses(file: Path) -> None:
    """Two fruits a response, 8 responses to each of 40 prompts."""
    draw = random.Random(0)  # noqa: S311 - made-up answers
    rows = []
    for model, known in SAID.items():
        for i in range(40):
            words = FRUIT[i % 5 :] + FRUIT[: i % 5]
            texts = [" and ".join(draw.choices(words[:known], k=2)) for _ in range(8)]
            rows.append({"prompt": f"Name two fruits, {i}.", "model": model, "responses": texts})
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def main() -> None:
    """Score, write the report, take its picture."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "responses.jsonl"
        write_responses(file)
        metrics = ["unique_rate", "distinct_2", "self_bleu", "compression_ratio_gzip"]
        result = te.score_files([(None, file)], Path(folder) / "run", metrics=metrics)
        page = te.write_report(result, baseline="base")
        with sync_playwright() as driver:
            browser = driver.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            shown = browser.new_page(viewport={"width": 1280, "height": 800})
            shown.goto(page.as_uri())
            shown.wait_for_timeout(3000)
            shown.screenshot(path=Path(__file__).with_name("report.png"))
            browser.close()


if __name__ == "__main__":
    main()
