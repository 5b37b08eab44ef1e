"""What a step would else wait for the device for: where labels are, whether a loss is finite.

Which tokens are learnt is looked up on the host, while a batch is made; a number of the device is
read when it has come, a step later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from tofu_eval.training.logit_losses import IGNORE

SUPERVISED = "supervised"
"""The input that says where a batch's labels are."""


class SupervisedCollator:
    """Another collator's batches, with an input more: where there is something to learn.

    `supervised` is (2, n): the rows of the labels, and how far from the row's end each stands,
    since what an adapter puts before a row (prompt tuning) moves its beginning.
    """

    def __init__(self, collate: Callable[[Sequence[Any]], dict[str, Any]]) -> None:
        self.collate = collate

    def __call__(self, rows: Sequence[Any]) -> dict[str, Any]:
        """Called by the data loader."""
        batch = dict(self.collate(rows))
        labels = batch.get("labels")
        if isinstance(labels, Tensor) and labels.device.type == "cpu":
            row, column = (labels[:, 1:] != IGNORE).nonzero().unbind(1)
            batch[SUPERVISED] = torch.stack([row, labels.shape[1] - 1 - column])
        return batch

    def __getattr__(self, name: str) -> Any:
        """What a trainer asks of its collator, such as `return_position_ids`."""
        if name == "collate":  # not there yet: this object is being unpickled
            raise AttributeError(name)
        return getattr(self.collate, name)


def flat_places(supervised: Tensor, labels: Tensor) -> Tensor:
    """Places in the flat, shifted `labels` of what `SupervisedCollator` has found."""
    row, from_end = supervised.to(labels.device)
    return row * labels.shape[1] + labels.shape[1] - from_end


class LateNumber:
    """A number that is on its way from the device; on a CPU it is there at once."""

    def __init__(self, value: Tensor) -> None:
        value = value.detach()
        self._event = None
        if value.is_cuda:
            self._there = torch.empty((), dtype=value.dtype, pin_memory=True)
            self._there.copy_(value, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record(torch.cuda.current_stream(value.device))  # not the current device's
        else:
            self._there = value

    @property
    def is_late(self) -> bool:
        """Whether reading it now would wait for the device."""
        return self._event is not None

    def read(self) -> float:
        """The number, once it has come."""
        if self._event is not None:
            self._event.synchronize()
        return float(self._there)
