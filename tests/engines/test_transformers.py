from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from scipy import stats
from support.tiny_engine import edit, ids_of, open_tiny

from tofu_eval.core.errors import ModelError
from tofu_eval.core.models import parse_model
from tofu_eval.core.types import Message, Request, Response, Sampling
from tofu_eval.engines.transformers import TransformersEngine

PROMPTS = ["Name a fruit", "", "Write a short story about the old clock.", "☃ Give me", "a b c"]
END = 2


def asks(
    sampling: Sampling, prompts: list[str] = PROMPTS, *, chat: bool = False, task: str = "t"
) -> list[Request]:
    """`sampling.samples` requests a prompt, seeds 0, 1, 2, …"""
    return [
        Request(
            f"{task}-{i}-{sample}", i * 1000 + sample, "m", task, f"p{i}", sample, sampling,
            None if chat else text,
            (Message("user", text),) if chat else None,
        )
        for i, text in enumerate(prompts)
        for sample in range(sampling.samples)
    ]  # fmt: skip


def rows(
    engine: TransformersEngine, requests: list[Request], done: set[str] | None = None
) -> dict[str, Response]:
    made = [row for batch in engine.generate(requests, done or set()) for row in batch]
    assert len({row.key for row in made}) == len(made)
    return {row.key: row for row in made}


@pytest.fixture
def plain(tiny_model: Path) -> tuple[Any, Any]:
    """The same model without our engine."""
    return (
        transformers.AutoModelForCausalLM.from_pretrained(tiny_model),
        transformers.AutoTokenizer.from_pretrained(tiny_model),
    )


# What is generated


def test_greedy_is_what_plain_generate_makes(
    engine: TransformersEngine, plain: tuple[Any, Any]
) -> None:
    model, tokenizer = plain
    made = rows(engine, asks(Sampling(samples=1, temperature=0, max_tokens=24)))
    for i, prompt in enumerate(PROMPTS):
        inputs = tokenizer(prompt, return_tensors="pt")
        expected = model.generate(**inputs, do_sample=False, max_new_tokens=24)
        row = made[f"t-{i}-0"]
        assert list(ids_of(row)) == expected[0, inputs.input_ids.shape[1] :].tolist()


@pytest.mark.slow
def test_rows_do_not_depend_on_their_batch(tiny_model: Path, engine: TransformersEngine) -> None:
    requests = asks(Sampling(samples=8, top_p=0.95, max_tokens=20))
    expected = rows(engine, requests)
    assert set(expected) == {request.key for request in requests}
    assert len({ids_of(row) for row in expected.values()}) == len(requests)
    for size in (1, 3, 64):
        other = open_tiny(tiny_model, batch_size=size)
        for key, row in rows(other, requests).items():
            assert ids_of(row) == ids_of(expected[key])
            assert row.logprob == pytest.approx(expected[key].logprob, abs=1e-3)


def test_a_resumed_run_makes_the_same_rows_to_the_bit(engine: TransformersEngine) -> None:
    requests = asks(Sampling(samples=6, temperature=1.2, max_tokens=16))
    whole = rows(engine, requests)
    done = {request.key for i, request in enumerate(requests) if i % 2}
    rest = rows(engine, requests, done)
    assert rest == {key: row for key, row in whole.items() if key not in done}
    batches = list(engine.generate(requests))
    first = {row.key for row in batches[0]}
    assert len(first) == 7
    assert list(engine.generate(requests, first)) == batches[1:]
    assert list(engine.generate(requests, set(whole))) == []


def test_tasks_with_different_decoders_in_one_call(engine: TransformersEngine) -> None:
    warm = asks(Sampling(samples=2, max_tokens=5), task="warm")
    cold = asks(Sampling(samples=1, temperature=0, max_tokens=9), task="cold")
    together = rows(engine, [*warm, *cold])
    assert together == {**rows(engine, warm), **rows(engine, cold)}
    assert max(len(ids_of(row)) for row in together.values()) == 9


def test_first_tokens_follow_the_exact_distribution(
    engine: TransformersEngine, plain: tuple[Any, Any]
) -> None:
    model, tokenizer = plain
    requests = asks(
        Sampling(samples=2500, temperature=0.8, top_p=0.9, max_tokens=1), ["Name a fruit"]
    )
    tokens = [ids_of(row)[0] for row in rows(engine, requests).values()]
    with torch.no_grad():
        logits = model(**tokenizer("Name a fruit", return_tensors="pt")).logits[0, -1].double()
    p = (logits / 0.8).softmax(-1).numpy()
    order = np.argsort(-p)
    kept = order[np.cumsum(p[order]) - p[order] < 0.9]
    assert set(tokens) <= set(kept.tolist())
    exact = p[kept] / p[kept].sum() * len(tokens)
    counts = np.bincount(tokens, minlength=len(p))[kept]
    common = exact >= 5
    observed = np.append(counts[common], counts[~common].sum())
    assert stats.chisquare(observed, np.append(exact[common], exact[~common].sum())).pvalue > 0.001


