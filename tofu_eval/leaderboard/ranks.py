"""Ranks that say no more than the tests of `compare` carry.

The rows of one task, metric and signature are ranked together; of a metric that is biased in the
number of responses, those of one such number. Rows of which length alone could tell one from the
other are not tested, nor those that share so few prompts that no result could be clear. Every other
pair is tested on the prompts that both have, as `compare` tests a difference, and the p-values of
the block are adjusted together. A row's rank is 1 + the number of rows that are significantly
better, directly or through a chain of such; its last rank leaves below it those that are
significantly worse in the same sense. So a row is never outranked by one that it significantly
beats, and rows that no test tells apart share their ranks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import pyarrow as pa

from tofu_eval.analysis.beats import Share, beats_others
from tofu_eval.analysis.direction import has_direction, sign_of_direction
from tofu_eval.analysis.equal_counts import LEAST
from tofu_eval.analysis.equal_lengths import LENGTH_RATIO
from tofu_eval.analysis.ranks import Rank, rank_models
from tofu_eval.leaderboard.board import BoardComparison, BoardMetric, BoardRow, RowKey
from tofu_eval.leaderboard.prompt_scores import clusters_by_row, defining_scores, values_by_row

BlockKey = tuple[str, str, str, str | None, int | None]
"""Task, metric, signature, the field that prompts are clustered by and, where it matters, the
number of responses."""

NO_DIRECTION = "the metric has no better end"
NO_VALUE = "no prompt has a value"
NO_SCORES = "not all rows that compare have per-prompt rows"
TOO_FEW = "fewer than two responses to a prompt"
UNEQUAL = "the number of responses differs from prompt to prompt"
FEW_PROMPTS = "no result could be clear on the few prompts that another row has too"
LENGTHS = "responses of unequal length, which moves the value"
VOIDED = "what voids the comparison with the rows that compare stands in a warning"
CLUSTERS = "rows that compare put one prompt into several clusters"


def block_key(row: BoardRow, metric: BoardMetric) -> BlockKey:
    """Which rows a row is ranked with."""
    responses = row.responses if metric.count_sensitive else None
    return row.task, row.metric, row.signature, row.cluster, responses


def reason_unranked(row: BoardRow, metric: BoardMetric) -> str | None:
    """Why a row can have no rank whatever its per-prompt rows are; None where it can."""
    if not has_direction(metric.direction):
        return NO_DIRECTION
    if row.value is None:
        return NO_VALUE
    if metric.count_sensitive and row.responses is None:
        return UNEQUAL
    if metric.count_sensitive and row.responses is not None and row.responses < LEAST:
        return TOO_FEW
    return row.void


def group_by_block(
    rows: Iterable[BoardRow], metrics: Mapping[str, BoardMetric]
) -> dict[BlockKey, list[BoardRow]]:
    """The rows that can be ranked, by what they are ranked with."""
    blocks: dict[BlockKey, list[BoardRow]] = defaultdict(list)
    for row in rows:
        metric = metrics[row.metric]
        if reason_unranked(row, metric) is None:
            blocks[block_key(row, metric)].append(row)
    return blocks


def rank_rows(
    rows: Iterable[BoardRow],
    metrics: Mapping[str, BoardMetric],
    scores: pa.Table,
    tasks: Mapping[str, str],
    comparisons: Iterable[BoardComparison] = (),
) -> tuple[BoardRow, ...]:
    """The rows of a board with their ranks, or with why they have none.

    Args:
        rows: of a board, in any order.
        metrics: of the board, by id.
        scores: per-prompt values, a table of BOARD_SCORE_SCHEMA.
        tasks: what each task is called by its id: as in a run, so that the random flips of a
            prompt are those of `compare`.
        comparisons: of the board; a pair that one of them voids is not tested.

    Raises:
        DataError: the scores hold two values for one prompt.
    """
    bare = [row.without_rank() for row in rows]
    void = list(comparisons)
    own = defining_scores(scores)
    values, clusters_of = values_by_row(own), clusters_by_row(own)
    ranked = {
        row.key: replace(row, unranked=reason_unranked(row, metrics[row.metric])) for row in bare
    }
    for key, members in group_by_block(bare, metrics).items():
        if not all(row.key in values for row in members):
            ranked |= {row.key: replace(row, unranked=NO_SCORES) for row in members}
            continue
        members.sort(key=lambda row: row.key)
        clusters = _clusters_of_block(members, clusters_of)
        if members[0].cluster is not None and clusters is None:
            ranked |= {row.key: replace(row, unranked=CLUSTERS) for row in members}
            continue
        void_pairs = _void_pairs(members, void)
        void_pairs |= dict.fromkeys(unequal_lengths(members), LENGTHS)
        untested = set(void_pairs)
        ranks = rank_models(
            {str(i): values[row.key] for i, row in enumerate(members)},
            higher=sign_of_direction(metrics[key[1]].direction) > 0,
            task=tasks[key[0]],
            clusters=clusters,
            untested={frozenset((str(i), str(j))) for i, j in untested},
        )
        shares = beats_others(
            [values[row.key] for row in members],
            sign=sign_of_direction(metrics[key[1]].direction),
            clusters=clusters,
            untested=untested,
        )
        why = {i: reason for pair, reason in void_pairs.items() for i in pair}
        for row in _rank_block(members, ranks, shares, why):
            ranked[row.key] = row
    return tuple(ranked[row.key] for row in bare)


def unequal_lengths(rows: Sequence[BoardRow]) -> set[tuple[int, int]]:
    """The places of rows whose responses are of lengths that tell them apart by themselves."""
    known = [(i, row.characters) for i, row in enumerate(rows) if row.characters is not None]
    return {
        (i, j)
        for (i, one), (j, other) in combinations(known, 2)
        if max(one, other) > LENGTH_RATIO * min(one, other)
    }


def _void_pairs(
    rows: Sequence[BoardRow], comparisons: Sequence[BoardComparison]
) -> dict[tuple[int, int], str]:
    """Why the comparison of rows of one run is void by a warning of it, by their places.

    That prompts are few, the test of a pair finds itself.
    """
    pairs: dict[tuple[int, int], str] = {}
    for one in comparisons:
        own = [(i, row) for i, row in enumerate(rows) if row.run == one.run]
        bases = [i for i, row in own if row.model in one.baseline]
        for warning in one.warnings:
            if not warning.voids or warning.kind in ("too_few_prompts", "no_common_prompts"):
                continue
            reason = LENGTHS if warning.kind == "lengths" else VOIDED
            for i, row in own:
                if i not in bases and warning.is_about(row):
                    pairs |= {(min(i, base), max(i, base)): reason for base in bases}
    return pairs


def _clusters_of_block(
    rows: Sequence[BoardRow], clusters_of: Mapping[RowKey, Mapping[str, str]]
) -> dict[str, str] | None:
    """The cluster of each prompt; None without any, or where rows contradict each other."""
    clusters: dict[str, str] = {}
    for row in rows:
        for prompt, cluster in clusters_of.get(row.key, {}).items():
            if clusters.setdefault(prompt, cluster) != cluster:
                return None
    return clusters or None


def _rank_block(
    rows: Sequence[BoardRow],
    ranks: Mapping[str, Rank],
    shares: Sequence[Share],
    why: Mapping[int, str],
) -> Iterator[BoardRow]:
    """The rows of one block, ranked; `ranks` are by their places, `why` says of places why they
    were not tested against another."""
    for i, row in enumerate(rows):
        rank = ranks.get(str(i))
        if rank is None:
            yield replace(row, unranked=why.get(i, FEW_PROMPTS))
            continue
        yield replace(
            row,
            rank=rank.rank,
            rank_last=rank.last,
            better_than=rank.better_than,
            worse_than=rank.worse_than,
            beats=shares[i].value,
            beats_low=shares[i].low,
            beats_high=shares[i].high,
        )
