"""Checkpoints of strangers: nothing of theirs runs, nothing is believed, one line says why."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import invoke

from hostile.test_files import LIMIT, check_refused

CANARY = "CANARY"


class Runs:
    """A pickle that leaves a mark where it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {CANARY}",)


MODULE = f"import pathlib\npathlib.Path('{CANARY}').touch()\nclass M: ...\nclass C: ...\n"


def change(file: Path, **fields: Any) -> None:
    content = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**content, **fields}))


def no_weights(model: Path) -> None:
    for file in model.glob("*.safetensors"):
        file.unlink()


def pickled(model: Path) -> None:
    no_weights(model)
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(Runs()))


def pickled_in_zip(model: Path) -> None:
    no_weights(model)
    with zipfile.ZipFile(model / "pytorch_model.bin", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a": Runs()}))
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")


def pickled_adapter(adapter: Path) -> None:
    no_weights(adapter)
    (adapter / "adapter_model.bin").write_bytes(pickle.dumps(Runs()))


def adapter_code(adapter: Path) -> None:
    (adapter / "own.py").write_text(MODULE)
    change(adapter / "adapter_config.json", peft_type="OWN", auto_map={"x": "own.M"})


def piped(model: Path) -> None:
    (model / "config.json").unlink()
    os.mkfifo(model / "config.json")


def own_code(model: Path) -> None:
    (model / "own.py").write_text(MODULE)
    change(model / "config.json", model_type="own", auto_map={
        "AutoConfig": "own.C", "AutoModelForCausalLM": "own.M",
        "AutoTokenizer": ["own.M", None]})  # fmt: skip


def code_elsewhere(model: Path) -> None:
    change(model / "config.json", model_type="own", auto_map={
        "AutoConfig": "evil/repo--own.C", "AutoModelForCausalLM": "evil/repo--own.M"})  # fmt: skip


def tokenizer_code(model: Path) -> None:
    (model / "own.py").write_text(MODULE)
    change(model / "tokenizer_config.json", tokenizer_class="OwnTokenizer",
           auto_map={"AutoTokenizer": ["own.M", "own.M"]})  # fmt: skip
    change(model / "config.json", model_type="own")


def header(length: int, content: bytes = b"") -> Callable[[Path], None]:
    def write(model: Path) -> None:
        no_weights(model)
        (model / "model.safetensors").write_bytes(struct.pack("<Q", length) + content)

    return write


def huge_header(model: Path) -> None:
    no_weights(model)
    content = b"{" + b" " * 120_000_000 + b"}"
    (model / "model.safetensors").write_bytes(struct.pack("<Q", len(content)) + content)


def huge_tensor(model: Path) -> None:
    header_of(model, {"x": {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 2**62]}})


def overlapping(model: Path) -> None:
    told = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    header_of(model, {"x": told, "y": told})


def header_of(model: Path, told: dict[str, Any]) -> None:
    content = json.dumps(told).encode()
    header(len(content), content + b"\0" * 8)(model)


