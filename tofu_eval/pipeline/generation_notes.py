"""What a run's notes say of the responses that a model made, whichever call made them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from tofu_eval.core.types import Request
from tofu_eval.engines.base import LASTING, PASSING, SCORED, UNREAD
from tofu_eval.run.store import Run


def add_notes(run: Run, model: str, wanted: Sequence[Request]) -> None:
    """Tell what a reader of the run should know of a model's responses.

    Read off the disk: in which call a row was made, or whether a call was cut short, does not
    matter.
    """
    states: Counter[str] = Counter()
    first: dict[str, tuple[int, str]] = {}
    places = dict.fromkeys((request.model, request.task) for request in wanted)
    order = {request.key: i for i, request in enumerate(wanted)}
    for place in places:
        for row in run.response_ends(*place):
            if row["key"] not in order:
                continue
            reason = row["finish_reason"] or ""
            state = row["state"]
            states["drawn"] += reason != SCORED
            if state == "failed" and reason.startswith(UNREAD):
                state = "unread"
            states[state] += 1
            if state in ("failed", "filtered"):
                why = (order[row["key"]], describe_failure(row["prompt_id"], place[1], reason))
                first[state] = min(why, first.get(state, why))
    remarks = run.manifest.get("prompt_remarks", {}).get(model, [])
    notes = [
        *remarks,
        *_notes(model, len(wanted), states, {k: why for k, (_, why) in first.items()}),
    ]
    if notes:
        run.save(notes=[*run.manifest["notes"], *notes])


def _notes(
    model: str, wanted: int, states: Mapping[str, int], reasons: Mapping[str, str]
) -> Iterator[str]:
    if states["failed"]:
        yield (
            f"{model}: {states['failed']} of {wanted} responses failed and have no text; the "
            f"first: {reasons['failed']}"
        )
    if states["unread"]:
        yield (
            f"{model}: {states['unread']} of {wanted} responses could not be read out of the "
            "answers that should hold them; they count as failed"
        )
    if states["filtered"]:
        yield (
            f"{model}: {states['filtered']} of {wanted} responses were filtered and have no text; "
            f"the first: {reasons['filtered']}"
        )
    if states["drawn"] and states["unfinished"] == states["drawn"]:
        yield f"{model}: every response was cut at max_tokens; give more: --max-tokens"


def describe_failure(prompt: str, task: str, reason: str | None) -> str:
    """Which prompt it was, and why there is no text."""
    reason = reason or "no reason was given"
    for kind in (PASSING, LASTING):
        reason = reason.removeprefix(kind)
    return f"prompt '{prompt}' of task '{task}': {reason}"
