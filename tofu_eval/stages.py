"""The stages of the pipeline, each a function of what the one before it made.

generate -> featurize -> score -> estimate; `pipeline.py` puts them together on a run directory.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from tofu_eval.engines.audit import check
from tofu_eval.engines.base import Engine
from tofu_eval.errors import ConfigError, MetricInputError, ModelError, PluginError, TofuEvalError
from tofu_eval.inputs import Feature, Inputs, cut, of_groups, of_texts, pooled, with_features
from tofu_eval.metrics import Metric
from tofu_eval.stats import BLOCKS, pseudo_values
from tofu_eval.store import Run
from tofu_eval.tasks import Format, render
from tofu_eval.types import (
    Group,
    Prompt,
    Report,
    Request,
    Response,
    Sampling,
    Score,
    Task,
    digest,
    no_report,
    seed_of,
)

Scorer = Callable[[Sequence[Group], Sequence[Metric], int | None], list[list[Score]]]
"""What scores groups that have all their features; the third argument is how they were cut."""

NOT_DRAWN = Sampling(samples=1, temperature=0.0, max_tokens=1)
"""The sampling of responses that are given: it has no say."""


@dataclass(frozen=True)
class Plan:
    """A task as this run asks it: its prompts and its sampling, with the user's overrides.

    `data` says where the prompts were read: dataset and commit, or file and digest.
    """

    task: Task
    prompts: tuple[Prompt, ...]
    sampling: Sampling
    data: Mapping[str, str] = field(default_factory=dict)

    def described(self) -> dict[str, Any]:
        """The task's part of run.json; what may not change under a run's name, but for `data`."""
        return {
            "version": self.task.version,
            "prompts": len(self.prompts),
            "digest": digest([asdict(prompt) for prompt in self.prompts]),
            "sampling": asdict(self.sampling),
            "licence": self.task.licence,
            "source": self.task.source,
            "citation": self.task.citation,
            **({"scoring": "likelihood", "rows": self.rows} if self.of_choices else {}),
            **({"data": dict(self.data)} if self.data else {}),
        }

    @property
    def of_choices(self) -> bool:
        """Whether the responses are the prompts' choices, and nothing is drawn."""
        return self.task.scoring == "likelihood"

    @property
    def rows(self) -> int:
        """How many responses a model owes this task."""
        if self.of_choices:
            return sum(len(choices(prompt)) for prompt in self.prompts)
        return len(self.prompts) * self.sampling.samples


def requests(plan: Plan, format: Format, model: str, engine: Engine, seed: int) -> list[Request]:
    """Every response that a run wants of one model on one task.

    A row's key says what it is (task version, prompt, sample, decoder, model, kind of engine);
    its seed derives from the run's seed and the key, so it does not depend on what else is asked.
    """
    identity = digest(dict(engine.identity))
    sampling = NOT_DRAWN if plan.of_choices else plan.sampling
    wanted = []
    for prompt in plan.prompts:
        text, messages = render(prompt, format)
        asked = [
            plan.task.name,
            plan.task.version,
            prompt.id,
            text,
            None if messages is None else [asdict(message) for message in messages],
            sampling.decoder(),
            identity,
            engine.family,
        ]
        taken: set[int] = set()
        texts = choices(prompt) if plan.of_choices else [None] * plan.sampling.samples
        for sample, completion in enumerate(texts):
            scored = [] if completion is None else ["likelihood", completion]
            key = digest([*asked, sample, *scored])
            row_seed = _fresh_seed(seed, key, taken)
            wanted.append(
                Request(
                    key, row_seed, model, plan.task.name, prompt.id, sample, sampling,
                    text, messages, completion,
                )
            )  # fmt: skip
    return wanted


def choices(prompt: Prompt) -> list[str]:
    """The choices of a prompt: its metadata `choices`, a JSON list of texts.

    Raises:
        ConfigError: it has none, fewer than two, or an empty one.
    """
    try:
        found = json.loads(prompt.metadata.get("choices", "null"))
    except ValueError:
        found = None
    good = isinstance(found, list) and len(found) > 1
    if not good or not all(isinstance(text, str) and text.strip() for text in found):
        raise ConfigError(
            f"The prompt '{prompt.id}' has no choices to be scored: its metadata 'choices' must be "
            "a JSON list of two texts or more. Add them, or leave out 'scoring: likelihood'."
        )
    return [text.strip() for text in found]


