"""The lab's checkpoints: made once, whole or not at all, and used again.

A checkpoint is an ordinary Hugging Face directory, so `tofu-eval run` takes it like any other. A
base is written under a temporary name and renamed, and its `lab.json` says how it was made;
fine-tuning is `tofu-eval train`'s. Imports torch: import this module lazily.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from trl import SFTConfig

from tofu_eval.core.disk import explain_saving
from tofu_eval.core.errors import StoreError, TrainingError
from tofu_eval.core.hub import quiet
from tofu_eval.core.types import Report, no_report
from tofu_eval.lab import data, world
from tofu_eval.lab.model import CONTEXT, build_model, build_tokenizer
from tofu_eval.lab.samples import SAMPLES, stream
from tofu_eval.run import provenance
from tofu_eval.run.files import TEMPORARY, atomic_write, write_json
from tofu_eval.run.store import conflict
from tofu_eval.training.job import train
from tofu_eval.training.losses import ce
from tofu_eval.training.settings import train_settings
from tofu_eval.training.sft import FusedSFTTrainer, ReportProgress

MANIFEST = "lab.json"

FIELDS = {
    "lr_scheduler_type": "cosine",
    "gradient_checkpointing": False,
    "save_strategy": "no",
    "max_length": CONTEXT,
    "use_cpu": True,
}
"""What all trainings of the lab share, as fields of TRL's SFTConfig."""

GATE_SAMPLES = 32
"""Answers a topic on which the gate judges a base model."""


@dataclass(frozen=True, slots=True)
class Pretraining:
    """Rounds of training until the base answers well enough, or the rounds are used up.

    Binding an answer to its topic is a plateau that some seeds leave late, so the number of
    rounds is not fixed. The gates are shares of valid answers, of each family and overall.
    """

    width: int = 128
    layers: int = 2
    batch_size: int = 32
    round_steps: int = 1000
    max_rounds: int = 3
    lr: float = 3e-3
    warmup: int = 50
    family_gate: float = 0.5
    overall_gate: float = 0.6


@dataclass(frozen=True, slots=True)
class Finetuning:
    """Full fine-tuning on answers only."""

    samples: int = SAMPLES
    epochs: int = 8
    batch_size: int = 32
    lr: float = 7e-4


def pretrain(
    path: Path, *, seed: int, settings: Pretraining | None = None, report: Report = no_report
) -> Path:
    """A base model on the pretraining mixture, saved at `path`; the seed decides everything.

    Raises:
        TrainingError: the base fails its gate; the message has the figures.
        StoreError: `path` holds something else, or the disk fails.
    """
    settings = settings or Pretraining()
    asked = {"kind": "base", "seed": seed, "settings": asdict(settings), "world": world.identity()}

    def make() -> tuple[Any, Any, dict[str, Any]]:
        tokenizer = build_tokenizer()
        model = build_model(tokenizer, width=settings.width, layers=settings.layers, seed=seed)
        rng = stream(seed, "pretraining")
        for done in range(1, settings.max_rounds + 1):
            documents = data.pretraining_documents(rng, settings.round_steps * settings.batch_size)
            columns = data.encode(tokenizer, documents, learn_prompt=True)
            stage = ReportProgress(f"pretrain, round {done}", report)
            _train_round(model, tokenizer, columns, settings, stage, _making(path))
            validity = sampled_validity(model, tokenizer, seed=seed)
            if _passes(validity, settings):
                return model, tokenizer, {"rounds": done, "validity": validity}
        figures = ", ".join(f"{family} {share:.2f}" for family, share in validity.items())
        raise TrainingError(
            f"The lab's base model (seed {seed}) fails its gate after {settings.max_rounds} rounds "
            f"of {settings.round_steps} steps: valid answers {figures}; expected "
            f"{settings.family_gate:.2f} each and {settings.overall_gate:.2f} overall. "
            "Try another --seed."
        )

    return _checkpoint(path, asked, make)


