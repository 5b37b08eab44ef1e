"""A frontier in words: does one series beat sampling another hotter, and what to know beside it."""

from __future__ import annotations

from collections.abc import Iterator

from tofu_eval.analysis.bootstrap import Estimated
from tofu_eval.analysis.equal_quality import FEWEST, At, Contest
from tofu_eval.analysis.frontier import Frontier
from tofu_eval.analysis.people import PeopleLine
from tofu_eval.analysis.warnings import FEW
from tofu_eval.report.formatting import counts_text, estimate_text, p_text

NAMED = 5
"""Dropped prompts that a note names; JSON has all."""


def frontier_sentences(frontier: Frontier) -> list[str]:
    """Does one series beat sampling another hotter? One sentence for each two that were compared.

    They say "not clear" where an interval holds 0, and why nothing can be said where that is so.
    """
    return [_sentence(frontier, contest) for contest in frontier.contests]


def _sentence(frontier: Frontier, contest: Contest) -> str:
    us, them = contest.series, contest.other
    quality, diversity = frontier.quality_metric, frontier.diversity_metric
    if contest.verdict == "missing":
        return f"{us} and {them} cannot be compared at equal {quality}: {_why(frontier, contest)}."
    found = estimated_text(in_metric_units(contest.difference, frontier.signs[1]), "+")
    where = f"{diversity} {found} {_where(frontier, contest)}{_seeds(frontier, contest)}"
    where += _adjusted(frontier, contest)
    if contest.equivalent and contest.verdict == "unclear":
        margin = f"the difference is shown to be below {contest.margin:g}"
        return f"{us} and {them} are equally diverse at equal {quality} ({margin}): {where}."
    if contest.verdict == "unclear":
        return (
            f"It is not clear that {us} beats sampling {them} hotter: {where}.{_missing(contest)}"
        )
    once = "" if len(contest.by_seed) > 1 else f" {ONE_TRAINING}"
    if contest.verdict == "more":
        said = f"{us} is more diverse than {them} at equal {quality}, not only hotter: {where}."
        return f"{said}{once}"
    return f"{us} is less diverse than {them} at equal {quality}: {where}.{once}"


ONE_TRAINING = (
    "That is of these models, one training of each: what another training gives, only seeds tell."
)


def _adjusted(frontier: Frontier, contest: Contest) -> str:
    """The p-value, and over how many sentences it is adjusted."""
    if contest.p_adjusted is None:
        return ""
    tested = sum(other.p_adjusted is not None for other in frontier.contests)
    over = f" over {tested} sentences" if tested > 1 else ""
    return f", adjusted {p_text(contest.p_adjusted)}{over}"


def _missing(contest: Contest) -> str:
    """What would let something be said: other temperatures, or more prompts."""
    if set(contest.wanted) & set(contest.temperatures):
        known = {t for t in contest.temperatures if t is not None}
        several = ",".join(f"{t:g}" for t in sorted({*contest.wanted, *known}))
        return (
            " They share fewer than two temperatures, and a denser grid reaches more of one curve: "
            f"sample both at {several} (tofu-eval run … --temperature {several})."
        )
    if contest.prompts < FEWEST:
        return f" No result could be clear on {contest.prompts} prompts: ask at least {FEWEST}."
    return ""


def _where(frontier: Frontier, contest: Contest) -> str:
    """Over which qualities the difference is averaged."""
    if contest.qualities is None:
        return ""
    sign = frontier.signs[0]
    low, high = sorted(sign * bound for bound in contest.qualities)
    quality = frontier.quality_metric
    if low == high:
        return f"at {quality} {low:.3g}"
    return f"on average from {quality} {low:.3g} to {high:.3g}"


def _seeds(frontier: Frontier, contest: Contest) -> str:
    count = len(contest.by_seed)
    if count < 2:
        return ""
    sign = frontier.signs[1]
    shown = ", ".join(f"{sign * value:+.3g}" for value in contest.by_seed if value is not None)
    over = Estimated(contest.difference.value, contest.seeds_low, contest.seeds_high)
    own = in_metric_units(over, sign)
    return f" ({count} seeds: {shown}; interval over seeds [{own.low:+.3g}, {own.high:+.3g}])"


def _why(frontier: Frontier, contest: Contest) -> str:
    us, them = contest.series, contest.other
    if not contest.by_seed:
        return "they have no seed in common"
    sign = frontier.signs[0]
    reach = {}
    for name in (us, them):
        values = [sign * point.quality for point in frontier.points if point.series == name]
        reach[name] = f"{name} was sampled from {min(values):.3g} to {max(values):.3g}"
    apart = sum(value is None for value in contest.by_seed)
    if 0 < apart < len(contest.by_seed):
        count = len(contest.by_seed)
        return f"in {apart} of {count} seeds the ranges of {frontier.quality_metric} do not meet"
    return f"{reach[us]}, {reach[them]}. Sample one at more temperatures: --temperature"


