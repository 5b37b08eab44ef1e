"""A board held against the responses that came with it: they are scored again, and compared.

What lies in the folder is other people's. A copy is scored, of which nothing but the prompts, the
responses and the plain settings is taken: no score, no feature, no file of code, and, unless that
is allowed, no model or server that its settings name.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pyarrow as pa

from tofu_eval.core.config import Scoring
from tofu_eval.core.errors import DataError, TofuEvalError
from tofu_eval.core.scratch import scratch
from tofu_eval.core.sections import Setting, name_of, settings_of
from tofu_eval.core.types import Report, no_report
from tofu_eval.features.base import sections
from tofu_eval.features.settings import stored_settings
from tofu_eval.leaderboard.board import Board, BoardRow, RowKey, Source
from tofu_eval.leaderboard.prompt_scores import Values, defining_scores, is_close, values_by_row
from tofu_eval.leaderboard.view import metric_labels, model_labels, task_labels
from tofu_eval.metrics import Metric, find
from tofu_eval.pipeline.board import run_board
from tofu_eval.pipeline.rescore import rescore
from tofu_eval.run.files import write_json
from tofu_eval.run.store import Run
from tofu_eval.run.verify import runs_in, verify

TOLERANCE = 0.02
"""How far a value behind which a model stands may lie off, as a share of its interval's width.

