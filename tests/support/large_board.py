"""Boards of many models, ranked by the package's own tests: what pages are looked at with.

    python tests/support/large_board.py FOLDER [MODELS]

writes what three people publish one after another into FOLDER, with its page.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tofu_eval.core.tables import ESTIMATE_SCHEMA, SCORE_SCHEMA, to_table
from tofu_eval.core.types import Estimate, Score
from tofu_eval.leaderboard.board import Source, signed
from tofu_eval.leaderboard.build import board_of_run
from tofu_eval.leaderboard.publishing import Page, publish_directory
from tofu_eval.metrics import METRICS
from tofu_eval.report.board import board_site

LEVELS = {
    "mean_pairwise_cosine_distance": (0.55, 0.12), "vendi": (5.0, 1.6), "self_bleu": (18.0, 9.0),
    "distinct_1": (0.62, 0.1), "unique_rate": (0.9, 0.08), "accuracy": (0.55, 0.18),
    "reward": (0.4, 1.0), "mean_length": (42.0, 12.0),
}  # fmt: skip
"""The mean of each metric over models, and how far they lie apart."""

FAMILIES = ("aspen", "birch", "cedar", "dogwood", "elm", "fir", "ginkgo", "hazel", "ivy", "juniper")
KINDS = ("base", "sft", "dpo", "tofu", "gem", "grpo")
TASKS = {"open-prompts": 60, "short-answers": 40}
WHO = ("Ada's laboratory", "Emmy & students", "<b>Sofja</b>")


def model_names(count: int) -> list[str]:
    """`birch-7b-sft` and so on, each once."""
    sizes = ("1b", "3b", "7b", "14b", "32b")
    every = [f"{f}-{s}-{k}" for k in KINDS for s in sizes for f in FAMILIES]
    return [every[i % len(every)] + ("" if i < len(every) else f"-{i}") for i in range(count)]


def run_source(
    id: str,
    models: Sequence[str],
    *,
    responses: int = 10,
    metrics: Sequence[str] = tuple(LEVELS),
    tasks: Mapping[str, int] = TASKS,
) -> Source:
    """A run of these models on the tasks, its scores drawn around what their names say."""
    scores, estimates = [], []
    for model in models:
        seed = int.from_bytes(hashlib.sha256(model.encode()).digest()[:4], "big")
        stream = np.random.default_rng(seed)
        wide, good = stream.normal(0, 1), stream.normal(0, 1)
        good -= 0.6 * wide + (0.8 if "base" in model else -0.4)
        for task, prompts in tasks.items():
            for metric in metrics:
                values = _values(metric, wide, good, prompts, stream)
                scores += [
                    Score(model, task, f"p{i}", metric, value, None, responses)
                    for i, value in enumerate(values)
                ]
                estimates.append(_estimate(model, task, metric, values))
    manifest = _manifest(id, models, metrics, tasks)
    return board_of_run(
        to_table(estimates, ESTIMATE_SCHEMA), manifest, to_table(scores, SCORE_SCHEMA), name=id
    )


def publish_in_turn(folder: Path, count: int = 150, **part: Any) -> None:
    """Three people publish `count` models in all; the third has other numbers of responses.

    `part` is the metrics and tasks of `run_source`.
    """
    names = model_names(count)
    cuts = (0, count // 2, count - max(1, count // 10), count)
    for i, who in enumerate(WHO):
        source = run_source(
            f"{i + 1:x}" * 16, names[cuts[i] : cuts[i + 1]], responses=(10, 10, 6)[i], **part
        )
        page = Page(board_site, datetime(2026, 3 + i, 1, 12, tzinfo=UTC), wanted=True)
        own = Source(source.name, signed(source.board, who), source.scores)
        publish_directory(folder, own, page=page)


def _values(
    metric: str, wide: float, good: float, prompts: int, stream: np.random.Generator
) -> list[float]:
    mean, spread = LEVELS[metric]
    facts = METRICS.get(metric).facts()
    latent = good if facts["measures"] == "quality" else wide
    sign = -1 if facts["direction"] == "lower" else 1
    prompt = np.random.default_rng(prompts).normal(0, 1, prompts)
    noise = stream.normal(0, 1.2, prompts)
    values = mean + spread * (0.6 * sign * latent + 0.8 * prompt + noise)
    low, high = (_number(end) for end in facts["range"])
    return [round(float(v), 4) for v in np.clip(values, low, high)]


def _number(end: str) -> float:
    return 6.0 if end == "n" else 1 / 6 if end == "1/n" else float(end)


def _estimate(model: str, task: str, metric: str, values: list[float]) -> Estimate:
    from tofu_eval.analysis.intervals import mean_intervals, method_of, within

    facts = METRICS.get(metric).facts()
    column = np.sort(np.array(values))
    interval = within(mean_intervals(column[None])[0], tuple(facts["range"]))
    method = method_of(interval, level=facts["level"], bias=facts["bias"])
    return Estimate(
        model, task, metric, interval.value, interval.low, interval.high, interval.n, 0, method,
        f"{metric}|v:{facts['version']}",
    )  # fmt: skip


def _manifest(
    id: str, models: Sequence[str], metrics: Sequence[str], tasks: Mapping[str, int]
) -> dict[str, Any]:
    package = {"name": "tofu-eval", "version": "0.1.0"}
    sampling = {"samples": 10, "temperature": 1.0, "top_p": 1.0, "max_tokens": 256}
    return {
        "tool": {"name": "tofu-eval", "version": "0.1.0", "git_revision": None},
        "created": "2026-03-01T12:30:00+00:00",
        "id": id,
        "finished": f"2026-03-0{int(id[0], 16)}T13:00:00+00:00",
        "versions": {"python": "3.11.7", "torch": "2.9.0"},
        "machine": {"system": "Linux", "processor": "x86_64", "cores": 8},
        "timings": {"score": 2.5},
        "settings": {"seed": int(id[0], 16)},
        "tasks": {
            task: {
                "version": 1, "prompts": prompts, "digest": "ab" * 32, "sampling": sampling,
                "licence": "Apache-2.0", "citation": "", "package": package,
            }
            for task, prompts in tasks.items()
        },
        "models": {
            name: {
                "identity": {"files": {"w": hashlib.sha256(name.encode()).hexdigest()}},
                "engine": "hf", "prompt_format": dict.fromkeys(tasks, "chat"),
            }
            for name in models
        },
        "metrics": {name: METRICS.get(name).facts() | {"package": package} for name in metrics},
    }  # fmt: skip


if __name__ == "__main__":
    publish_in_turn(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 150)
