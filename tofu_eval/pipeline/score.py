"""The stages of the pipeline, each a function of what the one before it made.

generate -> featurize -> score -> estimate; `evaluate.py` puts them together on a run directory.
"""

from __future__ import annotations

import math
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace

from tofu_eval.analysis import BLOCKS, pseudo_values
from tofu_eval.core.errors import (
    ConfigError,
    MetricInputError,
    PluginError,
    UnknownNameError,
)
from tofu_eval.core.registry import load_file, loaded_files
from tofu_eval.core.termination import leave_if_asked
from tofu_eval.core.types import (
    Group,
    Report,
    Score,
    no_report,
)
from tofu_eval.metrics import Metric, find
from tofu_eval.pipeline.inputs import (
    Inputs,
    KeptFeature,
    fill_texts,
    of_groups,
    of_texts,
    pool_groups,
    take_thoughts,
    truncate_group,
    with_features,
)

Half = tuple[list[Group], list[Metric], int | None]
"""Groups that have all their features, what to score them with, and to how many words they were
truncated."""

Rows = list[list[Score]]
"""The scores of each of several groups."""

Scorer = Callable[[Iterable[list[Half]]], Iterator[list[Rows]]]
"""What scores the halves of chunk after chunk, and gives the rows of each half, in order."""


def featurize_groups(
    groups: Sequence[Group],
    metrics: Sequence[Metric],
    features: Mapping[str, KeptFeature],
    *,
    truncate: int | None = None,
    report: Report = no_report,
) -> Iterator[Half]:
    """The groups with the features that metrics need, these metrics, and the words of a text.

    Whole texts come first, then those cut to `truncate` words, for the length-sensitive metrics.
    """
    for members, own, words in split_halves(groups, metrics, truncate):
        yield with_features(members, own, features, report), own, words


def featurize_ahead(
    groups: Sequence[Group],
    metrics: Sequence[Metric],
    features: Mapping[str, KeptFeature],
    *,
    truncate: int | None = None,
    report: Report = no_report,
) -> None:
    """Have what single texts need computed for many groups at once, and kept in the run."""
    for members, own, _ in split_halves(groups, metrics, truncate):
        fill_texts(members, own, features, report)


def split_halves(
    groups: Sequence[Group], metrics: Sequence[Metric], truncate: int | None
) -> Iterator[Half]:
    """What each metric reads: answers or thoughts, whole or truncated."""
    for reads in ("answers", "thoughts"):
        mine = [m for m in metrics if m.reads == reads]
        members = list(groups)
        if reads == "thoughts" and mine:
            members = [take_thoughts(group) for group in groups]
        whole = [m for m in mine if truncate is None or not m.length_sensitive]
        if whole:
            yield members, whole, None
        if truncate is not None and (own := [m for m in mine if m.length_sensitive]):
            yield [truncate_group(group, truncate) for group in members], own, truncate


def score_groups(
    groups: Sequence[Group],
    metrics: Sequence[Metric],
    features: Mapping[str, KeptFeature],
    *,
    truncate: int | None = None,
    report: Report = no_report,
) -> Rows:
    """The scores of each group, in the order of the metrics.

    With `truncate`, the length-sensitive metrics see the responses cut to that many words, and
    their features are those of the cut texts.

    Args:
        groups: of one task or several, of one model or several.
        metrics: of level "group", or of level "corpus" where each group is a corpus.
        features: what makes the features that the groups have not yet, by name.
        truncate: words.
        report: told about the features that are computed.
    """
    chunks = score_chunks([groups], metrics, features, truncate=truncate, report=report)
    return next(chunks)


def score_chunks(
    chunks: Iterable[Sequence[Group]],
    metrics: Sequence[Metric],
    features: Mapping[str, KeptFeature],
    *,
    truncate: int | None = None,
    report: Report = no_report,
    score: Scorer | None = None,
) -> Iterator[Rows]:
    """The scores of chunk after chunk of groups, each as `score_groups` gives them.

    Args:
        chunks: read when their turn comes.
        metrics: as for `score_groups`, and so are features, truncate and report.
        score: what scores; by default, one group after the other here.
    """
    sizes: deque[int] = deque()

    def halves() -> Iterator[list[Half]]:
        for chunk in chunks:
            sizes.append(len(chunk))
            yield [*featurize_groups(chunk, metrics, features, truncate=truncate, report=report)]

    for scored in (score or score_here)(halves()):
        columns: list[dict[str, Score]] = [{} for _ in range(sizes.popleft())]
        for rows in scored:
            for column, own in zip(columns, rows, strict=True):
                column.update((row.metric, row) for row in own)
        yield [[column[metric.name] for metric in metrics] for column in columns]


def copies(texts: Mapping[str, Sequence[str]]) -> list[str]:
    """The prompts, of texts by prompt, to which several samples are all the same text."""
    return [id for id, rows in texts.items() if len(rows) > 1 and len(set(rows)) == 1]


