"""The files of other tools as they write them, and what is refused of each format."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tofu_eval.cli import main
from tofu_eval.core.errors import DataError
from tofu_eval.importers.base import IMPORTERS, Options
from tofu_eval.importers.read import read_responses
from tofu_eval.importers.reading import Responses

SHARED = Path(
    os.environ.get("TOFU_EVAL_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")
)
FORMATS = SHARED / "formats"
needs_formats = pytest.mark.skipif(
    not FORMATS.is_dir(), reason=f"no files of other tools in {FORMATS}: set TOFU_EVAL_SHARED_DATA"
)

FRUIT = ("apple", "pear", "quince")
COLOUR = ("teal", "red", "red")
REFERENCES = {"Name a fruit.": ("pear",), "Name a colour.": ("teal",)}


def read(path: Path, **options: Any) -> Responses:
    spool = path.parent if os.access(path.parent, os.W_OK) else Path()
    return read_responses([(None, path)], "t", spool=spool, options=Options(**options))


def texts(found: Responses) -> dict[str, tuple[str, ...]]:
    """The responses with a text by the prompt's text, in their order."""
    by_prompt: dict[str, list[tuple[int, str]]] = {}
    for rows in found.rows.values():
        for row in rows:
            text = found.prompts[row.prompt_id].messages[-1].content
            by_prompt.setdefault(text, []).append((row.sample, row.text))
    return {prompt: tuple(text for _, text in sorted(rows)) for prompt, rows in by_prompt.items()}


@needs_formats
@pytest.mark.parametrize(
    ("file", "title", "references"),
    [
        ("alpaca_eval_outputs.json", "AlpacaEval outputs", False),
        ("every_eval_ever_samples.jsonl", "Every Eval Ever samples", True),
        ("helm_scenario_state.json", "HELM scenario state", True),
        ("hf_messages.jsonl", "conversations (messages)", False),
        ("lighteval_details_mine_fruit_2026-11-27T21-00-00.parquet", "lighteval details", True),
        ("noveltybench_generations.jsonl", "NoveltyBench", False),
        ("noveltybench_scores.jsonl", "NoveltyBench", False),
        ("openai_batch_output_completions.jsonl", "OpenAI batch output", False),
        ("promptfoo_results.json", "promptfoo results", False),
        ("ray_data_llm.parquet", "Ray Data LLM rows", False),
        ("sharegpt_conversations.jsonl", "conversations (ShareGPT)", False),
        ("tofu_paper_responses.jsonl", "responses of the TOFU paper's code", False),
        ("trl_completions_00010.parquet", "TRL completions", False),
        ("trl_completions_chat_00010.parquet", "TRL completions", False),
        ("verl_rollout_10.jsonl", "verl rollouts", True),
        ("vllm_request_outputs.jsonl", "vLLM request outputs", False),
    ],
)
def test_files_of_other_tools(file: str, title: str, references: bool) -> None:
    found = read(FORMATS / file)
    assert texts(found) == {"Name a fruit.": FRUIT, "Name a colour.": COLOUR}
    assert any(f"read as: {title}" in note for note in found.notes)
    assert {row.state for rows in found.rows.values() for row in rows} == {"finished"}
    if references:
        for prompt in found.prompts.values():
            assert prompt.references[0] == REFERENCES[prompt.text][0]


@needs_formats
def test_what_only_some_of_them_have() -> None:
    found = read(FORMATS / "openai_batch_output.jsonl")
    states = [(row.prompt_id, row.state) for row in found.rows["my-model"]]
    assert states == [
        ("fruit", "finished"), ("fruit", "finished"), ("fruit", "unfinished"),
        ("colour", "finished"), ("colour", "finished"), ("colour", "unfinished"),
        ("broken", "failed"),
    ]  # fmt: skip
    for name in ("inspect_epochs3.eval", "inspect_epochs3.json"):
        found = read(FORMATS / name)
        assert texts(found)["Name a fruit."] == FRUIT
        assert texts(found)["Name a colour."] == ("teal", "red", "blue")
        (rows,) = found.rows.values()
        assert {(r.text, r.correct) for r in rows} >= {("pear", True), ("apple", False)}
    found = read(FORMATS / "tofu_paper_responses_math.jsonl")
    assert texts(found) == {"What is 2+2?": (r"2+2=\boxed{4}", r"\boxed{5}")}
    assert next(iter(found.prompts.values())).references == (r"\boxed{4}",)
    (samples,) = FORMATS.glob("samples_fruit_*.jsonl")
    assert [len(t) for t in texts(read(samples)).values()] == [3, 3]
    found = read(FORMATS / "verl_rollout_10.jsonl")
    assert {row.given["reward"] for row in found.rows["verl_rollout_10"] if row.given} == {0.0}
    found = read(FORMATS / "vllm_request_outputs.jsonl")
    assert {row.logprob for row in found.rows["vllm_request_outputs"]} == {-1.5}


