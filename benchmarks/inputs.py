"""Files of responses: how fast they are read beside json.loads, and what memory `score` takes.

    python benchmarks/inputs.py --quick                   # 20,000 responses, under a minute
    python benchmarks/inputs.py                           # 1,000,000 responses

One file of JSONL, a response a line, ten a prompt, of about 60 words. Reading is CPU seconds of one
thread, from the file to rows that wait on the disk, beside `json.loads` over the same lines in the
same process, in turn. Scoring is a process of its own: four lexical metrics, to the end of the
board. The JSON with the figures is the last line.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

QUICK, FULL = 20_000, 1_000_000
SAMPLES, WORDS = 10, 60
METRICS = ("distinct_1", "mean_length", "unique_rate", "ngram_entropy_2")


def write_rows(path: Path, responses: int) -> None:
    """A file of responses to prompts that are all different."""
    stream = random.Random(0)
    letters = "etaoinshrdlucmfwypvbgkqjxz"
    words = ["".join(stream.choices(letters, k=stream.randint(2, 9))) for _ in range(5_000)]
    with path.open("w", encoding="utf-8") as file:
        for number in range(responses // SAMPLES):
            prompt = f"Prompt {number}: {' '.join(stream.choices(words, k=12))}?"
            for _ in range(SAMPLES):
                text = " ".join(stream.choices(words, k=stream.randint(WORDS - 20, WORDS + 20)))
                file.write(json.dumps({"prompt": prompt, "response": text}) + "\n")


def read_beside_json(path: Path, rounds: int = 5) -> dict[str, float]:
    """CPU seconds of reading a file, and of json.loads over its lines: the best of some rounds."""
    from tofu_eval.importers.read import read_responses

    ours, plain = [], []
    for _ in range(rounds):
        start = time.process_time()
        with path.open("rb") as file:
            for line in file:
                json.loads(line)
        plain.append(time.process_time() - start)
        start = time.process_time()
        found = read_responses([("m", path)], "t", spool=path.parent)
        ours.append(time.process_time() - start)
    count = len(found.rows["m"])
    return {
        "responses_per_second": count / min(ours),
        "json_loads_per_second": count / min(plain),
        "ingest_vs_json_loads": min(plain) / min(ours),
    }


def score(path: Path, output: Path) -> dict[str, Any]:
    """Score a file in this process: seconds, and the most memory that was held."""
    from tofu_eval.pipeline.evaluate import score_files

    start = time.perf_counter()
    result = score_files([("m", path)], output, metrics=METRICS)
    return {
        "score_seconds": time.perf_counter() - start,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "estimates": result.estimates.num_rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} responses")
    parser.add_argument("--responses", type=int, help=f"by default {FULL:,}")
    parser.add_argument("--part", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.part:
        name, path, output = asked.part
        done = read_beside_json(Path(path)) if name == "read" else score(Path(path), Path(output))
        print(json.dumps(done))
        return
    responses = asked.responses or (QUICK if asked.quick else FULL)
    figures: dict[str, Any] = {"responses": responses}
    with tempfile.TemporaryDirectory(dir=".") as folder:
        path = Path(folder) / "rows.jsonl"
        write_rows(path, responses)
        figures["megabytes"] = round(path.stat().st_size / 1e6, 1)
        for part in ("read", "score"):
            command = [sys.executable, __file__, "--part", part, str(path), f"{folder}/run"]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            out = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
            figures |= json.loads(out.stdout.splitlines()[-1])
    for name, value in figures.items():
        print(f"{name:24} {value:,.2f}" if isinstance(value, float) else f"{name:24} {value:,}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
