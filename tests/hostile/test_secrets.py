"""Keys and passwords: in no file of a run and no line of a command, whoever repeats them."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.commands import invoke
from support.fake_server import FakeServer, Handler

KEY = "sk-Open/Sesame-4711"
TOKEN = "hf_DoNotTellAnybody0815"
PASSWORD = "pw-Rumpelstilzchen"
SECRETS = (KEY, TOKEN, PASSWORD)


class Parrot(Handler):
    """A server that repeats the key wherever a server can say something."""

    def respond(self, body: dict[str, Any], fault: str | None) -> None:
        asked = (body.get("model"), json.dumps(body.get("prompt", body.get("messages"))))
        if fault is None and getattr(self.server, "first", asked)[0] == asked[0] == "org/m":
            self.server.first = getattr(self.server, "first", asked)
            fault = None if self.server.first == asked else self.server.of_others
        if fault in ("400", "401", "200 error"):
            told = {"message": f"the key {KEY} is bad", "code": f"bad {KEY}", "param": KEY}
            return self.send(200 if fault == "200 error" else int(fault), {"error": told}, SAYS)
        return super().respond(body, fault)

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        answer = super().answer(body)
        answer["system_fingerprint"] = f"print {KEY}"
        answer["model"] = KEY
        for choice in answer["choices"]:
            choice["finish_reason"] = f"because of {KEY}"
            said = f"{KEY} and {TOKEN}, rating: [[3]] A "
            if "message" in choice:
                choice["message"]["content"] += said
                choice["message"]["reasoning_content"] = said
            else:
                choice["text"] += said
        return answer

    def write(self, status: int, data: bytes, headers: dict[str, str], **more: Any) -> None:
        # As JSON may write them too.
        data = data.replace(KEY.encode(), escaped(KEY))
        super().write(status, data, {**headers, **SAYS}, **more)


def escaped(text: str) -> bytes:
    return text.replace("/", "\\/").replace("S", "\\u0053").encode()


SAYS = {"X-Key": KEY, "Retry-After-Ms": "1", "X-Request-Id": KEY}


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def parrot() -> Any:
    server = FakeServer()
    server.of_others = None  # what becomes of all prompts of a model but the first
    server.RequestHandlerClass = Parrot
    with server:
        yield server


def said(*arguments: object, code: int = 0) -> str:
    """What a command says, which holds no secret."""
    result = invoke(*arguments)
    assert result.exit_code == code, (result.output, result.exception)
    check_silent(result.output.encode())
    return result.output


def check_silent(content: bytes, where: object = "") -> None:
    for secret in SECRETS:
        for form in (secret.encode(), escaped(secret), base64.b64encode(secret.encode())[:-4]):
            assert form not in content, (secret, where)


def check_folder(folder: Path) -> int:
    """Every byte of every file, and what tables and packed files hold; the number of files."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in files:
        content = path.read_bytes()
        check_silent(content, path)
        check_silent(str(path.relative_to(folder)).encode(), path)
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            check_silent(repr(table.to_pylist()).encode() + str(table.schema).encode(), path)
        elif path.suffix == ".gz":
            check_silent(gzip.decompress(content), path)
    return len(files)


ASK = ("--task", "open-prompts", "--limit", 2, "--samples", 2, "--max-tokens", 8)


def run(parrot: Any, folder: str, *more: object, code: int = 0) -> str:
    return said(
        "run", "--model", "m=org/m", "--engine", "openai", "--base-url", parrot.url, *ASK,
        "--engine-arg", "deadline=2", "--output", folder, *more, code=code,
    )  # fmt: skip


SCORING = (
    *("--metric", "unique_rate", "--metric", "judge_rating", "--metric", "reward"),
    *("--metric", "cosine_distance_given_prompt"),
)


