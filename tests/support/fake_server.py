"""An OpenAI-compatible server without a model, which fails as it is told."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

WORDS = ["apple", "pear", "plum", "fig", "lime", "kiwi", "date", "sloe", "mango", "quince"]


class FakeServer(ThreadingHTTPServer):
    """Listens on 127.0.0.1; use it as a context manager.

    Args:
        faults: what goes wrong at the n-th request (from 0): "429", "500", "404", "cut" (half an
            answer), "drop" (no answer), "garbage" (no JSON), "hang", "empty" (no choices).
        refuses: parameters that are answered with 400.
        seeds: "honoured", "ignored" or "fixed" (one text for every seed, others without a seed).
        deaf: whether /pooling knows no `use_activation`, and /completions no `echo`.
        key: what must be in the Authorization header, if anything.
        hang: seconds that "hang" lasts.
    """

    daemon_threads = True

    def __init__(
        self,
        faults: dict[int, str] | None = None,
        *,
        refuses: tuple[str, ...] = (),
        seeds: str = "honoured",
        key: str | None = None,
        headers: dict[str, str] | None = None,
        hang: float = 30.0,
        port: int = 0,
        delay: float = 0.0,
        deaf: bool = False,
    ) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.faults = dict(faults or {})
        self.refuses, self.seeds, self.key, self.hang = refuses, seeds, key, hang
        self.headers, self.delay, self.deaf = headers or {}, delay, deaf
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.bodies: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.at_once = self.most_at_once = 0
        self.free = np.random.default_rng(0)
        self.lock = threading.Lock()

    @property
    def asked(self) -> Counter[int]:
        """How often each seed was asked for, in the negotiation too."""
        return Counter(body["seed"] for body in self.bodies if "seed" in body)

    def __enter__(self) -> FakeServer:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: FakeServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            number = len(self.server.bodies)
            self.server.bodies.append(body)
            self.server.times.append(time.monotonic())
            self.server.at_once += 1
            self.server.most_at_once = max(self.server.most_at_once, self.server.at_once)
        try:
            time.sleep(self.server.delay)
            self.respond(body, self.server.faults.get(number))
        finally:
            with self.server.lock:
                self.server.at_once -= 1

    def respond(self, body: dict[str, Any], fault: str | None) -> None:
        if self.server.key and self.headers["Authorization"] != f"Bearer {self.server.key}":
            return self.send(401, {"error": {"message": "Incorrect API key provided"}})
        for name in self.server.refuses:
            if name in body:
                return self.send(400, {"error": {"message": f"Unknown parameter: '{name}'."}})
        if fault in ("429", "500", "404"):
            told = {"Retry-After": "0.3"} if fault == "429" else {}
            return self.send(int(fault), {"error": {"message": "not now"}}, told)
        if fault == "hang":
            time.sleep(self.server.hang)
        if fault in ("hang", "drop"):
            self.close_connection = True
            return None
        pooling = self.path.endswith(("/embeddings", "/pooling"))
        answer = self.pooled(body) if pooling else self.answer(body)
        if fault == "empty":
            answer["data" if pooling else "choices"] = []
        if fault == "garbage":
            return self.write(200, b"<html>Bad gateway</html>", {})
        data = json.dumps(answer).encode()
        if fault == "cut":
            self.close_connection = True
            return self.write(200, data[: len(data) // 2], {}, length=len(data))
        return self.write(200, data, self.server.headers)

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        if body.get("echo") and not self.server.deaf:
            return self.echoed(body)
        seed = body.get("seed")
        if self.server.seeds == "ignored" or seed is None:
            with self.server.lock:
                seed = int(self.server.free.integers(2**32))
        elif self.server.seeds == "fixed":
            seed = 0
        draw = np.random.default_rng(seed)
        words = [WORDS[i] for i in draw.integers(len(WORDS), size=8)]
        logprobs = [-1.0] * len(words)
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
        if body.get("return_token_ids"):
            choice["token_ids"] = [WORDS.index(word) for word in words]
        chat = "messages" in body
        if chat:
            choice["message"] = {"role": "assistant", "content": " ".join(words)}
            if body.get("logprobs"):
                tokens = zip(words, logprobs, strict=True)
                content = [{"token": w, "logprob": p, "top_logprobs": []} for w, p in tokens]
                choice["logprobs"] = {"content": content}
        else:
            choice["text"] = " ".join(words)
            if body.get("logprobs") is not None:
                choice["logprobs"] = {"tokens": words, "token_logprobs": logprobs}
        return {
            "id": "x",
            "object": "chat.completion" if chat else "text_completion",
            "created": 0,
            "model": body["model"],
            "system_fingerprint": "fake-1",
            "choices": [choice],
        }

    def echoed(self, body: dict[str, Any]) -> dict[str, Any]:
        """The prompt and one word more; a token is a word with the space before it."""
        text = f"{body['prompt']} more"
        found = list(re.finditer(r"\s*\S+", text))
        told = {
            "tokens": [match.group() for match in found],
            "text_offset": [match.start() for match in found],
            "token_logprobs": [None, *(-float(len(match.group())) for match in found[1:])],
        }
        choice = {"index": 0, "finish_reason": "length", "text": text, "logprobs": told}
        return {
            "id": "x", "object": "text_completion", "created": 0, "model": body["model"],
            "choices": [choice],
        }  # fmt: skip

    def pooled(self, body: dict[str, Any]) -> dict[str, Any]:
        """/embeddings: letters counted, in another order. /pooling: a logit, squeezed if asked."""
        if "input" in body:
            rows = [[float(text.count(c)) for c in "abcdefgh "] for text in body["input"]]
            data = [{"index": i, "embedding": row} for i, row in enumerate(rows)]
            return {"object": "list", "data": data[::-1], "model": body["model"]}
        raw = len(body["messages"][-1]["content"]) - 8.0
        squeeze = body["use_activation"] and not self.server.deaf
        return {"data": [{"index": 0, "data": [1 / (1 + np.exp(-raw)) if squeeze else raw]}]}

    def send(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        self.write(status, json.dumps(body).encode(), headers or {})

    def write(
        self, status: int, data: bytes, headers: dict[str, str], length: int | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data) if length is None else length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:  # the client went away, as it may
            self.close_connection = True
