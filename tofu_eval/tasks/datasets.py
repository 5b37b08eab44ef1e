"""Prompts from a dataset of the Hugging Face Hub, or from a copy of it in a data folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tofu_eval.core.errors import MissingDependencyError, TofuEvalError
from tofu_eval.core.hub import TIMEOUT
from tofu_eval.core.scratch import scratch
from tofu_eval.tasks.problems import Placed, Problem, TaskError, one_line
from tofu_eval.tasks.rows import RowError, attach_answers, prompt_of
from tofu_eval.tasks.source_schema import UNPINNED, HubSource
from tofu_eval.tasks.sources import Prompts, check_all, missing_data_error, own_file, read_rows

COMMIT = 40
"""Hex digits of a whole commit."""


@dataclass(frozen=True)
class HubPrompts:
    """What loads a task whose prompts are a dataset of the Hub, without running its code.

    `line` is that of `dataset` in `task_file`. With `data_dir` nothing is asked of the Hub: the
    rows are in `TASK.jsonl` or `TASK.parquet` there, or the repository's files in a folder
    `OWNER__NAME` or `OWNER/NAME`.
    """

    source: HubSource
    task: str
    task_file: Path
    line: int
    data_dir: Path | None = None

    def __call__(self) -> Prompts:
        """Read the prompts.

        Raises:
            ConfigError: the data cannot be had, or a row is not a prompt.
            MissingDependencyError: the package `datasets` is not installed.
        """
        if self.data_dir is None:
            return self._from_hub()
        if own := own_file(self.data_dir, self.task):
            return read_rows(own, self.source)
        for name in self.source.folders:
            if (folder := self.data_dir / name).is_dir():
                return self._from_folder(folder)
        raise missing_data_error(self.task, self.data_dir, self.source.folders, self.fetch)

    @property
    def pinned(self) -> bool:
        """Whether the task file says which commit."""
        return self.source.revision != UNPINNED

    @property
    def pin(self) -> dict[str, str]:
        """What the task file says of its data."""
        config = {"config": self.source.name} if self.source.name else {}
        split = {"split": " or ".join(self.source.split)}
        return {"dataset": self.source.path, **config, **split, "revision": self.source.revision}

    @property
    def fetch(self) -> str:
        """The command that puts the repository's files where `data_dir` wants them."""
        at = f" --revision {self.source.revision}" if self.pinned else ""
        folder = f"{self.data_dir or 'DIR'}/{self.source.folders[0]}"
        return f"hf download {self.source.path} --repo-type dataset{at} --local-dir {folder}"

    def problem(self, text: str) -> TaskError:
        """An error at the line that names the data."""
        return TaskError([Problem(str(self.task_file), self.line, text)], str(self.task_file))

    def _from_hub(self) -> Prompts:
        source, name = self.source, f"dataset '{self.source.path}'"
        if self.pinned:
            name += f" at {source.revision[:7]}"
        with self._open_library(
            name, f"Without the Hub: --data-dir DIR, after {self.fetch}"
        ) as datasets:
            commit = _commit(source)
            split = source.split[0]
            if len(source.split) > 1:
                there = datasets.get_dataset_split_names(source.path, source.name, revision=commit)
                split = _first(source.split, there)
            rows = list(
                datasets.load_dataset(source.path, source.name, split=split, revision=commit)
            )
        told = {"dataset": source.path, "revision": commit, "split": split}
        return self._prompts(rows, name, split, told)

    def _from_folder(self, folder: Path) -> Prompts:
        source, name = self.source, f"dataset in {folder}"
        # Without the card, which says which files are of which configuration, its folder does.
        is_named = bool(source.name) and not (folder / "README.md").is_file()
        place = folder / str(source.name) if is_named else folder
        with self._open_library(name, f"Fetch it again: {self.fetch}") as datasets:
            config = None if is_named else source.name
            there = datasets.get_dataset_split_names(str(place), config)
            split = _first(source.split, there)
            # The library's cache knows a folder by its name alone, and gives another's rows.
            with scratch() as cache:
                rows = list(
                    datasets.load_dataset(str(place), config, split=split, cache_dir=str(cache))
                )
        told = {"dataset": source.path, "folder": folder.name, "split": split}
        return self._prompts(rows, name, split, told)

    @contextmanager
    def _open_library(self, name: str, advice: str) -> Iterator[Any]:
        """The package `datasets`; whatever goes wrong with it is one line."""
        try:
            import datasets
        except ImportError as error:
            raise MissingDependencyError.of(f"The {name}", "datasets", "hf") from error
        shown = not getattr(datasets, "are_progress_bars_disabled", lambda: True)()
        if shown:
            datasets.disable_progress_bars()  # they would run into ours
        try:
            yield datasets
        except TofuEvalError:
            raise
        except Exception as error:  # the Hub, the network and the dataset may fail in any way
            # Of this one, only the cause says anything.
            hidden = type(error).__name__ == "DatasetGenerationError" and error.__cause__
            what = f"the {name} cannot be loaded: {one_line(hidden or error)}"
            raise self.problem(f"{what}. {advice}") from error
        finally:
            if shown:
                datasets.enable_progress_bars()

    def _prompts(
        self, rows: list[Mapping[str, Any]], name: str, split: str, told: Mapping[str, str]
    ) -> Prompts:
        file = str(self.task_file)
        placed, problems = list[Placed](), list[Problem]()
        asked, rows = list[Mapping[str, Any]](), rows[: self.source.rows]
        for number, row in enumerate(rows, start=1):
            try:
                prompt = prompt_of(row, str(number), self.source.fields)
            except RowError as error:
                problems.append(Problem(file, self.line, f"row {number} of the {name}: {error}"))
                continue
            if prompt is not None:
                placed.append(Placed(prompt, self.line, f"row {number}"))
                asked.append(row)
        if (answers := self.source.fields.human_rows) is not None and not problems:
            try:
                placed = attach_answers(placed, asked, rows, answers)
            except RowError as error:
                problems.append(Problem(file, self.line, f"the {name}: {error}"))
        if not placed and not problems:
            problems.append(Problem(file, self.line, f"the {name} has no rows in '{split}'"))
        return Prompts(check_all(placed, problems, file), told)


def _first(wanted: list[str], there: list[str]) -> str:
    """The first split that is there, else the first wanted: the library says what is wrong."""
    return next((split for split in wanted if split in there), wanted[0])


def _commit(source: HubSource) -> str:
    """The whole commit; the Hub is asked where the task file has none, or only its beginning."""
    if len(source.revision) == COMMIT:
        return source.revision
    import huggingface_hub as hub

    api = hub.HfApi()
    if source.revision == UNPINNED:
        return str(api.dataset_info(source.path, timeout=TIMEOUT).sha)
    commits = api.list_repo_commits(source.path, repo_type="dataset")
    matches = [c.commit_id for c in commits if c.commit_id.startswith(source.revision)]
    if len(matches) != 1:
        raise LookupError(
            f"{len(matches)} commits of it begin with {source.revision}, expected one"
        )
    return str(matches[0])
