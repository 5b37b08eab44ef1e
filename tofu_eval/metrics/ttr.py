"""Type-token ratio over a moving window; the length of a text moves it below the window alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tofu_eval.core.errors import MetricInputError
from tofu_eval.core.tokens import Tokens
from tofu_eval.metrics._arrays import need_two
from tofu_eval.metrics.base import metric


@metric(
    name="mattr",
    level="group",
    direction="none",
    range=("0", "1"),
    cost="cpu",
    needs=("tokens",),
    paper="doi:10.1080/09296171003643098",
    length_sensitive=True,  # a text below the window is a smaller window
    measures="style",
)
def mattr(tokens: Sequence[Sequence[str]], window: int = 50) -> float:
    """Moving-average type-token ratio: different words in a window of fixed size.

    Formula: mean over the responses of the mean over all windows of w tokens of |types| / w; a
        response of fewer than w tokens is one window of its own length.
    Args:
        tokens: the words of each response; at least two responses.
        window: w, the tokens in a window, w >= 1.
    Returns: a share in (0, 1]; 1 = no word comes back within w tokens. It says how varied a
        response is in itself, not how different the responses are from each other, so it counts as
        style and not as diversity. Texts below the window are smaller windows, of which more of the
        words are different.
    Undefined: fewer than two responses, or none with a word; an empty one is left out.
    """
    need_two(tokens)
    rows = Tokens.of(tokens)
    ratios = [
        _ratio(rows.ids[start:end], window)
        for start, end in zip(rows.starts, rows.starts[1:], strict=False)
        if end > start
    ]
    if not ratios:
        raise MetricInputError("no response has a word")
    return float(np.mean(np.sort(ratios)))


def _ratio(ids: np.ndarray, window: int) -> float:
    """A token counts in each window where it is the first of its type."""
    width = min(window, len(ids))
    windows = len(ids) - width + 1
    order = np.argsort(ids, kind="stable")
    before = np.full(len(ids), -1, dtype=np.int64)
    same = ids[order][1:] == ids[order][:-1]
    before[order[1:][same]] = order[:-1][same]
    place = np.arange(len(ids))
    # Windows begin at s with s > before and place - width < s <= place.
    first = np.maximum(np.maximum(before + 1, place - width + 1), 0)
    last = np.minimum(place, windows - 1)
    return float(np.maximum(last - first + 1, 0).sum()) / (windows * width)
