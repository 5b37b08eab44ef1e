"""`--scoring ray` on a local cluster of two actors: `make test-engines`."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.ray_cluster import actors, cluster

import tofu_eval as te
from tofu_eval.core.errors import ConfigError, PluginError
from tofu_eval.pipeline.evaluate import score_files
from tofu_eval.run.store import Run

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="Ray is not here: make test-engines"
    ),
]

PROMPTS, SAMPLES = 200, 4
TWO = {"scoring": "ray", "scoring_args": {"actors": 2, "num_cpus": 1}}
METRICS = ["mean_pairwise_cosine_distance", "reward", "decan", "distinct_2"]

REWARDS = """
import tofu_eval as te

@te.reward_model(name="length")
def length(pairs):
    return [float(len(text)) for _, text in pairs]

@te.metric(name="shouting", direction="none", needs=("text",))
def shouting(texts):
    if any("fail" in text for text in texts):
        raise ZeroDivisionError("of the plug-in")
    return sum(text.isupper() for text in texts) / len(texts)
"""


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    with cluster():
        yield


@pytest.fixture(scope="module")
def responses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More texts than are computed together, and more prompts than are scored together."""
    path = tmp_path_factory.mktemp("responses") / "m.jsonl"
    rows = [
        {"prompt": f"Name {i}", "responses": [f"fruit {i * j % 97} {'and so on ' * j}{i}"
         for j in range(SAMPLES)]}
        for i in range(PROMPTS)
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return path


@pytest.fixture
def options(tiny_embedder: Path, tiny_bert_reward: Path, tiny_model: Path) -> dict[str, Any]:
    return {
        "metrics": METRICS,
        "device": "cpu",
        "truncate": 3,
        "embedding": {"model": str(tiny_embedder)},
        "reward": {"model": str(tiny_bert_reward)},
        "likelihood": {"model": str(tiny_model), "window": 512, "orders": 1},
    }


def features_of(path: Path) -> dict[str, dict[str, tuple[str, ...]]]:
    """The rows of each feature of a run by key, as texts, in which NaN is NaN."""
    import pyarrow.parquet as pq

    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for part in sorted(path.glob("features/*/*/part-*.parquet")):
        table = pq.ParquetFile(part).read()
        rows = [tuple(map(repr, row)) for row in table.column("row").to_pylist()]
        keys = table.column("key").to_pylist()
        found.setdefault(part.parent.parent.name, {}).update(zip(keys, rows, strict=True))
    return found


def test_the_tables_are_those_of_one_process(
    responses: Path, options: dict[str, Any], tmp_path: Path
) -> None:
    here = score_files([("m", responses)], tmp_path / "here", **options)
    told: list[str] = []
    over = score_files(
        [("m", responses)],
        tmp_path / "over",
        report=lambda stage, done, total: told.append(stage),
        **options,
        **TWO,
    )
    assert {"embedding batches", "reward batches", "likelihood batches"} <= {*told}
    assert "surprise groups" in told
    assert all(row["value"] is not None for row in here.estimates.to_pylist())
    assert over.scores.equals(here.scores)
    assert over.estimates.equals(here.estimates)
    assert over.notes == here.notes
    made = features_of(tmp_path / "here")
    assert {*made} == {"embedding", "reward", "likelihood", "surprise"}
    assert features_of(tmp_path / "over") == made
    again = score_files([("m", responses)], tmp_path / "over", **options)  # here, and nothing to do
    assert again.scores.equals(here.scores)


@pytest.mark.parametrize("stage", ["embedding batches", "score"])
def test_a_killed_actor_costs_its_batch(
    stage: str, responses: Path, tiny_embedder: Path, tmp_path: Path
) -> None:
    options = {"metrics": METRICS[::3], "embedding": {"model": str(tiny_embedder)}}
    here = score_files([("m", responses)], tmp_path / "here", device="cpu", **options)
    killed: list[int] = []

    def kill(now: str, done: int, total: int) -> None:
        if now == stage and done and not killed:
            killed.extend(actors()[:1])
            os.kill(killed[0], signal.SIGKILL)

    over = score_files(
        [("m", responses)], tmp_path / "over", report=kill, device="cpu", **options, **TWO
    )
    assert killed
    assert over.scores.equals(here.scores)
    assert features_of(tmp_path / "over") == features_of(tmp_path / "here")
    assert Run.open(tmp_path / "over").manifest["settings"]["scoring"] == "ray"


def test_actors_know_what_is_in_a_users_file(responses: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(REWARDS)
    options = {"metrics": [str(file), "reward"], "reward": {"model": str(file)}}
    here = score_files([("m", responses)], tmp_path / "here", **options)
    over = score_files([("m", responses)], tmp_path / "over", **options, **TWO)
    assert over.scores.equals(here.scores)
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"prompt": "p", "responses": ["these", "fail"]}')
    with pytest.raises(PluginError, match=r"'shouting' failed on prompt .* ZeroDivisionError"):
        score_files([("m", bad)], tmp_path / "bad", metrics=[str(file)], **TWO)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"actors": 0}, "The scoring argument 'actors' cannot be 0"),
        ({"num_gpus": "two"}, "The scoring argument 'num_gpus' cannot be 'two'"),
        ({"actor": 2}, "has no argument 'actor'. Known: actors, num_cpus, num_gpus, address"),
    ],
)
def test_what_cannot_be(arguments: dict[str, Any], message: str, responses: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        score_files([("m", responses)], "nowhere", scoring="ray", scoring_args=arguments)


def test_groups_in_memory_are_scored_in_this_process() -> None:
    group = te.Group(te.Prompt.of_text("p", "?"), ("a", "b"))
    with pytest.raises(ConfigError, match=r"te\.score works on groups in memory"):
        te.score(group, metrics=["distinct_1"], **TWO)
