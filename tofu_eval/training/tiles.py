"""What is done to a tile of logits: numbers of its tokens first, then the gradient in its place.

A tile is hidden @ weight.T of some tokens. PyTorch works through it a few rows at a time, so that
what it makes on the way stays in the processor's cache; on CUDA the kernels of `kernels.py` do the
same in two passes. Nothing here knows one loss from another.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from tofu_eval.training.logit_losses import expected_log, target_distribution, token_factors
from tofu_eval.training.losses import LossSpec, TokenStats

ROWS = 7
"""Numbers of a token that every loss has: the loss, cross-entropy, weight, entropy and hit, Σ p²,
and the factor of the entropy term. The largest log-probabilities follow, where a loss looks."""

LIFT_TO = 16.0
"""What the largest factor of a gradient's row is brought to in float16, whose smallest number is
6e-8. Far from its largest, 65504, since the product with the head comes on top."""

CPU_BLOCK = 2**19
"""Logits that PyTorch works on at a time: 2 MiB in float32, which stays in the processor's caches
and is enough for its threads not to wait for each other all the time."""

FEW_ROWS = 16
"""Rows that are multiplied one by one on a CPU."""

CUDA_BLOCK = 2**25
"""The same on CUDA, where each step is a kernel of its own: 128 MiB in float32."""


@dataclass(frozen=True, slots=True)
class Job:
    """What the tiles need besides the three tensors that may want a gradient."""

    spec: LossSpec
    y: Tensor
    known: tuple[Tensor, ...]  # position, length and, where the loss asks for it, the reference
    softcap: float | None
    scale: float
    chunk: int
    wants_grad: bool
    skip: bool | None  # whether its products leave out what is nearly nothing; None: not said
    collides: bool = True  # whether the loss looks at Σ p²


@dataclass(frozen=True, slots=True)
class TileReport:
    """What a tile says of its tokens.

    Args:
        rows: (ROWS + top, tokens), in `exact_dtype`.
        lift: (tokens,), by how much the rows of the gradient are too large: powers of two in
            float16, so that they fit it; what `_plain_tile` leaves to the products; else None.
        mass: (tokens, blocks), the gradient's absolute values, summed over blocks of columns;
            None where nobody looked.
    """

    rows: Tensor
    lift: Tensor | None = None
    mass: Tensor | None = None


Tile = Callable[[Tensor, Tensor | None, Tensor | None, slice, Job], TileReport]
"""Works on hidden @ weight.T of some tokens, whose rows may lie apart, in place: where the job
wants a gradient, that of the loss by what came in takes its place, in its dtype. What comes with
it is the head's bias, and `target_logits`, where there are any."""


def choose_tile(device: torch.device, dtype: torch.dtype, spec: LossSpec) -> Tile:
    """How tiles of products of this dtype are worked on; both ways give the same."""
    in_torch = spec.target is not None or spec.top > 0  # functions of the whole tile
    if device.type != "cuda" or dtype == torch.float64 or in_torch:
        return tile_in_torch
    if not has_triton():
        warnings.warn(
            "Triton is not installed, so the fused loss works in plain PyTorch: the result is the "
            "same, but it takes more time and memory. Install it: pip install triton",
            stacklevel=2,
        )
        return tile_in_torch
    return tile_in_triton


@cache
def has_triton() -> bool:
    """Whether the kernels can be used."""
    return importlib.util.find_spec("triton") is not None


