"""The commands that are harmed, what lies there before each, and what is compared after it."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.forking import do_nothing
from faults.looking import (
    look_at_board,
    look_at_file,
    look_at_run,
    look_at_training,
    look_at_tree,
)

HERE = Path(__file__).parent
WORDS = [
    *("apple", "pear", "plum", "fig", "lime", "kiwi"),
    *("date", "sloe", "mango", "quince", "rice", "oats"),
]


@dataclass(frozen=True)
class Scene:
    """A command in a folder.

    `before` are the commands that made what lies there, after `lay` has laid the files; `look`
    says what is compared; `faults` how often it is harmed in all, `fixed` how often in CI's.
    `models` says that it trains or generates with torch, so that nothing of it may run before a
    fork; `fresh` that it takes a Python of its own: V8, which draws, does not survive a fork.
    `children` says that it starts programs, which may be killed in its place. `prepare` is called
    in the command's process before it: the quickstart is made small. `once` says that it refuses
    an output that is there, whole, and may refuse it when it is called again.
    """

    name: str
    counts_for: str
    command: Sequence[str]
    look: Callable[[Path], Any]
    faults: int
    fixed: int
    lay: Callable[[Path], None] = lambda folder: None
    before: Sequence[Sequence[str]] = ()
    models: bool = False
    fresh: bool = False
    children: bool = False
    needs: str = ""
    once: bool = False
    prepare: Callable[[], None] = do_nothing


def lay_task(folder: Path, prompts: int = 24, samples: int = 8) -> None:
    """A task file; plain prompts."""
    task = {
        "name": "things",
        "version": 1,
        "licence": "CC0-1.0",
        "source": "made here",
        "citation": "none",
        "format": "sft",
        "sampling": {"samples": samples, "temperature": 1.0, "max_tokens": 8},
        "prompts": [f"Name a thing, number {i}." for i in range(prompts)],
    }
    (folder / "things.yaml").write_text(json.dumps(task))  # JSON is YAML


def lay_responses(folder: Path) -> None:
    """Two models' responses to 150 prompts, as files."""
    for model, words in (("base", 12), ("sft", 5)):
        stream = random.Random(words)
        rows = [
            {
                "id": f"p{i}",
                "prompt": f"Name two things, number {i}.",
                "responses": [" ".join(stream.choices(WORDS[:words], k=5)) for _ in range(6)],
            }
            for i in range(150)
        ]
        (folder / f"{model}.jsonl").write_text("\n".join(map(json.dumps, rows)))


def lay_rows(folder: Path) -> None:
    """Rows to train on."""
    rows = [{"prompt": f"Name fruit {i}.", "completion": WORDS[i % 8]} for i in range(16)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "train.yaml").write_text(
        "{max_steps: 4, save_steps: 2, per_device_train_batch_size: 4, max_length: 64}"
    )


def lay_tree(folder: Path) -> None:
    """A clone of a bare repository, with a file of its owner's that is changed."""
    environment = {
        **os.environ,
        **{f"GIT_{who}_{what}": "ada@example.org" for who in ("AUTHOR", "COMMITTER")
           for what in ("NAME", "EMAIL")},
    }  # fmt: skip

    def git(*arguments: str) -> None:
        subprocess.run(
            ["git", *arguments], cwd=folder, check=True, capture_output=True, env=environment
        )

    remote = folder.parents[1] / "remote" / "bare.git"  # where no harm is done
    git("init", "--quiet", "--bare", "-b", "main", str(remote))
    git("clone", "--quiet", str(remote), "tree")
    tree = folder / "tree"
    for name in ("name", "email"):
        git("-C", "tree", "config", f"user.{name}", "ada@example.org")
    (tree / "notes.txt").write_text("notes\n")
    git("-C", "tree", "checkout", "--quiet", "-B", "main")
    git("-C", "tree", "add", "notes.txt")
    git("-C", "tree", "commit", "--quiet", "-m", "first")
    git("-C", "tree", "push", "--quiet", "-u", "origin", "main")
    git("-C", "tree", "remote", "set-url", "origin", "../../../remote/bare.git")
    (tree / "notes.txt").write_text("mine, not to be committed\n")