def _fresh_seed(seed: int, key: str, taken: set[int]) -> int:
    """The row's seed, another than those taken: of 32 bits two may meet, and copy a sample."""
    row_seed, attempt = seed_of(seed, key), 0
    while row_seed in taken:
        attempt += 1
        row_seed = seed_of(seed, key, attempt)
    taken.add(row_seed)
    return row_seed


def generate(
    run: Run, model: str, engine: Engine, wanted: Sequence[Request], report: Report
) -> None:
    """Make the responses that are not on the disk yet; each batch is saved at once.

    `model` is what the progress and errors say; of which models the rows are, `wanted` says.
    """
    places = dict.fromkeys((request.model, request.task) for request in wanted)
    keys = set().union(*(run.response_keys(*place) for place in places))
    finished = sum(request.key in keys for request in wanted)
    stage = f"generate {model}"
    report(stage, finished, len(wanted))
    if finished == len(wanted):
        return
    if not getattr(engine, "scores", False) and any(r.completion is not None for r in wanted):
        raise ModelError(
            f"The engine '{engine.family}' gives no log-probabilities of given texts, which "
            "'scoring: likelihood' needs. Use --engine transformers, vllm or openai."
        )
    if remarks := _looked_at(engine, wanted):
        run.save(notes=[*run.manifest["notes"], *remarks])
    tokens = getattr(report, "tokens", None)
    for batch in _explained(engine, model, engine.generate(wanted, keys)):
        if tokens is not None:
            tokens(stage, sum(len(row.token_ids or ()) for row in batch))
        for place in dict.fromkeys((row.model, row.task) for row in batch):
            mine = [row for row in batch if (row.model, row.task) == place]
            rows = list({row.key: row for row in mine if row.key not in keys}.values())
            if rows:
                run.add_responses(*place, rows)
                keys.update(row.key for row in rows)
                finished += len(rows)
        report(stage, finished, len(wanted))
    if finished != len(wanted):
        raise ModelError(
            f"The engine '{engine.family}' made {finished} of {len(wanted)} responses of "
            f"'{model}'. What it made is kept; run the same command again."
        )


def _looked_at(engine: Engine, wanted: Sequence[Request]) -> list[str]:
    """What is odd about the prompts; an engine that takes long to start does so meanwhile."""
    prepare = getattr(engine, "prepare", None)
    if prepare is None:
        return check(engine, wanted)
    prepare()
    try:
        return check(engine, wanted)
    except BaseException:
        engine.close()
        raise


def _explained(
    engine: Engine, model: str, batches: Iterator[list[Response]]
) -> Iterator[list[Response]]:
    """The batches; whatever an engine fails with is one line."""
    try:
        yield from batches
    except TofuEvalError:
        raise
    except Exception as error:  # an engine may fail in any way
        raise ModelError(
            f"The engine '{engine.family}' failed on '{model}': {type(error).__name__}: {error}. "
            "What it made is kept; run the same command again, or with --debug to see where."
        ) from error


def featurize_groups(
    groups: Sequence[Group],
    metrics: Sequence[Metric],
    features: Mapping[str, Feature],
    *,
    truncate: int | None = None,
    report: Report = no_report,
) -> Iterator[tuple[list[Group], list[Metric], int | None]]:
    """The groups with the features that metrics need, these metrics, and the words of a text.

    Whole texts come first, then those cut to `truncate` words, for the length-sensitive metrics.
    """
    for members, own, words in _halves(groups, metrics, truncate):
        yield with_features(members, own, features, report), own, words


def _halves(
    groups: Sequence[Group], metrics: Sequence[Metric], truncate: int | None
) -> Iterator[tuple[list[Group], list[Metric], int | None]]:
    whole = [m for m in metrics if truncate is None or not m.length_sensitive]
    cutting = [m for m in metrics if truncate is not None and m.length_sensitive]
    for own, words in ((whole, None), (cutting, truncate)):
        if own:
            members = list(groups) if words is None else [cut(group, words) for group in groups]
            yield members, own, words


def score_groups(
    groups: Sequence[Group],
    metrics: Sequence[Metric],
    features: Mapping[str, Feature],
    *,
    truncate: int | None = None,
    report: Report = no_report,
    score: Scorer | None = None,
) -> list[list[Score]]:
    """The scores of each group, in the order of the metrics.

    With `truncate`, the length-sensitive metrics see the responses cut to that many words, and
    their features are those of the cut texts.

    Args:
        groups: of one task or several, of one model or several.
        metrics: of level "group", or of level "corpus" where each group is a corpus.
        features: what makes the features that the groups have not yet, by name.
        truncate: words.
        report: told about the features that are computed.
        score: what scores groups with metrics; by default, one after the other here.
    """
    score = score or score_each
    columns: list[dict[str, Score]] = [{} for _ in groups]
    halves = featurize_groups(groups, metrics, features, truncate=truncate, report=report)
    for members, own, words in halves:
        for column, rows in zip(columns, score(members, own, words), strict=True):
            column.update((row.metric, row) for row in rows)
    return [[column[metric.name] for metric in metrics] for column in columns]


