"""Scoring: resumed, in several processes, on cut texts, and over a whole corpus."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from click.testing import CliRunner

import tofu_eval as te
from tofu_eval.cli import main
from tofu_eval.core.errors import DataError
from tofu_eval.features import FEATURES
from tofu_eval.features.open import OpenFeature
from tofu_eval.metrics import METRICS, metric
from tofu_eval.pipeline import score_run as scoring
from tofu_eval.pipeline.evaluate import score_files
from tofu_eval.pipeline.inputs import truncate_group
from tofu_eval.pipeline.rescore import rescore
from tofu_eval.run.files import read_parquet, write_part
from tofu_eval.run.store import Run

TEXT = ["distinct_2", "self_bleu", "mean_length", "self_bleu_texygen"]
PROMPTS = 150


@pytest.fixture
def responses(tmp_path: Path) -> Path:
    rows = [
        {
            "id": i,
            "responses": [f"the fox {i % 7} saw {'a b c d e'[: 2 * j + 1]}" for j in range(4)],
        }
        for i in range(PROMPTS)
    ]
    path = tmp_path / "m.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return path


def run(file: Path, output: Path, **options: Any) -> te.Result:
    return score_files([("m", file)], output, metrics=TEXT, **options)


def test_interrupted_after_any_chunk_and_resumed(responses: Path, tmp_path: Path) -> None:
    whole = run(responses, tmp_path / "whole")
    chunks = -(-PROMPTS // scoring.SCORE_CHUNK)
    for stop in range(1, chunks + 1):
        output = tmp_path / f"stop-{stop}"
        told: list[int] = []

        def interrupt(stage: str, done: int, total: int, told: list[int] = told) -> None:
            if stage == "score":
                told.append(done)
                if len(told) == stop:  # noqa: B023
                    raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(responses, output, report=interrupt)
        parts = sorted((output / "scores" / "m" / "responses").iterdir())
        assert len(parts) == stop
        before = [part.stat().st_mtime_ns for part in parts]
        resumed = run(responses, output)
        assert [part.stat().st_mtime_ns for part in parts] == before
        assert resumed.scores.equals(whole.scores)
        assert resumed.estimates.equals(whole.estimates)


def test_parts_under_other_settings_are_made_again(responses: Path, tmp_path: Path) -> None:
    first = run(responses, tmp_path / "run")
    cut_short = run(responses, tmp_path / "run", truncate=3)
    assert not cut_short.scores.equals(first.scores)
    assert run(responses, tmp_path / "run").scores.equals(first.scores)


@pytest.mark.slow
def test_several_processes_give_the_same(responses: Path, tmp_path: Path) -> None:
    one = run(responses, tmp_path / "one")
    two = run(responses, tmp_path / "two", workers=2)
    assert two.scores.equals(one.scores)


@pytest.mark.slow
def test_a_worker_that_does_not_know_a_metric() -> None:
    group = te.Group(te.Prompt.of_text("p", "?"), ("a", "b"))

    @metric(
        name="only_here",
        level="group",
        direction="none",
        range=("0", "1"),
        cost="cpu",
        needs=("text",),
        paper="",
    )
    def only_here(texts: Sequence[str]) -> float:
        return 0.5

    try:
        with pytest.raises(te.TofuEvalError, match=r"^A worker does not know a metric: Unknown"):
            te.score([group], metrics=["only_here"], workers=2)
    finally:
        del METRICS._items["only_here"]


def test_a_corpus_has_one_value_and_an_interval_of_its_blocks(
    responses: Path, tmp_path: Path
) -> None:
    result = run(responses, tmp_path / "run")
    rows = [r for r in result.scores.to_pylist() if r["metric"] == "self_bleu_texygen"]
    whole, blocks = rows[0], rows[1:]
    assert (whole["prompt_id"], whole["n"]) == (None, 4 * PROMPTS)
    assert [r["prompt_id"] for r in blocks] == [f"block {i + 1} of 20" for i in range(20)]
    assert sum(r["n"] for r in blocks) == 4 * PROMPTS
    (found,) = [r for r in result.estimates.to_pylist() if r["metric"] == "self_bleu_texygen"]
    assert found["method"].startswith(
        "value of the whole corpus, 95% jackknife over 20 blocks of prompts; plug-in, grows with"
    )
    assert found["value"] == pytest.approx(whole["value"], rel=1e-12)
    assert found["n"] == 20
    assert 0 <= found["low"] <= found["value"] <= found["high"] <= 1
    assert Run.open(tmp_path / "run").manifest["metrics"]["self_bleu_texygen"]["level"] == "corpus"


def test_in_memory_a_corpus_is_a_model_and_task() -> None:
    groups = [
        te.Group(te.Prompt.of_text(id, "?"), ("a b c d e", f"{id} x y z w"), model)
        for model in ("m", "n")
        for id in ("p", "q")
    ]
    rows = te.score(groups, metrics=["self_bleu_texygen"]).scores.to_pylist()
    assert [(row["model"], row["prompt_id"], row["n"]) for row in rows] == [
        *(("m", None, 4), ("m", "block 1 of 2", 2), ("m", "block 2 of 2", 2)),
        *(("n", None, 4), ("n", "block 1 of 2", 2), ("n", "block 2 of 2", 2)),
    ]


def test_a_block_is_what_the_corpus_loses_without_it() -> None:
    texts = {"p": ("a b c d", "e f g h"), "q": ("a b c d", "i j k l"), "r": ("m n o p",) * 2}
    groups = [te.Group(te.Prompt.of_text(id, "?"), rows) for id, rows in texts.items()]

    def pooled(*ids: str) -> float:
        some = [group for group in groups if group.prompt.id in ids]
        return te.score(some, metrics=["self_bleu_texygen"]).scores.to_pylist()[0]["value"]

    made = te.score(groups, metrics=["self_bleu_texygen"]).scores.to_pylist()
    assert made[0]["value"] == pooled("p", "q", "r")
    without = [pooled("q", "r"), pooled("p", "r"), pooled("p", "q")]
    centre = sum(without) / 3
    expected = [made[0]["value"] + 2 * (centre - value) for value in without]
    assert [row["value"] for row in made[1:]] == pytest.approx(expected)


def test_one_prompt_has_no_blocks() -> None:
    group = te.Group(te.Prompt.of_text("p", "?"), ("a b c d", "e f g h"))
    result = te.score([group], metrics=["self_bleu_texygen"])
    assert [row["prompt_id"] for row in result.scores.to_pylist()] == [None]
    (found,) = result.estimates.to_pylist()
    assert (found["n"], found["low"], found["high"]) == (1, None, None)
    assert found["method"].startswith("one value of the whole corpus, no interval; plug-in")


def test_cut_texts_are_equally_long() -> None:
    texts = ("one two three four", " one\n two\tthree  ", "one two", "")
    group = te.Group(
        te.Prompt.of_text("p", "?"), texts, features={"logprob": (-1.0, -2.0, -3.0, -4.0)}
    )
    made = truncate_group(group, 3)
    assert made.texts == ("one two three", " one\n two\tthree")
    assert made.features == {"logprob": [-1.0, -2.0]}


def test_truncation_reaches_what_length_moves_alone() -> None:
    group = te.Group(te.Prompt.of_text("p", "?"), ("a b c d", "a b x y", "a"))
    whole, short = (
        {
            row["metric"]: (row["value"], row["n"], row["reason"])
            for row in te.score(
                [group], metrics=["distinct_1", "mean_length", "unique_rate"], truncate=cut_to
            ).scores.to_pylist()
        }
        for cut_to in (None, 2)
    )
    assert whole["distinct_1"] == (6 / 9, 3, None)
    assert short["distinct_1"] == (2 / 4, 2, None)  # a b | a b
    assert short["mean_length"] == whole["mean_length"] == (3.0, 3, None)
    # Of texts of one length: "a b" twice.
    assert (whole["unique_rate"], short["unique_rate"]) == ((1.0, 3, None), (0.5, 2, None))
    result = te.score([group], metrics=["distinct_1"], truncate=5)
    (row,) = result.scores.to_pylist()
    assert row["reason"] == "fewer than two responses (0), of at least 5 words each"
    assert result.estimates.column("signature")[0].as_py().endswith("|truncate:5")


def test_compare_warns_of_unequal_lengths(tmp_path: Path) -> None:
    for name, words in (("short", 5), ("long", 9)):
        texts = [" ".join(f"w{i}{j}" for i in range(words)) for j in range(2)]
        rows = [{"id": i, "responses": texts} for i in range(3)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    files = [str(tmp_path / f"{name}.jsonl") for name in ("short", "long")]
    arguments = ["score", *files, "--metric", "distinct_1", "--metric", "unique_rate"]
    loose = CliRunner().invoke(main, [*arguments, "--output", str(tmp_path / "run")])
    assert loose.exit_code == 0, loose.output
    said = " ".join(loose.stdout.split())
    assert "! On responses, long has responses of 35 characters on average, short of 19" in said
    assert "--truncate WORDS. No verdict on distinct_1" in said
    equal = CliRunner().invoke(
        main, [*arguments, "--output", str(tmp_path / "run"), "--truncate", "5"]
    )
    assert equal.exit_code == 0, equal.output
    assert "length moves the value" not in equal.stdout


@pytest.mark.parametrize(
    ("features", "references", "value", "reason"),
    [
        ({"logprob": (-1.0, -3.0)}, ("r",), -1.0, None),
        ({"logprob": (-1.0, None)}, ("r",), None, "1 of 2 responses have no log-probability"),
        ({}, ("r",), None, "the responses have no log-probability"),
        ({"logprob": (-1.0, -3.0)}, (), None, "the prompt has no references"),
    ],
)
def test_references_and_logprobs(
    features: dict[str, Any], references: tuple[str, ...], value: float, reason: str
) -> None:
    @metric(
        name="of_both",
        level="group",
        direction="none",
        range=("-inf", "inf"),
        cost="cpu",
        needs=("logprob", "references", "reference_tokens"),
        paper="",
    )
    def of_both(logprobs: Sequence[float], texts: Sequence[str], tokens: Any) -> float:
        assert list(tokens) == [[text] for text in texts]
        return sum(logprobs) / 2 + len(texts)

    prompt = te.Prompt.of_text("p", "?", references=references)
    try:
        rows = te.score(
            [te.Group(prompt, ("a", "b"), features=features)], metrics=["of_both"]
        ).scores.to_pylist()
    finally:
        del METRICS._items["of_both"]
    assert [(row["value"], row["reason"]) for row in rows] == [(value, reason)]


def test_references_and_logprobs_of_a_file(tmp_path: Path) -> None:
    rows = {
        "a": {"id": 1, "responses": ["x", "y"], "logprob": [-1.0, -3.0]},
        "b": {"id": 1, "responses": ["y", "z"], "references": ["x", "w"]},
        "c": {"id": 1, "responses": ["y"], "references": ["other"]},
    }
    for name, row in rows.items():
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row))
    metrics = ["reference_coverage_exact", "sequence_entropy"]

    def scored(name: str) -> dict[tuple[str, str], Any]:
        found = score_files([(None, tmp_path / f"{name}.jsonl")], tmp_path / "run", metrics=metrics)
        return {
            (row["model"], row["metric"]): row["value"] if row["reason"] is None else row["reason"]
            for row in found.scores.to_pylist()
        }

    coverage, entropy = metrics
    assert scored("a") == {
        ("a", coverage): "the prompt has no references",
        ("a", entropy): 2.0,
    }
    # b's file brings the references; a, scored before, is scored again with them.
    assert scored("b") == {
        ("a", coverage): 0.5,
        ("a", entropy): 2.0,
        ("b", coverage): 0.0,
        ("b", entropy): "2 of 2 responses have no log-probability",
    }
    assert scored("a")["a", coverage] == 0.5
    with pytest.raises(
        DataError, match=r"c\.jsonl, line 1: prompt '1' had other references before"
    ):
        scored("c")


class OneAtATime:
    """A feature model that fails where another one is in memory."""

    identity: ClassVar[dict[str, str]] = {"kind": "fake"}
    signature = "fake"
    truncated = 0
    loaded: ClassVar[list[str]] = []

    def __init__(self, name: str, width: int) -> None:
        self.name = name
        self.width = width
        self.loadings = 0

    def key(self, prompt: te.Prompt, text: str) -> str:
        return text

    def compute(self, pairs: list[Any]) -> Any:
        if self.name not in self.loaded:
            self.loadings += 1
            self.loaded.append(self.name)
        assert self.loaded == [self.name]
        rows = np.array([[len(text) + i for i in range(self.width)] for _, text in pairs])
        return rows.astype(np.float32)

    def close(self) -> None:
        if self.name in self.loaded:
            self.loaded.remove(self.name)


@pytest.mark.parametrize("truncate", [None, 2])
def test_one_feature_model_is_in_memory_at_a_time_and_each_once(
    responses: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, truncate: int | None
) -> None:
    models = {"embedding": OneAtATime("embedding", 3), "reward": OneAtATime("reward", 1)}
    opened = {name: OpenFeature(FEATURES.get(name), model) for name, model in models.items()}
    monkeypatch.setattr("tofu_eval.pipeline.evaluate.open_features", lambda *_, **__: opened)
    monkeypatch.setattr("tofu_eval.pipeline.score_run.SCORE_CHUNK", 4)
    metrics = ["vendi", "reward", "unique_rate"]
    rows = [json.loads(line) for line in responses.read_text("utf-8").splitlines()[:10]]
    file = tmp_path / "prompted.jsonl"
    file.write_text("\n".join(json.dumps({**row, "prompt": "Name it."}) for row in rows), "utf-8")
    made = score_files([("m", file)], tmp_path / "run", metrics=metrics, truncate=truncate)
    assert {row["metric"] for row in made.scores.to_pylist()} == set(metrics)
    assert OneAtATime.loaded == []
    assert [model.loadings for model in models.values()] == [1, 1]


class Listening(OneAtATime):
    """Keeps the lengths of the texts that it was given."""

    lengths: ClassVar[list[int]] = []

    def compute(self, pairs: list[Any]) -> Any:
        self.lengths.extend(len(text) for _, text in pairs)
        return super().compute(pairs)


@pytest.mark.parametrize("stretch", [10**6, 40])
def test_texts_of_similar_length_are_computed_together_beyond_a_chunk(
    responses: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stretch: int
) -> None:
    model = Listening("embedding", 3)
    Listening.lengths.clear()
    opened = {"embedding": OpenFeature(FEATURES.get("embedding"), model)}
    monkeypatch.setattr("tofu_eval.pipeline.evaluate.open_features", lambda *_, **__: opened)
    monkeypatch.setattr("tofu_eval.pipeline.score_run.SCORE_CHUNK", 4)
    monkeypatch.setattr("tofu_eval.pipeline.score_run.AHEAD", stretch)
    rows = [json.loads(line) for line in responses.read_text("utf-8").splitlines()]
    file = tmp_path / "own.jsonl"
    own = [[f"{i} {'word ' * (i * 7 % 19)}{text}" for text in r["responses"]]
           for i, r in enumerate(rows)]  # fmt: skip
    file.write_text("\n".join(json.dumps({"id": i, "responses": r}) for i, r in enumerate(own)))
    made = score_files([("m", file)], tmp_path / "run", metrics=["vendi"])
    assert None not in made.scores.column("value").to_pylist()
    lengths = Listening.lengths
    assert sorted(lengths) == sorted(len(text) for row in own for text in row)
    falls = sum(b < a for a, b in pairwise(lengths))
    chunks = -(-PROMPTS // 4)
    assert falls == (0 if stretch > PROMPTS * 4 else -(-chunks // 2) - 1)  # of ten prompts, eight


def test_a_lost_part_of_a_file_is_left_out_and_named(tmp_path: Path) -> None:
    """The responses that are left are no fair sample of those that were read."""
    files = [(name, tmp_path / f"{name}.jsonl") for name in ("m", "n")]
    for _, file in files:
        file.write_text(json.dumps({"id": 1, "responses": ["a b", "a c", "b c"]}), "utf-8")
    score_files(files, tmp_path / "run", metrics=["unique_rate"])
    (part,) = (tmp_path / "run" / "responses" / "m" / "responses").glob("part-*")
    rows = read_parquet(part)
    part.unlink()
    write_part(part.parent, rows.slice(0, 2))
    run = rescore(tmp_path / "run", metrics=["distinct_1"])
    assert {row["model"] for row in run.scores().to_pylist()} == {"n"}
    line = "m has 2 of 3 responses to responses and is left out there; to finish it, score its file"
    assert any(note.startswith(line) for note in run.manifest["notes"]), run.manifest["notes"]
