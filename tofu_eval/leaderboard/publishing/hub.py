"""Publishing to a dataset or a static Space of the Hugging Face Hub, in one commit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

from tofu_eval.core.errors import MissingDependencyError, StoreError, TofuEvalError
from tofu_eval.core.secrets import strike_secrets
from tofu_eval.leaderboard.board import Source
from tofu_eval.leaderboard.publishing.changes import Changes, Page, changes_of

ATTEMPTS = 5
"""How often to start again where others commit in between."""

Kind = Literal["dataset", "space"]

_MOVED = (409, 412)
"""What the Hub answers where the branch is no longer at the commit that ours stands on."""


def publish_hub(
    repo: str,
    source: Source,
    *,
    message: str,
    revision: str | None = None,
    create_pr: bool = False,
    private: bool | None = None,
    kind: Kind = "dataset",
    page: Page | None = None,
    dry_run: bool = False,
    client: Any = None,
) -> Changes:
    """Merge a board into the one of a repository, which is made if need be.

    The commit names the one that it stands on, and the Hub refuses it where somebody else was
    first; then it is made again from what they published, so nobody's rows are lost.

    Args:
        repo: `org/name`.
        source: the board to publish, with its per-prompt rows or without.
        message: of the commit.
        revision: branch; None is the main one.
        create_pr: as a pull request.
        private: for a repository that is made now; None as the owner's settings say.
        kind: of repository; a Space is one of static files, which shows its page.
        page: how the repository gets a page.
        dry_run: change nothing.
        client: what speaks to the Hub; by default `huggingface_hub.HfApi()`.

    Returns: what was changed, or would be.
    Raises:
        MissingDependencyError: huggingface-hub is not installed.
        DataError: what is there is no valid board, or the two contradict each other.
        StoreError: the Hub does not answer, or does not let us.
    """
    try:
        import huggingface_hub as hub
        from huggingface_hub import errors
    except ModuleNotFoundError as error:
        raise MissingDependencyError.of("Publishing to the Hub", "huggingface-hub", "hf") from error
    client = client or hub.HfApi()
    for attempt in range(ATTEMPTS):
        with _explaining(repo, kind):
            try:
                head = client.repo_info(repo, repo_type=kind, revision=revision).sha
            except errors.RepositoryNotFoundError:
                head = None
                if not dry_run:
                    client.create_repo(
                        repo,
                        repo_type=kind,
                        private=private,
                        exist_ok=True,
                        **({"space_sdk": "static"} if kind == "space" else {}),
                    )
                    head = client.repo_info(repo, repo_type=kind, revision=revision).sha
            changes = changes_of(repo, partial(_read, client, repo, kind, head), source, page)
            if dry_run or not changes.write:
                return changes
            operations = [
                *(hub.CommitOperationAdd(name, content) for name, content in changes.write.items()),
                *(hub.CommitOperationDelete(name) for name in changes.remove),
            ]
            try:
                client.create_commit(
                    repo,
                    operations,
                    commit_message=message,
                    repo_type=kind,
                    revision=revision,
                    create_pr=create_pr,
                    parent_commit=head,
                )
                return changes
            except errors.HfHubHTTPError as error:
                if error.response.status_code not in _MOVED or attempt == ATTEMPTS - 1:
                    raise
    raise AssertionError("the last attempt returns or raises")


def _read(client: Any, repo: str, kind: Kind, revision: str | None, name: str) -> bytes | None:
    from huggingface_hub import errors

    if revision is None:
        return None
    try:
        found = client.hf_hub_download(repo, name, repo_type=kind, revision=revision)
    except errors.EntryNotFoundError as error:
        if isinstance(error, errors.LocalEntryNotFoundError):  # the Hub did not answer
            raise
        return None
    return Path(found).read_bytes()


@contextmanager
def _explaining(repo: str, kind: Kind) -> Iterator[None]:
    """Whatever the Hub's client raises, in one line."""
    try:
        yield
    except TofuEvalError:
        raise
    except Exception as error:  # a network fails in many ways
        reason = " ".join(strike_secrets(str(error)).split())[:300]
        raise StoreError(
            f"Cannot publish to the {kind} {repo}: {type(error).__name__}: {reason}. Nothing is "
            "published: log in with a token that may write (hf auth login), then publish again."
        ) from error
