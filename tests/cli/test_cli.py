"""The command line: what it prints, and one line and exit code 2 for bad input."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.commands import invoke, refused

from tofu_eval.cli import COMMANDS
from tofu_eval.run.store import Run

LEXICAL = ["--metric", "distinct_1", "--metric", "self_bleu", "--metric", "unique_rate"]


@pytest.fixture
def responses(tmp_path: Path) -> Path:
    rows = [
        {"id": id, "prompt": id, "model": model, "responses": texts}
        for model, tables in {
            "base": [["a red fox", "one blue jay"], ["two green frogs", "some grey mice"]],
            "sft": [["a red fox", "a red fox"], ["two green frogs", "two green newts"]],
        }.items()
        for id, texts in zip(("p", "q"), tables, strict=True)
    ]
    path = tmp_path / "responses.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture
def scored(tmp_path: Path, responses: Path) -> Path:
    result = invoke("score", responses, "--output", tmp_path / "run", *LEXICAL)
    assert result.exit_code == 0, result.output
    return tmp_path / "run"


def test_help_lists_every_command() -> None:
    result = invoke("--help")
    assert result.exit_code == 0
    for name in COMMANDS:
        assert name in result.output
        assert invoke(name, "--help").exit_code == 0


def test_score_writes_a_run_and_prints_the_comparison(scored: Path) -> None:
    run = Run.open(scored)
    values = {
        (r["model"], r["prompt_id"], r["metric"]): r["value"] for r in run.scores().to_pylist()
    }
    assert values["sft", "p", "unique_rate"] == 0.5
    assert values["base", "p", "distinct_1"] == 1
    again = invoke("compare", scored)
    assert "base" in again.output
    assert "sft" in again.output
    assert (scored / "leaderboard.json").exists()


def test_score_again_changes_nothing(scored: Path, responses: Path) -> None:
    before = Run.open(scored).estimates()
    assert invoke("score", responses, "--output", scored, *LEXICAL).exit_code == 0
    assert Run.open(scored).estimates() == before


def test_score_of_another_file_into_the_same_run_is_refused(scored: Path, responses: Path) -> None:
    responses.write_text(responses.read_text().replace("fox", "owl"))
    line = refused("score", responses, "--output", scored, *LEXICAL)
    assert "Cannot resume" in line
    assert "sha256=" in line


def test_compare_in_every_format(scored: Path) -> None:
    table = invoke("compare", scored, "--baseline", "sft", "--metric", "unique_rate")
    assert "unique_rate" in table.output
    assert "self_bleu" not in table.output
    assert max(map(len, table.output.splitlines())) <= 80
    found = json.loads(invoke("compare", scored, "--format", "json").output)
    values = {(r["metric"], r["model"]): r["value"] for r in found["rows"]}
    assert values["unique_rate", "sft"] == 0.75  # one text of two at p, two of two at q
    rows = list(csv.DictReader(io.StringIO(invoke("compare", scored, "--format", "csv").output)))
    assert {row["metric"] for row in rows} == {"distinct_1", "self_bleu", "unique_rate"}
    markdown = invoke("compare", scored, "--format", "markdown").output
    assert markdown.startswith("| model | task | verdict |")
    assert "\nCompared with base, there is no verdict on sft (too few prompts" in markdown
    assert "\n### responses\n" in markdown


@pytest.mark.parametrize("margin", ["accuracy", "=1", "a=0", "a=-1", "a=nan", "a=much"])
def test_a_margin_is_a_number_above_0(scored: Path, margin: str) -> None:
    assert "--margin takes METRIC=X" in refused("compare", scored, "--margin", margin)


def test_compare_within_a_margin_by_clusters(scored: Path) -> None:
    assert "Unknown metric 'x'" in refused("compare", scored, "--margin", "x=1")
    assert "has no field 'topic'" in refused("compare", scored, "--cluster", "topic")
    result = invoke("compare", scored, "--margin", "unique_rate=0.1", "--min-responses", "2")
    assert result.exit_code == 0, result.output


def test_clusters_from_the_rows_of_a_file(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"P{i}", "kind": i % 8, "model": model, "responses": [f"a {i}", more]}
        for model, more in (("base", "b c"), ("sft", "a d"))
        for i in range(24)
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    run = ("score", file, "--output", tmp_path / "run", *LEXICAL)
    assert "24 prompts in 8 clusters" in invoke(*run, "--cluster", "kind").output
    assert "in 8 clusters" in invoke("compare", tmp_path / "run", "--cluster", "kind").output
    assert "no field 'sort' (--cluster)" in refused(*run[:-6], "--cluster", "sort")


def test_a_model_alone_is_not_compared_with_itself(tmp_path: Path) -> None:
    texts = ["a b", None, "  ", "c d e"]
    reasons = ["stop", None, "stop", "content_filter"]
    row = {"prompt": "P", "responses": texts, "finish_reason": reasons}
    file = tmp_path / "alone.jsonl"
    file.write_text(json.dumps(row))
    run = ("score", file, "--output", tmp_path / "run", *LEXICAL)
    words = " ".join(invoke(*run).output.split())
    assert "alone has 75% of its responses empty, filtered or failed: the numbers" in words


def test_a_comparison_without_diversity_has_no_half_line(scored: Path) -> None:
    invoke("rescore", scored, "--metric", "refusal_rate")
    output = invoke("compare", scored, "--metric", "refusal_rate").output
    assert "p adjusted over" in output
    assert not [line for line in output.splitlines() if line.strip().startswith(";")]


def test_compare_names_what_is_unknown(scored: Path, tmp_path: Path) -> None:
    assert "Did you mean 'base'" in refused("compare", scored, "--baseline", "bse")
    assert "Unknown metric 'vendy'" in refused("compare", scored, "--metric", "vendy")
    assert "was not scored with 'vendi'" in refused("compare", scored, "--metric", "vendi")
    assert "is not a run" in refused("compare", tmp_path / "nothing")


def test_tasks_and_metrics_are_listed_and_shown() -> None:
    assert "open-prompts" in invoke("tasks", "list").output
    shown = invoke("tasks", "show", "open-prompts")
    assert "licence" in shown.output
    listed = invoke("metrics", "list").output
    for name in ("distinct_1", "self_bleu", "vendi", "vendi@2604.16027"):
        assert any(line.split()[0] == name for line in listed.splitlines())
    assert "Formula:" in invoke("metrics", "show", "vendi").output
    assert "Did you mean 'vendi'" in refused("metrics", "show", "vendy")
    assert "Did you mean 'open-prompts'" in refused("tasks", "show", "open-prompt")


def test_engines_are_listed() -> None:
    assert invoke("engines", "list").output == "openai\nray\ntransformers\nvllm\n"


def test_losses_are_listed_and_shown() -> None:
    listed = invoke("losses", "list").output
    for name in ("ce", "focal", "tofu", "gem", "dft", "lambda-pr"):
        assert name in listed
    assert "gamma=3, beta=0.8" in listed
    assert "Formula:" in invoke("losses", "show", "tofu").output
    assert "Did you mean 'tofu'" in refused("losses", "show", "tofoo")


def test_tasks_check(tmp_path: Path) -> None:
    result = invoke("tasks", "check")
    assert result.exit_code == 0, result.output
    good = tmp_path / "good.yaml"
    good.write_text(
        "name: mine\nversion: 1\nlicence: CC0-1.0\nsource: me\nprompts:\n  - Name a fruit.\n"
    )
    assert invoke("tasks", "check", good).exit_code == 0, invoke("tasks", "check", good).output
    bad = tmp_path / "bad.yaml"
    bad.write_text(good.read_text().replace("version: 1", "versoin: 1"))
    result = invoke("tasks", "check", bad)
    assert result.exit_code == 2
    assert f"{bad}:2: " in result.stderr
    assert "version" in result.stderr


def test_leaderboard_show_validate_and_nonsense(scored: Path) -> None:
    board = scored / "leaderboard.json"
    assert "valid, schema version 3, 2 models" in invoke("leaderboard", "validate", board).output
    assert "unique_rate" in invoke("leaderboard", "show", board).output
    value = json.loads(board.read_text())
    value["rows"][0]["value"] = "nonsense"
    board.write_text(json.dumps(value))
    line = refused("leaderboard", "validate", board)
    assert "leaderboard.json" in line
    assert "nonsense" in line
    board.write_text("{nonsense")
    assert "leaderboard.json" in refused("leaderboard", "show", board)


def test_run_names_what_is_missing(tmp_path: Path) -> None:
    output = tmp_path / "run"
    assert "No run directory" in refused("run", "--model", "m=x", "--task", "open-prompts")
    assert "No models" in refused("run", "--task", "open-prompts", "--output", output)
    assert "No tasks" in refused("run", "--model", "m=x", "--output", output)
    line = refused("run", "--model", "a=x", "--model", "a=y", "--task", "t", "--output", output)
    assert "Two models are called 'a'" in line
    assert not output.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models: [", r"bad.yaml:1: not YAML"),
        ("- a", "expected fields such as 'models:' and 'tasks:'"),
        ("temprature: 1", "unknown setting 'temprature'. Did you mean 'temperature'"),
        ("samples: many", "samples should be a whole number, got 'many'"),
        ("models: !!python/object/apply:os.getcwd []", "not YAML"),
    ],
)
def test_a_bad_config_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    assert message in refused("run", "--config", path, "--output", tmp_path / "run")


def test_run_with_a_real_model_and_a_config_file(tmp_path: Path, tiny_model: Path) -> None:
    task = tmp_path / "mine.yaml"
    task.write_text(
        "name: mine\nversion: 1\nlicence: CC0-1.0\nsource: me\nsampling: {samples: 3}\n"
        "prompts:\n  - Name a fruit.\n  - Name a tree.\n"
    )
    config = tmp_path / "run.yaml"
    config.write_text(
        f"models: {{base: {tiny_model}}}\ntasks: [{task}]\noutput: {tmp_path / 'run'}\n"
        "max_tokens: 4\ntemperature: 0.5\nmetrics: [distinct_1]\n"
    )
    result = invoke("run", "--config", config, "--max-tokens", "6")
    assert result.exit_code == 0, result.output
    run = Run.open(tmp_path / "run")
    assert run.manifest["tasks"]["mine"]["sampling"] == {
        "samples": 3,
        "temperature": 0.5,
        "top_p": 1.0,
        "max_tokens": 6,
    }
    table = run.responses("base", "mine")
    assert table.num_rows == 6
    assert max(map(len, table.column("token_ids").to_pylist())) <= 6
    assert table.column("logprob").null_count == 0


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A config file with two models that are nowhere, a format for each, and a task."""
    task = tmp_path / "mine.yaml"
    task.write_text("name: mine\nversion: 1\nprompts: [Name a fruit.]\n")
    config = tmp_path / "run.yaml"
    config.write_text(
        f"models: {{a: ./nowhere, b: ./nowhere}}\nformat: {{a: base, b: sft}}\ntasks: [{task}]\n"
        f"output: {tmp_path / 'run'}\nmetrics: [unique_rate]\n"
    )
    return config


