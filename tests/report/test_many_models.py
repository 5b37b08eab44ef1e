"""What is said of many models at several temperatures, many of whose responses were cut off."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.fakes import FakeEngine

import tofu_eval as te
from tofu_eval.core.types import Request, Response
from tofu_eval.report import page, read
from tofu_eval.report.warning_text import warning_lines
from tofu_eval.run.store import Run

PROMPTS, SAMPLES = 10, 4


class CutOff(FakeEngine):
    """Of each prompt's responses, `cut` are cut off at temperature 1, half of them below."""

    def __init__(self, cut: int) -> None:
        super().__init__(6)
        self.identity = {**self.identity, "cut": cut}
        self.cut = cut

    def generate(
        self, requests: Sequence[Request], done: Collection[str] = ()
    ) -> Iterator[list[Response]]:
        hot = {request.key: request.sampling.temperature == 1 for request in requests}
        for batch in super().generate(requests, done):
            yield [
                replace(row, finish_reason="length")
                if row.sample < (self.cut if hot[row.key] else self.cut // 2)
                else row
                for row in batch
            ]


def ask(output: Path, cuts: Sequence[int]) -> Run:
    prompts = [te.Prompt.of_text(f"p{i}", f"Name fruit {i}.") for i in range(PROMPTS)]
    task = te.Task("fruit", 1, lambda: prompts, sampling=te.Sampling(samples=SAMPLES))
    te.evaluate(
        {f"m{number}": CutOff(cut) for number, cut in enumerate(cuts)},
        [task],
        output,
        temperature=[0.4, 1],
        metrics=["distinct_1", "unique_rate"],
    )
    return Run.open(output)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return ask(tmp_path_factory.mktemp("many") / "run", [2, 4, 0])


def test_one_line_a_task_says_how_many_were_cut_off(run: Run) -> None:
    assert [note for note in run.manifest["notes"] if "unfinished" in note] == [
        "fruit: of the responses of 6 models, 0.0% (m2-T0.4) to 100.0% (m1-T1) unfinished; "
        "the report has each model's"
    ]


def test_few_models_have_a_line_each(tmp_path: Path) -> None:
    run = ask(tmp_path / "run", [2])
    assert [note for note in run.manifest["notes"] if "unfinished" in note] == [
        "m0-T0.4: of 40 responses to fruit, 10 unfinished (25.0%)",
        "m0-T1: of 40 responses to fruit, 20 unfinished (50.0%)",
    ]


def test_one_warning_for_all_that_were_compared(run: Run) -> None:
    comparison = read(run, baseline="m0-T1", responses=False).comparison
    lines = [
        line
        for line in warning_lines(comparison.warnings, comparison.baseline)
        if "token limit" in line
    ]
    assert lines == [
        "On fruit, 5 models have 0% (m2-T0.4) to 100% (m1-T1) of their responses, m0-T1 50%, "
        "stopped at the token limit: they are scored as far as they go."
    ]


def test_the_page_has_each_models_and_all_temperatures(run: Run) -> None:
    html = page.render(read(run, baseline="m0-T1"))
    assert re.search(r'class="about-run">[^<]* · T = 0\.4, 1 · ', html)
    data: Any = json.loads(re.search(r'id="data">(.*?)</script>', html, re.DOTALL).group(1))  # type: ignore[union-attr]
    about = data["about"]
    assert about["Responses"]["names"][:4] == ["model", "task", "responses", "unfinished"]
    assert [row[:4] for row in about["Responses"]["rows"]] == [
        ["m0-T1", "fruit", 40, 20],
        ["m0-T0.4", "fruit", 40, 10],
        ["m1-T0.4", "fruit", 40, 20],
        ["m1-T1", "fruit", 40, 40],
    ]
    (sampling,) = [row[3] for row in about["Tasks"]["rows"]]
    assert "temperature 0.4 and 1" in sampling
