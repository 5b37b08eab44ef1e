"""Servers that misbehave, a line a mode: each ends in rows or in one clear line.

The two servers of the shared cases are started as they are; `AnyServer` here misbehaves in further
ways of the same kinds.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.any_server import (
    ALL,
    KEY,
    SAMPLES,
    TEXTS,
    AnyServer,
    answer,
    answer_late,
    ask,
    body_of,
    error,
    refuse,
    states,
    words,
)

from tofu_eval.core.errors import ModelError
from tofu_eval.core.types import Sampling
from tofu_eval.run.store import Run
from tofu_eval.run.verify import verify

SERVERS = (
    Path(
        os.environ.get("TOFU_EVAL_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")
    ).parent
    / "cases"
    / "server"
)

rows = dict
"""What is expected: the number of responses by state."""

NO_ANSWER = r"^The server http://\S+ does not answer: "
SAID = r"^The server http://\S+ refuses prompt 'p0' of task 't': "


def end(folder: Path, expected: dict[str, int] | str, **asked: Any) -> Run | None:
    """Check that it ends as expected; the run, where there are rows."""
    if isinstance(expected, str):
        with pytest.raises(ModelError, match=expected) as caught:
            ask(folder, **asked)
        said = str(caught.value)
        assert said.isprintable()
        assert KEY not in said
        return None
    run = ask(folder, **asked)
    assert states(run) == expected
    assert not verify(folder).problems
    return run


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


# The servers of the shared cases


def start(command: list[str], folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        [sys.executable, *command, str(port)], cwd=folder, stdout=quiet, stderr=quiet
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process, f"http://127.0.0.1:{port}/v1"
        time.sleep(0.02)
    raise AssertionError("the server of the shared cases does not start")


@pytest.fixture(scope="module")
def by_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server whose behaviour is the model's name."""
    if not SERVERS.is_dir():
        pytest.skip(f"no servers in {SERVERS}: set TOFU_EVAL_SHARED_DATA")
    file = SERVERS / "fake_openai_server.py"
    process, url = start([str(file)], tmp_path_factory.mktemp("server"))
    yield url
    process.kill()


BY_MODEL: dict[str, dict[str, int] | str] = {
    "plain": rows(finished=ALL),
    "null30": rows(finished=9, filtered=11),
    "tools": rows(empty=ALL),
    "reasoner": rows(finished=ALL),
    "think": rows(finished=ALL),
    "listparts": rows(finished=ALL),
    "nomessage": NO_ANSWER + "a choice whose message is missing",
    "emptychoices": NO_ANSWER + r"a completion whose choices are \[\]",
    "choicesnull": NO_ANSWER + "a completion whose choices are missing",
    "err200": NO_ANSWER + "429 Provider returned error",
    "html200": NO_ANSWER + "no JSON, but '<html>",
    "sse": NO_ANSWER + "no JSON, but 'data: ",
    "filter400": rows(finished=15, filtered=5),
    "gpt5": r"does not take top_p 0\.9: 400 Unsupported parameter: 'top_p'.*--top-p 1",
    "o1short": rows(finished=ALL),
    "temp1": rows(finished=ALL),
    "claude": rows(finished=ALL),
    "mint": rows(finished=ALL),
    "two": rows(finished=ALL),
    "greedy": rows(finished=ALL),
    "nofr": rows(finished=ALL),
    "weirdfr": rows(finished=ALL),
    "alllen": rows(unfinished=ALL),
    "empty": rows(empty=ALL),
    "empty80": rows(finished=5, empty=15),
    "neginf": rows(finished=ALL),
    "poslp": rows(finished=ALL),
    "nul": rows(finished=ALL),
    "surr": rows(finished=ALL),
    "ctx": rows(finished=15, failed=5),
    "r429": NO_ANSWER + "429 Rate limit",
    "r429day": NO_ANSWER + r"429 Rate limit reached.*says to wait 86400 s",
}


@pytest.mark.parametrize("model", BY_MODEL)
def test_by_model(by_model: str, model: str, tmp_path: Path) -> None:
    end(tmp_path / "run", BY_MODEL[model], url=by_model, model=model)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["flaky", "reset"])
def test_what_fails_now_and_then(by_model: str, model: str, tmp_path: Path) -> None:
    """A rerun asks for what failed, and for nothing else."""
    patient = {"engine_args": {"deadline": 20.0, "concurrency": 1}}
    assert states(ask(tmp_path / "run", by_model, model, **patient)) == {"finished": ALL}


