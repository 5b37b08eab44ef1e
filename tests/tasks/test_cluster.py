"""A task that says to which cluster its prompts belong is compared over clusters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.commands import invoke, refused
from support.fakes import FakeEngine

import tofu_eval as te
from tofu_eval.core.errors import ConfigError
from tofu_eval.run.store import Run

TOPICS = tuple(f"topic{i}" for i in range(8))


def write_task(folder: Path, name: str, cluster: str) -> Path:
    """Eight categories of three prompts, as a YAML file."""
    prompts = {topic: [f"{topic}, {i}:" for i in range(3)] for topic in TOPICS}
    path = folder / f"{name}.yaml"
    path.write_text(f"name: {name}\nversion: 1\n{cluster}prompts: {json.dumps(prompts)}\n")
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cluster")
    tasks = [
        write_task(folder, "of-topics", "cluster: category\n"),
        write_task(folder, "alone", ""),
    ]
    models = {"base": FakeEngine(words=10), "sft": FakeEngine(words=3)}
    te.evaluate(models, tasks, folder / "run", samples=3, metrics=["distinct_1"])
    return folder / "run"


def test_the_task_is_compared_over_its_clusters(run: Path) -> None:
    told = Run.open(run).manifest["tasks"]
    assert (told["of-topics"]["cluster"], "cluster" in told["alone"]) == ("category", False)
    view = te.compare(run)
    assert view.clusters == {"of-topics": "category"}
    units = {row.task: row.cells[1].difference.units for row in view.rows}
    assert units == {"of-topics": 8, "alone": 24}
    asked = te.compare(run, cluster="category")
    assert asked.clusters == dict.fromkeys(units, "category")
    lows = [
        {row.task: row.cells[1].difference.low for row in found.rows} for found in (view, asked)
    ]
    assert lows[0]["of-topics"] == lows[1]["of-topics"]
    assert lows[0]["alone"] != lows[1]["alone"]


def test_every_format_says_so(run: Path) -> None:
    text = invoke("compare", run).output
    assert "over clusters of prompts by category (of-topics)" in " ".join(text.split())
    assert "24 prompts in 8 clusters" in " ".join(text.split())
    alone = invoke("compare", run, "--task", "of-topics").output
    assert "over clusters of prompts by category." in " ".join(alone.split())
    assert "clusters" not in invoke("compare", run, "--task", "alone").output
    found = json.loads(invoke("compare", run, "--format", "json").output)
    assert found["clusters"] == {"of-topics": "category"}


def test_a_prompt_without_its_cluster_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    path = write_task(tmp_path, "t", "cluster: topic\n")
    line = refused("tasks", "check", path)
    assert f"{path}:3: cluster: the prompt 'topic0-01' has no metadata 'topic'" in line
    assert "known of it: category" in line
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a", "topic": "x"}\n{"prompt": "b", "topic": null}\n')
    path.write_text(
        "name: t\nversion: 1\ncluster: topic\n"
        "file: {path: rows.jsonl, fields: {metadata: [topic]}}\n"
    )
    assert "the prompt '2' has no metadata 'topic'" in refused("tasks", "check", path)
    with pytest.raises(ConfigError, match="prompt '2' has no metadata 'topic' to cluster by"):
        te.evaluate({"m": FakeEngine()}, path, tmp_path / "run", metrics=["distinct_1"])


def test_rows_of_a_file_are_clustered_by_a_field_of_theirs(tmp_path: Path) -> None:
    rows = [
        {
            "prompt": f"{topic}, {i}",
            "model": model,
            "topic": topic,
            "responses": texts,
        }
        for topic in TOPICS
        for i in range(3)
        for model, texts in (("base", ["a b", "c d"]), ("sft", ["a b", f"a {topic}"]))
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    done = invoke("score", path, "--output", tmp_path / "run", "--metric", "distinct_1")
    assert done.exit_code == 0, done.output
    view = te.compare(tmp_path / "run", cluster="topic")
    assert (view.rows[0].cells[1].difference.units, view.rows[0].cells[1].difference.n) == (8, 24)
    assert "known of it: topic" in refused("compare", tmp_path / "run", "--cluster", "subject")


def test_a_python_task_says_it_too(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(
        "import tofu_eval as te\n"
        '@te.task(name="own", version=1, cluster="topic")\n'
        "def own():\n"
        '    return [te.Prompt.of_text("a", "A", metadata={"topic": "x"}),\n'
        '            te.Prompt.of_text("b", "B", metadata={"topic": "y"})]\n'
    )
    assert te.load_task(path).cluster == "topic"
    assert "clusters  by topic" in invoke("tasks", "show", path).output
    path.write_text(path.read_text().replace('metadata={"topic": "y"}', "metadata={}"))
    assert "the prompt 'b' has no metadata 'topic'" in refused("tasks", "check", path)
