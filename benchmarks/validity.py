"""How far each metric sees what people see: the sets of responses that people judged.

    python benchmarks/validity.py --data DIR --quick          # 60 sets of each file
    python benchmarks/validity.py --data DIR --write          # and keep the table in the package

DIR holds files as Tevet and Berant's (EACL 2021, MIT) `con_test_*.csv` and `dec_test_*.csv`: a row
a set of responses, `context` its prompt, `resp_0` ... the responses, `metric_abs_hds_mean` what
people said of the set's diversity, `label_value` 1 or 0 (diverse content or not) or the temperature
that made the set. Of files with two labels: OCA, the best accuracy of one threshold on the metric;
of those with more: Spearman's rho with the label. Files of a kind are averaged. The standard error
is that of a bootstrap over sets. `oca_cv` takes its threshold from the other four fifths of the
prompts.

The last line is JSON: `oca_best` and `rho_people_best` over metrics and encoders, `oca_leading` of
the metric that leads the verdict by default.
"""

from __future__ import annotations

import sys

sys.path.append(sys.path.pop(0))  # the statistics.py beside this file is not the standard one

import argparse
import csv
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata, spearmanr

QUICK = 60
"""Sets of each file in a quick run."""

RESAMPLES = 200
FOLDS = 5
NOT_COMPARED = ("reference", "logprob", "reward", "judge", "harmful", "nli", "correct", "answer")
"""Metrics that need one of these are not computed: the sets have none."""

ENCODERS = ("sentence-transformers", "causal-lm", "both")


@dataclass(frozen=True)
class Sets:
    """The sets of one file."""

    name: str
    ids: list[str]
    groups: list[Any]
    labels: np.ndarray
    people: np.ndarray

    @property
    def kind(self) -> str:
        """`con_test` of con_test_200_with_hds_resp_gen.csv."""
        return "_".join(self.name.split("_")[:2])

    @property
    def two_labels(self) -> bool:
        return set(self.labels) <= {0.0, 1.0}


def read_sets(path: Path, limit: int | None) -> Sets:
    from tofu_eval.core.types import Group, Prompt

    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:limit]
    groups = [
        Group(
            Prompt.of_text(f"{number}", row["context"]),
            tuple(text for name, text in row.items() if name.startswith("resp_") and text),
        )
        for number, row in enumerate(rows)
    ]
    return Sets(
        path.stem,
        [row["sample_id"] for row in rows],
        groups,
        np.array([float(row["label_value"]) for row in rows]),
        np.array([float(row["metric_abs_hds_mean"]) for row in rows]),
    )


# What a metric's values say of the labels


def best_accuracy(values: np.ndarray, labels: np.ndarray) -> float:
    """The best accuracy of one threshold: sets above it are called diverse."""
    return accuracy_at(values, labels, best_threshold(values, labels))


def best_threshold(values: np.ndarray, labels: np.ndarray) -> float:
    order = np.sort(np.unique(values))
    cuts = np.concatenate([[order[0] - 1.0], (order[:-1] + order[1:]) / 2, [order[-1] + 1.0]])
    positive = np.sort(values[labels == 1.0])
    negative = np.sort(values[labels != 1.0])
    right = len(positive) - np.searchsorted(positive, cuts, side="right")
    right = right + np.searchsorted(negative, cuts, side="right")
    return float(cuts[np.argmax(right)])


def accuracy_at(values: np.ndarray, labels: np.ndarray, threshold: float) -> float:
    return float(((values > threshold) == (labels == 1.0)).mean())


def crossed_accuracy(values: np.ndarray, sets: Sets) -> float:
    """Accuracy on each fifth of the prompts at the threshold of the other four."""
    names = sorted(set(sets.ids))
    folds = {name: number % FOLDS for number, name in enumerate(names)}
    fold = np.array([folds[id] for id in sets.ids])
    right = 0.0
    for number in range(FOLDS):
        test = fold == number
        if test.any() and not test.all():
            cut = best_threshold(values[~test], sets.labels[~test])
            right += accuracy_at(values[test], sets.labels[test], cut) * test.sum()
    return right / len(values)


def rho(one: np.ndarray, other: np.ndarray) -> float:
    if len(set(one)) < 2:
        return 0.0
    return float(spearmanr(one, other).statistic)


def resampled_error(values: Sequence[np.ndarray], files: Sequence[Sets]) -> float:
    """Standard error of the mean OCA over files, sets drawn with replacement."""
    random = np.random.default_rng(0)
    means = []
    for _ in range(RESAMPLES):
        picks = [random.integers(0, len(v), len(v)) for v in values]
        means.append(
            np.mean(
                [
                    best_accuracy(v[pick], sets.labels[pick])
                    for v, pick, sets in zip(values, picks, files, strict=True)
                ]
            )
        )
    return float(np.std(means, ddof=1))


def partial_rho(values: np.ndarray, lengths: np.ndarray, people: np.ndarray) -> float:
    """Rank correlation with the texts' length, what people said held fixed."""
    ranks = [rankdata(row) for row in (values, lengths, people)]
    left = [r - np.polyval(np.polyfit(ranks[2], r, 1), ranks[2]) for r in ranks[:2]]
    return rho(*left) if all(np.std(r) > 0 for r in left) else 0.0


