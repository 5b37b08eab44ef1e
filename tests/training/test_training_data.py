"""Rows to train on: every form, and what is wrong with them in one line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tofu_eval.core.errors import ConfigError, DataError
from tofu_eval.importers.training_rows import content_digest, load_examples, load_mixture

USER, ANSWER = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}

FORMS: dict[str, tuple[dict[str, Any], list[tuple[str, str, bool]]]] = {
    "prompt-completion": (
        {"prompt": "Name a fruit.", "completion": "A quince."},
        [("user", "Name a fruit.", False), ("assistant", "A quince.", True)],
    ),
    "prompt-completion in messages": (
        {"prompt": [USER, ANSWER, USER], "completion": [ANSWER]},
        [("user", "Hi", False), ("assistant", "Hello.", False), ("user", "Hi", False),
         ("assistant", "Hello.", True)],
    ),
    "messages": (
        {"messages": [{"role": "system", "content": "Be kind."}, USER, ANSWER, USER, ANSWER]},
        [("system", "Be kind.", False), ("user", "Hi", False), ("assistant", "Hello.", True),
         ("user", "Hi", False), ("assistant", "Hello.", True)],
    ),
    "messages that begin with a greeting, weighted": (
        {"messages": [ANSWER, USER, {**ANSWER, "weight": 0}, USER, {**ANSWER, "weight": 1}]},
        [("assistant", "Hello.", False), ("user", "Hi", False), ("assistant", "Hello.", False),
         ("user", "Hi", False), ("assistant", "Hello.", True)],
    ),
    "sharegpt": (
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}],
         "system": "Be kind."},
        [("system", "Be kind.", False), ("user", "Hi", False), ("assistant", "Hello.", True)],
    ),
    "alpaca": (
        {"instruction": "Add.", "input": "1 2", "output": "3", "text": "…"},
        [("user", "Add.", False), ("assistant", "3", True)],
    ),
    "alpaca with a history": (
        {"instruction": "Sing.", "input": "", "output": "La.", "system": "S",
         "history": [["Hi", "Hello."]]},
        [("system", "S", False), ("user", "Hi", False), ("assistant", "Hello.", True),
         ("user", "Sing.", False), ("assistant", "La.", True)],
    ),
    "ultrafeedback": (
        {"instruction": "Sing.", "source": "flan", "completions": [
            {"response": "no", "overall_score": 3.0}, {"response": "La.", "overall_score": 8.5},
            {"response": "Lo.", "overall_score": 8.5}, {"response": "?", "overall_score": None},
        ]},
        [("user", "Sing.", False), ("assistant", "La.", True)],
    ),
    "numina": (
        {"problem": "1+1?", "solution": "2", "source": "x"},
        [("user", "1+1?", False), ("assistant", "2", True)],
    ),
}  # fmt: skip
"""A row of each form, and what is learnt of it."""


def write(path: Path, rows: list[Any]) -> str:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
def test_every_form(form, name, tmp_path):
    row, turns = FORMS[form]
    loaded = load_examples(write(tmp_path / name, [row, row]))
    assert [e.row for e in loaded.rows] == [1, 2]
    for example in loaded.rows:
        assert [(t.role, t.content, t.learnt) for t in example.turns] == turns
        assert example.input == row.get("input", "")
    assert loaded.identity["kind"] == "file"
    assert loaded.unused <= {"source"}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_rows_from_a_hub_data_set(form, tmp_path, monkeypatch):
    """The real `load_dataset`, on a folder in the place of the Hub's files."""
    row, turns = FORMS[form]
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
    assert [(t.role, t.content, t.learnt) for t in found.rows[0].turns] == turns
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
            "row 2: expected the fields input_ids; prompt and completion; messages; conversations; "
            "instruction and output; "
            "instruction and completions; problem and solution; text; got prompt. Mend that row",
        ),
        ([{"chosen": "a", "rejected": "b"}], "got chosen, rejected. Mend that row"),
        ([7], "row 1: expected an object with fields, got int"),
        ([{"prompt": 1, "completion": "b"}], "'prompt' must be text or a list of messages"),
        ([{"prompt": "a", "completion": 3}], "'completion' must be text or messages, got int"),
        ([{"prompt": "a", "completion": [USER]}], "must be text, or end with a message of the"),
        ([{"messages": [USER]}], "'messages' must end with a turn of the assistant"),
        ([{"messages": [ANSWER]}], "'messages' must end with a turn of the assistant"),
        (
            [{"messages": [USER, {"role": "critic", "content": "x"}, ANSWER]}],
            "message 2 of 'messages' has the role 'critic'; expected one of system, developer, ",
        ),
        ([{"messages": [{"role": "user"}, ANSWER]}], "must be an object with role and content"),
        ([{"messages": [USER, "x"]}], "message 2 of 'messages' must be an object with role"),
        (
            [{"conversations": [{"from": "function_call", "value": "{}"}, ANSWER]}],
            "message 1 of 'conversations' is from 'function_call'; expected one of system, human",
        ),
        (
            [{"messages": [{"role": "user", "content": [{"type": "image_url"}]}, ANSWER]}],
            "message 1 of 'messages' has a part of the type 'image_url'; text is all",
        ),
        (
            [{"messages": [USER, {**ANSWER, "weight": 0.5}]}],
            "message 2 of 'messages' has the weight 0.5; expected 0 (not learnt) or 1",
        ),
        (
            [{"messages": [USER, {**ANSWER, "tool_calls": [{"type": "function"}]}]}],
            "a tool call of message 2 of 'messages' has no function with a name",
        ),
        ([{"messages": [USER, ANSWER], "images": ["x"]}], "the field 'images' cannot be used"),
        ([{"messages": [USER, ANSWER], "weight": 2.0}], "the field 'weight' cannot be used"),
        ([{"messages": [USER, ANSWER], "tools": "{"}], "'tools' must be JSON, got '{'"),
        ([{"messages": [USER, ANSWER], "chat_template_kwargs": [1]}], "must be an object"),
        ([{"text": " "}], "1 rows have an empty completion (row 1)"),
        ([{"input_ids": [1, -2]}], "'input_ids' must hold token ids, one or more"),
        ([{"input_ids": [1, 2], "labels": [1]}], "'labels' has 1 values, 'input_ids' 2"),
        ([{"input_ids": [1, 2], "labels": [1, 3]}], "'labels' must be the token's own id, or -100"),
        ([{"input_ids": [1, 2], "completion_mask": [0, 2]}], "'completion_mask' must be 0 or 1"),
        ([{"input_ids": [1], "attention_mask": [0]}], "'attention_mask' must be 1 everywhere"),
        ([{"input_ids": [1, 2], "position_ids": [0, 1]}], "the field 'position_ids' cannot be"),
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
    with pytest.raises(DataError, match=r"'org/name' cannot be loaded: .* no network here\. Check"):
        load_examples("org/name")


