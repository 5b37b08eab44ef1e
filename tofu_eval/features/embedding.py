"""The feature "embedding": texts as unit vectors."""

from __future__ import annotations

from typing import Literal

from tofu_eval.core.sections import section, setting
from tofu_eval.features.base import FeatureModel, Opening, feature

EMBEDDING_MODEL = "sentence-transformers/all-MiniLM-L6-v2"


@section("embedding", title="Embeddings")
class EmbeddingSettings:
    """What makes embeddings."""

    model: str = setting(
        EMBEDDING_MODEL, metavar="MODEL", help="sentence-transformers directory or Hub id."
    )
    engine: Literal["sentence-transformers", "vllm", "openai"] = setting(
        "sentence-transformers", help="What computes them; openai is a server."
    )
    base_url: str | None = setting(None, metavar="URL", help="Where that server is.")
    window: int | None = setting(
        None,
        least=1,
        metavar="TOKENS",
        help="Longer texts are read in windows of so many tokens. Default: only their beginnings",
    )


@feature(name="embedding", settings=(EmbeddingSettings,))
def open_embedder(opening: Opening) -> FeatureModel:
    """(n, d) floats, rows of unit length."""
    own = opening.settings(EmbeddingSettings)
    if own.engine == "openai":
        from tofu_eval.features.served import ServedEmbedder

        return ServedEmbedder(own.model, own.base_url)
    if own.engine == "vllm":
        from tofu_eval.features.vllm import VllmEmbedder

        return VllmEmbedder(own.model)
    from tofu_eval.features.isolated import open_model
    from tofu_eval.features.sentence_embedder import SentenceEmbedder

    return open_model(opening, SentenceEmbedder, own.model, window=own.window)
