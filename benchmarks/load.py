"""Load: what a million responses, a board of 100,000 rows and 100,000 requests take.

    python benchmarks/load.py --quick                     # much less, in under a minute
    python benchmarks/load.py                             # all of it
    python benchmarks/load.py --only board                # one of score, board, server

Every command is a process of its own, as a user runs it; of each, wall and CPU seconds and the most
memory that it held. `score`: two models on the same prompts, ten responses of about 60 words each,
four lexical metrics and a reward a response (a function in a Python file, so that a feature is made
and kept of every text); then compare, report, leaderboard build. `board`: ten people's boards, each
of models and tasks of their own, with 20 per-prompt rows a row, merged, validated, shown, exported,
published. `server`: requests at concurrency 256 to a server without a model in a process of its
own, by the openai engine to the end of the board, and by the plain client with the same arguments,
which keeps the texts and nothing else; in turn, some rounds of each. The JSON with the figures is
the last line; a name that ends in `_1e6` says at how many.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
Figures = Iterator[tuple[str, float]]
PARTS = ("score", "board", "server")
SAMPLES, WORDS = 10, 60
METRICS = ("distinct_1", "mean_length", "unique_rate", "ngram_entropy_2")
CONCURRENCY, TOKENS = 256, 64
PEOPLE, MODELS, PROMPTS = 10, 5, 20


@dataclass(frozen=True)
class Size:
    responses: int
    rows: int
    requests: int
    rounds: int


FULL = Size(responses=1_000_000, rows=100_000, requests=100_000, rounds=4)
QUICK = Size(responses=2_000, rows=400, requests=1_000, rounds=1)

REWARDS = '''
import tofu_eval as te


@te.reward_model(name="letters")
def letters(pairs):
    """The share of a response that is the letter e."""
    return [text.count("e") / max(1, len(text)) for _, text in pairs]
'''


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.part:
        name, *arguments = asked.part
        CHILDREN[name](*arguments)
        return
    size = QUICK if asked.quick else FULL
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=".") as folder:
        for part in asked.only or PARTS:
            for name, value in MEASURED[part](Path(folder), size):
                digits = ".2f" if isinstance(value, float) else ""
                print(f"{name:36} {value:,{digits}}", flush=True)
                figures[name] = value
    print(json.dumps(figures))


# A process and what it took


@dataclass(frozen=True)
class Ran:
    seconds: float
    cpu: float
    peak: float
    out: str


def run(*command: object) -> Ran:
    """Run a command of tofu-eval; what it printed, and what it took."""
    return start(sys.executable, "-m", "tofu_eval.cli", *command)


def start(*command: object) -> Ran:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    begin = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        # Not waited for by subprocess, so that the kernel tells of this child alone.
        child = subprocess.Popen([*map(str, command)], stdout=out, env=environment)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - begin
        out.seek(0)
        text = out.read().decode()
    if child.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {child.returncode}: {text}")
    return Ran(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, text)


def told(name: str, ran: Ran) -> list[tuple[str, float]]:
    taken = {"seconds": ran.seconds, "cpu_seconds": ran.cpu, "mib": ran.peak}
    return [(f"{name}_{what}", value) for what, value in taken.items()]


def at(count: int) -> str:
    """A count in a name: 1e6, 2e4; 1,600 is 1600."""
    digits = f"{count:.0e}".replace("e+0", "e")
    return digits if float(digits) == count else str(count)


# Responses


def measure_score(folder: Path, size: Size) -> Figures:
    rewards = folder / "rewards.py"
    rewards.write_text(REWARDS)
    metrics = [word for name in METRICS for word in ("--metric", name)]
    counts = [size.responses // 10, size.responses] if size is FULL else [size.responses]
    for responses in counts:  # is memory flat?
        files = write_responses(folder, responses)
        output = folder / f"run-{responses}"
        ran = run("score", *files, "--output", output, *metrics, "--reward-model", rewards)
        yield f"peak_mib_score_{at(responses)}", ran.peak
    yield "responses", size.responses
    yield from told("score", ran)
    yield from told("compare", run("compare", output))
    yield from told("report", run("report", output))
    yield "report_mb", (output / "report.html").stat().st_size / 1e6
    board = folder / "run-board.json"
    yield from told("build", run("leaderboard", "build", output, "--scores", "--output", board))
    yield from told("verify", run("runs", "verify", output))
    yield from told("rescore_nothing", run("rescore", output, "--reward-model", rewards))


def write_responses(folder: Path, responses: int) -> list[str]:
    """A file each of two models, of which one draws from fewer words."""
    letters = "etaoinshrdlucmfwypvbgkqjxz"
    stream = random.Random(0)
    words = ["".join(stream.choices(letters, k=stream.randint(2, 9))) for _ in range(5_000)]
    prompts = responses // SAMPLES // 2
    asked = [f"Prompt {n}: {' '.join(stream.choices(words, k=12))}?" for n in range(prompts)]
    files = []
    for model, known in (("base", words), ("sft", words[:2_000])):
        path = folder / f"{model}-{responses}.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for prompt in asked:
                texts = [
                    " ".join(stream.choices(known, k=stream.randint(WORDS - 20, WORDS + 20)))
                    for _ in range(SAMPLES)
                ]
                file.write(json.dumps({"prompt": prompt, "responses": texts}) + "\n")
        files.append(f"{model}={path}")
    return files


# A board


def measure_board(folder: Path, size: Size) -> Figures:
    start(sys.executable, __file__, "--part", "boards", folder, size.rows)
    files = sorted(folder.glob("board-*.json"))
    whole = folder / "whole.json"
    commands = {
        "merge": ("merge", *files, "--output", whole),
        "validate": ("validate", whole),
        "show": ("show", whole),
        "export": ("export", whole, "--format", "csv"),
        "publish": ("publish", whole, "--to", folder / "site"),
    }
    peaks = []
    for name, command in commands.items():
        ran = run("leaderboard", *command)
        peaks.append(ran.peak)
        yield from told(name, ran)
    rows = len(json.loads(whole.read_text())["rows"])
    yield "board_rows", rows
    yield "board_mb", whole.stat().st_size / 1e6
    yield f"peak_mib_board_{at(rows)}", max(peaks)


def write_boards(folder: str, rows: str) -> None:
    """The boards of some people, whose models and tasks nobody else has."""
    sys.path.append(str(HERE.parent / "tests"))
    from support.large_board import LEVELS, run_source

    from tofu_eval.leaderboard.merge import merge
    from tofu_eval.leaderboard.publishing import save_board

    tasks = int(rows) // (PEOPLE * MODELS * len(LEVELS))
    for who in range(PEOPLE):
        source = run_source(
            f"{who % 9 + 1:x}{who:015x}",
            [f"model-{who}-{n}" for n in range(MODELS)],
            tasks={f"task-{who}-{n}": PROMPTS for n in range(tasks)},
        )
        save_board(Path(folder) / f"board-{who}.json", merge([source]))


# A server


def measure_server(folder: Path, size: Size) -> Figures:
    sums = {"ours": [0.0, 0.0], "plain": [0.0, 0.0]}
    peak, each = 0.0, size.requests // size.rounds
    with serving() as url:
        for number in range(size.rounds):
            names = ("plain", "ours") if number % 2 else ("ours", "plain")
            for name in names:
                output = folder / f"served-{number}"
                ran = start(sys.executable, __file__, "--part", name, url, each, output)
                wall, cpu, answered = json.loads(ran.out.splitlines()[-1])
                if answered != each:
                    raise SystemExit(f"{name}: {answered} of {each} requests were answered")
                sums[name][0] += wall
                sums[name][1] += cpu
                peak = max(peak, ran.peak) if name == "ours" else peak
    count = each * size.rounds
    yield "requests", count
    yield "concurrency", CONCURRENCY
    for name, (wall, cpu) in sums.items():
        yield f"requests_per_second_{name}", count / wall
        yield f"cpu_ms_per_request_{name}", 1e3 * cpu / count
    yield "server_peak_mib", peak
    yield "server_overhead", sums["ours"][0] / sums["plain"][0]


@contextmanager
def serving() -> Iterator[str]:
    """The address of a server in a process of its own."""
    command = [sys.executable, __file__, "--part", "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def serve() -> None:
    """Answer requests for completions until the process is ended."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.partition(b":")[2])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length")
                )
                body = json.loads(await reader.readexactly(length))
                content = json.dumps(completion(body)).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                    b"Content-Length: %d\r\n\r\n%s" % (len(content), content)
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def listen() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1024)
        print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
        await server.serve_forever()

    asyncio.run(listen())