@needs_formats
def test_a_published_partition_needs_no_model(tmp_path: Path) -> None:
    command = ["score", str(FORMATS / "noveltybench_scores.jsonl"), "--output", str(tmp_path / "r")]
    done = CliRunner().invoke(main, [*command, "--metric", "distinct_k", "--metric", "utility_k"])
    assert done.exit_code == 0, done.output
    from tofu_eval.run.store import Run

    values = {(s.metric, s.prompt_id): s.value for s in _scores(Run.open(tmp_path / "r"))}
    assert values["distinct_k", "fruit"] == 3.0
    assert values["distinct_k", "colour"] == 2.0
    assert values["utility_k", "fruit"] == pytest.approx((5 + 0.8 * 6 + 0.64 * 7) / 2.44)
    assert values["utility_k", "colour"] == pytest.approx((5 + 0.8 * 6) / 2.44)


def _scores(run: Any) -> list[Any]:
    from tofu_eval.core.types import Score

    return [Score(**row) for row in run.scores().to_pylist()]


ROWS = '{"prompt": "Name a fruit.", "responses": ["apple", "pear"]}\n'


@pytest.mark.parametrize("name", [e.name for e in IMPORTERS.entries() if e.name != "rows"])
def test_a_format_that_is_named_wrongly(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(ROWS)
    with pytest.raises(
        DataError, match=r"x\.jsonl, line 1: not .*, whose rows have .*; got fields "
    ):
        read(tmp_path / "x.jsonl", format=name)


@needs_formats
@pytest.mark.parametrize(
    "file", sorted(path.name for path in FORMATS.glob("*") if path.suffix != ".md")
)
def test_a_file_that_was_cut_is_one_line_and_leaves_nothing(file: str, tmp_path: Path) -> None:
    data = (FORMATS / file).read_bytes()
    (tmp_path / file).write_bytes(data[: len(data) - 30])
    output = tmp_path / "run"
    done = CliRunner().invoke(
        main, ["score", str(tmp_path / file), "--metric", "distinct_1", "--output", str(output)]
    )
    assert done.exit_code == 2, done.output
    assert len(done.stderr.strip().splitlines()) == 1
    assert file in done.stderr
    assert not output.exists()
    assert {path.name for path in tmp_path.iterdir()} == {file}


@needs_formats
@pytest.mark.parametrize(
    "file", sorted({p.name for p in FORMATS.glob("*.jsonl")} - {"openai_batch_input.jsonl"})
)
def test_repeated_keys_and_depth_name_the_line(file: str, tmp_path: Path) -> None:
    first = (FORMATS / file).read_text().splitlines()[0]
    name = next(iter(json.loads(first)))
    for bad, what in (
        (f'{{"{name}": 1, {first[1:]}', f"line 2: the key '{name}' stands twice"),
        (f'{{"deep": {"[" * 5000}{"]" * 5000}, {first[1:]}', "line 2: .* nested too deeply"),
    ):
        (tmp_path / file).write_text(f"{first}\n{bad}\n")
        with pytest.raises(DataError, match=what):
            read(tmp_path / file)


def test_a_mixed_directory_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "a.jsonl").write_text(ROWS)
    (folder / "b.jsonl").write_text(
        '{"messages": [{"role": "user", "content": "P"}, {"role": "assistant", "content": "a"}]}'
    )
    with pytest.raises(DataError, match=r"b\.jsonl, line 1: .* holds several formats: .* a\.jsonl"):
        read(folder)
    (folder / "b.jsonl").write_text('{"x": 1}\n{"x": 2}\n')
    with pytest.raises(DataError, match=r"b\.jsonl, line 1: these rows are no responses"):
        read(folder)


