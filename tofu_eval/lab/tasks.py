"""The lab's tasks: ask about every topic that fine-tuning showed, or held out."""

from __future__ import annotations

from dataclasses import replace

from tofu_eval.core.types import Prompt, Sampling, Task
from tofu_eval.lab.metrics import LAB_METRICS
from tofu_eval.lab.samples import sft_options
from tofu_eval.lab.world import HELD_OUT, SEEN
from tofu_eval.pipeline.plan import DEFAULT_METRICS
from tofu_eval.tasks import TASKS, task

SAMPLING = Sampling(samples=64, temperature=1.0, top_p=1.0, max_tokens=16)
"""Every answer fits: the longest takes 13 tokens with its end."""

LICENCE = "Apache-2.0"
SOURCE = "written for this project: tofu_eval/lab/words.py"
CITATION = "The tofu-eval authors, the lab's synthetic world."


@task(
    name="lab",
    version=1,
    description="The lab's 26 topics that fine-tuning shows, against the exact target.",
    sampling=SAMPLING,
    metrics=(*DEFAULT_METRICS, *LAB_METRICS),
    licence=LICENCE,
    source=SOURCE,
    citation=CITATION,
)
def lab() -> list[Prompt]:
    """Seen topics in their first wording; references are the answers of data seed 0."""
    return seen_prompts(seed=0)


@task(
    name="lab-held-out",
    version=1,
    description="The lab's 9 topics that fine-tuning never shows, in a wording it never shows.",
    sampling=SAMPLING,
    metrics=tuple(name for name in LAB_METRICS if name != "lab_unseen"),
    licence=LICENCE,
    source=SOURCE,
    citation=CITATION,
)
def lab_held_out() -> list[Prompt]:
    """Held-out topics in their last wording; no references, nothing of them was shown."""
    return [
        Prompt.of_text(topic.name, topic.wordings[-1], metadata={"topic": topic.name})
        for topic in HELD_OUT
    ]


def seen_prompts(seed: int) -> list[Prompt]:
    """One prompt a seen topic; its references are the fine-tuning answers of that data seed.

    Its paraphrases are the topic's other wordings, of which fine-tuning shows all but the last.
    """
    return [
        Prompt.of_text(
            topic.name,
            topic.wordings[0],
            references=[topic.text(option) for option in sft_options(seed, topic)],
            metadata={"topic": topic.name},
            paraphrases=topic.wordings[1:],
        )
        for topic in SEEN
    ]


def lab_task(
    seed: int,
    *,
    samples: int = SAMPLING.samples,
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> Task:
    """The task `lab` for models of another data seed or under another decoder.

    Its name says how it differs (`lab-seed-1-t-0.8`), so that a published name never changes.
    Under another decoder only the lab's own metrics are taken.
    """
    task = TASKS.get("lab")
    suffix = f"-seed-{seed}" if seed else ""
    suffix += f"-n-{samples}" if samples != SAMPLING.samples else ""
    decoder = f"-t-{temperature:g}" if temperature != 1 else ""
    decoder += f"-top-p-{top_p:g}" if top_p != 1 else ""
    return replace(
        task,
        name=f"{task.name}{suffix}{decoder}",
        load=lambda: seen_prompts(seed),
        sampling=replace(SAMPLING, samples=samples, temperature=temperature, top_p=top_p),
        metrics=LAB_METRICS if decoder else task.metrics,
    )
