"""Scoring again adds metrics; a refused call leaves a finished run finished."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from support.commands import invoke

from tofu_eval.cli import main
from tofu_eval.core.config import Settings
from tofu_eval.core.errors import ConfigError, StoreError, TofuEvalError
from tofu_eval.features.answers import VERIFIERS, verifier
from tofu_eval.features.custom import REWARD_MODELS
from tofu_eval.features.open import OpenFeature
from tofu_eval.metrics import METRICS
from tofu_eval.pipeline.evaluate import score_files
from tofu_eval.pipeline.rescore import inherit_settings, rescore
from tofu_eval.run.store import Run
from tofu_eval.run.verify import verify


def write_file(path: Path, *texts: str) -> Path:
    rows = [{"prompt": f"P{i}", "responses": list(texts)} for i in range(3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    file = write_file(tmp_path / "a.jsonl", "red fig", "red pear", "<think>x</think>red fig")
    score_files([("a", file)], tmp_path / "run", metrics=["unique_rate"], truncate=1)
    return tmp_path / "run"


def found(run: Path) -> dict[tuple[str, str], float | None]:
    return {(row.model, row.metric): row.value for row in Run.open(run).estimates()}


def test_metrics_are_added_under_the_settings_of_before(run: Path, tmp_path: Path) -> None:
    rescore(run, metrics=["distinct_1"])
    assert found(run) == {("a", "unique_rate"): 1 / 3, ("a", "distinct_1"): pytest.approx(1 / 3)}
    signatures = {row.metric: row.signature for row in Run.open(run).estimates()}
    assert "|truncate:1" in signatures["distinct_1"]
    # Another file with other metrics: both models have them all.
    file = write_file(tmp_path / "b.jsonl", "a", "b", "b")
    score_files([("b", file)], run, metrics=["mean_length"])
    names = ("unique_rate", "distinct_1", "mean_length")
    assert set(found(run)) == {(model, name) for model in "ab" for name in names}
    assert not verify(run).problems


def test_trust_is_not_handed_on(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who wrote a run.json may be anybody: whose code may run is said by who calls."""
    manifest = json.loads((run / "run.json").read_text())
    manifest["settings"]["trust_remote_code"] = True
    (run / "run.json").write_text(json.dumps(manifest))
    trusted = []

    def open_features(chosen: Settings, *_: object) -> dict[str, OpenFeature]:
        trusted.append(chosen.trust_remote_code)
        return {}

    monkeypatch.setattr("tofu_eval.pipeline.rescore.open_features", open_features)
    for said in ({}, {"trust_remote_code": True}):
        (run / "run.json").write_text(json.dumps(manifest))
        rescore(run, metrics=["distinct_1"], **said)
    assert trusted == [False, True]


def test_only_drops_and_says_so(run: Path) -> None:
    result = CliRunner().invoke(
        main, ["rescore", str(run), "--only", "--metric", "mean_length"], catch_exceptions=False
    )
    assert result.exit_code == 0
    assert "dropped, as --only says: unique_rate" in Run.open(run).manifest["notes"]
    assert set(found(run)) == {("a", "mean_length")}
    assert {row["metric"] for row in Run.open(run).scores().to_pylist()} == {"mean_length"}


def test_without_metrics_what_is_there_is_made_anew(run: Path) -> None:
    rescore(run, reasoning="keep")
    assert found(run) == {("a", "unique_rate"): 2 / 3}


def test_a_refused_call_leaves_a_finished_run_finished(run: Path, tmp_path: Path) -> None:
    before = json.loads((run / "run.json").read_text())
    other = write_file(tmp_path / "other.jsonl", "x", "y")
    prompts = json.dumps({"prompt": "Q", "id": "q", "responses": ["x"]}) + "\n"
    (tmp_path / "more.jsonl").write_text(prompts)
    refused: list[tuple[type[TofuEvalError], object]] = [
        (StoreError, lambda: score_files([("a", other)], run)),
        (StoreError, lambda: score_files([("new", other), ("a", tmp_path / "more.jsonl")], run)),
        (StoreError, lambda: score_files([("b", other)], run, seed=3)),
        (TofuEvalError, lambda: rescore(run, metrics=["nope"])),
        (TofuEvalError, lambda: rescore(run, metrics=["vendi"], embedding={"model": "/nowhere"})),
    ]
    for kind, call in refused:
        with pytest.raises(kind):
            call()  # type: ignore[operator]
        assert json.loads((run / "run.json").read_text()) == before
    assert before["status"] == "complete"
    assert not verify(run).problems
    assert CliRunner().invoke(main, ["compare", str(run)]).exit_code == 0