def test_a_directory_of_parts_and_one_of_models(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    for number, text in enumerate(("apple", "pear")):
        row = {"prompt": "P", "response": text}
        (parts / f"part-{number}.jsonl").write_text(json.dumps(row))
    found = read(parts)
    assert {name: [row.text for row in rows] for name, rows in found.rows.items()} == {
        "parts": ["apple", "pear"]
    }
    models = tmp_path / "models"
    models.mkdir()
    for name in ("base", "sft"):
        (models / f"{name}.jsonl").write_text(ROWS)
    assert list(read(models).rows) == ["base", "sft"]


def test_prompts_are_matched_by_id_or_by_text(tmp_path: Path) -> None:
    rows = {
        "nameless": [{"prompt": "Name a  fruit.", "responses": ["a", "b"]}],
        "named": [{"id": 7, "prompt": " Name a fruit.", "responses": ["c", "d"]}],
        "ids": [{"id": "7 ", "responses": ["e"]}],
    }
    for name, lines in rows.items():
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    for order in (("nameless", "named"), ("named", "nameless"), ("named", "ids")):
        files = [(None, tmp_path / f"{name}.jsonl") for name in order]
        found = read_responses(files, "t", spool=tmp_path)
        assert len(found.prompts) == 1, order


def test_a_column_a_model(tmp_path: Path) -> None:
    (tmp_path / "wide.csv").write_text('q,base,sft\n"Name, please",a,b\nOther,c,d\n')
    found = read(tmp_path / "wide.csv", prompt="q", responses=("base", "sft"))
    assert {name: [row.text for row in rows] for name, rows in found.rows.items()} == {
        "base": ["a", "c"],
        "sft": ["b", "d"],
    }
    with pytest.raises(
        DataError,
        match=r"line 2: expected 'prompt' or 'id', got fields q, base, sft; name the fields",
    ):
        read(tmp_path / "wide.csv")
    with pytest.raises(DataError, match=r"no field 'x' \(--response-field\), got fields q, base"):
        read(tmp_path / "wide.csv", prompt="q", responses=("x",))


def test_thoughts_null_and_filters_have_no_text_to_score(tmp_path: Path) -> None:
    row = {
        "prompt": "P",
        "responses": ["<think>hm</think>a", "<think>hm", None, "", "b"],
        "finish_reason": ["stop", "length", "content_filter", "stop", "length"],
    }
    (tmp_path / "x.jsonl").write_text(json.dumps(row))
    rows = list(read(tmp_path / "x.jsonl").rows["x"])
    assert [(r.text, r.state, r.reasoning) for r in rows] == [
        ("a", "finished", "hm"), ("", "unfinished", "hm"), ("", "filtered", None),
        ("", "empty", None), ("b", "unfinished", None),
    ]  # fmt: skip


def test_long_texts_of_a_small_table_are_read_a_few_at_a_time(tmp_path: Path) -> None:
    text = "word " * 40_000
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 400, pa.int32()), pa.array([text]))
    table = pa.table({"prompt": [f"p{i // 2}" for i in range(400)], "response": column})
    pq.write_table(table, tmp_path / "bomb.parquet", compression="zstd")
    assert (tmp_path / "bomb.parquet").stat().st_size < 20_000
    found = read(tmp_path / "bomb.parquet")
    sizes = [table.nbytes for table in found.rows["bomb"].tables()]
    assert sum(sizes) > 400 * len(text)
    assert max(sizes) < 2e7


def test_standard_input_and_a_task_of_its_own(tmp_path: Path) -> None:
    command = ["score", "m=-", "--metric", "distinct_1", "--task", "fruit"]
    done = CliRunner().invoke(main, [*command, "--output", str(tmp_path / "r")], input=ROWS)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "r" / "responses" / "m" / "fruit").is_dir()
    assert not [path for path in tmp_path.iterdir() if path.name != "r"]


def test_thoughts_and_prompts_that_are_something_else_are_one_line(tmp_path: Path) -> None:
    said = {"text": ["owl"], "input": "Bird?", "reasonings": [[None]], "logprobs": [-1.0]}
    row = {"doc": {"query": "Bird?", "id": "b"}, "metric": {}, "model_response": said}
    (tmp_path / "x.jsonl").write_text(json.dumps(row))
    with pytest.raises(DataError, match="a reasoning must be a string, got a list"):
        read(tmp_path / "x.jsonl")
    asked = {"custom_id": "b", "method": "POST", "url": "/v1/chat/completions", "body": None}
    (tmp_path / "p.jsonl").write_text(json.dumps(asked))
    (tmp_path / "y.jsonl").write_text('{"id": "b", "response": "owl"}')
    with pytest.raises(DataError, match=r"p\.jsonl, line 1: no prompt"):
        read(tmp_path / "y.jsonl", prompts=tmp_path / "p.jsonl")
