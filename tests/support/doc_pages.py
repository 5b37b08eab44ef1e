"""What runs the blocks of code of the README and of docs/, as they stand there.

Commands and code are run in a folder that has what a reader would have: files of responses, rows to
train on, runs. What would open a real model, train one or ask a server is replaced where the
package turns to it: `run` is asked what it would make (`--dry-run`), which reads every setting,
task, metric and feature; trainings are read up to the point at which they begin; encoders,
classifiers and rewards are small functions.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

import tofu_eval as te
from support.commands import invoke
from support.fakes import FakeEngine
from tofu_eval.core.types import Prompt, digest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
BLOCK = re.compile(r"^```(\w*)(?: file=(\S+))?\n(.*?)^```", re.MULTILINE | re.DOTALL)

METRICS = ("unique_rate", "self_bleu", "distinct_2", "mean_length", "vendi", "reward", "accuracy")
BREVITY = """
from tofu_eval import reward_model


@reward_model(name="few-words", version=1)
def few_words(pairs):
    return [-len(text.split()) - sum(map(ord, text)) % 997 / 1000 for _, text in pairs]
"""
STRICT = """
from tofu_eval import judge


@judge(name="no-praise", version=1)
def no_praise(questions):
    return ["Nothing is perfect.\\nRating: 4" for _ in questions]
"""


@dataclass(frozen=True)
class Block:
    """A block of a page, with the line on which it begins."""

    page: Path
    language: str
    file: str
    text: str
    line: int


def blocks_of(page: Path) -> list[Block]:
    """The blocks of a page, in their order."""
    text = page.read_text("utf-8")
    return [
        Block(page, *found.groups(default=""), line=text.count("\n", 0, found.start()) + 1)
        for found in BLOCK.finditer(text)
    ]


def commands_of(block: Block) -> Iterator[list[str]]:
    """The commands of a block, as words."""
    text = block.text
    if block.language == "yaml":  # steps of a pipeline
        text = "\n".join(step["run"] for step in yaml.safe_load(text))
    for line in text.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


class Vectors:
    """Embeddings of words: what stands in the text, hashed."""

    name, signature, truncated = "embedding", "words", 0

    def __init__(self) -> None:
        self.identity = {"kind": self.signature}

    def key(self, prompt: Prompt, text: str) -> str:
        return digest(text)

    def compute(self, pairs: Any) -> Any:
        rows = np.array([self._row(text) for _, text in pairs], dtype=np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def _row(self, text: str) -> Any:
        words = re.findall(r"\w+", text.lower()) or [""]
        seeds = [int(digest(word)[:8], 16) for word in words]
        return sum(np.random.default_rng(seed).normal(size=16) for seed in seeds)


class Lengths(Vectors):
    """A reward: shorter is better."""

    name, signature = "reward", "short"

    def key(self, prompt: Prompt, text: str) -> str:
        return digest([prompt.id, text])

    def compute(self, pairs: Any) -> Any:
        return np.array([[-len(text.split())] for _, text in pairs], dtype=np.float32)


class SameWords:
    """A classifier of pairs: equal are those with the same words."""

    identity, signature, truncated = {"kind": "same-words"}, "same-words", 0

    def probabilities(self, pairs: Any) -> Any:
        alike = [set(one.split()) == set(other.split()) for one, other in pairs]
        return np.array([[1 - same, same] for same in alike], dtype=np.float32)

    def close(self) -> None:
        pass


class Reached(Exception):
    """A command was read whole, and what takes long would begin."""


def reach(*_: Any, **__: Any) -> Any:
    raise Reached


def replace_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put functions in the place of what opens a model, trains one, or fetches data."""
    from tofu_eval.tasks.loader import is_at_hand

    def small_model(_opening: object, kind: type, *_: object, **__: object) -> Any:
        return Lengths() if "reward" in kind.__name__.lower() else Vectors()

    def at_hand(task: te.Task, _folder: object) -> te.Task:
        asked = Prompt.of_text("1", "Name a fruit.", references=["fig"], paraphrases=["A fruit?"])
        return task if is_at_hand(task) else replace(task, load=lambda: [asked])

    monkeypatch.setattr("tofu_eval.features.isolated.open_model", small_model)
    monkeypatch.setattr("tofu_eval.features.isolated.open_classifier", lambda *_, **__: SameWords())
    monkeypatch.setattr("tofu_eval.pipeline.plan.with_data", at_hand)
    monkeypatch.setattr("tofu_eval.core.ray_actors.has_ray", lambda: True)


