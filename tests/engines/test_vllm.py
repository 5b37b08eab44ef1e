"""vLLM itself, on a CPU: `make test-engines`."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.engine_requests import EAGER, PROMPTS, asks, first_token_p, rows

import tofu_eval as te
from tofu_eval.core.errors import ConfigError, ModelError
from tofu_eval.core.models import parse_model
from tofu_eval.core.types import Sampling
from tofu_eval.engines.open import group_shared, join_engines, open_engine
from tofu_eval.run.store import Run

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None, reason="vLLM is not here: make test-engines"
    ),
]


def open_vllm(ref: Path | str, name: str = "m", adapters: str = "mixed", **options: Any) -> Any:
    args = {"adapters": adapters}
    return open_engine(
        "vllm", parse_model(f"{name}={ref}"), engine_args={**EAGER, **args}, **options
    )


@pytest.fixture(scope="module")
def engine(served_model: Path) -> Iterator[Any]:
    engine = open_vllm(served_model)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def transformers_engine(served_model: Path) -> Iterator[Any]:
    engine = open_engine("transformers", parse_model(f"m={served_model}"), device="cpu")
    yield engine
    engine.close()


@pytest.mark.parametrize("chat", [False, True])
def test_choices_score_as_in_transformers(
    engine: Any, transformers_engine: Any, chat: bool
) -> None:
    choices = ["apple", "a long red story", "x"]
    asked = asks(Sampling(samples=3, max_tokens=4), ["Name a fruit", "a b c"], chat=chat)
    asked = [replace(request, completion=choices[request.sample]) for request in asked]
    ours, theirs = rows(engine, asked), rows(transformers_engine, asked)
    for key, row in theirs.items():
        assert ours[key].logprob == pytest.approx(row.logprob, abs=1e-3)
        assert (ours[key].text, ours[key].token_ids) == (row.text, row.token_ids)
        assert ours[key].finish_reason == "scored"


@pytest.mark.parametrize("chat", [False, True])
def test_greedy_rows_are_those_of_transformers(
    engine: Any, transformers_engine: Any, chat: bool
) -> None:
    requests = asks(Sampling(samples=1, temperature=0, max_tokens=24), chat=chat)
    ours, theirs = rows(engine, requests), rows(transformers_engine, requests)
    for key, row in theirs.items():
        assert (ours[key].text, ours[key].token_ids) == (row.text, row.token_ids)
        assert ours[key].finish_reason == row.finish_reason
        assert ours[key].logprob == pytest.approx(row.logprob, abs=1e-3)
        assert ours[key].seed == row.seed


def test_sampled_rows_have_the_same_form_and_logprob(engine: Any, served_model: Path) -> None:
    import torch
    import transformers

    sampling = Sampling(samples=20, temperature=1.2, top_p=0.98, max_tokens=24)
    made = rows(engine, asks(sampling, token_logprobs=True))
    plain = transformers.AutoModelForCausalLM.from_pretrained(served_model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(served_model)
    assert {row.finish_reason for row in made.values()} == {"stop", "length"}
    for row in made.values():
        prompt = tokenizer(PROMPTS[int(row.prompt_id[1:])]).input_ids
        assert row.token_ids is not None
        ids = torch.tensor([[*prompt, *row.token_ids]])
        with torch.no_grad():
            logprobs = plain(ids).logits[0, :-1].double().log_softmax(-1)
        chosen = logprobs.gather(1, ids[0, 1:, None])[len(prompt) - 1 :]
        assert row.logprob == pytest.approx(float(chosen.sum()), abs=2e-3)
        assert row.token_logprobs == pytest.approx(chosen[:, 0].tolist(), abs=2e-3)
        assert row.text == tokenizer.decode(row.token_ids, skip_special_tokens=True)
        assert (row.finish_reason == "stop") == (row.token_ids[-1] == 2)


@pytest.mark.parametrize("name", ["vllm", "transformers"])
def test_first_tokens_follow_the_models_distribution(
    name: str, engine: Any, transformers_engine: Any, served_model: Path
) -> None:
    opened = engine if name == "vllm" else transformers_engine
    requests = asks(Sampling(samples=2000, max_tokens=1), ["Name a fruit"])
    tokens = [row.token_ids[0] for row in rows(opened, requests).values() if row.token_ids]
    assert len(tokens) == 2000
    assert first_token_p(served_model, "Name a fruit", tokens) > 0.001


def test_a_row_depends_neither_on_order_nor_on_batch(engine: Any) -> None:
    requests = asks(Sampling(samples=6, max_tokens=16))
    whole = rows(engine, requests)
    assert len({row.token_ids for row in whole.values()}) == len(requests)
    assert rows(engine, requests[::-1]) == whole
    half = {request.key for request in requests[::2]}
    assert rows(engine, requests, half) == {k: r for k, r in whole.items() if k not in half}
    lone = rows(engine, requests[7:8])
    assert lone == {requests[7].key: whole[requests[7].key]}


def test_a_bad_prompt_is_one_line_and_leaves_the_engine_whole(engine: Any) -> None:
    sampling = Sampling(samples=1, max_tokens=16)
    with pytest.raises(ModelError, match=r"Prompt 'p1' of task 't' is too long for 'm': .* 128\."):
        rows(engine, asks(sampling, ["short", "long " * 100]))
    assert len(rows(engine, asks(sampling, ["short"]))) == 1


def test_arguments(served_model: Path) -> None:
    spec = parse_model(f"m={served_model}")
    with pytest.raises(ConfigError, match="'enable_lora' of vLLM is set by the run itself"):
        open_engine("vllm", spec, engine_args={"enable_lora": True})
    with pytest.raises(ConfigError, match="data_parallel_size is for servers"):
        open_engine("vllm", spec, engine_args={"data_parallel_size": 2})
    quantized = open_engine("vllm", spec, engine_args={"quantization": "fp8"})
    more = open_engine("vllm", spec, engine_args={"tensor_parallel_size": 2})
    plain = open_engine("vllm", spec)
    assert plain.identity == more.identity != quantized.identity


def test_what_vllm_refuses_to_load_is_one_line(served_model: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(served_model, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(ModelError, match="The vLLM engine of 'm' failed: ") as caught:
        rows(open_vllm(copy), asks(Sampling(samples=1, max_tokens=2)))
    assert "\n" not in str(caught.value)


def test_a_killed_vllm_is_one_line_and_the_next_call_finishes(
    served_model: Path, tmp_path: Path
) -> None:
    prompts = [te.Prompt.of_text(f"p{i}", text) for i, text in enumerate(PROMPTS[2:])]
    task = te.Task("t", 1, lambda: prompts, sampling=Sampling(samples=100, max_tokens=100))
    whole = open_vllm(served_model, batch_size=16)
    expected = te.evaluate({"m": whole}, [task], tmp_path / "whole", metrics=["unique_rate"])
    whole.close()

    killed = open_vllm(served_model, batch_size=16)

    def kill(stage: str, done: int, total: int) -> None:
        if stage == "generate m" and 0 < done < total:
            os.kill(killed._remote.pid, signal.SIGKILL)

    with pytest.raises(ModelError, match=r"The vLLM engine of 'm' was killed \(signal 9\)"):
        te.evaluate({"m": killed}, [task], tmp_path / "run", report=kill, metrics=["unique_rate"])
    have = len(Run.open(tmp_path / "run").response_keys("m", "t"))
    assert 0 < have < 300
    result = te.evaluate({"m": killed}, [task], tmp_path / "run", metrics=["unique_rate"])
    killed.close()
    assert result.scores.equals(expected.scores)
    tables = [Run.open(tmp_path / name).responses("m", "t") for name in ("run", "whole")]
    assert tables[0].equals(tables[1])


def test_closing_ends_the_process(served_model: Path) -> None:
    engine = open_vllm(served_model)
    rows(engine, asks(Sampling(samples=1, max_tokens=2)))
    pid = engine._remote.pid
    engine.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


# Adapters


def test_base_and_adapters_in_one_engine(
    served_model: Path, served_adapters: list[Path], tmp_path: Path
) -> None:
    refs = {"base": str(served_model)} | {
        f"a{i}": f"{served_model}+{path}" for i, path in enumerate(served_adapters)
    }
    engines = {name: open_vllm(ref, name) for name, ref in refs.items()}
    assert group_shared(engines) == [["base", "a0", "a1"]]
    served = join_engines(list(engines.values()))
    sampling = Sampling(samples=1, temperature=0, max_tokens=16)
    mixed = rows(served, [request for n in refs for request in asks(sampling, model=n)])
    assert engines["a1"].record["canary"] == {
        "prompts": 3, "models": 3, "agree": True, "exact": True,
    }  # fmt: skip
    sampled = [r for n in refs for r in asks(Sampling(samples=4, max_tokens=16), model=n)]
    assert len(rows(served, sampled)) == len(sampled)
    served.close()
    texts = {}
    for name, ref in refs.items():
        plain = open_engine("transformers", parse_model(f"{name}={ref}"), device="cpu")
        for key, row in rows(plain, asks(sampling, model=name)).items():
            assert mixed[key].token_ids == row.token_ids
        texts[name] = tuple(mixed[r.key].text for r in asks(sampling, model=name))
    assert len(set(texts.values())) == 3


def test_merged_adapters(served_model: Path, served_adapters: list[Path]) -> None:
    ref = f"{served_model}+{served_adapters[0]}"
    engine = open_vllm(ref, adapters="merged")
    assert group_shared({"a": engine, "b": open_vllm(served_model)}) == [["a"], ["b"]]
    requests = asks(Sampling(samples=1, temperature=0, max_tokens=16))
    made = rows(engine, requests)
    merged = engine._merged
    assert engine.record["adapters"] == engine.identity["adapters"] == "merged"
    engine.close()
    assert not merged.exists()
    plain = open_engine("transformers", parse_model(f"m={ref}"), device="cpu")
    for key, row in rows(plain, requests).items():
        assert made[key].token_ids == row.token_ids


def test_the_canary_finds_a_leaking_adapter(
    served_model: Path, served_adapters: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trap itself, with as many slots as adapters."""
    from tofu_eval.engines.vllm import VllmEngine

    original = VllmEngine._llm_arguments

    def few(self: Any, adapters: int) -> dict[str, Any]:
        return {**original(self, adapters), "max_loras": adapters}

    monkeypatch.setattr(VllmEngine, "_llm_arguments", few)
    engines = [open_vllm(served_model, "base")] + [
        open_vllm(f"{served_model}+{path}", f"a{i}") for i, path in enumerate(served_adapters)
    ]
    served = join_engines(engines)
    requests = [
        r for n in ("base", "a0", "a1") for r in asks(Sampling(samples=1, max_tokens=8), model=n)
    ]
    with pytest.raises(ModelError, match="The canary failed: in one engine with base and a0 and"):
        rows(served, requests)
    assert served._remote is None


