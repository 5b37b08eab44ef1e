"""Good rows of every format that is read: what the fuzzers put faults into."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ASKED = "Name a bird."
CHAT = [{"role": "user", "content": ASKED}, {"role": "assistant", "content": "owl"}]

ROWS: list[dict[str, Any]] = [
    {"id": "b", "prompt": ASKED, "responses": ["owl", "jay"], "references": ["owl"], "model": "m"},
    {"id": 1, "prompt": ASKED, "response": "owl", "logprob": -1.5, "finish_reason": "stop",
     "correct": True, "reasoning": "hm", "reward": 0.5, "category": "birds"},
    {"prompt": ASKED, "responses": ["a", "b"], "logprob": [-1.0, -2.0], "reward": [0.1, 0.2],
     "reasoning": [None, "x"], "correct": [True, False], "finish_reason": ["stop", "length"]},
    {"instruction": ASKED, "input": "of prey", "output": [CHAT[1]]},
    {"messages": CHAT[:1], "completion": CHAT, "model": "m"},
    {"question": ASKED, "outputs": [{"text": "owl", "finish_reason": "stop"},
                                    {"message": CHAT[1]}]},
    {"prompt": ASKED, "responses": [[CHAT[1]], "<think>no</think>owl", None]},
]  # fmt: skip

FORMATS: dict[str, list[Any]] = {
    "rows": ROWS,
    "messages": [{"messages": [{"role": "system", "content": "Be brief."}, *CHAT]}],
    "sharegpt": [
        {"id": "b-0", "conversations": [{"from": "human", "value": ASKED},
                                        {"from": "gpt", "value": "owl"}]},
    ],
    "alpaca-eval": [[
        {"instruction": ASKED, "output": "owl", "generator": "m", "dataset": "birds"},
        {"instruction": ASKED, "output": "jay", "generator": "m", "dataset": "birds"},
    ]],
    "noveltybench": [
        {"id": "b", "prompt": ASKED, "model": "m", "generations": ["owl", "jay"],
         "partition": [0, 1], "generation_scores": [5, 6], "partition_scores": [5, 6],
         "distinct": 2, "utility": 5.5},
    ],
    "openai-batch": [
        {"id": "v", "custom_id": "b", "error": None, "response": {"status_code": 200, "body": {
            "model": "m", "choices": [{"index": 0, "message": CHAT[1], "finish_reason": "stop",
                                       "logprobs": {"content": [{"logprob": -1.0}]}}]}}},
        {"id": "v", "custom_id": "c", "error": None, "response": {"status_code": 200, "body": {
            "model": "m", "choices": [{"index": 0, "text": "owl", "finish_reason": "length"}]}}},
    ],
    "vllm": [
        {"request_id": "b", "prompt": ASKED, "finished": True, "outputs": [
            {"index": 0, "text": "owl", "token_ids": [3], "cumulative_logprob": -1.5,
             "finish_reason": "stop"}]},
    ],
    "lm-eval": [
        {"doc_id": 0, "doc": {"q": ASKED, "category": "birds"}, "target": "owl",
         "arguments": {"gen_args_0": {"arg_0": ASKED, "arg_1": {"until": ["\n"]}}},
         "resps": [["owl", "jay"]], "filtered_resps": [["owl", "jay"]], "filter": "none",
         "metrics": ["exact_match"], "exact_match": 1.0, "doc_hash": "0"},
    ],
    "every-eval-ever": [
        {"schema_version": "0.3.0", "evaluation_id": "e/m/1", "model_id": "me/m",
         "evaluation_name": "birds", "sample_id": "b", "interaction_type": "single_turn",
         "input": {"raw": ASKED, "reference": ["owl"]},
         "output": {"raw": ["owl", "jay"], "reasoning_trace": None}, "messages": None,
         "evaluation": {"score": 1.0, "is_correct": True}},
    ],
    "helm": [
        {"adapter_spec": {"method": "generation", "model": "me/m", "num_outputs": 2},
         "request_states": [{
             "instance": {"input": {"text": ASKED}, "id": "b",
                          "references": [{"output": {"text": "owl"}, "tags": ["correct"]}]},
             "train_trial_index": 0,
             "request": {"model": "me/m", "prompt": ASKED},
             "result": {"success": True, "completions": [
                 {"text": "owl", "logprob": -1.0, "finish_reason": {"reason": "stop"}}]}}]},
    ],
    "inspect": [
        {"version": 2, "status": "success",
         "eval": {"model": "mock/m", "task": "t", "model_generate_config": {"num_choices": 1}},
         "samples": [{
             "id": "b", "epoch": 1, "input": ASKED, "target": "owl", "metadata": {"topic": "x"},
             "output": {"choices": [{"message": {"role": "assistant", "content": [
                 {"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "owl"}]},
                 "stop_reason": "stop"}]},
             "scores": {"match": {"value": "C"}}}]},
    ],
    "promptfoo": [
        {"evalId": "e", "results": {"version": 3, "results": [
            {"promptIdx": 0, "testIdx": 0, "provider": {"id": "x:m", "label": ""},
             "prompt": {"raw": ASKED, "label": ASKED}, "vars": {},
             "response": {"output": "owl"}, "success": True, "score": 1}]}},
    ],
    "tofu-paper": [
        {"prompt": "\nSolve.\n<|problem|> \nWhat is 2+2? \n<|/problem|> \n\nSolution: \n"
         "<|solution|>\n", "responses": [" 4 \n<|/solution|>\n", "5"], "correct_solution": "4"},
    ],
    "verl": [{"input": ASKED, "output": "owl", "gts": "owl", "score": 0.5, "step": 10}],
    "lighteval": [
        {"doc": {"query": ASKED, "id": "b", "choices": ["owl"], "gold_index": 0},
         "metric": {"em": 1.0},
         "model_response": {"text": ["owl", "jay"], "input": ASKED, "reasonings": ["", ""],
                            "logprobs": [-1.0, -2.0], "text_post_processed": None}},
    ],
    "trl": [
        {"step": 10, "prompt": ASKED, "completion": "owl", "length": 0.5, "advantage": 0.1},
        {"step": 10, "prompt": CHAT[:1], "completion": CHAT[1:], "length": 0.5, "advantage": 0.1},
    ],
    "ray-llm": [
        {"prompt": ASKED, "generated_text": "owl", "num_generated_tokens": 2,
         "params": "SamplingParams(n=1, max_tokens=16)", "__inference_error__": "",
         "request_id": 0},
    ],
}  # fmt: skip

TRAINING: list[dict[str, Any]] = [
    {"prompt": ASKED, "completion": "owl"},
    {"prompt": CHAT[:1], "completion": CHAT[1:], "chat_template_kwargs": {"x": 1}},
    {"messages": [*CHAT, {"role": "tool", "content": "x"}], "tools": [{"type": "function"}]},
    {"messages": [CHAT[0], {"role": "assistant", "content": None, "reasoning_content": "hm",
                            "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}]},
    {"conversations": [{"from": "human", "value": ASKED}, {"from": "gpt", "value": "owl"}],
     "system": "Be brief."},
    {"instruction": ASKED, "input": "", "output": "owl", "history": [["a", "b"]]},
    {"instruction": ASKED, "completions": [{"response": "owl", "overall_score": 8.0}]},
    {"problem": "2+2", "solution": "4"},
    {"text": "owls fly"},
    {"input_ids": [1, 2, 3], "labels": [-100, 2, 3], "attention_mask": [1, 1, 1]},
]  # fmt: skip

PROMPTS: list[dict[str, Any]] = [
    {"id": "b", "prompt": ASKED, "references": ["owl"]},
    {"custom_id": "b", "method": "POST", "url": "/v1/chat/completions",
     "body": {"model": "m", "messages": CHAT[:1]}},
    {"custom_id": "b", "method": "POST", "url": "/v1/completions", "body": {"prompt": ASKED}},
]  # fmt: skip


def parquet_of(rows: list[Any]) -> bytes | None:
    """Rows as Parquet; None where Arrow cannot put them into columns."""
    try:
        table = pa.Table.from_pylist(rows)
        sink = io.BytesIO()
        pq.write_table(table, sink)
    except (pa.ArrowException, TypeError, ValueError, AttributeError, OverflowError):
        return None
    return sink.getvalue()


def arrow_of(rows: list[Any]) -> bytes:
    """Rows as an Arrow stream."""
    table = pa.Table.from_pylist(rows)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def eval_of(log: dict[str, Any]) -> bytes:
    """An Inspect log as its ZIP."""
    sink = io.BytesIO()
    header = {name: value for name, value in log.items() if name != "samples"}
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", json.dumps(header))
        samples = log.get("samples")
        for number, sample in enumerate(samples if isinstance(samples, list) else []):
            archive.writestr(f"samples/{number}_epoch_1.json", json.dumps(sample))
    return sink.getvalue()