def replace_work(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the point where it would begin in the place of what a command takes long for."""

    def trained(settings: Any, **_: Any) -> Any:
        return SimpleNamespace(notes=(), final={"loss": 1.0}, steps=22, path=settings.output)

    if command == "train":
        monkeypatch.setattr("tofu_eval.training.job.train", trained)
    for place in BEGINNINGS.get(command, ()):
        monkeypatch.setattr(place, reach)


BEGINNINGS = {
    "sweep": ["tofu_eval.training.sweep.sweep"],
    "quickstart": [
        "tofu_eval.lab.quickstart.quickstart",
        "tofu_eval.lab.real.quickstart.find_model",
    ],
    "audit": ["tofu_eval.pipeline.audit.audit"],
}
"""By command: what is called once all that it was given has been read."""


# What a reader has


def make_stage(stage: Path) -> None:
    """The files that the pages speak of, and one run of each kind."""
    names = {"base": "base", "sft": "sft", "tofu": "tofu", "candidate": "sft", "people": "base"}
    for name, source in names.items():
        rows = [
            {**row, "category": row["prompt"].split()[2]}
            for row in map(json.loads, (EXAMPLES / f"responses/{source}.jsonl").open())
        ]
        (stage / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shutil.copytree(EXAMPLES, stage / "examples")
    shutil.copytree(EXAMPLES / "responses", stage / "logs")
    (stage / "few_words.py").write_text(BREVITY)
    (stage / "no_praise.py").write_text(STRICT)
    (stage / "rows.jsonl").write_text('{"prompt": "Name a fruit.", "completion": "fig"}\n' * 8)
    (stage / "eval.yaml").write_text("models: {base: BASE}\ntasks: [open-prompts]\n")
    _write_batch(stage)
    _make_runs(stage)


def _write_batch(stage: Path) -> None:
    said, asked = [], []
    for i in range(6):
        turns = [{"role": "user", "content": f"Name a fruit, {i}."}]
        body = {"model": "m", "messages": turns}
        asked.append({"custom_id": str(i), "method": "POST", "url": "/v1/x", "body": body})
        choices = [
            {"index": k, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            for k, text in enumerate(("fig", "pear"))
        ]
        answer = {"status_code": 200, "body": {"model": "m", "choices": choices}}
        said.append({"id": str(i), "custom_id": str(i), "response": answer, "error": None})
    for name, rows in (("batch_output", said), ("batch_input", asked)):
        (stage / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _make_runs(stage: Path) -> None:
    metrics = [flag for name in METRICS for flag in ("--metric", name)]
    metrics += ["--metric", "vendi[reward>=-3]", "--metric", "mean_pairwise_cosine_distance"]
    reward = stage / "few_words.py"
    given = ("--reward-model", reward, "--verifier", "text", "--cluster", "category")
    files = [stage / f"{name}.jsonl" for name in ("base", "sft", "tofu")]
    done = invoke("score", *files, "--output", stage / "x", *metrics, *given)
    assert done.exit_code == 0, done.output
    seeds = [f"{m}-{i}={stage / m}.jsonl" for m in ("sft", "tofu") for i in range(3)]
    shown = ("--metric", "unique_rate", "--output", stage / "seeds")
    done = invoke("score", files[0], *seeds, *shown)
    assert done.exit_code == 0, done.output
    task = te.load_task("open-prompts")
    few = replace(task, load=lambda: list(task.load())[:8])
    asked: dict[str, Any] = {
        "metrics": ["vendi", "reward"],
        "reward": {"model": str(stage / "few_words.py")},
    }
    models = {"base": FakeEngine(), "sft": FakeEngine(3), "tofu": FakeEngine()}
    te.evaluate(models, [few], stage / "hot", samples=4, temperature=[0.3, 0.7, 1.0, 1.3], **asked)
    steps = {f"step-{n:06}": _Step(n) for n in (0, 100)}
    te.evaluate(steps, [few], stage / "diversity", samples=4, metrics=["unique_rate", "self_bleu"])


class _Step(FakeEngine):
    """A model in training, as the callback names it."""

    def __init__(self, step: int) -> None:
        super().__init__(words=10 - step // 20)
        self.identity = {**self.identity, "kind": "training", "step": step}


KINDS = {"x", "seeds", "hot", "diversity"}
"""The runs that there are; a page's run of another name is like x, and `run` like hot."""


class Reader:
    """Somebody who types what a page says, in a folder of its own."""

    def __init__(
        self,
        folder: Path,
        stage: Path,
        tiny_model: Callable[[], Path],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self.folder, self._stage, self._tiny_model = folder, stage, tiny_model
        self._monkeypatch = monkeypatch
        kept = {"x", "seeds", "hot", "diversity"}
        shutil.copytree(
            stage, folder, ignore=lambda _, names: kept & set(names), dirs_exist_ok=True
        )
        self._names: dict[str, Any] = {}

    def follow(self, block: Block) -> None:
        """Write a file, run code, or type commands."""
        if block.file:
            (self.folder / block.file).write_text(block.text, "utf-8")
        if block.language == "python" and not block.file:
            self._run_code(block)
        elif block.language == "sh":
            for words in commands_of(block):
                self.type(words)

    def type(self, words: list[str]) -> None:
        """Run one command."""
        program, *arguments = words
        if program == "tofu-eval":
            self._run_tofu_eval(arguments)
        elif program == "accelerate":
            assert arguments[:3] == ["launch", "-m", "tofu_eval.training.sft"]
            self._run_tofu_eval(["train", *arguments[3:]])
        else:
            OTHER_PROGRAMS[program](arguments)

    def _run_tofu_eval(self, arguments: list[str]) -> None:
        command = arguments[0]
        replace_work(command, self._monkeypatch)
        arguments = [self._named(*pair) for pair in pairwise(["", *arguments])]
        output = _value(arguments, "--output")
        own_engine = (_value(arguments, "--engine") or "").endswith(".py")
        if command == "run" and not own_engine and "--dry-run" not in arguments:
            arguments.append("--dry-run")
        if command not in ("run", "score", "train", "sweep"):
            for word in arguments[1:]:
                self._have_run(word)
        result = invoke(*arguments)
        allowed = {0, 1, 3} if command == "check" else {0}
        reached = isinstance(result.exception, Reached)
        assert reached or result.exit_code in allowed, (arguments, result.output, result.exception)
        if command in ("run", "train", "sweep") and output:
            self._have_run(output)

    def _named(self, before: str, word: str) -> str:
        """A model of one's own in the place of one that would be fetched."""
        functions = {"--reward-model": "few_words.py", "--judge-model": "no_praise.py"}
        if before in functions and not word.endswith(".py"):
            return str(self._stage / functions[before])
        return word

    def _have_run(self, word: str) -> None:
        """The run that a command speaks of, as if an earlier one had made it."""
        path = Path(word)
        if path.suffix == ".json" and (path.parent.parent.name == "runs" or not path.parent.name):
            if path.name == "leaderboard.json":
                self._have_run(str(path.parent))
            elif path.name in ("theirs.json", "mine.json") and not path.exists():
                shutil.copy(self._stage / "x" / "leaderboard.json", path)
            return
        is_run = path.parent.name == "runs" or path.name in ("diversity", "run")
        if is_run and not (path / "run.json").exists():
            kind = path.name if path.name in KINDS else "hot" if path.name == "run" else "x"
            shutil.copytree(self._stage / kind, path, dirs_exist_ok=True)

    def _run_code(self, block: Block) -> None:
        file = self.folder / f"{block.page.stem}.md.py"
        if not self._names:
            self._names = {"path": self.folder / "runs" / "x"}
        for name in re.findall(r"runs/\w+", block.text):
            self._have_run(name)
        if "path" in block.text:
            self._have_run("runs/x")
        if "theirs.json" in block.text:
            self._have_run("theirs.json")
        if "import train," in block.text or " train," in block.text:
            replace_work("train", self._monkeypatch)
        if re.search(r"\b(trainer|logits|hidden|model)\b", block.text):
            self._names |= trainable(self._tiny_model(), self.folder)
        exec(compile(block.text, str(file), "exec"), self._names)


def _value(arguments: list[str], flag: str) -> str | None:
    return arguments[arguments.index(flag) + 1] if flag in arguments else None


def trainable(path: Path, folder: Path) -> dict[str, Any]:
    """What somebody has who trains: a model, batches, arguments, a trainer."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, Trainer
    from trl import SFTConfig

    model = AutoModelForCausalLM.from_pretrained(path)
    args = SFTConfig(output_dir=str(folder / "out"), report_to=[], use_cpu=True)
    rows = [{"prompt": "Name a fruit.", "completion": " fig"}] * 4
    labels = torch.tensor([[3, 4, 5, 6]])
    return {
        "Trainer": Trainer,
        "model": model,
        "args": args,
        "data": Dataset.from_list(rows),
        "labels": labels,
        "logits": model(labels).logits,
        "input_ids": labels,
        "mask": torch.ones_like(labels),
        "trainer": Trainer(model, args),
    }


# Programs beside tofu-eval


def _make(arguments: list[str]) -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    for target in arguments:
        if "=" not in target:
            assert re.search(rf"^{re.escape(target)}:", text, re.MULTILINE), target


def _pip(arguments: list[str]) -> None:
    """What is installed from here has the extras that are named."""
    import tomllib

    assert arguments[0] == "install", arguments
    known = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for word in arguments[1:]:
        if word.startswith((".", "tofu-eval")):
            extras = re.findall(r"\[(.*)\]", word)
            named = set(extras[0].split(",")) if extras else set()
            assert named <= set(known["optional-dependencies"]), word


def _vllm(arguments: list[str]) -> None:
    """Another tool's command; its address is what the next line asks."""
    assert arguments[0] == "serve", arguments


def _nothing(arguments: list[str]) -> None:
    """A program that every machine has."""


OTHER_PROGRAMS: dict[str, Callable[[list[str]], None]] = {
    "make": _make,
    "pip": _pip,
    "vllm": _vllm,
    "git": _nothing,
    "cd": _nothing,
}
