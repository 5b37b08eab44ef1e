"""Drawing the next token: a random stream for each row, and top-p without sorting the vocabulary.

Two facts keep this fast and exact.

- A row's numbers come from its own Philox stream, keyed by its seed. Which rows share a batch, and
  on which device, does not matter.
- A token lies in the nucleus exactly if the tokens more probable than it weigh less than `top_p`.
  So a draw from the whole distribution is checked in one pass. If it lies outside, the nucleus is
  among the more probable tokens, and the next draw is from those alone: rejection sampling whose
  proposals shrink (as in FlashInfer, arXiv:2501.01005). What is accepted is distributed as if the
  vocabulary had been sorted and cut.

Top-k, min-p and the repetition penalty are off unless they are asked for; they come before top-p,
in the order in which vLLM has them: penalty, temperature, min-p, top-k, top-p.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor

from tofu_eval.core.types import Sampling


class Draw(LogitsProcessor):  # type: ignore[misc]
    """A logits processor that draws the token itself and leaves nothing else to choose.

    Args:
        seeds: one per row; two rows of equal seed and equal logits draw the same tokens.
        sampling: temperature (0 takes the most probable token) and what is cut off.
        padding: how many of the first tokens of each row are no part of its prompt.

    `logprobs` grows by one (rows,) tensor a step: log-probability of the chosen token in nats
    under the model itself (temperature 1, nothing cut off); not finite where the logits are not.
    """

    def __init__(
        self, seeds: Sequence[int], sampling: Sampling, padding: Sequence[int] = ()
    ) -> None:
        self._streams = [np.random.Generator(np.random.Philox(key=seed)) for seed in seeds]
        self._sampling = sampling
        self._padding = padding
        self.logprobs: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Replace the logits, (rows, vocabulary), by 0 for the drawn token and -inf elsewhere."""
        temperature = self._sampling.temperature
        wanted = self._penalize(input_ids, scores)
        if temperature == 1 and wanted is scores:
            probabilities = scores.softmax(-1)
            chosen = self._choose(probabilities)
            logprobs = probabilities.gather(1, chosen).log()
        else:
            if temperature == 0:
                chosen = wanted.argmax(-1, keepdim=True)
            else:
                # Subtracting first: a tiny temperature must not overflow.
                tempered = (wanted - wanted.amax(-1, keepdim=True)) / temperature
                chosen = self._choose(tempered.softmax(-1))
            logprobs = scores.gather(1, chosen) - scores.logsumexp(-1, keepdim=True)
        self.logprobs.append(logprobs.squeeze(1))
        # `scores` is generate's own copy of the logits.
        return scores.fill_(-torch.inf).scatter_(1, chosen, 0.0)

    def _penalize(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The logits with those of tokens that were there brought down; `scores` where all stay."""
        penalty = self._sampling.repetition_penalty
        if penalty == 1:
            return scores
        there = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, input_ids, True)
        for row, width in enumerate(self._padding):
            if width:  # what fills up a row is not what its prompt says
                fill = input_ids[row, :width].unique()
                own = input_ids[row, width:].unique()
                there[row, fill[~torch.isin(fill, own)]] = False
        lowered = torch.where(scores > 0, scores / penalty, scores * penalty)
        return torch.where(there, lowered, scores)

    def _choose(self, probabilities: Tensor) -> Tensor:
        """One token a row, (rows, 1)."""
        rows = torch.arange(len(probabilities), device=probabilities.device)
        live = self._keep_likely(probabilities)
        mass = 1.0 if live is probabilities else live.sum(-1)
        chosen = self._invert(live, rows)
        if self._sampling.top_p == 1:
            return chosen
        while True:
            live = live * (live > live.gather(1, chosen[rows]))
            outside = live.sum(-1) >= self._sampling.top_p * mass
            if not outside.any():
                return chosen
            rows, live = rows[outside], live[outside]
            mass = mass if isinstance(mass, float) else mass[outside]
            chosen[rows] = self._invert(live, rows)

    def _keep_likely(self, probabilities: Tensor) -> Tensor:
        """What min-p and top-k leave, 0 elsewhere; the same tensor where both are off."""
        live = probabilities
        if self._sampling.min_p:
            least = live.amax(-1, keepdim=True) * self._sampling.min_p
            live = live * (live >= least)
        if 0 < self._sampling.top_k < live.shape[-1]:
            least = live.topk(self._sampling.top_k, dim=-1).values[:, -1:]
            live = live * (live >= least)  # what equals the last one stays with it
        return live

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
