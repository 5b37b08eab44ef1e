"""How far each number can be trusted: what was measured of a metric, and what follows from it.

Two tables of measurements come with the package: how far a metric sees what people see
(benchmarks/validity.py) and what it costs (benchmarks/costs.py), each row with its date.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tofu_eval.core.types import feature_of
from tofu_eval.metrics.base import Metric

TABLE = Path(__file__).with_name("validity.json")
COSTS = Path(__file__).with_name("costs.json")

SEPARATOR = " | "
"""Between a metric's name and what its embeddings or classes were made by."""

DEFAULT_CLASSES = "classes by sentence-transformers"

LANGUAGES = {
    "embedding": "the encoder's (English)",
    "equivalence": "the method's",
    "pos": "the tagger's (English)",
    "nli": "the model's (English)",
    "nli_sentences": "the model's (English)",
    "likelihood": "the model's",
    "surprise": "the model's",
    "reward": "the model's",
    "reward_level": "the model's",
    "judge": "the judge's",
    "judge_total": "the judge's",
    "harmful": "the judge's",
    "listed_refusal": "the list's",
}
"""In which languages a metric means something, by what it needs (in brackets: by default)."""

OF_NAME = {
    "ngram_diversity@gem": "with spaces",
    "ngram_diversity@diversity-0.3": "with spaces",
    "ead@2604.16027": "with spaces",
    "self_bleu@gem": "with spaces",
    "refusal_rate": "the list's",
    "attack_success_rate": "the list's",
    "constraint_satisfaction": "prompts in English",
}

HEADER = (
    "metric",
    "OCA",
    "rho, people",
    "rho, temperature",
    "rho, length",
    "moved by n",
    "moved by length",
    "languages",
    "s / 1,000",
)


NEEDS_HEADER = ("what a model makes", "s / 1,000", "measured on")

PARTLY = " *"
"""Marks what was measured on some of the sets; `describe_validity` says on which."""

FEW = 60
"""Sets on which a metric may be undefined and still have a row."""


def describe_validity(metric: str) -> list[str]:
    """What was measured of a metric, a line an encoder; none where nobody measured it."""
    content = _read_table()
    return [
        _describe(by, row, content) for name, by, row in _rows(content["table"]) if name == metric
    ]


def describe_cost(metric: Metric) -> str:
    """Seconds for 1,000 responses, of the metric and of what it needs from a model."""
    parts = []
    costs = _read_costs()
    if metric.name in costs["metrics"]:
        parts.append(f"{_seconds(costs['metrics'][metric.name])} s")
    for need in dict.fromkeys(feature_of(need) for need in metric.needs):
        if need in costs["needs"]:
            parts.append(f"{need} {_seconds(costs['needs'][need]['seconds'])} s")
    if not parts:
        return metric.cost
    return f"{' + '.join(parts)} for 1,000 responses of 40 words, one thread ({costs['made']})"


def languages_of(metric: Metric) -> str:
    """In which languages its values mean something."""
    if metric.name in OF_NAME:
        return OF_NAME[metric.name]
    if metric.name.startswith("target_"):
        return "the options'"
    needs = (feature_of(need) for need in metric.needs)
    return next((LANGUAGES[need] for need in needs if need in LANGUAGES), "any")


def trust_rows(metrics: Iterable[Metric]) -> list[tuple[str, ...]]:
    """A row of HEADER a metric; a dash where nothing was measured."""
    return [_trust_row(metric) for metric in metrics]


def need_rows() -> list[tuple[str, ...]]:
    """A row of NEEDS_HEADER for each input of metrics that costs a model."""
    return [
        (name, _seconds(row["seconds"]), f"{row['responses']:,.0f} responses")
        for name, row in sorted(_read_costs()["needs"].items())
    ]


def _trust_row(metric: Metric) -> tuple[str, ...]:
    content = _read_table()
    table = content["table"]
    row = table.get(metric.name) or table.get(f"{metric.name}{SEPARATOR}{DEFAULT_CLASSES}") or {}
    if row.get("undefined", 0) > FEW:  # of five responses, say, there are no ten
        row = {}
    sets = row.get(content["sets"], {})
    other = next((f for f in row.values() if isinstance(f, Mapping) and "rho_label" in f), {})
    oca = f"{sets['oca']:.3f}" if "oca" in sets else "–"
    if "oca_se" in sets:
        oca += f" ± {sets['oca_se']:.3f}"
    if sets and "on" in row:
        oca += PARTLY
    costs = _read_costs()
    cost = costs["metrics"].get(metric.name)
    needed = [n for n in dict.fromkeys(map(feature_of, metric.needs)) if n in costs["needs"]]
    needed += ["classes"] if "equivalence" in metric.needs else []
    seconds = "–" if cost is None else _seconds(cost)
    return (
        metric.name,
        oca,
        _number(sets.get("rho_people")),
        _number(other.get("rho_label")),
        _number(sets.get("rho_length")),
        _bias(metric),
        "yes" if metric.length_sensitive else "no",
        languages_of(metric),
        " + ".join([seconds, *needed]),
    )


def _bias(metric: Metric) -> str:
    if not metric.count_sensitive:
        return "no"
    if "corrected" in metric.bias or "Good" in metric.bias:
        return "little: corrected"
    return next((word for word in ("grows", "falls") if f"{word} with" in metric.bias), "moves")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}".replace("-", "−")


def _seconds(value: float) -> str:
    if value < 0.0005:
        return "0.000"
    return f"{value:.3f}" if value < 0.1 else f"{value:.2g}" if value < 10 else f"{value:.0f}"


@cache
def _read_table() -> Mapping[str, Any]:
    content: Mapping[str, Any] = json.loads(TABLE.read_text("utf-8"))
    return content


@cache
def _read_costs() -> Mapping[str, Any]:
    content: Mapping[str, Any] = json.loads(COSTS.read_text("utf-8"))
    return content


def _rows(table: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for label, row in table.items():
        name, _, by = label.partition(SEPARATOR)
        yield name, by, row


def _describe(by: str, row: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    """`OCA 0.814 ± 0.014, rho with people 0.736, …` of one row."""
    content_sets = row[content["sets"]]
    parts = [f"OCA {content_sets['oca']:.3f}"]
    if "oca_se" in content_sets:
        parts[0] += f" ± {content_sets['oca_se']:.3f}"
    parts.append(f"rho with people {content_sets['rho_people']:.3f}")
    parts.append(f"with length {content_sets['rho_length']:+.3f}")
    for kind, facts in row.items():
        if isinstance(facts, Mapping) and "rho_label" in facts:
            parts.append(f"with temperature {facts['rho_label']:.3f} ({kind})")
    if "seconds" in row:
        parts.append(f"{row['seconds']:.2g} s a 1,000 responses")
    made_by = f"{by}: " if by else ""
    on = f", {row['on']}" if "on" in row else ""
    weights = f", {row['dtype']} weights" if "dtype" in row else ""
    return f"{made_by}{', '.join(parts)} ({content['sets']}{on}, English{weights}, {row['made']})"
