"""What the lab's seeds say, in sentences that a rule derives from them.

No sentence is written beforehand. Each compares two models seed by seed and says what the seeds
say: that they agree, that they do not, or that there is nothing to compare.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import fsum, sqrt
from typing import Literal

MATCHED = 0.85
"""The validity at which models are compared at the same quality."""

ENOUGH = 3
"""Seeds below which nothing is said about who is better."""

BETA = 0.8
"""TOFU's own temperature: it fits softmax(z/0.8) to the data."""

T1, TOP_P, T_BETA = "T=1", "top-p 0.9", f"T={BETA:g}"
AT_MATCHED = f"validity {MATCHED:g}"
WHERE = {
    T1: "at T=1",
    T_BETA: f"at T={BETA:g}",
    AT_MATCHED: f"where {MATCHED:.0%} of the answers are valid",
}

CALLED = {
    "target": "the target",
    "base": "the base",
    "sft": "cross-entropy",
    "tofu": "TOFU",
    "focal": "focal",
    "gem": "GEM",
    "dft": "DFT",
    "lambda-pr": "lambda-PR",
}
"""The models in the order of a table, in words; one that is not here is called by its name."""

MAIN = ("target", "base", "sft", "tofu")

Verdict = Literal["more", "less", "unclear", "missing"]


@dataclass(frozen=True, slots=True)
class Measure:
    """A column of numbers: its title, and what a model does that has more or less of it."""

    title: str
    more: str
    less: str
    digits: int = 2


MEASURES = {
    "validity": Measure("valid", "gives more valid answers", "gives fewer valid answers"),
    "kl": Measure("KL, nats", "is further from the target in KL", "is closer to the target in KL"),
    "tail": Measure("rare words", "gives rare words more mass", "gives rare words less mass"),
    "unseen": Measure(
        "unseen words", "gives unseen words more mass", "gives unseen words less mass"
    ),
    "collision": Measure("collision", "repeats its words more", "repeats its words less"),
    "distinct_valid": Measure(
        "distinct valid",
        "gives more different valid answers",
        "gives fewer different valid answers",
    ),
    "self_bleu": Measure("self-BLEU", "has a higher self-BLEU", "has a lower self-BLEU", 1),
    "vendi": Measure("Vendi", "has a higher Vendi score", "has a lower Vendi score", 1),
    "forgetting": Measure(
        "loss on old text", "forgets more pretraining text", "forgets less pretraining text", 3
    ),
    "temperature": Measure(
        "temperature", "needs a higher temperature", "needs a lower temperature"
    ),
}

