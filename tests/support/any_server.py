"""A server that answers with anything, and a run that asks it."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import tofu_eval as te
from tofu_eval.core.config import Settings
from tofu_eval.core.models import parse_model
from tofu_eval.core.types import Sampling
from tofu_eval.engines.open import open_engine
from tofu_eval.pipeline.generate import build_requests, generate
from tofu_eval.pipeline.plan import plan_of
from tofu_eval.run.store import Run
from tofu_eval.tasks import load_format

KEY = "sk-secret-key-1"
TEXTS = ["Name a fruit", "Tell a dream", "Say " + "word " * 80, "Count"]
SAMPLES = 5
ALL = len(TEXTS) * SAMPLES
QUICK = {"timeout": 1.0, "deadline": 1.2, "concurrency": 8}


def ask(
    folder: Path,
    url: str,
    model: str = "m",
    *,
    format: str = "chat",
    sampling: Sampling | None = None,
    max_failed: float = 0.5,
    **options: Any,
) -> Run:
    """One model's responses to four prompts, in a run."""
    sampling = sampling or Sampling(samples=SAMPLES, max_tokens=120, top_p=0.9)
    prompts = [te.Prompt.of_text(f"p{i}", text) for i, text in enumerate(TEXTS)]
    task = te.Task("t", 1, lambda: prompts, sampling=sampling)
    arguments = {**QUICK, **options.pop("engine_args", {})}
    engine = open_engine(
        "openai", parse_model(f"m={model}"), base_url=url, engine_args=arguments, **options
    )
    plan = plan_of(task, Settings())
    wanted = build_requests(plan, load_format(format), "m", engine, 0)
    with Run.writing(folder) as run:
        run.save(
            models={"m": {"identity": {}, "engine": "openai", "prompt_format": {"t": format}}},
            tasks={"t": plan.describe()}, notes=[], settings={"seed": 0}, status="running",
        )  # fmt: skip
        run.write_prompts("t", plan.prompts)
        try:
            generate(run, "m", engine, wanted, lambda *_: None, max_failed=max_failed)
        finally:
            run.save(notes=[*run.manifest["notes"], *engine.record.get("remarks", [])])
    return run


def states(run: Run) -> dict[str, int]:
    return dict(Counter(run.responses("m", "t").column("state").to_pylist()))


Send = Callable[..., None]


class AnyServer(ThreadingHTTPServer):
    """Answers with what `behave(body, chat, number)` gives: (status, bytes, headers)."""

    daemon_threads = True

    def __init__(self, behave: Callable[[dict[str, Any], bool, int], Any]) -> None:
        super().__init__(("127.0.0.1", 0), Any_)
        self.behave, self.bodies = behave, list[dict[str, Any]]()
        self.url = f"http://127.0.0.1:{self.server_port}/v1"

    def __enter__(self) -> AnyServer:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class Any_(BaseHTTPRequestHandler):
    server: AnyServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        chat = self.path.endswith("chat/completions")
        status, data, headers = self.server.behave(body, chat, len(self.server.bodies))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(data)
        except ConnectionError:  # the client has seen enough
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def words(body: dict[str, Any]) -> str:
    draw = random.Random(f"{body.get('seed')}{body.get('messages') or body.get('prompt')}")
    return " ".join(draw.choice(["red", "blue", "green", "teal", "pink"]) for _ in range(8))


def answer(body: dict[str, Any], **message: Any) -> Any:
    told = {"role": "assistant", "content": words(body), **message}
    choice = {"index": 0, "finish_reason": "stop", "message": told, "text": told["content"]}
    return 200, json.dumps({"choices": [choice]}).encode(), {}


def answer_late(body: dict[str, Any]) -> Any:
    """After the first failures of the others, so that the server is seen to be there."""
    time.sleep(0.4)
    return answer(body)


def error(status: int, message: str, **more: Any) -> Any:
    return status, json.dumps({"error": {"message": message, **more}}).encode(), {}


def body_of(text: str) -> Any:
    return 200, text.encode(), {}


def refuse(*names: str, words: str = "Extra inputs are not permitted: {}") -> Any:
    def behave(body: dict[str, Any], chat: bool, number: int) -> Any:
        for name in names:
            if name in body:
                return error(422, words.format(name))
        return answer(body)

    return behave
