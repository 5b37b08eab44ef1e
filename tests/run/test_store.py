"""The run directory: whole files or none, one writer, nothing lost."""

from __future__ import annotations

import json
import multiprocessing
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tofu_eval.core.errors import StoreError
from tofu_eval.core.types import Message, Prompt, Response
from tofu_eval.run.feature_cache import FeatureCache
from tofu_eval.run.files import atomic_write, write_bytes, write_json
from tofu_eval.run.store import Run, conflict


def rows(task: str, prompt: str, samples: range) -> list[Response]:
    return [
        Response(f"{task}-{prompt}-{i}", "m", task, prompt, i, f"text {i}", (1, i), "stop", -1.5, i)
        for i in samples
    ]


def test_prompts_come_back_as_they_went(tmp_path: Path) -> None:
    prompts = [
        Prompt.of_text("b", "Name a fruit. 🍎", references=["apple"], metadata={"k": "v"}),
        Prompt("a", (Message("system", "Be brief."), Message("user", "Hi"))),
    ]
    with Run.writing(tmp_path / "run") as run:
        run.write_prompts("t", prompts)
        assert run.prompts("t") == prompts


def test_responses_are_ordered_by_prompt_and_sample_whatever_the_order_of_parts(
    tmp_path: Path,
) -> None:
    with Run.writing(tmp_path / "run") as run:
        run.write_prompts("t", [Prompt.of_text("b", "B"), Prompt.of_text("a", "A")])
        run.add_responses("m", "t", rows("t", "a", range(2)))
        run.add_responses("m", "t", rows("t", "b", range(1, 3)))
        run.add_responses("m", "t", rows("t", "b", range(1)))
        table = run.responses("m", "t")
        assert table.column("key").to_pylist() == ["t-b-0", "t-b-1", "t-b-2", "t-a-0", "t-a-1"]
        assert table.column("token_ids").to_pylist()[2] == [1, 2]
        assert run.response_keys("m", "t") == set(table.column("key").to_pylist())


def test_a_failed_write_leaves_the_old_file_and_no_leftover(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"old": True})

    def fail(file: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(
        StoreError, match=r"Cannot write .*file\.json: No space left on device\. What is finished"
    ):
        atomic_write(path, fail)
    assert json.loads(path.read_text()) == {"old": True}
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_error_and_keeps_what_is_there(tmp_path: Path) -> None:
    # A real refusal by the operating system: no file of this process may exceed 4 KiB.
    code = textwrap.dedent("""
        import resource, signal, sys
        from pathlib import Path
        from tofu_eval.core.errors import StoreError
        from tofu_eval.run.files import write_json
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        path = Path(sys.argv[1])
        write_json(path, "small")
        try:
            write_json(path, "x" * 100_000)
        except StoreError as error:
            print(error)
    """)
    path = tmp_path / "file.json"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert "Cannot write" in done.stdout
    assert "File too large" in done.stdout
    assert json.loads(path.read_text()) == "small"
    assert [p.name for p in tmp_path.iterdir()] == ["file.json"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 4096  # ours is untouched
    assert signal.getsignal(signal.SIGXFSZ) is not None


def test_a_place_that_cannot_be_written_is_one_error() -> None:
    with (
        pytest.raises(StoreError, match=r"Cannot write /proc/nowhere: .* another --output"),
        Run.writing("/proc/nowhere"),
    ):
        pass


def test_nan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", float("nan"))


def _hold(path: str, ready: multiprocessing.synchronize.Event) -> None:
    with Run.writing(path):
        ready.set()
        signal.pause()


def test_two_processes_cannot_write_one_run_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(str(tmp_path / "run"), ready))
    holder.start()
    assert ready.wait(60)
    with (
        pytest.raises(StoreError, match="is being written by another process"),
        Run.writing(tmp_path / "run"),
    ):
        pass
    holder.kill()
    holder.join()
    with Run.writing(tmp_path / "run"):
        pass


def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    with Run.writing(tmp_path) as run:
        run.save(models={})
    leftover = tmp_path / "responses" / "m" / f".tmp-{'0' * 32}"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half")
    with Run.writing(tmp_path):
        assert not leftover.exists()


def test_a_file_that_somebody_is_writing_is_no_leftover(tmp_path: Path) -> None:
    def write(file: BinaryIO) -> None:
        file.write(b"first")
        write_bytes(tmp_path / "other", b"")  # looks for leftovers in the same folder

    atomic_write(tmp_path / "one", write)
    assert (tmp_path / "one").read_bytes() == b"first"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "other"]


def test_a_directory_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreError, match="is not empty and not a run"), Run.writing(tmp_path):
        pass
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"run\.json cannot be read: JSONDecodeError"),
        ("[1]", r"has format None, this tofu-eval reads 1"),
        ('{"format": 99}', r"has format 99, this tofu-eval reads 1"),
        ('{"format": 1}', r"run\.json is damaged: status: Field required"),
        ('{"format": 1, "status": "x", "models": [], "tasks": {}}', r"damaged: models: should be"),
        ('{"format": 1, "status": "x", "models": {"../x": {}}, "tasks": {}}', r"damaged: models"),
        (
            '{"format": 1, "status": "x", "models": {}, "tasks": {}, "scored": [1]}',
            r"damaged: scored\.0: should be a valid list",
        ),
        ("[" * 100_000, r"run\.json cannot be read: RecursionError"),
    ],
)
def test_a_manifest_that_is_none_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(StoreError, match=message):
        Run.open(tmp_path)


