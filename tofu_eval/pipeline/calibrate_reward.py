"""Making a calibration: what the rewards of one reward model are worth, from a set of responses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.errors import ConfigError, DataError
from tofu_eval.core.states import has_text
from tofu_eval.core.types import Prompt, Report, digest, no_report
from tofu_eval.core.version import __version__
from tofu_eval.features.base import CHUNK, fill
from tofu_eval.features.calibration import Calibration, from_rewards, write_calibration
from tofu_eval.features.open import OpenFeature, open_feature
from tofu_eval.features.settings import read_settings
from tofu_eval.importers.read import read_responses
from tofu_eval.run import provenance
from tofu_eval.run.feature_cache import FeatureCache
from tofu_eval.run.files import atomic_write
from tofu_eval.run.responses import Groups
from tofu_eval.run.store import Run

METHOD = "deciles of the raw rewards, each midway between two of them; every response counts"


def calibrate_reward(
    source: Path | str, output: Path | str, *, report: Report = no_report, **options: Any
) -> Calibration:
    """Score responses with a reward model and write thresholds at the deciles of the rewards.

    Args:
        source: a run directory (all its models and tasks), or a file of responses as `score`
            reads it. They should be of models and prompts like those to be scored.
        output: the YAML file to write; it must not exist.
        report: told about progress as (stage, done, total).
        options: the section `reward`, `device`, `isolate`.

    Raises:
        ConfigError: no reward model, or the output exists.
        DataError: no responses, too few, or rewards too much alike.
        StoreError: the source is a damaged run, or the output cannot be written.
    """
    source, output = Path(source), Path(output)
    if output.exists():
        raise ConfigError(f"{output} exists. Name another --output, or delete it first.")
    reward = open_feature("reward", read_settings(options))
    pairs = list(_pairs(source))
    if not all(prompt.text for prompt, _ in pairs):
        raise DataError(
            f"{source} has responses without their prompts, which a reward model needs. Add the "
            "field 'prompt' to every row."
        )
    keys = [reward.key(*pair) for pair in pairs]
    cache = _known_rewards(source, reward)
    _score(cache, dict(zip(keys, pairs, strict=True)), reward, report)
    reward.close()
    rewards = cache.rows(keys)[:, 0] if keys else np.empty(0)
    calibration = from_rewards(rewards, reward.identity, reward.signature, str(source))
    text = write_calibration(
        calibration,
        method=METHOD,
        data={
            "source": source.name,
            "digest": digest(sorted(keys)),
            "responses": len(keys),
            "different": len(set(keys)),
            "prompts": len({prompt.text for prompt, _ in pairs}),
        },
        made={"by": f"tofu-eval {__version__}", "on": provenance.now()},
    )
    atomic_write(output, lambda file: file.write(text.encode()))
    return calibration


def _pairs(source: Path) -> Iterator[tuple[Prompt, str]]:
    """Every response of a run or a file, with its prompt."""
    if source.is_dir():
        run = Run.open(source)
        for model in run.manifest["models"]:
            for task in run.manifest["tasks"]:
                if run.has_responses(model=model, task=task):
                    for _, groups in Groups(run, model, task).chunks(CHUNK):
                        for group in groups:
                            yield from ((group.prompt, text) for text in group.texts)
        return
    read = read_responses([(None, source)], "responses", spool=Path())
    for rows in read.rows.values():
        yield from (
            (read.prompts[row.prompt_id], row.text) for row in rows if has_text(row.state, row.text)
        )


def _known_rewards(source: Path, reward: OpenFeature) -> FeatureCache:
    """The rewards that a run holds already; the cache is in memory, the run stays as it is."""
    cache = FeatureCache()
    if source.is_dir():
        kept = Run.open(source).features("reward", digest(reward.identity))
        keys = kept.keys()
        for start in range(0, len(keys), CHUNK):
            some = keys[start : start + CHUNK]
            cache.add(some, kept.rows(some))
    return cache


def _score(
    cache: FeatureCache,
    pairs: Mapping[str, tuple[Prompt, str]],
    reward: OpenFeature,
    report: Report,
) -> None:
    def compute(some: Sequence[str]) -> tuple[NDArray[np.float32], int]:
        return reward.compute_rows([pairs[key] for key in some]), 0

    fill(cache, pairs, compute, stage="rewards", report=report)
