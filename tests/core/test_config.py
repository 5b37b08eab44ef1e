"""Settings: the same words for what is wrong in a file, in flags and in Python."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tofu_eval.core.config import RunFile, Settings
from tofu_eval.core.errors import ConfigError
from tofu_eval.core.sections import settings_of
from tofu_eval.features.base import sections
from tofu_eval.features.judge import JudgeSettings
from tofu_eval.features.settings import read_run_file, read_settings

DOC = (Path(__file__).parents[2] / "docs" / "config.md").read_text("utf-8")
FORMATS = (
    "base, sft, chat, paper, paper-math or a .jinja file, "
    "or a mapping with one of these for each model"
)
QUOTES = "(in quotes, where it looks like something else)"


def refused(text: str, folder: Path) -> str:
    """What is wrong with a config file, after its path."""
    path = folder / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_run_file(path)
    return str(caught.value).removeprefix(str(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("samples: 2\nseed: 1\nsamples: 3\n", ":3: the key 'samples' is already set on line 1"),
        ("models: {a: X, a: Y}\n", ":1: the key 'a' is already set on line 1"),
        ("models:\n  a: X\n  b: Y\n  'a': Z\n", ":4: the key 'a' is already set on line 2"),
        ("format:\n  a: sft\n  a: sft\n", ":3: the key 'a' is already set on line 2"),
    ],
)
def test_a_key_that_stands_twice_is_refused(text: str, message: str, tmp_path: Path) -> None:
    assert refused(text, tmp_path) == f"{message}. Remove one of them."


def test_a_merge_is_not_a_repetition(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("models: &all {a: X, b: Y}\nformat: {<<: *all, a: sft}\n")
    assert read_run_file(tmp_path / "run.yaml").format == {"a": "sft", "b": "Y"}


WRONG = [
    ("temperature", True, "temperature should be a number, got True."),
    ("top_p", True, "top_p should be a number, got True."),
    ("temperature", "hot", "temperature should be a number, got 'hot'."),
    ("samples", 2.5, "samples should be a whole number, got 2.5."),
    ("metrics", "vendi", "metrics should be a list of names, got 'vendi'."),
    ("metrics", ["vendi", 1], f"metrics.1 should be text {QUOTES}, got 1."),
    ("format", 3, f"format should be {FORMATS}, got 3."),
    ("format", {"a": 3}, f"format should be {FORMATS}, got {{'a': 3}}."),
    ("trust_remote_code", "perhaps", "trust_remote_code should be true or false, got 'perhaps'."),
    ("seed", -1, "seed should be greater than or equal to 0, got -1."),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_a_wrong_value_in_python_and_in_a_file(
    name: str, value: object, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_settings({name: value})
    assert str(caught.value) == message
    # A Python literal of these kinds is YAML as well.
    assert refused(f"{name}: {value!r}\n", tmp_path) == f": {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tasks: open-prompts", "tasks should be a list of names, got 'open-prompts'."),
        ("models: [a]", "models should be a mapping of names, got ['a']."),
        ("models: {a: 1}", f"models.a should be text {QUOTES}, got 1."),
        ("models: {1: a}", f"a name in models should be text {QUOTES}, got 1."),
        ("1: a", "unknown setting '1'. Known: metrics"),
        ("seed: 2024-13-45", "not YAML: month must be in 1..12."),
    ],
)
def test_what_only_a_file_can_say_wrongly(text: str, message: str, tmp_path: Path) -> None:
    assert refused(text, tmp_path).startswith(f": {message}")


def test_a_whole_number_is_a_temperature() -> None:
    assert read_settings({"temperature": 1, "top_p": 1}).temperature == 1.0


def test_the_example_in_the_docs_is_right(tmp_path: Path) -> None:
    example, _ = re.findall(r"```yaml\n(.*?)```", DOC, flags=re.DOTALL)
    (tmp_path / "run.yaml").write_text(example)
    file = read_run_file(tmp_path / "run.yaml")
    assert file.models == {
        "base": "models/base",
        "sft": "org/tuned@main",
        "tofu": "models/base+adapters/tofu",
    }
    assert (file.output, file.tasks) == (
        Path("runs/narrowing"),
        ("open-prompts", "tasks/mine.yaml"),
    )
    given = file.model_dump(exclude_unset=True, exclude={"models", "tasks", "output"})
    assert read_settings(given).format == {"sft": "chat"}


def test_the_example_of_sections_in_the_docs_is_right(tmp_path: Path) -> None:
    _, example = re.findall(r"```yaml\n(.*?)```", DOC, flags=re.DOTALL)
    (tmp_path / "run.yaml").write_text(example)
    given = read_run_file(tmp_path / "run.yaml").model_dump(exclude_unset=True)
    assert given == {
        "reward": {"model": "models/reward", "engine": "vllm"},
        "judge": {"model": "org/judge", "repeats": 3},
        "equivalence": {"method": "judge"},
    }
    chosen = read_settings(given)
    assert (chosen.section(JudgeSettings).repeats, chosen.section(JudgeSettings).max_tokens) == (
        *(3, 512),
    )


WRONG_IN_SECTIONS = [
    ("judge: {repeats: 0}", "judge.repeats should be greater than or equal to 1, got 0."),
    ("judge: {repeats: true}", "judge.repeats should be a whole number, got True."),
    ("harm: {threshold: 1.5}", "harm.threshold should be less than or equal to 1, got 1.5."),
    (
        "reward: a/model",
        "reward should be a mapping with some of model, engine, base_url, calibration, "
        "got 'a/model'.",
    ),
    (
        "reward: {modle: x}",
        "unknown setting 'reward.modle'. Did you mean 'reward.model'? "
        "Known: reward.model, reward.engine, reward.base_url, reward.calibration.",
    ),
    ("reward_model: x", "unknown setting 'reward_model'. Did you mean 'reward.model'? Known: "),
    ("equivalence_threshold: 1", "unknown setting 'equivalence_threshold'. Did you mean 'equi"),
    (
        "reward: {engine: tgi}",
        "reward.engine should be 'transformers', 'vllm' or 'openai', got 'tgi'.",
    ),
    ("judge: {engine_args: [a]}", "judge.engine_args should be a mapping of names, got ['a']."),
]


@pytest.mark.parametrize(("text", "message"), WRONG_IN_SECTIONS)
def test_a_section_that_is_wrong(text: str, message: str, tmp_path: Path) -> None:
    assert refused(text, tmp_path).startswith(f": {message}")


def test_the_docs_have_every_field_and_its_default() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| .* \| (.*) \|$", DOC, flags=re.MULTILINE)
    declared = [one for kind in sections() for one in settings_of(kind) if is_built_in(kind)]
    assert [name for name, _ in rows] == [*RunFile.model_fields, *(one.path for one in declared)]
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    defaults |= {one.path: one.default for one in declared}
    for name, left_out in rows:
        default = defaults.get(name)
        if default not in (None, (), {}):
            assert left_out == f"`{'false' if default is False else default}`"


def is_built_in(kind: type) -> bool:
    return kind.__module__.startswith("tofu_eval.")