def score_corpus(
    groups: Iterable[Group],
    metrics: Sequence[Metric],
    features: Mapping[str, KeptFeature],
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
    by_metric: dict[str, list[Score]] = {}
    for cut_groups, own_metrics, words in split_halves(list(groups), metrics, truncate):
        members = of_texts(cut_groups, own_metrics, features, report)

        def score(
            some: Sequence[Group],
            own_metrics: Sequence[Metric] = own_metrics,
            words: int | None = words,
        ) -> list[Score]:
            made = of_groups([pool_groups(some)], own_metrics, features, report)
            return [replace(row, prompt_id=None) for row in score_each(made, own_metrics, words)[0]]

        by_metric.update((rows[0].metric, rows) for rows in _with_blocks(members, score))
    return [row for metric in metrics for row in by_metric[metric.name]]


def _with_blocks(
    members: Sequence[Group], score: Callable[[Sequence[Group]], list[Score]]
) -> list[list[Score]]:
    """For each metric the value of the whole, and then a pseudo-value a block of prompts."""
    blocks = _blocks(members)
    without = [score([g for g in members if g.prompt.id not in block]) for block in blocks]
    block_scores = []
    for place, row in enumerate(score(members)):
        rows = [row]
        left = [scores[place].value for scores in without]
        known = [value for value in left if value is not None]
        if row.value is not None and len(known) >= max(2, len(left)):
            for number, value in enumerate(pseudo_values(row.value, known), start=1):
                texts = sum(len(g.texts) for g in members if g.prompt.id in blocks[number - 1])
                id = f"block {number} of {len(blocks)}"
                rows.append(replace(row, prompt_id=id, value=value, n=texts))
        block_scores.append(rows)
    return block_scores


def _blocks(groups: Sequence[Group]) -> list[set[str]]:
    """The ids of the prompts in at most BLOCKS blocks, the same for all models of a task."""
    ids = sorted(group.prompt.id for group in groups)
    count = min(BLOCKS, len(ids))
    return [set(ids[start::count]) for start in range(count)] if count > 1 else []


def score_here(chunks: Iterable[list[Half]]) -> Iterator[list[Rows]]:
    """The rows of each half, made in this process."""
    for halves in chunks:
        yield [score_each(*half) for half in halves]


def score_each(groups: Sequence[Group], metrics: Sequence[Metric], truncate: int | None) -> Rows:
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
    without = _without_text(group)
    scores = []
    for metric in metrics:
        value, reason = None, None
        n = group.states["responses"] if metric.needs == ("states",) else len(group.texts)
        try:
            if metric.passing is not None:
                n = len(metric.passing(inputs[metric.needs[-1]]))
            value = float(metric(*inputs.arguments(metric)))
            if not math.isfinite(value):
                value, reason = None, f"the metric gave {value}"
        except MetricInputError as undefined:
            reason = f"{undefined}{cut_to}{without if metric.reads == 'answers' else ''}"
        except MemoryError as error:
            raise MemoryError(
                f"the metric '{metric.name}' on prompt '{group.prompt.id}' of task "
                f"'{group.task}', model '{group.model}'"
            ) from error
        except Exception as error:  # a plug-in may fail in any way
            raise PluginError(
                f"The metric '{metric.name}' failed on prompt '{group.prompt.id}' of task "
                f"'{group.task}', model '{group.model}': {type(error).__name__}: {error}. "
                "Leave it out with --metric, or run with --debug to see where."
            ) from error
        place = (group.model, group.task, group.prompt.id)
        scores.append(Score(*place, metric.name, value, reason, n))
    return scores


def _without_text(group: Group) -> str:
    """Why there are fewer texts than responses, for the reason of a score; empty where not."""
    counts = {state: group.states[state] for state in ("empty", "filtered", "failed")}
    told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return f"; of {group.states['responses']} responses {told}" if told else ""


@contextmanager
def scoring_pool(workers: int) -> Iterator[Scorer]:
    """What `score_groups` scores with: this process for 1, else that many others.

    The scores do not depend on it. A worker finds the metrics by their names, so it needs them
    registered by an installed package, or by a file that the user names.

    Raises:
        ConfigError: a worker does not know a metric, or dies.
    """
    if workers == 1:
        yield score_here
        return
    # Forking a process that runs PyTorch's threads can hang.
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_prepare_worker,
        initargs=(loaded_files(),),
    )

    def share_out(half: Half) -> list[Future[Rows]]:
        groups, names, truncate = without_functions(half)
        share = max(1, -(-len(groups) // (2 * workers)))
        return [
            pool.submit(score_by_name, (groups[start : start + share], names, truncate))
            for start in range(0, len(groups), share)
        ]

    def score(chunks: Iterable[list[Half]]) -> Iterator[list[Rows]]:
        for halves in chunks:
            try:
                jobs = [share_out(half) for half in halves]
                yield [[row for job in some for row in job.result()] for some in jobs]
            except UnknownNameError as error:
                raise _unknown_to_worker(error) from error
            except BrokenProcessPool as error:
                leave_if_asked()  # a scheduler asks all processes to end, and they do so first
                raise ConfigError(
                    "A scoring process was ended from outside (too little memory?). What is scored "
                    "is kept; run the same command again with fewer --workers."
                ) from error

    try:
        yield score
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare_worker(files: Sequence[str]) -> None:
    """Run the files that the user has named; and Ctrl-C is for the parent alone to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for file in files:
        load_file(file)


def _unknown_to_worker(error: UnknownNameError) -> ConfigError:
    return ConfigError(
        f"A worker does not know a metric: {error} Register it by an entry point, or use "
        "--workers 1."
    )


Named = tuple[list[Group], list[tuple[str, tuple[str, ...]]], int | None]
"""A `Half` whose metrics another process finds by their names; they may need other tokens there."""


def without_functions(half: Half) -> Named:
    """A half that can be sent to another process."""
    groups, metrics, truncate = half
    return groups, [(metric.name, metric.needs) for metric in metrics], truncate


def score_by_name(half: Named) -> Rows:
    """The scores of each group of a half, in a process that knows the metrics."""
    groups, names, truncate = half
    return score_each(groups, [replace(find(name), needs=needs) for name, needs in names], truncate)
