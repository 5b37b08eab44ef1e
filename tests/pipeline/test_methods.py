"""Decoding methods: other questions, the same number of rows."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.fake_server import FakeServer
from support.fakes import FakeEngine

import tofu_eval as te
from tofu_eval.core.errors import ConfigError, StoreError, UnknownNameError
from tofu_eval.core.types import Request, Response
from tofu_eval.engines.methods.verbalized import read_answers
from tofu_eval.pipeline.temperatures import variants_of
from tofu_eval.run.store import Run
from tofu_eval.run.verify import verify


class Telling(FakeEngine):
    """Answers with `tell(request)` and notes what it was asked."""

    def __init__(self, tell: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.tell = tell
        self.asked: list[Request] = []
        self.rounds: list[int] = []

    def generate(
        self, requests: Sequence[Request], done: Collection[str] = ()
    ) -> Iterator[list[Response]]:
        self.rounds.append(len(requests))
        yield from super().generate(requests, done)

    def _response(self, request: Request) -> Response:
        self.asked.append(request)
        made = super()._response(request)
        return made if self.tell is None else replace(made, text=self.tell(request))


def make_task(**changes: Any) -> te.Task:
    prompts = [
        te.Prompt(
            "p0", (te.Message("user", "Name a fruit."),), paraphrases=("Which fruit?", "A fruit!")
        ),
        te.Prompt("p1", (te.Message("user", "Name a river."),), paraphrases=("Which river?",)),
    ]
    fields: dict[str, Any] = {"sampling": te.Sampling(samples=4, max_tokens=8)}
    return te.Task("names", 1, lambda: prompts, **(fields | changes))


def run(output: Path, engine: FakeEngine, methods: Sequence[str], **changes: Any) -> te.Result:
    arguments: dict[str, Any] = {"tasks": make_task(), "metrics": ["unique_rate"]}
    models = {"sft": engine}
    return te.evaluate(models, output=output, methods=methods, **(arguments | changes))


def rows(path: Path, model: str) -> list[dict[str, Any]]:
    return Run.open(path).responses(model, "names").to_pylist()


def test_each_method_is_a_model_with_as_many_rows_as_plain_sampling(tmp_path: Path) -> None:
    engine = Telling()
    methods = ["plain", "again", "paraphrase", "variety"]
    result = run(tmp_path / "run", engine, methods)
    names = ["sft", "sft-again", "sft-paraphrase", "sft-variety"]
    assert result.scores.column("model").unique().to_pylist() == names
    described = Run.open(tmp_path / "run").manifest["models"]
    for name in names:
        found = rows(tmp_path / "run", name)
        assert [(r["prompt_id"], r["sample"]) for r in found] == [
            (p, i) for p in ("p0", "p1") for i in range(4)
        ]
        assert len({r["seed"] for r in found}) == len({r["key"] for r in found}) == 8
        assert described[name].get("method", "plain") == (name.partition("-")[2] or "plain")
    assert described["sft-again"]["asked_model"] == "sft"
    assert engine.rounds == [8 + 2 + 8 + 8, 2, 2, 2]
    assert verify(tmp_path / "run").problems == ()
    run(tmp_path / "alone", Telling(), ["plain"])
    assert rows(tmp_path / "alone", "sft") == rows(tmp_path / "run", "sft")


def test_again_shows_the_earlier_responses(tmp_path: Path) -> None:
    engine = Telling()
    run(tmp_path / "chat", engine, ["again"], format="chat")
    texts = [r["text"] for r in rows(tmp_path / "chat", "sft-again")]
    last = next(r for r in engine.asked if (r.prompt_id, r.sample) == ("p0", 3))
    turns = [(m.role, m.content) for m in last.messages or ()]
    assert [role for role, _ in turns] == ["user", "assistant"] * 3 + ["user"]
    assert [text for role, text in turns if role == "assistant"] == texts[:3]
    assert turns[0][1] == "Name a fruit." != turns[2][1]
    engine = Telling()
    result = run(tmp_path / "base", engine, ["again"], format="base")
    texts = [r["text"] for r in rows(tmp_path / "base", "sft-again")]
    second = next(r for r in engine.asked if (r.prompt_id, r.sample) == ("p0", 1))
    assert second.text == f"Name a fruit. {texts[0]}\n\nName a fruit."
    # One decoder for all prompts, or an engine would make a batch of each.
    assert {r.sampling for r in engine.asked} == {make_task().sampling}
    assert any("the format base has no turns" in note for note in result.notes)
    engine = Telling()
    run(tmp_path / "sft", engine, ["again"], format="sft")
    texts = [r["text"] for r in rows(tmp_path / "sft", "sft-again")]
    third = next(r for r in engine.asked if (r.prompt_id, r.sample) == ("p1", 2))
    assert f"1. {texts[4]}\n2. {texts[5]}" in (third.text or "")


def test_again_ends_where_a_bare_text_puts_the_question_once_more(tmp_path: Path) -> None:
    engine = Telling(lambda request: "fig\n\nName a fruit. plum\n\nName a fruit.")
    run(tmp_path / "base", engine, ["again"], format="base")
    found = rows(tmp_path / "base", "sft-again")
    assert [r["text"] for r in found[:4]] == ["fig"] * 4
    assert {r["logprob"] for r in found[:4]} == {None}
    assert found[4]["text"].endswith("Name a fruit.")  # of the other prompt, it is a text


def test_again_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    run(tmp_path / "whole", Telling(), ["plain", "again"])
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", Telling(fail_after=2), ["plain", "again"])  # within its first round
    assert 0 < verify(tmp_path / "cut").responses < 16
    again = Telling()
    run(tmp_path / "cut", again, ["plain", "again"])
    for name in ("sft", "sft-again"):
        assert rows(tmp_path / "cut", name) == rows(tmp_path / "whole", name)
    later = Telling()
    run(tmp_path / "cut", later, ["plain", "again"])
    assert later.asked == []


def test_again_goes_on_between_two_rounds(tmp_path: Path) -> None:
    class Cut(Telling):
        def generate(
            self, requests: Sequence[Request], done: Collection[str] = ()
        ) -> Iterator[list[Response]]:
            if len(self.rounds) == 2:
                raise KeyboardInterrupt
            yield from super().generate(requests, done)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", Cut(), ["again"])
    assert verify(tmp_path / "cut").responses == 4  # two rounds of two prompts
    run(tmp_path / "cut", Telling(), ["again"])
    run(tmp_path / "whole", Telling(), ["again"])
    assert rows(tmp_path / "cut", "sft-again") == rows(tmp_path / "whole", "sft-again")


def test_paraphrases_take_turns(tmp_path: Path) -> None:
    engine = Telling()
    run(tmp_path / "run", engine, ["paraphrase"])
    asked = {(r.prompt_id, r.sample): r.text for r in engine.asked}
    assert [asked["p0", i] for i in range(4)] == [
        *("Name a fruit.", "Which fruit?", "A fruit!", "Name a fruit."),
    ]
    assert [asked["p1", i] for i in range(4)] == ["Name a river.", "Which river?"] * 2


def test_other_paraphrases_are_another_run(tmp_path: Path) -> None:
    run(tmp_path / "run", Telling(), ["paraphrase"])
    changed = [
        te.Prompt(f"p{i}", (te.Message("user", text),), paraphrases=("Say.",))
        for i, text in enumerate(("Name a fruit.", "Name a river."))
    ]
    with pytest.raises(StoreError, match="prompt format of model 'sft-paraphrase'"):
        run(
            tmp_path / "run",
            Telling(),
            ["paraphrase"],
            tasks=replace(make_task(), load=lambda: changed),
        )


def test_variety_stands_before_what_the_run_tells(tmp_path: Path) -> None:
    engine = Telling()
    run(tmp_path / "run", engine, ["variety"], format="chat", system="Be brief.")
    system, user = engine.asked[0].messages or ()
    assert system.role == "system"
    assert system.content.endswith("\n\nBe brief.")
    assert len(system.content) > 60
    assert user.content == "Name a fruit."


def test_verbalized_answers_are_taken_apart(tmp_path: Path) -> None:
    def tell(request: Request) -> str:
        fruit = [{"text": f"fruit {request.sample + i}", "probability": 0.1} for i in range(5)]
        return f"<think>Hm.</think>Sure!\n```json\n{json.dumps(fruit)}\n```"

    engine = Telling(tell)
    run(tmp_path / "run", engine, ["verbalized"], samples=7, format="chat")
    found = rows(tmp_path / "run", "sft-verbalized")
    assert [r["text"] for r in found[:7]] == [f"fruit {i}" for i in range(7)]
    assert len(engine.asked) == 4  # five and two, of two prompts
    assert {r.sampling.max_tokens for r in engine.asked} == {5 * (8 + 24), 2 * (8 + 24)}
    assert [r["state"] for r in found] == ["finished"] * 14
    assert [r["reasoning"] for r in found[:7]] == ["Hm.", *[None] * 4, "Hm.", None]
    assert len({r["key"] for r in found}) == 14


def test_what_cannot_be_read_is_failed_and_counted_and_stops_nothing(tmp_path: Path) -> None:
    def tell(request: Request) -> str:
        return "I would rather not." if request.prompt_id == "p0" else '[{"text": "Po"}, {"te'

    result = run(tmp_path / "run", Telling(tell), ["verbalized"])
    found = rows(tmp_path / "run", "sft-verbalized")
    assert [r["state"] for r in found] == ["failed"] * 4 + ["finished"] + ["failed"] * 3
    assert found[0]["finish_reason"] == "unread: the answer has 0 of 4 responses"
    assert found[7]["finish_reason"] == "unread: the answer has 1 of 4 responses"
    assert any("7 of 8 responses could not be read" in note for note in result.notes)
    later = Telling(tell)
    run(tmp_path / "run", later, ["verbalized"])
    assert later.asked == []
    assert verify(tmp_path / "run").problems == ()


@pytest.mark.parametrize(
    ("text", "count", "expected"),
    [
        ('[{"text": "a", "probability": 0.1}, {"text": "b"}]', 2, ["a", "b"]),
        ('{"responses": [{"text": "a"}, {"response": "b"}, {"answer": "c"}]}', 2, ["a", "b"]),
        ('{"text": "a"}\n{"text": "b"}', 3, ["a", "b"]),
        ('Here: [{"text": "a"}, {"text": "b"}, {"text": "c', 3, ["a", "b"]),  # cut
        ('["a", "b"]', 2, ["a", "b"]),
        ("<response><text>a</text><probability>0.1</probability></response>"
         "<response><text>b</text></response>", 2, ["a", "b"]),
        ("<response>a</response><response>b", 2, ["a"]),
        ('1. a (0.2)\n2. b - probability: 30%\n3. "c" 0.05', 3, ["a", "b", "c"]),
        ("1. born in 1984\n2. born in 2001.", 2, ["born in 1984", "born in 2001."]),
        ("1) one\nline\n2) two\n\nHope it helps!", 2, ["one\nline", "two"]),
        ("No.", 2, []),
        ("", 2, []),
        ("[" * 5000, 2, []),
        ("{" * 5000 + '"text": "a"}', 2, []),
        ('[{"text": 3}, {"text": null}, {"text": " "}]', 3, []),
        ('{"text": "a\nb"}', 1, ["a\nb"]),
    ],
)  # fmt: skip
def test_answers_are_read_in_many_forms(text: str, count: int, expected: list[str]) -> None:
    assert read_answers(text, count) == expected


def test_a_sweep_of_methods_is_a_series_each(tmp_path: Path) -> None:
    run(tmp_path / "run", Telling(), ["plain", "again"], temperature=(0.5, 1.0))
    models = Run.open(tmp_path / "run").manifest["models"]
    assert [(n, m["series"], m["temperature"]) for n, m in models.items()] == [
        ("sft-T0.5", "sft", 0.5),
        ("sft-T1", "sft", 1.0),
        ("sft-again-T0.5", "sft-again", 0.5),
        ("sft-again-T1", "sft-again", 1.0),
    ]


def test_a_method_of_ones_own_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "shout.py"
    file.write_text(
        "import tofu_eval as te\n"
        "@te.method('shout')\n"
        "def shout(ask: te.Ask):\n"
        "    '''Ask in capitals.'''\n"
        "    return ask.replace_last(ask.asked.upper())\n"
    )
    engine = Telling()
    run(tmp_path / "run", engine, [str(file)])
    assert engine.asked[0].text == "NAME A FRUIT."
    file.write_text(file.read_text().replace("upper", "title"))
    with pytest.raises(StoreError, match="prompt format of model 'sft-shout'"):
        run(tmp_path / "run", Telling(), [str(file)])


def test_a_method_that_gives_no_turns_is_told_so(tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text(
        "import tofu_eval as te\n@te.method('broken')\ndef broken(ask):\n    return 'hello'\n"
    )
    with pytest.raises(ConfigError, match="'broken' gave 'hello'; expected the turns"):
        run(tmp_path / "run", Telling(), [str(file)])


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        (
            ["agian"],
            "Unknown method 'agian'. Did you mean 'again'? List all: tofu-eval methods list",
        ),
        ([], "methods is an empty list"),
        (["again", "again"], "asked for twice"),
    ],
)
def test_bad_methods_make_no_run(methods: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, UnknownNameError)) as caught:
        run(tmp_path / "run", Telling(), methods)
    assert message in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_task_that_a_method_cannot_be_used_on(tmp_path: Path) -> None:
    bare = [te.Prompt.of_text("p", "Name a fruit.")]
    with pytest.raises(ConfigError, match="the prompt 'p' has no paraphrases"):
        run(
            tmp_path / "run",
            Telling(),
            ["paraphrase"],
            tasks=replace(make_task(), load=lambda: bare),
        )


def test_two_models_of_one_name() -> None:
    with pytest.raises(ConfigError, match="would be called 'a-again'"):
        variants_of(["a", "a-again"], None, ["plain", "again"])


@pytest.mark.slow
def test_again_with_a_real_model_shows_what_its_context_has_room_for(
    tiny_chat_model: Path, tmp_path: Path
) -> None:
    options = {"format": "chat", "samples": 8, "max_tokens": 12, "engine": "transformers"}
    told = {"tasks": make_task(), "metrics": ["unique_rate"], "methods": ["plain", "again"]}
    models = {"m": str(tiny_chat_model)}
    result = te.evaluate(models, output=tmp_path / "run", **options, **told)
    found = rows(tmp_path / "run", "m-again")
    assert [r["state"] for r in found].count("failed") == 0
    assert len({r["text"] for r in found}) > 8
    assert any("only the latest of the earlier ones" in note for note in result.notes)
    again = te.evaluate(models, output=tmp_path / "again", **options, **told)
    assert rows(tmp_path / "again", "m-again") == found
    assert again.scores.equals(result.scores)


def test_every_method_asks_a_server(tmp_path: Path) -> None:
    with FakeServer() as server:
        te.evaluate(
            {"m": "org/name"},
            make_task(),
            tmp_path / "run",
            engine="openai",
            base_url=server.url,
            format="chat",
            methods=["again", "paraphrase", "variety", "verbalized"],
            metrics=["unique_rate", "failed_rate"],
        )
    run = Run.open(tmp_path / "run")
    assert [len(run.responses(name, "names")) for name in run.manifest["models"]] == [8] * 4
    texts = [r["text"] for r in rows(tmp_path / "run", "m-again")]
    shown = [
        [m["content"] for m in body["messages"] if m["role"] == "assistant"]
        for body in server.bodies
    ]
    assert texts[:3] in shown
    assert {r["state"] for r in rows(tmp_path / "run", "m-verbalized")} == {"failed"}
