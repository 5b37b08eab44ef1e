"""The YAML task file: what it can say, and one line with file and line for all it cannot."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tofu_eval.core.errors import ConfigError, UnknownNameError
from tofu_eval.core.types import Message, Prompt, Sampling, Task
from tofu_eval.tasks import check_task, load_task

GOOD = """\
name: fruit
version: 2
description: Fruit, mostly.
licence: MIT
source: a kitchen
citation: Cook (1999)
format: chat
sampling:
  samples: 4
  temperature: 0.7
  top_p: 0.9
  max_tokens: 32
metrics: [self_bleu, vendi]
prompts:
  - "Name a fruit:"
  - id: pear
    text: "Is a pear a fruit?"
    references: ["yes", "Yes."]
    metadata: {level: easy}
  - id: talk
    messages:
      - {role: system, content: Be brief.}
      - {role: user, content: Hello.}
"""

HEAD = "name: fruit\nversion: 1\n"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write t.yaml and step into its folder, so that messages begin with `t.yaml:`."""
    monkeypatch.chdir(tmp_path)

    def write(content: str | bytes) -> str:
        data = content.encode() if isinstance(content, str) else content
        Path("t.yaml").write_bytes(data)
        return "t.yaml"

    return write


def test_every_field_arrives(write) -> None:
    task = load_task(write(GOOD))
    assert (task.name, task.version, task.description) == ("fruit", 2, "Fruit, mostly.")
    assert (task.licence, task.source, task.citation) == ("MIT", "a kitchen", "Cook (1999)")
    assert (task.format, task.metrics) == ("chat", ("self_bleu", "vendi"))
    assert task.sampling == Sampling(samples=4, temperature=0.7, top_p=0.9, max_tokens=32)
    assert task.origin == "t.yaml:1"
    assert list(task.load()) == [
        Prompt.of_text("1", "Name a fruit:"),
        Prompt.of_text(
            "pear",
            "Is a pear a fruit?",
            references=("yes", "Yes."),
            metadata={"level": "easy"},
        ),
        Prompt("talk", (Message("system", "Be brief."), Message("user", "Hello."))),
    ]
    assert check_task("t.yaml", known_metrics=["self_bleu", "vendi"]) == []


def test_what_is_left_out_has_the_defaults_of_the_nouns(write) -> None:
    task = load_task(write(HEAD + "prompts: [Hi]\n"))
    bare = Task("fruit", 1, load=list)
    for name in ("description", "format", "sampling", "metrics", "licence", "source", "citation"):
        assert getattr(task, name) == getattr(bare, name)


def test_categories_number_their_prompts(write) -> None:
    task = load_task(
        write(HEAD + "prompts:\n  sea: [a, {text: b, metadata: {wet: 'yes'}}]\n  sky: [c]\n")
    )
    assert [(p.id, p.text, p.metadata) for p in task.load()] == [
        ("sea-01", "a", {"category": "sea"}),
        ("sea-02", "b", {"category": "sea", "wet": "yes"}),
        ("sky-01", "c", {"category": "sky"}),
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode(),
    ],
    ids=["byte-order mark", "windows line ends", "both"],
)
def test_windows_files_are_the_same_task(write, data: bytes) -> None:
    expected = list(load_task(write(GOOD)).load())
    assert list(load_task(write(data)).load()) == expected


def test_emoji_and_what_looks_like_something_else_stay_text(write) -> None:
    task = load_task(write(HEAD + 'prompts: ["\\U0001F600 😀", 2024-01-01, =, "<<"]\n'))
    assert [p.text for p in task.load()] == ["😀 😀", "2024-01-01", "=", "<<"]


