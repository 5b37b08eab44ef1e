"""Preference pairs from the responses of a run: chosen for being rare and good.

Source: Lanchantin et al., Diverse Preference Optimization, arXiv:2501.18101. Of the paper its
abstract and the caption of its figure 1 could be read: chosen is the most diverse response whose
reward is above a threshold, rejected the least diverse one below it. What stands in for the
threshold where none is given (a share of the range between a prompt's rewards) and the measures of
rarity are this package's.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.config import Settings
from tofu_eval.core.errors import ConfigError, UnknownNameError
from tofu_eval.core.scripts import split_words
from tofu_eval.core.types import Group, Report, digest, no_report
from tofu_eval.features.open import open_features
from tofu_eval.metrics import find
from tofu_eval.pipeline.inputs import KeptFeature, with_features
from tofu_eval.run.responses import Groups
from tofu_eval.run.store import Run

QUALITIES = {"reward": "reward", "correct": "accuracy"}
"""What a response may be good by, and a metric that needs it."""

RARITIES = {"words": None, "embedding": "mean_pairwise_cosine_distance"}
"""What a response may be rare by, and a metric that needs it; words need nothing."""

CHUNK = 64
"""Prompts that are in memory together."""


@dataclass(frozen=True, slots=True)
class PairRule:
    """How pairs are made.

    Args:
        quality: of QUALITIES.
        rarity: of RARITIES.
        threshold: chosen are responses of at least that quality, rejected those below; None takes
            the `share` of a prompt's range next to its best and next to its worst.
        share: in (0, 0.5).

    Raises:
        ConfigError: a value is none of these.
    """

    quality: str = "reward"
    rarity: str = "words"
    threshold: float | None = None
    share: float = 0.25

    def __post_init__(self) -> None:
        for what, name, known in (
            ("quality", self.quality, QUALITIES),
            ("rarity", self.rarity, RARITIES),
        ):
            if name not in known:
                raise ConfigError(f"No {what} '{name}'. Known: {', '.join(known)}")
        if not 0 < self.share < 0.5:
            raise ConfigError(f"share is {self.share}; expected a number > 0 and < 0.5.")
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise ConfigError(f"threshold is {self.threshold}; expected a finite number.")


@dataclass
class Pairs:
    """Rows as TRL's preference format has them, and why prompts have none."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def make_pairs(
    run: Run,
    rule: PairRule,
    chosen: Settings,
    *,
    models: Sequence[str] = (),
    tasks: Sequence[str] = (),
    report: Report = no_report,
) -> Pairs:
    """A pair a model, task and prompt, of that model's own responses.

    Args:
        run: opened for writing: rewards and embeddings that it lacks are computed and kept.
        rule: how.
        chosen: the run's settings, which name reward model, verifier and embedding model.
        models: only these; by default all.
        tasks: likewise.
        report: told about progress.

    Raises:
        UnknownNameError: the run has no such model or task.
        ConfigError: nothing says how good the responses are.
        ModelError: a model that is needed cannot be had.
    """
    for what, names in (("model", models), ("task", tasks)):
        for name in names:
            if name not in run.manifest[f"{what}s"]:
                raise UnknownNameError.of(
                    what, name, run.manifest[f"{what}s"], f"tofu-eval runs show {run.path}"
                )
    found = Pairs()
    for group in _groups(run, rule, chosen, models, tasks, report):
        pair = pick_pair(
            np.asarray(group.features[rule.quality], dtype=np.float64).reshape(-1),
            RARITY[rule.rarity](group),
            group.texts,
            rule,
        )
        if isinstance(pair, str):
            found.left_out[pair] += 1
        else:
            turns = [{"role": m.role, "content": m.content} for m in group.prompt.messages]
            answers = ([{"role": "assistant", "content": group.texts[i]}] for i in pair)
            names = ("prompt", "chosen", "rejected")
            found.rows.append(dict(zip(names, (turns, *answers), strict=True)))
    return found


def pick_pair(
    quality: NDArray[np.float64],
    rarity: NDArray[np.float64],
    texts: Sequence[str],
    rule: PairRule,
) -> tuple[int, int] | str:
    """The rarest good response and the commonest bad one; or why there are none.

    Of equals the first is taken. Responses whose quality is not known are left out.
    """
    known = np.flatnonzero(np.isfinite(quality))
    if len(known) < 2:
        return "fewer than two responses whose quality is known"
    low, high = quality[known].min(), quality[known].max()
    if low == high:
        return "all responses are equally good"
    if rule.threshold is None:
        reach = rule.share * (high - low)
        good, bad = known[quality[known] >= high - reach], known[quality[known] <= low + reach]
    else:
        good = known[quality[known] >= rule.threshold]
        bad = known[quality[known] < rule.threshold]
    if not len(good) or not len(bad):
        return "all responses are on one side of the threshold"
    pair = int(good[np.argmax(rarity[good])]), int(bad[np.argmin(rarity[bad])])
    if texts[pair[0]] == texts[pair[1]]:
        return "the same text is good and bad"
    return pair


def rarity_of_words(group: Group) -> NDArray[np.float64]:
    """Mean over a response's different words of -log(share of the responses that have it)."""
    words = [set(split_words(text.casefold())) for text in group.texts]
    counts = Counter(word for row in words for word in row)
    n = len(words)
    means = [math.fsum(math.log(n / counts[w]) for w in row) / max(1, len(row)) for row in words]
    return np.array(means)


def rarity_of_embedding(group: Group) -> NDArray[np.float64]:
    """Mean cosine distance to the other responses, (n,)."""
    rows = np.asarray(group.features["embedding"], dtype=np.float64)
    n = len(rows)
    similar: NDArray[np.float64] = (rows @ rows.sum(0) - 1) / max(1, n - 1)
    return 1 - similar


RARITY: Mapping[str, Callable[[Group], NDArray[np.float64]]] = {
    "words": rarity_of_words,
    "embedding": rarity_of_embedding,
}


def _groups(
    run: Run,
    rule: PairRule,
    chosen: Settings,
    models: Sequence[str],
    tasks: Sequence[str],
    report: Report,
) -> Iterator[Group]:
    """The responses with their quality, as a file or a model says it, and what rarity needs."""
    wanted = [QUALITIES[rule.quality], RARITIES[rule.rarity]]
    for task in tasks or run.manifest["tasks"]:
        for model in models or run.manifest["models"]:
            if not run.has_responses(model=model, task=task):
                continue
            given = run.manifest["models"][model].get("given", {}).get(task, ())
            metrics = [find(name) for name in wanted if name is not None]
            metrics = [metric for metric in metrics if not set(metric.needs) <= {*given}]
            verifiers = {task: run.manifest["tasks"][task].get("verifier", "")}
            opened = open_features(chosen, metrics, given, verifiers)
            features = {
                name: KeptFeature(one, run.features(name, digest(one.identity)))
                for name, one in opened.items()
            }
            for _, chunk in Groups(run, model, task).chunks(CHUNK):
                for group in with_features(chunk, metrics, features, report):
                    if rule.quality not in group.features:
                        raise ConfigError(
                            f"Nothing says how {rule.quality} the responses of '{model}' to "
                            f"'{task}' are. Name a reward model (--reward-model), or --quality "
                            f"{' or '.join(name for name in QUALITIES if name != rule.quality)}."
                        )
                    yield group
