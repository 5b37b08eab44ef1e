"""How well the responses compress together: repetition of any kind and length."""

from __future__ import annotations

import gzip
import io
import lzma
import zlib
from collections.abc import Sequence

from tofu_eval.core.errors import MetricInputError
from tofu_eval.metrics._arrays import need_two
from tofu_eval.metrics.base import FALLS, GROWS, metric


def compression_ratio(texts: Sequence[str], *, algorithm: str) -> float:
    """Size of the responses over their size compressed.

    Formula: |t| / |compress(t)| in bytes, t = the responses joined by a space, UTF-8; gzip is
        zlib at level 9 with gzip's 18 bytes of frame, xz is LZMA at its default.
    Args:
        texts: the responses, at least two, not all empty.
        algorithm: "gzip" or "xz".
    Returns: a ratio > 0; higher = more repetition. Short texts do not reach 1.
    Undefined: fewer than two responses, or all of them empty.
    """
    data = _join(texts)
    return len(data) / _compressed_size(data, algorithm)


def compression_diversity(texts: Sequence[str], *, algorithm: str) -> float:
    """Size of the responses compressed over their size: the inverse of the compression ratio.

    Formula: |compress(t)| / |t| in bytes; t and compress as in compression_ratio.
    Args:
        texts: the responses, at least two, not all empty.
        algorithm: "gzip" or "xz".
    Returns: a ratio > 0; lower = more repetition. Short texts go above 1.
    Undefined: fewer than two responses, or all of them empty.
    """
    data = _join(texts)
    return _compressed_size(data, algorithm) / len(data)


for _name in ("gzip", "xz"):
    for _function in (compression_ratio, compression_diversity):
        metric(
            name=f"{_function.__name__}_{_name}",
            level="group",
            direction="lower" if _function is compression_ratio else "higher",
            range=("0", "inf"),
            cost="cpu",
            needs=("text",),
            paper="arXiv:2403.00553",
            bias=FALLS if _function is compression_diversity else GROWS,
            settings={"algorithm": _name},
            length_sensitive=True,
        )(_function)


@metric(
    name="compression_ratio_gzip@diversity-0.3",
    level="group",
    direction="lower",
    range=("0", "inf"),
    cost="cpu",
    needs=("text",),
    paper="arXiv:2403.00553",
    bias=GROWS,
    length_sensitive=True,
)
def compression_ratio_twice(texts: Sequence[str]) -> float:
    """The gzip compression ratio of the package `diversity` 0.3: compressed twice.

    Formula: |t| / |gzip(gzip(t))| in bytes, t = the responses joined by a space.
    Args:
        texts: the responses, at least two, not all empty.
    Returns: a ratio > 0; higher = more repetition.
    Undefined: fewer than two responses, or all of them empty.
    Reproduces: compression_ratio(…, 'gzip') of diversity 0.3.1, which writes the output of gzip
        into a gzip file. The package lets the clock into the inner file's time stamp, so that its
        value changes from second to second (by up to 0.083 in the golden data); here the time is
        0. It also rounds to three digits, which is not done here.
    """
    data = _join(texts)
    file = io.BytesIO()
    # The frame names the file, as the package's does.
    with gzip.GzipFile("compressed.gz", "wb", fileobj=file, mtime=0) as outer:
        outer.write(gzip.compress(data, mtime=0))
    return len(data) / file.tell()


def _join(texts: Sequence[str]) -> bytes:
    need_two(texts)
    if not any(texts):
        raise MetricInputError("every response is empty")
    return " ".join(texts).encode("utf-8")


def _compressed_size(data: bytes, algorithm: str) -> int:
    if algorithm == "xz":
        return len(lzma.compress(data))
    # wbits 31 is gzip's frame, without the time stamp that gzip.compress puts there.
    made = zlib.compressobj(9, zlib.DEFLATED, 31)
    return len(made.compress(data)) + len(made.flush())