def contest_lines(frontier: Frontier, contest: Contest) -> Iterator[str]:
    """A line for each temperature of a series beside the other's frontier, and for the areas."""
    for at in contest.at:
        if at.temperature is None or at.difference.value is None:
            continue
        yield at_equal_quality(frontier, contest, at)
    if contest.hypervolume.value is not None:
        area = estimated_text(contest.hypervolume, "+")
        yield f"hypervolume of {contest.series} minus {contest.other}: {area}"


def at_equal_quality(frontier: Frontier, contest: Contest, at: At) -> str:
    """A series at one temperature beside the other at the one that gives the same quality."""
    estimate = estimated_text(in_metric_units(at.difference, frontier.signs[1]), "+")
    ours, theirs = (
        f"{frontier.quality_metric} {frontier.signs[0] * quality:.3g}"
        for quality in (at.quality, at.other_quality or at.quality)
    )
    us = f"{contest.series} at T={at.temperature:g}"
    them = contest.other
    if at.other_temperature is not None:
        them += f" at T={at.other_temperature:.2f}"
    pair = f"{us} minus {them}, both at {ours}"
    if ours != theirs:
        pair = f"{us} ({ours}) minus {them} ({theirs})"
    edge = (
        ""
        if at.difference.low is not None or frontier.prompts < 2
        else (f", no interval: {contest.other} was hardly sampled there")
    )
    return f"{pair}: {frontier.diversity_metric} {estimate}{edge}"


def frontier_notes(frontier: Frontier) -> list[str]:
    """What the points are, which prompts were left out, and what cannot be concluded."""
    seeds = any(p.seed is not None for p in frontier.points)
    said = [
        "● efficient: no other point is as good and as diverse. Means with 95% "
        f"intervals over {_prompts(frontier.prompts)} that all {len(frontier.points)} models have."
    ]
    if not seeds and frontier.contests:
        said.append("The intervals say what other prompts would give, not another training.")
    if frontier.cluster is not None:
        said.append(
            f"Intervals and p-values are over {frontier.units} clusters of prompts by "
            f"{frontier.cluster}."
        )
    if 1 < frontier.units < FEW:
        said.append(
            f"They stand on {frontier.units} {'clusters' if frontier.cluster else 'prompts'}: with "
            f"fewer than {FEW} intervals are too narrow where scores are skewed or tied."
        )
    for made in frontier.made_equal:
        at = "no number of responses" if made.counts is None else f"n = {counts_text(made.counts)}"
        lost = made.left_out + made.missing
        said.append(
            f"{made.metric} is at {at}: on each prompt at the smallest number of responses that "
            "any of the models has there"
            + (f"; {_prompts(lost)} could not be made equal." if lost else ".")
        )
    if frontier.dropped:
        named = ", ".join(frontier.dropped[:NAMED])
        more = ", …" if len(frontier.dropped) > NAMED else ""
        lacking = sorted(frontier.lacking.items(), key=lambda item: -item[1])
        why = ", ".join(f"{model} {count}" for model, count in lacking[:NAMED] if count)
        said.append(
            f"Left out, because some model has no value there: {_prompts(len(frontier.dropped))} "
            f"({named}{more}). How many each model lacks: {why}."
        )
    if frontier.people is not None:
        said.append(people_sentence(frontier.people))
    swept = {
        name: {p.temperature for p in frontier.points if p.series == name}
        for name in dict.fromkeys(p.series for p in frontier.points)
    }
    if len({frozenset(temperatures) for temperatures in swept.values()}) > 1:
        said.append(
            "The series were sampled at different temperatures, and more of them can only enlarge "
            "a hypervolume: do not compare those."
        )
    if max(len(temperatures) for temperatures in swept.values()) < 2:
        said.append(
            "Every series has one temperature. A frontier needs several: "
            "tofu-eval run … --temperature 0.3,0.7,1.0,1.3"
        )
    return said


def people_sentence(line: PeopleLine) -> str:
    """Where people stand, or why nobody can say."""
    if line.value is None:
        return f"No line of people for {line.metric} on {line.task}: {line.reason}."
    found = estimate_text(line.value, line.low, line.high)
    return f"People have {line.metric} {found} on {_prompts(line.prompts)} of {line.task}."


def _prompts(count: int) -> str:
    return f"{count} prompt{'' if count == 1 else 's'}"


def in_metric_units(found: Estimated, sign: int) -> Estimated:
    """In the metric's own units: oriented numbers of a metric whose lower values are better."""
    if sign > 0 or found.value is None:
        return found
    if found.low is None or found.high is None:
        return Estimated(-found.value + 0.0, None, None)
    return Estimated(-found.value + 0.0, -found.high + 0.0, -found.low + 0.0)


def estimated_text(found: Estimated, sign: str = "") -> str:
    """`0.512 [0.490, 0.533]`."""
    return estimate_text(found.value, found.low, found.high, sign)