# Values


def open_encoders(
    names: Sequence[str], language_model: str | None, dtype: str | None
) -> dict[str, Any]:
    """The encoders that are asked for; `both` is the other two joined, which it needs."""
    from tofu_eval.features.causal_embedding import CausalEmbedder
    from tofu_eval.features.sentence_embedder import SentenceEmbedder

    options: dict[str, Any] = {"dtype": dtype}
    if language_model is not None:
        options["model"] = language_model
    make: dict[str, Callable[[], Any]] = {
        "sentence-transformers": SentenceEmbedder,
        "causal-lm": lambda: CausalEmbedder(**options),
    }
    return {name: make[name]() for name in make if name in names or "both" in names}


@dataclass(frozen=True)
class Vectors:
    """A row a text, and the seconds that 1,000 texts took."""

    rows: np.ndarray
    seconds: float


def encode(texts: Sequence[str], encoder: Any, keep: Path | None) -> Vectors:
    """The texts' vectors, from the folder `keep` where they are there."""
    from tofu_eval.core.types import Prompt, digest

    place = None if keep is None else keep / f"{digest([encoder.signature, list(texts)])[:16]}.npz"
    if place is not None and place.exists():
        with np.load(place) as kept:
            return Vectors(kept["rows"], float(kept["seconds"]))
    start = time.process_time()
    rows = encoder.compute([(Prompt.of_text("p", ""), text) for text in texts])
    made = Vectors(rows, (time.process_time() - start) / len(texts) * 1000)
    if place is not None:
        place.parent.mkdir(parents=True, exist_ok=True)
        np.savez(place, rows=made.rows, seconds=made.seconds)
    return made


def joined(parts: Sequence[Vectors]) -> Vectors:
    """What JoinedEmbedder makes of its parts."""
    rows = np.concatenate([part.rows for part in parts], axis=1) / np.float32(len(parts) ** 0.5)
    return Vectors(rows, sum(part.seconds for part in parts))


def texts_of(files: Sequence[Sets]) -> list[str]:
    return sorted({t for f in files for g in f.groups for t in (*g.texts, g.prompt.text)})


def with_vectors(files: Sequence[Sets], texts: Sequence[str], rows: np.ndarray) -> Any:
    """The groups of each file with their vectors."""
    from dataclasses import replace

    row = dict(zip(texts, rows, strict=True))
    return [
        [
            replace(
                group,
                features={
                    "embedding": np.array([row[text] for text in group.texts]),
                    "prompt_embedding": row[group.prompt.text][None],
                },
            )
            for group in sets.groups
        ]
        for sets in files
    ]


def with_classes(groups: Sequence[Any], method: str) -> list[Any]:
    from dataclasses import replace

    from tofu_eval.features.equivalence import Equivalence

    made = Equivalence(method).compute(groups, None)  # type: ignore[arg-type]
    return [
        replace(group, features={**group.features, **more})
        for group, more in zip(groups, made, strict=True)
    ]


def values_of(metrics: Sequence[Any], groups: Sequence[Any]) -> dict[str, tuple[np.ndarray, float]]:
    """A value a group (NaN where it is undefined) and seconds for 1,000 responses, by metric."""
    from tofu_eval.core.errors import MetricInputError
    from tofu_eval.pipeline.inputs import Inputs

    found = {}
    texts = sum(len(group.texts) for group in groups)
    for metric in metrics:
        start, values = time.process_time(), []
        for group in groups:
            inputs = Inputs(group)
            try:
                values.append(float(metric(*(inputs[need] for need in metric.needs))))
            except MetricInputError:
                values.append(float("nan"))
        sign = -1.0 if metric.direction == "lower" else 1.0
        seconds = (time.process_time() - start) / texts * 1000
        found[metric.name] = (sign * np.array(values), seconds)
    return found


def summary(values: Sequence[np.ndarray], files: Sequence[Sets], *, quick: bool) -> dict[str, Any]:
    """What one metric's values on all files say; undefined ones count as the least diverse."""
    filled = [np.where(np.isfinite(v), v, np.nanmin(v) if np.isfinite(v).any() else 0.0) - 0.0
              for v in values]  # fmt: skip
    row: dict[str, Any] = {"undefined": int(sum((~np.isfinite(v)).sum() for v in values))}
    for kind in dict.fromkeys(sets.kind for sets in files):
        some = [(v, sets) for v, sets in zip(filled, files, strict=True) if sets.kind == kind]
        row[kind] = {"rho_people": mean(rho(v, sets.people) for v, sets in some)}
        if all(sets.two_labels for _, sets in some):
            row[kind]["oca"] = mean(best_accuracy(v, sets.labels) for v, sets in some)
            row[kind]["oca_cv"] = mean(crossed_accuracy(v, sets) for v, sets in some)
            if not quick:
                error = resampled_error([v for v, _ in some], [sets for _, sets in some])
                row[kind]["oca_se"] = round(error, 4)
        else:
            row[kind]["rho_label"] = mean(rho(v, sets.labels) for v, sets in some)
        lengths = [
            np.array([np.mean([len(t) for t in g.texts]) for g in s.groups]) for _, s in some
        ]
        row[kind]["rho_length"] = mean(
            partial_rho(v, length, sets.people)
            for (v, sets), length in zip(some, lengths, strict=True)
        )
    return row


