"""Stop strings, examples, a system prompt and template arguments: the same greedy rows anywhere."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.engine_requests import EAGER, asks, rows
from support.grown_adapter import make_grown_adapter
from support.vllm_server import serving

import tofu_eval as te
from tofu_eval.core.config import Settings
from tofu_eval.core.models import parse_model
from tofu_eval.core.types import Example, Sampling
from tofu_eval.engines.open import open_engine
from tofu_eval.pipeline.generate import build_requests
from tofu_eval.pipeline.plan import plan_of
from tofu_eval.tasks import load_format

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None, reason="vLLM is not here: make test-engines"
    ),
]

HYBRID = (
    "{{ bos_token }}{% for message in messages %}<|{{ message.role }}|>{{ message.content }}\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n</think>\n{% endif %}"
    "{% endif %}"
)


@pytest.fixture(scope="module")
def model(served_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The served model with a hybrid template and room for examples."""
    path = Path(shutil.copytree(served_model, tmp_path_factory.mktemp("models") / "hybrid"))
    (path / "chat_template.jinja").write_text(HYBRID)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 512}))
    return path


def greedy(engine: Any, format: str, stop: tuple[str, ...] = ()) -> dict[tuple[str, str], Any]:
    """Text, finish reason and token ids of each prompt."""
    prompts = [te.Prompt.of_text(str(i), f"Name fruit {i}:") for i in range(6)]
    sampling = Sampling(samples=1, temperature=0.0, max_tokens=32, stop=stop)
    shown = (Example("Name fruit 9:", "fig"), Example("Name a river:", "Lech"))
    task = te.Task("t", 1, lambda: prompts, sampling=sampling, examples=shown)
    plan = plan_of(task, Settings())
    asked = build_requests(plan, load_format(format), "m", engine, 0, system="Be brief.")
    made = rows(engine, asked)
    return {
        (row.prompt_id, format): (row.text, row.finish_reason, row.token_ids)
        for row in made.values()
    }


def test_the_same_greedy_rows(model: Path, tmp_path: Path) -> None:
    kwargs = {"chat_template_kwargs": {"enable_thinking": False}}
    ours = open_engine("transformers", parse_model(f"m={model}"), device="cpu", **kwargs)
    free = {**greedy(ours, "chat"), **greedy(ours, "base")}
    # What stands in the middle of a text, so that some rows stop at it.
    texts = [text for text, _, _ in free.values()]
    stops = tuple(
        dict.fromkeys(t[5:7] for t in texts if len(t) > 8 and t[5:7].isascii())
    )[:3]  # fmt: skip
    assert stops
    expected = {**greedy(ours, "chat", stops), **greedy(ours, "base", stops)}
    assert any(expected[key] != free[key] for key in free)
    plain = open_engine("transformers", parse_model(f"m={model}"), device="cpu")
    assert greedy(plain, "chat", stops) != {k: v for k, v in expected.items() if k[1] == "chat"}

    vllm = open_engine("vllm", parse_model(f"m={model}"), engine_args=EAGER, **kwargs)
    try:
        assert {**greedy(vllm, "chat", stops), **greedy(vllm, "base", stops)} == expected
        assert "Sampler" in vllm.record["sampler"]
    finally:
        vllm.close()
    with serving(model, tmp_path / "log") as (url, _):
        server = open_engine("openai", parse_model("m=org/tiny"), base_url=url, **kwargs)
        served = {**greedy(server, "chat", stops), **greedy(server, "base", stops)}
    for key, (text, reason, ids) in expected.items():
        # The server keeps half a character at the end back; the ids are whole.
        assert served[key][0] in (text, text.rstrip("\ufffd")), key
        assert served[key][1] == reason
        assert served[key][2] == ids


def test_an_adapter_with_added_tokens(served_model: Path, tmp_path: Path) -> None:
    adapter = make_grown_adapter(served_model, tmp_path / "grown")
    spec = parse_model(f"m={served_model}+{adapter}")
    asked = asks(Sampling(samples=1, temperature=0.0, max_tokens=16), ["Name a fruit", "a b"])
    expected = rows(open_engine("transformers", spec, device="cpu"), asked)
    vllm = open_engine("vllm", spec, engine_args=EAGER)
    try:
        made = rows(vllm, asked)
    finally:
        vllm.close()
    assert {k: (r.text, r.token_ids) for k, r in made.items()} == {
        k: (r.text, r.token_ids) for k, r in expected.items()
    }


def test_requests_without_seeds(served_model: Path) -> None:
    vllm = open_engine("vllm", parse_model(f"m={served_model}"), engine_args=EAGER, seeds="run")
    try:
        made = rows(vllm, asks(Sampling(samples=4, max_tokens=8), ["Name a fruit"]))
    finally:
        vllm.close()
    assert {row.seed for row in made.values()} == {None}
    assert len({row.token_ids for row in made.values()}) > 1