Values = Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class MeasuredRow:
    """One model under one decoder: its measures by name, null where undefined or not taken."""

    model: str
    decoder: str
    values: Values


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean, least and greatest over seeds."""

    mean: float
    low: float
    high: float


Seeds = Sequence[Sequence[MeasuredRow]]
"""The rows of each seed."""


def name_model(model: str) -> str:
    """A model in words."""
    return CALLED.get(model, model)


def models(seeds: Seeds) -> list[str]:
    """The models that the seeds have, in the order of a table."""
    found = dict.fromkeys(row.model for rows in seeds for row in rows)
    return sorted(found, key=lambda m: list(CALLED).index(m) if m in CALLED else len(CALLED))


def column(seeds: Seeds, model: str, decoder: str, measure: str) -> list[float | None]:
    """One measure of one model under one decoder, a value a seed; null where there is none."""
    values = []
    for rows in seeds:
        fitting = [row for row in rows if (row.model, row.decoder) == (model, decoder)]
        values.append(fitting[0].values.get(measure) if fitting else None)
    return values


def spread(values: Sequence[float | None]) -> Spread | None:
    """Mean, least and greatest; None unless every seed has a value."""
    numbers = [value for value in values if value is not None]
    if not numbers or len(numbers) < len(values):
        return None
    return Spread(fsum(numbers) / len(numbers), min(numbers), max(numbers))


def interpolate_at_validity(rows: Iterable[tuple[float, Values]]) -> dict[str, float | None]:
    """A model read off at validity 0.85.

    Args:
        rows: (temperature, measures) pairs of one model.
    Returns: the measures, and the temperature, on the straight line between the two neighbouring
        temperatures whose validities enclose 0.85, the highest such pair; empty where no pair
        does. Measures that either lacks are left out.
    """
    points = sorted(rows, key=lambda pair: pair[0], reverse=True)
    for (hot, above), (cool, below) in pairwise(points):
        worse, better = above["validity"], below["validity"]
        if (
            worse is None
            or better is None
            or not min(worse, better) <= MATCHED <= max(worse, better)
        ):
            continue
        share = 0.0 if worse == better else (MATCHED - worse) / (better - worse)
        row: dict[str, float | None] = {"temperature": hot + share * (cool - hot)}
        for name, value in above.items():
            other = below.get(name)
            if value is not None and other is not None:
                row[name] = value + share * (other - value)
        return row
    return {}


def verdict(differences: Sequence[float | None]) -> Verdict:
    """What the differences of the seeds say.

    "more" or "less" asks for the same sign in every seed and a 95% t-interval of their mean that
    excludes 0; otherwise "unclear". A seed without a value, or a single seed, is "missing".
    """
    from scipy.special import stdtrit

    numbers = [value for value in differences if value is not None]
    if len(numbers) < len(differences) or len(numbers) < 2:
        return "missing"
    mean, freedom = fsum(numbers) / len(numbers), len(numbers) - 1
    error = sqrt(fsum((value - mean) ** 2 for value in numbers) / freedom / len(numbers))
    one_sign = all(value > 0 for value in numbers) or all(value < 0 for value in numbers)
    if not one_sign or abs(mean) < stdtrit(freedom, 0.975) * error:
        return "unclear"
    return "more" if mean > 0 else "less"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two models, each under its decoder."""

    model: str
    decoder: str
    other: str
    other_decoder: str

    def differences(self, seeds: Seeds, measure: str) -> list[float | None]:
        """Model minus other, a value a seed, to the digits that a sentence shows.

        So no sentence stands on a difference that its reader sees as 0.
        """
        digits = MEASURES[measure].digits
        exact = self._exact_differences(seeds, measure)
        return [None if value is None else round(value, digits) for value in exact]

    def verdict(self, seeds: Seeds, measure: str) -> Verdict:
        """What the seeds say, to the shown digits and exactly: rounding can make seeds agree."""
        shown = verdict(self.differences(seeds, measure))
        return shown if verdict(self._exact_differences(seeds, measure)) == shown else "unclear"

    def _exact_differences(self, seeds: Seeds, measure: str) -> list[float | None]:
        ours = column(seeds, self.model, self.decoder, measure)
        theirs = column(seeds, self.other, self.other_decoder, measure)
        return [
            None if a is None or b is None else a - b for a, b in zip(ours, theirs, strict=True)
        ]

    def sentence(self, seeds: Seeds, name: str) -> str:
        """What the seeds say about one measure."""
        measure, differences = MEASURES[name], self.differences(seeds, name)
        count, said = len(differences), self.verdict(seeds, name)
        us, them = self._names()
        numbers = [value for value in differences if value is not None]
        shown = ", ".join(f"{value:+.{measure.digits}f}" for value in numbers)
        if said == "missing":
            finding = f"no comparison, only {len(numbers)} of {count} seeds have both"
        elif said == "unclear":
            finding = f"no clear difference over {count} seeds ({shown})"
        else:
            does = measure.more if said == "more" else measure.less
            return f"{us} {does} than {them} in {count} of {count} seeds ({shown})."
        return f"{us} and {them}, {measure.title}: {finding}."

    def _names(self) -> tuple[str, str]:
        """Both in words; the decoder stands once where it is the same."""
        us, them = name_model(self.model), f"{name_model(self.other)} {WHERE[self.other_decoder]}"
        if self.decoder != self.other_decoder:
            us = f"{us} {WHERE[self.decoder]}"
        return us[0].upper() + us[1:], them


SFT_BASE = Pair("sft", T1, "base", T1)
TOFU_SFT = Pair("tofu", T1, "sft", T1)
TOFU_OWN = Pair("tofu", T_BETA, "sft", T1)
TOFU_MATCHED = Pair("tofu", AT_MATCHED, "sft", AT_MATCHED)

