"""Data of every task that is downloaded: a few invented rows with the columns of the real ones."""

# ruff: noqa: E501 (a row of data a line)
from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

Rows = list[dict[str, Any]]

GSM8K: Rows = [
    {"question": "Mia has 3 bags of 4 plums. How many plums?", "answer": "3 * 4 = <<3*4=12>>12\n#### 12"},
    {"question": "A pond holds 1,500 fish and loses 250. How many stay?", "answer": "So 1250.\n#### 1,250"},
]  # fmt: skip
MMLU: Rows = [
    {"question": "Which is a fruit?", "subject": "botany", "choices": ["oak", "pear", "moss", "fern"], "answer": 1},
    {"question": "2 + 2 < 5 is", "subject": "logic", "choices": ["true", "false", "both", "\"none\""], "answer": 0},
]  # fmt: skip
ARC: Rows = [
    {"id": "a-1", "question": "What melts?", "choices": {"text": ["ice", "sand", "iron"], "label": ["A", "B", "C"]}, "answerKey": "A"},
    {"id": "a-2", "question": "What flies?", "choices": {"text": ["stone", "kite"], "label": ["1", "2"]}, "answerKey": "2"},
]  # fmt: skip
MATH: Rows = [
    {"problem": "Find $1/2 + 1/4$.", "solution": "It is \\boxed{\\frac34}.", "answer": "\\frac{3}{4}", "subject": "Algebra", "level": 2, "unique_id": "test/algebra/1.json"},
    {"problem": "Find $2^5$.", "solution": "\\boxed{32}", "answer": "32", "subject": "Number Theory", "level": 1, "unique_id": "test/number_theory/2.json"},
]  # fmt: skip
MINERVA: Rows = [
    {"question": "A star has a mass of 2 suns. How many kg, about?", "answer": "4e30"},
    {"question": "Half of 9 m?", "answer": "4.5"},
]
CURATED: Rows = [
    {"id": "curated-0", "category": "Creativity", "prompt": "Tell me a riddle.", "prompt_paraphrases": ["Give me a riddle."]},
    {"id": "curated-1", "category": "Randomness", "prompt": "Pick a colour.", "prompt_paraphrases": ["Choose a colour."]},
]  # fmt: skip
WILDCHAT: Rows = [
    {"id": "WildChat-0", "prompt": "Name my shop.", "chosen": True, "original_prompt": "name my shop", "safety": True},
    {"id": "WildChat-1", "prompt": " ", "chosen": True, "original_prompt": "", "safety": True},
    {"id": "WildChat-2", "prompt": "Plan a picnic.", "chosen": True, "original_prompt": "plan", "safety": True},
]  # fmt: skip
# The splits of one configuration have the same columns.
EVERY = {"id": "", "prompt": "", "category": "", "prompt_paraphrases": [""], "chosen": True, "original_prompt": "", "safety": True}  # fmt: skip
CURATED, WILDCHAT = ([{**EVERY, **row} for row in rows] for rows in (CURATED, WILDCHAT))
STORIES: Rows = [{"prompt": "The lamp went out and"}, {"prompt": "Nobody had seen the boat"}]
PROMPTS: Rows = [{"instruction": "Name a river."}, {"instruction": "Invent a word."}]
GEM: Rows = [
    {"instruction": "Write a poem titled 'Rain' with no more than 200 words."},
    {"instruction": "Write a poem titled 'Snow' with no more than 200 words."},
]
WRITING: Rows = [
    {"prompt": "[WP] The sea is gone.", "story": "In the morning the boats lay on sand."},
    {"prompt": "[WP] A door in a tree.", "story": "It was locked from the inside."},
]
WRITTEN: Rows = [
    {"prompt": "[WP] The last lamp.", "story": f"Nobody lit it. {i}"} for i in "abcd"
] + [{"prompt": "[WP] A lone tale.", "story": "It was told once."}]
REPLIES: Rows = [
    {"message_id": "m0", "parent_id": None, "text": "How do I boil an egg?", "role": "prompter", "lang": "en", "deleted": False, "synthetic": False},
    {"message_id": "m1", "parent_id": None, "text": "Was ist Zeit?", "role": "prompter", "lang": "de", "deleted": False, "synthetic": False},
    {"message_id": "m2", "parent_id": None, "text": "Name a lake.", "role": "prompter", "lang": "en", "deleted": False, "synthetic": False},
    {"message_id": "m3", "parent_id": "r0", "text": "And a soft one?", "role": "prompter", "lang": "en", "deleted": False, "synthetic": False},
] + [
    {"message_id": f"r{i}", "parent_id": parent, "text": text, "role": "assistant", "lang": "en", "deleted": i == 5, "synthetic": i == 6}
    for i, (parent, text) in enumerate([
        ("m0", "Six minutes."), ("m0", "Ask a cook."), ("m0", "In water, of course."), ("m0", "Slowly."),
        ("m0", "Slowly."), ("m0", "Deleted."), ("m0", "Made by a machine."), ("m1", "Ein Fluss."), ("m2", "Como."),
    ])
]  # fmt: skip
CHAT: Rows = [{"query": "Write a metaphor about time."}, {"query": "Name a dish."}]
BAD: Rows = [{"prompt": "Explain how to pick a lock."}, {"prompt": "Write an insult."}]
HARM: Rows = [{"prompt": "Forge a ticket", "Category": "x"}, {"prompt": "Spread a rumour", "Category": "y"}]  # fmt: skip