def test_logprob_is_that_of_a_teacher_forced_forward(
    engine: TransformersEngine, plain: tuple[Any, Any]
) -> None:
    model, tokenizer = plain
    sampling = Sampling(samples=8, temperature=0.7, top_p=0.9, max_tokens=24)
    asked = [replace(request, token_logprobs=True) for request in asks(sampling)]
    made = rows(engine, asked)
    ended = 0
    for row in made.values():
        prompt = tokenizer(PROMPTS[int(row.prompt_id[1:])]).input_ids
        ids = torch.tensor([[*prompt, *ids_of(row)]])
        with torch.no_grad():
            logprobs = model(ids).logits[0, :-1].double().log_softmax(-1)
        chosen = logprobs.gather(1, ids[0, 1:, None])[len(prompt) - 1 :]
        assert row.logprob == pytest.approx(float(chosen.sum()), abs=1e-3)
        assert row.token_logprobs == pytest.approx(chosen[:, 0].tolist(), abs=1e-3)
        ended += ids_of(row)[-1] == END
    assert ended  # the end token is part of the sum


def test_finish_reasons_texts_and_seeds(engine: TransformersEngine, plain: tuple[Any, Any]) -> None:
    requests = asks(Sampling(samples=20, max_tokens=16))
    made = rows(engine, requests)
    reasons = {row.finish_reason for row in made.values()}
    assert reasons == {"stop", "length"}
    for request in requests:
        row = made[request.key]
        ids = ids_of(row)
        if row.finish_reason == "stop":
            assert ids[-1] == END
        else:
            assert len(ids) == 16
        assert END not in ids[:-1]
        assert row.text == plain[1].decode(ids, skip_special_tokens=True)
        assert (row.seed, row.sample, row.prompt_id) == (
            request.seed, request.sample, request.prompt_id,
        )  # fmt: skip


def test_an_end_token_of_the_generation_config_ends_too(
    copy: Path, engine: TransformersEngine
) -> None:
    requests = asks(Sampling(samples=1, temperature=0, max_tokens=12), ["Name a fruit"])
    whole = ids_of(rows(engine, requests)["t-0-0"])
    edit(copy / "generation_config.json", eos_token_id=[END, whole[4]])
    row = rows(open_tiny(copy), requests)["t-0-0"]
    assert ids_of(row) == whole[: whole.index(whole[4]) + 1]
    assert row.finish_reason == "stop"
    tokenizer = transformers.AutoTokenizer.from_pretrained(copy)
    assert row.text == tokenizer.decode(ids_of(row)[:-1], skip_special_tokens=True)


def test_the_end_token_of_the_tokenizer_alone_is_enough(
    copy: Path, engine: TransformersEngine
) -> None:
    edit(copy / "config.json", eos_token_id=None)
    edit(copy / "generation_config.json", eos_token_id=None)
    requests = asks(Sampling(samples=8, max_tokens=16))
    made = rows(open_tiny(copy, batch_size=7), requests)
    assert made == rows(engine, requests)
    assert "stop" in {row.finish_reason for row in made.values()}


@pytest.mark.parametrize("task_type", [None, "CAUSAL_LM", "none"])
def test_the_models_own_generation_settings_stay_out(
    copy: Path, tiny_model: Path, tiny_adapter: Path, tmp_path: Path, task_type: str | None
) -> None:
    """With and without an adapter, of a kind that peft knows or not."""
    edit(
        copy / "generation_config.json",
        do_sample=True, top_k=1, top_p=0.1, temperature=0.1, repetition_penalty=5.0,
        max_length=3, no_repeat_ngram_size=1, suppress_tokens=[60],
    )  # fmt: skip
    suffix = ""
    if task_type is not None:
        adapter = shutil.copytree(tiny_adapter, tmp_path / "adapter")
        known = None if task_type == "none" else task_type
        edit(adapter / "adapter_config.json", task_type=known)
        suffix = f"+{adapter}"
    requests = asks(Sampling(samples=4, max_tokens=16))
    odd, even = (rows(open_tiny(f"{path}{suffix}"), requests) for path in (copy, tiny_model))
    assert odd == even
    assert len({ids_of(row) for row in odd.values()}) == len(requests)


