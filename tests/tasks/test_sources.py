"""Prompts from a JSONL file and from a dataset."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tofu_eval.core.errors import ConfigError, MissingDependencyError
from tofu_eval.core.types import Message, Prompt
from tofu_eval.tasks import check_task, load_task

HEAD = "name: fruit\nversion: 1\n"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def jsonl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write t.yaml and data/p.jsonl; messages begin with `data/p.jsonl:`."""
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()

    def write(content: str | bytes, fields: str = "{}") -> str:
        data = content.encode() if isinstance(content, str) else content
        Path("data/p.jsonl").write_bytes(data)
        Path("t.yaml").write_text(f"{HEAD}file: {{path: data/p.jsonl, fields: {fields}}}\n")
        return "t.yaml"

    return write


ALL_FIELDS = "{prompt: q, id: key, references: gold, metadata: [level, hard]}"


def test_every_field_arrives(jsonl) -> None:
    rows = [
        {"q": "Name a fruit:", "key": "a", "gold": ["apple", "pear"], "level": 2, "hard": True},
        {"q": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
         "key": 7, "gold": "hello", "level": "x", "hard": None, "unused": 1},
    ]  # fmt: skip
    task = load_task(jsonl("\n".join(map(json.dumps, rows)), ALL_FIELDS))
    assert task.load() == [
        Prompt.of_text(
            "a",
            "Name a fruit:",
            references=("apple", "pear"),
            metadata={"level": "2", "hard": "true"},
        ),
        Prompt(
            "7",
            (Message("system", "Be brief."), Message("user", "Hi")),
            ("hello",),
            {"level": "x"},
        ),
    ]


def test_the_short_form_numbers_the_rows(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"prompt": "a"}\n\n{"prompt": "b"}\n')
    (tmp_path / "t.yaml").write_text(HEAD + "file: p.jsonl\n")
    assert load_task(tmp_path / "t.yaml").load() == [
        Prompt.of_text("1", "a"),
        Prompt.of_text("2", "b"),
    ]


def test_windows_files_emoji_and_line_separators(jsonl) -> None:
    rows = '{"prompt": "😀"}\r\n{"prompt": "\\ud83d\\ude00"}\r\n{"prompt": "a\u2028b"}\r\n'
    task = load_task(jsonl(b"\xef\xbb\xbf" + rows.encode()))
    assert [prompt.text for prompt in task.load()] == ["😀", "😀", "a\u2028b"]


