"""The lab's tasks are ordinary tasks, and an unseen word is known from the prompt alone."""

from __future__ import annotations

import pytest

from tofu_eval.lab import tasks
from tofu_eval.lab.metrics import LAB_METRICS
from tofu_eval.lab.samples import sft_options
from tofu_eval.lab.world import HELD_OUT, SEEN, topic_of
from tofu_eval.tasks import TASKS, render
from tofu_eval.tasks.formats import load_format


def test_lab_asks_about_the_seen_topics() -> None:
    task = TASKS.get("lab")
    prompts = list(task.load())
    assert [prompt.id for prompt in prompts] == [topic.name for topic in SEEN]
    assert (task.sampling.samples, task.sampling.temperature, task.sampling.top_p) == (64, 1, 1)
    for prompt in prompts:
        topic = topic_of(prompt.metadata["topic"])
        assert [topic.parse(text) for text in prompt.references] == sft_options(0, topic)
        # The engine is sent exactly what the models are trained on.
        assert render(prompt, load_format(task.format)) == (topic.wordings[0], None)


def test_lab_held_out_asks_about_the_others_in_a_wording_of_its_own() -> None:
    prompts = list(TASKS.get("lab-held-out").load())
    assert [prompt.id for prompt in prompts] == [topic.name for topic in HELD_OUT]
    assert [prompt.text for prompt in prompts] == [topic.wordings[-1] for topic in HELD_OUT]
    assert not any(prompt.references for prompt in prompts)


def test_another_seed_or_decoder_is_another_name() -> None:
    assert tasks.lab_task(0).name == "lab"
    assert tasks.lab_task(2).name == "lab-seed-2"
    assert tasks.lab_task(2, temperature=0.8).name == "lab-seed-2-t-0.8"
    assert tasks.lab_task(0, samples=16, top_p=0.9).name == "lab-n-16-top-p-0.9"
    other = tasks.lab_task(2, temperature=0.8)
    assert other.sampling.temperature == 0.8
    assert other.metrics == LAB_METRICS
    first = {p.id: p.references for p in tasks.lab_task(0).load()}
    assert all(prompt.references != first[prompt.id] for prompt in other.load())


@pytest.mark.parametrize("name", ["lab", "lab-held-out"])
def test_metadata(name) -> None:
    task = TASKS.get(name)
    assert task.version == 1
    assert task.licence == "Apache-2.0"
    assert task.source
    assert task.citation
    assert task.description
