"""Task files, suites, settings, calibrations, rows of tasks and of training, models' names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from fuzz.reading import check_reader, fuzz
from fuzz.seeds import TRAINING, arrow_of, parquet_of
from fuzz.values import VALUES, as_json, damaged, faulty
from tofu_eval.core.errors import ConfigError
from tofu_eval.core.models import parse_model
from tofu_eval.core.plain_yaml import NotYaml, load_yaml
from tofu_eval.features.calibration import read_calibration, write_calibration
from tofu_eval.features.settings import read_run_file
from tofu_eval.importers.training_rows import load_examples
from tofu_eval.tasks.loader import check_task, load_task
from tofu_eval.tasks.suite import read_suite
from tofu_eval.training.settings import read_configs, train_settings

TASK: dict[str, Any] = {
    "name": "birds", "version": 1, "licence": "MIT", "source": "here", "citation": "none",
    "format": "sft", "description": "Birds.", "metrics": ["vendi"],
    "sampling": {"samples": 2, "max_tokens": 8, "temperature": 1.0},
    "prompts": ["Name a bird.", {"id": "b", "text": "Name {{ x }}.", "metadata": {"x": "one"}}],
    "wording": {"instruct": "{{ prompt }}"}, "examples": [{"prompt": "a", "answer": "b"}],
}  # fmt: skip
ROWS_TASK: dict[str, Any] = {
    **{name: value for name, value in TASK.items() if name not in ("prompts", "wording")},
    "file": {"path": "rows.jsonl",
             "fields": {"prompt": "q", "id": "n", "references": "a", "metadata": ["kind"],
                        "where": "{{ q }}", "computed": {"long": "{{ q | length }}"}}},
}  # fmt: skip
SUITE: dict[str, Any] = {
    "name": "both", "version": 1,
    "tasks": ["open-prompts", {"task": "x.yaml", "sampling": {"samples": 2}, "limit": 3}],
}  # fmt: skip
SETTINGS: dict[str, Any] = {
    "models": {"base": "a/b", "sft": "c/d@main"}, "tasks": ["open-prompts"], "samples": 8,
    "temperature": [0.7, 1.0], "metrics": ["vendi"], "engine_args": {"a": 1}, "format": "sft",
    "seed": 1, "output": "runs/x", "stop": ["a"], "base_url": {"base": "http://h/v1"},
    "embedding": {"model": "x"}, "judge": {"model": "y"}, "reasoning_tags": ["<a>,</a>"],
}  # fmt: skip
CALIBRATION: dict[str, Any] = {
    "reward_calibration": 1, "signature": "m@1", "thresholds": [float(i) for i in range(9)],
    "model": {"id": "m"}, "data": {}, "made": {},
}  # fmt: skip
TRAIN: dict[str, Any] = {
    "model": "a/b", "data": [{"path": "x.jsonl", "weight": 0.5}], "output": "out", "loss": "tofu",
    "loss_settings": {"gamma": 3.0}, "lora": {"r": 8}, "learning_rate": 1e-4, "eval_data": "y",
}  # fmt: skip

YAML_TEXTS = st.text(
    alphabet=st.sampled_from("abx01:-[]{},&*!|>'\"#%@?~.= \n\t\u2028\x85\ufeff\\"), max_size=60
)


def as_yaml(value: Any) -> bytes:
    """YAML of anything; what YAML cannot hold becomes JSON, which is YAML too."""
    try:
        text: str = yaml.safe_dump(value, allow_unicode=True)
        return text.encode("utf-8", "surrogatepass")
    except (yaml.YAMLError, ValueError):
        return as_json(value)


def documents(*good: dict[str, Any]) -> st.SearchStrategy[bytes]:
    """Files of settings: with faults, damaged, or any."""
    whole = [as_yaml(one) for one in good]
    return (
        faulty(good).map(as_yaml)
        | VALUES.map(as_yaml)
        | damaged(whole)
        | YAML_TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass"))
        | st.tuples(st.sampled_from(whole), YAML_TEXTS).map(lambda p: p[0] + p[1].encode())
    )


def write(name: str, content: bytes) -> Path:
    Path(name).write_bytes(content)
    return Path(name)


@given(content=documents(TASK))
@fuzz(40)
def test_task_files(content: bytes) -> None:
    path = write("task.yaml", content)
    task = check_reader("task files", lambda: load_task(path))
    problems = check_task(path, ["vendi"])
    assert all("\n" not in problem for problem in problems)
    if task is not None:
        assert task.load() or problems


@given(content=documents(ROWS_TASK))
@fuzz(20)
def test_task_files_whose_prompts_are_rows(content: bytes) -> None:
    write("rows.jsonl", as_json({"q": "Name a bird.", "n": 1, "a": ["owl"], "kind": "x"}))
    path = write("task.yaml", content)
    check_reader("task files with rows", lambda: load_task(path).load())


ROW = {"q": "Name a bird.", "n": 1, "a": ["owl"], "kind": "x"}


@given(
    content=st.lists(faulty([ROW]) | VALUES, min_size=1, max_size=3).map(
        lambda rows: b"\n".join(map(as_json, rows))
    )
    | damaged([as_json(ROW) + b"\n" + as_json({**ROW, "n": 2})])
)
@fuzz(26)
def test_rows_of_a_task(content: bytes) -> None:
    write("rows.jsonl", content)
    path = write("task.yaml", as_yaml(ROWS_TASK))
    check_reader("rows of a task", lambda: load_task(path).load())


@given(content=damaged([parquet_of([ROW, {**ROW, "n": 2}]) or b""]))
@fuzz(13)
def test_tables_of_a_task(content: bytes) -> None:
    write("rows.parquet", content)
    told = {**ROWS_TASK, "file": {**ROWS_TASK["file"], "path": "rows.parquet"}}
    path = write("task.yaml", as_yaml(told))
    check_reader("tables of a task", lambda: load_task(path).load())


@given(content=documents(SUITE))
@fuzz(20)
def test_suites(content: bytes) -> None:
    path = write("suite.yaml", content)
    check_reader("suites", lambda: read_suite(path))


@given(content=documents(SETTINGS))
@fuzz(40)
def test_settings_of_a_run(content: bytes) -> None:
    path = write("config.yaml", content)
    read = check_reader("settings of a run", lambda: read_run_file(path))
    if read is not None:  # and what was read can be kept
        json.dumps(read.model_dump(mode="json"))


@given(content=documents(CALIBRATION))
@fuzz(20)
def test_calibrations(content: bytes) -> None:
    path = write("calibration.yaml", content)
    read = check_reader("calibrations", lambda: read_calibration(path))
    if read is not None:
        path.write_text(write_calibration(read))
        again = read_calibration(path)
        assert replace(again, source="", signature="") == replace(read, source="", signature="")


@given(content=documents(TRAIN))
@fuzz(20)
def test_settings_of_a_training(content: bytes) -> None:
    path = write("train.yaml", content)
    check_reader("settings of a training", lambda: train_settings(read_configs([str(path)])))


@given(value=VALUES)
@fuzz(13)
def test_yaml_that_is_written_is_read(value: Any) -> None:
    content = as_yaml(value).decode("utf-8", "replace")
    try:
        seen = load_yaml(content)
    except NotYaml:
        return
    assert repr(seen) == repr(yaml.safe_load(content))


@given(rows=st.lists(faulty(TRAINING) | VALUES, min_size=1, max_size=3))
@fuzz(26)
def test_rows_to_train_on(rows: list[Any]) -> None:
    write("x.jsonl", b"\n".join(map(as_json, rows)))
    check_reader("rows to train on", lambda: load_examples("x.jsonl"))


@given(row=faulty(TRAINING))
@fuzz(13)
def test_tables_to_train_on(row: Any) -> None:
    content = parquet_of([row]) if isinstance(row, dict) else None
    if content is not None:
        write("x.parquet", content)
        check_reader("tables to train on", lambda: load_examples("x.parquet"))


@given(data=damaged([parquet_of(TRAINING[:1]) or b"", arrow_of(TRAINING[:1])]))
@fuzz(10)
def test_damaged_tables_to_train_on(data: bytes) -> None:
    write("x.parquet", data)
    check_reader("damaged tables to train on", lambda: load_examples("x.parquet"))


REFERENCES = st.text(alphabet=st.sampled_from("ab/@+=.~-: \\\0\n\ud800é"), max_size=12)


@given(text=REFERENCES | st.text(max_size=20))
@fuzz(26)
def test_names_of_models(text: str) -> None:
    check_reader("names of models", lambda: parse_model(text))


def test_aliases_are_bounded_and_their_messages_too() -> None:
    laughs = "".join(
        f"{c}: &{c} [{','.join([f'*{b}'] * 9)}]\n"
        for b, c in zip("abcdefgh", "bcdefghi", strict=True)
    )
    path = write("c.yaml", f"a: &a [x, x]\n{laughs}models: *i\n".encode())
    error = check_error(path)
    assert "more than 10,000 values" in error
    assert "an alias of what it is part of" in check_error(write("c.yaml", b"models: &m {a: *m}\n"))
    write("c.yaml", b"seed: &s 1\nsamples: *s\n")
    assert read_run_file(Path("c.yaml")).samples == 1
    write("c.yaml", b"models: [" + b"x" * 100_000 + b"]\n")
    assert len(check_error(Path("c.yaml"))) < 400


def check_error(path: Path) -> str:
    try:
        read_run_file(path)
    except ConfigError as error:
        return str(error)
    raise AssertionError("it was read")
