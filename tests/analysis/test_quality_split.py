"""A loss of diversity, split into removed bad responses and narrower good ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from tofu_eval.analysis.quality_split import split_loss
from tofu_eval.cli import main
from tofu_eval.core.errors import DataError
from tofu_eval.core.tables import SCORE_SCHEMA, to_table
from tofu_eval.core.types import Score

NAMES = ("vendi", "vendi[correct]")


def table(values: dict[tuple[str, str], list[float | None]]) -> object:
    rows = [
        Score(model, "t", f"p{i}", metric, value, None if value is not None else "few", 4)
        for (model, metric), column in values.items()
        for i, value in enumerate(column)
    ]
    return to_table(rows, SCORE_SCHEMA)


SCORES = table(
    {
        ("base", "vendi"): [5.0, 4.0, 9.0],
        ("base", "vendi[correct]"): [3.0, 3.0, None],
        ("sft", "vendi"): [2.0, 2.0, 1.0],
        ("sft", "vendi[correct]"): [2.0, 2.5, 1.0],
    }
)


def test_by_hand() -> None:
    # Losses 3 and 2, among the correct 1 and 0.5; the third prompt has no correct base answers.
    found = split_loss(SCORES, ("base", "sft"), NAMES, sign=1)
    assert found.total.value == pytest.approx(2.5)
    assert found.residual.value == pytest.approx(0.75)
    assert found.quality.value == pytest.approx(1.75)
    assert found.explained == pytest.approx(0.7)
    assert (found.total.n, found.dropped) == (2, 1)


def test_a_metric_that_falls_with_diversity() -> None:
    turned = split_loss(SCORES, ("base", "sft"), NAMES, sign=-1)
    assert turned.total.value == pytest.approx(-2.5)
    assert turned.explained == pytest.approx(0.7)


def test_nothing_to_explain() -> None:
    assert split_loss(SCORES, ("sft", "sft"), NAMES, sign=1).explained is None


def test_no_prompt_has_all_four() -> None:
    empty = table({(model, name): [None] for model in ("base", "sft") for name in NAMES})
    with pytest.raises(DataError, match=r"^No prompt has 'vendi' and 'vendi\[correct\]' of both"):
        split_loss(empty, ("base", "sft"), NAMES, sign=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models scored by a text metric, with and without a condition on a tiny reward model."""
    folder = tmp_path_factory.mktemp("split")
    for name, texts in (("base", '"a b", "c d", "e f"'), ("sft", '"a b", "a b", "a c"')):
        (folder / f"{name}.jsonl").write_text(f'{{"prompt": "Say.", "responses": [{texts}]}}\n')
    return folder


def test_the_command(run: Path, tiny_reward_model: Path) -> None:
    output, files = str(run / "run"), [str(run / f"{name}.jsonl") for name in ("base", "sft")]
    score = ["score", *files, "--output", output, "--reward-model", str(tiny_reward_model)]
    score += ["--metric", "distinct_1", "--metric", "distinct_1[reward>=-1000]"]
    made = CliRunner().invoke(main, score)
    assert made.exit_code == 0, made.output
    split = ["split", output, "--metric", "distinct_1", "--passing"]
    done = CliRunner().invoke(main, [*split, "reward>=-1000"])
    assert done.exit_code == 0, done.output
    # All pass, so nothing is explained: 1 - 3/6 = 0.5 is lost among the good ones.
    assert done.output.splitlines() == [
        "Loss of distinct_1 since base, of it among responses with reward>=-1000:",
        "sft  (1 prompt, 0 left out)",
        "  total    0.5",
        "  quality  0",
        "  residual 0.5",
        "  removing bad responses explains 0% of the total",
    ]
    other = CliRunner().invoke(main, [*split, "reward>=7"])
    assert other.exit_code == 2
    assert "was not scored with 'distinct_1[reward>=7]'. Score it again" in other.output
