"""Rows to train on: every form, and what is wrong with them in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tofu_eval.core.errors import ConfigError, DataError
from tofu_eval.importers.training_rows import content_digest, load_examples

USER, ANSWER = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}

FORMS: dict[str, tuple[dict[str, Any], list[tuple[str, str]], str]] = {
    "prompt-completion": (
        {"prompt": "Name a fruit.", "completion": "A quince."},
        [("user", "Name a fruit.")],
        "A quince.",
    ),
    "prompt-completion in messages": (
        {"prompt": [USER], "completion": [ANSWER]}, [("user", "Hi")], "Hello.",
    ),
    "messages": (
        {"messages": [{"role": "system", "content": "Be kind."}, USER, ANSWER, USER, ANSWER]},
        [("system", "Be kind."), ("user", "Hi"), ("assistant", "Hello."), ("user", "Hi")],
        "Hello.",
    ),
    "alpaca": (
        {"instruction": "Add.", "input": "1 2", "output": "3", "text": "…"},
        [("user", "Add.\n\n1 2")],
        "3",
    ),
    "alpaca without input": (
        {"instruction": "Sing.", "input": "", "output": "La."}, [("user", "Sing.")], "La.",
    ),
    "ultrafeedback": (
        {"instruction": "Sing.", "source": "flan", "completions": [
            {"response": "no", "overall_score": 3.0}, {"response": "La.", "overall_score": 8.5},
            {"response": "Lo.", "overall_score": 8.5}, {"response": "?", "overall_score": None},
        ]},
        [("user", "Sing.")],
        "La.",
    ),
    "numina": (
        {"problem": "1+1?", "solution": "2", "source": "x"}, [("user", "1+1?")], "2",
    ),
}  # fmt: skip


def write(path: Path, rows: list[Any]) -> str:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
def test_every_form(form, name, tmp_path):
    row, messages, completion = FORMS[form]
    found = load_examples(write(tmp_path / name, [row, row]))
    assert [e.row for e in found.rows] == [1, 2]
    for example in found.rows:
        assert [(m.role, m.content) for m in example.messages] == messages
        assert example.completion == completion
    assert found.identity["kind"] == "file"


@pytest.mark.parametrize("form", FORMS)
def test_the_same_rows_from_a_hub_data_set(form, tmp_path, monkeypatch):
    """The real `load_dataset`, on a folder in the place of the Hub's files."""
    row, _, completion = FORMS[form]
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder / "train.parquet", [row])
    load = datasets.load_dataset
    asked = []

    def from_folder(repo: str, *, split: str, revision: str | None) -> Any:
        asked.append((repo, revision))
        return load(str(folder), split=split, cache_dir=str(tmp_path / "cache"))

    monkeypatch.setattr(datasets, "load_dataset", from_folder)
    found = load_examples("org/name@abc")
    assert asked == [("org/name", "abc")]
    assert [e.completion for e in found.rows] == [completion]
    assert found.identity == {"kind": "hub", "id": "org/name", "revision": "abc"}
    local = load_examples(write(tmp_path / "rows.jsonl", [row]))
    assert content_digest(found.rows) == content_digest(local.rows)


def test_the_rules_of_the_papers_sources(tmp_path):
    alpaca = [{"instruction": "a", "input": "", "output": text} for text in ("x", "", "  ")]
    found = load_examples(write(tmp_path / "alpaca.jsonl", alpaca))
    assert len(found.rows) == 1
    assert found.dropped == {"an empty output": 2}

    def rated(score: float | None) -> dict[str, Any]:
        return {"instruction": "a", "completions": [{"response": "x", "overall_score": score}]}

    rows = [rated(score) for score in (6.99, 7.0, 10.0, None)]
    found = load_examples(write(tmp_path / "uf.jsonl", rows))
    assert [e.row for e in found.rows] == [2, 3]
    assert found.dropped == {"no completion with an overall score of at least 7": 2}


def test_the_digest_is_of_what_is_learnt(tmp_path):
    one = load_examples(write(tmp_path / "a.jsonl", [{"prompt": "Hi", "completion": "x"}]))
    same = load_examples(write(tmp_path / "b.jsonl", [{"messages": [
        USER, {"role": "assistant", "content": "x"}]}]))  # fmt: skip
    other = load_examples(write(tmp_path / "c.jsonl", [{"prompt": "Hi", "completion": "y"}]))
    assert content_digest(one.rows) == content_digest(same.rows) != content_digest(other.rows)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"prompt": "a", "completion": "b"}, {"prompt": "a"}],
            "row 2: expected the fields prompt and completion; messages; instruction and output; "
            "instruction and completions; problem and solution; got prompt. Mend that row",
        ),
        ([{"text": "a"}], "row 1: expected the fields prompt and completion; messages;"),
        ([7], "row 1: expected an object with fields, got int"),
        ([{"prompt": 1, "completion": "b"}], "'prompt' must be text or a list of messages"),
        ([{"prompt": "a", "completion": 3}], "'completion' must be text, got int"),
        ([{"prompt": "a", "completion": [USER]}], "must be text or one message of the assistant"),
        ([{"messages": [USER]}], "'messages' must end with a turn of the assistant"),
        ([{"messages": [ANSWER]}], "'messages' must end with a turn of the assistant"),
        (
            [{"messages": [{"role": "tool", "content": "x"}, ANSWER]}],
            "role 'tool' in 'messages'; expected system, user or assistant",
        ),
        ([{"messages": [{"role": "user"}, ANSWER]}], "must be an object with role and content"),
        (
            [{"prompt": "a", "completion": text} for text in ("", "x", " \n")],
            "2 rows have an empty completion (row 1, 3), from which nothing can be learnt.",
        ),
        ([{"instruction": "a", "completions": "text"}], "must be a list of objects"),
        (
            [{"instruction": "a", "completions": [{"overall_score": 9}]}],
            "'response' must be text, got NoneType",
        ),
        (
            [{"instruction": "a", "completions": [{"response": "b", "overall_score": "N/A"}]}],
            "'overall_score' must be a number, got 'N/A'",
        ),
        ([], "has no rows to train on"),
        ([{"instruction": "a", "output": ""}], "has no rows to train on"),
    ],
)
def test_bad_rows(rows, message, tmp_path):
    with pytest.raises(DataError) as caught:
        load_examples(write(tmp_path / "rows.jsonl", rows))
    assert message in str(caught.value)
    assert str(tmp_path / "rows.jsonl") in str(caught.value)


def test_bad_files(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"Cannot read .*nothing\.jsonl: No such file"):
        load_examples(str(tmp_path / "nothing.jsonl"))
    with pytest.raises(ConfigError, match="no such file, and it is not a Hub id"):
        load_examples("./nothing/at/all")
    (tmp_path / "bad.jsonl").write_text('{"prompt": "a", "completion": "b"}\n{"prompt"\n')
    with pytest.raises(DataError, match=r"bad\.jsonl, line 2: not JSON"):
        load_examples(str(tmp_path / "bad.jsonl"))

    def offline(*_: Any, **__: Any) -> Any:
        raise ConnectionError("no network\nhere")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(DataError, match=r"'org/name' cannot be loaded: .* no network here Check"):
        load_examples("org/name")