ECHO = (
    *("run", "--engine", str(HERE / "echo_engine.py"), "--model", "base=10", "--model", "sft=4"),
    *("--task", "things.yaml", "--batch-size", "16", "--metric", "unique_rate"),
    *("--metric", "self_bleu", "--metric", "distinct_2", "--output", "r"),
)
TINY = (
    *("run", "--model", "tiny=MODEL", "--task", "things.yaml", "--batch-size", "16"),
    *("--metric", "distinct_2", "--output", "r"),
)
SCORE = (
    *("score", "base.jsonl", "sft.jsonl", "--metric", "distinct_2", "--metric", "unique_rate"),
    *("--metric", "self_bleu", "--output", "r"),
)
RESCORE = (
    *("rescore", "r", "--metric", "distinct_k", "--equivalence", "word-overlap"),
    *("--metric", "mean_length"),
)
BUILD = ("leaderboard", "build", "r", "--scores", "--output")
TRAIN = (
    *("train", "--model", "MODEL", "--data", "rows.jsonl", "--output", "t", "--loss", "tofu"),
    *("--config", "train.yaml", "--resume"),
)


MERGE_ADAPTER = ("merge-adapter", "MODEL+a", "--output", "m")
ADAPTER = (*TRAIN[:5], "--output", "a", "--config", "train.yaml", "--lora-r", "2")
REWARDS = ("--reward-model", str(HERE / "short_reward.py"), "--output")
SITE = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.+Z]*|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}")


SWEEP = (
    *("sweep", "--model", "MODEL", "--data", "rows.jsonl", "--config", "train.yaml"),
    *("--loss", "ce,tofu", "--task", "things.yaml", "--samples", "4", "--max-tokens", "6"),
    *("--metric", "unique_rate", "--output", "s"),
)


def shrink_quickstart() -> None:
    """The whole quickstart with a model that learns next to nothing, at two temperatures."""
    from tofu_eval.lab import checkpoints, quickstart

    tiny = checkpoints.Pretraining(
        width=16, layers=1, round_steps=20, max_rounds=1, family_gate=0, overall_gate=0
    )
    quickstart.TEMPERATURES = (0.8, 1.0)
    quickstart.CONTROL_TEMPERATURES = (1.0,)
    quickstart.SeedPlan.samples = property(lambda plan: 2)
    quickstart.SeedPlan.pretraining_settings = lambda plan: tiny


def look_at_sweep(folder: Path) -> dict[str, Any]:
    """The trainings of a sweep, and its run."""
    trainings = sorted((folder / "s" / "checkpoints").iterdir())
    return {
        "trainings": {path.name: look_at_training(path) for path in trainings},
        "run": look_at_run(folder / "s" / "run"),
    }


def look_at_quickstart(folder: Path) -> dict[str, Any]:
    """Both runs, the weights and the likelihoods of the quickstart."""
    weights = sorted((folder / "q" / "checkpoints").rglob("*.safetensors"))
    return {
        "run": look_at_run(folder / "q" / "runs" / "seed-0"),
        "sweep": look_at_run(folder / "q" / "runs" / "seed-0-temperatures"),
        "weights": {str(p.relative_to(folder)): look_at_file(p) for p in weights},
        "likelihoods": {
            p.name: json.loads(p.read_text())
            for p in sorted((folder / "q" / "likelihoods").rglob("*.json"))
        },
    }


