"""How far each metric sees what people see: the sets of responses that people judged.

    python benchmarks/validity.py --data DIR --quick          # 60 sets of each file
    python benchmarks/validity.py --data DIR --write          # and keep the table in the package
    python benchmarks/validity.py --data DIR --part tags --part likelihood --dtype bfloat16 --write

DIR holds files as Tevet and Berant's (EACL 2021, MIT) `con_test_*.csv` and `dec_test_*.csv`: a row
a set of responses, `context` its prompt, `resp_0` ... the responses, `metric_abs_hds_mean` what
people said of the set's diversity, `label_value` 1 or 0 (diverse content or not) or the temperature
that made the set. Of files with two labels: OCA, the best accuracy of one threshold on the metric;
of those with more: Spearman's rho with the label. Files of a kind are averaged. The standard error
is that of a bootstrap over sets. `oca_cv` takes its threshold from the other four fifths of the
prompts.

`--part` measures a part of the metrics: those of texts alone (`texts`), of embeddings and the
classes by them (`embeddings`), of part-of-speech tags (`tags`, each set by itself), of a language
model's log-probabilities (`likelihood`) and of classes by inference (`nli`, with `--nli-model`).
`--write` keeps what was measured and leaves the other rows of the table as they are; each row has
its date, and what it was measured on where that is not all sets. With `--cache` what a model made
is kept, so that a run that was ended goes on.

The last line is JSON: `oca_best` and `rho_people_best` over metrics and encoders, `oca_leading` of
the metric that leads the verdict by default.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from people import Sets, mean, read_sets, summary

QUICK = 60
"""Sets of each file in a quick run."""

NOT_COMPARED = ("reference", "logprob", "reward", "judge", "harmful", "nli", "correct", "answer")
"""Metrics that need one of these are not computed: the sets have none."""

ENCODERS = ("sentence-transformers", "causal-lm", "both")
PARTS = ("texts", "embeddings", "tags", "likelihood")
"""What is measured unless parts are named; `nli` needs a model that not everybody has."""

OF_LIKELIHOOD = {"likelihood", "surprise", "redundancy"}
UNDIRECTED = ("excess_entropy",)
"""Metrics without a direction that are measured nevertheless, as if higher were more diverse."""


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


def main() -> None:
    chosen = _parse()
    paths = sorted(chosen.data.glob("*.csv"))
    if not paths:
        raise SystemExit(f"No *.csv in {chosen.data}. See --help.")
    files = [read_sets(path, QUICK if chosen.quick else chosen.sets) for path in paths]
    table = Table(files, quick=chosen.quick)
    parts = chosen.part or PARTS
    usable = usable_metrics(chosen.metric)
    heavy = {"embedding", "prompt_embedding", "equivalence", "pos", *OF_LIKELIHOOD}
    table.add_people()
    if "texts" in parts:
        plain = [m for m in usable if not heavy & {*m.needs}]
        table.add("", plain, [sets.groups for sets in files])
    if "embeddings" in parts:
        add_embeddings(table, usable, chosen)
    if "tags" in parts:
        add_tags(table, usable)
    if "likelihood" in parts:
        add_likelihood(table, usable, chosen)
    if "nli" in parts:
        add_inference(table, usable, chosen)
    kind = next(sets.kind for sets in files if sets.two_labels)
    if chosen.write:
        whole = chosen.sets is None and not chosen.quick
        on = None if whole else f"the first {QUICK if chosen.quick else chosen.sets} of each file"
        write_table(table.rows, kind, on)
    print(json.dumps(summarize(table.rows, usable_metrics(), kind, chosen.quick, files)))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of the CSV files")
    parser.add_argument("--part", action="append", choices=(*PARTS, "nli"))
    parser.add_argument("--metric", action="append", help="of each part these alone")
    parser.add_argument("--language-model", help="for causal-lm; by default the packaged one")
    parser.add_argument("--nli-model", help="a classifier of inference, for --part nli")
    parser.add_argument(
        "--dtype", help="of the language model's weights; by default float32 on a CPU"
    )
    parser.add_argument("--encoder", action="append", choices=ENCODERS, help="by default all")
    parser.add_argument("--cache", type=Path, help="a folder that keeps the vectors")
    parser.add_argument("--sets", type=int, help="of each file, the first; by default all")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} sets of each file")
    parser.add_argument("--write", action="store_true", help="keep the table in the package")
    return parser.parse_args()


def usable_metrics(names: Sequence[str] | None = None) -> list[Any]:
    """The metrics that one set of responses and its prompt are enough for; of these, `names`."""
    from tofu_eval.metrics import METRICS

    usable = [
        entry.item
        for entry in METRICS.entries()
        if entry.item is not None
        and entry.item.measures == "diversity"
        and (entry.item.direction != "none" or entry.name in UNDIRECTED)
        and "prompts" not in entry.item.needs
        and (entry.item.level == "group" or "pos" in entry.item.needs)
        and not any(need.startswith(NOT_COMPARED) for need in entry.item.needs)
        and entry.item.function.__module__.startswith("tofu_eval.metrics.")
        and not entry.name.startswith("target_")
    ]
    if unknown := [name for name in names or () if name not in {m.name for m in usable}]:
        raise SystemExit(
            f"No metric of sets of responses: {unknown[0]}. See: tofu-eval metrics list"
        )
    return [metric for metric in usable if not names or metric.name in names]


class Table:
    """A row a metric and what its inputs were made by."""

    def __init__(self, files: Sequence[Sets], *, quick: bool) -> None:
        self.files, self.quick = files, quick
        self.rows: dict[str, dict[str, Any]] = {}

    def add_people(self) -> None:
        """What people said, as if it were a metric."""
        self.rows["people"] = summary([s.people for s in self.files], self.files, quick=self.quick)
        print(line("people", self.rows["people"]))

    def add(
        self,
        label: str,
        metrics: Sequence[Any],
        groups: Sequence[Sequence[Any]],
        before: float | None = 0.0,
        **facts: Any,
    ) -> None:
        """Measure the metrics; `before` are the seconds of their inputs for 1,000 texts."""
        each = [values_of(metrics, some) for some in groups]
        for metric in metrics:
            row = summary([e[metric.name][0] for e in each], self.files, quick=self.quick)
            if before is not None:
                row["seconds"] = round(before + mean(e[metric.name][1] for e in each), 3)
            self.rows[f"{metric.name}{label}"] = {**row, **facts}
            print(line(f"{metric.name}{label}", row), flush=True)


def add_embeddings(table: Table, usable: Sequence[Any], chosen: argparse.Namespace) -> None:
    """Metrics of embeddings and of the classes by them, each encoder in turn."""
    of_vectors = [m for m in usable if {*m.needs} & {"embedding", "prompt_embedding"}]
    of_classes = [m for m in usable if "equivalence" in m.needs]
    names = chosen.encoder or ENCODERS
    texts = texts_of(table.files)
    made = {
        name: encode(texts, encoder, chosen.cache)
        for name, encoder in open_encoders(names, chosen.language_model, chosen.dtype).items()
    }
    for name in names:
        vectors_of = joined(list(made.values())) if name == "both" else made[name]
        groups, seconds = with_vectors(table.files, texts, vectors_of.rows), vectors_of.seconds
        label = "" if name == ENCODERS[0] else f" | {name}"
        table.add(label, of_vectors, groups, seconds)
        classed = [with_classes(some, "embedding") for some in groups]
        table.add(f" | classes by {name}", of_classes, classed, seconds)


def with_groups(
    files: Sequence[Sets], compute: Callable[[list[Any]], Sequence[Any]]
) -> tuple[list[list[Any]], float]:
    """The groups of each file with what `compute` makes of all, and seconds for 1,000 responses."""
    from dataclasses import replace

    every = [group for sets in files for group in sets.groups]
    start = time.process_time()
    made = iter(compute(every))
    texts = sum(len(group.texts) for group in every)
    seconds = (time.process_time() - start) / texts * 1000
    return [
        [replace(group, features={**group.features, **next(made)}) for group in sets.groups]
        for sets in files
    ], seconds


def add_tags(table: Table, usable: Sequence[Any]) -> None:
    """Metrics of part-of-speech tags, each set as a corpus of its own."""
    from tofu_eval.features.pos import Tagger

    groups, seconds = with_groups(table.files, Tagger().compute)
    table.add("", [m for m in usable if "pos" in m.needs], groups, seconds)


def add_likelihood(table: Table, usable: Sequence[Any], chosen: argparse.Namespace) -> None:
    """Metrics of a language model's log-probabilities, with the settings of a run."""
    from dataclasses import replace

    from tofu_eval.core.types import digest, no_report
    from tofu_eval.features.base import fill
    from tofu_eval.features.causal_model import DEFAULT_MODEL, CausalModel
    from tofu_eval.features.likelihood import Likelihood, LikelihoodSettings, Redundancy, Surprise
    from tofu_eval.features.likelihood_reader import OPTION, CausalReader
    from tofu_eval.features.settings import read_settings
    from tofu_eval.run.feature_cache import FeatureCache

    usual = read_settings({}).section(LikelihoodSettings)
    model = chosen.language_model or DEFAULT_MODEL
    reader = CausalReader(model, window=usual.window)
    reader._model = CausalModel(model, OPTION, dtype=chosen.dtype)
    likelihood = Likelihood(reader)

    def of_texts(groups: list[Any], cache: FeatureCache) -> list[dict[str, Any]]:
        asked = {
            likelihood.key(group.prompt, text): (group.prompt, text)
            for group in groups
            for text in group.texts
        }
        fill(
            cache,
            asked,
            lambda keys: (likelihood.compute([asked[key] for key in keys]), 0),
            stage="likelihood",
            report=no_report,
        )
        return [
            {"likelihood": cache.rows([likelihood.key(group.prompt, t) for t in group.texts])}
            for group in groups
        ]

    makers: dict[str, Callable[..., Sequence[Any]]] = {
        "likelihood": of_texts,
        "surprise": Surprise(reader, usual.orders, 0).compute,
        "redundancy": Redundancy(reader, usual.partners, 0).compute,
    }
    files = list(table.files)
    for name, compute in makers.items():
        place = digest([name, chosen.dtype, dict(reader.identity)])[:16]
        cache = FeatureCache(chosen.cache and chosen.cache / place)
        groups = with_groups(files, lambda some, c=compute, k=cache: c(some, k))[0]
        files = [replace(sets, groups=some) for sets, some in zip(files, groups, strict=True)]
        print(f"{name} is there", flush=True)
    table.add(
        "",
        [m for m in usable if OF_LIKELIHOOD & {*m.needs}],
        [sets.groups for sets in files],
        None,
        **({"dtype": chosen.dtype} if chosen.dtype else {}),
    )


