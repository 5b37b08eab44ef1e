"""Phrases that a model overuses: planted ones are found, chance ones are not."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.sparse import csr_matrix
from scipy.stats import ttest_ind, ttest_rel

import tofu_eval as te
from tofu_eval.analysis.overused import compare_usage
from tofu_eval.cli import main
from tofu_eval.core.errors import ConfigError
from tofu_eval.pipeline.overused import find_overuse
from tofu_eval.run.store import Run

TEXT = "the old clock stood by a river near town and people went there in spring"
WORDS = TEXT.split()


def make_rows(seed: int, *, planted: str = "", share: float = 0.0, prompts: int = 24) -> str:
    draw = random.Random(seed)
    rows = []
    for number in range(prompts):
        texts = [" ".join(draw.choices(WORDS, k=9)) for _ in range(6)]
        texts = [f"{t}, {planted} {t}." if draw.random() < share else f"{t}." for t in texts]
        rows.append({"prompt": f"Topic {number}?", "responses": texts})
    return "\n".join(map(json.dumps, rows))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("overused")
    files = {
        "base": make_rows(1, planted="a testament to", share=0.05),
        "same": make_rows(2, planted="a testament to", share=0.05),
        "sft": make_rows(3, planted="a testament to", share=0.7),
    }
    for name, text in files.items():
        (folder / f"{name}.jsonl").write_text(text)
    te.score_files(
        [(name, folder / f"{name}.jsonl") for name in files],
        folder / "run",
        metrics=["unique_rate"],
    )
    return folder / "run"


def test_a_planted_phrase_is_found_and_nothing_else(run: Path) -> None:
    same, sft = find_overuse(Run.open(run), baseline="base")
    assert (same.model, same.phrases) == ("same", ())
    assert [row.phrase for row in sft.phrases] == ["a testament to"]  # its parts say no more
    (row,) = sft.phrases
    assert 0.6 < row.share < 0.8
    assert row.reference < 0.1
    assert row.p < 1e-4
    assert sft.same_prompts


def test_against_a_file(run: Path, tmp_path: Path) -> None:
    people = tmp_path / "people.jsonl"
    people.write_text(make_rows(9).replace("Topic", "Question"))  # other prompts
    (sft,) = find_overuse(Run.open(run), reference=people, models=["sft"])
    assert not sft.same_prompts
    assert [row.phrase for row in sft.phrases] == ["a testament to"]
    people.write_text(make_rows(9))
    (sft,) = find_overuse(Run.open(run), reference=people, models=["sft"])
    assert sft.same_prompts
    assert not list(run.glob("tmp*"))


def test_tests_are_those_of_scipy() -> None:
    draw = np.random.default_rng(0)
    one, other = (draw.integers(0, 5, (30, 7)) / 4 for _ in range(2))
    one[:, 0] = 1.0
    other[:, 0] = 0.0
    for paired, test in ((True, ttest_rel), (False, lambda a, b: ttest_ind(a, b, equal_var=False))):
        usage = compare_usage(csr_matrix(one), csr_matrix(other), paired=paired)
        np.testing.assert_allclose(usage.share, one.mean(axis=0))
        p = np.array([test(one[:, i], other[:, i]).pvalue for i in range(1, 7)])
        p = np.concatenate([[2.0**-29], p])  # no less than what signs of 30 prompts can say
        steps = np.maximum.accumulate(np.sort(p) * np.arange(7, 0, -1)).clip(max=1)
        np.testing.assert_allclose(np.sort(usage.p), steps, rtol=1e-9)


def test_few_prompts_are_no_proof(tmp_path: Path) -> None:
    for name, share in (("base", 0.0), ("sft", 1.0)):
        (tmp_path / f"{name}.jsonl").write_text(
            make_rows(1, planted="a testament to", share=share, prompts=5)
        )
    files = [(name, tmp_path / f"{name}.jsonl") for name in ("base", "sft")]
    te.score_files(files, tmp_path / "run", metrics=["unique_rate"])
    with pytest.raises(ConfigError, match="5 prompts of responses are too few"):
        find_overuse(Run.open(tmp_path / "run"))


def test_command(run: Path) -> None:
    result = CliRunner().invoke(main, ["overused", str(run), "--baseline", "base"])
    assert result.exit_code == 0, result.output
    assert "same on responses, 24 prompts, against base (the same prompts)" in result.output
    assert "nothing is clearly overused" in result.output
    assert "a testament to" in result.output
    result = CliRunner().invoke(main, ["overused", str(run), "--format", "json"])
    assert [row["phrase"] for row in json.loads(result.output)] == ["a testament to"]
    for arguments, message in (
        (["--baseline", "nobody"], "Unknown model 'nobody'"),
        (["--task", "none"], "Unknown task 'none'"),
        (["--baseline", "base", "--model", "base"], "is the baseline"),
    ):
        result = CliRunner().invoke(main, ["overused", str(run), *arguments])
        assert result.exit_code == 2
        assert message in result.output