Other machines sum in another order, and a text at a threshold may fall on its other side."""

_EXACT = ("n", "undefined", "responses")
_NUMBERS = ("value", "low", "high")
_PLAIN = tuple(name for name in Scoring.model_fields if name not in ("metrics", "device"))


@dataclass(frozen=True, slots=True)
class Difference:
    """A number of a board that its responses do not give."""

    row: int
    label: str
    fact: str
    expected: Any
    got: Any


@dataclass
class Verification:
    """What scoring again came to: rows that agree, that differ, and those nobody could score."""

    agreed: int = 0
    differing: list[Difference] = field(default_factory=list)
    unverified: dict[str, list[str]] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)

    def leave_out(self, reason: str, label: str) -> None:
        """Say why a row cannot be verified."""
        self.unverified.setdefault(reason, []).append(label)


def verify_board(
    source: Source,
    folder: Path,
    *,
    models: bool = False,
    device: str | None = None,
    report: Report = no_report,
) -> Verification:
    """Score the responses in a folder again and hold a board against what comes out.

    Args:
        source: the board, with its per-prompt rows or without.
        folder: a run directory, or one that holds run directories.
        models: whether models and servers that the settings of those runs name may be loaded and
            asked.
        device: for models.
        report: told about progress.

    Raises:
        DataError: there is no run of the board in the folder.
        StoreError: a run there cannot be read.
    """
    board, done = source.board, Verification()
    held = {run.manifest["id"]: run for run in map(Run.open, runs_in(folder))}
    known = [run for run in board.runs if run.id in held]
    if not known:
        raise DataError(
            f"{folder} holds {len(held)} run{'' if len(held) == 1 else 's'}, none of the board's: "
            f"expected {', '.join(run.id for run in board.runs[:5])}. Put the run directories with "
            "their responses there, or name the folder that has them."
        )
    labels = _labels(board)
    for run in board.runs:
        rows = [row for row in board.rows if row.run == run.id]
        if run.id not in held:
            for row in rows:
                done.leave_out(f"no responses of the run {run.id}", labels[row.key])
            continue
        done.runs.append(run.id)
        _verify_run(source, held[run.id], rows, labels, done, (models, device, report))
    return done


def _verify_run(
    source: Source,
    run: Run,
    rows: Sequence[BoardRow],
    labels: Mapping[RowKey, str],
    done: Verification,
    how: tuple[bool, str | None, Report],
) -> None:
    """Score one run again and compare its rows."""
    problems = verify(run.path).problems
    about = [p for p in problems if p.where.startswith(("responses/", "prompts/"))]
    if about:
        for row in rows:
            done.leave_out(f"{about[0].where} is not whole: {about[0].what}", labels[row.key])
        return
    models, device, report = how
    metrics = {name: _usable(name) for name in _names(run)}
    with scratch() as folder:
        copy = folder / "run"
        _copy_inputs(run, copy, models=models)
        usable = {name for name, problem in metrics.items() if isinstance(problem, Metric)}
        _score_copy(copy, usable, device, report)
        made = run_board(Run.open(copy), cluster=_cluster_of(rows))
    own = {row.key: row for row in made.board.rows}
    board = source.board
    ours = {} if made.scores is None else values_by_row(defining_scores(made.scores))
    theirs = {} if source.scores is None else values_by_row(defining_scores(_of(source, run)))
    places = {row.key: i for i, row in enumerate(board.rows)}
    given = _given(run)
    for row in rows:
        name = board.metric_by_id[row.metric].name
        metric, label = metrics.get(name), labels[row.key]
        wanted = own.get(row.key)
        if not isinstance(metric, Metric):
            done.leave_out(metric or f"the run was not scored with {name}", label)
        elif brought := sorted(given & set(metric.needs)):
            done.leave_out(f"stands on what its file says itself: {', '.join(brought)}", label)
        elif wanted is None:
            done.leave_out("the responses give no such row", label)
        elif wanted.signature != row.signature:
            hint = "" if models else "; models that the run names need --allow-models"
            done.leave_out(f"scored here as {wanted.signature}{hint}", label)
        else:
            found = [
                *_differences(row, wanted, exact=metric.cost == "cpu"),
                *_prompt_differences(
                    ours.get(row.key), theirs.get(row.key), exact=metric.cost == "cpu"
                ),
            ]
            done.differing += [Difference(places[row.key], label, *one) for one in found[:1]]
            done.agreed += not found


def _copy_inputs(run: Run, copy: Path, *, models: bool) -> None:
    """What scoring may stand on: prompts and responses, and the plain settings."""
    copy.mkdir(parents=True)
    for part in ("prompts", "responses"):
        for file in sorted((run.path / part).rglob("*.parquet")):
            if file.is_symlink() or not file.is_file():
                continue
            to = copy / file.relative_to(run.path)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, to)
    manifest = {
        **run.manifest,
        "settings": _safe_settings(run.manifest.get("settings", {}), models=models),
        "scored": [],
        "features": {},
        "metrics": {},
        "unread": {},
        "notes": [],
    }
    write_json(copy / "run.json", json.loads(json.dumps(manifest)))


def _safe_settings(stored: Mapping[str, Any], *, models: bool) -> dict[str, Any]:
    """Settings of others without what would run, load or ask anything, unless that is allowed."""
    kept = {name: stored[name] for name in _PLAIN if name in stored}
    for kind in sections():
        part = stored.get(name_of(kind))
        if not isinstance(part, Mapping):
            continue
        allowed = {
            one.name: part[one.name]
            for one in settings_of(kind)
            if one.name in part and _is_safe(one, part[one.name], models=models)
        }
        if allowed:
            kept[name_of(kind)] = allowed
    safe: dict[str, Any] = stored_settings(kept).model_dump(mode="json")
    return safe


def _is_safe(one: Setting, value: Any, *, models: bool) -> bool:
    """Numbers, switches and defaults are; a name may be a model, a server, or a file of code."""
    if value == one.default or isinstance(value, bool | int | float | None):
        return True
    if not isinstance(value, str) or value.endswith(".py"):
        return False
    return models or _is_choice(one, value)


def _is_choice(one: Setting, value: str) -> bool:
    """Whether a setting takes one of a few words, of which this is one."""
    return value in _words(one.kind)


def _words(kind: Any) -> list[Any]:
    """The words of a Literal, also within a union."""
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    return [word for part in get_args(kind) for word in _words(part)]


def _score_copy(copy: Path, usable: set[str], device: str | None, report: Report) -> None:
    run = Run.open(copy)
    scored = {
        task: [name for name in names if name in usable]
        for task, names in run.manifest.get("scored_metrics", {}).items()
    }
    write_json(copy / "run.json", {**run.manifest, "scored_metrics": scored})
    if any(scored.values()):
        options: dict[str, Any] = {} if device is None else {"device": device}
        rescore(copy, report=report, **options)


def _names(run: Run) -> list[str]:
    scored = run.manifest.get("scored_metrics", {})
    return list(dict.fromkeys(name for names in scored.values() for name in names))


def _usable(name: str) -> Metric | str:
    """The metric that is called so here, or why there is none."""
    try:
        return find(name)
    except TofuEvalError:
        return f"no metric here is called {name[:80]}"


def _given(run: Run) -> set[str]:
    """The features that the files of any model brought."""
    return {
        name
        for model in run.manifest["models"].values()
        for names in model.get("given", {}).values()
        for name in names
    }


def _cluster_of(rows: Sequence[BoardRow]) -> str | None:
    return next((row.cluster for row in rows if row.cluster is not None), None)


def _of(source: Source, run: Run) -> pa.Table:
    scores = source.scores
    assert scores is not None  # noqa: S101 (the caller asks)
    mask = [id == run.manifest["id"] for id in scores.column("run").to_pylist()]
    return scores.filter(pa.array(mask, pa.bool_()))


def _differences(row: BoardRow, made: BoardRow, *, exact: bool) -> Iterator[tuple[str, Any, Any]]:
    """(fact, what the responses give, what the board has) of all that does not agree."""
    for fact in _EXACT:
        if getattr(row, fact) != getattr(made, fact):
            yield fact, getattr(made, fact), getattr(row, fact)
    width = (made.high - made.low) if made.low is not None and made.high is not None else 0.0
    for fact in _NUMBERS:
        wanted, got = getattr(made, fact), getattr(row, fact)
        slack = 0.0 if exact else TOLERANCE * width
        if not _agree(wanted, got, slack):
            yield fact, wanted, got


def _prompt_differences(
    made: Values | None, got: Values | None, *, exact: bool
) -> Iterator[tuple[str, Any, Any]]:
    """Per-prompt rows that do not agree, on which the ranks stand."""
    if got is None or made is None:
        return
    if made.keys() != got.keys():
        yield "per-prompt rows", f"{len(made)} prompts", f"{len(got)}, or others"
        return
    numbers = np.array([value for value in made.values() if value is not None], np.float64)
    spread = float(numbers.std()) if len(numbers) else 0.0
    off = [key for key in made if not _agree(made[key], got[key], 0.0 if exact else spread)]
    gaps = {key: abs((made[key] or 0.0) - (got[key] or 0.0)) for key in made}
    mean_gap = sum(gaps.values()) / max(len(gaps), 1)
    if off or (not exact and mean_gap > TOLERANCE * spread):
        worst = off[0] if off else max(gaps, key=lambda key: gaps[key])
        yield f"per-prompt row of {worst}", made[worst], got[worst]


def _agree(wanted: float | None, got: float | None, slack: float) -> bool:
    if wanted is None or got is None:
        return wanted is got
    return is_close(wanted, got) or abs(wanted - got) <= slack


def _labels(board: Board) -> dict[RowKey, str]:
    """`vendi of tofu on open-prompts` for each row."""
    models, tasks, metrics = model_labels(board), task_labels(board), metric_labels(board)
    return {
        row.key: f"{metrics[row.metric]} of {models[row.run, row.model]} on {tasks[row.task]}"
        for row in board.rows
    }