def test_the_format_of_a_model_that_flags_leave_out_is_left_out(models: Path) -> None:
    line = refused("run", "--config", models, "--model", "a=./nowhere")
    assert "There is no model at './nowhere'" in line  # so the formats were in order
    models.write_text(models.read_text().replace("b: sft", "b: sft, bb: sft"))
    for flags in ([], ["--model", "b=./nowhere"]):
        line = refused("run", "--config", models, *flags)
        assert "Unknown model 'bb'. Did you mean 'b'?" in line


def test_a_config_file_names_a_model_as_it_stands(models: Path) -> None:
    models.write_text(models.read_text().replace("a: ./nowhere", "a/b: ./nowhere"))
    assert "Invalid model name 'a/b'" in refused("run", "--config", models)


def test_a_reference_in_a_config_file_is_read_alone(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(models.parent)
    Path("a=.").mkdir()
    Path("a=.", "nowhere").mkdir()
    assert "There is no model at './nowhere'" in refused("run", "--config", models)


def test_a_model_has_one_format(models: Path) -> None:
    line = refused("run", "--config", models, "--format", "b=base", "--format", "b=sft")
    assert "--format names the model 'b' twice" in line


def test_a_baseline_for_the_table_at_the_end(tmp_path: Path, responses: Path) -> None:
    arguments = ("score", responses, "--output", tmp_path / "run", *LEXICAL)
    assert "minus sft" in invoke(*arguments, "--baseline", "sft").output
    assert "minus base" in invoke(*arguments).output
    assert "Did you mean 'sft'" in refused(*arguments, "--baseline", "stf")


def test_run_refuses_an_unknown_baseline_first(models: Path, scored: Path) -> None:
    assert "Unknown model 'c'" in refused("run", "--config", models, "--baseline", "c")
    elsewhere = ("run", "--config", models, "--output", scored.parent / "new")
    assert "Unknown model 'base'" in refused(*elsewhere, "--baseline", "base")
    # A model that the run has from before will do.
    assert "There is no model at" in refused("run", "--config", models, "--baseline", "base")


def test_nothing_that_a_terminal_would_obey_is_printed(tmp_path: Path) -> None:
    task = tmp_path / "t.yaml"
    task.write_text(
        'name: t\nversion: 1\nlicence: "\\e[2J"\nprompts: ["red \\e[31m\\nfig\\r\\u202e"]\n'
    )
    shown = invoke("tasks", "show", task).output
    assert "[1] red \\x1b[31m\nfig\\r\\u202e\n" in shown
    assert "\\x1b[2J" in shown
    line = refused("tasks", "show", "\x1b]0;title\x07\u202e\ud800")
    assert r"'\x1b]0;title\x07\u202e\ud800'" in line


LONG = "a" * 300


@pytest.mark.parametrize(
    "arguments",
    [
        ("tasks", "check", f"{LONG}.yaml"),
        ("tasks", "show", f"{LONG}.py"),
        ("run", "--model", "m=./x", "--output", "run", "--task", f"{LONG}.yaml"),
        ("run", "--config", f"{LONG}.yaml"),
        ("score", f"b={LONG}.jsonl", "--output", "run"),
    ],
)
def test_a_path_too_long_for_the_system_is_one_line(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "File name too long" in refused(*arguments)


def test_a_terminal_without_unicode_is_no_error(scored: Path) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "tofu_eval.cli", "compare", str(scored)],
        env={**os.environ, **ascii_only},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert b"unique_rate ?" in done.stdout


@pytest.mark.slow
def test_ctrl_c_is_one_line_and_keeps_what_is_finished(tmp_path: Path, tiny_model: Path) -> None:
    command = [
        *(sys.executable, "-m", "tofu_eval.cli", "run", "--model", f"m={tiny_model}"),
        *("--task", "open-prompts", "--samples", "30", "--max-tokens", "32"),
        *("--batch-size", "8", "--metric", "unique_rate", "--output", str(tmp_path / "run")),
    ]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # A shell starts what it puts into the background deaf to Ctrl-C, and children inherit it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    parts = tmp_path / "run" / "responses"
    deadline = time.monotonic() + 90
    while not list(parts.rglob("part-*")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted. What is finished is kept" in stderr
    assert "Traceback" not in stderr
    assert list(parts.rglob("part-*"))


def test_adapters_formats_and_rewards_together(
    tmp_path: Path,
    tiny_model: Path,
    tiny_adapter: Path,
    tiny_chat_model: Path,
    tiny_reward_model: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    template = tmp_path / "mine.jinja"
    template.write_text("Q: {{ prompt }}\nA:")
    output = tmp_path / "run"
    capfd.readouterr()  # what building the models printed
    result = invoke(
        *("run", "--output", output, "--task", "open-prompts", "--limit", 3, "--samples", 3),
        *("--model", f"base={tiny_model}", "--format", "base=sft"),
        *("--model", f"tofu={tiny_model}+{tiny_adapter}", "--format", f"tofu={template}"),
        *("--model", f"chat={tiny_chat_model}", "--format", "chat=chat", "--max-tokens", 6),
        *("--metric", "unique_rate", "--reward-model", tiny_reward_model, "--baseline", "chat"),
        *("--temperature", 0.7, "--top-p", 0.8, "--device", "cpu", "--dtype", "bfloat16"),
    )
    assert result.exit_code == 0, result.output
    assert "minus chat" in result.output
    assert "Loading" not in capfd.readouterr().err  # the libraries' own bars
    run = Run.open(output)
    formats = [model["prompt_format"]["open-prompts"] for model in run.manifest["models"].values()]
    assert formats[0] == "sft"
    assert formats[1].startswith("sft:")
    assert formats[2] == "chat"
    rewards = [row for row in run.scores().to_pylist() if row["metric"] == "reward"]
    assert len(rewards) == 9
    assert all(row["value"] is not None for row in rewards)
    assert run.manifest["features"]["reward"]["truncated"] == 0


def test_progress_as_json(tmp_path: Path, tiny_model: Path) -> None:
    done = invoke(
        *("run", "--model", f"m={tiny_model}", "--metric", "unique_rate", "--log-json"),
        *("--task", "open-prompts", "--limit", "2", "--samples", "2", "--max-tokens", "8"),
        *("--output", tmp_path / "run"),
    )
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    last = [line for line in lines if line["stage"] == "generate m"][-1]
    assert (last["done"], last["total"], last["seconds_left"]) == (4, 4, 0.0)
    assert last["tokens_per_second"] > 0
    assert set(lines[-1]["shares"]) == {"loading", "generation", "scoring"}
    assert sum(lines[-1]["shares"].values()) == pytest.approx(1, abs=0.01)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a full device")
def test_an_output_that_cannot_be_written_is_one_line() -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        done = subprocess.run(
            [sys.executable, "-m", "tofu_eval.cli", "losses", "list"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("Error: The system refused: No space left on device. What is")
    assert done.stderr.count("\n") == 1