def mean(numbers: Any) -> float:
    return round(float(np.mean(list(numbers))), 4)


def main() -> None:
    from tofu_eval.metrics import METRICS

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of the CSV files")
    parser.add_argument("--language-model", help="for causal-lm; by default the packaged one")
    parser.add_argument(
        "--dtype", help="of the language model's weights; by default float32 on a CPU"
    )
    parser.add_argument("--encoder", action="append", choices=ENCODERS, help="by default all")
    parser.add_argument("--cache", type=Path, help="a folder that keeps the vectors")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} sets of each file")
    parser.add_argument("--write", action="store_true", help="keep the table in the package")
    chosen = parser.parse_args()
    paths = sorted(chosen.data.glob("*.csv"))
    if not paths:
        raise SystemExit(f"No *.csv in {chosen.data}. See --help.")
    files = [read_sets(path, QUICK if chosen.quick else None) for path in paths]
    usable = [
        entry.item
        for entry in METRICS.entries()
        if entry.item is not None
        and entry.item.measures == "diversity"
        and entry.item.direction != "none"
        and entry.item.level == "group"
        and not any(need.startswith(NOT_COMPARED) for need in entry.item.needs)
        and entry.item.function.__module__.startswith("tofu_eval.metrics.")
        and not entry.name.startswith("target_")
    ]
    table: dict[str, dict[str, Any]] = {}

    def add(
        label: str, metrics: Sequence[Any], groups: Sequence[Sequence[Any]], extra: float
    ) -> None:
        each = [values_of(metrics, some) for some in groups]
        for metric in metrics:
            row = summary([e[metric.name][0] for e in each], files, quick=chosen.quick)
            row["seconds"] = round(extra + mean(e[metric.name][1] for e in each), 3)
            table[f"{metric.name}{label}"] = row
            print(line(f"{metric.name}{label}", row), flush=True)

    vectors = {"embedding", "prompt_embedding"}
    plain = [m for m in usable if not {*m.needs} & {*vectors, "equivalence"}]
    add("", plain, [sets.groups for sets in files], 0.0)
    of_vectors = [m for m in usable if {*m.needs} & vectors]
    of_classes = [m for m in usable if "equivalence" in m.needs]
    people = summary([sets.people for sets in files], files, quick=chosen.quick)
    table["people"] = people
    print(line("people", people))
    names = chosen.encoder or ENCODERS
    texts = texts_of(files)
    made = {
        name: encode(texts, encoder, chosen.cache)
        for name, encoder in open_encoders(names, chosen.language_model, chosen.dtype).items()
    }
    for name in names:
        vectors_of = joined(list(made.values())) if name == "both" else made[name]
        groups, seconds = with_vectors(files, texts, vectors_of.rows), vectors_of.seconds
        label = "" if name == ENCODERS[0] else f" | {name}"
        add(label, of_vectors, groups, seconds)
        classed = [with_classes(some, "embedding") for some in groups]
        add(f" | classes by {name}", of_classes, classed, seconds)
    machines = {k: v for k, v in table.items() if k != "people"}
    leading = max(usable, key=lambda m: m.human or 0.0).name
    kind = next(sets.kind for sets in files if sets.two_labels)
    best = max(machines, key=lambda name: machines[name][kind]["oca"])
    closest = max(machines, key=lambda name: machines[name][kind]["rho_people"])
    if chosen.write:
        write_table(table, kind)
    print(
        json.dumps(
            {
                "benchmark": "validity",
                "quick": chosen.quick,
                "sets": sum(len(sets.groups) for sets in files),
                "oca_best": machines[best][kind]["oca"],
                "oca_best_se": machines[best][kind].get("oca_se"),
                "oca_best_cv": machines[best][kind]["oca_cv"],
                "oca_best_metric": best,
                "oca_leading": machines[leading][kind]["oca"],
                "oca_leading_metric": leading,
                "rho_people_best": machines[closest][kind]["rho_people"],
                "rho_people_best_metric": closest,
                "oca_people": people[kind]["oca"],
            }
        )
    )


def line(name: str, row: dict[str, Any]) -> str:
    parts = [f"{name:62}"]
    for kind, facts in row.items():
        if isinstance(facts, dict):
            parts.append(kind + " " + " ".join(f"{k} {v:.3f}" for k, v in facts.items()))
    return "  ".join(parts)


def write_table(table: dict[str, dict[str, Any]], kind: str) -> None:
    """Keep the table as data of the package, with today's date."""
    import tofu_eval.metrics as package

    place = Path(package.__file__).with_name("validity.json")
    content = {"made": date.today().isoformat(), "sets": kind, "table": table}
    place.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    main()
