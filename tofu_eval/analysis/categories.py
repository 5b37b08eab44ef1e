"""Prompts of known categories, over which intervals are much wider than those that are shown."""

from __future__ import annotations

from collections.abc import Mapping

from tofu_eval.analysis import Difference, Pair, mean_interval, spread_clusters
from tofu_eval.analysis.columns import Key
from tofu_eval.analysis.comparison import How, Widened

CLUSTER_RATIO = 1.5
"""How much wider an interval over known categories must be to be told unasked."""


def find_widened(
    pairs: Mapping[Key, Pair], differences: Mapping[Key, Difference], how: How
) -> tuple[Widened, ...]:
    """Where known categories make an interval much wider than prompts that stand for themselves."""
    found: dict[tuple[str, str], Widened] = {}
    for key, pair in pairs.items():
        plain = differences[key]
        if key[1] in how.fields or pair.crossed is not None or plain.sd is None:
            continue
        if not how.has_prompts(key[2]):
            continue
        for name in _categories(how.metadata.get(key[1], {})):
            clusters = how.clusters(key[1], name)
            away = {
                id: a - b
                for id, a in pair.a.items()
                if a is not None and (b := pair.b.get(id)) is not None
            }
            wide = mean_interval(list(spread_clusters(away, clusters or {}).values()))
            if wide.low is None or wide.high is None or plain.low is None or plain.high is None:
                continue
            narrow = plain.high - plain.low
            ratio = (wide.high - wide.low) / narrow if narrow else 0.0
            if ratio > CLUSTER_RATIO and ratio > getattr(found.get((key[1], name)), "ratio", 0.0):
                found[key[1], name] = Widened(key[1], name, key[0], key[2], ratio, wide.n)
    return tuple(found.values())


def _categories(prompts: Mapping[str, Mapping[str, str]]) -> list[str]:
    """The fields that put all prompts into categories: two or more, of two prompts on average."""
    if not prompts:
        return []
    names = set.intersection(*(set(known) for known in prompts.values()))
    sizes = {name: len({known[name] for known in prompts.values()}) for name in sorted(names)}
    return [name for name, size in sizes.items() if 2 <= size <= len(prompts) / 2]
