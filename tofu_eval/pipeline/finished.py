"""Finished runs from Python: compared, put into a report, a frontier, a board.

Each function takes a run as its directory, as an open `Run`, or as the `Result` that made it; the
commands of the same names call the same code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tofu_eval.core.errors import ConfigError, UnknownNameError
from tofu_eval.core.names import check_name
from tofu_eval.run.store import Run

if TYPE_CHECKING:
    from tofu_eval.analysis.comparison import Comparison
    from tofu_eval.analysis.frontier import Frontier
    from tofu_eval.leaderboard.board import Board, Source
    from tofu_eval.leaderboard.merge import Merged
    from tofu_eval.leaderboard.publishing import Changes
    from tofu_eval.pipeline.evaluate import Result
    from tofu_eval.report.comparison_view import ComparisonView

    AnyRun = Run | Result | Path | str


def open_run(run: AnyRun) -> Run:
    """Open a run for reading.

    Args:
        run: its directory, or what `evaluate` returned.

    Raises:
        StoreError: there is no run, or its manifest is damaged.
        ConfigError: a result of `score`, which has no directory.
    """
    if isinstance(run, Run):
        return run
    path = run if isinstance(run, str | Path) else _path_of(run)
    if path is None:
        raise ConfigError(
            "These scores have no run directory: `score` keeps them in memory. "
            "Give `score_files` or `evaluate` an output, or compare the result itself."
        )
    return Run.open(path)


def _path_of(result: Any) -> Path | None:
    """Where a result was stored.

    Raises:
        ConfigError: it is no result.
    """
    from tofu_eval.pipeline.evaluate import Result

    if not isinstance(result, Result):
        raise ConfigError(
            f"Expected one run (its directory, a Run or a Result), got {result!r:.60}. "
            "Write: te.compare('runs/x')"
        )
    return result.path


def compare(
    run: AnyRun,
    baseline: str | None = None,
    *,
    tasks: Sequence[str] = (),
    metrics: Sequence[str] = (),
    series: Mapping[str, Sequence[str]] | None = None,
    cluster: str | None = None,
    margins: Mapping[str, float] | None = None,
    min_responses: int = 2,
    responses: int | None = None,
) -> ComparisonView:
    """Every model beside the baseline, prompt by prompt.

    Args:
        run: a run, or a result of `score` in memory.
        baseline: the model that the others are compared with; by default the first.
        tasks: only these; by default all.
        metrics: only these; by default all.
        series: models that are seeds of one method, by the method's name.
        cluster: a field of the prompts by which they are clustered; by default what their task
            says.
        margins: by metric, the difference below which two models count as equal.
        min_responses: responses a prompt below which it is left out.
        responses: compare everything at this number of responses a prompt.
    Returns: an object that prints as the table of `tofu-eval compare`, shows as a table in a
        notebook, and has `sentence`, `verdicts`, `to_pandas()` and `to_text(format)`.

    Raises:
        UnknownNameError: the run has no such model, task or metric.
        ConfigError: models named in two series.
    """
    from tofu_eval.analysis.compare_run import chosen_scores, compare_run
    from tofu_eval.report.comparison_view import ComparisonView

    if not isinstance(run, Run | str | Path) and _path_of(run) is None:
        if series:
            raise ConfigError("Scores in memory have no seeds: got series. Score into a run.")
        how = {"min_responses": min_responses, "responses": responses}
        return ComparisonView.of(
            _compare_in_memory(
                run, baseline, tasks, metrics, cluster=cluster, margins=margins or {}, **how
            )
        )
    opened = open_run(run)
    scores = chosen_scores(opened, tasks=tasks, metrics=metrics)
    return ComparisonView.of(
        compare_run(
            opened,
            scores,
            baseline,
            models=group_into_series(opened, series or {}),
            cluster=cluster,
            margins=margins,
            min_responses=min_responses,
            responses=responses,
        )
    )


def group_into_series(
    run: Run, series: Mapping[str, Sequence[str]]
) -> Mapping[str, Mapping[str, Any]]:
    """The models of run.json, of which some are said to be seeds of one method.

    Args:
        run: the run.
        series: the models of each method, by its name; two or more, none in two methods.

    Raises:
        UnknownNameError: the run has no such model.
        ConfigError: a method with fewer than two models, or a model in two methods.
    """
    models = {name: dict(entry) for name, entry in run.manifest["models"].items()}
    taken: set[str] = set()
    for name, members in series.items():
        if len(set(members)) < 2 or len(set(members)) != len(members):
            raise ConfigError(
                f"A series needs two models or more, each once; '{name}' got "
                f"{', '.join(members) or 'none'}."
            )
        for seed, member in enumerate(members):
            if member not in models:
                raise UnknownNameError.of("model", member, models, f"tofu-eval compare {run.path}")
            if member in taken:
                raise ConfigError(f"The model '{member}' is in two series. Name it in one.")
            taken.add(member)
            models[member] = {"series": check_name("series", name), "seed": seed}
    return models


def _compare_in_memory(
    result: Result,
    baseline: str | None,
    tasks: Sequence[str],
    metrics: Sequence[str],
    *,
    cluster: str | None,
    margins: Mapping[str, float],
    **how: Any,
) -> Comparison:
    from tofu_eval.analysis.compare import compare as compare_scores
    from tofu_eval.analysis.comparison import How

    scores = result.scores
    for noun, wanted in (("task", tasks), ("metric", metrics)):
        names = scores.column(noun).unique().to_pylist()
        for name in wanted:
            if name not in names:
                raise UnknownNameError.of(noun, name, names, "tofu-eval metrics list")
        if wanted:
            scores = scores.filter([name in wanted for name in scores.column(noun).to_pylist()])
    for name in margins:
        if name not in result.metrics:
            raise UnknownNameError.of("metric", name, result.metrics, "tofu-eval metrics list")
    if not scores.num_rows:
        raise ConfigError("There are no scores to compare. Give `score` groups of responses.")
    return compare_scores(
        scores,
        baseline or scores.column("model")[0].as_py(),
        metrics={name: fact["direction"] for name, fact in result.metrics.items()},
        smaller=result.smaller,
        how=How(
            facts=result.metrics,
            lengths=result.lengths,
            truncate=result.truncated,
            metadata=result.metadata,
            fields=dict.fromkeys(result.metadata, cluster) if cluster else {},
            unread=result.unread,
            margins=margins,
            **how,
        ),
    )


def write_report(
    run: AnyRun,
    output: Path | str | None = None,
    *,
    baseline: str | None = None,
    tasks: Sequence[str] = (),
    metrics: Sequence[str] = (),
    cluster: str | None = None,
    margins: Mapping[str, float] | None = None,
    min_responses: int = 2,
    responses: int | None = None,
) -> Path:
    """Write a run as one HTML page that loads nothing; returns its path.

    Args:
        run: a run with scores.
        output: the file; by default `report.html` in the run.
        baseline, tasks, metrics, cluster, margins, min_responses, responses: as `compare` has
            them.

    Raises:
        UnknownNameError: the run has no such model, task or metric.
        StoreError: it has no scores, or the file cannot be written.
    """
    from tofu_eval.report import read, write_page

    opened = open_run(run)
    path = Path(output) if output is not None else opened.path / "report.html"
    how = {
        "cluster": cluster,
        "margins": margins,
        "min_responses": min_responses,
        "responses": responses,
    }
    write_page(path, read(opened, baseline=baseline, tasks=tasks, metrics=metrics, how=how))
    return path


def frontier(
    run: AnyRun,
    *,
    quality: str,
    diversity: str,
    tasks: Sequence[str] = (),
    series: Sequence[str] = (),
    baseline: str | None = None,
    cluster: str | None = None,
    margins: Mapping[str, float] | None = None,
    min_responses: int = 2,
    responses: int | None = None,
) -> list[Frontier]:
    """Quality against diversity over models and temperatures, one frontier a task.

    Args:
        run: a run of one or several temperatures.
        quality: a metric of quality.
        diversity: a metric of diversity.
        tasks: only these; by default all that have both metrics.
        series: only these models, without their temperatures; by default all.
        baseline: the series that each other is put beside; by default every two.
        cluster, margins, min_responses, responses: as `compare` has them.

    Raises:
        UnknownNameError: the run has no such metric, task or series.
    """
    from tofu_eval.analysis.compare_run import how_of
    from tofu_eval.analysis.frontier import frontiers

    opened = open_run(run)
    return list(
        frontiers(
            opened.scores(),
            opened.manifest,
            tasks=tuple(tasks),
            quality=quality,
            diversity=diversity,
            series=tuple(series) or None,
            baseline=baseline,
            seed=opened.manifest["settings"]["seed"],
            smaller=opened.equal_scores(),
            how=how_of(
                opened,
                list(opened.manifest["tasks"]),
                cluster=cluster,
                margins=margins,
                min_responses=min_responses,
                responses=responses,
            ),
        )
    )


def build_board(runs: AnyRun | Sequence[AnyRun], output: Path | str | None = None) -> Board:
    """The leaderboard of one run or several, with their per-prompt rows.

    Args:
        runs: runs with scores.
        output: the file to write, with its per-prompt rows beside it; by default none is written.

    Raises:
        DataError: two runs measured one thing and disagree.
        StoreError: a run has no scores, or the file cannot be written.
    """
    from tofu_eval.leaderboard.merge import merge

    several = (
        [runs] if isinstance(runs, Run | str | Path) or not isinstance(runs, Sequence) else runs
    )
    return _save(merge([_source_of(open_run(run)) for run in several]), output)


def merge_boards(boards: Sequence[Board | Path | str], output: Path | str | None = None) -> Board:
    """One leaderboard of several people's, the same in any order; nothing is averaged.

    Args:
        boards: leaderboard files, or boards.
        output: the file to write; by default none is written.

    Raises:
        DataError: a file is not a whole leaderboard, or two measured one thing and disagree.
        ConfigError: no board is given.
    """
    from tofu_eval.leaderboard.merge import merge

    if not boards:
        raise ConfigError("No boards to merge. Give at least one: te.merge_boards(['a.json'])")
    return _save(merge([_as_source(board) for board in boards]), output)


def publish_board(
    board: Board | Path | str,
    *,
    to: Path | str | None = None,
    git: Path | str | None = None,
    hub: str | None = None,
    message: str = "tofu-eval leaderboard",
    page: bool = False,
    dry_run: bool = False,
) -> Changes:
    """Merge a leaderboard into the one that is published at a place; nobody's rows are lost.

    Args:
        board: a leaderboard file, or a board.
        to: a directory.
        git: a git working tree, in which a commit is made.
        hub: a dataset repository of the Hugging Face Hub, ORG/NAME.
        message: of the commit.
        page: give the place a page; one that is there is kept up to date in any case.
        dry_run: say what would change, and change nothing.
    Returns: what was written, added and replaced.

    Raises:
        ConfigError: not one place is named.
        DataError: the board's numbers are refused by `validate`.
    """
    from tofu_eval.leaderboard import publishing
    from tofu_eval.leaderboard.validate import validate
    from tofu_eval.pipeline.board import page_for

    source = _as_source(board)
    if sum(place is not None for place in (to, git, hub)) != 1:
        raise ConfigError("Expected one place of to, git and hub. Name where to publish.")
    validate(source)
    how: dict[str, Any] = {"page": page_for(page), "dry_run": dry_run}
    if to is not None:
        return publishing.publish_directory(Path(to), source, **how)
    if git is not None:
        return publishing.publish_git(Path(git), source, message=message, **how)
    return publishing.publish_hub(str(hub), source, message=message, **how)


def _as_source(board: Board | Path | str) -> Source:
    from tofu_eval.leaderboard.board import Source
    from tofu_eval.leaderboard.file import open_board

    if isinstance(board, str | Path):
        return open_board(Path(board))
    return Source("the board", board, None)


def _source_of(run: Run) -> Source:
    from tofu_eval.pipeline.board import run_board

    return run_board(run)


def _save(merged: Merged, output: Path | str | None) -> Board:
    from tofu_eval.leaderboard.publishing import save_board

    return merged.board if output is None else save_board(Path(output), merged)