def look_at_folder(folder: Path) -> dict[str, str]:
    """The files of a folder, without times and what names a run."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(
            SITE.sub("X", path.read_bytes().decode("latin-1")).encode()
        ).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def look_at_calibration(file: Path) -> str:
    """A calibration without when it was made."""
    return SITE.sub("X", file.read_text("utf-8"))


def _run(folder: Path) -> Any:
    return look_at_run(folder / "r")


def _board(folder: Path) -> Any:
    return look_at_board(folder / "b" / "leaderboard.json")


def _training(folder: Path) -> Any:
    return look_at_training(folder / "t")


SCENES = (
    Scene("run, a fake engine", "run", ECHO, _run, 240, 21, lay_task),
    Scene(
        "run, transformers", "run", TINY, _run, 120, 8,
        lambda folder: lay_task(folder, 6, 8), models=True,
    ),
    Scene("score", "score", SCORE, _run, 170, 14, lay_responses),
    Scene("rescore", "rescore", RESCORE, _run, 110, 10, lay_responses, (SCORE,)),
    Scene(
        "publish --to", "publish and merge",
        ("leaderboard", "publish", "two/board.json", "--to", "b"), _board, 90, 8,
        lay_responses,
        (
            (*SCORE[:1], *SCORE[2:]), (*BUILD, "two/board.json"), ("!rm", "r"),
            (*SCORE[:2], *SCORE[3:]), (*BUILD, "one/board.json"),
            ("leaderboard", "publish", "one/board.json", "--to", "b"),
        ),
    ),
    Scene(
        "publish --git --push", "publish and merge",
        ("leaderboard", "publish", "one/board.json", "--git", "tree", "--push"),
        lambda folder: look_at_tree(folder / "tree"), 60, 8,
        lambda folder: (lay_responses(folder), lay_tree(folder))[1],
        ((*SCORE[:2], *SCORE[3:]), (*BUILD, "one/board.json")), children=True, needs="git",
    ),
    Scene(
        "merge", "publish and merge",
        ("leaderboard", "merge", "one/board.json", "two/board.json", "--output",
         "b/leaderboard.json"), _board, 30, 4, lay_responses,
        (
            (*SCORE[:1], *SCORE[2:]), (*BUILD, "two/board.json"), ("!rm", "r"),
            (*SCORE[:2], *SCORE[3:]), (*BUILD, "one/board.json"),
        ),
    ),
    Scene(
        "build", "publish and merge", (*BUILD, "b/leaderboard.json"), _board, 30, 4,
        lay_responses, (SCORE,),
    ),
    Scene(
        "page", "exports, pairs, calibrations, merged adapters",
        ("leaderboard", "page", "b/leaderboard.json", "--output", "site"),
        lambda folder: look_at_folder(folder / "site"), 25, 2, lay_responses,
        (SCORE, (*BUILD, "b/leaderboard.json")),
    ),
    Scene(
        "export", "exports, pairs, calibrations, merged adapters",
        ("leaderboard", "export", "b/leaderboard.json", "--format", "every-eval-ever",
         "--organization", "x", "--relationship", "other", "--developer", "d", "--output", "e"),
        lambda folder: look_at_folder(folder / "e"), 15, 1, lay_responses,
        (SCORE, (*BUILD, "b/leaderboard.json")),
    ),
    Scene(
        "pairs", "exports, pairs, calibrations, merged adapters",
        ("pairs", "r", *REWARDS, "pairs.jsonl"),
        lambda folder: look_at_file(folder / "pairs.jsonl"), 25, 2, lay_responses, (SCORE,),
        once=True,
    ),
    Scene(
        "calibrate-reward", "exports, pairs, calibrations, merged adapters",
        ("calibrate-reward", "r", *REWARDS, "c.yaml"),
        lambda folder: look_at_calibration(folder / "c.yaml"), 10, 1, lay_responses, (SCORE,),
        once=True,
    ),
    Scene(
        "merge-adapter", "exports, pairs, calibrations, merged adapters", MERGE_ADAPTER,
        lambda folder: look_at_folder(folder / "m"), 25, 1, lay_rows, (ADAPTER,), models=True,
        once=True,
    ),
    Scene("train", "train", TRAIN, _training, 60, 6, lay_rows, models=True),
    Scene(
        "sweep", "sweep", SWEEP, look_at_sweep, 30, 3,
        lambda folder: (lay_rows(folder), lay_task(folder, 4, 4))[1], models=True, children=True,
    ),
    Scene(
        "quickstart", "quickstart", ("quickstart", "--quick", "--output", "q"),
        look_at_quickstart, 10, 1, models=True, children=True, prepare=shrink_quickstart,
    ),
    Scene(
        "report", "report and plot", ("report", "r", "--output", "page.html"),
        lambda folder: look_at_file(folder / "page.html"), 25, 3, lay_responses, (SCORE,),
        fresh=True,
    ),
    Scene(
        "plot", "report and plot",
        ("plot", "r", "--plot", "means", "--output", "means.svg"),
        lambda folder: look_at_file(folder / "means.svg"), 25, 3, lay_responses, (SCORE,),
        fresh=True,
    ),
)  # fmt: skip