SOURCE = "give one of prompts, file, dataset"
MESSAGES = {
    # content -> all problems, word for word
    "name: a b\nversion: 1\nprompts: [x]\n": [
        "1: name may have letters, digits, '.', '_', '-' and no space, got \"a b\""
    ],
    "version: 1\nprompts: [x]\n": ["1: name is missing"],
    "name: x\nversion: 0\nprompts: [x]\n": ["2: version must be ≥ 1, got 0"],
    "name: x\nversion: 1.0\nprompts: [x]\n": ["2: version must be a whole number, got 1.0"],
    "name: x\nversion: '1'\nprompts: [x]\n": ['2: version must be a whole number, got "1"'],
    "name: 3\nversion: 1\nprompts: [x]\n": [
        "1: name must be text (in quotes, where it looks like something else), got 3"
    ],
    HEAD + "sampling:\n  temperature: -1\nprompts: [x]\n": [
        "4: sampling.temperature must be ≥ 0, got -1"
    ],
    HEAD + "sampling: {top_p: 0, samples: true}\nprompts: [x]\n": [
        "3: sampling.samples must be a whole number, got true",
        "3: sampling.top_p must be > 0, got 0",
    ],
    HEAD + "sampling: {temperature: .inf}\nprompts: [x]\n": [
        "3: sampling.temperature must be a finite number, got Infinity"
    ],
    HEAD + "prompts: [x]\nsampling:\n  temperature: 0\n": [
        "4: sampling: temperature 0 is greedy: all 10 samples would be the same text. "
        "Use samples=1 or a temperature above 0."
    ],
    HEAD + "sampling:\n  temprature: 1\nprompts: [x]\n": [
        "4: unknown key 'temprature' in sampling. Did you mean 'temperature'? "
        "Known: samples, temperature, top_p, max_tokens, top_k, min_p, repetition_penalty, stop"
    ],
    HEAD + "promts: [x]\n": [
        f"1: no prompts: {SOURCE}",
        "3: unknown key 'promts'. Did you mean 'prompts'? Known: name, version, description, "
        "licence, source, citation, format, sampling, metrics, verifier, cluster, scoring, "
        "examples, wording, file, dataset, prompts",
    ],
    HEAD + "format: raw\nprompts: [x]\n": [
        "3: format must be 'base', 'sft', 'chat', 'paper' or 'paper-math', got \"raw\""
    ],
    HEAD: [f"1: no prompts: {SOURCE}"],
    HEAD + "prompts:\n": [f"1: no prompts: {SOURCE}"],
    HEAD + "prompts: []\n": ["3: prompts must be a list of prompts, got []"],
    HEAD + "prompts: {}\n": ["3: prompts must have at least one category, got {}"],
    HEAD + "prompts: 7\n": ["3: prompts must be a list of prompts, got 7"],
    HEAD + "prompts:\n  sea:\n    - a\n  sky: []\n": [
        "6: prompts.sky must be a list of prompts, got []"
    ],
    HEAD + "file: a.jsonl\nprompts: [x]\n": [
        "3: give only one of prompts, file, dataset, got prompts and file"
    ],
    HEAD + "prompts:\n  - a\n  - '  '\n": ["5: prompt '2' is empty"],
    HEAD + "prompts:\n  - a\n  - 3\n  - b\n  -\n": [
        "5: prompts.1 must be text or a mapping, got 3",
        "7: prompts.3 must be text or a mapping, got null",
    ],
    HEAD + "prompts:\n  - id: a\n    txt: b\n": [
        "5: unknown key 'txt' in prompts.0. Did you mean 'text'? "
        "Known: id, text, messages, references, metadata, paraphrases, human, target"
    ],
    HEAD + "prompts:\n  - b\n  - id: a\n": [
        '5: prompts.1 needs either text or messages, got {"id": "a"}'
    ],
    HEAD + "prompts:\n  - id: a\n    text: b\n    messages: []\n": [
        '4: prompts.0 needs either text or messages, got '
        '{"id": "a", "text": "b", "messages": []}'
    ],
    HEAD + "prompts:\n  - id: a\n    messages: []\n": ["4: prompt 'a' has no messages"],
    HEAD + "prompts:\n  - messages:\n      - {role: bot, content: x}\n": [
        "5: prompts.0.messages.0.role must be 'system', 'user' or 'assistant', got \"bot\""
    ],
    HEAD + "prompts:\n  - messages: [{role: assistant, content: x}]\n": [
        "4: prompt '1' must end with a user's message, got one of role 'assistant'"
    ],
    HEAD + "prompts:\n  - {text: x, metadata: {level: 3}}\n": [
        "4: prompts.0.metadata.level must be text (in quotes, where it looks like something "
        "else), got 3"
    ],
    HEAD + "prompts:\n  - {id: a, text: x}\n  - b\n  - {id: a, text: y}\n": [
        "6: prompt id 'a' is used twice: line 4 and line 6"
    ],
    HEAD + "prompts:\n  - {id: '2', text: x}\n  - b\n": [
        "5: prompt id '2' is used twice: line 4 and line 5"
    ],
    HEAD + "prompts:\n  - a\nversion: 2\n": ["5: key 'version' is already set on line 2"],
    HEAD + "prompts:\n  - {text: a,\n     text: b}\n": [
        "5: key 'text' is already set on line 4"
    ],
    HEAD + "? [a]\n: b\nprompts: [x]\n": ["3: a key must be text"],
    HEAD + 'prompts:\n  - "half \\ud83d"\n': [
        "4: half a character (\\ud83d), which is not valid Unicode"
    ],
    HEAD + "prompts: [x]\nmetrics: [vendi, vendi_scor, vendi]\n": [
        "4: unknown metric 'vendi_scor'. Did you mean 'vendi'? "
        "List all: tofu-eval metrics list",
        '4: metric "vendi" is listed twice',
    ],
    HEAD + "dataset:\n  path: a/b\n  split: test\n  revision: main\n": [
        "6: dataset.revision must be a commit of 40 hex digits, so that the data is pinned "
        "(its first 7 or more will do; 'unpinned' where none is known), got \"main\""
    ],
    HEAD + "dataset:\n  path: a/b\n  split: test\n": ["3: dataset.revision is missing"],
    HEAD + "file: {path: a.jsonl, fields: {prmpt: q}}\n": [
        "3: unknown key 'prmpt' in file.fields. Did you mean 'prompt'? "
        "Known: prompt, id, references, paraphrases, human, human_rows, metadata, template, "
        "answer, where, computed"
    ],
    "": ["1: a task is a mapping with name, version and prompts, got null"],
    "- a\n": ['1: a task is a mapping with name, version and prompts, got ["a"]'],
    "name: x\n  version: 1\n": ["2: not valid YAML: mapping values are not allowed here"],
    "name: x\nprompts: [a\n": [
        "3: not valid YAML: expected ',' or ']', but got '<stream end>'"
    ],
    "name: x\n---\nname: y\n": ["2: not valid YAML: but found another document"],
    "name: x\nsource: \x07\n": ["2: not valid YAML: the character U+0007 is not allowed"],
    'name: x\nsource: "\\UFFFFFFFF"\n': [
        "2: not valid YAML: OverflowError: Python int too large to convert to C int"
    ],
    HEAD + "prompts: [x]\nsource: !!python/name:os.system x\n": [
        "4: the tag 'tag:yaml.org,2002:python/name:os.system' is not supported in a task"
    ],
    "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n": [
        "2: not valid YAML: aliases (*name) are not supported in a task; repeat the text"
    ],
    "a: " + "[" * 5000: ["1: not valid YAML: nested deeper than 20 levels"],
    HEAD + "prompts: [x]\nsource: !!int abc\n": [
        '4: "abc" cannot be read as int'
    ],
    HEAD + "prompts: [x]\nsource: !!int\n": ['4: "" cannot be read as int'],
    HEAD + "prompts: [x]\nsource: !!bool abc\n": ['4: "abc" cannot be read as bool'],
}  # fmt: skip


