"""An adapter added into its base's weights: a checkpoint that needs no PEFT."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from tofu_eval.core.disk import explain_saving
from tofu_eval.core.errors import ConfigError
from tofu_eval.core.hub import quiet
from tofu_eval.core.models import TRAINED, is_quantized, parse_model, resolve
from tofu_eval.engines.loading import load, pick_dtype
from tofu_eval.run.files import LOCK, TEMPORARY, hold_lock


def merge_adapter(
    model: str,
    output: Path | str,
    *,
    dtype: str | None = None,
    trust_remote_code: bool = False,
) -> Path:
    """Merge BASE+ADAPTER and save the whole model with the adapter's tokenizer.

    The sum is made in float32 and saved in `dtype`; what `tofu-eval train` left of how prompts are
    put goes along.

    Args:
        model: BASE+ADAPTER, directories or Hub ids (`@revision`).
        output: a new directory; it appears when it is whole.
        dtype: auto (the base's own), float32, bfloat16 or float16; auto by default.
        trust_remote_code: run Python code that comes with the model.

    Raises:
        ConfigError: no adapter, a base whose weights are packed, or an output that exists.
        ModelError: a part cannot be loaded, or the parts do not fit each other.
    """
    output = Path(output)
    resolved = resolve(parse_model(f"model={model}"))
    if resolved.adapter is None:
        raise ConfigError(f"'{model}' has no adapter to merge. Name it: BASE+ADAPTER")
    if is_quantized(resolved):
        raise ConfigError(
            f"The weights of '{model}' are packed, and nothing can be added to them. Name the base "
            "that they were packed from."
        )
    _refuse_existing(output)
    cpu = torch.device("cpu")
    pick_dtype(dtype, cpu)
    with quiet():
        peft_model, tokenizer = load(
            resolved, model, device=cpu, dtype="float32", trust_remote_code=trust_remote_code
        )
        own = getattr(peft_model.config.get_text_config(), "dtype", None)
        merged = peft_model.merge_and_unload(safe_merge=True)
        kept = _stored_dtype(resolved.base) if dtype in (None, "auto") else getattr(torch, dtype)
        merged = merged.to(kept or own or torch.float32)
        with explain_saving(output), _making(output) as folder:
            merged.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            if (resolved.adapter / TRAINED).exists():
                shutil.copy(resolved.adapter / TRAINED, folder / TRAINED)
    return output


@contextmanager
def _making(output: Path) -> Iterator[Path]:
    """An empty folder that becomes `output` after the block; one process at a time has it."""
    folder = output.parent / f"{TEMPORARY}{output.name}"
    with hold_lock(folder):
        try:
            _refuse_existing(output)  # another process was quicker
            lock = folder / LOCK
            for left in [path for path in folder.iterdir() if path != lock]:  # of one killed
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            yield folder
            lock.unlink()
            folder.replace(output)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


def _refuse_existing(output: Path) -> None:
    if output.exists():
        raise ConfigError(f"{output} exists. Name another --output, or delete it first.")


def _stored_dtype(base: Path) -> torch.dtype | None:
    """The dtype that the base's configuration names."""
    from transformers import AutoConfig

    named = AutoConfig.from_pretrained(base).dtype
    return getattr(torch, named) if isinstance(named, str) else named