def test_tokens_and_texts(tmp_path):
    rows = [
        {"input_ids": [4, 5, 6], "labels": [-100, 5, 6]},
        {"input_ids": [4, 5, 6], "completion_mask": [0, 1, 1], "assistant_masks": [0, 0, 1]},
        {"input_ids": [4, 5], "attention_mask": [1, 1]},
        {"text": "A quince."},
    ]
    loaded = load_examples(write(tmp_path / "rows.jsonl", rows))
    assert [row.labels for row in loaded.rows[:3]] == [(-100, 5, 6), (-100, -100, 6), (4, 5)]
    assert loaded.rows[3].text == "A quince."
    assert not loaded.chats


def test_what_is_not_used_is_named(tmp_path):
    row = {"messages": [{**USER, "id": 7}, ANSWER], "source": "x", "text": "y"}
    loaded = load_examples(write(tmp_path / "rows.jsonl", [row]))
    assert loaded.unused == {"messages[].id", "source", "text"}
    assert loaded.chats


def test_the_shared_conversations(tmp_path):
    file = Path(
        os.environ.get("TOFU_EVAL_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")
    ).parent / "cases" / "training" / "msgs.jsonl"  # fmt: skip
    if not file.is_file():
        pytest.skip(f"no {file}: set TOFU_EVAL_SHARED_DATA")
    loaded = load_examples(str(file))
    assert loaded.unused == set()
    for row in loaded.rows:
        assert [turn.learnt for turn in row.turns] == [False, True, False, True]
        assert row.tools[0]["function"]["name"] == "f"
        assert row.template_kwargs == {"enable_thinking": False}


def test_a_mixture(tmp_path):
    paths = [
        write(tmp_path / f"{name}.jsonl", [{"prompt": f"{name}{i}", "completion": "x"}
                                           for i in range(10)])
        for name in "ab"
    ]  # fmt: skip
    mixed = load_mixture([(paths[0], 2.0), (paths[1], 0.3)], seed=1)
    asked = [row.turns[0].content for row in mixed.rows]
    assert asked[:20] == [f"a{i}" for i in range(10)] * 2
    assert len(asked) == 23
    assert set(asked[20:]) <= {f"b{i}" for i in range(10)}
    assert mixed.rows[0].row == f"{paths[0]}:1"
    again = load_mixture([(paths[0], 2.0), (paths[1], 0.3)], seed=1)
    assert content_digest(again.rows) == content_digest(mixed.rows)
    other = load_mixture([(paths[0], 2.0), (paths[1], 0.3)], seed=2)
    assert content_digest(other.rows) != content_digest(mixed.rows)
    alone = load_mixture([(paths[0], 1.0)], seed=1)
    assert alone.rows[0].row == 1
    with pytest.raises(DataError, match="The weights of the data sets leave no row"):
        load_mixture([(paths[0], 0.01)], seed=1)