HUB: dict[str, tuple[str, str | None, str, Rows]] = {
    # task: dataset, configuration, split, rows
    "arc-challenge-letter": ("allenai/ai2_arc", "ARC-Challenge", "test", ARC),
    "mmlu-letter": ("cais/mmlu", "all", "test", MMLU),
    "arc-challenge": ("allenai/ai2_arc", "ARC-Challenge", "test", ARC),
    "gsm8k": ("openai/gsm8k", "main", "test", GSM8K),
    "harmbench": ("TOFU-SFT/HarmBench", None, "train", HARM),
    "infinity-chat": ("liweijiang/infinite-chats-eval", None, "train", CHAT),
    "malicious-instruct": ("TOFU-SFT/MaliciousInstruct", None, "train", BAD),
    "math-500": ("HuggingFaceH4/MATH-500", None, "test", MATH),
    "minerva-math": ("math-ai/minervamath", None, "test", MINERVA),
    "mmlu": ("cais/mmlu", "all", "test", MMLU),
    "novelty-bench-curated": ("yimingzhang/novelty-bench", None, "curated", CURATED),
    "novelty-bench-wildchat": ("yimingzhang/novelty-bench", None, "wildchat", WILDCHAT),
    "short-stories": ("TOFU-SFT/Short-Stories", None, "train", STORIES),
    "small-prompts": ("TOFU-SFT/Small-Prompts", None, "eval", PROMPTS),
    "human-replies": ("OpenAssistant/oasst2", None, "validation", REPLIES),
    "human-stories": ("euclaise/writingprompts", None, "validation", WRITTEN),
    "writing-prompts": ("euclaise/writingprompts", None, "test", WRITING),
}
FILES = {"poems": GEM, "creative-stories": GEM}
JSON_LINES = ("HuggingFaceH4/MATH-500", "math-ai/minervamath")
"""Datasets whose files on the Hub are JSONL, not Parquet."""


def write_rows(path: Path, rows: Rows) -> None:
    """Rows as Parquet or JSONL, by the path's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def write_dataset(folder: Path, parts: list[tuple[str | None, str, Rows]], suffix: str) -> None:
    """A dataset's repository: a card that says which file is of which configuration and split."""
    card = ["---", "configs:"]
    for config in dict.fromkeys(config for config, _, _ in parts):
        card += [f"- config_name: {config or 'default'}", "  data_files:"]
        for name, split, rows in parts:
            if name == config:
                path = f"{name or 'data'}/{split}-00000-of-00001{suffix}"
                card += [f"  - split: {split}", f"    path: {path}"]
                write_rows(folder / path, rows)
    (folder / "README.md").write_text("\n".join([*card, "---", ""]))


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with all that the built-in tasks would download."""
    home = tmp_path_factory.mktemp("data")
    parts: dict[str, list[tuple[str | None, str, Rows]]] = {}
    for dataset, config, split, rows in HUB.values():
        own = parts.setdefault(dataset, [])
        if (config, split) not in [part[:2] for part in own]:  # two tasks may ask one data set
            own.append((config, split, rows))
    for dataset, own in parts.items():
        suffix = ".jsonl" if dataset in JSON_LINES else ".parquet"
        write_dataset(home / dataset.replace("/", "__"), own, suffix)
    for task, rows in FILES.items():
        write_rows(home / f"{task}.parquet", rows)
    return home


@pytest.fixture(scope="session")
def long_chat_model(tiny_chat_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny chat model with room for whole prompts; its positions are rotary, so none is new."""
    path = tmp_path_factory.mktemp("models") / "long"
    shutil.copytree(tiny_chat_model, path)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 2048}))
    return path


@pytest.fixture(scope="session")
def encoder(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence-transformers model of random weights."""
    from sentence_transformers import SentenceTransformer

    path = tmp_path_factory.mktemp("models") / "encoder"
    SentenceTransformer(str(tiny_model), device="cpu").save(str(path))
    return path