def test_a_refused_call_loses_no_prompts_that_it_set_aside(run: Path) -> None:
    prompts = run / "prompts" / "responses.parquet"
    damaged = prompts.read_bytes()[:-20]
    prompts.write_bytes(damaged)
    with pytest.raises(StoreError, match=r"prompts/responses\.parquet"):
        rescore(run, metrics=["distinct_1"])
    assert prompts.read_bytes() == damaged
    assert [file.name for file in prompts.parent.iterdir()] == ["responses.parquet"]


def test_a_machine_short_of_memory_sets_nothing_aside(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise pa.ArrowMemoryError("malloc of size 64 failed")

    before = sorted(run.rglob("*.parquet"))
    monkeypatch.setattr("tofu_eval.run.files.open_parquet", fail)
    with Run.writing(run) as held, pytest.raises(StoreError, match="malloc of size 64 failed"):
        held.mend()
    assert sorted(run.rglob("*.parquet")) == before


def test_metrics_of_before_outlive_damaged_estimates(run: Path) -> None:
    (run / "estimates.parquet").write_bytes(b"damaged")
    rescore(run, metrics=["distinct_1"])
    assert {name for _, name in found(run)} == {"unique_rate", "distinct_1"}


def test_a_run_without_responses(tmp_path: Path) -> None:
    with Run.writing(tmp_path / "run") as made:
        made.save(status="new")
    with pytest.raises(ConfigError, match=r"has no responses that could be scored\. Make some:"):
        rescore(tmp_path / "run", metrics=["distinct_1"])


def test_a_condition_that_the_run_has_is_refused_on_truncated_responses(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"P{i}", "responses": ["red fig", "a pear"], "references": ["fig"]}
        for i in range(3)
    ]
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    metrics, verifier = ["unique_rate[correct]"], {"name": "text"}
    score_files([("a", file)], tmp_path / "run", metrics=metrics, verifier=verifier)
    with pytest.raises(ConfigError, match=r"'unique_rate\[correct\]' cannot be .* with --only"):
        rescore(tmp_path / "run", truncate=50)
    rescore(tmp_path / "run", truncate=1, metrics=["unique_rate"], only=True)
    assert found(tmp_path / "run") == {("a", "unique_rate"): 1.0}