def test_a_whole_run_keeps_no_key(parrot: Any) -> None:
    parrot.of_others = "400"  # so that rows fail
    run(
        parrot, "run", *SCORING, "--max-failed", 1,
        "--judge-model", "j", "--judge-engine", "openai", "--judge-base-url", parrot.url,
        "--reward-model", "r", "--reward-engine", "openai", "--reward-base-url", parrot.url,
        "--embedding-model", "e", "--embedding-engine", "openai",
        "--embedding-base-url", parrot.url,
    )  # fmt: skip
    texts = repr(pq.read_table(next(Path("run/responses").rglob("*.parquet"))).to_pylist())
    assert texts.count("[key]") > 4  # it was said, and struck
    said("compare", "run")
    said("report", "run")
    said("runs", "show", "run")
    said("leaderboard", "publish", "run/leaderboard.json", "--to", "public", "--page")
    assert check_folder(Path()) > 15


@pytest.mark.parametrize("fault", ["400", "401", "200 error"])
@pytest.mark.parametrize("debug", [(), ("--debug",)])
def test_a_server_that_refuses_repeats_no_key(
    parrot: Any, fault: str, debug: tuple[str, ...]
) -> None:
    parrot.faults = dict.fromkeys(range(99), fault)
    result = invoke(*debug, "run", "--model", "m", "--engine", "openai", "--base-url", parrot.url,
                    "--task", "open-prompts", "--limit", 1, "--output", "run")  # fmt: skip
    assert result.exit_code == 2
    assert "[key]" in result.stderr
    check_silent(result.output.encode())
    check_folder(Path())


@pytest.mark.parametrize("fault", ["400", "401", "garbage", "empty", "404"])
@pytest.mark.parametrize("kind", ["embedding", "reward"])
def test_a_server_of_features_repeats_no_key(parrot: Any, kind: str, fault: str) -> None:
    row = {"prompt": "Name a bird.", "responses": ["owl", "jay"]}
    Path("rows.jsonl").write_text(json.dumps(row))
    parrot.faults = dict.fromkeys(range(99), fault)
    metric = {"embedding": "cosine_distance_given_prompt", "reward": "reward"}[kind]
    result = said(
        "score", "rows.jsonl", "--metric", metric, f"--{kind}-model", "x",
        f"--{kind}-engine", "openai", f"--{kind}-base-url", parrot.url, "--output", "run", code=2,
    )  # fmt: skip
    assert result.count("Error: ") == 1
    assert parrot.url in result
    check_folder(Path())


ADDRESSES = (
    f"http://me:{PASSWORD}@127.0.0.1:9/v1",
    f"https://{PASSWORD}@host/v1",
    f"me:{PASSWORD}@host/v1",
    f"ftp://me:{PASSWORD}@host/v1",
    f"http://me:{PASSWORD}@host:port/v1",
    f"http://me:{PASSWORD}@ho\u2100st/v1",
    f"http://host/v1?key={PASSWORD}",
    f"http://host/v1#{PASSWORD}",
    f"http:///me:{PASSWORD}@host",
)


@pytest.mark.parametrize(
    ("section", "metric"),
    [
        ("judge", "judge_rating"),
        ("embedding", "cosine_distance_given_prompt"),
        ("reward", "reward"),
        ("likelihood", "perplexity"),
        ("", "judge_rating"),  # the models' server, which a judge asks by default
    ],
)
def test_no_key_goes_to_a_server_that_only_a_run_names(section: str, metric: str) -> None:
    """A run of a stranger's, whose run.json names a server of theirs."""
    url = "https://collects.invalid/v1"
    Path("rows.jsonl").write_text(json.dumps({"prompt": "Name a bird.", "responses": ["owl"] * 2}))
    said("score", "rows.jsonl", "--metric", "unique_rate", "--output", "run")
    manifest = json.loads(Path("run/run.json").read_text())
    settings = manifest["settings"]
    (settings[section] if section else settings).update(engine="openai", base_url=url)
    settings[section or "judge"]["model"] = "org/x"
    Path("run/run.json").write_text(json.dumps(manifest))
    assert said("rescore", "run", "--metric", metric, code=2) == (
        f"Error: The key in OPENAI_API_KEY would go to {url}, which the run names and this call "
        f"does not. If that server may have it, name it: --{section or 'judge'}-base-url {url}; "
        "else unset OPENAI_API_KEY\n"
    )


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_with_a_password_is_refused_and_not_repeated(address: str) -> None:
    row = {"prompt": "Name a bird.", "responses": ["owl", "jay"]}
    Path("rows.jsonl").write_text(json.dumps(row))
    said("run", "--model", "m", "--engine", "openai", "--base-url", address, "--task",
         "open-prompts", "--output", "run", code=2)  # fmt: skip
    for kind, metric in (("embedding", "cosine_distance_given_prompt"), ("reward", "reward"),
                         ("judge", "judge_rating")):  # fmt: skip
        said("score", "rows.jsonl", "--metric", metric, f"--{kind}-model", "x",
             f"--{kind}-engine", "openai", f"--{kind}-base-url", address, "--output", "run2",
             code=2)  # fmt: skip
    check_folder(Path("run")) if Path("run").exists() else None


