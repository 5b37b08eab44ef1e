"""Model files from the Hugging Face Hub, or from its cache where the Hub does not answer."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tofu_eval.core.errors import MissingDependencyError

TIMEOUT = 10.0
"""Seconds to wait for the Hub's first answer before the cache is used."""


def snapshot(
    repo: str,
    revision: str | None = None,
    *,
    allow: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
) -> Path:
    """The folder of a repository's files at a revision; it is called after the commit.

    Of weights that come as safetensors and as pickles, only the safetensors are fetched.

    Args:
        repo: Hub id, `org/name`.
        revision: branch, tag or commit; None is the main branch.
        allow: patterns of the files to fetch; None is all.
        ignore: patterns of files to leave out.

    Raises:
        MissingDependencyError: huggingface-hub is not installed.
        Exception: whatever the Hub's client raised, where the cache has no such snapshot either;
            a network fails in many ways.
    """
    try:
        import huggingface_hub as hub
    except ModuleNotFoundError as error:
        raise MissingDependencyError.of(
            f"The model '{repo}', not a local directory,", "huggingface-hub", "hf"
        ) from error
    try:
        # snapshot_download would wait for ever for a Hub that does not answer; this does not.
        info = hub.HfApi().model_info(repo, revision=revision, timeout=TIMEOUT)
        twice = any(file.rfilename.endswith(".safetensors") for file in info.siblings or ())
        skip = [*ignore, *(["*.bin"] if twice else [])]
        return Path(
            hub.snapshot_download(
                repo, revision=revision, allow_patterns=allow, ignore_patterns=skip
            )
        )
    except Exception:
        try:
            return Path(hub.snapshot_download(repo, revision=revision, local_files_only=True))
        except Exception:  # noqa: BLE001, S110 - the Hub's own answer says more
            pass
        raise


@contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars of transformers and datasets, which would run into ours."""
    from transformers.utils import logging

    datasets = sys.modules.get("datasets")  # only if somebody has imported it
    shown = logging.is_progress_bar_enabled()
    shown_data = datasets is not None and not datasets.are_progress_bars_disabled()
    logging.disable_progress_bar()
    if datasets is not None:
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
        if datasets is not None and shown_data:
            datasets.enable_progress_bars()
