"""Which cluster a prompt belongs to, as the files of other tools say it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.commands import invoke, refused

from tofu_eval.importers.base import Options
from tofu_eval.importers.read import read_responses

FRUIT = {"q": "Name a fruit.", "category": "food", "level": 3}

ROWS: dict[str, tuple[str, Any]] = {
    "lm-eval": (
        "samples_fruit.jsonl",
        {
            "doc_id": 0,
            "doc": FRUIT,
            "target": "pear",
            "arguments": {"gen_args_0": {"arg_0": "Name a fruit."}},
            "resps": [["apple", "pear"]],
            "filter": "none",
        },
    ),
    "inspect": (
        "log.json",
        {
            "eval": {"model": "m"},
            "status": "success",
            "samples": [
                {
                    "id": 1,
                    "epoch": 1,
                    "input": "Name a fruit.",
                    "target": "pear",
                    "metadata": FRUIT,
                    "output": {"choices": [{"message": {"role": "assistant", "content": "pear"}}]},
                }
            ],
        },
    ),
    "promptfoo": (
        "results.jsonl",
        {
            "provider": "m",
            "prompt": {"raw": "Name a fruit."},
            "response": {"output": "pear"},
            "vars": FRUIT,
        },
    ),
    "sharegpt": (
        "chats.jsonl",
        {
            "conversations": [
                {"from": "human", "value": "Name a fruit."},
                {"from": "gpt", "value": "pear"},
            ],
            **FRUIT,
        },
    ),
    "alpaca-eval": (
        "outputs.json",
        {"instruction": "Name a fruit.", "output": "pear", "generator": "m", **FRUIT},
    ),
    "noveltybench": (
        "generations.jsonl",
        {"id": "f", "prompt": "Name a fruit.", "model": "m", "generations": ["pear"], **FRUIT},
    ),
    "verl": (
        "1.jsonl",
        {"input": "Name a fruit.", "output": "pear", "score": 1, "step": 1, **FRUIT},
    ),
    "helm": (
        "state.json",
        {
            "adapter_spec": {"model": "m"},
            "request_states": [
                {
                    "instance": {"input": {"text": "Name a fruit."}, "extra_data": FRUIT},
                    "request": {"prompt": "Name a fruit."},
                    "result": {"success": True, "completions": [{"text": "pear"}]},
                }
            ],
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_a_category_that_another_tool_says(name: str, tmp_path: Path) -> None:
    file, row = ROWS[name]
    path = tmp_path / file
    rows = [row] if name == "alpaca-eval" else row
    path.write_text(json.dumps(rows))
    assert clusters(path) == {"category": "food"}
    assert clusters(path, cluster="level") == {"level": "3"}


def clusters(path: Path, **options: Any) -> dict[str, str]:
    found = read_responses([("m", path)], "t", spool=path.parent, options=Options(**options))
    (prompt,) = found.prompts.values()
    return dict(prompt.metadata)


def test_a_column_that_is_not_read_otherwise(tmp_path: Path) -> None:
    table = pa.table({"prompt": ["Name a fruit."], "generated_text": ["pear"], "level": ["3"]})
    pq.write_table(table, tmp_path / "rows.parquet")
    assert clusters(tmp_path / "rows.parquet", cluster="level") == {"level": "3"}


def test_score_clusters_samples_of_lm_eval(tmp_path: Path) -> None:
    for model in ("base", "sft"):
        rows = [
            {
                **ROWS["lm-eval"][1],
                "doc_id": i,
                "doc": {"q": i, "subject": f"s{i % 7}"},
                "arguments": {"gen_args_0": {"arg_0": f"Question {i}?"}},
                "resps": [[f"a {i}", "b" if i % 3 or model == "base" else f"a {i}"]],
            }
            for i in range(28)
        ]
        (tmp_path / f"{model}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    files = [f"{name}={tmp_path / name}.jsonl" for name in ("base", "sft")]
    command = ["score", *files, "--output", tmp_path / "run", "--metric", "unique_rate"]
    result = invoke(*command, "--cluster", "subject")
    assert result.exit_code == 0, result.output
    assert "over clusters of prompts by subject" in " ".join(result.stdout.split())
    line = refused("compare", tmp_path / "run", "--cluster", "topic")
    assert "has no field 'topic' to cluster by; known of it: subject" in line