SENTENCES: tuple[tuple[Pair, tuple[str, ...]], ...] = (
    (SFT_BASE, ("validity", "tail", "forgetting")),
    (
        TOFU_SFT,
        ("validity", "tail", "unseen", "collision", "distinct_valid", "self_bleu", "kl",
         "forgetting"),
    ),
    (TOFU_OWN, ("validity", "tail", "unseen", "kl")),
    (TOFU_MATCHED, ("tail", "unseen", "distinct_valid")),
)  # fmt: skip
"""Which comparisons are put into words; all of them, whatever they say."""


def findings(seeds: Seeds) -> list[str]:
    """Sentences about the seeds; with fewer than three, none about who is better."""
    if len(seeds) < ENOUGH:
        number = "One seed" if len(seeds) == 1 else f"{len(seeds)} seeds"
        return [
            f"{number}: too few to say which model is better; the full quickstart takes {ENOUGH}."
        ]
    present = models(seeds)
    wanted = [
        *(entry for entry in SENTENCES if {entry[0].model, entry[0].other} <= set(present)),
        *(entry for model in present if model not in MAIN for entry in _about(model)),
    ]
    sentences = [pair.sentence(seeds, name) for pair, names in wanted for name in names]
    return [*sentences, *_cautions(seeds)]


def _about(model: str) -> list[tuple[Pair, tuple[str, ...]]]:
    """What is said of a loss beside cross-entropy and TOFU."""
    return [
        (Pair(model, T1, "sft", T1), ("validity", "tail", "unseen", "distinct_valid")),
        (Pair(model, AT_MATCHED, "sft", AT_MATCHED), ("tail", "unseen", "distinct_valid")),
        (Pair(model, AT_MATCHED, "tofu", AT_MATCHED), ("tail", "unseen", "distinct_valid")),
    ]


def _cautions(seeds: Seeds) -> list[str]:
    """What a reader of one column alone would get wrong here, where it is so."""
    cautions = []
    narrowed = spread(column(seeds, "target", TOP_P, "tail"))
    if narrowed and narrowed.high < 1:
        cautions.append(
            f"Part of narrowing is the decoder: the target itself under {TOP_P} keeps "
            f"{narrowed.mean:.2f} of its rare words' mass (seeds {narrowed.low:.2f} to "
            f"{narrowed.high:.2f})."
        )
    raw, at_own = (spread(pair.differences(seeds, "tail")) for pair in (TOFU_SFT, TOFU_OWN))
    if raw and at_own and at_own.mean < raw.mean and TOFU_SFT.verdict(seeds, "tail") == "more":
        cautions.append(
            f"TOFU fits softmax(z/{BETA:g}), so T={BETA:g} is its own decoder: there its rare "
            f"words are {at_own.mean:+.2f} beside cross-entropy at T=1, instead of "
            f"{raw.mean:+.2f}. Part of the difference at T=1 is a flatter model, which any "
            "temperature can make."
        )
    bleu = TOFU_SFT.verdict(seeds, "self_bleu")
    distinct = TOFU_SFT.verdict(seeds, "distinct_valid")
    if bleu == "less" and distinct != "more":
        cautions.append(
            "Self-BLEU alone would mislead: TOFU's is lower than cross-entropy's at T=1, but it "
            "does not give more different valid answers. Invalid text lowers self-BLEU too."
        )
    base, sft = (
        (spread(column(seeds, m, T1, "self_bleu")), spread(column(seeds, m, T1, "validity")))
        for m in ("base", "sft")
    )
    if _is_below(base[0], sft[0]) and _is_below(base[1], sft[1]):
        cautions.append(
            "Self-BLEU also ranks the base above cross-entropy, though fewer of its answers are "
            "valid: read it beside validity."
        )
    return cautions


def _is_below(one: Spread | None, other: Spread | None) -> bool:
    """Whether one lies below the other in every seed, whichever seeds are compared."""
    return one is not None and other is not None and one.high < other.low
