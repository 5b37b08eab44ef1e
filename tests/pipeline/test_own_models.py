"""`--embedding-model base` is the run's model of that name."""

from __future__ import annotations

from pathlib import Path

import pytest

import tofu_eval as te
from tofu_eval.core.errors import ConfigError
from tofu_eval.core.types import ModelSpec
from tofu_eval.features.settings import read_settings
from tofu_eval.pipeline.own_models import name_own_models, stored_models
from tofu_eval.pipeline.rescore import rescore

CAUSAL = {"engine": "causal-lm", "model": "base"}


@pytest.mark.parametrize(
    ("model", "reference"),
    [
        ("org/name@main", "org/name@main"),
        (Path("some/where"), "some/where"),
        (ModelSpec("base", "org/name", "main", "org/lora", "abc"), "org/name@main+org/lora@abc"),
    ],
)
def test_a_name_is_its_files(model: object, reference: str) -> None:
    given = read_settings({"embedding": CAUSAL, "likelihood": {"model": "base"}})
    chosen, remarks = name_own_models(given, {"base": model})
    assert (chosen.embedding.model, chosen.likelihood.model) == (reference,) * 2  # type: ignore[attr-defined]
    assert len(remarks) == 1
    assert "another model may not" in remarks[0]


def test_other_names_stay() -> None:
    given = read_settings({"embedding": CAUSAL})
    assert name_own_models(given, {"sft": "org/name"}) == (given, [])
    served = read_settings({"likelihood": {"engine": "openai", "model": "base"}})
    assert name_own_models(served, {"base": "org/name"}) == (served, [])


@pytest.mark.parametrize(
    ("embedding", "model", "message"),
    [
        ({"model": "base"}, "org/name", "Add --embedding-engine causal-lm"),
        (CAUSAL, object(), "no files to load"),
    ],
)
def test_what_cannot_be(embedding: dict[str, str], model: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        name_own_models(read_settings({"embedding": embedding}), {"base": model})


HUB = {"kind": "hub", "id": "org/name", "commit": "0" * 40}


def test_a_model_of_a_run_that_is_scored_again() -> None:
    lora = {"kind": "hub", "id": "org/lora", "commit": "1" * 40}
    manifest = {"models": {"base": {"identity": {"model": HUB, "adapter": lora, "dtype": "auto"}}}}
    given = read_settings({"embedding": CAUSAL})
    chosen, remarks = name_own_models(given, stored_models(manifest))
    assert chosen.embedding.model == f"org/name@{'0' * 40}+org/lora@{'1' * 40}"  # type: ignore[attr-defined]
    assert len(remarks) == 1


@pytest.mark.parametrize(
    ("identity", "message"),
    [
        ({"model": {"kind": "local", "files": {}}}, "Say where: --embedding-model DIRECTORY"),
        ({"model": HUB, "adapter": {"kind": "local"}}, "Say where: --embedding-model DIRECTORY"),
        ({"kind": "file", "file": "a.jsonl"}, r"does not know \(kind: file\)"),
        ({"kind": "server", "id": "gpt"}, r"does not know \(kind: server\)"),
    ],
)
def test_files_that_a_run_does_not_know(identity: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        name_own_models(
            read_settings({"embedding": CAUSAL}),
            stored_models({"models": {"base": {"identity": identity}}}),
        )


def test_rescore_asks_where_a_model_of_the_run_is(tmp_path: Path) -> None:
    rows = tmp_path / "base.jsonl"
    rows.write_text('{"prompt": "Name a fruit.", "responses": ["apple", "pear"]}\n')
    te.score_files([("base", rows)], tmp_path / "run", metrics=["unique_rate"])
    before = (tmp_path / "run" / "run.json").read_bytes()
    with pytest.raises(ConfigError, match="--embedding-model base is a model of this run"):
        rescore(tmp_path / "run", metrics=["vendi"], embedding=CAUSAL)
    assert (tmp_path / "run" / "run.json").read_bytes() == before


@pytest.mark.slow
def test_in_a_run(tiny_model: Path, tmp_path: Path) -> None:
    task = te.Task(
        "fruit",
        1,
        lambda: [te.Prompt.of_text("p", "Name a fruit.")],
        sampling=te.Sampling(samples=2, max_tokens=4),
    )
    made = te.evaluate(
        {"base": str(tiny_model)},
        [task],
        metrics=["mean_pairwise_cosine_distance", "perplexity"],
        embedding={**CAUSAL, "layers": "2"},
        likelihood={"model": "base"},
        output=tmp_path / "run",
    )
    signatures = [row["signature"] for row in made.estimates.to_pylist()]
    assert all(f"{tiny_model.name}@" in signature for signature in signatures)
    assert any("itself a model of this run" in note for note in made.notes)
