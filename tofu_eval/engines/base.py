"""What an engine is: one method that turns requests into responses."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

from tofu_eval.core.types import Request, Response

LONGEST_REASON = 300
"""Characters of a finish reason."""


class Engine(Protocol):
    """A loaded model that generates.

    `family` names the kind of engine ("transformers", "vllm", …); rows of different families are
    never mixed. `identity` says exactly which model this is: file hashes or Hub revisions.

    An engine may also have `record` (JSON-able, kept in run.json after generating: what was in
    force) and, where one loading can serve several models, `shares` and `join`: engines of equal
    `shares` are joined into one, whose requests name their model. With `scores` true it answers a
    request that has a `completion` with that text and its log-probability after the prompt, in nats
    (finish reason "scored"), and draws nothing. `prepare()` begins what takes long, before the
    prompts are looked at.
    """

    family: str
    identity: Mapping[str, Any]

    def generate(
        self, requests: Sequence[Request], done: Collection[str] = ()
    ) -> Iterator[list[Response]]:
        """Yield the responses in lists; each list is saved before the next is asked for.

        `requests` are all that the run wants of this model, on all tasks, each with its own
        `sampling`; `done` are the keys that the run has already. An engine whose rows depend on
        their batch cuts batches from `requests` alone, skips those that are done and makes the
        others again as a whole, so that a resumed run equals an undisturbed one.

        Raises:
            ModelError: before the first list, where a request cannot be served (too long, …).
        """
        ...

    def close(self) -> None:
        """Give the model's memory back."""
        ...


SCORED = "scored"
"""The finish reason of a text that was given."""

PASSING = "error that may pass: "
"""How the finish reason of a failed response begins that a rerun asks for again."""

LASTING = "error: "
"""How that of any other failed response begins."""

UNREAD = "unread: "
"""How that of a response begins that could not be read out of an answer for several."""


def fail(
    request: Request, reason: str, *, passing: bool = False, filtered: bool = False
) -> Response:
    """The response to a request that was refused or not answered; its reason is kept."""
    kind = PASSING if passing else LASTING
    return Response(
        request.key, request.model, request.task, request.prompt_id, request.sample, "",
        finish_reason=f"{kind}{reason}"[:LONGEST_REASON],
        seed=request.seed,
        state="filtered" if filtered else "failed",
    )  # fmt: skip


def may_pass(response: Response) -> bool:
    """Whether a response failed for a reason that may pass."""
    return response.state == "failed" and (response.finish_reason or "").startswith(PASSING)


def truncate_at_stop(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """The text before the first of the stop strings, and whether there was one."""
    places = [place for word in stop if (place := text.find(word)) >= 0]
    return (text[: min(places)], True) if places else (text, False)


def score_response(
    request: Request, ids: tuple[int, ...] | None, logprob: float | None
) -> Response:
    """The response to a request with a completion: that text, and its log-probability."""
    return Response(
        request.key,
        request.model,
        request.task,
        request.prompt_id,
        request.sample,
        request.completion or "",
        ids,
        SCORED,
        logprob,
        request.seed,
    )
