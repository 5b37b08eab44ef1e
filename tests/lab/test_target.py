"""The target as an engine: it reaches the bounds, and its rows depend on their seeds alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tofu_eval as te
from tofu_eval.core.errors import ModelError
from tofu_eval.core.types import Request, Sampling
from tofu_eval.lab.metrics import LAB_METRICS
from tofu_eval.lab.target import TargetEngine, under_decoder
from tofu_eval.lab.tasks import lab_task
from tofu_eval.lab.world import topic_of, zipf

SEA = topic_of("poem-sea")


def request(seed: int, text: str | None = SEA.wordings[0], **sampling) -> Request:
    settings = Sampling(**({"samples": 2, "max_tokens": 16} | sampling))
    return Request(f"key-{seed}", seed, "target", "lab", "poem-sea", 0, settings, text)


def made(requests, done=()):
    return [row for rows in TargetEngine().generate(requests, done) for row in rows]


def test_a_row_depends_on_its_seed_alone() -> None:
    together = made([request(seed) for seed in range(2000)])
    alone = made([request(1234)])
    assert alone == [together[1234]]
    assert len({row.text for row in together}) > 500
    done = {f"key-{seed}" for seed in range(0, 2000, 2)}
    assert made([request(seed) for seed in range(2000)], done) == together[1::2]


def test_the_logprob_is_exact() -> None:
    for row in made([request(seed) for seed in range(20)]):
        assert row.logprob == pytest.approx(np.log(SEA.mass()[SEA.parse(row.text)]))
        assert row.finish_reason == "stop"


def test_the_decoder_by_hand() -> None:
    outer = np.outer(zipf(12, 1.3), zipf(12, 1.3)).ravel()
    assert under_decoder((12, 12), 1.0, 1.0) == pytest.approx(outer)
    # p^(1/T) of a Zipf law is a Zipf law with exponent 1.3/T.
    assert under_decoder((24,), 0.5, 1.0) == pytest.approx(zipf(24, 2.6))
    # Masses of 3 words: .608 .247 .146; 0.6 needs one of them, 0.61 two.
    assert under_decoder((3,), 1.0, 0.6).tolist() == [1, 0, 0]
    two = zipf(3, 1.3)[:2]
    assert under_decoder((3,), 1.0, 0.61) == pytest.approx([*(two / two.sum()), 0])
    assert under_decoder((3, 2), 0.0, 1.0).tolist() == [1, 0, 0, 0, 0, 0]


def test_what_it_cannot_answer_is_said_before_anything_is_made() -> None:
    for text in ("Name a cheese.", None):
        with pytest.raises(ModelError, match="knows only the lab's prompts as raw text"):
            next(TargetEngine().generate([request(0), request(1, text)]))
    with pytest.raises(ModelError, match="up to 13 tokens, but max_tokens is 12"):
        next(TargetEngine().generate([request(0, max_tokens=12)]))


def test_it_reaches_the_bounds_through_the_pipeline(tmp_path: Path) -> None:
    result = te.evaluate(
        {"target": TargetEngine()},
        [lab_task(0), lab_task(0, top_p=0.9)],
        tmp_path / "run",
        metrics=LAB_METRICS,
    )
    values = {(r["task"], r["metric"]): r["value"] for r in result.estimates.to_pylist()}
    assert values["lab", "lab_validity"] == 1
    # 26 topics × 64 draws: the standard error of each ratio is about 0.03.
    for name in ("lab_tail", "lab_unseen", "lab_collision"):
        assert values["lab", name] == pytest.approx(1, abs=0.1)
    assert values["lab-top-p-0.9", "lab_validity"] == 1
    assert values["lab-top-p-0.9", "lab_tail"] < 0.75
    assert values["lab-top-p-0.9", "lab_collision"] > 1.05
    # Run again: nothing is made anew, and the numbers are the same.
    again = te.evaluate(
        {"target": TargetEngine()},
        [lab_task(0), lab_task(0, top_p=0.9)],
        tmp_path / "run",
        metrics=LAB_METRICS,
    )
    assert again.scores.equals(result.scores)