def test_what_a_server_makes_of_settings(by_model: str, tmp_path: Path) -> None:
    neutral = Sampling(samples=SAMPLES, max_tokens=120)
    run = end(tmp_path / "a", rows(finished=ALL), url=by_model, model="gpt5", sampling=neutral)
    assert run is not None
    run = end(tmp_path / "b", rows(finished=ALL), url=by_model, model="claude", sampling=neutral)
    assert run is not None
    assert "the server does not take top_p; its own defaults" in str(run.manifest["notes"])
    both = Sampling(samples=SAMPLES, max_tokens=120, temperature=0.7, top_p=0.9)
    line = r"does not take temperature 0\.7 and top_p 0\.9: 400 `temperature` and `top_p` cannot"
    end(tmp_path / "c", line, url=by_model, model="claude", sampling=both)
    cold = Sampling(samples=SAMPLES, max_tokens=120, temperature=0.7)
    end(tmp_path / "d", r"not take temperature 0\.7", url=by_model, model="temp1", sampling=cold)
    short = Sampling(samples=SAMPLES, max_tokens=8)
    line = "400 max_tokens must be at least 17"
    end(tmp_path / "e", line, url=by_model, model="mint", sampling=short)


@pytest.mark.slow
def test_thoughts_and_remarks(by_model: str, tmp_path: Path) -> None:
    for model in ("reasoner", "think", "listparts"):
        table = ask(tmp_path / model, by_model, model).responses("m", "t")
        assert all(table.column("reasoning").to_pylist()), model
        assert "think" not in table.column("text")[0].as_py()
    notes = {
        model: str(ask(tmp_path / model, by_model, model).manifest["notes"])
        for model in ("greedy", "empty80", "neginf", "surr", "alllen", "two")
    }
    assert notes["greedy"] == "[]"  # it may be sure of its answer
    assert "seed" not in notes["empty80"]
    assert "log-probabilities that cannot be; dropped" in notes["neginf"]
    assert "half characters" in notes["surr"]
    assert "every response was cut at max_tokens" in notes["alllen"]
    assert "gave 2 choices where 1 were asked for" in notes["two"]


def test_a_server_that_echoes_the_prompt(by_model: str, tmp_path: Path) -> None:
    run = ask(tmp_path / "run", by_model, "echoprompt", format="base")
    texts = run.responses("m", "t").column("text").to_pylist()
    assert not any(text.startswith(prompt) for text in texts for prompt in TEXTS)
    assert "texts begin with the prompt; it is cut" in str(run.manifest["notes"])


BY_MODE: dict[str, dict[str, int] | str] = {
    "load": rows(finished=ALL),
    "429": NO_ANSWER + r"429 slow.*says to wait 1 s",
    "ra_huge": NO_ANSWER + r"429 slow.*says to wait 99999999999 s",
    "ra_bad": NO_ANSWER + "429 slow",
    "500": NO_ANSWER + "500 oops",
    "503": NO_ANSWER + "503 <html>no</html>",
    "trunc": NO_ANSWER + "RemoteProtocolError",
    "truncjson": NO_ANSWER + "no JSON, but '{",
    "reset": NO_ANSWER,
    "html": NO_ANSWER + "no JSON, but '<html>gateway",
    "html200": NO_ANSWER + "no JSON, but '<html>gateway",
    "allnull": rows(empty=ALL),
    "reason": rows(unfinished=ALL),
    "nochoices": NO_ANSWER + r"a completion whose choices are \[\]",
    "wrongn": rows(finished=ALL),
    "gzip": rows(finished=ALL),
    "drip": rows(finished=ALL),
    "401": SAID + r"401 bad key \\x1b\[31m Bearer \[key\]\. Put the key into the environment",
    "redirect": r"sends requests on to http://localhost:\d+, which nobody has named",
    "redir2": "TooManyRedirects",
    "sse": NO_ANSWER + "no JSON, but 'data: ",
    "hang": NO_ANSWER + "it took longer than the timeout",
    "413": SAID + "413 too large",
    "ctx": SAID + "400 This model's maximum context length is 10 tokens",
    "esc400": SAID + r"400 \\x1b\]0;PWN\\x07 evil",
    "logprobnan": rows(finished=ALL),
    "surr": rows(finished=ALL),
    "badids": rows(finished=ALL),
}


@pytest.mark.parametrize("mode", BY_MODE)
def test_by_mode(mode: str, tmp_path: Path) -> None:
    if not SERVERS.is_dir():
        pytest.skip(f"no servers in {SERVERS}: set TOFU_EVAL_SHARED_DATA")
    process, url = start([str(SERVERS / "srv.py"), mode], tmp_path)
    try:
        end(tmp_path / "run", BY_MODE[mode], url=url)
    finally:
        process.kill()


