"""Where a feature model's files are found, with a Hub that is only pretended."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest

from tofu_eval.core.errors import MissingDependencyError, ModelError
from tofu_eval.core.hub import TIMEOUT
from tofu_eval.features.weights import find_weights

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "mine"
    (path / "1_Pooling").mkdir(parents=True)
    (path / "config.json").write_text("{}")
    (path / "1_Pooling" / "config.json").write_text("{1}")
    (path / "model.safetensors").write_bytes(b"weights")
    (path / "README.md").write_text("read me")
    (path / "checkpoint-9").mkdir()
    (path / "checkpoint-9" / "model.safetensors").write_bytes(b"older")
    return path


def test_a_directory_is_known_by_its_files(model: Path) -> None:
    found = find_weights(str(model), "--x")
    assert found.path == model
    assert found.identity == {
        "kind": "local",
        "id": "mine",
        "files": {
            "1_Pooling/config.json": hashlib.sha256(b"{1}").hexdigest(),
            "config.json": hashlib.sha256(b"{}").hexdigest(),
            "model.safetensors": hashlib.sha256(b"weights").hexdigest(),
        },
    }
    assert found.signature.startswith("mine@")


def test_a_directory_may_move_but_not_change(model: Path, tmp_path: Path) -> None:
    first = find_weights(str(model), "--x")
    moved = Path(shutil.copytree(model, tmp_path / "elsewhere" / "mine"))
    again = find_weights(str(moved), "--x")
    assert (again.identity, again.signature) == (first.identity, first.signature)
    (moved / "model.safetensors").write_bytes(b"weightz")
    changed = find_weights(str(moved), "--x")
    assert changed.identity != first.identity
    assert changed.signature != first.signature


def test_a_directory_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        find_weights(str(tmp_path), "--x")
    assert str(caught.value) == (
        f"No model in {tmp_path}: expected config.json, a tokenizer and weights. "
        f"Look: ls {tmp_path}"
    )


class Hub:
    """What HfApi().model_info and snapshot_download are replaced by; `calls` are the latter's."""

    def __init__(
        self, cached: Path | None, files: tuple[str, ...] = (), error: Exception | None = None
    ) -> None:
        self.cached, self.files, self.error = cached, files, error
        self.calls: list[dict[str, Any]] = []

    def model_info(self, repo: str, *, revision: str | None, timeout: float) -> Any:
        assert timeout == TIMEOUT
        if self.error:
            raise self.error
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in self.files])

    def snapshot_download(self, repo: str, **options: Any) -> str:
        self.calls.append({"repo": repo, **options})
        if self.cached is None:
            raise huggingface_hub.errors.LocalEntryNotFoundError("nothing cached\nsecond line")
        return str(self.cached)


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Callable[[Hub], Hub]:
    def install(hub: Hub) -> Hub:
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
        monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
        return hub

    return install


def test_a_hub_model_is_known_by_its_commit(pretend: Any, tmp_path: Path) -> None:
    hub = pretend(Hub(tmp_path / COMMIT, files=("model.safetensors", "pytorch_model.bin")))
    found = find_weights("org/model@v1", "--x")
    assert found.path == tmp_path / COMMIT
    assert found.identity == {"kind": "hub", "id": "org/model", "commit": COMMIT}
    assert found.signature == "org/model@0123456789ab"
    (call,) = hub.calls
    assert (call["repo"], call["revision"]) == ("org/model", "v1")
    assert "*.bin" in call["ignore_patterns"]  # the same weights as the safetensors


def test_pickled_weights_are_fetched_where_there_are_no_others(
    pretend: Any, tmp_path: Path
) -> None:
    hub = pretend(Hub(tmp_path / COMMIT, files=("pytorch_model.bin",)))
    find_weights("org/model", "--x")
    assert "*.bin" not in hub.calls[0]["ignore_patterns"]


def test_the_cache_serves_where_the_hub_is_out_of_reach(pretend: Any, tmp_path: Path) -> None:
    hub = pretend(Hub(tmp_path / COMMIT, error=ConnectionError("no network")))
    assert find_weights("org/model", "--x").identity["commit"] == COMMIT
    assert [call.get("local_files_only") for call in hub.calls] == [True]


def test_neither_hub_nor_cache(pretend: Any) -> None:
    pretend(Hub(None, error=ConnectionError("no network.\nTry again")))
    with pytest.raises(ModelError) as caught:
        find_weights("org/model", "--embedding-model")
    assert str(caught.value) == (
        "Cannot get the model 'org/model': it is no directory here, not in the Hub's cache, and "
        "the Hub says: ConnectionError: no network. Give another: --embedding-model PATH_OR_ID"
    )
    assert isinstance(caught.value.__cause__, ConnectionError)


@pytest.mark.parametrize("model", ["/no/such/model", "~nobody-at-all/model", "/" + "x" * 5000])
def test_a_path_that_is_not_there(model: str) -> None:
    # The real client refuses these as ids, without asking the network.
    with pytest.raises(ModelError, match=r"^Cannot get the model '.*': it is no directory here"):
        find_weights(model, "--x")


def test_without_huggingface_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError) as caught:
        find_weights("org/model", "--x")
    assert str(caught.value) == (
        "The model 'org/model', not a local directory, needs the package 'huggingface-hub', "
        "which is not installed. Install it: pip install 'tofu-eval[hf]'"
    )
