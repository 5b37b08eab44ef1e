"""The feature "embedding": texts as unit vectors."""

from __future__ import annotations

from typing import Literal

from tofu_eval.core.errors import ConfigError
from tofu_eval.core.sections import section, setting
from tofu_eval.features.base import FeatureModel, Opening, feature

EMBEDDING_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
LANGUAGE_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"

BY_LANGUAGE_MODEL = ("causal-lm", "causal-lm-vllm", "both")


@section("embedding", title="Embeddings")
class EmbeddingSettings:
    """What makes embeddings."""

    model: str | None = setting(
        None,
        metavar="MODEL",
        help="Directory or Hub id; for causal-lm and both of a language model. Default: "
        f"{EMBEDDING_MODEL}; {LANGUAGE_MODEL}",
    )
    engine: Literal[
        "sentence-transformers", "causal-lm", "causal-lm-vllm", "both", "vllm", "openai"
    ] = setting(
        "sentence-transformers",
        help="What computes them; openai is a server, both a sentence encoder and a language "
        "model together, causal-lm-vllm a language model's last layer on vLLM.",
    )
    template: str | None = setting(
        None, metavar="TEXT", help="What a language model reads of a text, {text} in it."
    )
    layers: str | None = setting(
        None,
        metavar="LAYERS",
        help="Of the language model: 24-29, or shares of its depth. Default: 0.8-0.97",
    )
    pooling: Literal["last", "mean"] | None = setting(
        None, help="The state at the template's last token, or the mean over the text's."
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
    settings = opening.settings(EmbeddingSettings)
    _refuse_unread(settings)
    if settings.engine in BY_LANGUAGE_MODEL:
        return _open_language_embedder(opening, settings)
    model = settings.model or EMBEDDING_MODEL
    if settings.engine == "openai":
        from tofu_eval.features.served import ServedEmbedder

        return ServedEmbedder(model, settings.base_url)
    if settings.engine == "vllm":
        from tofu_eval.features.vllm import VllmEmbedder

        return VllmEmbedder(model)
    from tofu_eval.features.isolated import open_model
    from tofu_eval.features.sentence_embedder import SentenceEmbedder

    return open_model(opening, SentenceEmbedder, model, window=settings.window)


def _open_language_embedder(opening: Opening, own: EmbeddingSettings) -> FeatureModel:
    from tofu_eval.features.causal_embedding import TEMPLATE, CausalEmbedder
    from tofu_eval.features.isolated import open_model
    from tofu_eval.features.joined_embedding import JoinedEmbedder
    from tofu_eval.features.sentence_embedder import SentenceEmbedder

    if own.engine == "causal-lm-vllm":
        from tofu_eval.features.vllm import VllmCausalEmbedder

        return VllmCausalEmbedder(
            own.model or LANGUAGE_MODEL,
            template=own.template or TEMPLATE,
            layers=own.layers,
            pooling=own.pooling or "last",
        )
    by_language_model = open_model(
        opening,
        CausalEmbedder,
        own.model or LANGUAGE_MODEL,
        template=own.template or TEMPLATE,
        layers=own.layers,
        pooling=own.pooling or "last",
    )
    if own.engine == "causal-lm":
        return by_language_model
    sentences = open_model(opening, SentenceEmbedder, EMBEDDING_MODEL, window=own.window)
    return JoinedEmbedder([sentences, by_language_model])


def _refuse_unread(own: EmbeddingSettings) -> None:
    """Settings of a language model have no meaning for another embedder."""
    for name in ("template", "layers", "pooling"):
        if getattr(own, name) and own.engine not in BY_LANGUAGE_MODEL:
            raise ConfigError(
                f"--embedding-{name} is for language models, and the embeddings are made by "
                f"{own.engine}. Add --embedding-engine causal-lm, or leave it out."
            )
