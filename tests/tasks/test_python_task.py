"""Tasks that are Python functions, registered or in a file of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tofu_eval.core.errors import ConfigError, DuplicateNameError
from tofu_eval.core.types import Prompt, Sampling
from tofu_eval.tasks import TASKS, check_task, load_task, task

MINE = """\
from tofu_eval import Prompt, Sampling, task

@task(
    name="mine",
    version=2,
    format="sft",
    sampling=Sampling(samples=3),
    metrics=("vendi",),
    citation="Me",
)
def mine():
    yield "One:"
    yield Prompt.of_text("two", "Two:")
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def write(content: str) -> str:
        Path("t.py").write_text(content)
        return "t.py"

    return write


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test registers into a copy."""
    TASKS.get("open-prompts")
    monkeypatch.setattr(TASKS, "_items", dict(TASKS._items))


def test_a_file_gives_its_task(write) -> None:
    found = load_task(write(MINE))
    assert (found.name, found.version, found.format) == ("mine", 2, "sft")
    assert (found.sampling, found.metrics) == (Sampling(samples=3), ("vendi",))
    assert (found.citation, found.origin) == ("Me", "t.py:3")
    assert found.load() == [Prompt.of_text("1", "One:"), Prompt.of_text("two", "Two:")]
    assert check_task("t.py", known_metrics=["vendi"]) == []


def test_a_file_registers_nothing_and_can_be_edited_and_read_again(write) -> None:
    load_task(write(MINE))
    again = load_task(write("\n\n" + MINE.replace("version=2", "version=3")))
    assert (again.version, again.origin) == (3, "t.py:5")
    assert "mine" not in [entry.name for entry in TASKS.entries()]


def test_a_registered_function_stays_itself_and_is_called_late() -> None:
    calls = []

    def prompts() -> list[str]:
        calls.append(1)
        return ["a", "b"]

    assert task(name="late", version=1)(prompts) is prompts
    found = load_task("late")
    assert calls == []
    assert [prompt.id for prompt in found.load()] == ["1", "2"]
    assert calls == [1]


def test_two_places_with_one_name_are_both_named() -> None:
    def first() -> list[str]:
        return ["a"]

    def second() -> list[str]:
        return ["a"]

    task(name="twin", version=1)(first)
    with pytest.raises(DuplicateNameError) as caught:
        task(name="twin", version=1)(second)
    places = [f"{__file__}:{f.__code__.co_firstlineno}" for f in (first, second)]
    assert str(caught.value) == (
        f"Two tasks are called 'twin': {places[0]} and {places[1]}. Rename one of them."
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "a b"}, "name may have letters, digits, '.', '_', '-' and no space, got \"a b\""),
        ({"version": 0}, "version must be ≥ 1, got 0"),
        (
            {"format": "raw"},
            "format must be 'base', 'sft', 'chat', 'paper' or 'paper-math', got \"raw\"",
        ),
        ({"metrics": "vendi"}, 'metrics must be a list, got "vendi"'),
        ({"metrics": ("vendi", "vendi")}, 'metric "vendi" is listed twice'),
        ({"licence": None}, "licence must be text (in quotes, where it looks like something else), "
                            "got null"),
    ],
)  # fmt: skip
def test_settings_are_checked_when_it_registers(settings: dict[str, object], message: str) -> None:
    def prompts() -> list[str]:
        return ["a"]

    with pytest.raises(ConfigError) as caught:
        task(**{"name": "x", "version": 1, **settings})(prompts)
    assert str(caught.value) == f"{__file__}:{prompts.__code__.co_firstlineno}: {message}"


def test_a_function_that_wants_arguments_is_refused() -> None:
    def prompts(n: int) -> list[str]:
        return ["a"] * n

    with pytest.raises(ConfigError, match=r": a task is called without arguments, this takes \['n"):
        task(name="x", version=1)(prompts)


def body(text: str) -> str:
    return "from tofu_eval import task\n@task(name='x', version=1)\ndef prompts():\n" + text


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        ("x = 1\n", ["t.py:1: a task file has exactly one @task, this has 0"]),
        (
            MINE + MINE.replace('"mine"', '"yours"'),
            ["t.py:1: a task file has exactly one @task, this has 2: mine, yours"],
        ),
        ("def f(:\n", ["t.py:1: SyntaxError: invalid syntax (t.py, line 1)"]),
        ("x = 1\nraise ValueError('no\\nsecond line')\n", ["t.py:2: ValueError: no"]),
        ("import sys\n\nsys.exit()\n", ["t.py:3: SystemExit"]),
        (MINE.replace("version=2", "version='2'"),
         ['t.py:3: version must be a whole number, got "2"']),
        (MINE, ["t.py:3: unknown metric 'vendi'. List all: tofu-eval metrics list"]),
        (body("    return []\n"), ["t.py:2: the task has no prompts"]),
        (body("    return 'abc'\n"), ["t.py:2: prompt 1 must be text or a Prompt, got \"abc\""]),
        (body("    return ['a', 3]\n"), ["t.py:2: prompt 2 must be text or a Prompt, got 3"]),
        (body("    return ['a', ' ']\n"), ["t.py:2: prompt '2' is empty"]),
        (body("    return ['\\ud83d']\n"),
         ["t.py:2: prompt '1' holds half a character (\\ud83d), which is not valid Unicode"]),
        (body("    from tofu_eval import Prompt\n    return ['a', Prompt.of_text('1', 'b')]\n"),
         ["t.py:2: prompt id '1' is used twice: prompt 1 and prompt 2"]),
        (body("    yield 'a'\n    yield {}['b']\n"), ["t.py:5: KeyError: 'b'"]),
        (body("    pass\n"), ["t.py:2: TypeError: 'NoneType' object is not iterable"]),
    ],
)  # fmt: skip
def test_each_fault_has_its_line(write, content: str, problems: list[str]) -> None:
    assert check_task(write(content), known_metrics=[]) == problems


def test_a_foreign_error_is_kept_as_the_cause(write) -> None:
    with pytest.raises(ConfigError) as caught:
        load_task(write(body("    yield {}['b']\n"))).load()
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_file_may_use_another_package_that_registers(write, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "helper_package.py").write_text(body("    return ['a']\n"))
    monkeypatch.syspath_prepend(tmp_path)
    found = load_task(write("import helper_package\n" + MINE))
    assert found.name == "mine"
    assert TASKS.get("x").load() == [Prompt.of_text("1", "a")]


def test_generators_may_use_a_seed() -> None:
    @task(name="seeded", version=1)
    def seeded() -> Iterator[str]:
        import random

        stream = random.Random(0)
        for _ in range(3):
            yield f"Tell me about {stream.randrange(100)}:"

    found = load_task("seeded")
    assert found.load() == found.load()