def copies(texts: Mapping[str, Sequence[str]]) -> list[str]:
    """The prompts, of texts by prompt, to which several samples are all the same text."""
    return [id for id, rows in texts.items() if len(rows) > 1 and len(set(rows)) == 1]


def score_corpus(
    groups: Iterable[Group],
    metrics: Sequence[Metric],
    features: Mapping[str, Feature],
    *,
    truncate: int | None = None,
    report: Report = no_report,
) -> list[Score]:
    """Each metric of level "corpus" on all groups of one model and task pooled.

    The value has no prompt. Where it is defined there is also a row a block of prompts, with the
    block's jackknife pseudo-value: their mean is the value, and their spread says what other
    prompts would give. Resampling prompts with replacement would not: copies of a text are what
    such a metric counts.

    What a feature model says of a response depends on its prompt: it is asked before pooling.
    """
    if not metrics:
        return []
    found: dict[str, list[Score]] = {}
    for cut_groups, own, words in _halves(list(groups), metrics, truncate):
        members = of_texts(cut_groups, own, features, report)

        def score(
            some: Sequence[Group], own: Sequence[Metric] = own, words: int | None = words
        ) -> list[Score]:
            made = of_groups([pooled(some)], own, features, report)
            return [replace(row, prompt_id=None) for row in score_each(made, own, words)[0]]

        found.update((rows[0].metric, rows) for rows in _with_blocks(members, score))
    return [row for metric in metrics for row in found[metric.name]]


def _with_blocks(
    members: Sequence[Group], score: Callable[[Sequence[Group]], list[Score]]
) -> list[list[Score]]:
    """For each metric the value of the whole, and then a pseudo-value a block of prompts."""
    blocks = _blocks(members)
    without = [score([g for g in members if g.prompt.id not in block]) for block in blocks]
    found = []
    for place, row in enumerate(score(members)):
        rows = [row]
        left = [scores[place].value for scores in without]
        known = [value for value in left if value is not None]
        if row.value is not None and len(known) >= max(2, len(left)):
            for number, value in enumerate(pseudo_values(row.value, known), start=1):
                texts = sum(len(g.texts) for g in members if g.prompt.id in blocks[number - 1])
                id = f"block {number} of {len(blocks)}"
                rows.append(replace(row, prompt_id=id, value=value, n=texts))
        found.append(rows)
    return found


def _blocks(groups: Sequence[Group]) -> list[set[str]]:
    """The ids of the prompts in at most BLOCKS blocks, the same for all models of a task."""
    ids = sorted(group.prompt.id for group in groups)
    count = min(BLOCKS, len(ids))
    return [set(ids[start::count]) for start in range(count)] if count > 1 else []


def score_each(
    groups: Sequence[Group], metrics: Sequence[Metric], truncate: int | None
) -> list[list[Score]]:
    """The scores of each group, one after the other."""
    return [score_group(group, metrics, truncate) for group in groups]


def score_group(
    group: Group, metrics: Sequence[Metric], truncate: int | None = None
) -> list[Score]:
    """Every metric on one group; where one is undefined, null and the reason.

    `truncate` says to how many words the group was cut, for the reason.
    """
    inputs = Inputs(group)
    cut_to = "" if truncate is None else f", of at least {truncate} words each"
    scores = []
    for metric in metrics:
        value, reason = None, None
        try:
            value = float(metric(*(inputs[need] for need in metric.needs)))
            if not math.isfinite(value):
                value, reason = None, f"the metric gave {value}"
        except MetricInputError as undefined:
            reason = f"{undefined}{cut_to}"
        except Exception as error:  # a plug-in may fail in any way
            raise PluginError(
                f"The metric '{metric.name}' failed on prompt '{group.prompt.id}' of task "
                f"'{group.task}', model '{group.model}': {type(error).__name__}: {error}. "
                "Leave it out with --metric, or run with --debug to see where."
            ) from error
        place = (group.model, group.task, group.prompt.id)
        scores.append(Score(*place, metric.name, value, reason, len(group.texts)))
    return scores
