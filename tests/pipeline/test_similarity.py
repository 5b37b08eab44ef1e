"""How alike two models are: by hand against all pairs, and from the command line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tofu_eval.cli import main
from tofu_eval.core.errors import UnknownNameError
from tofu_eval.core.types import Prompt, digest
from tofu_eval.pipeline.evaluate import score_files
from tofu_eval.pipeline.similarity import Mean, mean_between, mean_within, similarities
from tofu_eval.run.store import Run

TEXTS = {
    "a": {"p": ["red", "red", "blue"], "q": ["one", "two"]},
    "b": {"p": ["blue", "green"], "q": ["two", "two"]},
}


def vector(text: str) -> np.ndarray:
    row = np.random.default_rng(int(digest(text)[:8], 16)).normal(size=5)
    return row / np.linalg.norm(row)


class Embedder:
    name = "embedding"
    signature = "hand"
    truncated = 0

    def __init__(self) -> None:
        self.identity = {"kind": "made by hand"}

    def key(self, prompt: Prompt, text: str) -> str:
        return digest(text)

    def compute(self, pairs):
        return np.array([vector(text) for _, text in pairs], dtype=np.float32)

    compute_rows = compute


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    files = []
    for model, prompts in TEXTS.items():
        path = tmp_path / f"{model}.jsonl"
        rows = [{"prompt": prompt, "responses": texts} for prompt, texts in prompts.items()]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        files.append((model, path))
    score_files(files, tmp_path / "run", metrics=["unique_rate"])
    return tmp_path / "run"


def pairs(model: str, other: str, prompt: str) -> float:
    one, two = ([vector(t) for t in TEXTS[m][prompt]] for m in (model, other))
    return float(
        np.mean([
            x @ y for i, x in enumerate(one) for j, y in enumerate(two) if model != other or i != j
        ])
    )  # fmt: skip


def test_every_pair_of_models_is_the_mean_over_all_pairs_of_responses(scored: Path) -> None:
    with Run.writing(scored) as run:
        found = similarities(run, Embedder())
    assert [(s.model, s.other) for s in found] == [("a", "a"), ("a", "b"), ("b", "b")]
    for s in found:
        expected = np.mean([pairs(s.model, s.other, prompt) for prompt in ("p", "q")])
        assert s.interval.value == pytest.approx(expected, abs=1e-6)
        assert s.interval.n == 2
        assert s.interval.low <= s.interval.value <= s.interval.high


def test_one_response_has_no_pair_of_its_own() -> None:
    one = Mean(np.array([1.0, 0.0]), 1)
    assert mean_within(one) is None
    assert mean_between(one, Mean(np.array([0.0, 1.0]), 1)) == 0.0
    assert mean_within(Mean(np.array([1.0, 0.0]), 4)) == 1.0


def test_an_unknown_task_is_named(scored: Path) -> None:
    with (
        Run.writing(scored) as run,
        pytest.raises(UnknownNameError, match="Unknown task 'respons'"),
    ):
        similarities(run, Embedder(), ["respons"])


def test_on_the_command_line(scored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tofu_eval.features.sentence_embedder as room

    monkeypatch.setattr(room, "SentenceEmbedder", lambda *_, **__: Embedder())
    table = CliRunner().invoke(main, ["similarity", str(scored)])
    assert table.exit_code == 0, table.output
    assert "similarity" in table.output
    told = CliRunner().invoke(main, ["similarity", str(scored), "--format", "json"])
    rows = json.loads(told.stdout)
    same = CliRunner().invoke(main, ["similarity", str(scored), "--format", "csv"])
    read = list(csv.DictReader(io.StringIO(same.stdout)))
    assert [float(row["similarity"]) for row in read] == [row["similarity"] for row in rows]
    assert len(rows) == 3
    assert CliRunner().invoke(main, ["runs", "verify", str(scored)]).exit_code == 0