def test_a_reward_model_of_a_file_must_be_named_again(tmp_path: Path) -> None:
    file, run = write_file(tmp_path / "a.jsonl", "red fig", "red pear"), tmp_path / "run"
    here, there = tmp_path / "here.py", tmp_path / "there.py"
    for code in (here, there):
        code.write_text(
            "import tofu_eval as te\n\n\n"
            '@te.reward_model(name="figs")\n'
            "def figs(pairs):\n"
            '    return [text.count("fig") for _, text in pairs]\n'
        )

    def invoke(*command: object) -> Result:
        """A command, in a process that has run no file."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(REWARD_MODELS, "_items", dict(REWARD_MODELS._items))
            return CliRunner().invoke(main, [*map(str, command)])

    first = ("--metric", "unique_rate", "--reward-model", here)
    assert invoke("score", f"a={file}", "--output", run, *first).exit_code == 0
    before = (run / "run.json").read_bytes()
    for command in (["rescore", run], ["score", f"b={file}", "--output", run]):
        refused = invoke(*command, "--metric", "mean_length")
        assert refused.exit_code == 2
        assert refused.stderr == (
            f"Error: {run} was scored with the reward model 'figs' of a Python file, expected it "
            "in this call too: a run keeps no code. Name that again: --reward-model FILE.py, or "
            "drop what it gave: --only --metric NAME\n"
        )
        assert (run / "run.json").read_bytes() == before
    again = invoke("rescore", run, "--metric", "mean_length", "--reward-model", there)
    assert again.exit_code == 0
    assert found(run)["a", "reward"] == pytest.approx(0.5)
    assert ("a", "mean_length") in found(run)
    assert invoke("rescore", run, "--only", "--metric", "reward").exit_code == 2
    assert invoke("rescore", run, "--only", "--metric", "mean_length").exit_code == 0
    assert set(found(run)) == {("a", "mean_length")}
    assert invoke("rescore", run).exit_code == 0  # nothing is lost any more


def test_a_verifier_of_a_file_must_be_named_again(tmp_path: Path) -> None:
    file, run = tmp_path / "a.jsonl", tmp_path / "run"
    row = {"prompt": "P", "responses": ["red fig", "a pear"], "references": ["fig"]}
    file.write_text(json.dumps(row) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VERIFIERS, "_items", dict(VERIFIERS._items))
        verifier(name="last-word")(lambda _, text: text.split()[-1])
        score_files([("a", file)], run, metrics=["accuracy"], verifier={"name": "last-word"})
    for call in (
        lambda: rescore(run, metrics=["unique_rate"]),
        lambda: inherit_settings(run, {}, only=False),
    ):
        with pytest.raises(ConfigError, match=r"the verifier 'last-word' of a .*--verifier FILE"):
            call()
    rescore(run, metrics=["unique_rate"], only=True)
    assert found(run) == {("a", "unique_rate"): 1.0}


@pytest.mark.parametrize(
    ("section", "setting"), [("reward", "model"), ("judge", "model"), ("verifier", "name")]
)
def test_a_file_that_a_run_names_is_never_run(
    section: str, setting: str, run: Path, tmp_path: Path
) -> None:
    code, ran = tmp_path / "theirs.py", tmp_path / "ran"
    code.write_text(f"open({str(ran)!r}, 'w')\n")
    told = json.loads((run / "run.json").read_text())
    told["settings"][section] = {**(told["settings"].get(section) or {}), setting: str(code)}
    (run / "run.json").write_text(json.dumps(told))
    for call in (
        lambda: rescore(run, metrics=["distinct_1"]),
        lambda: inherit_settings(run, {}, only=False),
    ):
        with pytest.raises(ConfigError, match="of a Python file, expected it in this call too"):
            call()
    told["settings"] |= {"engine": str(code), "methods": [str(code)]}
    (run / "run.json").write_text(json.dumps(told))
    rescore(run, metrics=["distinct_1"], only=True)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("section", "held"), [("pos", -1), ("refusals", None), ("verifier", {"name": {"x": None}})]
)
def test_settings_that_are_none_are_named(section: str, held: object, run: Path) -> None:
    told = json.loads((run / "run.json").read_text())
    told["settings"][section] = held
    (run / "run.json").write_text(json.dumps(told))
    for command in (["rescore", run], ["pairs", run, "--output", run.parent / "pairs.jsonl"]):
        result = invoke(*command)
        assert result.exit_code == 2
        assert "run.json is damaged: settings" in result.stderr


def test_a_metric_of_a_file_must_be_named_again(tmp_path: Path) -> None:
    file, run = write_file(tmp_path / "a.jsonl", "RED fig", "red pear"), tmp_path / "run"
    here, there = tmp_path / "here.py", tmp_path / "there.py"
    for code in (here, there):
        code.write_text(
            "import tofu_eval as te\n\n\n"
            '@te.metric(name="shouts", direction="none", needs=("text",))\n'
            "def shouts(texts):\n"
            '    return float(sum("RED" in text for text in texts))\n'
        )

    def invoke(*command: object) -> Result:
        """A command, in a process that has run no file."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(METRICS, "_items", dict(METRICS._items))
            return CliRunner().invoke(main, [*map(str, command)])

    assert invoke("score", f"a={file}", "--output", run, "--metric", here).exit_code == 0
    before = (run / "run.json").read_bytes()
    lost = (["rescore", run], ["rescore", run, "--metric", "mean_length"])
    for command in (*lost, ["score", f"b={file}", "--output", run, "--metric", "mean_length"]):
        refused = invoke(*command)
        assert refused.exit_code == 2
        assert refused.stderr == (
            f"Error: {run} was scored with the metric 'shouts', which is none of this "
            "installation, expected its Python file or package in this call too: a run keeps no "
            "code. Name it again: --metric FILE.py, or drop it: --only --metric NAME\n"
        )
        assert (run / "run.json").read_bytes() == before
    assert invoke("rescore", run, "--metric", "mean_length", "--metric", there).exit_code == 0
    assert found(run)["a", "shouts"] == 1.0
    assert invoke("rescore", run, "--only", "--metric", "mean_length").exit_code == 0
    assert set(found(run)) == {("a", "mean_length")}
