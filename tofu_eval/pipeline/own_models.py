"""A model of the run as what a feature is made with: `--embedding-model base`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tofu_eval.core.config import Settings
from tofu_eval.core.errors import ConfigError
from tofu_eval.core.types import ModelSpec
from tofu_eval.features.embedding import BY_LANGUAGE_MODEL

SECTIONS = ("embedding", "likelihood")
"""The sections whose `model` may be the name of one of the run's models."""


@dataclass(frozen=True)
class StoredModel:
    """A model of a run that is scored again: what run.json says of its files."""

    identity: Mapping[str, Any]


def stored_models(manifest: Mapping[str, Any]) -> dict[str, StoredModel]:
    """The models of a run by name, as `name_own_models` takes them."""
    return {
        name: StoredModel(described.get("identity", {}))
        for name, described in manifest["models"].items()
    }


def name_own_models(chosen: Settings, models: Mapping[str, object]) -> tuple[Settings, list[str]]:
    """The settings with the files of the run's models where these are named, and remarks on it.

    What is there as a directory is that directory.

    Raises:
        ConfigError: an engine that cannot read a language model, or a model without files.
    """
    remarks = []
    for section in SECTIONS:
        part = getattr(chosen, section, None)
        name = getattr(part, "model", None)
        if part is None or name is None or name not in models or Path(name).exists():
            continue
        flag = f"--{section}-model {name}"
        if section == "embedding" and part.engine not in BY_LANGUAGE_MODEL:
            raise ConfigError(
                f"{flag} is a language model of this run, which {part.engine} does not read. "
                "Add --embedding-engine causal-lm."
            )
        if part.engine == "openai":  # a name on a server, whatever the run calls its models
            continue
        reference = _reference(models[name], flag)
        own = part.model_copy(update={"model": reference})
        chosen = chosen.model_copy(update={section: own})
        if section == "embedding":
            remarks.append(
                f"the embeddings of all models are made by '{name}', itself a model of this run: "
                "its numbers and the others' are of one space and may be compared; numbers made by "
                "another model may not"
            )
    return chosen, remarks


def _reference(model: object, flag: str) -> str:
    """How the user would name the model's files."""
    if isinstance(model, str | Path):
        return str(model)
    if isinstance(model, StoredModel):
        return _stored_reference(model, flag)
    if isinstance(model, ModelSpec):
        revision = f"@{model.revision}" if model.revision else ""
        at = f"@{model.adapter_revision}" if model.adapter_revision else ""
        return f"{model.model}{revision}" + (f"+{model.adapter}{at}" if model.adapter else "")
    raise ConfigError(
        f"{flag} names an engine object of yours, which has no files to load. Give a directory or "
        "a Hub id."
    )


def _stored_reference(model: StoredModel, flag: str) -> str:
    """The id and commit of a model of the Hub; a run does not keep where a directory was."""
    parts = [model.identity[key] for key in ("model", "adapter") if model.identity.get(key)]
    if not parts:
        raise ConfigError(
            f"{flag} is a model of this run whose files the run does not know "
            f"(kind: {model.identity.get('kind', 'unknown')}). Give a directory or a Hub id."
        )
    for part in parts:
        if part["kind"] != "hub":
            raise ConfigError(
                f"{flag} is a model of this run, which keeps what is in its files and not where "
                f"they are. Say where: {flag.partition(' ')[0]} DIRECTORY"
            )
    return "+".join(f"{part['id']}@{part['commit']}" for part in parts)
