"""NoveltyBench: `generations.jsonl`, `partitions.jsonl` and `scores.jsonl`.

Tool: novelty-bench, src/inference.py, src/partition.py, src/score.py.
Version: 1.0 (arXiv:2504.05228) and commit 2b29e9f.
Fields: `id`, `prompt`, `model`, `generations` (an empty list where the call failed); of the
    later files `partition` (the class of each), `generation_scores` (points from 1 to 10, 0 where
    a class was seen before).
Source: the three scripts' last lines, which write the rows.

The published partition is the feature "equivalence", the points are "reward_level": distinct_k
and utility_k follow without a model. The file's own `distinct` is one too low there and not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tofu_eval.importers.base import (
    Answer,
    File,
    Record,
    Row,
    RowError,
    importer,
    list_at,
    metadata_in,
    number_of,
    texts_of,
)

GIVEN = {"partition": "equivalence", "generation_scores": "reward_level"}


def _choose(files: Sequence[tuple[Path, Row]]) -> list[Path]:
    """Of the files of a folder those that say most: each says what the one before it said."""
    most = {
        path.parent: max(_count_given(row) for other, row in files if other.parent == path.parent)
        for path, _ in files
    }
    return [path for path, row in files if _count_given(row) == most[path.parent]]


def _count_given(row: Row) -> int:
    return sum(name in row for name in GIVEN)


@importer(
    "noveltybench",
    title="NoveltyBench",
    fields=("id", "prompt", "model", "generations"),
    columns=("id", "prompt", "model", "generations", *GIVEN),
    choose=_choose,
)
def noveltybench(file: File) -> Iterator[Record]:
    """A row a prompt, with all its generations."""
    names = [name for name in GIVEN if name in next(iter(file.rows()), {})]
    if names:
        file.say(" and ".join(f"{GIVEN[name]} from '{name}'" for name in names))
    for row in file.rows():
        texts = texts_of(row["generations"], "generations")
        given = {GIVEN[name]: _numbers(row, name, len(texts)) for name in names if texts}
        yield Record(
            [
                Answer(text, given={name: values[place] for name, values in given.items()})
                for place, text in enumerate(texts)
            ]
            or [Answer(None, state="failed")],
            prompt=row["prompt"],
            id=row["id"],
            model=row["model"],
            whole=True,
            metadata=metadata_in(file, row),
        )


def _numbers(row: Row, name: str, count: int) -> list[float]:
    values = [number_of(value) for value in list_at(row, name)]
    numbers = [value for value in values if value is not None]
    if len(numbers) < len(values) or len(values) != count:
        raise RowError(f"'{name}' must be a list of {count} numbers, one a generation")
    return numbers