def test_addresses_elsewhere_are_not_repeated_either() -> None:
    url = f"https://me:{PASSWORD}@host/x.jsonl"
    task = (
        "name: t\nversion: 1\nlicence: MIT\nsource: here\ncitation: none\nformat: sft\n"
        f"sampling: {{samples: 2}}\nfile: {{url: '{url}', sha256: '{'0' * 64}'}}\n"
    )
    Path("task.yaml").write_text(task)
    assert "hold no password" in said("tasks", "check", "task.yaml", code=2)
    said("run", "--model", url, "--task", "open-prompts", "--output", "run", code=2)
    said("score", url, "--metric", "unique_rate", "--output", "run", code=2)
    said("train", "--model", url, "--data", url, "--output", "out", code=2)
    said("score", "x.jsonl", "--workers", url, code=2)
    rows = [{"prompt": f"Bird {i}?", "responses": ["owl", "jay"]} for i in range(2)]
    Path("x.jsonl").write_text("\n".join(map(json.dumps, rows)))
    score = ("score", "x.jsonl", "--metric", "unique_rate", "--output", "run")
    for kind in ("embedding", "reward", "judge"):  # though nothing here asks for one
        said(*score, f"--{kind}-model", url, code=2)
    assert not Path("run").exists()
    said(*score)
    said("leaderboard", "export", "run/leaderboard.json", "--format", "model-index", "--model", "x",
         "--source-url", url, code=2)  # fmt: skip


def test_a_remote_with_a_password_is_not_repeated() -> None:
    rows = [{"prompt": f"Bird {i}?", "responses": ["owl", "jay"]} for i in range(3)]
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    said("score", "rows.jsonl", "--metric", "unique_rate", "--output", "run")
    git = ["git", "-C", "tree", "-c", "user.name=a", "-c", "user.email=a@b"]
    remote = f"http://me:{PASSWORD}@127.0.0.1:9/x.git"
    subprocess.run(["git", "init", "--quiet", "-b", "main", "tree"], check=True)
    for command in (
        ["config", "user.name", "a"], ["config", "user.email", "a@b"],
        ["commit", "--quiet", "--allow-empty", "-m", "x"], ["remote", "add", "origin", remote],
        ["config", "branch.main.remote", "origin"],
        ["config", "branch.main.merge", "refs/heads/main"],
    ):  # fmt: skip
        subprocess.run([*git, *command], check=True)
    told = said("leaderboard", "publish", "run/leaderboard.json", "--git", "tree", "--push", code=2)
    assert "git pull failed" in told
    tree = Path("tree")
    kept = [path for path in tree.rglob("*") if path.is_file() and path.name != "config"]
    for path in kept:
        check_silent(path.read_bytes(), path)


def test_a_training_keeps_no_token(base: Path, rows: Path) -> None:
    common = ("--model", base, "--data", rows, "--format", "base", "--output", "out")
    Path("c.yaml").write_text(f"hub_token: {TOKEN}\n")
    assert "HF_TOKEN" in said("train", *common, "--config", "c.yaml", code=2)
    Path("c.yaml").write_text("max_steps: 2\n")
    said("train", *common, "--config", "c.yaml", "--batch-size", 4)
    assert check_folder(Path("out")) > 5
    assert [*Path("out").rglob("training_args.bin")]


def test_what_a_struck_table_holds_is_seen() -> None:
    """The look at folders finds a secret where there is one."""
    Path("f").mkdir()
    pq.write_table(pa.table({"x": [f"say {KEY}"] * 99}), "f/x.parquet", compression="zstd")
    with pytest.raises(AssertionError):
        check_folder(Path("f"))