def finetune(
    path: Path,
    base: Path,
    loss: str,
    *,
    seed: int,
    settings: Finetuning | None = None,
    report: Report = no_report,
) -> Path:
    """Fine-tune a base on the seed's instruction data with a registered loss, saved at `path`.

    Losses are compared on the same documents in the same order.

    Raises:
        UnknownNameError: no loss has that name.
        ModelError: there is no base.
        TrainingError: training cannot go on.
        StoreError: `path` holds something else, or the disk fails.
    """
    settings = settings or Finetuning()
    documents = data.sft_documents(seed, world.SEEN, settings.samples)
    rows = "".join(
        json.dumps({"prompt": d.prompt, "completion": d.answer}) + "\n" for d in documents
    )
    file = path.parent / f"instructions-{settings.samples}.jsonl"
    if not file.exists():
        atomic_write(file, lambda out: out.write(rows.encode()))
    fields = {
        **FIELDS,
        "model": str(base),
        "data": str(file),
        "output": path,
        "loss": loss,
        "format": "base",
        "num_train_epochs": settings.epochs,
        "per_device_train_batch_size": settings.batch_size,
        "learning_rate": settings.lr,
        "seed": seed,
    }
    return train(train_settings(fields), resume=True, report=report).path


def _train_round(
    model: Any,
    tokenizer: Any,
    columns: dict[str, Any],
    settings: Pretraining,
    stage: Any,
    folder: Path,
) -> None:
    """One pass over fresh documents with cross-entropy, every token learnt."""
    with quiet():
        args = SFTConfig(
            str(folder), **FIELDS, learning_rate=settings.lr, warmup_steps=settings.warmup,
            per_device_train_batch_size=settings.batch_size, num_train_epochs=1, bf16=False,
            report_to="none", disable_tqdm=True, dataloader_pin_memory=False,
        )  # fmt: skip
        FusedSFTTrainer(
            model, args, spec=ce(), train_dataset=Dataset.from_dict(columns),
            processing_class=tokenizer, callbacks=[stage],
        ).train()  # fmt: skip


def sampled_validity(
    model: Any, tokenizer: Any, *, seed: int, samples: int = GATE_SAMPLES
) -> dict[str, float]:
    """Share of valid answers by family, over all topics in their first wording, temperature 1."""
    prompts = [topic.wordings[0] for topic in world.TOPICS for _ in range(samples)]
    inputs = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(stream(seed, "gate").integers(2**32)))
        sampled = model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            do_sample=True,
            top_k=0,
            max_new_tokens=16,
        )
    texts = tokenizer.batch_decode(
        sampled[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
    )
    valid: dict[str, list[bool]] = {}
    for i, topic in enumerate(world.TOPICS):
        own = texts[i * samples : (i + 1) * samples]
        valid.setdefault(topic.family, []).extend(topic.parse(text) is not None for text in own)
    return {family: sum(hits) / len(hits) for family, hits in valid.items()}


def weights_digest(path: Path) -> str:
    """SHA-256 of a checkpoint's weights.

    Raises:
        StoreError: there are none.
    """
    try:
        return hashlib.sha256((path / "model.safetensors").read_bytes()).hexdigest()
    except OSError as error:
        raise StoreError(
            f"Cannot read the checkpoint {path}: {error.strerror or error}. Delete that folder and "
            "run the same command again: it is made anew."
        ) from error


def _passes(validity: Mapping[str, float], settings: Pretraining) -> bool:
    # Families are weighted alike: one easy family does not carry the others.
    overall = sum(validity.values()) / len(validity)
    return min(validity.values()) >= settings.family_gate and overall >= settings.overall_gate


def _making(path: Path) -> Path:
    """Where a checkpoint lies until it is whole."""
    return path.parent / f"{TEMPORARY}{path.name}"


def _checkpoint(
    path: Path, asked: Mapping[str, Any], make: Callable[[], tuple[Any, Any, dict[str, Any]]]
) -> Path:
    """Return the checkpoint at `path` if it is the one asked for, else make it."""
    asked = json.loads(json.dumps(asked))
    if path.exists():
        conflict(path, "checkpoint", _manifest(path)["asked"], asked)
        return path
    temporary = _making(path)
    model, tokenizer, record = make()
    with explain_saving(path):
        if temporary.exists():  # of a process that was killed
            shutil.rmtree(temporary)
        temporary.mkdir(parents=True)
        with quiet():
            model.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
        manifest = {"asked": asked, "found": record, "versions": provenance.versions()}
        write_json(temporary / MANIFEST, manifest)
        os.replace(temporary, path)  # noqa: PTH105 - a folder
    return path


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((path / MANIFEST).read_text("utf-8"))
        manifest["asked"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{path} is not a checkpoint of the lab: its {MANIFEST} is missing or damaged. "
            "Move that folder away, or use a new --output."
        ) from error
    return dict(manifest)