def completion(body: dict[str, Any]) -> dict[str, Any]:
    """A text of TOKENS tokens that the seed decides, in the form of vLLM's server."""
    draw = random.Random(body.get("seed"))
    tokens = [f" {number:x}" for number in draw.choices(range(4096), k=TOKENS)]
    values = [-1.0] * TOKENS
    choice = {
        "index": 0,
        "text": "".join(tokens),
        "finish_reason": "stop",
        "logprobs": {"tokens": tokens, "token_logprobs": values, "text_offset": []},
        "token_ids": [len(token) for token in tokens],
    }
    return {
        "id": "x", "object": "text_completion", "created": 0, "model": body["model"],
        "choices": [choice],
    }  # fmt: skip


def prompts_of(requests: int) -> list[str]:
    return [f"Name something that begins with {number}." for number in range(requests // SAMPLES)]


def ask_ours(url: str, requests: str, output: str) -> None:
    """The engine, from the task to the board."""
    import tofu_eval as te

    prompts = [te.Prompt.of_text(f"p{n}", text) for n, text in enumerate(prompts_of(int(requests)))]
    rest = int(requests) - len(prompts) * SAMPLES
    if rest:
        raise SystemExit(f"{requests} requests are no whole number of prompts")
    task = te.Task(
        "load", 1, lambda: prompts, sampling=te.Sampling(samples=SAMPLES, max_tokens=TOKENS)
    )
    begin = begun()
    te.evaluate(
        {"m": "m"},
        task,
        output,
        engine="openai",
        base_url=url,
        engine_args={"concurrency": CONCURRENCY},
        format="base",
        metrics=("unique_rate",),
    )
    from tofu_eval.run.store import Run

    print(json.dumps([*since(begin), len(Run.open(output).response_keys("m", "load"))]))


def ask_plain(url: str, requests: str, output: str) -> None:
    """The client alone: the same prompts and arguments, as many at once."""
    import openai

    texts: list[str] = []
    left = iter(
        [(prompt, sample) for prompt in prompts_of(int(requests)) for sample in range(SAMPLES)]
    )

    async def worker(client: openai.AsyncOpenAI) -> None:
        for prompt, sample in left:
            answer = await client.completions.create(
                model="m",
                prompt=prompt,
                max_tokens=TOKENS,
                temperature=1.0,
                top_p=1.0,
                frequency_penalty=0.0,
                presence_penalty=0.0,
                n=1,
                seed=sample,
                logprobs=1,
                extra_body={
                    "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "return_token_ids": True,
                },
            )  # fmt: skip
            texts.append(answer.choices[0].text)

    async def ask() -> None:
        async with openai.AsyncOpenAI(
            base_url=url, api_key="none", max_retries=0, timeout=600.0
        ) as client:
            await asyncio.gather(*(worker(client) for _ in range(CONCURRENCY)))

    begin = begun()
    asyncio.run(ask())
    print(json.dumps([*since(begin), len(texts)]))


def begun() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def since(begin: Sequence[float]) -> list[float]:
    return [now - before for now, before in zip(begun(), begin, strict=True)]


MEASURED = {"score": measure_score, "board": measure_board, "server": measure_server}
CHILDREN: dict[str, Any] = {
    "boards": write_boards,
    "serve": serve,
    "ours": ask_ours,
    "plain": ask_plain,
}

if __name__ == "__main__":
    main()
