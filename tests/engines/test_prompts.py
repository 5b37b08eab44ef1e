"""What is sent, token by token: templates as models have them, and what people type."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from support.engine_requests import asks, rows
from support.grown_adapter import make_grown_adapter

import tofu_eval as te
from tofu_eval.cli import main
from tofu_eval.core.config import Settings
from tofu_eval.core.errors import ModelError
from tofu_eval.core.models import parse_model, resolve
from tofu_eval.core.types import Example, Message, Request, Sampling
from tofu_eval.engines.open import open_engine
from tofu_eval.engines.prompts import Encoder, open_encoder
from tofu_eval.pipeline.generate import build_requests
from tofu_eval.pipeline.plan import plan_of
from tofu_eval.run.store import Run
from tofu_eval.tasks import load_format

TURNS = (
    "{{ bos_token }}{% for message in messages %}<|{{ message.role }}|>{{ message.content }}\n"
    "{% endfor %}"
)
ANSWER = "{% if add_generation_prompt %}<|assistant|>"
HYBRID = TURNS + ANSWER + (
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    "{% endif %}"
)  # fmt: skip
CLOSED = TURNS
CLOCK = (
    "{{ bos_token }}Today is {{ strftime_now('%d %B %Y') }}.\n"
    + TURNS[15:]
    + ANSWER
    + "{% endif %}"
)
OPENED = TURNS + ANSWER + "<think>\n{% endif %}"

TASK = """\
name: fruit
version: 1
licence: CC0-1.0
source: here
citation: none
format: chat
sampling: {samples: 2, max_tokens: 8}
prompts:
  - Name a fruit.
"""


@pytest.fixture
def model(tiny_chat_model: Path, tmp_path: Path) -> Path:
    """The tiny model with tags as tokens: special ones, and one that is only added."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = Path(shutil.copytree(tiny_chat_model, tmp_path / "model"))
    tokenizer = AutoTokenizer.from_pretrained(path)
    tokenizer.add_tokens(["<|user|>", "<|assistant|>", "<|system|>"], special_tokens=True)
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.save_pretrained(path)
    network = AutoModelForCausalLM.from_pretrained(path)
    network.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    network.save_pretrained(path)
    return path


def encoder(model: Path, template: str | None = None, **kwargs: Any) -> Encoder:
    if template is not None:
        (model / "chat_template.jinja").write_text(template)
    return open_encoder(
        resolve(parse_model(f"m={model}")), "m", trust_remote_code=False, template_kwargs=kwargs
    )


def chat(*turns: tuple[Any, str], date: str = "2031-05-06") -> Request:
    messages = tuple(Message(role, text) for role, text in turns)
    return Request("k", 0, "m", "t", "p", 0, Sampling(max_tokens=8), None, messages, date=date)


def ids_of(encoder: Encoder, *pieces: str) -> list[int]:
    """The ids of each piece by itself, a special token being one piece."""
    return [
        id for piece in pieces
        for id in encoder.tokenizer(piece, add_special_tokens=False).input_ids
    ]  # fmt: skip


def test_a_hybrid_thinking_template(model: Path) -> None:
    asked = chat(("user", "Name a fruit."))
    turns = ("<s>", "<|user|>", "Name a fruit.\n", "<|assistant|>")
    plain = encoder(model, HYBRID)
    assert plain.encode(asked) == ids_of(plain, *turns)
    quick = encoder(model, enable_thinking=False)
    assert quick.encode(asked) == ids_of(plain, *turns, "<think>", "\n\n", "</think>", "\n\n")
    assert encoder(model, enable_thinking=True).encode(asked) == plain.encode(asked)
    assert not quick.opens_thought(asked)
    assert quick.unknown_kwargs() == []
    assert encoder(model, enable_thinkng=False).unknown_kwargs() == ["enable_thinkng"]


def test_a_template_without_a_generation_prompt(model: Path) -> None:
    asked = chat(("user", "Name a fruit."))
    closed = encoder(model, CLOSED)
    assert closed.encode(asked) == ids_of(closed, "<s>", "<|user|>", "Name a fruit.\n")
    assert not closed.has_generation_prompt(asked)
    assert encoder(model, HYBRID).has_generation_prompt(asked)