@pytest.mark.parametrize("mode", ["mix", "null", "halfnull", "ints", "hugetext"])
def test_modes_that_depend_on_the_moment(mode: str, tmp_path: Path) -> None:
    """Rows, all of them, or one line; never a traceback."""
    if not SERVERS.is_dir():
        pytest.skip(f"no servers in {SERVERS}: set TOFU_EVAL_SHARED_DATA")
    process, url = start([str(SERVERS / "srv.py"), mode], tmp_path)
    try:
        run = ask(tmp_path / "run", url, engine_args={"deadline": 6.0, "timeout": 3.0})
        assert sum(states(run).values()) == ALL
    except ModelError as error:
        if mode != "hugetext" or "Traceback" in str(error):
            raise
    finally:
        process.kill()


# More of the same kinds


BOMB = gzip.compress(b'{"choices": [{"text": "' + b"a" * (64 * 2**20) + b'"}]}')

MORE: dict[str, tuple[Any, dict[str, int] | str]] = {
    "array": (lambda *_: body_of("[1]"), NO_ANSWER + r"no completion, but \[1\]"),
    "deep": (lambda *_: body_of("[" * 10**5), NO_ANSWER + r"no JSON, but '\[\["),
    "long number": (lambda *_: body_of("9" * 10**4), NO_ANSWER + "no JSON"),
    "gzip bomb": (
        lambda *_: (200, BOMB, {"Content-Encoding": "gzip"}),
        "its answer has more than 16 MiB",
    ),
    "error text": (lambda *_: body_of('{"error": "boom"}'), SAID + "400 'boom'"),
    "error 500 in 200": (
        lambda *_: body_of('{"error": {"message": "x", "code": "500"}}'), NO_ANSWER + "500 x",
    ),
    "choice of text": (lambda *_: body_of('{"choices": ["a"]}'), NO_ANSWER + "a choice that is"),
    "content object": (
        lambda b, *_: answer(b, content={"text": "a"}), NO_ANSWER + "a text that is",
    ),
    "refusal field": (lambda b, *_: answer(b, content=None, refusal="No."), rows(finished=ALL)),
    "thought in parts": (
        lambda b, *_: answer(b, reasoning=[{"type": "text", "text": "hm"}]), rows(finished=ALL),
    ),
    "no top_k": (refuse("top_k"), rows(finished=ALL)),
    "no logprobs, no ids": (refuse("logprobs", "return_token_ids"), rows(finished=ALL)),
    "no penalties": (refuse("presence_penalty", "frequency_penalty"), rows(finished=ALL)),
    "names nothing": (refuse("min_p", words="Bad request"), rows(finished=ALL)),
    "no temperature": (refuse("temperature"), rows(finished=ALL)),
    "no top_p": (refuse("top_p"), r"does not take top_p 0\.9: 422 Extra inputs"),
    "new length": (
        refuse("max_tokens", words="Use 'max_completion_tokens' instead of {}"),
        rows(finished=ALL),
    ),
    "moderation": (
        lambda b, c, n: error(400, "flagged by moderation") if "dream" in str(b) else answer(b),
        rows(finished=15, filtered=5),
    ),
    "odd prompt": (
        lambda b, c, n: error(400, "I do not like it") if "dream" in str(b) else answer(b),
        rows(finished=15, failed=5),
    ),
    "one prompt always 500": (
        lambda b, c, n: error(500, "oops") if "dream" in str(b) else answer_late(b),
        rows(finished=15, failed=5),
    ),
    "403 later": (
        lambda b, c, n: error(403, f"key {KEY} expired") if n > 12 else answer(b),
        r"refuses prompt .*403 key \[key\] expired\. Put the key into",
    ),
    "no money": (
        lambda *_: error(429, "pay", code="insufficient_quota"), r"refuses prompt .*429 pay",
    ),
    "other port": (
        lambda *_: (308, b"", {"Location": "http://127.0.0.1:1/v1/chat/completions"}),
        "sends requests on to http://127.0.0.1:1,",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mode", MORE)
def test_more_of_the_same_kinds(mode: str, tmp_path: Path) -> None:
    behave, expected = MORE[mode]
    with AnyServer(behave) as server:
        end(tmp_path / "run", expected, url=server.url)


def test_a_rerun_asks_for_what_failed_for_a_passing_reason_only(tmp_path: Path) -> None:
    def broken(body: dict[str, Any], chat: bool, number: int) -> Any:
        text = str(body)
        if "dream" in text:
            return error(500, "oops")
        return error(400, "context length exceeded") if "word word" in text else answer(body)

    with AnyServer(broken) as server:
        first = ask(tmp_path / "run", server.url, max_failed=0.5)
        assert states(first) == {"finished": 10, "failed": 10}
    with AnyServer(lambda body, *_: answer(body)) as mended:
        second = ask(tmp_path / "run", mended.url)
    assert states(second) == {"finished": 15, "failed": 5}
    own = [body for body in mended.bodies if "dream" in str(body)]
    assert len(own) == len(mended.bodies)  # and nothing else was asked
    assert not verify(tmp_path / "run").problems


def test_too_many_failures_end_the_run(tmp_path: Path) -> None:
    def broken(body: dict[str, Any], chat: bool, number: int) -> Any:
        return error(400, "too long") if "dream" in str(body) else answer(body)

    with AnyServer(broken) as server:
        line = r"of 20 responses of 'm' failed, more than --max-failed 0\.05 allows; the first: "
        end(tmp_path / "run", line + "prompt 'p1'", url=server.url, max_failed=0.05)


def test_filtered_responses_have_not_failed(tmp_path: Path) -> None:
    """Rows with their reason, however many: a rerun asks for none of them."""

    def strict(body: dict[str, Any], chat: bool, number: int) -> Any:
        if "Count" in str(body):
            return answer(body)
        return error(400, "The prompt was flagged by moderation", code="content_filter")

    with AnyServer(strict) as server:
        run = end(tmp_path / "run", rows(finished=5, filtered=15), url=server.url, max_failed=0.05)
        assert run is not None
        table = run.responses("m", "t").to_pylist()
        filtered = [row for row in table if row["state"] == "filtered"]
        assert all("flagged by moderation" in row["finish_reason"] for row in filtered)
        assert all(row["text"] == "" for row in filtered)
        (note,) = [note for note in run.manifest["notes"] if "were filtered" in note]
        assert "15 of 20 responses were filtered and have no text; the first: prompt 'p0'" in note
        assert "flagged by moderation" in note
        asked = len(server.bodies)
        again = ask(tmp_path / "run", server.url, max_failed=0.05)
        assert states(again) == {"finished": 5, "filtered": 15}
        assert not [body for body in server.bodies[asked:] if "dream" in str(body)]


def test_several_samples_a_request_where_seeds_decide_nothing(tmp_path: Path) -> None:
    """`n` is asked for where a server ignores seeds and gives as many choices."""

    def several(body: dict[str, Any], chat: bool, number: int) -> Any:
        texts = [f"{random.random()}" for _ in range(body["n"])]
        choices = [{"message": {"content": text}, "finish_reason": "stop"} for text in texts]
        return 200, json.dumps({"choices": choices}).encode(), {}

    with AnyServer(several) as server:
        run = end(tmp_path / "run", rows(finished=ALL), url=server.url)
    assert run is not None
    assert [body["n"] for body in server.bodies[-len(TEXTS) :]] == [SAMPLES] * len(TEXTS)
    assert len(set(run.responses("m", "t").column("text").to_pylist())) == ALL


def test_what_is_sent_to_a_server(tmp_path: Path) -> None:
    sampling = Sampling(samples=SAMPLES, max_tokens=40, top_k=7, min_p=0.1, stop=("END", "\n\n"))
    with AnyServer(lambda body, *_: answer(body, content=f"{words(body)} END more")) as server:
        run = ask(
            tmp_path / "run", server.url, sampling=sampling,
            chat_template_kwargs={"enable_thinking": False}, reasoning_effort="low",
            extra_body={"guided_regex": "a+"},
        )  # fmt: skip
    for body in server.bodies:
        assert body["chat_template_kwargs"] == {"enable_thinking": False}
        assert (body["reasoning_effort"], body["guided_regex"]) == ("low", "a+")
        assert (body["stop"], body["top_k"], body["min_p"]) == (["END", "\n\n"], 7, 0.1)
    table = run.responses("m", "t")
    assert not any("END" in text for text in table.column("text").to_pylist())
    assert set(table.column("finish_reason").to_pylist()) == {"stop"}


def test_a_server_without_stop_strings(tmp_path: Path) -> None:
    sampling = Sampling(samples=SAMPLES, max_tokens=40, stop=("red",))
    with AnyServer(refuse("stop")) as server:
        run = ask(tmp_path / "run", server.url, sampling=sampling)
    assert not any("red" in text for text in run.responses("m", "t").column("text").to_pylist())
    assert "takes no stop strings; its texts are cut here" in str(run.manifest["notes"])


def test_requests_without_seeds(tmp_path: Path) -> None:
    with AnyServer(lambda body, *_: answer(body)) as server:
        run = ask(tmp_path / "run", server.url, seeds="run")
    assert not any("seed" in body for body in server.bodies)
    assert run.responses("m", "t").column("seed").null_count == ALL
