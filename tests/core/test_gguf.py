"""GGUF files as models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from support.gguf_files import write_gguf

from tofu_eval.cli import main
from tofu_eval.core.errors import MissingDependencyError, ModelError
from tofu_eval.core.gguf import CACHE, packaged_file, to_checkpoint
from tofu_eval.core.models import parse_model, resolve

gguf = pytest.importorskip("gguf", reason="needs pip install gguf")
pytest.importorskip("transformers")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("quantized", [False, True])
def test_the_checkpoint_holds_the_files_weights(tmp_path: Path, quantized: bool) -> None:
    from transformers import AutoModelForCausalLM

    file = write_gguf(tmp_path / "tiny.gguf", quantized=quantized)
    model = AutoModelForCausalLM.from_pretrained(to_checkpoint(file))
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}
    for name, weight in (
        ("token_embd", model.model.embed_tokens.weight),
        ("output", model.lm_head.weight),
        ("blk.1.ffn_down", model.model.layers[1].mlp.down_proj.weight),
    ):
        tensor = tensors[f"{name}.weight"]
        expected = gguf.dequantize(tensor.data, tensor.tensor_type)
        np.testing.assert_array_equal(weight.detach().numpy(), expected)


def test_a_file_is_converted_once_and_is_known_by_its_digest(tmp_path: Path, cache: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf")
    spec = parse_model(str(file))
    left = cache / "gguf" / ".making-x"  # by a process that was killed
    left.mkdir(parents=True)
    first = resolve(spec)
    assert not left.exists()
    made = first.base.stat().st_mtime_ns
    again = resolve(parse_model(f"other={file.rename(tmp_path / 'renamed.gguf')}"))
    assert spec.name == "tiny"
    assert again.base.stat().st_mtime_ns == made
    assert again.identity == first.identity
    assert first.identity["model"]["kind"] == "gguf"
    assert [path.name for path in cache.glob("gguf/[!.]*")] == [first.base.name]


def test_a_conversion_tells_how_far_it_is_and_draws_no_bar(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = write_gguf(tmp_path / "tiny.gguf")
    tensors = len(gguf.GGUFReader(file).tensors)
    told: list[tuple[str, int, int]] = []
    capfd.readouterr()
    to_checkpoint(file, lambda *said: told.append(said))
    assert told[0] == ("load tiny.gguf", 0, tensors)
    assert told[-1] == ("load tiny.gguf", tensors, tensors)
    to_checkpoint(write_gguf(tmp_path / "other.gguf", quantized=True))
    assert "Converting" not in "".join(capfd.readouterr())


@pytest.mark.slow
def test_a_run_asks_it(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf")
    command = ["run", "--model", str(file), "--task", "short-answers", "--limit", "2"]
    command += ["--samples", "2", "--output", str(tmp_path / "run")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert "tiny" in result.output


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "does not begin with the letters GGUF"), (b"GGUF" + bytes(40), "cannot read")],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, cache: Path, content: bytes, said: str) -> None:
    file = tmp_path / "bad.gguf"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=said) as caught:
        resolve(parse_model(str(file)))
    assert "\n" not in str(caught.value)
    assert not list(cache.glob("gguf/[!.]*"))
    assert not list(cache.glob("gguf/.making-*"))


def test_an_unknown_architecture_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="checkpoint that it was made from"):
        to_checkpoint(write_gguf(tmp_path / "other.gguf", architecture="nonesuch"))


def test_more_layers_than_can_be_built_are_one_line(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "deep.gguf", layers=2**31 - 1)
    with pytest.raises(ModelError, match="more than 10,000 are not built"):
        to_checkpoint(file)


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_gguf(tmp_path / "tiny.gguf")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'tofu-eval\[gguf\]'"):
        to_checkpoint(file)


def test_a_place_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "occupied").write_text("")
    monkeypatch.setenv(CACHE, str(tmp_path / "occupied"))
    with pytest.raises(ModelError, match=f"{CACHE}=DIR"):
        to_checkpoint(write_gguf(tmp_path / "tiny.gguf"))


def test_no_package_no_file() -> None:
    assert packaged_file("there-is-no-such-package") is None
