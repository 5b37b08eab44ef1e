"""What more samples would take away, of a run on the disk."""

from __future__ import annotations

import json
import random

import pytest
from click.testing import CliRunner

from tofu_eval.cli import main
from tofu_eval.pipeline.evaluate import score_files
from tofu_eval.pipeline.sampling_noise import sampling_noise
from tofu_eval.run.store import Run

PROMPTS, SAMPLES = 150, 8


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Texts of 1 to 9 words, uniformly; prompts do not differ. Of `tofu` half are longer by 1."""
    folder = tmp_path_factory.mktemp("noise")
    stream = random.Random(0)
    files = []
    for model, more in (("base", 0), ("tofu", 1)):
        rows = [
            {
                "prompt": f"Question {i}",
                "responses": [
                    " ".join(stream.choices("abcdefgh", k=stream.randint(1, 9) + more * (j % 2)))
                    for j in range(SAMPLES)
                ],
            }
            for i in range(PROMPTS)
        ]
        path = folder / f"{model}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        files.append((model, path))
    metrics = ["mean_length", "unique_rate", "distinct_at_5_exact", "self_bleu_texygen"]
    score_files(files, folder / "run", metrics=metrics)
    return Run.open(folder / "run")


def test_of_a_mean_it_is_the_variance_over_the_samples(run: Run) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    noise, remarks = sampling_noise(run, ["mean_length", "self_bleu_texygen"])
    assert remarks == []
    found = noise["base", "responses", "mean_length"]
    # Of the whole numbers from 1 to 9 the variance is 80 / 12.
    assert found.variance == pytest.approx(80 / 12 / SAMPLES, rel=0.2)
    assert found.samples == SAMPLES
    assert {metric for _, _, metric in noise} == {"mean_length"}
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before


def test_what_halves_cannot_have_is_left_out(run: Run) -> None:
    # Rarefied to five responses, of which a half has four.
    noise, remarks = sampling_noise(run, ["distinct_at_5_exact", "unique_rate"])
    assert {metric for _, _, metric in noise} == {"unique_rate"}
    assert remarks == []


def test_a_metric_that_is_gone_is_named(run: Run) -> None:
    noise, remarks = sampling_noise(run, ["no_such_metric"])
    assert noise == {}
    assert remarks[0].startswith("What more samples would do to no_such_metric is not known: Unkno")


def test_features_of_another_model_are_not_made_again(run: Run) -> None:
    _, (remark,) = sampling_noise(run, ["vendi"])
    assert remark.startswith("What more samples would do to vendi is not known: ")
    assert "embedding" in remark
    assert not (run.path / "features").exists()


@pytest.mark.slow
def test_compare_says_how_many_prompts_or_samples(run: Run) -> None:
    asked = ["compare", str(run.path), "--power", "--metric", "mean_length"]
    table = CliRunner().invoke(main, asked)
    assert table.exit_code == 0, table.output
    assert max(map(len, table.output.splitlines())) <= 80
    assert table.output.splitlines()[1].split()[-2:] == ["prompts", "samples"]
    (need,) = json.loads(CliRunner().invoke(main, [*asked, "--format", "json"]).output)
    # Prompts do not differ here, so that as many samples as prompts are missing.
    assert need["samples"] / SAMPLES == pytest.approx(need["prompts"] / PROMPTS, rel=0.35)
    refused = CliRunner().invoke(main, [*asked, "--format", "csv"])
    assert refused.exit_code == 2
    assert "--power comes as a table or as JSON, not as csv" in refused.output


def test_compare_with_seeds_named_by_hand(run: Run) -> None:
    asked = ["compare", str(run.path), "--format", "json"]
    found = CliRunner().invoke(main, [*asked, "--series", "both=base,tofu"])
    assert json.loads(found.output)["seeds"] == {"both": ["base", "tofu"]}
    for series, message in (
        ("both", "--series takes NAME=MODEL,MODEL,… with two models or more"),
        ("both=base", "A series needs two models or more, each once; 'both' got base."),
        ("both=base,tofoo", "Unknown model 'tofoo'. Did you mean 'tofu'?"),
    ):
        refused = CliRunner().invoke(main, [*asked, "--series", series])
        assert refused.exit_code == 2
        assert message in refused.output
    twice = [*asked, "--series", "a=base,tofu", "--series", "b=tofu,base"]
    assert "is in two series" in CliRunner().invoke(main, twice).output


def test_compare_and_the_board_have_one_interval(run: Run) -> None:
    asked = ["compare", str(run.path), "--format", "json", "--metric", "unique_rate"]
    first = json.loads(CliRunner().invoke(main, asked).output)["rows"][0]
    (estimate,) = [
        row for row in run.estimates() if (row.model, row.metric) == ("base", "unique_rate")
    ]
    assert [first[name] for name in ("value", "low", "high", "n", "method")] == [
        getattr(estimate, name) for name in ("value", "low", "high", "n", "method")
    ]
    assert estimate.method.endswith(
        "; plug-in, falls with the number of responses: compare equal numbers"
    )
