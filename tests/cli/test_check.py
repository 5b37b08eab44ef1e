"""`tofu-eval check`: what a pipeline reads is the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tofu_eval.cli import main


def check(run: Path, *conditions: str, more: tuple[str, ...] = ()) -> Result:
    flags = [part for condition in conditions for part in ("--fail-if", condition)]
    return CliRunner().invoke(main, ["check", str(run), *flags, *more])


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """sft says one thing, tofu what base says, on 24 prompts; gem answers four of them."""
    folder = tmp_path_factory.mktemp("check")
    words = {"base": "red tan jet sky", "sft": "red red red red", "tofu": "red tan jet sky"}
    rows = [
        {"prompt": f"Colour {i}?", "model": model, "responses": said.split()}
        for model, said in {**words, "gem": "red red red red"}.items()
        for i in range(4 if model == "gem" else 24)
    ]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    command = ["score", str(folder / "rows.jsonl"), "--output", str(folder / "run")]
    result = CliRunner().invoke(
        main, [*command, "--metric", "unique_rate", "--metric", "distinct_1"]
    )
    assert result.exit_code == 0, result.output
    return folder / "run"


def test_1_where_the_evidence_carries_it(scored: Path) -> None:
    result = check(scored, "narrower: unique_rate 0.3", more=("--model", "sft"))
    assert result.exit_code == 1
    assert result.stdout.startswith(
        "Failed: sft on responses narrower than base by more than 0.3 (unique_rate -0.750 [-0.750, "
        "-0.750] of the responses, adjusted p "
    )
    assert result.stdout.count("\n") == 1
    assert check(scored, "narrower", more=("--model", "sft")).exit_code == 1


def test_0_where_it_does_not(scored: Path) -> None:
    for condition in ("narrower: unique_rate", "narrower", "wider: distinct_1 0.1"):
        result = check(scored, condition, more=("--model", "tofu"))
        assert (result.exit_code, result.stdout.count("\n")) == (0, 1)
        assert result.stdout.startswith("Passed, nothing of this is shown: tofu on responses")


def test_3_where_nothing_can_be_said(scored: Path) -> None:
    result = check(scored, "narrower: unique_rate", more=("--model", "gem"))
    assert result.exit_code == 3
    assert "too few prompts for any result to be clear: 4 prompts" in result.stdout
    said = check(scored, "narrower", more=("--model", "gem")).stdout
    assert (
        "(the verdict: no verdict, too few prompts for any result to be clear: 4 prompts)" in said
    )
    # What fails comes before what is unknown, and that before what passes.
    assert check(scored, "narrower: unique_rate").exit_code == 1
    assert check(scored, "wider: unique_rate").exit_code == 3
    assert check(scored, "worse", more=("--model", "tofu")).exit_code == 3


@pytest.mark.parametrize(
    ("conditions", "more", "said"),
    [
        (("smaller: unique_rate",), (), "Unknown condition 'smaller'"),
        (("narrower: uniqe_rate",), (), "Did you mean 'unique_rate'?"),
        (("worse: unique_rate",), (), "measures diversity"),
        (("narrower",), ("--model", "soft"), "Did you mean 'sft'?"),
        (("narrower",), ("--baseline", "bas"), "Did you mean 'base'?"),
        (("narrower",), ("--task", "x"), "Unknown task 'x'"),
        ((), (), "Missing option '--fail-if'"),
    ],
)
def test_2_for_bad_input(
    scored: Path, conditions: tuple[str, ...], more: tuple[str, ...], said: str
) -> None:
    result = check(scored, *conditions, more=more)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_run_of_one_model(scored: Path, tmp_path: Path) -> None:
    row = {"prompt": "Colour?", "responses": ["red", "blue"]}
    (tmp_path / "one.jsonl").write_text(json.dumps(row))
    command = ["score", str(tmp_path / "one.jsonl"), "--output", str(tmp_path / "run")]
    assert CliRunner().invoke(main, [*command, "--metric", "unique_rate"]).exit_code == 0
    result = check(tmp_path / "run", "narrower")
    assert result.exit_code == 2
    assert "has only one: there is nothing to compare" in result.stderr
