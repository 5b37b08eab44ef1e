"""Any metric among the responses that are good enough.

`vendi[reward>=0]`, `vendi[judge>=4]`, `vendi[correct]`; and of the thoughts before the responses in
their place: `vendi[reasoning]`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial, wraps
from typing import Any

from tofu_eval.core.errors import ConfigError, MetricInputError
from tofu_eval.core.types import OF_PROMPT, REFERENCE
from tofu_eval.metrics.base import METRICS, Metric

PATTERN = re.compile(
    r"(?P<name>[^\[\]]+)\[(correct|(?P<of>reward|judge)>=(?P<least>-?\d+(\.\d+)?(e[+-]?\d+)?))\]"
)

OF_THE_PROMPT = ("prompt", "references")
OF_TEXTS_ALONE = ("text", "embedding", "equivalence", "nli", "nli_sentences")


def find(name: str) -> Metric:
    """The metric of that name; `NAME[correct]`, `NAME[reward>=X]` or `NAME[judge>=X]` for the
    responses that pass, `NAME[reasoning]` for the thoughts before them.

    Raises:
        UnknownNameError: there is no such metric.
        ConfigError: a condition that cannot be read, or a metric that cannot have one.
    """
    if "[" not in name:
        return _find_metric(name)
    if name.endswith("[reasoning]"):
        return of_thoughts(_find_metric(name.removesuffix("[reasoning]")))
    match = PATTERN.fullmatch(name)
    if match is None:
        raise ConfigError(
            f"Cannot read the condition of '{name}'. Examples: vendi[correct], "
            "vendi[reward>=-3.5], vendi[judge>=4], vendi[reasoning]"
        )
    least = match["least"]
    passing = None if least is None else float(least)
    return conditional(_find_metric(match["name"]), passing, of=match["of"] or "reward")


def of_thoughts(made: Metric) -> Metric:
    """The same metric of the thoughts, for the responses that have some.

    Raises:
        ConfigError: the metric is not made of texts alone, or says how good an answer is.
    """
    from tofu_eval.core.tokens import TOKENISERS

    if made.measures == "quality" or not set(made.needs) <= {*OF_TEXTS_ALONE, *TOKENISERS}:
        raise ConfigError(
            f"'{made.name}' says something about answers, which thoughts are not: it has no form "
            "for them. Take a metric of diversity or length: tofu-eval metrics list"
        )

    @wraps(made.function)
    def of_some(*arrays: Any, **settings: Any) -> float:
        if not len(arrays[0]):
            raise MetricInputError("no response has a thought")
        return made.function(*arrays, **settings)

    return replace(
        made,
        name=f"{made.name}[reasoning]",
        function=of_some,
        reads="thoughts",
    )


def _find_metric(name: str) -> Metric:
    """The metric of a name without a condition; `pass_at_K` for any K."""
    order = re.fullmatch(r"pass_at_([1-9]\d{0,5})", name)
    if order:
        from tofu_eval.metrics.pass_at_k import ORDERS, register

        if int(order[1]) not in ORDERS:
            register(int(order[1]))
    return METRICS.get(name)


def conditional(made: Metric, least: float | None, *, of: str = "reward") -> Metric:
    """The same metric among the responses that pass: a reward of at least `least`, or correct.

    It is undefined where too few pass, as it would be on so few responses; diversity, which is
    between responses, where fewer than two do.

    Args:
        made: a metric.
        least: a raw reward or a rating; None stands for the feature "correct".
        of: "reward" or "judge".
    """
    feature = "correct" if least is None else of
    test = feature if least is None else f"{feature}>={repr(least).removesuffix('.0')}"

    def among_passing(function: Callable[..., float]) -> Callable[..., float]:
        @wraps(function)
        def compute_among_passing(*arrays: Any, **settings: Any) -> float:
            keep = select_passing(arrays[-1], least)
            if made.measures == "diversity" and len(keep) < 2:
                raise MetricInputError(f"fewer than two responses pass ({len(keep)})")
            return function(*take_responses(made.needs, arrays[:-1], keep), **settings)

        return compute_among_passing

    return replace(
        made,
        name=f"{made.name}[{test}]",
        function=among_passing(made.function),
        needs=(*made.needs, feature),
        human=None,
        at_count=None if made.at_count is None else among_passing(made.at_count),
        passing=partial(select_passing, least=least),
    )


def select_passing(quality: Any, least: float | None) -> list[int]:
    """Which responses pass.

    Raises:
        MetricInputError: the quality of one is unknown.
    """
    import numpy as np

    if not len(quality):
        return []
    rows = np.asarray(quality, dtype=np.float64).reshape(len(quality), -1)
    # Repeated judgements: their mean, of which one that cannot be read makes nothing.
    values = rows.mean(axis=1)
    if least is not None and not np.isfinite(values).all():
        raise MetricInputError("the quality of a response is unknown: NaN or infinite")
    # An answer that cannot be read is NaN, and wrong.
    good = values == 1 if least is None else values >= least
    return [int(i) for i in np.flatnonzero(good)]


def take_responses(needs: Sequence[str], arrays: Sequence[Any], keep: Sequence[int]) -> list[Any]:
    """What a metric is given, of some of the responses alone; what is the prompt's stays."""
    return [_take(need, array, keep) for need, array in zip(needs, arrays, strict=True)]


def _take(need: str, array: Any, keep: Sequence[int]) -> Any:
    import numpy as np

    from tofu_eval.core.tokens import Tokens

    if need in OF_THE_PROMPT or need.startswith((REFERENCE, OF_PROMPT)):
        return array
    if isinstance(array, np.ndarray):
        return array[list(keep)]
    return array.take(keep) if isinstance(array, Tokens) else [array[i] for i in keep]
