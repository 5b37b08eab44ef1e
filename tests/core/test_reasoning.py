"""Thoughts are taken apart from answers, whatever tags a model writes."""

from __future__ import annotations

import pytest

from tofu_eval.core.errors import ConfigError
from tofu_eval.core.reasoning import (
    opens_thought,
    read_tags,
    settle_response,
    split_reasoning,
    state_of,
)
from tofu_eval.core.states import State
from tofu_eval.core.types import Response

HARMONY = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>fig"


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("fig", None, "fig"),
        (" a < b [1] ", None, " a < b [1] "),
        ("<think>Hm.</think>fig", "Hm.", "fig"),
        ("<think>\n\n</think>\n\nfig", "", "fig"),
        ("  <thinking>Hm.</thinking>\nfig", "Hm.", "fig"),
        ("Hm.</think>\n\nfig", "Hm.", "fig"),
        ("[THINK]Hm.[/THINK]fig", "Hm.", "fig"),
        ("◁think▷Hm.◁/think▷fig", "Hm.", "fig"),
        (HARMONY + "<|return|>", "Hm.", "fig"),
        ("analysisHm.assistantfinalfig", "Hm.", "fig"),
        ("<|channel|>final<|message|>fig<|return|>", None, "fig"),
        ("<think>a</think>no, <think>b</think>fig", "a\n\nno,\n\nb", "fig"),
        ("<think>a <think>b</think> c</think>fig", "a <think>b\n\nc", "fig"),
        ("Well. <think>Hm.</think>fig", "Well.\n\nHm.", "fig"),
        ("Write `<think>` and `</think>`.", None, "Write `<think>` and `</think>`."),
        ("The <thinking> tag is not HTML.", None, "The <thinking> tag is not HTML."),
        ("```\n<think>\n```\nis a tag.", None, "```\n<think>\n```\nis a tag."),
    ],
)
def test_a_closed_thought(text: str, thought: str | None, answer: str) -> None:
    parts = split_reasoning(text)
    assert (parts.reasoning, parts.answer, parts.closed) == (thought, answer, True)


@pytest.mark.parametrize(
    "text", ["<think>\nmaybe \\boxed{5}", "Well.\n<think>maybe", HARMONY.partition("<|end|>")[0]]
)
def test_a_thought_that_never_ends_has_no_answer(text: str) -> None:
    parts = split_reasoning(text)
    assert (parts.answer, parts.closed) == ("", False)
    row = settle_response(Response("k", "m", "t", "p", 0, text))
    assert (row.text, row.state, row.reasoning) == ("", "unfinished", parts.reasoning)
    assert settle_response(row) == row


def test_a_template_that_opens_the_thought() -> None:
    assert opens_thought("<|im_start|>assistant\n<think>\n")
    assert not opens_thought("What does <think> mean?")
    assert split_reasoning("Hm.", opened=True).closed is False
    assert split_reasoning("Hm.</think>fig", opened=True).answer == "fig"
    assert split_reasoning("<think>Hm.</think>fig", opened=True).reasoning == "Hm."


def test_tags_of_the_users_own() -> None:
    tags = read_tags(["<plan>,</plan>"])
    assert split_reasoning("<plan>Hm.</plan>fig", tags=tags).answer == "fig"
    assert split_reasoning("<think>Hm.</think>fig", tags=tags).answer == "fig"
    assert split_reasoning("<plan>Hm.</plan>fig").reasoning is None
    with pytest.raises(ConfigError, match=r"^reasoning_tags got '<plan>', expected how a thought"):
        read_tags(["<plan>"])


@pytest.mark.parametrize(
    ("answer", "reason", "state"),
    [
        ("fig", "stop", "finished"),
        ("fig", None, "finished"),
        (" \n", "stop", "empty"),
        ("fi", "length", "unfinished"),
        ("fi", "FinishReason.MAX_TOKENS", "unfinished"),
        ("", "length", "unfinished"),
        ("fi", "content_filter", "filtered"),
        ("", "error", "failed"),
    ],
)
def test_states(answer: str, reason: str | None, state: State) -> None:
    assert state_of(answer, reason) == state
