"""The openai engine against a server that fails as it is told."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.engine_requests import PROMPTS, asks, rows
from support.fake_server import FakeServer

import tofu_eval as te
from tofu_eval.cli import main
from tofu_eval.core.errors import ConfigError, ModelError
from tofu_eval.core.models import parse_model
from tofu_eval.core.servers import wait_told
from tofu_eval.core.types import Response, Sampling
from tofu_eval.engines.open import open_engine
from tofu_eval.run.store import Run

QUICK = {"timeout": 1.0, "deadline": 20.0, "concurrency": 4}
SAMPLING = Sampling(samples=6, max_tokens=20)
PROBES = 4
"""Requests of the negotiation with a server that takes everything."""


def open_server(server: FakeServer, name: str = "m", **engine_args: Any) -> Any:
    spec = parse_model(f"{name}=org/name")
    args = {**QUICK, **engine_args}
    return open_engine("openai", spec, base_url=server.url, engine_args=args)


def task(samples: int = 6) -> te.Task:
    prompts = [te.Prompt.of_text(f"p{i}", f"Name fruit {i}") for i in range(3)]
    return te.Task("t", 1, lambda: prompts, sampling=Sampling(samples=samples, max_tokens=20))


def evaluate(server: FakeServer, output: Path, **options: Any) -> te.Result:
    options = {"engine_args": QUICK, "metrics": ["unique_rate"], "base_url": server.url} | options
    return te.evaluate({"m": "org/name"}, [task()], output, engine="openai", **options)


@pytest.mark.parametrize("chat", [False, True])
def test_rows(chat: bool) -> None:
    with FakeServer() as server:
        engine = open_server(server)
        requests = asks(SAMPLING, chat=chat, token_logprobs=True)
        made = rows(engine, requests)
        assert rows(engine, requests) == made
    assert len(made) == len(requests)
    for request in requests:
        row = made[request.key]
        assert (row.seed, row.finish_reason, row.logprob) == (request.seed, "stop", -8.0)
        assert row.token_ids is not None
        assert len(row.token_ids) == 8
        assert row.token_logprobs == (-1.0,) * 8
    assert len({row.text for row in made.values()}) == len(requests)
    endpoint = engine.record["endpoints"]["chat/completions" if chat else "completions"]
    assert endpoint["seed"] == "honoured"
    assert endpoint["left_out"] == []


def test_every_decoder_setting_is_sent() -> None:
    with FakeServer() as server:
        rows(open_server(server), asks(SAMPLING))
    for body in server.bodies[PROBES:]:
        sent = {k: v for k, v in body.items() if k not in ("prompt", "seed", "model")}
        assert sent == {
            "temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "n": 1, "logprobs": 1,
            "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
            "max_tokens": 20, "return_token_ids": True,
        }  # fmt: skip


@pytest.mark.parametrize("chat", [False, True])
def test_what_the_user_adds_is_sent_as_it_is_whatever_its_names(chat: bool) -> None:
    own = {"extra_body": {"a": 1}, "extra_headers": {"b": "c"}, "timeout": 3, "temperature": 0.5}
    with FakeServer() as server:
        engine = open_engine(
            "openai", parse_model("m=org/name"), base_url=server.url, extra_body=own
        )
        rows(engine, asks(Sampling(samples=1), ["Name a fruit"], chat=chat))
    assert all(body.items() >= own.items() for body in server.bodies)


@pytest.mark.parametrize("fault", ["429", "500", "cut", "drop", "garbage", "hang", "empty"])
def test_a_fault_costs_a_retry_and_no_row(fault: str, tmp_path: Path) -> None:
    with FakeServer() as server:
        expected = evaluate(server, tmp_path / "whole")
    # One fault falls into the negotiation, two into the run.
    with FakeServer({1: fault, 9: fault, 14: fault}, hang=5) as server:
        result = evaluate(server, tmp_path / "run")
    assert result.scores.equals(expected.scores)
    tables = [Run.open(tmp_path / name).responses("m", "t") for name in ("run", "whole")]
    assert tables[0].equals(tables[1])
    assert tables[0].num_rows == 18
    assert Run.open(tmp_path / "run").manifest["models"]["m"]["record"]["retries"] == 3


def test_a_rate_limit_makes_all_requests_wait() -> None:
    with FakeServer({PROBES + 2: "429"}) as server:
        rows(open_server(server), asks(SAMPLING))
    pause = max(b - a for a, b in zip(server.times, server.times[1:], strict=False))
    assert pause > 0.2


def test_an_announced_limit_is_heeded() -> None:
    told = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "150ms"}
    with FakeServer(headers=told) as server:
        rows(open_server(server, concurrency=1), asks(Sampling(samples=1, max_tokens=20)))
    gaps = [b - a for a, b in zip(server.times, server.times[1:], strict=False)]
    assert min(gaps) > 0.14


def test_forms_of_waiting_times() -> None:
    later = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 50))
    assert wait_told({"retry-after": "20"}) == 20
    assert wait_told({"retry-after-ms": "1500"}) == 1.5
    assert wait_told({"retry-after": later}) == pytest.approx(50, abs=2)
    assert wait_told({"retry-after": "soon"}) is None
    assert wait_told({"x-ratelimit-reset-requests": "6m0s"}) == 360
    assert wait_told({}) is None


def test_no_more_requests_at_once_than_asked_for() -> None:
    with FakeServer(delay=0.02) as server:
        rows(open_server(server, concurrency=3), asks(SAMPLING))
    assert server.most_at_once == 3


def test_a_server_that_is_not_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    args = {**QUICK, "deadline": 1.0}
    spec = parse_model("m=org/name")
    engine = open_engine("openai", spec, base_url=url, engine_args=args)
    with pytest.raises(
        ModelError, match=r"The server http\S+ does not answer: ConnectError"
    ) as caught:
        rows(engine, asks(SAMPLING))
    assert "run the same command again" in str(caught.value)


def test_a_server_that_dies_and_comes_back(tmp_path: Path) -> None:
    with FakeServer() as first:
        expected = evaluate(first, tmp_path / "whole")
    args = {**QUICK, "deadline": 1.5}
    with FakeServer(dict.fromkeys(range(12, 500), "500")) as broken:
        with pytest.raises(ModelError, match="does not answer: 500 not now"):
            evaluate(broken, tmp_path / "run", engine_args=args)
        have = len(Run.open(tmp_path / "run").response_keys("m", "t"))
        assert 0 < have < 18
    with FakeServer() as second:  # at another address, as servers do
        result = evaluate(second, tmp_path / "run")
        assert sum(second.asked.values()) == 18 - have + PROBES
    assert result.scores.equals(expected.scores)


def test_a_server_that_comes_in_time() -> None:
    """Connections are refused for a second; then there is a server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spec = parse_model("m=org/name")
    engine = open_engine("openai", spec, base_url=f"http://127.0.0.1:{port}/v1", engine_args=QUICK)
    servers: list[FakeServer] = []
    later = threading.Timer(1.0, lambda: servers.append(FakeServer(port=port).__enter__()))
    later.start()
    made = rows(engine, asks(SAMPLING))
    later.join()
    servers[0].__exit__()
    assert len(made) == 30
    assert engine.record["retries"] > 0


