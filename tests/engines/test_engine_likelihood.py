"""Choices scored by their log-probability, by the transformers engine and through a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
from support.engine_requests import asks, rows

import tofu_eval as te
from tofu_eval.core.errors import ConfigError, ModelError
from tofu_eval.core.models import parse_model
from tofu_eval.core.types import Prompt, Request, Sampling
from tofu_eval.engines.transformers import TransformersEngine
from tofu_eval.pipeline.evaluate import evaluate
from tofu_eval.pipeline.plan import choices
from tofu_eval.run.verify import verify

CHOICES = ["apple", "a long red story", "the clock", "x"]


def scored(prompts: list[str], *, chat: bool = False) -> list[Request]:
    base = asks(Sampling(samples=len(CHOICES), max_tokens=4), prompts, chat=chat)
    return [replace(request, completion=CHOICES[request.sample]) for request in base]


def open_engine(path: Path, **options: int) -> TransformersEngine:
    return TransformersEngine(parse_model(str(path)), device="cpu", **options)


@pytest.mark.parametrize("chat", [False, True])
def test_it_is_the_sum_of_a_plain_forward(tiny_chat_model: Path, chat: bool) -> None:
    engine = open_engine(tiny_chat_model, batch_size=3)
    asked = scored(["Name a fruit", "Write a short story about the old clock.\n"], chat=chat)
    found = rows(engine, asked)
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_chat_model)
    encoder = engine.encoders[engine._name]
    for request in asked:
        ids = encoder.encode(request)
        added = encoder.encode_completion(request, ids)
        with torch.no_grad():
            logits = model(torch.tensor([ids + added])).logits[0].double().log_softmax(-1)
        wanted = sum(float(logits[len(ids) + i - 1, token]) for i, token in enumerate(added))
        row = found[request.key]
        assert row.logprob == pytest.approx(wanted, abs=1e-4)
        assert (row.text, row.finish_reason) == (request.completion, "scored")
        assert row.token_ids == tuple(added)


def test_scores_do_not_depend_on_their_batch_and_mix_with_drawing(tiny_model: Path) -> None:
    asked = scored(["Name a fruit", "a b c"])
    drawn = asks(Sampling(samples=2, max_tokens=3), ["Name a fruit"], model="n")
    one, many = open_engine(tiny_model, batch_size=1), open_engine(tiny_model, batch_size=16)
    alone, together = rows(one, [*asked, *drawn]), rows(many, [*asked, *drawn])
    for key, row in together.items():
        assert row.logprob == pytest.approx(alone[key].logprob, abs=1e-4)
        assert row.text == alone[key].text


def test_a_choice_longer_than_the_context(tiny_model: Path) -> None:
    (request,) = asks(Sampling(samples=1, max_tokens=1), ["a"])
    with pytest.raises(
        ModelError, match=r"^The choice 'a b a b.* is too long for '.*': \d+ tokens"
    ):
        rows(open_engine(tiny_model), [replace(request, completion="a b " * 5000)])


def task(tmp_path: Path, extra: str = "") -> Path:
    file = tmp_path / "quiz.yaml"
    row = {
        "text": "Name a fruit",
        "references": ["A"],
        "metadata": {"choices": json.dumps(CHOICES)},
    }
    other = {"text": "a b", "references": ["(B)"], "metadata": {"choices": '["x", "the clock"]'}}
    file.write_text(
        "name: quiz\nversion: 1\nscoring: likelihood\nmetrics: [acc, acc_norm]\n"
        f"sampling: {{samples: 1, temperature: 0.0}}\nprompts: {json.dumps([row, other])}\n{extra}",
        "utf-8",
    )
    return file


def test_a_run(tiny_model: Path, tmp_path: Path) -> None:
    for _ in range(2):
        result = evaluate({"m": tiny_model}, task(tmp_path), tmp_path / "run", device="cpu")
    by_prompt: dict[str, list[tuple[str, float]]] = {}
    engine = open_engine(tiny_model)
    for prompt, texts, gold in (("Name a fruit", CHOICES, 0), ("a b", ["x", "the clock"], 1)):
        base = asks(Sampling(samples=len(texts), max_tokens=4), [prompt])
        made = rows(engine, [replace(r, completion=texts[r.sample]) for r in base])
        values = [made[request.key].logprob or 0.0 for request in base]
        norm = [value / len(text) for value, text in zip(values, texts, strict=True)]
        by_prompt[prompt] = [
            ("acc", float(values.index(max(values)) == gold)),
            ("acc_norm", float(norm.index(max(norm)) == gold)),
        ]
    wanted = [pair for pairs in by_prompt.values() for pair in pairs]
    assert [(row["metric"], row["value"]) for row in result.scores.to_pylist()] == wanted
    assert verify(tmp_path / "run").problems == ()


def test_prompts_without_choices() -> None:
    for metadata in ({}, {"choices": "["}, {"choices": '["a"]'}, {"choices": '["a", ""]'}):
        with pytest.raises(ConfigError, match=r"^The prompt 'p' has no choices to be scored"):
            choices(Prompt.of_text("p", "?", metadata=metadata))


def test_acc_and_acc_norm_by_hand() -> None:
    prompt = Prompt.of_text("p", "?", references=("B",))
    texts, logprobs = ["a", "bbbbbbbb"], [-2.0, -4.0]
    group = te.Group(prompt, tuple(texts), features={"logprob": tuple(logprobs)})
    result = te.score([group], metrics=["acc", "acc_norm"]).scores.to_pylist()
    assert [row["value"] for row in result] == [0.0, 1.0]
    ties = te.Group(prompt, ("a", "b"), features={"logprob": (-1.0, -1.0)})
    assert te.score([ties], metrics=["acc"]).scores.to_pylist()[0]["value"] == 0.5
    bad = te.Group(
        Prompt.of_text("p", "?", references=("E",)), ("a", "b"), features={"logprob": (-1.0, -2.0)}
    )
    (row,) = te.score([bad], metrics=["acc"]).scores.to_pylist()
    assert row["reason"] == "the reference 'E' is none of the choices"