MESSAGES = [
    # content, fields, all problems, word for word
    ("", "{}", ["1: the file has no prompts"]),
    ("\n \n", "{}", ["1: the file has no prompts"]),
    (
        '{"prompt": "a"}\n{"prompt": \n{"prompt": "b"} x\n',
        "{}",
        ["2: not valid JSON: Expecting value at column 12",
         "3: not valid JSON: Extra data at column 17"],
    ),
    ("[1]", "{}", ["1: a row must be a JSON object, got [1]"]),
    ('{"text": "a"}', "{}", ["1: field 'prompt' (prompt) is missing, the row has 'text'"]),
    ("{}", "{}", ["1: field 'prompt' (prompt) is missing, the row has nothing"]),
    ('{"prompt": "a"}', "{id: key}", ["1: field 'key' (id) is missing, the row has 'prompt'"]),
    (
        '{"prompt": 3}',
        "{}",
        ["1: prompt must be text or messages with role (system, user, assistant) and content, "
         "got 3"],
    ),
    (
        '{"prompt": [{"role": "bot", "content": "a"}]}',
        "{}",
        ["1: prompt must be text or messages with role (system, user, assistant) and content, "
         'got {"role": "bot", "content": "a"}'],
    ),
    ('{"prompt": []}', "{}", ["1: prompt '1' has no messages"]),
    ('{"prompt": "a"}\n{"prompt": " "}', "{}", ["2: prompt '2' is empty"]),
    (
        '{"prompt": "a \\ud83d"}',
        "{}",
        ["1: prompt '1' holds half a character (\\ud83d), which is not valid Unicode"],
    ),
    ('{"prompt": "a", "id": true}', "{id: id}", ["1: id must be text or a whole number, got true"]),
    ('{"prompt": "a", "id": ""}', "{id: id}", ['1: id must be text or a whole number, got ""']),
    (
        '{"prompt": "a", "gold": [1]}',
        "{references: gold}",
        ["1: references must be text or a list of texts, got [1]"],
    ),
    (
        '{"prompt": "a", "level": [1]}',
        "{metadata: [level]}",
        ["1: field 'level' (metadata) must be text or a number, got [1]"],
    ),
    (
        '{"prompt": "a", "id": 1}\n\n{"prompt": "b", "id": "1"}',
        "{id: id}",
        ["3: prompt id '1' is used twice: line 1 and line 3"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "fields", "problems"), MESSAGES, ids=[m[2][0][:60] for m in MESSAGES]
)
def test_each_fault_has_its_line(jsonl, content: str, fields: str, problems: list[str]) -> None:
    path = jsonl(content, fields)
    assert check_task(path) == [f"data/p.jsonl:{problem}" for problem in problems]


def test_a_tower_of_brackets_is_not_valid_json(jsonl) -> None:
    (problem,) = check_task(jsonl("[" * 100_000))
    assert problem.startswith("data/p.jsonl:1: not valid JSON: RecursionError: ")


def test_not_utf8_names_the_byte_and_the_line(jsonl) -> None:
    assert check_task(jsonl(b'{"prompt": "a"}\n{"prompt": "\xff"}\n')) == [
        "data/p.jsonl:2: not UTF-8: byte 0xff. Save the file as UTF-8."
    ]


def test_a_missing_file_is_told_at_the_line_that_names_it(jsonl) -> None:
    path = jsonl("")
    Path("data/p.jsonl").unlink()
    assert check_task(path) == ["t.yaml:3: file: data/p.jsonl: there is no such file"]


def test_a_path_too_long_for_the_system_is_told_there_too(jsonl) -> None:
    path, name = Path(jsonl("")), "a" * 300
    path.write_text(path.read_text().replace("data/p.jsonl", name))
    assert check_task(path) == [f"t.yaml:3: file: {name}: cannot be read: File name too long"]


def test_the_file_is_read_late_with_the_same_error(jsonl) -> None:
    task = load_task(jsonl("{}"))
    with pytest.raises(ConfigError, match=r"^data/p\.jsonl:1: field 'prompt' \(prompt\) is miss"):
        task.load()


class FakeDatasets:
    """What `read_hub` needs of the package `datasets`."""

    def __init__(self, rows: list[dict[str, object]] | Exception) -> None:
        self.rows = rows
        self.asked: tuple[object, ...] = ()

    def load_dataset(self, path: str, name: str | None, *, split: str, revision: str):
        self.asked = (path, name, split, revision)
        if isinstance(self.rows, Exception):
            raise self.rows
        return self.rows


HUB = HEAD + (
    "dataset:\n  path: a/b\n  name: sub\n  split: test\n"
    f"  revision: {COMMIT}\n  fields: {{prompt: q, id: key}}\n"
)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("t.yaml").write_text(HUB)

    def install(rows: object) -> FakeDatasets:
        fake = FakeDatasets(rows)
        monkeypatch.setitem(sys.modules, "datasets", fake)
        return fake

    return install


def test_a_dataset_is_asked_for_at_its_commit(hub) -> None:
    fake = hub([{"q": "a", "key": 5}, {"q": "b", "key": 6}])
    task = load_task("t.yaml")
    assert fake.asked == ()  # not before it is needed
    assert task.load() == [Prompt.of_text("5", "a"), Prompt.of_text("6", "b")]
    assert fake.asked == ("a/b", "sub", "test", COMMIT)


def test_checking_does_not_ask_the_hub(hub) -> None:
    fake = hub(ConnectionError("no network"))
    assert check_task("t.yaml") == []
    assert fake.asked == ()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            ConnectionError("no route\nand a long story"),
            "cannot be loaded: ConnectionError: no route. Without the Hub: --data-dir DIR, after "
            f"hf download a/b --repo-type dataset --revision {COMMIT} --local-dir DIR/a__b",
        ),
        ([], "has no rows in 'test'"),
    ],
)
def test_a_dataset_that_cannot_be_had_is_one_line(hub, rows: object, message: str) -> None:
    hub(rows)
    with pytest.raises(ConfigError) as caught:
        load_task("t.yaml").load()
    assert str(caught.value) == f"t.yaml:3: the dataset 'a/b' at 0123456 {message}"


def test_a_bad_row_of_a_dataset_is_named(hub) -> None:
    hub([{"q": "a", "key": 5}, {"q": "b"}, {"q": "c", "key": 5}])
    with pytest.raises(ConfigError) as caught:
        load_task("t.yaml").load()
    assert str(caught.value) == (
        "t.yaml:3: row 2 of the dataset 'a/b' at 0123456: field 'key' (id) is missing, "
        "the row has 'q' (and 1 more: tofu-eval tasks check t.yaml)"
    )


def test_twice_the_same_id_names_both_rows(hub) -> None:
    hub([{"q": "a", "key": 5}, {"q": "c", "key": 5}])
    with pytest.raises(
        ConfigError, match=r"^t\.yaml:3: prompt id '5' is used twice: row 1 and row 2$"
    ):
        load_task("t.yaml").load()


def test_without_the_package_the_command_is_named(hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingDependencyError) as caught:
        load_task("t.yaml").load()
    assert str(caught.value) == (
        "The dataset 'a/b' at 0123456 needs the package 'datasets', which is not installed. "
        "Install it: pip install 'tofu-eval[hf]'"
    )


@pytest.mark.slow
def test_the_real_package_reads_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "test.jsonl").write_text('{"q": "a", "key": "x"}\n{"q": "b", "key": "y"}\n')
    yaml = HUB.replace("a/b", str(folder)).replace("  name: sub\n", "")
    (tmp_path / "t.yaml").write_text(yaml)
    assert load_task(tmp_path / "t.yaml").load() == [
        Prompt.of_text("x", "a"),
        Prompt.of_text("y", "b"),
    ]


@pytest.mark.slow
def test_the_real_package_offline_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "t.yaml").write_text(HUB)
    with pytest.raises(
        ConfigError, match=r"t\.yaml:3: the dataset 'a/b' at 0123456 cannot be load"
    ):
        load_task(tmp_path / "t.yaml").load()
