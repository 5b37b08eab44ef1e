"""Harm every command at drawn moments, call it again, and count what came of it.

    python -m faults [--seed 0] [--jobs 2] [--fixed] [--scene NAME] [--only SCENE:HARM:MOMENT]

Prints a line a fault, then the counts by command. Exit code 1 where anything is lost, doubled,
damaged, left behind, refused, or ends in another way than it must.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from faults.harness import Fault, Outcome, Stage, draw_faults
from faults.interpose import build_shim
from faults.scenes import SCENES, Scene

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "PYTHONWARNINGS": "ignore::DeprecationWarning",
    "COLUMNS": "100",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="faults", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--fixed", action="store_true", help="the fixed hundred of CI")
    parser.add_argument("--scene", action="append", help="only scenes whose names begin so")
    parser.add_argument("--count", type=int, help="so many faults a scene")
    parser.add_argument("--only", action="append", help="this fault alone: SCENE:HARM:MOMENT")
    parser.add_argument("--keep", type=Path, help="where the folders of what failed stay")
    chosen = parser.parse_args()
    if "FAULTS_FOLDER" not in os.environ:
        _start_again_with_shim(Path(tempfile.mkdtemp(prefix="faults-", dir=chosen.keep)))
    folder = Path(os.environ["FAULTS_FOLDER"])
    try:
        sys.exit(_harm_all(chosen, folder))
    finally:
        if chosen.keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def _start_again_with_shim(folder: Path) -> None:
    """This program again, with the shim between it and the C library."""
    shim = {"LD_PRELOAD": str(build_shim(folder)), "FAULTS_FOLDER": str(folder)}
    command = [sys.executable, "-m", "faults", *sys.argv[1:]]
    os.execve(sys.executable, command, {**os.environ, **ENVIRONMENT, **shim})


def _harm_all(chosen: argparse.Namespace, folder: Path) -> int:
    start = time.monotonic()
    scenes = [s for s in SCENES if not chosen.scene or s.name.startswith(tuple(chosen.scene))]
    only = [_fault(text) for text in chosen.only or ()]
    if only:
        scenes = [s for s in SCENES if s.name in {fault.scene for fault in only}]
    scenes = [scene for scene in scenes if not scene.needs or shutil.which(scene.needs)]
    _import_all(any(scene.models for scene in scenes))
    model = folder / "model"
    if any(scene.models for scene in scenes):
        _in_fork(_build_model, model)
    outcomes = []
    for number, scene in enumerate(scenes):
        outcomes += _harm_scene(scene, folder / f"scene-{number}", model, only, chosen)
    return _sum_up(outcomes, scenes, time.monotonic() - start)


def _harm_scene(
    scene: Scene, folder: Path, model: Path, only: list[Fault], chosen: argparse.Namespace
) -> list[Outcome]:
    """All faults of a scene, dealt to `jobs` forks of this process."""
    stage = Stage(scene, folder, model)
    stage.lay()
    stage.warm()
    whole = stage.undisturbed()
    count = chosen.count or (scene.fixed if chosen.fixed else scene.faults)
    faults = [fault for fault in only if fault.scene == scene.name] or draw_faults(
        scene, whole.operations, count, chosen.seed
    )
    print(f"{scene.name}: {whole.operations} operations, {len(faults)} faults", flush=True)
    context = get_context("fork")
    results: Any = context.SimpleQueue()

    def lane(mine: list[Fault]) -> None:
        for fault in mine:
            results.put(stage.harm(fault, whole))

    lanes = [
        context.Process(target=lane, args=(faults[n :: chosen.jobs],)) for n in range(chosen.jobs)
    ]
    for process in lanes:
        process.start()
    outcomes = []
    for _ in faults:
        outcome = results.get()
        outcomes.append(outcome)
        told = "" if outcome.word == "equal" else f"  {outcome.detail}"
        print(f"{outcome.fault}  at {outcome.where}  {outcome.word}{told}", flush=True)
    for process in lanes:
        process.join()
    return outcomes


def _sum_up(outcomes: list[Outcome], scenes: list[Scene], seconds: float) -> int:
    print()
    for command in dict.fromkeys(scene.counts_for for scene in scenes):
        names = {scene.name for scene in scenes if scene.counts_for == command}
        own = [outcome for outcome in outcomes if outcome.fault.scene in names]
        words = Counter(outcome.word for outcome in own)
        harms = Counter(outcome.fault.mode for outcome in own)
        told = ", ".join(f"{count} {word}" for word, count in words.most_common())
        print(f"{command}: {len(own)} faults, {told}")
        print(f"    {', '.join(f'{count} {mode}' for mode, count in harms.items())}")
    wrong = sum(outcome.word != "equal" for outcome in outcomes)
    kinds = Counter(outcome.where.partition(" ")[0] for outcome in outcomes)
    print(f"at {', '.join(f'{count} {kind}' for kind, count in kinds.most_common())}")
    print(
        f"{len(outcomes)} faults in {seconds:.0f} s: {len(outcomes) - wrong} as if nothing had "
        f"happened, {wrong} not"
    )
    return 1 if wrong or not outcomes else 0


def _fault(text: str) -> Fault:
    scene, mode, at = text.rsplit(":", 2)
    return Fault(scene, mode, int(at))


def _import_all(models: bool) -> None:
    """Everything that commands import: the forks find it there."""
    import importlib

    names = [
        *(
            "jsonschema",
            "pandas",
            "pyarrow.parquet",
            "scipy.special",
            "scipy.stats",
            "rich.progress",
        ),
        *("tofu_eval.pipeline", "tofu_eval.report", "tofu_eval.leaderboard.publishing"),
        *("tofu_eval.cli.run", "tofu_eval.cli.score", "tofu_eval.cli.leaderboard"),
    ]
    if models:
        names += ["torch", "transformers", "trl", "peft", "tofu_eval.training.job"]
        names += ["tofu_eval.engines.transformers"]
    for name in names:
        importlib.import_module(name)


def _in_fork(job: Any, *arguments: Any) -> None:
    """Do what starts threads in a process of its own."""
    process = get_context("fork").Process(target=job, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == 0


def _build_model(path: Path) -> None:
    from tofu_eval.lab.model import build_model, build_tokenizer

    tokenizer = build_tokenizer()
    build_model(tokenizer, width=32, layers=1, seed=0).save_pretrained(path)
    tokenizer.save_pretrained(path)


if __name__ == "__main__":
    main()
