"""Publishing to a git working tree: a commit of the board, pushed if asked."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from tofu_eval.core.errors import StoreError
from tofu_eval.leaderboard.board import Source
from tofu_eval.leaderboard.publishing.changes import Changes, Page
from tofu_eval.leaderboard.publishing.directory import WAIT, directory_changes, write_changes
from tofu_eval.leaderboard.publishing.journal import Journal, run_git
from tofu_eval.run.files import hold_lock

ATTEMPTS = 5
"""How often to start again where others push in between."""


def publish_git(
    folder: Path,
    source: Source,
    *,
    message: str,
    push: bool = False,
    page: Page | None = None,
    dry_run: bool = False,
) -> Changes:
    """Merge a board into the one of a git working tree, and commit it.

    Only the board's own files are committed; whatever else is changed there stays as it is. With
    `push`, the branch is brought up to date first, and where somebody pushes in between, our commit
    is taken back and made again on top of theirs.

    Args:
        folder: of the working tree; the board lies in it.
        source: the board to publish, with its per-prompt rows or without.
        message: of the commit.
        push: to the branch's upstream.
        page: how the tree gets a page.
        dry_run: change nothing; what is compared with is the working tree as it is.

    Returns: what was changed, or would be.
    Raises:
        DataError: what is there is no valid board, or the two contradict each other.
        StoreError: it is no working tree, the board has changes that are not committed, or git
            refuses.
    """
    if run_git(folder, "rev-parse", "--is-inside-work-tree", check=False) != "true":
        raise StoreError(
            f"{folder} is not a git working tree. Make one: git clone URL {folder}, or publish to "
            "a plain directory: --to"
        )
    if dry_run:
        return directory_changes(folder, source, page)
    own = Path(run_git(folder, "rev-parse", "--absolute-git-dir")) / "tofu-eval"
    with hold_lock(own, wait=WAIT):
        journal = Journal(folder, own, push=push)
        journal.undo()  # what was begun by somebody who was killed
        try:
            changes = _publish(journal, source, message, page)
        except BaseException as error:
            # After an interrupt the next call does it: there is little time.
            if isinstance(error, Exception):
                with suppress(StoreError):  # then the next call does it too
                    journal.undo(locks="died of signal" in str(error))
            raise
        journal.end()
        return changes


def _publish(journal: Journal, source: Source, message: str, page: Page | None) -> Changes:
    folder = journal.folder
    for attempt in range(ATTEMPTS):
        journal.begin()
        if journal.push:
            run_git(folder, "pull", "--ff-only", "--quiet")
        changes = directory_changes(folder, source, page)
        if changes.write:
            _commit(journal, changes, message)
        if not journal.push or _push(folder, last=attempt == ATTEMPTS - 1):
            return changes
    raise AssertionError("the last attempt returns or raises")


def _commit(journal: Journal, changes: Changes, message: str) -> None:
    folder, files = journal.folder, [*changes.write, *changes.remove]
    if status := run_git(folder, "status", "--porcelain", "--", *files):
        raise StoreError(
            f"{folder} has changes that are not committed: {status.splitlines()[0].strip()}. "
            "Commit them or take them back, then publish again."
        )
    journal.begin(files)
    write_changes(folder, changes)
    tracked = set(run_git(folder, "ls-files", "--", *files).splitlines())
    files = [name for name in files if name in changes.write or name in tracked]
    run_git(folder, "add", "--force", "--all", "--", *files)
    run_git(folder, "commit", "--quiet", "--message", message, "--", *files)


def _push(folder: Path, *, last: bool) -> bool:
    """Push; where others were first, take our one commit back and say False."""
    try:
        run_git(folder, "push", "--quiet")
    except StoreError as error:
        ahead = run_git(folder, "rev-list", "--count", "@{upstream}..HEAD", check=False)
        if last or "rejected" not in str(error) or ahead != "1":
            raise
        # Keeps whatever else is changed in the working tree.
        run_git(folder, "reset", "--keep", "--quiet", "HEAD~1")
        return False
    return True