def weights_elsewhere(model: Path) -> None:
    no_weights(model)
    told = {"metadata": {}, "weight_map": {"model.norm.weight": "../../../../etc/passwd"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(told))
    (model / "model-1.safetensors").write_bytes(b"\0" * 16)


def linked(name: str, to: str) -> Callable[[Path], None]:
    def link(model: Path) -> None:
        (model / name).unlink(missing_ok=True)
        (model / name).symlink_to(to)

    return link


def config_of(**fields: Any) -> Callable[[Path], None]:
    return lambda model: change(model / "config.json", **fields)


def text_of(name: str, content: bytes) -> Callable[[Path], None]:
    def write(model: Path) -> None:
        (model / name).write_bytes(content)

    return write


def token_id(model: Path) -> None:
    told = json.loads((model / "tokenizer.json").read_text())
    told["model"]["vocab"] |= {max(told["model"]["vocab"]): 2**31}
    (model / "tokenizer.json").write_text(json.dumps(told))


def panics(model: Path) -> None:
    told = json.loads((model / "tokenizer.json").read_text())
    told["normalizer"] = {"type": "Replace", "pattern": {"String": ""}, "content": "x"}
    (model / "tokenizer.json").write_text(json.dumps(told))


def template(source: str) -> Callable[[Path], None]:
    return text_of("chat_template.jinja", source.encode())


CHECKPOINTS: dict[str, Callable[[Path], None]] = {
    "a pickle": pickled,
    "a pickle in a zip": pickled_in_zip,
    "code of its own": own_code,
    "code from elsewhere": code_elsewhere,
    "a tokenizer with code": tokenizer_code,
    "a header of 2**63 bytes": header(2**63),
    "a header that is cut": header(2**20, b"{"),
    "a header that is no JSON": header(4, b"\xff\xff\xff\xff"),
    "a header that is deep": header(200_000, b"[" * 200_000),
    "a header of 120 MB": huge_header,
    "a tensor of 2**62 bytes": huge_tensor,
    "tensors on top of each other": overlapping,
    "weights elsewhere": weights_elsewhere,
    "weights that are a device": linked("model.safetensors", "/dev/zero"),
    "a config that is a device": linked("config.json", "/dev/zero"),
    "a config that is a pipe": piped,
    "a config that is deep": text_of("config.json", b'{"a":' * 50_000),
    "a config of nothing": text_of("config.json", b""),
    "a config that is a list": text_of("config.json", b"[]"),
    "a vocabulary of 10**10": config_of(vocab_size=10**10),
    "layers of 10**9": config_of(num_hidden_layers=10**9),
    "a width of 10**7": config_of(hidden_size=10**7, intermediate_size=10**7),
    "layers below none": config_of(num_hidden_layers=-1),
    "a vocabulary in words": config_of(vocab_size="many"),
    "no such architecture": config_of(model_type="../../x", architectures=["os.system"]),
    "a tokenizer that is none": text_of("tokenizer.json", b"{}"),
    "a token id of 2**31": token_id,
    "a tokenizer that gives up": panics,
    "a longest text in words": lambda m: change(
        m / "tokenizer_config.json", model_max_length="os.system"),
    "a template that loops": template("{% for a in range(99999) %}" * 2 + "{% endfor %}" * 2),
    "a template that grows": template("{{ 'x' * 10**9 }}"),
    "a template that divides by 0": template("{{ 1 // 0 }}"),
    "a template that reaches": text_of(
        "tokenizer_config.json",
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast",
                    "chat_template": "{{ x.__class__.__mro__[1].__subclasses__() }}"}).encode(),
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(model: str, *more: object) -> str:
    start = time.monotonic()
    said = check_refused("run", "--model", f"m={model}", "--task", "open-prompts", "--limit", 1,
                         "--samples", 1, "--max-tokens", 2, "--output", "run", *more)  # fmt: skip
    assert time.monotonic() - start < LIMIT
    assert not [*Path().rglob(CANARY)]
    return said


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints(name: str, tiny_model: Path) -> None:
    shutil.copytree(tiny_model, "model")
    CHECKPOINTS[name](Path("model"))
    more = ("--format", "chat") if "template" in name else ()
    run("model", *more)


ADAPTERS: dict[str, Callable[[Path], None]] = {
    "a pickle": pickled_adapter,
    "a class of another library": lambda a: change(
        a / "adapter_config.json", peft_type="os.system"),
    "a rank of 10**9": lambda a: change(a / "adapter_config.json", r=10**9),
    "an expression": lambda a: change(a / "adapter_config.json", target_modules="(a+)+$" * 3),
    "a config that is deep": text_of("adapter_config.json", b"[" * 50_000),
    "a config that is a list": text_of("adapter_config.json", b"[]"),
    "a config that is a device": linked("adapter_config.json", "/dev/zero"),
    "code of its own": adapter_code,
}  # fmt: skip


@pytest.mark.parametrize("name", ADAPTERS)
def test_adapters(name: str, tiny_model: Path, tiny_adapter: Path) -> None:
    shutil.copytree(tiny_adapter, "adapter")
    ADAPTERS[name](Path("adapter"))
    run(f"{tiny_model}+adapter")


def test_what_an_adapter_says_of_its_base_is_not_followed(
    tiny_model: Path, tiny_adapter: Path
) -> None:
    shutil.copytree(tiny_adapter, "adapter")
    Path("own.py").write_text(MODULE)
    change(
        Path("adapter/adapter_config.json"), base_model_name_or_path="evil/repo",
        auto_mapping={"base_model_class": "M", "parent_library": "own"},
    )  # fmt: skip
    result = invoke("run", "--model", f"m={tiny_model}+adapter", "--task", "open-prompts",
                    "--limit", 1, "--samples", 1, "--max-tokens", 2, "--metric", "mean_length",
                    "--output", "run")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert not [*Path().rglob(CANARY)]
