"""The loops over n-grams that numpy is too slow for, compiled by numba at their first call.

benchmarks/metrics.py shows what that buys. The compiled code is kept beside this file, or in
numba's cache directory where this one cannot be written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Loop = TypeVar("Loop", bound=Callable[..., Any])


def compile_loop(loop: Loop) -> Loop:
    """`loop` as machine code, made at its first call and kept on the disk."""
    made: Loop = numba.njit(cache=True, nogil=True)(loop)
    return made


@compile_loop
def intern(keys: Ints) -> tuple[Ints, int]:  # pragma: no cover (compiled)
    """Equal keys (m,) >= 0 as equal numbers, in order of their first use, and how many.

    A key below 0 is none, and has the number -1.
    """
    size = 16
    while size < 2 * len(keys):
        size *= 2
    mask = size - 1
    first = np.full(size, -1, dtype=np.int32)  # where the key of a slot stands for the first time
    numbers = np.empty(len(keys), dtype=np.int64)
    different = 0
    for i in range(len(keys)):
        key = keys[i]
        if key < 0:
            numbers[i] = -1
            continue
        mixed = key * -7046029254386353131  # 2**64 divided by the golden ratio, as a signed number
        place = (mixed ^ (mixed >> 29)) & mask
        while first[place] != -1 and keys[first[place]] != key:
            place = (place + 1) & mask
        if first[place] == -1:
            first[place] = i
            numbers[i] = different
            different += 1
        else:
            numbers[i] = numbers[first[place]]
    return numbers, different


@compile_loop
def extend(prefix: Ints, ids: Any, starts: Ints, n: int) -> Ints:  # pragma: no cover (compiled)
    """A key of the n-gram at each token: its (n-1)-gram's number and its last token; or -1."""
    width = np.int64(0)
    for i in range(len(ids)):
        width = max(width, np.int64(ids[i]) + 1)
    keys = np.full(len(ids), -1, dtype=np.int64)
    for text in range(len(starts) - 1):
        for i in range(starts[text], starts[text + 1] - n + 1):
            keys[i] = prefix[i] * width + ids[i + n - 1]
    return keys


@compile_loop
def count_clipped(numbers: Ints, different: int, starts: Ints) -> Ints:  # pragma: no cover
    """n-grams of each text that another text has, each as often as the text with most of it.

    Leave one out: of each n-gram only the two largest counts and the owner of the largest matter.
    """
    texts = len(starts) - 1
    count = np.zeros(different, dtype=np.int32)
    most = np.zeros(different, dtype=np.int32)
    second = np.zeros(different, dtype=np.int32)
    owner = np.full(different, -1, dtype=np.int32)
    matches = np.zeros(texts, dtype=np.int64)
    for again in range(2):
        for text in range(texts):
            for i in range(starts[text], starts[text + 1]):
                if numbers[i] >= 0:
                    count[numbers[i]] += 1
            for i in range(starts[text], starts[text + 1]):
                gram = numbers[i]
                if gram < 0 or count[gram] == 0:
                    continue
                here = count[gram]
                count[gram] = 0
                if again:
                    matches[text] += min(here, second[gram] if owner[gram] == text else most[gram])
                elif here > most[gram]:
                    second[gram] = most[gram]
                    most[gram] = here
                    owner[gram] = text
                elif here > second[gram]:
                    second[gram] = here
    return matches