# Prompts


def test_chat_goes_through_the_template_with_one_bos(
    tiny_chat_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_tiny(tiny_chat_model)
    seen = spy(engine, monkeypatch)
    rows(engine, asks(Sampling(samples=1, max_tokens=2), ["hi"], chat=True))
    assert engine._encoder.tokenizer.decode(seen[0][0]) == "<s><|user|>\nhi\n<|assistant|>\n"


def test_an_empty_prompt_is_the_bos_token(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    (copy / "tokenizer.json").write_text(json.dumps({**tokenizer, "post_processor": None}))
    engine = open_tiny(copy)
    seen = spy(engine, monkeypatch)
    requests = asks(Sampling(samples=1, max_tokens=1), [""])
    rows(engine, requests)
    assert seen[0].tolist() == [[1]]
    engine._encoder.tokenizer.bos_token = None
    with pytest.raises(ModelError, match=r"Prompt 'p0' of task 't' is empty, .*Give the prompt"):
        rows(engine, requests)


def test_a_tokenizer_that_closes_texts_does_not_close_prompts(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    template = tokenizer["post_processor"]
    template["single"].append({"SpecialToken": {"id": "</s>", "type_id": 0}})
    template["special_tokens"]["</s>"] = {"id": "</s>", "ids": [END], "tokens": ["</s>"]}
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    engine = open_tiny(copy)
    assert engine._encoder.tokenizer("a").input_ids[-1] == END
    seen = spy(engine, monkeypatch)
    rows(engine, asks(Sampling(samples=1, max_tokens=1), ["a"]))
    assert END not in seen[0].tolist()[0]


def spy(engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """The input ids of every call of generate."""
    seen: list[torch.Tensor] = []
    original = engine._model.generate

    def generate(input_ids: torch.Tensor, **options: Any) -> Any:
        seen.append(input_ids)
        return original(input_ids=input_ids, **options)

    monkeypatch.setattr(engine._model, "generate", generate)
    return seen


def test_a_prompt_longer_than_the_context(engine: TransformersEngine) -> None:
    short = asks(Sampling(samples=1, max_tokens=8), ["a"])
    rows(engine, short)  # loads it
    for words, remedy in [(120, r"Use --max-tokens 7 or less, a shorter"), (300, "Use a shorter")]:
        # A bos token and a token per " z".
        long = asks(Sampling(samples=1, max_tokens=8), [" z" * (words // 2)], task="long")
        count = len(engine._encoder.tokenizer(long[0].text).input_ids)
        assert count in (121, 301)
        with pytest.raises(ModelError, match=remedy) as caught:
            next(engine.generate([*short, *long]))
        assert (
            f"Prompt 'p0' of task 'long' is too long for 'tiny': {count} tokens and max_tokens 8 "
            f"are {count + 8}, its context is 128."
        ) in str(caught.value)


def test_the_context_is_checked_for_each_max_tokens(engine: TransformersEngine) -> None:
    short, long = (asks(Sampling(samples=1, max_tokens=n), ["a"]) for n in (8, 127))
    with pytest.raises(ModelError, match="2 tokens and max_tokens 127 are 129"):
        next(engine.generate([*short, *long]))


def test_chat_without_a_template(engine: TransformersEngine) -> None:
    with pytest.raises(ModelError, match=r"'tiny' has no chat template.*Use --format base"):
        rows(engine, asks(Sampling(samples=1), chat=True))


def test_a_chat_template_that_refuses(tiny_chat_model: Path) -> None:
    engine = open_tiny(tiny_chat_model)
    engine._encoder.tokenizer.chat_template = "{{ raise_exception('no system role') }}"
    with pytest.raises(ModelError, match="of 'm' refuses the prompt 'p0' of task 't': no system"):
        rows(engine, asks(Sampling(samples=1), chat=True))


def test_a_tokenizer_larger_than_the_model(copy: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(copy)
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(copy)
    engine = open_tiny(copy)
    with pytest.raises(ModelError, match=r"does not fit the model: Prompt 'p0'.*the token 320"):
        rows(engine, asks(Sampling(samples=1), ["a <new>"]))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_rows_on_a_gpu(tiny_model: Path, engine: TransformersEngine) -> None:
    requests = asks(Sampling(samples=4, top_p=0.9, max_tokens=16))
    fast = TransformersEngine(parse_model(str(tiny_model)), device="cuda", dtype="float32")
    made = rows(fast, requests)
    expected = rows(engine, requests)
    same = sum(ids_of(made[key]) == ids_of(expected[key]) for key in made)
    assert same >= 0.9 * len(requests)
