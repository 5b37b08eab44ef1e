"""What a publisher to a git working tree is about to do, so that it is done whole or not at all.

Git makes a commit in several steps, and one that is killed leaves a lock that stops every later
one. The journal, in the tree's git directory, stands there while we publish: who finds it there
when nobody publishes takes back what was begun.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tofu_eval.core.errors import StoreError
from tofu_eval.core.secrets import strike_secrets
from tofu_eval.run.files import remove_file, write_bytes, write_json

TIMEOUT = 120.0
"""Seconds that git may take for a step."""

QUIET = ("-c", "maintenance.auto=false", "-c", "gc.auto=0")
"""Git tidies up behind its owner's commands, not behind ours."""

LOCKS = (
    *("index.lock", "HEAD.lock", "ORIG_HEAD.lock", "packed-refs.lock", "shallow.lock"),
    *("refs/**/*.lock", "next-index-*.lock"),
)
"""Files in its directory by which git keeps others out; the last stops nobody."""


Lock = list[str | int]
"""A lock's path, its inode and when it was written."""


class Journal:
    """Of one publishing; the caller holds the lock on `own`.

    Args:
        folder: of the working tree.
        own: our folder in its git directory.
        push: whether the commit is to be pushed, so that one that is not counts for nothing.
    """

    def __init__(self, folder: Path, own: Path, *, push: bool) -> None:
        self.folder, self.push = folder, push
        self._file = own / "publishing.json"
        self._kept = own / "kept"

    def begin(self, files: Sequence[str] = ()) -> None:
        """Write down where the tree stands, and which of its files will change."""
        kept = []
        for name in files:
            there = self.folder / name
            # What git does not hold is held here; what it does is as it says: nothing is changed.
            if there.exists() and not self._is_committed(name):
                write_bytes(self._kept / name, there.read_bytes())
                kept.append(name)
        head = run_git(self.folder, "rev-parse", "--verify", "--quiet", "HEAD", check=False)
        told = {
            "head": head,
            "push": self.push,
            "files": list(files),
            "kept": kept,
            "locks": self._locks(LOCKS),
        }
        write_json(self._file, told)

    def end(self) -> None:
        """All is done."""
        remove_file(self._file)
        for file in self._kept.rglob("*"):
            if file.is_file():
                remove_file(file)

    def undo(self, *, locks: bool = True) -> None:
        """Bring the tree back to where it stood, if a journal stands there.

        Args:
            locks: whether git was killed, and the locks since then are its own.

        Raises:
            StoreError: git or the disk refuses.
        """
        told = self._read()
        if told is None:
            return
        self._remove_locks(LOCKS if locks else LOCKS[-1:], told["locks"])
        head = told["head"]
        if told["push"] and head and run_git(self.folder, "rev-parse", "HEAD") != head:
            ahead = run_git(self.folder, "rev-list", "--count", "@{upstream}..HEAD", check=False)
            before = run_git(self.folder, "rev-parse", "HEAD~1", check=False)
            if ahead == "1" and before == head:
                run_git(self.folder, "reset", "--soft", "--quiet", head)
        for name in told["files"]:
            self._restore(name, kept=name in told["kept"])
        self.end()

    def _restore(self, name: str, *, kept: bool) -> None:
        if self._is_committed(name):
            run_git(self.folder, "checkout", "--quiet", "HEAD", "--", name)
            return
        run_git(self.folder, "rm", "--cached", "--quiet", "--ignore-unmatch", "--", name)
        if kept:
            write_bytes(self.folder / name, (self._kept / name).read_bytes())
        else:
            remove_file(self.folder / name)

    def _is_committed(self, name: str) -> bool:
        return bool(run_git(self.folder, "ls-tree", "--name-only", "HEAD", "--", name, check=False))

    def _read(self) -> dict[str, Any] | None:
        try:
            told: dict[str, Any] = json.loads(self._file.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            raise StoreError(
                f"Cannot read {self._file}: {error}. Remove it, look at `git status`, then publish "
                "again."
            ) from error
        return told

    def _remove_locks(self, patterns: Sequence[str], before: Sequence[Lock]) -> None:
        """The locks that git took after the journal was begun, and left when it was killed."""
        for lock in self._locks(patterns):
            if lock not in before:
                remove_file(self._file.parent.parent / str(lock[0]))

    def _locks(self, patterns: Sequence[str]) -> list[Lock]:
        """The locks that there are: told apart by which file each is, since clocks may be wrong."""
        folder = self._file.parent.parent
        found: list[Lock] = []
        for pattern in patterns:
            for path in folder.glob(pattern):
                with suppress(FileNotFoundError):  # git gave it back
                    facts = path.stat()
                    name = path.relative_to(folder).as_posix()
                    found.append([name, facts.st_ino, facts.st_mtime_ns])
        return found


def run_git(folder: Path, *arguments: str, check: bool = True) -> str:
    """What git prints.

    Args:
        folder: of the working tree.
        arguments: the command.
        check: whether a failure is an error; else it prints nothing.

    Raises:
        StoreError: git is not there, takes too long or, with `check`, fails.
    """
    try:
        done = subprocess.run(
            ["git", *QUIET, "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=TIMEOUT,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise StoreError(
            f"git {arguments[0]} failed in {folder}: {error}. Install git, or publish to a plain "
            "directory: --to"
        ) from error
    if done.returncode and check:
        reason = " ".join(strike_secrets(done.stderr or done.stdout).split())[:300]
        if done.returncode < 0:
            reason = f"it died of signal {-done.returncode}. {reason}"
        raise StoreError(
            f"git {arguments[0]} failed in {folder}: {reason}. Nothing is lost: mend that, then "
            "publish again."
        )
    return "" if done.returncode else done.stdout.strip()