def test_no_run_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"is not a run: it has no run\.json\. Make one: tofu-"):
        Run.open(tmp_path)


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_a_damaged_part_is_found_and_named(tmp_path: Path, damage: str) -> None:
    with Run.writing(tmp_path) as run:
        run.write_prompts("t", [Prompt.of_text("p", "P")])
        run.add_responses("m", "t", rows("t", "p", range(50)))
        (part,) = tmp_path.glob("responses/m/t/part-000000-*.parquet")
        data = bytearray(part.read_bytes())
        if damage == "flip":
            data[60] ^= 0xFF
        part.write_bytes({"flip": data, "truncate": data[:-9], "empty": b""}[damage])
        with pytest.raises(
            StoreError, match=r"Cannot read .*part-000000-.*\.parquet: .*Delete that"
        ):
            run.responses("m", "t")


def test_a_feature_part_that_is_something_else_is_named(tmp_path: Path) -> None:
    with Run.writing(tmp_path) as run:
        run.features("embedding", "a" * 64).add(["x"], np.ones((1, 2), dtype=np.float32))
        (part,) = tmp_path.rglob("features/*/*/part-*.parquet")
        part.unlink()  # one without a checksum: what it holds is looked at
        pq.write_table(pa.table({"other": [1]}), part.with_name("part-000000.parquet"))
        with pytest.raises(StoreError, match=r"has no columns 'key' and 'row'\. Delete that file"):
            run.features("embedding", "a" * 64)


def test_a_stray_file_or_folder_in_a_run_does_no_harm(tmp_path: Path) -> None:
    with Run.writing(tmp_path) as run:
        run.save()
        run.write_prompts("t", [Prompt.of_text("p", "P")])
        run.add_responses("m", "t", rows("t", "p", range(1)))
        folder = tmp_path / "responses" / "m" / "t"
        (folder / "part-000000 (copy).parquet").write_bytes(b"")
        (folder / "part-1000000.parquet").write_bytes(
            next(folder.glob("part-000000-*")).read_bytes()
        )
        (tmp_path / ".tmp-folder").mkdir()
        run.add_responses("m", "t", rows("t", "p", range(1, 2)))
        assert list(folder.glob("part-1000001-*.parquet"))
    with Run.writing(tmp_path):
        assert (tmp_path / ".tmp-folder").is_dir()


def test_features_are_kept_by_key(tmp_path: Path) -> None:
    with Run.writing(tmp_path) as run:
        cache = run.features("embedding", "a" * 64)
        assert cache.find_missing(["x", "y", "x"]) == ["x", "y"]
        cache.add(["x"], np.array([[1.0, 2.0]], dtype=np.float32))
        again = run.features("embedding", "a" * 64)
        assert again.find_missing(["x", "y"]) == ["y"]
        again.add(["y"], np.array([[3.0, 4.0]], dtype=np.float32), truncated=1)
        third = run.features("embedding", "a" * 64)
        assert third.truncated == 1
        np.testing.assert_array_equal(third.rows(["y", "x", "y"]), [[3, 4], [1, 2], [3, 4]])
        assert run.features("embedding", "b" * 64).find_missing(["x"]) == ["x"]


def test_a_feature_cache_without_a_folder_writes_nothing(tmp_path: Path) -> None:
    cache = FeatureCache()
    cache.add(["x"], np.ones((1, 3), dtype=np.float32))
    assert cache.find_missing(["x"]) == []
    assert list(tmp_path.iterdir()) == []


def test_a_conflict_names_the_first_field_that_differs(tmp_path: Path) -> None:
    have = {"version": 1, "sampling": {"temperature": 1.0}}
    conflict(tmp_path, "task 't'", have, dict(have))
    with pytest.raises(
        StoreError,
        match=r"Cannot resume .*: its task 't' has temperature=1\.0, you asked for 0\.7\. Use a",
    ):
        conflict(tmp_path, "task 't'", have, {"version": 1, "sampling": {"temperature": 0.7}})


def test_a_feature_cache_keeps_what_fits_and_reads_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tofu_eval.run.feature_cache.BYTES_IN_MEMORY", 10 * 4 * 3)  # ten rows
    cache = FeatureCache(tmp_path)
    for part in range(6):
        rows = np.arange(12, dtype=np.float32).reshape(4, 3) + 100 * part
        cache.add([f"{part}.{row}" for row in range(4)], rows)
        assert sum(len(rows) for rows in cache._parts.values()) <= 10
    keys = [f"{part}.{row}" for row in (3, 0) for part in (5, 0, 2)]
    expected = [
        [100 * part + 3 * row + i for i in range(3)] for row in (3, 0) for part in (5, 0, 2)
    ]
    for own in (cache, FeatureCache(tmp_path)):
        np.testing.assert_array_equal(own.rows(keys), expected)
        assert own.find_missing(["5.3", "6.0", "x", "6.0"]) == ["6.0", "x"]


def test_the_digest_of_keys_does_not_depend_on_parts(tmp_path: Path) -> None:
    rows = [Response(f"k{i}", "m", "t", "p", i, "text") for i in range(5)]
    digests = []
    for name, parts in (("one", [rows]), ("two", [rows[3:], rows[:3]]), ("less", [rows[:4]])):
        with Run.writing(tmp_path / name) as run:
            for part in parts:
                run.add_responses("m", "t", part)
            assert run.count_keys("m", "t") == sum(map(len, parts))
            digests.append(run.key_digest("m", "t"))
    assert digests[0] == digests[1] != digests[2]
    with Run.writing(tmp_path / "none") as run:
        assert run.count_keys("m", "t") == 0


def test_a_run_is_not_written_to_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for address in ("s3://bucket/run", "gs://bucket/run", "file:///run"):
        with (
            pytest.raises(StoreError, match=r"is an address, .* Write to a folder and copy that"),
            Run.writing(Path(address)),
        ):
            pass
    assert list(tmp_path.iterdir()) == []
