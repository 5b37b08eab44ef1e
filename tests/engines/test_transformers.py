from __future__ import annotations

import functools
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from peft import PeftModel
from scipy import stats

from tofu_eval.core.errors import ConfigError, ModelError
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


def open_tiny(ref: Path | str, **options: Any) -> TransformersEngine:
    engine = TransformersEngine(parse_model(f"m={ref}"), device="cpu", **options)
    _ = engine._loaded  # now, so that what is wrong with the model shows here
    return engine


def ids_of(row: Response) -> tuple[int, ...]:
    assert row.token_ids is not None
    return row.token_ids


@pytest.fixture
def plain(tiny_model: Path) -> tuple[Any, Any]:
    """The same model without our engine."""
    return (
        transformers.AutoModelForCausalLM.from_pretrained(tiny_model),
        transformers.AutoTokenizer.from_pretrained(tiny_model),
    )


@pytest.fixture
def copy(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model to damage."""
    return Path(shutil.copytree(tiny_model, tmp_path / "copy"))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


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


# Adapters


def test_an_adapter_is_loaded_and_not_merged(
    tiny_model: Path, tiny_adapter: Path, tmp_path: Path, engine: TransformersEngine
) -> None:
    adapted = open_tiny(f"{tiny_model}+{tiny_adapter}", batch_size=7)
    assert isinstance(adapted._model, PeftModel)
    requests = asks(Sampling(samples=2, max_tokens=16))
    made = rows(adapted, requests)
    base = rows(engine, requests)
    assert all(ids_of(made[key]) != ids_of(base[key]) for key in made)
    assert adapted.identity["model"] == engine.identity["model"]
    assert set(adapted.identity["adapter"]["files"]) >= {"adapter_model.safetensors"}

    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_model)
    PeftModel.from_pretrained(model, tiny_adapter).merge_and_unload().save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path)
    merged = rows(open_tiny(tmp_path, batch_size=7), requests)
    for key, row in made.items():
        assert ids_of(row) == ids_of(merged[key])
        assert row.logprob == pytest.approx(merged[key].logprob, abs=1e-3)


def test_the_tokenizer_of_an_adapter_is_used(
    tiny_model: Path, tiny_adapter: Path, tiny_chat_model: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_adapter, tmp_path / "adapter")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(tiny_chat_model / name, folder)
    engine = open_tiny(f"{tiny_model}+{folder}")
    assert len(rows(engine, asks(Sampling(samples=1, max_tokens=1), ["hi"], chat=True))) == 1


def shrunk(tiny_model: Path, path: Path, **sizes: int) -> Path:
    """A base of other sizes than the one that the adapter was made for."""
    config = transformers.AutoConfig.from_pretrained(tiny_model, **sizes)
    transformers.LlamaForCausalLM(config).save_pretrained(path)
    transformers.AutoTokenizer.from_pretrained(tiny_model).save_pretrained(path)
    return path


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ({"hidden_size": 64}, "size mismatch"),
        ({"num_hidden_layers": 1}, "4 of its weights have no place in the base"),
        ({"num_hidden_layers": 3}, "Found missing adapter keys"),
    ],
)
def test_an_adapter_whose_base_does_not_fit(
    tiny_model: Path, tiny_adapter: Path, tmp_path: Path, sizes: dict[str, int], reason: str
) -> None:
    base = shrunk(tiny_model, tmp_path / "other", **sizes)
    with pytest.raises(ModelError, match="does not fit the base model of 'm'") as caught:
        open_tiny(f"{base}+{tiny_adapter}")
    assert reason in str(caught.value)
    assert str(caught.value).endswith("trained on: --model NAME=BASE+ADAPTER")
    assert "\n" not in str(caught.value)


# Memory


def scarce(engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch, error: Exception) -> Any:
    """Let a forward of more than two rows fail; return the sizes that were tried."""
    tried: list[int] = []
    original = engine._model.forward

    @functools.wraps(original)
    def forward(*args: Any, **kwargs: Any) -> Any:
        size = len(kwargs["input_ids"])
        tried.append(size)
        if size > 2:
            raise error
        return original(*args, **kwargs)

    monkeypatch.setattr(engine._model, "forward", forward)
    return tried


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes"),
    ],
)
def test_out_of_memory_halves_the_batch_for_good(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    engine = open_tiny(tiny_model, batch_size=8)
    requests = asks(Sampling(samples=4, max_tokens=8))
    expected = rows(engine, requests)
    tried = scarce(engine, monkeypatch, error)
    made = rows(engine, requests)
    assert {k: r.text for k, r in made.items()} == {k: r.text for k, r in expected.items()}
    assert [size for size in tried if size > 2] == [8, 4]


def test_out_of_memory_on_one_row(engine: TransformersEngine, tiny_model: Path) -> None:
    lone = open_tiny(tiny_model, batch_size=4)

    def fail(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    lone._model.generate = fail
    with pytest.raises(ModelError, match=r"out of memory on a single response of prompt 'p\d'"):
        rows(lone, asks(Sampling(samples=1, max_tokens=8)))


def test_other_errors_are_not_taken_for_memory(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_tiny(tiny_model)
    tried = scarce(engine, monkeypatch, RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        rows(engine, asks(Sampling(samples=4, max_tokens=8)))
    assert tried == [20]


# Loading


def test_a_broken_model_makes_an_error_and_no_text(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_tiny(tiny_model)
    engine._model.lm_head.weight.data[7] = float("nan")
    with pytest.raises(ModelError, match=r"'m' is broken: its logits on prompt 'p2' .*NaN"):
        rows(engine, asks(Sampling(samples=1, max_tokens=4)))


def test_what_cannot_be_loaded(copy: Path) -> None:
    good = (copy / "config.json").read_text()
    cases: list[tuple[dict[str, Any], str]] = [
        ({"model_type": "nonsense"}, "model type `nonsense` but Transformers does not recognize"),
        ({"model_type": "t5", "architectures": ["T5Model"]}, "cannot be loaded"),
        ({"hidden_size": 64}, r"its weights do not match its config\.json: \d+ mismatched"),
        ({"num_hidden_layers": 3}, r"its weights do not match its config\.json: 9 missing"),
    ]
    for changes, reason in cases:
        (copy / "config.json").write_text(good)
        edit(copy / "config.json", **changes)
        with pytest.raises(ModelError, match=reason) as caught:
            open_tiny(copy)
        assert str(caught.value).startswith(f"The model 'm' cannot be loaded from {copy}: ")
        assert "\n" not in str(caught.value)
    (copy / "config.json").write_text(good)
    (copy / "model.safetensors").write_bytes(b"garbage")
    with pytest.raises(ModelError, match=r"its files have 7 bytes\. Was it copied"):
        open_tiny(copy)
    (copy / "model.safetensors").write_bytes(b"garbage" * 40_000)
    with pytest.raises(ModelError, match="Check that it is whole, and a causal language model"):
        open_tiny(copy)
    (copy / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="The tokenizer of 'm' cannot be loaded from"):
        open_tiny(copy)


def test_code_of_the_model_runs_only_when_trusted(copy: Path) -> None:
    (copy / "mine.py").write_text(
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        "class MineConfig(LlamaConfig):\n    model_type = 'mine'\n"
        "class Mine(LlamaForCausalLM):\n    config_class = MineConfig\n"
    )
    names = {"AutoConfig": "mine.MineConfig", "AutoModelForCausalLM": "mine.Mine"}
    edit(copy / "config.json", model_type="mine", auto_map=names)
    with pytest.raises(ModelError, match="If you trust its author, add --trust-remote-code"):
        open_tiny(copy)
    engine = open_tiny(copy, trust_remote_code=True)
    assert type(engine._model).__name__ == "Mine"


def test_options_that_cannot_be(tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match=r"Unknown dtype 'int3'\. Use one of auto, float32"):
        open_tiny(tiny_model, dtype="int3")
    spec = parse_model(str(tiny_model))
    with pytest.raises(ConfigError, match=r"Unknown device 'toaster'\. This machine has .*cpu"):
        TransformersEngine(spec, device="toaster")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match=r"No device 'cuda' here\. This machine has cpu"):
        TransformersEngine(parse_model(str(tiny_model)), device="cuda")


def test_identity_and_dtype(tiny_model: Path, engine: TransformersEngine) -> None:
    assert (engine.family, engine.identity["dtype"]) == ("transformers", "float32")
    half = open_tiny(tiny_model, dtype="bfloat16")
    assert half.identity == {**engine.identity, "dtype": "bfloat16"}
    assert len(rows(half, asks(Sampling(samples=1, max_tokens=2)))) == len(PROMPTS)
    json.dumps(half.identity)


def test_loading_is_reported_and_the_terminal_stays_clean(
    tiny_model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told: list[tuple[str, int, int]] = []
    bars = transformers.utils.logging.is_progress_bar_enabled()
    engine = open_tiny(tiny_model, report=lambda *news: told.append(news))
    rows(engine, asks(Sampling(samples=2, max_tokens=4)))
    engine.close()
    assert told == [("load m", 0, 1), ("load m", 1, 1)]
    assert capfd.readouterr() == ("", "")
    assert transformers.utils.logging.is_progress_bar_enabled() == bars


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_rows_on_a_gpu(tiny_model: Path, engine: TransformersEngine) -> None:
    requests = asks(Sampling(samples=4, top_p=0.9, max_tokens=16))
    fast = TransformersEngine(parse_model(str(tiny_model)), device="cuda", dtype="float32")
    made = rows(fast, requests)
    expected = rows(engine, requests)
    same = sum(ids_of(made[key]) == ids_of(expected[key]) for key in made)
    assert same >= 0.9 * len(requests)
