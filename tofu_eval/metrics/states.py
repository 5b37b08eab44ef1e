"""What became of the responses: how many were cut off, empty, filtered or never came."""

from __future__ import annotations

from collections.abc import Mapping

from tofu_eval.core.errors import MetricInputError
from tofu_eval.metrics.base import metric


def state_rate(states: Mapping[str, int], *, state: str) -> float:
    """Share of a prompt's responses that ended so.

    Formula: responses in that state / responses. `unfinished`: stopped at the length limit;
        `empty`: without a text, also where the limit fell into a thought, which is unfinished too;
        `filtered`: taken by a filter; `failed`: the call gave an error.
    Args:
        states: how many responses there are ("responses"), and how many in each state.
        state: unfinished, empty, filtered or failed.
    Returns: a share in [0, 1]. No metric sees the text of a response that is empty, filtered or
        failed, so the others stand on what is left.
    Undefined: no responses.
    """
    if not states["responses"]:
        raise MetricInputError("no responses")
    return states[state] / states["responses"]


for _state in ("unfinished", "empty", "filtered", "failed"):
    metric(
        name=f"{_state}_rate",
        level="group",
        direction="lower",
        range=("0", "1"),
        cost="cpu",
        needs=("states",),
        paper="arXiv:2211.09110",
        measures="quality",
        settings={"state": _state},
    )(state_rate)
