"""What a reader of a split must know, in words."""

from __future__ import annotations

from collections.abc import Iterator

from tofu_eval.analysis.quality_split import Split
from tofu_eval.analysis.warnings import FEW
from tofu_eval.report.formatting import counts_text


def split_notes(split: Split, base: str, model: str) -> Iterator[str]:
    """At how many responses values were made, that prompts are few, that a training is one."""
    for made in split.made_equal:
        if made.counts is None:
            continue
        yield (
            f"{made.metric} at n = {counts_text(made.counts)}: on each prompt at the smaller "
            f"number of {base} and {model}"
        )
        if made.missing:
            yield f"{made.missing} prompts were never scored at that number and are left out"
    units = split.total.n if split.clusters is None else split.clusters
    if 1 < units < FEW:
        what = "prompts" if split.clusters is None else "clusters"
        yield f"{units} {what}: below {FEW} intervals are too narrow where scores are tied"
