"""Answers of people, and paraphrases, in task files and data sets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tofu_eval.core.errors import ConfigError
from tofu_eval.tasks import check_task, load_task

HEAD = "name: fruit\nversion: 1\n"


def test_replies_of_several_people_are_of_one_prompt(data_dir: Path) -> None:
    (prompt,) = load_task("human-replies", data_dir).load()  # in English, with four that differ
    assert (prompt.id, prompt.text) == ("m0", "How do I boil an egg?")
    assert prompt.human == ("Six minutes.", "Ask a cook.", "In water, of course.", "Slowly.")


def test_stories_are_grouped_by_their_prompt(data_dir: Path) -> None:
    (prompt,) = load_task("human-stories", data_dir).load()
    assert "[WP] The last lamp." in prompt.text
    assert prompt.human == tuple(f"Nobody lit it. {i}" for i in "abcd")


def test_novelty_bench_brings_its_paraphrases(data_dir: Path) -> None:
    first = load_task("novelty-bench-curated", data_dir).load()[0]
    assert first.paraphrases == ("Give me a riddle.",)


def test_a_task_file_may_have_both(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(
        HEAD + "prompts:\n"
        "  - {text: Name a fruit., paraphrases: [Which fruit], human: [apple, pear]}\n"
    )
    (prompt,) = load_task(path).load()
    assert (prompt.paraphrases, prompt.human) == (("Which fruit",), ("apple", "pear"))
    assert prompt.describe().keys() == {"id", "messages", "references", "metadata"}


@pytest.mark.parametrize("wrong", ["paraphrases: one", "human: [1]", "human: ['']"])
def test_what_is_no_list_of_texts_is_told(wrong: str, tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(HEAD + f"prompts:\n  - {{text: Name a fruit., {wrong}}}\n")
    (problem,) = check_task(path)
    assert problem.startswith(f"{path}:4: prompts.0.{wrong.partition(':')[0]}")


def test_answers_in_rows_of_their_own(tmp_path: Path) -> None:
    rows = [
        {"q": "Name a fruit.", "a": "apple"},
        {"q": "Name a fruit. ", "a": "pear"},
        {"q": "Name a river.", "a": "Po"},
    ]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, rows)))
    fields = "{prompt: q, human_rows: {field: a, of: q, to: q}}"
    (tmp_path / "t.yaml").write_text(HEAD + f"file: {{path: p.jsonl, fields: {fields}}}\n")
    (prompt,) = load_task(tmp_path / "t.yaml").load()
    assert prompt.human == ("apple", "pear")
    (tmp_path / "t.yaml").write_text(
        HEAD + f"file: {{path: p.jsonl, fields: {fields.replace('field: a', 'field: b')}}}\n"
    )
    with pytest.raises(ConfigError, match=r"field 'b' \(human_rows.field\) is missing"):
        load_task(tmp_path / "t.yaml").load()