@pytest.mark.parametrize(
    ("options", "seed", "remark"),
    [
        ({"seeds": "ignored"}, "ignored", "ignores the seed"),
        ({"seeds": "fixed"}, "fixed", "gives one text for every seed; none is sent"),
        ({"refuses": ("seed",)}, "refused", "takes no seed"),
    ],
)
def test_servers_that_ignore_seeds(
    options: dict[str, Any], seed: str, remark: str, tmp_path: Path
) -> None:
    with FakeServer(**options) as server:
        result = evaluate(server, tmp_path / "run")
    record = Run.open(tmp_path / "run").manifest["models"]["m"]["record"]
    assert record["endpoints"]["completions"]["seed"] == seed
    assert any(remark in note for note in result.notes)
    texts = Run.open(tmp_path / "run").responses("m", "t").column("text").to_pylist()
    assert len(set(texts)) == 18


def test_a_server_that_refuses_parameters(tmp_path: Path) -> None:
    with FakeServer(refuses=("top_k", "return_token_ids")) as server:
        result = evaluate(server, tmp_path / "run")
    record = Run.open(tmp_path / "run").manifest["models"]["m"]["record"]
    assert record["endpoints"]["completions"]["left_out"] == ["top_k", "return_token_ids"]
    assert any("does not take top_k; its own defaults are in force" in n for n in result.notes)
    table = Run.open(tmp_path / "run").responses("m", "t")
    assert table.column("token_ids").null_count == 18
    assert table.column("logprob").null_count == 0


def test_the_key_comes_from_the_environment_and_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeServer(key="sk-secret") as server:
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        with pytest.raises(ModelError, match=r"401 Incorrect API key provided.*OPENAI_API_KEY"):
            evaluate(server, tmp_path / "run")
        monkeypatch.setenv("OTHER_KEY", "sk-secret")
        evaluate(server, tmp_path / "run", engine_args={**QUICK, "api_key_env": "OTHER_KEY"})
    for file in (tmp_path / "run").rglob("*"):
        assert file.is_dir() or b"sk-secret" not in file.read_bytes()


