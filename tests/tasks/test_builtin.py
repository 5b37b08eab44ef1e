"""All built-in tasks at once: their metadata, their prompts and their formats."""

from __future__ import annotations

import re
from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest

from tofu_eval.core.types import Sampling, Task
from tofu_eval.metrics import METRICS
from tofu_eval.tasks import TASKS, check_task, load_task, render

FOLDER = files("tofu_eval.tasks").joinpath("builtin")
NAMES = sorted(entry.name.removesuffix(".yaml") for entry in FOLDER.iterdir())


@pytest.fixture(params=NAMES)
def task(request: pytest.FixtureRequest, data_dir: Path) -> Task:
    return load_task(request.param, data_dir)


@pytest.fixture(params=("open-prompts", "random-choice", "short-answers", "one-sentence"))
def own(request: pytest.FixtureRequest) -> Task:
    """A task whose prompts are our own."""
    return load_task(request.param)


def test_every_task_of_the_table_is_there() -> None:
    assert set(NAMES) == {
        "novelty-bench-curated", "novelty-bench-wildchat", "short-stories", "small-prompts",
        "poems",
        "creative-stories", "writing-prompts", "infinity-chat", "gsm8k", "math-500", "minerva-math",
        "mmlu", "arc-challenge", "mmlu-letter", "arc-challenge-letter", "malicious-instruct",
        "harmbench", "random-choice", "open-prompts", "short-answers", "one-sentence",
        "human-replies", "human-stories",
    }  # fmt: skip


def test_every_file_is_listed_under_its_name() -> None:
    listed = {entry.name: entry.item for entry in TASKS.entries()}
    for name in NAMES:
        item = listed[name]
        assert item is not None
        assert item.origin.endswith(f"builtin/{name}.yaml:1")


def test_it_passes_its_own_check(task: Task) -> None:
    known = [entry.name for entry in METRICS.entries()]
    assert check_task(task.origin.rpartition(":")[0], known_metrics=known) == []


def test_it_says_what_it_is(task: Task) -> None:
    assert task.version >= 1
    for text in (task.description, task.licence, task.source, task.citation):
        assert text.strip()
    assert task.metrics


def test_data_is_pinned_or_its_source_says_why_not(task: Task) -> None:
    pin = {**task.data}
    revision = pin.get("revision", "")
    if revision == "unpinned":
        assert "pinned" in task.source
    elif "dataset" in pin:
        assert re.fullmatch("[0-9a-f]{40}", revision) or "first seven digits" in task.source
    elif pin:
        commit = re.search("[0-9a-f]{40}", pin["url"])
        assert commit is not None
        assert commit.group() in task.source


def test_sampling_is_as_the_table_says() -> None:
    drawn = {name: load_task(name).sampling for name in NAMES}
    assert {n: s.samples for n, s in drawn.items() if s.samples != 10} == {
        "poems": 16, "creative-stories": 16, "writing-prompts": 16, "infinity-chat": 50,
        "gsm8k": 16,
        "math-500": 16, "minerva-math": 16, "mmlu": 1, "arc-challenge": 1, "mmlu-letter": 1,
        "arc-challenge-letter": 1, "random-choice": 100, "short-answers": 16, "one-sentence": 16,
        "human-replies": 8, "human-stories": 8,
    }  # fmt: skip
    assert {n: s.temperature for n, s in drawn.items() if s.temperature != 1} == {
        "gsm8k": 0.3, "math-500": 0.3, "minerva-math": 0.3, "mmlu": 0.0, "arc-challenge": 0.0,
        "mmlu-letter": 0.0, "arc-challenge-letter": 0.0,
    }  # fmt: skip


def test_ids_and_texts_are_unique_and_trimmed(task: Task) -> None:
    prompts = task.load()
    assert len({prompt.id for prompt in prompts}) == len(prompts)
    assert len({prompt.text.casefold() for prompt in prompts}) == len(prompts)
    assert all(prompt.text == prompt.text.strip() != "" for prompt in prompts)


def test_loading_twice_gives_the_same(task: Task) -> None:
    assert list(task.load()) == list(task.load())


def test_each_prompt_renders_in_each_format(own: Task) -> None:
    for prompt in own.load():
        base, _ = render(prompt, "base")
        sft, _ = render(prompt, "sft")
        nothing, messages = render(prompt, "chat")
        assert base == prompt.text
        assert sft is not None
        assert prompt.text in sft
        assert sft.endswith("[answer]\n")
        assert (nothing, messages) == (None, prompt.messages)


def test_open_prompts_is_what_the_paper_samples() -> None:
    task = load_task("open-prompts")
    assert task.sampling == Sampling(samples=10, temperature=1.0, top_p=0.9, max_tokens=256)
    sizes = Counter(prompt.metadata["category"] for prompt in task.load())
    assert set(sizes) == {
        "stories", "poems", "names-and-lists", "opinions", "advice", "random-choices"
    }  # fmt: skip
    assert min(sizes.values()) >= 12  # large enough to speak of each
    assert task.load()[0].id == "stories-01"


def test_our_prompts_read_as_raw_text_too(own: Task) -> None:
    texts = [prompt.text for prompt in own.load()]
    assert [text for text in texts if not text.endswith(":")] == []


def examples(language: str) -> list[str]:
    text = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text("utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.mark.parametrize("example", examples("yaml"))
def test_the_yaml_in_the_docs_is_right(example: str, tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text(
        '{"question": "Why?", "key": 1, "answers": [], "topic": "x"}\n'
        '{"question": "Why?", "key": 2, "answers": [], "topic": "y"}\n'
    )
    path = tmp_path / "t.yaml"
    path.write_text(example, "utf-8")
    known = [entry.name for entry in METRICS.entries()]
    assert check_task(path, known_metrics=known) == []


def test_the_python_and_the_template_in_the_docs_are_right(tmp_path: Path) -> None:
    (tmp_path / "t.py").write_text(*examples("python"), "utf-8")
    (tmp_path / "t.jinja").write_text(*examples("jinja"), "utf-8")
    prompt = load_task(tmp_path / "t.py").load()[0]
    text, _ = render(prompt, str(tmp_path / "t.jinja"))
    assert text == "Question: A number below 10, chosen at random:\nAnswer:\n"