@pytest.mark.parametrize("content", MESSAGES, ids=lambda c: MESSAGES[c][0][:60])
def test_each_fault_has_its_line(write, content: str) -> None:
    found = check_task(write(content), known_metrics=["vendi", "self_bleu"])
    assert found == [f"t.yaml:{problem}" for problem in MESSAGES[content]]


def test_not_utf8_names_the_byte_and_the_line(write) -> None:
    found = check_task(write(b"name: x\nversion: 1\nsource: caf\xe9\n"))
    assert found == ["t.yaml:3: not UTF-8: byte 0xe9. Save the file as UTF-8."]


def test_a_huge_file_is_refused_before_it_is_parsed(write) -> None:
    found = check_task(write(HEAD + "prompts:\n" + "  - x\n" * 800_000))
    assert found == ["t.yaml:1: more than 4 MiB of YAML. Move the prompts to a JSONL file."]


def test_loading_raises_the_first_fault_and_counts_the_others(write) -> None:
    path = write("name: x\nversion: 0\nformat: raw\nprompts: ['']\n")
    with pytest.raises(ConfigError) as caught:
        load_task(path)
    assert str(caught.value) == (
        "t.yaml:2: version must be ≥ 1, got 0 (and 2 more: tofu-eval tasks check t.yaml)"
    )