def test_adapters_that_vllm_cannot_serve(
    served_model: Path, served_adapters: list[Path], tmp_path: Path
) -> None:
    good = json.loads((served_adapters[0] / "adapter_config.json").read_text())
    copy = shutil.copytree(served_adapters[0], tmp_path / "adapter")
    for changes, reason in [
        ({"modules_to_save": ["lm_head"]}, r"modules_to_save=\['lm_head'\]"),
        ({"use_dora": True}, "it is a DoRA"),
        ({"r": 1024}, "its rank is 1024, at most 512"),
        ({"peft_type": "IA3"}, "it is a IA3, not a LoRA"),
    ]:
        (copy / "adapter_config.json").write_text(json.dumps({**good, **changes}))
        with pytest.raises(ModelError, match=f"vLLM cannot serve the adapter of 'm' .*{reason}"):
            open_vllm(f"{served_model}+{copy}")


def test_the_main_process_killed_in_the_middle(served_model: Path, tmp_path: Path) -> None:
    """kill -9: vLLM's own process ends too, and the next call makes what is left, once."""
    script = textwrap.dedent("""
        import sys
        import tofu_eval as te
        prompts = [te.Prompt.of_text(f"p{i}", f"Name fruit {i}") for i in range(3)]
        sampling = te.Sampling(samples=200, max_tokens=100)
        task = te.Task("t", 1, lambda: prompts, sampling=sampling)
        te.evaluate({"m": sys.argv[1]}, [task], sys.argv[2], engine="vllm", batch_size=16,
                    engine_args={"enforce_eager": True}, metrics=["unique_rate"])
    """)
    command = [sys.executable, "-c", script, str(served_model), str(tmp_path / "run")]
    process = subprocess.Popen(command)
    folder = tmp_path / "run" / "responses" / "m" / "t"
    deadline = time.monotonic() + 120
    while len(list(folder.glob("part-*"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.wait()
    assert 0 < len(Run.open(tmp_path / "run").response_keys("m", "t")) < 600
    while any(Path(f"/proc/{child}/cmdline").exists() for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    subprocess.run(command, check=True)
    table = Run.open(tmp_path / "run").responses("m", "t")
    assert table.num_rows == len(set(table.column("key").to_pylist())) == 600
