"""The answer in one sentence: what got narrower, by how much, how sure, at what quality."""

from __future__ import annotations

from tofu_eval.analysis.compare import Cell, Comparison, Row, is_clear
from tofu_eval.core.errors import UnknownNameError
from tofu_eval.report.formatting import estimate_text, p_text

LEADS = ("vendi", "mean_pairwise_cosine_distance", "self_bleu", "unique_rate", "distinct_2")
"""Which metric the sentence is about: the first of these that was measured, else the first metric
of diversity there is. The order is fixed beforehand, so that no metric is picked for its result."""

_MODELS = 6
"""Models that one sentence can hold: a sweep of temperatures has many."""

_TASKS = 2
"""Tasks whose numbers one sentence can hold."""

_WORDS = {-1: "narrower", 0: "not clearly different", 1: "wider"}


def headline(comparison: Comparison, *, metric: str | None = None) -> str:
    """One sentence a reader can quote about every model that is compared with the baseline.

    "Clear" is what `compare` marks with `**`: the interval of the difference excludes 0 and its
    p-value stays below 0.05 after Holm's adjustment over the whole comparison.

    Args:
        comparison: of `compare`.
        metric: what the sentence is about; by default the first of LEADS that is there.
    Raises:
        UnknownNameError: the comparison has no such metric.
    """
    rows = {row.metric: row for row in comparison.rows}
    if metric is not None and metric not in rows:
        raise UnknownNameError.of("metric", metric, rows, "tofu-eval compare RUN")
    others = [model for model in comparison.models if model != comparison.baseline]
    if not others:
        return f"There is only {comparison.baseline}: name a second model to compare it with."
    lead = metric or _lead(comparison)
    if lead is None:
        return "No metric of diversity was measured: nothing can be said about narrowing."
    clauses = [_clause(comparison, model, lead) for model in others[:_MODELS]]
    if len(others) > _MODELS:
        clauses.append(f"{len(others) - _MODELS} more are in the table")
    joined = clauses[0] if len(clauses) == 1 else f"{'; '.join(clauses[:-1])}; and {clauses[-1]}"
    return f"Compared with {comparison.baseline}, {joined}."


def _lead(comparison: Comparison) -> str | None:
    named = [row.metric for row in comparison.rows if _is_diversity(row)]
    return next((name for name in LEADS if name in named), next(iter(named), None))


def _is_diversity(row: Row) -> bool:
    return row.measures == "diversity" and row.direction != "none"


def _clause(comparison: Comparison, model: str, lead: str) -> str:
    """`sft is narrower (vendi -1.24 [-1.60, -0.90], …) at higher reward (…)`."""
    found = [(row, _cell(row, model)) for row in comparison.rows if row.metric == lead]
    known = [(row, cell) for row, cell in found if cell.difference and cell.difference.n]
    if not known:
        return f"nothing can be said about {model} ({lead} is not defined on the same prompts)"
    turns = [_turn(row, cell) for row, cell in known]
    tasks = len({row.task for row in comparison.rows})
    numbers = "; ".join(
        _amount(comparison, row, cell) + (f" on {row.task}" if len(known) > 1 else "")
        for row, cell in known[:_TASKS]
    )
    more = "; …" if len(known) > _TASKS else ""
    others = _agreement(comparison, model, lead, turns[0]) if tasks == 1 else ""
    verdict = _verdict(turns, known[0][0].task if tasks > 1 else "")
    return f"{model} is {verdict} ({numbers}{more}{others}), {_quality(comparison, model, tasks)}"


def _verdict(turns: list[int], task: str) -> str:
    """`narrower`, of one task; else how often each."""
    if len(turns) == 1:
        return _WORDS[turns[0]] + (f" on {task}" if task else "")
    parts = [f"{_WORDS[turn]} on {turns.count(turn)}" for turn in (-1, 1, 0) if turn in turns]
    return f"{', '.join(parts)} of {len(turns)} tasks"


def _turn(row: Row, cell: Cell) -> int:
    """-1 where the model is clearly less diverse than the baseline (worse, of quality), 1 more."""
    if not is_clear(cell) or cell.difference is None or cell.difference.value is None:
        return 0
    up = 1 if cell.difference.value > 0 else -1
    return -up if row.direction == "lower" else up


def _amount(comparison: Comparison, row: Row, cell: Cell) -> str:
    """`vendi -1.24 [-1.60, -0.90], from 4.52 to 3.28, p < 0.001`."""
    versus, base = cell.difference, _cell(row, comparison.baseline).mean.value
    if versus is None:  # of the baseline, which is not asked about
        return ""
    text = f"{row.metric} {estimate_text(versus.value, versus.low, versus.high, sign='+')}"
    if base is not None and cell.mean.value is not None:
        ends = [estimate_text(value, None, None) for value in (base, cell.mean.value)]
        text += f", from {ends[0]} to {ends[1]}"
    return text if cell.p_holm is None else f"{text}, {p_text(cell.p_holm)}"


def _agreement(comparison: Comparison, model: str, lead: str, turn: int) -> str:
    """How many other metrics of diversity are clear, and to which side."""
    turns = [
        _turn(row, _cell(row, model))
        for row in comparison.rows
        if _is_diversity(row) and row.metric != lead
    ]
    if not turns:
        return ""
    narrower, wider = turns.count(-1), turns.count(1)
    of = f"of {len(turns)} other diversity metrics"
    if turn:
        same, opposite = (narrower, wider) if turn < 0 else (wider, narrower)
        return f"; {same} {of} agree, {opposite} say the opposite"
    return f"; {of} {narrower} are clearly narrower, {wider} wider"


def _quality(comparison: Comparison, model: str, tasks: int) -> str:
    """What became of quality, by the first metric of it that was measured."""
    rows = [row for row in comparison.rows if row.measures == "quality" and row.direction != "none"]
    known = [(row, _cell(row, model)) for row in rows if row.metric == rows[0].metric]
    known = [(row, cell) for row, cell in known if cell.difference and cell.difference.n]
    if not known:
        return "quality not measured"
    words = {-1: "worse", 0: "not clearly different", 1: "better"}
    turns = [_turn(row, cell) for row, cell in known]
    shown = []
    for row, cell in known[:_TASKS]:
        versus = cell.difference
        if versus is not None:
            text = estimate_text(versus.value, versus.low, versus.high, sign="+")
            shown.append(f"{row.metric} {text}" + (f" on {row.task}" if tasks > 1 else ""))
    said = " and ".join(words[turn] for turn in (-1, 1, 0) if turn in turns)
    return f"quality {said} ({'; '.join(shown)}{'; …' if len(known) > _TASKS else ''})"


def _cell(row: Row, model: str) -> Cell:
    return next(cell for cell in row.cells if cell.model == model)