def test_a_template_with_a_clock(model: Path) -> None:
    clock = encoder(model, CLOCK)
    asked = chat(("user", "Name a fruit."))
    told = ("<s>", "Today is 06 May 2031.\n", "<|user|>", "Name a fruit.\n", "<|assistant|>")
    assert clock.encode(asked) == ids_of(clock, *told)


def test_a_template_that_opens_the_thought(model: Path) -> None:
    opened = encoder(model, OPENED)
    asked = chat(("user", "Name a fruit."))
    told = ("<s>", "<|user|>", "Name a fruit.\n", "<|assistant|>", "<think>", "\n")
    assert opened.encode(asked) == ids_of(opened, *told)
    assert opened.opens_thought(asked)
    plain = Request("k", 0, "m", "t", "p", 0, Sampling(), "Name a fruit. <think>\n")
    assert opened.opens_thought(plain)


@pytest.mark.parametrize("typed", ["<|user|>", "</think>", "<s>", "a <|assistant|>b<|user|> c"])
def test_a_special_token_that_is_typed_stays_text(model: Path, typed: str) -> None:
    own = encoder(model, HYBRID)
    special = own.special.tokens.keys()
    asked = chat(("system", f"Mind {typed}"), ("user", typed))
    ids = own.encode(asked)
    # The template's own: begin, two roles, the answer's.
    assert [own.tokenizer.decode([id]) for id in ids if id in special] == [
        "<s>", "<|system|>", "<|user|>", "<|assistant|>"
    ]  # fmt: skip
    begins = own.tokenizer.convert_tokens_to_ids(["<|system|>", "<|user|>", "<|assistant|>"])
    assert (ids[1], ids[-1]) == (begins[0], begins[2])
    newline = own.special.ids("\n")
    role = ids.index(begins[1])
    assert ids[role - len(newline) : role] == newline  # the template's own, not the typed one
    assert own.tokenizer.decode(ids) == f"<s><|system|>Mind {typed}\n<|user|>{typed}\n<|assistant|>"
    text = f"Say {typed} now"
    plain = Request(
        "k", 0, "m", "t", "p", 0, Sampling(max_tokens=8), text, typed=(Message("user", text),)
    )
    ids = own.encode(plain)
    assert ids[0] == own.tokenizer.bos_token_id
    assert special.isdisjoint(ids[1:])
    assert own.tokenizer.decode(ids[1:]) == text


def test_a_template_may_cut_what_was_typed_but_not_change_it(model: Path) -> None:
    shown = TURNS.replace("message.content", "message.content.split('<|user|>')[-1] | trim")
    own = encoder(model, shown + ANSWER + "{% endif %}")
    ids = own.encode(chat(("user", "one </think> two ")))
    assert own.tokenizer.decode(ids) == "<s><|user|>one </think> two\n<|assistant|>"
    assert own.tokenizer.convert_tokens_to_ids("</think>") not in ids
    loud = encoder(model, TURNS.replace("message.content", "message.content | upper"))
    with pytest.raises(ModelError, match=r"special token of .* the template changes its text"):
        loud.encode(chat(("user", "one </think> two")))


def test_examples_and_a_system_prompt(model: Path) -> None:
    prompts = [te.Prompt.of_text("1", "Name a fruit:")]
    task = te.Task(
        "t", 1, lambda: prompts, sampling=Sampling(samples=1, max_tokens=8),
        examples=(Example("Name a river:", "Lech"),),
    )  # fmt: skip
    own = encoder(model, HYBRID)
    engine = open_engine("transformers", parse_model(f"m={model}"), device="cpu")
    plan = plan_of(task, Settings())

    def text(format: str, system: str | None = "Be brief.") -> str:
        (asked,) = build_requests(plan, load_format(format), "m", engine, 0, system=system)
        return own.prompt_text(asked)

    assert text("base") == "Be brief.\n\nName a river: Lech\n\nName a fruit:"
    assert text("base", None) == "Name a river: Lech\n\nName a fruit:"
    assert text("chat") == (
        "<s><|system|>Be brief.\n<|user|>Name a river:\n<|assistant|>Lech\n<|user|>Name a fruit:\n"
        "<|assistant|>"
    )
    assert text("sft", None) == (
        "[request]\nName a river:\n\n[answer]\nLech\n\n[request]\nName a fruit:\n\n[answer]\n"
    )


