"""Drawing the next token: a random stream for each row, and top-p without sorting the vocabulary.

Two facts keep this fast and exact.

- A row's numbers come from its own Philox stream, keyed by its seed. Which rows share a batch, and
  on which device, does not matter.
- A token lies in the nucleus exactly if the tokens more probable than it weigh less than `top_p`.
  So a draw from the whole distribution is checked in one pass. If it lies outside, the nucleus is
  among the more probable tokens, and the next draw is from those alone: rejection sampling whose
  proposals shrink (as in FlashInfer, arXiv:2501.01005). What is accepted is distributed as if the
  vocabulary had been sorted and cut.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor


class Draw(LogitsProcessor):  # type: ignore[misc]
    """A logits processor that draws the token itself and leaves nothing else to choose.

    Args:
        seeds: one per row; two rows of equal seed and equal logits draw the same tokens.
        temperature: 0 takes the most probable token.
        top_p: mass of the nucleus in (0, 1].

    `logprobs` grows by one (rows,) tensor a step: log-probability of the chosen token in nats
    under the model itself (temperature 1, nothing cut off); not finite where the logits are not.
    """

    def __init__(self, seeds: Sequence[int], temperature: float, top_p: float) -> None:
        self._streams = [np.random.Generator(np.random.Philox(key=seed)) for seed in seeds]
        self._temperature = temperature
        self._top_p = top_p
        self.logprobs: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Replace the logits, (rows, vocabulary), by 0 for the drawn token and -inf elsewhere."""
        if self._temperature == 1:
            probabilities = scores.softmax(-1)
            chosen = self._choose(probabilities)
            logprobs = probabilities.gather(1, chosen).log()
        else:
            if self._temperature == 0:
                chosen = scores.argmax(-1, keepdim=True)
            else:
                # Subtracting first: a tiny temperature must not overflow.
                tempered = (scores - scores.amax(-1, keepdim=True)) / self._temperature
                chosen = self._choose(tempered.softmax(-1))
            logprobs = scores.gather(1, chosen) - scores.logsumexp(-1, keepdim=True)
        self.logprobs.append(logprobs.squeeze(1))
        # `scores` is generate's own copy of the logits.
        return scores.fill_(-torch.inf).scatter_(1, chosen, 0.0)

    def _choose(self, probabilities: Tensor) -> Tensor:
        """One token a row, (rows, 1)."""
        rows = torch.arange(len(probabilities), device=probabilities.device)
        chosen = self._invert(probabilities, rows)
        if self._top_p == 1:
            return chosen
        live = probabilities
        while True:
            live = live * (live > live.gather(1, chosen[rows]))
            outside = live.sum(-1) >= self._top_p
            if not outside.any():
                return chosen
            rows, live = rows[outside], live[outside]
            chosen[rows] = self._invert(live, rows)

    def _invert(self, weights: Tensor, rows: Tensor) -> Tensor:
        """Inverse of the cumulative weights at a fresh uniform of each row, (len(rows), 1).

        In float32, in which both sides have a resolution of 2^-24; float64 took eight times as
        long on a CPU.
        """
        uniforms = [self._streams[row].random(dtype=np.float32) for row in rows.tolist()]
        cumulative = weights.cumsum(-1)
        target = torch.tensor(uniforms, device=weights.device)[:, None] * cumulative[:, -1:]
        index = torch.searchsorted(cumulative, target, right=True)
        # Only logits that are not numbers lead past the end; their log-probability tells.
        return index.clamp_(max=weights.shape[-1] - 1)