def test_loading_with_one_fault_counts_nothing(write) -> None:
    with pytest.raises(ConfigError) as caught:
        load_task(write(HEAD + "prompts: ['']\n"))
    assert str(caught.value) == "t.yaml:3: prompt '1' is empty"


def test_a_yaml_file_runs_no_code(write, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    made = f"!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{trap}]]"
    with pytest.raises(ConfigError, match="is not supported in a task"):
        load_task(write(HEAD + f"prompts: [x]\nsource: {made}\n"))
    assert not trap.exists()


def test_names_and_paths_are_told_apart(write, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError) as unknown:
        load_task("opne-prompts")
    assert str(unknown.value) == (
        "Unknown task 'opne-prompts'. Did you mean 'open-prompts'? List all: tofu-eval tasks list"
    )
    with pytest.raises(ConfigError, match=r"^nope\.yaml: there is no such file\. List all: "):
        load_task("nope.yaml")
    with pytest.raises(ConfigError, match=r"^a/b: a task file ends in \.yaml, \.yml or \.py"):
        load_task("a/b")
    with pytest.raises(ConfigError, match=r"^a+\.yaml: cannot be read: File name too long\."):
        load_task("a" * 300 + ".yaml")
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(ConfigError, match=r"^folder\.yaml: there is no such file\."):
        load_task("folder.yaml")


def test_a_task_and_a_path_are_references_too(write) -> None:
    task = load_task(Path(write(GOOD)))
    assert load_task(task) is task


LINE = re.compile(r"\At\.yaml:\d+: [^\n]+\Z")


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    edits=st.lists(
        st.tuples(
            st.floats(0, 1),
            st.integers(0, 25),
            st.sampled_from(
                ["", "\n", " ", "  - ", ": ", "{", "[", "]", '"', "'", "&a ", "*a", "!!int ", "? ",
                 "\\", "\x00", "\ufeff", "\u2028", "\ud800", "#", "|", ">", "---\n", "%", "null",
                 "1e999", "0x_", "<<: ", "name: y\n", '"\\ud800"', "é", "\t"]
            ),
        ),
        min_size=1,
        max_size=4,
    )
)  # fmt: skip
def test_a_damaged_file_gives_lines_and_never_a_traceback(write, edits) -> None:
    text = GOOD
    for where, cut, insert in edits:
        at = int(where * len(text))
        text = text[:at] + insert + text[at + cut :]
    path = write(text.encode("utf-8", "surrogatepass"))
    problems = check_task(path)
    assert all(LINE.match(problem) for problem in problems)
    if problems:
        with pytest.raises(ConfigError, match=r"\At\.yaml:\d+: [^\n]+\Z"):
            load_task(path)
    else:
        assert load_task(path).load()


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.binary(max_size=60))
def test_any_bytes_at_all_give_lines(write, data: bytes) -> None:
    problems = check_task(write(data))
    assert problems
    assert all(LINE.match(problem) for problem in problems)
