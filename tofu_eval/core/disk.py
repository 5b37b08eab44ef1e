"""What libraries raise where the disk is full, read-only or gone while they save a model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tofu_eval.core.errors import StoreError, say_error

OF_RUST = r"\(os error \d+\)"
"""How safetensors, which has an error of its own, and tokenizers, which has none, end a message."""

OF_TORCH = "inline_container|StreamWriter|iostream"
"""What torch's writer names in a RuntimeError."""


def is_of_the_disk(error: BaseException) -> bool:
    """Whether the system refused to write. An OSError of transformers' own has no number."""
    if isinstance(error, OSError):
        return error.errno is not None
    how = f"{OF_RUST}|{OF_TORCH}" if type(error) is RuntimeError else OF_RUST
    return re.search(how, str(error)) is not None


def say_reason(error: BaseException) -> str:
    """What the system said, in one line without a full stop."""
    return getattr(error, "strerror", None) or say_error(error)


@contextmanager
def explain_saving(path: Path) -> Iterator[None]:
    """Turn what any library raises where nothing can be written into one line.

    Raises:
        StoreError: the disk is full, read-only or gone.
    """
    try:
        yield
    except Exception as error:
        if not is_of_the_disk(error):
            raise
        raise StoreError(
            f"Cannot write {path}: {say_reason(error)}. Make room or choose another --output, then "
            "run the same command again."
        ) from error