def audit(tmp_path: Path, model: Path, *arguments: str) -> str:
    (tmp_path / "fruit.yaml").write_text(TASK)
    asked = ["audit", "--model", f"m={model}", "--task", str(tmp_path / "fruit.yaml"), *arguments]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


def test_the_audit_says_it(model: Path, tmp_path: Path) -> None:
    template = model / "chat_template.jinja"
    template.write_text(HYBRID)
    said = audit(tmp_path, model, "--chat-template-kwarg", "enable_thinking=false")
    assert "='<think>'" in said
    assert "='</think>'" in said
    assert "0 remarks" in said
    said = audit(tmp_path, model, "--chat-template-kwarg", "thinkng=1", "--stop", "<|user|>")
    assert "its chat template knows no 'thinkng'" in said
    assert "the stop string '<|user|>' is a special token, which no text holds" in said
    template.write_text(CLOSED)
    assert "its chat template has no generation prompt" in audit(tmp_path, model)
    template.write_text(CLOCK)
    assert "its chat template reads the clock; it is told the run's date" in audit(tmp_path, model)
    template.write_text(OPENED)
    assert "ends within a thought that its template opens" in audit(tmp_path, model)
    template.write_text(HYBRID)
    said = audit(tmp_path, model, "--system", "Never say <|user|>")
    assert "holds '<|user|>', a special token, as text; it stays text" in said


def test_a_run_is_told_its_own_date_and_says_so(model: Path, tmp_path: Path) -> None:
    (model / "chat_template.jinja").write_text(CLOCK)
    (tmp_path / "fruit.yaml").write_text(TASK)
    options: dict[str, Any] = {"metrics": ["unique_rate"], "device": "cpu", "system": "Be brief."}
    result = te.evaluate({"m": model}, [tmp_path / "fruit.yaml"], tmp_path / "run", **options)
    today = datetime.now(UTC).date().isoformat()
    assert any(f"the run's date, {today}" in note for note in result.notes)
    file = tmp_path / "run" / "run.json"
    manifest = json.loads(file.read_text())
    assert manifest["models"]["m"]["prompt_format"]["fruit"].startswith("chat+system:")
    # Gone on with another day, the run keeps its date.
    file.write_text(json.dumps({**manifest, "created": "2031-05-06T00:00:00Z"}))
    for part in (tmp_path / "run" / "responses").rglob("part-*"):
        part.unlink()
    again = te.evaluate({"m": model}, [tmp_path / "fruit.yaml"], tmp_path / "run", **options)
    assert any("the run's date, 2031-05-06" in note for note in again.notes)


def test_an_opened_thought_that_never_ends_is_no_answer(model: Path, tmp_path: Path) -> None:
    (model / "chat_template.jinja").write_text(OPENED)
    (tmp_path / "fruit.yaml").write_text(TASK)
    te.evaluate(
        {"m": model}, [tmp_path / "fruit.yaml"], tmp_path / "run", metrics=["unique_rate"],
        device="cpu",
    )  # fmt: skip
    table = Run.open(tmp_path / "run").responses("m", "fruit")
    assert table.column("text").to_pylist() == ["", ""]
    assert table.column("state").to_pylist() == ["unfinished", "unfinished"]
    assert all(table.column("reasoning").to_pylist())


def test_a_prompt_that_is_too_long_may_be_left_out(tiny_model: Path, tmp_path: Path) -> None:
    prompts = [te.Prompt.of_text(str(i), "a b " * (100 if i == 3 else 1)) for i in range(4)]
    task = te.Task("t", 1, lambda: prompts, sampling=Sampling(samples=2, max_tokens=8))
    options: dict[str, Any] = {"metrics": ["unique_rate"], "device": "cpu"}
    with pytest.raises(ModelError, match=r"is too long for 'm'.*--too-long skip"):
        te.evaluate({"m": tiny_model}, [task], tmp_path / "a", **options)
    with pytest.raises(ModelError, match=r"2 of 8 responses of 'm' failed, more than --max-fai"):
        te.evaluate({"m": tiny_model}, [task], tmp_path / "b", too_long="skip", **options)
    result = te.evaluate(
        {"m": tiny_model}, [task], tmp_path / "c", too_long="skip", max_failed=0.3, **options
    )
    assert any("1 prompts are too long and were left out" in note for note in result.notes)
    table = Run.open(tmp_path / "c").responses("m", "t")
    assert table.column("state").to_pylist().count("failed") == 2


