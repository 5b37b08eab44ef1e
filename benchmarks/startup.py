"""What `tofu-eval train` costs before its first step, against importing what it stands on.

    python benchmarks/startup.py [--quick]

Both are processes of their own, by turns, on one thread: one imports TRL's trainer, PEFT and
datasets and ends; the other has our command line imported, reads rows, loads a tiny model, makes
the trainer, and ends where the first optimiser step would begin. Compared is the least CPU time of
each, which does not count what other programs of a busy machine take; the wall time stands beside.
The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMPORTS = "from trl import SFTConfig, SFTTrainer; import peft, datasets"

TRAINING = """
import os, sys
import tofu_eval.cli
import tofu_eval as te

def at_the_first_step(stage, done, total):
    os._exit(0)

te.train(
    sys.argv[1], sys.argv[2], sys.argv[3], lora={"r": 4}, sft={"max_steps": 2},
    report=at_the_first_step,
)
sys.exit("the first step was not told")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="3 turns, not 7")
    turns = 3 if parser.parse_args().quick else 7
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model, rows = make_inputs(folder)
        took: dict[str, list[tuple[float, float]]] = {"imports": [], "training": []}
        for turn in range(turns + 1):
            imports = run(IMPORTS)
            training = run(TRAINING, str(model), str(rows), str(folder / f"out-{turn}"))
            if turn:  # the first brings files into memory
                took["imports"].append(imports)
                took["training"].append(training)
            print(f"turn {turn}: imports {imports[0]:.2f} s, training {training[0]:.2f} s of CPU")
    cpu = {name: min(pair[0] for pair in pairs) for name, pairs in took.items()}
    wall = {name: min(pair[1] for pair in pairs) for name, pairs in took.items()}
    print(
        json.dumps(
            {
                "startup_vs_imports": round(cpu["training"] / cpu["imports"], 3),
                "startup_vs_imports_wall": round(wall["training"] / wall["imports"], 3),
                "imports_cpu_s": round(cpu["imports"], 2),
                "startup_cpu_s": round(cpu["training"], 2),
                "turns": turns,
            }
        )
    )


def make_inputs(folder: Path) -> tuple[Path, Path]:
    """A tiny model and its tokenizer, and rows to train on."""
    from tofu_eval.lab import data, world
    from tofu_eval.lab.model import build_model, build_tokenizer

    tokenizer = build_tokenizer()
    model = folder / "model"
    build_model(tokenizer, width=32, layers=1, seed=0).save_pretrained(model)
    tokenizer.save_pretrained(model)
    documents = data.sft_documents(0, world.SEEN[:12], 4)
    rows = folder / "rows.jsonl"
    lines = [json.dumps({"prompt": d.prompt, "completion": d.answer}) for d in documents]
    rows.write_text("\n".join(lines) + "\n")
    return model, rows


def run(code: str, *arguments: str) -> tuple[float, float]:
    """CPU and wall seconds of a Python of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, env=environment)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, wall


if __name__ == "__main__":
    main()
