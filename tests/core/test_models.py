from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import RepositoryNotFoundError

from tofu_eval.core.errors import ConfigError, ModelError
from tofu_eval.core.models import parse_model, resolve
from tofu_eval.core.types import ModelSpec

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("org/model", ModelSpec("model", "org/model")),
        ("gpt2", ModelSpec("gpt2", "gpt2")),
        ("base=org/model@v1.0", ModelSpec("base", "org/model", "v1.0")),
        ("org/model@refs/pr/3", ModelSpec("model", "org/model", "refs/pr/3")),
        ("tofu=org/b@1+me/a@2", ModelSpec("tofu", "org/b", "1", "me/a", "2")),
        ("org/base+me/adapter", ModelSpec("adapter", "org/base", None, "me/adapter")),
        ("./missing=path", ModelSpec("missing-path", "./missing=path")),
        ("~/none=x/out", ModelSpec("out", "~/none=x/out")),
        ("runs/my model/", ModelSpec("my-model", "runs/my model/")),
    ],
)
def test_parse(text: str, expected: ModelSpec) -> None:
    assert parse_model(text) == expected


def test_a_path_that_exists_as_a_whole_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a+b", "a=b", "a@b", "x+y@1"):
        Path(name).mkdir()
    assert parse_model("a+b") == ModelSpec("a-b", "a+b")
    assert parse_model("a=b") == ModelSpec("a-b", "a=b")
    assert parse_model("a@b") == ModelSpec("a-b", "a@b")
    assert parse_model("t=a+b+a@b") == ModelSpec("t", "a+b", None, "a@b")
    assert parse_model("t=a=b+x+y@1") == ModelSpec("t", "a=b", None, "x+y@1")
    assert parse_model("t=org/base@2+a+b") == ModelSpec("t", "org/base", "2", "a+b")


@pytest.mark.parametrize("text", ["", "a=", "a=b+", "+b", "a=b@", "a=b+c@"])
def test_parse_refuses_empty_parts(text: str) -> None:
    with pytest.raises(ModelError, match=r"has an empty part\. Write NAME=REF"):
        parse_model(text)


def test_parse_refuses_a_name_that_cannot_be_a_folder() -> None:
    with pytest.raises(ConfigError, match="Invalid model name 'my model'"):
        parse_model("my model=org/x")
    with pytest.raises(ConfigError, match="Invalid model name ''"):
        parse_model("=org/x")


def test_identity_of_directories_is_their_files(
    tiny_model: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    resolved = resolve(parse_model(f"t={tiny_model}+{tiny_adapter}"))
    assert (resolved.base, resolved.adapter) == (tiny_model, tiny_adapter)
    model, adapter = resolved.identity["model"], resolved.identity["adapter"]
    assert model["kind"] == "local"
    assert set(model["files"]) == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    weights = (tiny_model / "model.safetensors").read_bytes()
    assert model["files"]["model.safetensors"] == hashlib.sha256(weights).hexdigest()
    assert set(adapter["files"]) == {"adapter_config.json", "adapter_model.safetensors"}
    json.dumps(resolved.identity)

    moved = shutil.copytree(tiny_model, tmp_path / "tiny")
    (moved / "trainer_state.json").write_text("{}")
    (moved / "training_args.bin").write_bytes(b"x")
    (moved / "README.md").write_text("x")
    assert resolve(parse_model(str(moved))).identity["model"] == model
    (moved / "chat_template.jinja").write_text("x")
    assert resolve(parse_model(str(moved))).identity["model"] != model


@pytest.mark.parametrize("ref", ["./no-such", "/no/such/dir", "~/no-such-model", "a/b/c"])
def test_a_path_that_is_not_there(ref: str) -> None:
    with pytest.raises(ModelError, match=r"no such directory, and it is not a Hub id") as caught:
        resolve(ModelSpec("m", ref))
    assert f"There is no model at '{ref}'" in str(caught.value)


def test_a_hub_model_that_cannot_be_reached() -> None:
    with pytest.raises(ModelError) as caught:
        resolve(parse_model("no-such-org/no-such-model@v2"))
    message = str(caught.value)
    assert "no model 'no-such-org/no-such-model' at revision v2: no such local dir" in message
    assert "the Hub says: OfflineModeIsEnabled" in message
    assert "\n" not in message


def test_a_hub_model_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> str:
        response: Any = SimpleNamespace(headers={}, request=None)
        raise RepositoryNotFoundError("404.\n\nRepository Not Found", response=response)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", refuse)
    with pytest.raises(ModelError, match=r"RepositoryNotFoundError: 404\. Repository"):
        resolve(parse_model("org/gone"))


def test_a_hub_model_in_the_cache(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    repo = tmp_path / "models--org--tiny"
    (repo / "refs").mkdir(parents=True)
    older = COMMIT[::-1]
    for ref, commit in (("main", COMMIT), ("v1", older)):
        shutil.copytree(tiny_model, repo / "snapshots" / commit)
        (repo / "refs" / ref).write_text(commit)
    for text, commit in [
        ("org/tiny", COMMIT),
        ("org/tiny@main", COMMIT),
        ("org/tiny@v1", older),
        (f"org/tiny@{older}", older),
    ]:
        resolved = resolve(parse_model(text))
        assert resolved.identity == {"model": {"kind": "hub", "id": "org/tiny", "commit": commit}}
        assert resolved.base == repo / "snapshots" / commit


@pytest.mark.parametrize("files", [("model.safetensors", "model.bin"), ("pytorch_model.bin",)])
def test_pickles_are_downloaded_only_without_safetensors(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, files: tuple[str, ...]
) -> None:
    asked: list[list[str]] = []

    def describe(*_: Any, **__: Any) -> Any:
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in files])

    def download(repo: str, *, ignore_patterns: list[str], **_: Any) -> str:
        asked.append(list(ignore_patterns))
        return str(tiny_model)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", describe)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    resolve(parse_model("org/model"))
    assert ["*.bin" in patterns for patterns in asked] == [len(files) == 2]


def test_directories_that_are_not_models(
    tiny_model: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    def broken(*missing: str) -> str:
        folder = tmp_path / "-".join(missing)
        shutil.copytree(tiny_model, folder)
        for name in missing:
            (folder / name).unlink()
        return f"m={folder}"

    with pytest.raises(ModelError, match=r"is not a model: .* holds no config\.json"):
        resolve(parse_model(broken("config.json")))
    with pytest.raises(ModelError, match=r"is not a model: .* holds no weights"):
        resolve(parse_model(broken("model.safetensors")))
    with pytest.raises(ModelError, match=r"has no tokenizer: .* Save it there"):
        resolve(parse_model(broken("tokenizer.json", "tokenizer_config.json")))
    with pytest.raises(ModelError, match=r"is an adapter, not a whole model.*--model m=BASE\+"):
        resolve(parse_model(f"m={tiny_adapter}"))
    with pytest.raises(ModelError, match=r"is not an adapter: .* holds no adapter_config\.json"):
        resolve(parse_model(f"m={tiny_model}+{tiny_model}"))
    with pytest.raises(ModelError, match=r"is a file\. Give the directory"):
        resolve(parse_model(f"m={tiny_model / 'config.json'}"))
    with pytest.raises(ModelError, match=r"is a local path, which has no revision 'v1'"):
        resolve(parse_model(f"m={tiny_model}@v1"))
