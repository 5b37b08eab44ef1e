"""An engine as the judge of equivalence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from tofu_eval.cli import main
from tofu_eval.core.errors import ModelError
from tofu_eval.core.types import Request, Response, Sampling
from tofu_eval.engines.judge import EngineJudge
from tofu_eval.run.store import Run


class Parrot:
    """Answers with the last word of the question."""

    family = "parrot"

    def __init__(self) -> None:
        self.identity = {"kind": "parrot"}
        self.seen: list[Request] = []

    def generate(
        self, requests: Sequence[Request], done: Collection[str] = ()
    ) -> Iterator[list[Response]]:
        self.seen += requests
        for request in reversed(requests):
            assert request.messages is not None
            text = request.messages[0].content.split()[-1]
            yield [Response(request.key, "judge", "equivalence", request.prompt_id, 0, text)]

    def close(self) -> None:
        pass


def test_answers_come_in_the_order_of_the_questions() -> None:
    engine = Parrot()
    judge = EngineJudge(engine, "parrot@1")
    assert judge(["say yes", "say no", "say yes"]) == ["yes", "no", "yes"]
    assert len(engine.seen) == 2
    assert {r.sampling.temperature for r in engine.seen} == {0.0}
    assert judge.identity == {"engine": "parrot", "model": {"kind": "parrot"}}


def test_the_special_tokens_are_those_of_the_engines_tokenizer(tiny_chat_model: Path) -> None:
    from tofu_eval.core.types import ModelSpec
    from tofu_eval.engines.open import open_engine

    engine = open_engine("transformers", ModelSpec("judge", str(tiny_chat_model)), device="cpu")
    assert EngineJudge(engine, "m").special_tokens == {"<pad>", "<s>", "</s>"}
    assert EngineJudge(Parrot(), "parrot").special_tokens == frozenset()


def test_sampled_judgements_have_seeds_that_can_be_had_again() -> None:
    sampling = Sampling(1, 0.7, 1.0, 64)
    seen = []
    for seed in (0, 0, 1):
        engine = Parrot()
        judge = EngineJudge(engine, "parrot", sampling=sampling, seed=seed)
        judge(["say yes", "say no"], 0)
        judge(["say yes"], 1)
        seen.append([request.seed for request in engine.seen])
        assert judge.identity["seed"] == seed
        assert {request.sampling for request in engine.seen} == {sampling}
    assert seen[0] == seen[1] != seen[2]
    assert len(set(seen[0])) == 3


def test_a_judge_that_leaves_a_question_out_is_one_line() -> None:
    class Deaf(Parrot):
        def generate(
            self, requests: Sequence[Request], done: Collection[str] = ()
        ) -> Iterator[list[Response]]:
            return super().generate(requests[:1])

    with pytest.raises(ModelError, match=r"^The judge 'p' left 1 of 2 questions without an answ"):
        EngineJudge(Deaf(), "p")(["say yes", "say no"])


def test_an_engine_that_fails_is_one_line() -> None:
    class Broken(Parrot):
        def generate(
            self, requests: Sequence[Request], done: Collection[str] = ()
        ) -> Iterator[list[Response]]:
            raise RuntimeError("no memory")

    with pytest.raises(ModelError, match=r"^The judge 'p' failed: RuntimeError: no memory\. Wha"):
        EngineJudge(Broken(), "p")(["say yes"])


def test_a_real_model_that_cannot_judge_leaves_nulls(tiny_chat_model: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(tiny_chat_model, tmp_path / "judge"))
    config = json.loads((model / "config.json").read_text())
    config["max_position_embeddings"] = 512  # the question alone takes more than its 128
    (model / "config.json").write_text(json.dumps(config))
    file = tmp_path / "base.jsonl"
    file.write_text('{"prompt": "Fruit?", "responses": ["apple", "pear"]}\n')
    command = ["score", str(file), "--output", str(tmp_path / "run"), "--metric", "distinct_k"]
    command += ["--equivalence", "judge", "--judge-model", str(model)]
    done = CliRunner().invoke(main, [*command, "--device", "cpu"])
    assert done.exit_code == 0, done.output
    (row,) = Run.open(tmp_path / "run").scores().to_pylist()
    assert row["value"] is None
    assert row["reason"] == "the equivalence of 2 of 2 responses was not decided"
    (estimate,) = Run.open(tmp_path / "run").estimates()
    assert estimate.undefined == 1
    assert "|equivalence:judge:" in estimate.signature


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--equivalence", "judge"], "--judge-model MODEL"),
        (["--equivalence", "exact", "--equivalence-threshold", "0.3"], "has no threshold"),
        (["--equivalence-threshold", "3"], "equivalence.threshold should be less than or equal"),
        (
            ["--metric", "distinct_1[correct]", "--truncate", "5"],
            "'distinct_1[correct]' cannot be computed on truncated responses",
        ),
        (["--equivalence-model", "nowhere/at-all"], "Give another: --equivalence-model"),
    ],
)
def test_what_cannot_be_is_one_line(options: list[str], message: str, tmp_path: Path) -> None:
    file = tmp_path / "base.jsonl"
    file.write_text('{"prompt": "Fruit?", "responses": ["apple", "pear"]}\n')
    command = ["score", str(file), "--output", str(tmp_path / "run"), "--metric", "distinct_k"]
    done = CliRunner().invoke(main, [*command, *options])
    assert done.exit_code == 2
    assert message in done.output
    assert len(done.output.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--metric", "distinct_k", "--equivalence", "judge"], "the feature 'equivalence'"),
        (["--metric", "self_bleu@gem"], "the metric 'self_bleu@gem'"),
    ],
)
def test_rows_with_only_ids_cannot_be_judged(
    options: list[str], what: str, tiny_chat_model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "base.jsonl"
    file.write_text('{"id": 1, "responses": ["apple", "pear"]}\n')
    command = ["score", str(file), "--output", str(tmp_path / "run"), *options]
    if "judge" in options:
        command += ["--judge-model", str(tiny_chat_model), "--device", "cpu"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2
    assert f"Rows have only ids, but {what} needs the prompts. Add the field" in done.output
    assert not (tmp_path / "run").exists()