def test_a_model_that_the_server_does_not_know() -> None:
    with (
        FakeServer({0: "404"}) as server,
        pytest.raises(ModelError, match=r"404 not now\. Is 'org/name' its name there \(curl http"),
    ):
        rows(open_server(server), asks(SAMPLING))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (None, "does not know the server of 'm'. Name it: --base-url"),
        ("localhost:8000", "must be like http://127.0.0.1:8000/v1, got 'localhost:8000'"),
        ("http://me:secret@host/v1", "must not hold a user, a password or a query"),
        ("http://host/v1?key=secret", "must not hold a user, a password or a query"),
    ],
)
def test_addresses_that_cannot_be(
    url: str | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(ConfigError) as caught:
        open_engine("openai", parse_model("m=x"), base_url=url)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_arguments_that_cannot_be() -> None:
    for args, message in [
        ({"api_key": "sk"}, "A key comes from the environment only"),
        ({"concurrency": 0}, "'concurrency' cannot be 0"),
        ({"timeout": "long"}, "'timeout' cannot be 'long'"),
    ]:
        with pytest.raises(ConfigError, match=message):
            open_engine("openai", parse_model("m=x"), base_url="http://x/v1", engine_args=args)


def test_a_servers_name_may_look_like_anything() -> None:
    spec = parse_model("m=org/name@main+sql-lora")
    assert open_engine("openai", spec, base_url="http://x/v1").identity["id"] == (
        "org/name@main+sql-lora"
    )


@pytest.mark.slow
def test_the_main_process_killed_in_the_middle(tmp_path: Path) -> None:
    """kill -9 while requests are in flight; the next call makes what is left, each row once."""
    script = textwrap.dedent("""
        import sys
        import tofu_eval as te
        from tofu_eval.core.types import Sampling
        prompts = [te.Prompt.of_text(f"p{i}", f"Name fruit {i}") for i in range(3)]
        task = te.Task("t", 1, lambda: prompts, sampling=Sampling(samples=60, max_tokens=20))
        te.evaluate({"m": "org/name"}, [task], sys.argv[2], engine="openai", batch_size=10,
                    base_url=sys.argv[1], engine_args={"concurrency": 4}, metrics=["unique_rate"])
    """)
    with FakeServer(delay=0.02) as server:
        command = [sys.executable, "-c", script, server.url, str(tmp_path / "run")]
        process = subprocess.Popen(command)
        folder = tmp_path / "run" / "responses" / "m" / "t"
        deadline = time.monotonic() + 60
        while len(list(folder.glob("part-*"))) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        process.wait()
        run = Run.open(tmp_path / "run")
        have = len(run.response_keys("m", "t"))
        assert 30 <= have < 180
        subprocess.run(command, check=True)
    table = Run.open(tmp_path / "run").responses("m", "t")
    assert table.num_rows == 180
    assert len(set(table.column("key").to_pylist())) == 180


def test_the_command_line(tmp_path: Path) -> None:
    with FakeServer() as server:
        arguments = [
            *("run", "--engine", "openai", "--base-url", f"m={server.url}"),
            *("--engine-arg", "concurrency=2", "--engine-arg", "timeout=5"),
            *("--model", "m=org/name", "--task", "open-prompts", "--limit", "2"),
            *("--samples", "3", "--metric", "unique_rate", "--output", str(tmp_path / "run")),
        ]
        done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert server.most_at_once <= 2
    for extra, message in [
        (["--engine-arg", "concurrency"], "--engine-arg got 'concurrency'. Write NAME=VALUE."),
        (["--engine-arg", "a=[1"], "the value is not YAML"),
        (["--base-url", "http://x/v1"], "give one for all models, or MODEL=URL each"),
        (["--engine", "transformers"], "The transformers engine has no argument 'concurrency'"),
    ]:
        done = CliRunner().invoke(main, [*arguments, *extra])
        assert done.exit_code == 2
        assert message in done.output


def scored(completion: str, *, chat: bool = False) -> list[Any]:
    (request,) = asks(Sampling(samples=1, max_tokens=1), ["Name a fruit"], chat=chat)
    return [replace(request, completion=completion)]


def test_choices_are_scored_by_a_server_that_echoes() -> None:
    with FakeServer() as server:
        made = rows(open_server(server), scored("red apple"))
        (row,) = made.values()
        # " red" and " apple", without the word that the server had to draw.
        assert (row.text, row.logprob, row.finish_reason) == ("red apple", -10.0, "scored")
        (body,) = server.bodies
        assert (body["prompt"], body["echo"]) == ("Name a fruit red apple", True)


def test_a_server_that_does_not_echo() -> None:
    with (
        FakeServer(deaf=True) as server,
        pytest.raises(ModelError, match=r"gives no log-probabilities of a given text \(echo with"),
    ):
        rows(open_server(server), scored("apple"))


def test_a_server_cannot_score_in_a_chat() -> None:
    with (
        FakeServer() as server,
        pytest.raises(ModelError, match="cannot be scored by a server in the format chat"),
    ):
        rows(open_server(server), scored("apple", chat=True))


def test_it_works_where_an_event_loop_is_running_already() -> None:
    async def in_a_notebook() -> dict[str, Response]:
        with FakeServer() as server:
            return rows(open_server(server), asks(Sampling(samples=2, max_tokens=8)))

    assert len(asyncio.run(in_a_notebook())) == 2 * len(PROMPTS)
