"""Whatever is done to a run's files, `runs verify` says so and the next call mends it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from support.fakes import FakeEngine

import tofu_eval as te
from tofu_eval.cli import main
from tofu_eval.core.errors import StoreError
from tofu_eval.core.tables import RESPONSE_SCHEMA
from tofu_eval.pipeline import evaluate as pipeline
from tofu_eval.run.files import parts_of, write_parquet, write_part
from tofu_eval.run.store import Run
from tofu_eval.run.verify import clean, leftovers, verify


def evaluate(output: Path) -> te.Result:
    prompts = [te.Prompt.of_text(f"p{i}", f"Name fruit {i}.") for i in range(3)]
    task = te.Task("fruit", 1, lambda: prompts, sampling=te.Sampling(samples=4, max_tokens=8))
    models = {"base": FakeEngine(), "sft": FakeEngine(3)}
    return te.evaluate(models, [task], output, metrics=["unique_rate"])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    evaluate(tmp_path / "run")
    return tmp_path / "run"


def part(run: Path, number: int = 1) -> Path:
    return parts_of(run / "responses" / "base" / "fruit")[number]


def scores(run: Path) -> Path:
    return parts_of(run / "scores" / "sft" / "fruit")[0]


def tables(run: Path) -> list[object]:
    opened = Run.open(run)
    rows = [opened.responses(model, "fruit").to_pylist() for model in ("base", "sft")]
    return [rows, opened.scores().to_pylist(), opened.estimates()]


def flip(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 0x01
    file.write_bytes(data)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])


def double(run: Path) -> None:
    write_part(run / "responses" / "base" / "fruit", pq.read_table(part(run)).slice(0, 2))


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "missing part": (
        lambda run: part(run).unlink(),
        "responses/base/fruit: 8 of 12 responses are there; missing: part-000001. To mend it: "
        "run the same command again; it makes the other 4.",
    ),
    "missing last part": (
        lambda run: part(run, 2).unlink(),
        "responses/base/fruit: 8 of 12 responses are there. To mend it",
    ),
    "truncated": (lambda run: truncate(part(run)), "it is damaged: its content does not fit the"),
    "empty": (lambda run: part(run).write_bytes(b""), "it is damaged: its content does not fit"),
    "prompts": (
        lambda run: truncate(run / "prompts" / "fruit.parquet"),
        "prompts/fruit.parquet: it is damaged",
    ),
    "scores": (lambda run: truncate(scores(run)), "scores/sft/fruit/part-000000-"),
    "missing scores": (lambda run: scores(run).unlink(), "scores/sft/fruit: its scores are not"),
    "doubled scores": (
        lambda run: write_part(scores(run).parent, pq.read_table(scores(run)).slice(0, 1)),
        "scores/sft/fruit: its scores are not",
    ),
    "estimates": (lambda run: truncate(run / "estimates.parquet"), "estimates.parquet: it is dam"),
    "board": (lambda run: truncate(run / "leaderboard.json"), "leaderboard.json: it is damaged"),
}


def test_a_whole_run(run: Path) -> None:
    report = verify(run)
    assert (report.problems, report.responses) == ((), 24)
    done = CliRunner().invoke(main, ["runs", "verify", str(run)])
    assert (done.exit_code, done.output) == (0, f"{run}: whole; 10 files, 24 responses.\n")


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named_and_mended_by_the_next_call(run: Path, damage: str) -> None:
    before = tables(run)
    do, message = DAMAGES[damage]
    do(run)
    assert any(message in str(problem) for problem in verify(run).problems)
    done = CliRunner().invoke(main, ["runs", "verify", str(run)])
    assert done.exit_code == 2
    assert message in done.output
    evaluate(run)
    assert tables(run) == before
    assert verify(run).problems == ()


def test_every_flipped_byte_is_found_and_costs_one_part(run: Path) -> None:
    before, whole = tables(run), part(run).read_bytes()
    for at in range(0, len(whole), 97):
        flip(part(run), at)
        (problem, count) = verify(run).problems
        assert "does not fit the checksum in its name" in problem.what
        assert "8 of 12 responses" in count.what
        part(run).write_bytes(whole)
    flip(part(run), 60)
    result = evaluate(run)
    assert [note for note in result.notes if "was damaged and set aside" in note]
    assert tables(run) == before
    assert len(leftovers(run)) == 1
    (gone,) = leftovers(run)
    assert clean(run) == [f"removed {gone.relative_to(run)}"]
    assert leftovers(run) == []


def test_prompts_are_read_once_a_task(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    prompts = Run.prompts

    def count(self: Run, task: str) -> list[te.Prompt]:
        read.append(task)
        return prompts(self, task)

    monkeypatch.setattr(Run, "prompts", count)
    assert len(parts_of(run / "responses" / "base" / "fruit")) > 1
    assert verify(run).problems == ()
    assert read == ["fruit"]


def test_a_doubled_key_is_found_and_cleaned(run: Path) -> None:
    before = tables(run)
    double(run)
    (problem,) = verify(run).problems
    assert "2 keys stand more than once" in problem.what
    shown = CliRunner().invoke(main, ["runs", "clean", str(run)])
    assert "2 keys stand more than once" in shown.output
    assert verify(run).problems
    done = CliRunner().invoke(main, ["runs", "clean", str(run), "--yes"])
    assert "dropped 2 doubled rows of responses/base/fruit/part-000003-" in done.output
    assert verify(run).problems == ()
    assert tables(run) == before


SHORTAGES = [
    pa.ArrowException("Unknown error: Failed to launch worker thread"),
    OSError(24, "Too many open files"),
]


@pytest.mark.parametrize("error", SHORTAGES, ids=["memory", "files"])
@pytest.mark.parametrize("command", ["verify", "clean"])
def test_a_shortage_is_no_damage(
    run: Path, monkeypatch: pytest.MonkeyPatch, command: str, error: Exception
) -> None:
    """Good files were set aside, or said to be damaged and to be deleted."""
    before = {p.relative_to(run) for p in run.rglob("*") if p.is_file()}

    def fail(*arguments: object, **named: object) -> None:
        raise error

    monkeypatch.setattr(pq, "ParquetFile", fail)
    yes = ["--yes"] if command == "clean" else []
    done = CliRunner().invoke(main, ["runs", command, str(run), *yes])
    assert done.exit_code == 2
    assert done.output.count("\n") == 1
    assert "Delete" not in done.output
    assert {p.relative_to(run) for p in run.rglob("*") if p.is_file()} == before


def test_rows_of_another_place_and_foreign_seeds(run: Path) -> None:
    table = pq.read_table(part(run))
    folder = run / "responses" / "sft" / "fruit"
    write_part(folder, table)
    assert any("4 rows are of another model" in str(p) for p in verify(run).problems)
    parts_of(folder)[-1].unlink()
    seeds = table.column("seed").to_pylist()
    index = RESPONSE_SCHEMA.get_field_index("seed")
    other = pa.array([seeds[0] ^ 1, *seeds[1:]], type=pa.uint32())
    odd = table.set_column(index, RESPONSE_SCHEMA.field("seed"), other)
    part(run).unlink()
    write_part(run / "responses" / "base" / "fruit", odd)
    assert any("1 rows have a seed that is not theirs" in str(p) for p in verify(run).problems)


def test_prompts_that_were_exchanged(run: Path) -> None:
    file = run / "prompts" / "fruit.parquet"
    write_parquet(file, pq.read_table(file).slice(0, 2))
    assert any("not those of run.json" in str(problem) for problem in verify(run).problems)


def test_prompts_that_cannot_be_are_a_problem_among_others(run: Path) -> None:
    file = run / "prompts" / "fruit.parquet"
    table = pq.read_table(file)
    long = pa.array(["x" * 5000, *table.column("id").to_pylist()[1:]])
    pq.write_table(table.set_column(0, table.schema.field(0), long), file)
    (problem,) = verify(run).problems
    assert str(problem).startswith("prompts/fruit.parquet: it is damaged: The id of a prompt may")


def test_a_run_of_files_that_lost_a_part(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"id": "p", "responses": ["x", "y"]}\n')
    pipeline.score_files([("a", file)], tmp_path / "run", metrics=["unique_rate"])
    assert verify(tmp_path / "run").problems == ()
    (lost,) = parts_of(tmp_path / "run" / "responses" / "a" / "responses")
    lost.unlink()
    assert "0 of 2 responses are there" in verify(tmp_path / "run").problems[0].what


def test_list_and_show(run: Path) -> None:
    listed = CliRunner().invoke(main, ["runs", "list", str(run.parent)])
    assert "complete" in listed.output
    assert "24 of 24" in listed.output
    shown = CliRunner().invoke(main, ["runs", "show", str(run)])
    assert "12 of 12" in shown.output
    assert "temperature=1.0" in shown.output
    empty = CliRunner().invoke(main, ["runs", "list", str(run / "prompts")])
    assert "No runs in" in empty.output


def test_what_is_no_run(tmp_path: Path) -> None:
    for action in (verify, clean, leftovers):
        with pytest.raises(StoreError, match="is not a run"):
            action(tmp_path / "none")
    assert not (tmp_path / "none").exists()