def test_stop_strings_cut_the_text(tiny_model: Path) -> None:
    engine = open_engine("transformers", parse_model(f"m={tiny_model}"), device="cpu")
    whole = rows(engine, asks(Sampling(samples=3, max_tokens=40)))
    texts = {key: row.text for key, row in whole.items()}
    word = next(text[9:11] for text in texts.values() if text[9:11].isascii() and len(text) > 11)
    cut = rows(engine, asks(Sampling(samples=3, max_tokens=40, stop=(word, "never there"))))
    for key, row in cut.items():
        assert row.text == texts[key].partition(word)[0]
        assert row.finish_reason == ("stop" if word in texts[key] else whole[key].finish_reason)
        ids, long = row.token_ids or (), whole[key].token_ids or ()
        assert long[: len(ids)] == ids


def test_settings_that_are_off_unless_set(tiny_model: Path) -> None:
    engine = open_engine("transformers", parse_model(f"m={tiny_model}"), device="cpu")
    free = rows(engine, asks(Sampling(samples=4, max_tokens=12)))
    greedy = rows(engine, asks(Sampling(samples=1, temperature=0.0, max_tokens=12)))
    for change in ({"top_k": 1}, {"min_p": 0.9999}):
        narrow = rows(engine, asks(Sampling(samples=4, max_tokens=12, **change)))
        firsts = {key.rsplit("-", 1)[0]: row.token_ids for key, row in greedy.items()}
        assert all(row.token_ids == firsts[key.rsplit("-", 1)[0]] for key, row in narrow.items())
    penal = rows(engine, asks(Sampling(samples=4, max_tokens=12, repetition_penalty=1.8)))
    assert {k: r.text for k, r in penal.items()} != {k: r.text for k, r in free.items()}

    def repeated(made: dict[str, Any]) -> int:
        return sum(len(r.token_ids) - len(set(r.token_ids)) for r in made.values())

    assert repeated(penal) < repeated(free)


def test_an_adapter_with_added_tokens(tiny_model: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    adapter = make_grown_adapter(tiny_model, tmp_path / "grown")
    engine = open_engine("transformers", parse_model(f"m={tiny_model}+{adapter}"), device="cpu")
    asked = asks(Sampling(samples=1, temperature=0.0, max_tokens=12), ["Name a fruit", "a b"])
    made = rows(engine, asked)
    tokenizer = AutoTokenizer.from_pretrained(adapter)
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    base.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    peer = PeftModel.from_pretrained(base, adapter).eval()
    for request in asked:
        ids = tokenizer(request.text, return_tensors="pt").input_ids
        with torch.no_grad():
            whole = peer.generate(input_ids=ids, do_sample=False, max_new_tokens=12, pad_token_id=0)
        assert made[request.key].token_ids == tuple(whole[0, ids.shape[1] :].tolist())


def test_an_adapter_without_its_rows_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    adapter = make_grown_adapter(tiny_model, tmp_path / "lost", embeddings=False)
    engine = open_engine("transformers", parse_model(f"m={tiny_model}+{adapter}"), device="cpu")
    line = (
        r"has 2\d+ tokens|has 3\d+ tokens, the base has embeddings for \d+, and the adapter holds"
    )
    with pytest.raises(ModelError, match=line):
        rows(engine, asks(Sampling(samples=1, max_tokens=4), ["a"]))


def test_options_that_mean_nothing_are_refused(tiny_model: Path) -> None:
    spec = parse_model(f"m={tiny_model}")
    for name, options, line in [
        ("transformers", {"extra_body": {"a": 1}}, "--extra-body is for servers"),
        ("transformers", {"seeds": "run"}, "--seeds run is for vllm and openai"),
        ("openai", {"quantize": "nf4", "base_url": "http://x/v1"}, "means nothing to a server"),
    ]:
        with pytest.raises(te.TofuEvalError, match=line):
            open_engine(name, spec, **options)