def add_inference(table: Table, usable: Sequence[Any], chosen: argparse.Namespace) -> None:
    """Metrics of classes by entailment both ways, and of the inference itself."""
    from tofu_eval.features.equivalence import Equivalence
    from tofu_eval.run.feature_cache import FeatureCache

    if not chosen.nli_model:
        raise SystemExit("--part nli needs a classifier of inference: --nli-model PATH_OR_ID")
    by_inference = Equivalence("nli", model=chosen.nli_model)
    groups, seconds = with_groups(
        table.files, lambda some: by_inference.compute(some, FeatureCache())
    )
    of_classes = [m for m in usable if "equivalence" in m.needs]
    table.add(" | classes by nli", of_classes, groups, seconds)


def summarize(
    rows: dict[str, Any], usable: Sequence[Any], kind: str, quick: bool, files: Sequence[Sets]
) -> dict[str, Any]:
    """What the last line says."""
    machines = {name: row for name, row in rows.items() if name != "people"}
    best = max(machines, key=lambda name: machines[name][kind]["oca"])
    closest = max(machines, key=lambda name: machines[name][kind]["rho_people"])
    leading = max(usable, key=lambda m: m.human or 0.0).name
    leads = machines.get(leading, {}).get(kind, {})
    return {
        "benchmark": "validity",
        "quick": quick,
        "sets": sum(len(sets.groups) for sets in files),
        "oca_best": machines[best][kind]["oca"],
        "oca_best_se": machines[best][kind].get("oca_se"),
        "oca_best_cv": machines[best][kind]["oca_cv"],
        "oca_best_metric": best,
        "oca_leading": leads.get("oca"),
        "oca_leading_metric": leading,
        "rho_people_best": machines[closest][kind]["rho_people"],
        "rho_people_best_metric": closest,
        "oca_people": rows["people"][kind]["oca"],
    }


def line(name: str, row: dict[str, Any]) -> str:
    parts = [f"{name:62}"]
    for kind, facts in row.items():
        if isinstance(facts, dict):
            parts.append(kind + " " + " ".join(f"{k} {v:.3f}" for k, v in facts.items()))
    return "  ".join(parts)


def write_table(table: dict[str, dict[str, Any]], kind: str, on: str | None) -> None:
    """Keep the rows as data of the package, with today's date; others stay as they are."""
    import tofu_eval.metrics as package

    place = Path(package.__file__).with_name("validity.json")
    kept = json.loads(place.read_text("utf-8"))["table"] if place.exists() else {}
    facts = {"made": date.today().isoformat(), **({"on": on} if on else {})}
    rows = {name: {**row, **facts} for name, row in table.items() if name != "people" or not on}
    content = {"sets": kind, "table": {**kept, **rows}}
    place.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    main()
