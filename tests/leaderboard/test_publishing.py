from __future__ import annotations

import gzip
import json
import multiprocessing
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import errors
from support.boards import A, B, C, name_of, ranks, source, with_row

from tofu_eval.core.errors import DataError, StoreError
from tofu_eval.leaderboard import read_leaderboard, read_scores
from tofu_eval.leaderboard.board import Board, Source
from tofu_eval.leaderboard.file import file_content
from tofu_eval.leaderboard.publishing import Page, publish_directory, publish_git, publish_hub
from tofu_eval.leaderboard.publishing.versions import Past, parse_versions, read_history


def files(folder: Path) -> dict[str, bytes]:
    """What is in a folder, hidden files left out."""
    found = {p.name: p for p in folder.iterdir() if not p.name.startswith(".")}
    return {name: p.read_bytes() for name, p in sorted(found.items())}


def models(folder: Path) -> list[str]:
    board = read_leaderboard(folder / "leaderboard.json")
    return sorted(name_of(board, row) for row in board.rows)


def test_a_directory_grows_and_its_per_prompt_rows_with_it(
    manifest: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "board"
    first = publish_directory(folder, source(manifest, A, {"base": 5.0}))
    assert (first.rows, first.added, first.replaced) == (1, 1, 0)
    second = publish_directory(folder, source(manifest, B, {"tofu": 4.0}))
    assert (second.rows, second.added, second.replaced) == (2, 1, 0)
    board = read_leaderboard(folder / "leaderboard.json")
    assert ranks(board) == {"base": 1, "tofu": 2}
    scores = read_scores(board, folder)
    assert scores is not None
    assert len(scores) == 80
    assert list(files(folder)) == [*(file.file for file in board.scores), "leaderboard.json"]
    assert len(board.scores) == 2


def test_publishing_again_changes_nothing(manifest: dict[str, Any], tmp_path: Path) -> None:
    publish_directory(tmp_path, source(manifest, A, {"base": 5.0}))
    before = files(tmp_path)
    again = publish_directory(tmp_path, source(manifest, A, {"base": 5.0}))
    assert (again.added, again.write, again.remove) == (0, {}, ())
    assert files(tmp_path) == before


def test_a_dry_run_says_the_same_and_changes_nothing(
    manifest: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "board"
    one = source(manifest, A, {"base": 5.0})
    dry = publish_directory(folder, one, dry_run=True)
    assert not folder.exists()
    assert publish_directory(folder, one) == dry
    before = files(folder)
    assert publish_directory(folder, source(manifest, B, {"x": 1.0}), dry_run=True).added == 1
    assert files(folder) == before


def test_a_forged_board_is_never_merged_into(manifest: dict[str, Any], tmp_path: Path) -> None:
    publish_directory(tmp_path, source(manifest, A, {"base": 5.0}))
    path = tmp_path / "leaderboard.json"
    path.write_text(path.read_text("utf-8").replace('"n": 40', '"n": 41'), "utf-8")
    before = files(tmp_path)
    with pytest.raises(DataError, match=r"leaderboard.json at \$.hash: .* changed after"):
        publish_directory(tmp_path, source(manifest, B, {"tofu": 4.0}))
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("harm", "expected"),
    [("gone", "not its per-prompt rows"), ("changed", "expected the SHA-256")],
)
def test_per_prompt_rows_that_do_not_belong_are_named(
    manifest: dict[str, Any], tmp_path: Path, harm: str, expected: str
) -> None:
    publish_directory(tmp_path, source(manifest, A, {"base": 5.0}))
    (table,) = tmp_path.glob("*.parquet")
    table.unlink() if harm == "gone" else table.write_bytes(table.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match=expected):
        publish_directory(tmp_path, source(manifest, B, {"tofu": 4.0}))


def test_a_crash_before_the_board_leaves_the_old_one_whole(
    manifest: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_directory(tmp_path, source(manifest, A, {"base": 5.0}))
    board = read_leaderboard(tmp_path / "leaderboard.json")
    place = "tofu_eval.leaderboard.publishing.directory.write_bytes"
    from tofu_eval.run.files import write_bytes

    def dies(path: Path, content: bytes) -> None:
        if path.name == "leaderboard.json":
            raise KeyboardInterrupt
        write_bytes(path, content)

    monkeypatch.setattr(place, dies)
    with pytest.raises(KeyboardInterrupt):
        publish_directory(tmp_path, source(manifest, B, {"tofu": 4.0}))
    assert read_leaderboard(tmp_path / "leaderboard.json") == board
    assert read_scores(board, tmp_path) is not None
    monkeypatch.undo()
    publish_directory(tmp_path, source(manifest, B, {"tofu": 4.0}))
    assert models(tmp_path) == ["base", "tofu"]


ROUNDS, PUBLISHES, ROWS = 20, 2, 5


def _publish_all(manifest: dict[str, Any], who: int, root: Path, barrier: Any) -> None:
    """One of two processes: ten rows in two goes, into a new board each round."""
    for number in range(ROUNDS):
        barrier.wait(timeout=120)
        for go in range(PUBLISHES):
            names = [f"p{who}-{go}-{i}" for i in range(ROWS)]
            board = source(manifest, f"{who}{go}".rjust(16, "0"), dict.fromkeys(names, 1.0)).board
            publish_directory(root / str(number), Source("mine", board))


@pytest.mark.slow
def test_two_processes_at_once_lose_no_row_in_20_of_20(
    manifest: dict[str, Any], tmp_path: Path
) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    both = [
        context.Process(target=_publish_all, args=(manifest, who, tmp_path, barrier))
        for who in (1, 2)
    ]
    for process in both:
        process.start()
    for process in both:
        process.join()
        assert process.exitcode == 0
    counts = [len(set(models(tmp_path / str(number)))) for number in range(ROUNDS)]
    assert counts == [2 * PUBLISHES * ROWS] * ROUNDS


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", folder, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture
def clones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two clones of one bare repository, each with a first commit."""
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "ada@example.org")
    bare = tmp_path / "bare.git"
    subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", bare], check=True)
    made = [tmp_path / name for name in ("one", "two")]
    for folder in made:
        subprocess.run(["git", "clone", "--quiet", bare, folder], check=True, capture_output=True)
        if folder == made[0]:
            (folder / "notes.txt").write_text("notes\n")
            git(folder, "checkout", "--quiet", "-B", "main")
            git(folder, "add", "notes.txt")
            git(folder, "commit", "--quiet", "-m", "first")
            git(folder, "push", "--quiet", "-u", "origin", "main")
    return made


def test_git_commits_the_board_and_nothing_else(
    manifest: dict[str, Any], clones: list[Path]
) -> None:
    folder = clones[0]
    (folder / "notes.txt").write_text("mine, not to be committed\n")
    made = publish_git(folder, source(manifest, A, {"base": 5.0}), message="Add base")
    assert made.added == 1
    assert git(folder, "log", "-1", "--format=%s") == "Add base\n"
    shown = git(folder, "show", "--name-only", "--format=").split()
    assert sorted(shown) == sorted(made.write)
    assert git(folder, "status", "--porcelain").strip() == "M notes.txt"
    head = git(folder, "rev-parse", "HEAD")
    again = publish_git(folder, source(manifest, A, {"base": 5.0}), message="again")
    assert again.write == {}
    assert git(folder, "rev-parse", "HEAD") == head
    publish_git(folder, source(manifest, B, {"tofu": 4.0}), message="Add tofu")
    # What was published before is neither renamed nor written again.
    changed = git(folder, "show", "--name-status", "--format=").split()
    assert changed[0::2] == ["M", "A"] or changed[0::2] == ["A", "M"]
    assert len(git(folder, "ls-files", "*.parquet").split()) == 2


def test_git_pushes_on_top_of_what_others_pushed(
    manifest: dict[str, Any], clones: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tofu_eval.leaderboard.publishing import git as module

    one, two = clones
    publish_git(one, source(manifest, A, {"base": 5.0}), message="a", push=True)
    planned, first = module.directory_changes, []

    def while_others_push(folder: Path, board: Source, page: Page | None) -> Any:
        if not first:
            first.append(folder)
            made = planned(folder, board, page)
            monkeypatch.setattr(module, "directory_changes", planned)
            publish_git(one, source(manifest, B, {"gem": 3.0}), message="b", push=True)
            return made
        return planned(folder, board)

    monkeypatch.setattr(module, "directory_changes", while_others_push)
    publish_git(two, source(manifest, C, {"tofu": 4.0}), message="c", push=True)
    assert git(two, "log", "origin/main", "--format=%s").split() == ["c", "b", "a", "first"]
    assert models(two) == ["base", "gem", "tofu"]


def test_git_says_what_is_in_the_way(
    manifest: dict[str, Any], clones: list[Path], tmp_path: Path
) -> None:
    one = source(manifest, A, {"base": 5.0})
    with pytest.raises(StoreError, match="is not a git working tree"):
        publish_git(tmp_path, one, message="m")
    publish_git(clones[0], one, message="m")
    text = (clones[0] / "leaderboard.json").read_text("utf-8")
    (clones[0] / "leaderboard.json").write_text(text + "\n")
    with pytest.raises(StoreError, match=r"not committed: M leaderboard.json"):
        publish_git(clones[0], source(manifest, B, {"tofu": 4.0}), message="m")
    assert (clones[0] / "leaderboard.json").read_text("utf-8") == text + "\n"


class FakeHub:
    """The Hub's client as far as we speak to it: repositories are lists of commits."""

    def __init__(self, root: Path, exists: bool = True, kind: str = "dataset") -> None:
        self.root = root
        self.kind = kind
        self.commits: list[dict[str, bytes]] | None = [{}] if exists else None
        self.told: list[dict[str, Any]] = []
        self.before_commit: Any = None

    def _refuse(self, kind: type[Exception], status: int) -> Exception:
        response = SimpleNamespace(headers={}, request=None, status_code=status)
        return kind("refused", response=response)

    def repo_info(self, repo: str, *, repo_type: str, revision: str | None) -> Any:
        assert repo_type == self.kind
        if self.commits is None:
            raise self._refuse(errors.RepositoryNotFoundError, 404)
        return SimpleNamespace(sha=str(len(self.commits) - 1))

    def create_repo(self, repo: str, **how: Any) -> None:
        space = {"space_sdk": "static"} if self.kind == "space" else {}
        assert how == {"repo_type": self.kind, "private": True, "exist_ok": True, **space}
        self.commits = [{}]

    def hf_hub_download(self, repo: str, name: str, *, repo_type: str, revision: str) -> str:
        files = (self.commits or [])[int(revision)]
        if name not in files:
            raise self._refuse(errors.RemoteEntryNotFoundError, 404)
        path = self.root / f"{revision}-{name.replace('/', '-')}"
        path.write_bytes(files[name])
        return str(path)

    def create_commit(self, repo: str, operations: list[Any], **how: Any) -> None:
        if self.before_commit:
            before, self.before_commit = self.before_commit, None
            before()
        assert self.commits is not None
        if how["parent_commit"] != str(len(self.commits) - 1):
            raise self._refuse(errors.HfHubHTTPError, 412)
        files = dict(self.commits[-1])
        for change in operations:
            if hasattr(change, "path_or_fileobj"):
                files[change.path_in_repo] = change.path_or_fileobj
            else:
                del files[change.path_in_repo]
        self.commits.append(files)
        self.told.append(how)


def publish(hub: FakeHub, board: Source, **how: Any) -> Any:
    return publish_hub("ada/board", board, message="m", private=True, client=hub, **how)


def test_the_hub_gets_one_commit_and_a_repository(manifest: dict[str, Any], tmp_path: Path) -> None:
    hub = FakeHub(tmp_path, exists=False)
    one = source(manifest, A, {"base": 5.0})
    dry = publish(hub, one, dry_run=True)
    assert hub.commits is None
    assert publish(hub, one) == dry
    assert hub.commits is not None
    assert hub.commits[-1] == dry.write
    assert hub.told[0]["commit_message"] == "m"
    made = publish(hub, source(manifest, B, {"tofu": 4.0}), create_pr=True, revision="x")
    assert hub.told[1]["create_pr"]
    assert hub.told[1]["revision"] == "x"
    assert set(made.write) < set(hub.commits[-1])  # with the Parquet file that was there
    assert publish(hub, one).write == {}
    assert len(hub.commits) == 3


def test_the_hub_loses_nothing_where_somebody_commits_in_between(
    manifest: dict[str, Any], tmp_path: Path
) -> None:
    hub = FakeHub(tmp_path)
    publish(hub, source(manifest, A, {"base": 5.0}))
    hub.before_commit = lambda: publish(hub, source(manifest, B, {"gem": 3.0}))
    made = publish(hub, source(manifest, C, {"tofu": 4.0}))
    assert made.rows == 3
    assert hub.commits is not None
    (tmp_path / "out").mkdir()
    for name, content in hub.commits[-1].items():
        (tmp_path / "out" / name).write_bytes(content)
    assert models(tmp_path / "out") == ["base", "gem", "tofu"]


def test_what_the_hub_refuses_is_one_line(manifest: dict[str, Any], tmp_path: Path) -> None:
    hub = FakeHub(tmp_path)

    def refuse() -> None:
        raise hub._refuse(errors.HfHubHTTPError, 403)

    hub.before_commit = refuse
    with pytest.raises(StoreError, match=r"Cannot publish to the dataset ada/board: .*hf auth log"):
        publish(hub, source(manifest, A, {"base": 5.0}))
    assert hub.commits == [{}]


def test_an_unsound_board_is_not_published(manifest: dict[str, Any], tmp_path: Path) -> None:
    one = source(manifest, A, {"base": 5.0})
    one = replace(one, board=with_row(one.board, 0, value=float("nan")))
    with pytest.raises(DataError, match=r"The board for .*value: expected number or null, got NaN"):
        publish_directory(tmp_path / "x", one)


# Pages, and the versions that a place with one keeps


def site_of(board: Board, history: Sequence[Past]) -> dict[str, bytes]:
    """A page that says what it was made of."""
    told = {"hash": board.hash, "versions": [past.version.hash for past in history]}
    pages = {f"models/{model.id}.html": model.name.encode() for model in board.models}
    return {**pages, "index.html": json.dumps(told).encode()}


def page(day: int, *, wanted: bool = True) -> Page:
    return Page(site_of, datetime(2026, 3, day, tzinfo=UTC), wanted)


def test_a_place_with_a_page_keeps_every_version(manifest: dict[str, Any], tmp_path: Path) -> None:
    publish_directory(tmp_path, source(manifest, A, {"base": 5.0}), page=page(1))
    # From now on without being asked: a page that is out of date would be worse than none.
    publish_directory(tmp_path, source(manifest, B, {"tofu": 4.0}), page=page(2, wanted=False))
    board = read_leaderboard(tmp_path / "leaderboard.json")
    versions = parse_versions((tmp_path / "versions.json").read_bytes(), "versions.json")
    assert [version.published[:10] for version in versions] == ["2026-03-01", "2026-03-02"]
    assert [(version.models, version.rows) for version in versions] == [(1, 1), (2, 2)]
    told = json.loads((tmp_path / "index.html").read_bytes())
    assert told == {"hash": board.hash, "versions": [version.hash for version in versions]}
    history = read_history(versions, lambda name: (tmp_path / name).read_bytes(), "here")
    assert [past.board and past.board.hash for past in history] == [v.hash for v in versions]
    assert len(list((tmp_path / "models").iterdir())) == 2
    # Nothing new: nothing changes, and no version is added.
    again = publish_directory(tmp_path, source(manifest, B, {"tofu": 4.0}), page=page(3))
    assert (again.write, again.remove) == ({}, ())
    # A page of another make is made anew.
    (tmp_path / "index.html").write_text("old")
    again = publish_directory(tmp_path, source(manifest, B, {"tofu": 4.0}), page=page(3))
    assert "index.html" in again.write
    assert parse_versions((tmp_path / "versions.json").read_bytes(), "v") == versions


def test_a_place_without_a_page_gets_none_unasked(manifest: dict[str, Any], tmp_path: Path) -> None:
    publish_directory(tmp_path, source(manifest, A, {"base": 5.0}), page=page(1, wanted=False))
    assert not (tmp_path / "index.html").exists()
    assert not (tmp_path / "versions.json").exists()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        ("[]", "is no list of published versions"),
        ('{"versions": [{"hash": "x"}]}', "is no list of published versions"),
        ("gone", "lists the version sha256:.* and lacks versions/"),
        ("cut", "expected a whole packed board, got a part"),
        ("other", "expected the board sha256:.*, as versions.json says, got another"),
        ("bomb", "got a board of more than"),
        ("../../etc/passwd", "expected a hash like sha256"),
    ],
)
def test_a_history_that_was_changed_is_named(
    manifest: dict[str, Any], tmp_path: Path, harm: str, message: str, monkeypatch: Any
) -> None:
    publish_directory(tmp_path, source(manifest, A, {"base": 5.0}), page=page(1))
    index = tmp_path / "versions.json"
    (kept,) = (tmp_path / "versions").iterdir()
    match harm:
        case "gone":
            kept.unlink()
        case "cut":
            kept.write_bytes(kept.read_bytes()[:-40])
        case "other":
            board = replace(read_leaderboard(tmp_path / "leaderboard.json"), comparisons=())
            runs = tuple(replace(run, seed=99) for run in board.runs)
            kept.write_bytes(gzip.compress(file_content(replace(board, runs=runs))))
        case "bomb":
            monkeypatch.setattr("tofu_eval.leaderboard.publishing.versions.LARGEST", 1000)
        case "../../etc/passwd":
            listed = json.loads(index.read_text())
            listed["versions"][0]["hash"] = harm
            index.write_text(json.dumps(listed))
        case _:
            index.write_text(harm)
    before = (tmp_path / "leaderboard.json").read_bytes()
    with pytest.raises(DataError, match=message):
        publish_directory(tmp_path, source(manifest, B, {"tofu": 4.0}), page=page(2))
    assert (tmp_path / "leaderboard.json").read_bytes() == before


def test_a_static_space_gets_the_board_and_its_page(
    manifest: dict[str, Any], tmp_path: Path
) -> None:
    hub = FakeHub(tmp_path, exists=False, kind="space")
    publish(hub, source(manifest, A, {"base": 5.0}), kind="space", page=page(1))
    publish(hub, source(manifest, B, {"tofu": 4.0}), kind="space", page=page(2))
    assert hub.commits is not None
    files = hub.commits[-1]
    assert {"leaderboard.json", "index.html", "versions.json"} < files.keys()
    assert len([name for name in files if name.startswith("versions/")]) == 2
    assert len([name for name in files if name.startswith("models/")]) == 2