def exact_dtype(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """What the few numbers of a token are worked out in.

    A log-probability of -20 is rounded by 1e-6 in float32, and with it any weight that is a power
    of p. In float64 it is as exact as the logits, at the price of some numbers a token; not every
    kind of device has float64.
    """
    has_it = device.type in ("cpu", "cuda")
    return torch.float64 if has_it else torch.promote_types(dtype, torch.float32)


@dataclass(frozen=True, slots=True)
class Numbers:
    """What is known of a tile's tokens before the loss is asked; (tokens,) each, in `exact_dtype`.

    Args:
        log_total: log of the sum of exp(d), with d the distance of a logit to the row's largest.
        log_p: the target's log-probability.
        entropy: in nats.
        collision: Σ p²; NaN where the loss does not look at it.
        hit: 1 where no logit is larger than the target's, else 0.
    """

    log_total: Tensor
    log_p: Tensor
    entropy: Tensor
    collision: Tensor
    hit: Tensor

    @classmethod
    def from_sums(
        cls, wanted: Tensor, hit: Tensor, total: Tensor, moment: Tensor, squares: Tensor
    ) -> Numbers:
        """From the target's d, and the sums of exp(d), d · exp(d) and exp(d)²."""
        log_total = total.log()
        log_p = log_share(wanted, total)
        return cls(log_total, log_p, log_total - moment / total, squares / total.square(), hit)

    def factors(
        self, part: slice, job: Job, top: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """w of each token, and c of the entropy term, where there is one."""
        if top is None:
            top = self.log_p.new_empty(len(self.log_p), 0)
        position, length, *reference = (x[part].to(self.log_p.dtype) for x in job.known)
        stats = TokenStats(
            self.log_p, position, length, self.entropy, self.collision, top, *reference
        )
        return token_factors(job.spec, stats)

    def rows(
        self, spec: LossSpec, weight: Tensor, factor: Tensor | None, tempered: Tensor
    ) -> Tensor:
        """(ROWS, tokens), from log softmax(z/β)[y] or what is expected in its place."""
        loss = -weight * spec.temperature * tempered
        if factor is not None:
            loss = loss - factor * self.entropy
        kept = torch.zeros_like(loss) if factor is None else factor
        return torch.stack(
            [loss, -self.log_p, weight, self.entropy, self.hit, self.collision, kept]
        )


def log_share(wanted: Tensor, total: Tensor) -> Tensor:
    """log of exp(wanted) / total, at most 0 whatever the last bit is."""
    return (wanted - total.log()).clamp(max=0)


def tile_in_triton(
    product: Tensor, bias: Tensor | None, own: Tensor | None, part: slice, job: Job
) -> TileReport:
    """A `Tile` by the kernels."""
    from tofu_eval.training import kernels

    spec = job.spec
    logits = kernels.Logits(
        product, job.y[part], bias, job.scale, job.softcap, temperature=spec.temperature
    )
    found = kernels.read(logits).to(exact_dtype(product.device, product.dtype))
    seen, largest, total, tempered_total, moment, squares = found.unbind()
    wanted = (seen if own is None else own) - largest
    mine = wanted.exp()  # the kernel's sums are over all but the target
    tempered_total = tempered_total + (wanted / spec.temperature).exp()
    numbers = Numbers.from_sums(
        wanted,
        (seen >= largest).to(wanted.dtype),
        total + mine,
        moment + torch.special.xlogy(mine, mine),
        squares + mine.square(),
    )
    weight, factor = numbers.factors(part, job)
    tempered = log_share(wanted / spec.temperature, tempered_total)
    rows = numbers.rows(spec, weight, factor, tempered)
    if not job.wants_grad:
        return TileReport(rows)
    lift, weight, factor = lift_factors(weight, factor, job.scale, product.dtype)
    softmax = kernels.Softmax(
        numbers.entropy, largest, tempered_total.log(), numbers.log_total, torch.expm1(tempered)
    )
    mass = kernels.overwrite(logits, weight, factor, softmax, masses=bool(job.skip))
    return TileReport(rows, lift, mass)


def lift_factors(
    weight: Tensor, factor: Tensor | None, scale: float, dtype: torch.dtype
) -> tuple[Tensor | None, Tensor, Tensor | None]:
    """A power of two a row that keeps its gradient in float16's range, and the factors times it."""
    if dtype != torch.float16:
        return None, weight, factor
    largest = weight.abs() if factor is None else torch.maximum(weight.abs(), factor.abs())
    _, exponent = torch.frexp(largest.float() * abs(scale) / LIFT_TO)
    exponent = torch.where(largest > 0, exponent, -100).clamp(-100, 100)
    lift = torch.ldexp(torch.ones_like(weight), -exponent)
    return lift.float(), weight * lift, None if factor is None else factor * lift


def target_logits(
    hidden: Tensor, head: Tensor, bias: Tensor | None, y: Tensor, job: Job
) -> Tensor | None:
    """The targets' own logits in float64, where the products are in float32 on a CPU; else None.

    A product of float32 is off by 2e-6 at a logit of 10, and where p is near 1 that is what 1 - p
    is made of.
    """
    if hidden.dtype != torch.float32 or hidden.device.type != "cpu":
        return None
    u = torch.einsum("th,th->t", hidden.double(), head[y].double())
    u = job.scale * (u if bias is None else u + bias[y])
    return u if job.softcap is None else job.softcap * torch.tanh(u / job.softcap)


def tile_in_torch(
    product: Tensor, bias: Tensor | None, own: Tensor | None, part: slice, job: Job
) -> TileReport:
    """A `Tile` by PyTorch, a few rows at a time."""
    block = CUDA_BLOCK if product.is_cuda else CPU_BLOCK
    few = max(1, block // product.shape[1])
    rare = (job.spec.target, job.spec.entropy, job.softcap)
    if product.dtype == torch.float32 and not job.spec.top and all(x is None for x in rare):
        return _plain_tile(product, bias, own, part, job, few)
    done, start = [], part.start
    for some in product.split(few):
        end = start + len(some)
        rows = slice(start, end)
        mine = None if own is None else own[start - part.start : end - part.start, None]
        done.append(_rows_in_torch(some, bias, mine, rows, job))
        start = end
    reports, lifts = zip(*done, strict=True)
    return TileReport(torch.cat(reports, 1), None if lifts[0] is None else torch.cat(lifts))


def _plain_tile(
    product: Tensor, bias: Tensor | None, own: Tensor | None, part: slice, job: Job, few: int
) -> TileReport:
    """Of a loss that is w and β alone, in float32: exp(z/β) waits in the tile's place until the
    numbers of all its tokens are there, which are then worked out at once. What a row is to be
    divided by is left to the products, whose results are smaller than the tile."""
    spec, y = job.spec, job.y[part, None]
    buffer, sums = torch.empty_like(product[:few]), []
    for start in range(0, len(product), few):
        some = slice(start, start + few)
        mine = None if own is None else own[some, None]
        sums.append(_exponentiate(product[some], bias, mine, y[some], buffer, job))
    wanted, hit, total, moment, squares, tempered_total = torch.cat(sums, 1).unbind()
    numbers = Numbers.from_sums(wanted, hit, total, moment, squares)
    weight, _ = numbers.factors(part, job)
    tempered = log_share(wanted / spec.temperature, tempered_total)
    rows = numbers.rows(spec, weight, None, tempered)
    if not job.wants_grad:
        return TileReport(rows)
    product.scatter_(1, y, (tempered_total * torch.expm1(tempered))[:, None].to(product.dtype))
    return TileReport(rows, (tempered_total / (job.scale * weight)).to(product.dtype))


def _exponentiate(
    z: Tensor, bias: Tensor | None, own: Tensor | None, y: Tensor, buffer: Tensor, job: Job
) -> Tensor:
    """Turn products into exp(d/β) in place, with d as in `Numbers`.

    Returns: (6, tokens), the target's d, its hit, and the sums of exp(d), d · exp(d), exp(d)² and
        exp(d/β).
    """
    _bring_to_logits(z, bias, job)
    wanted, hit = _subtract_largest(z, own, y)
    e = torch.exp(z, out=buffer[: len(z)])
    total = _sum_apart(e, wanted, y)
    moment, squares = _moments(e, z), _squares(e, job)
    tempered_total = total
    if job.spec.temperature == 1:
        z.copy_(e)
    else:
        torch.exp(z.div_(job.spec.temperature), out=z)
        tempered_total = _sum_apart(z, wanted / job.spec.temperature, y)
    columns = (wanted, hit, total, moment[:, None], squares[:, None], tempered_total)
    return torch.cat([x.to(total.dtype) for x in columns], 1).t()


def _rows_in_torch(
    product: Tensor, bias: Tensor | None, own: Tensor | None, part: slice, job: Job
) -> tuple[Tensor, Tensor | None]:
    """All that is as large as the tile is at most two blocks, and one more each for a soft-cap, an
    entropy term and a target."""
    spec, y = job.spec, job.y[part, None]
    z = product.to(torch.promote_types(product.dtype, torch.float32))
    slope = _bring_to_logits(z, bias, job)
    wanted, hit = _subtract_largest(z, own, y)
    z.clamp_(min=torch.finfo(z.dtype).min)  # 0 · -inf is NaN
    e = torch.exp(z)
    total = _sum_apart(e, wanted, y)
    numbers = Numbers.from_sums(
        wanted.squeeze(1), hit.squeeze(1), total.squeeze(1), _dots(e, z), _squares(e, job)
    )
    top = z.topk(spec.top).values - numbers.log_total[:, None]
    weight, factor = numbers.factors(part, job, top)
    lift, lifted, paid = lift_factors(weight, factor, job.scale, product.dtype)
    reward = None
    if paid is not None and job.wants_grad:
        reward = _gradient_of_entropy(z, e, numbers, paid)
    if spec.temperature != 1:
        e = torch.exp(z.div_(spec.temperature), out=e)
        total = _sum_apart(e, wanted / spec.temperature, y)
    tempered = log_share(wanted / spec.temperature, total)
    target = None
    if spec.target is not None:
        log_q = z.sub_(total.log().to(z.dtype))
        target = target_distribution(spec, log_q, y.squeeze(1))
        tempered = expected_log(target, log_q).to(total.dtype)[:, None]
    if job.wants_grad:  # in float32 it takes the place of z
        grad = e.mul_((lifted[:, None] / total).to(z.dtype))
        if target is None:
            grad.scatter_(1, y, (lifted[:, None] * torch.expm1(tempered)).to(z.dtype))
        else:
            grad.addcmul_(target, lifted.to(z.dtype)[:, None], value=-1)
        _put_gradient(product, grad, reward, slope, job)
    rows = numbers.rows(spec, weight, factor, tempered.squeeze(1))
    return torch.cat([rows, top.t()]), lift


def _subtract_largest(z: Tensor, own: Tensor | None, y: Tensor) -> tuple[Tensor, Tensor]:
    """Turn logits into their distance to the row's largest, in place.

    Returns: (tokens, 1) each in `exact_dtype`, the target's distance, and 1 where it is the
        largest.
    """
    exact = exact_dtype(z.device, z.dtype)
    largest, seen = z.amax(-1, keepdim=True), z.gather(1, y)
    wanted = (seen.to(exact) if own is None else own) - largest
    z.sub_(largest).scatter_(1, y, wanted.to(z.dtype))
    return wanted, (seen == largest).to(exact)


def _gradient_of_entropy(z: Tensor, e: Tensor, numbers: Numbers, paid: Tensor) -> Tensor:
    """c · p · (log p + H), from the logits' distances to the largest and their exponentials."""
    log_total = numbers.log_total[:, None]
    reward = (z + (numbers.entropy[:, None] - log_total).to(z.dtype)).mul_(e)
    return reward.mul_((paid[:, None] * (-log_total).exp()).to(z.dtype))


def _moments(e: Tensor, z: Tensor) -> Tensor:
    """The sums of d · exp(d), row by row; 0 · -inf, which is NaN, is looked for on a CPU only."""
    if z.is_cuda:
        return _dots(e, z.clamp_(min=torch.finfo(z.dtype).min))
    moment = _dots(e, z)
    if moment.isnan().any():
        moment = _dots(e, z.clamp_(min=torch.finfo(z.dtype).min))
    return moment


def _squares(e: Tensor, job: Job) -> Tensor:
    """The sums of squares, row by row, where the loss looks at them."""
    return _dots(e, e) if job.collides else e.new_full((len(e),), torch.nan)


def _dots(a: Tensor, b: Tensor) -> Tensor:
    """Sums of a · b, row by row. On a CPU einsum takes as long for one as all else for the loss."""
    if a.is_cuda:
        return torch.einsum("tv,tv->t", a, b)  # vecdot makes another block, which is large there
    if len(a) > FEW_ROWS:
        return torch.linalg.vecdot(a, b)
    return torch.stack([torch.dot(x, y) for x, y in zip(a, b, strict=True)])


def _sum_apart(e: Tensor, wanted: Tensor, y: Tensor) -> Tensor:
    """The sums of rows of exp(z), the target's entry apart, so that 1 - p is as exact as p."""
    own = wanted.exp()
    others = e.scatter_(1, y, 0.0).sum(-1, keepdim=True)
    e.scatter_(1, y, own.to(e.dtype))
    return own + others


def _bring_to_logits(z: Tensor, bias: Tensor | None, job: Job) -> Tensor | None:
    """Turn products into logits in place; the slope of the soft-cap, where there is one."""
    if bias is not None:
        z += bias
    if job.scale != 1:
        z *= job.scale
    if job.softcap is None:
        return None
    z.div_(job.softcap).tanh_()
    slope = 1 - z.square() if job.wants_grad else None
    z *= job.softcap
    return slope


def _put_gradient(
    product: Tensor, grad: Tensor, reward: Tensor | None, slope: Tensor | None, job: Job
) -> None:
    """Into the place of what came in."""
    if reward is not None:
        grad += reward
    if job.scale != 1:
        grad *= job.scale
    product.copy_(grad if slope is None else grad.mul_(slope))
