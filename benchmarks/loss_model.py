"""What a step of the fused head should cost: its products, its bytes, and the time of both.

    python benchmarks/loss_model.py    # the table of docs/losses.md, for an H100
    python benchmarks/loss_model.py --rows 16384 --bandwidth 1.6e12 --flops 2.5e14

A count, not a measurement. `benchmarks/loss.py` prints it beside what it measures on a GPU, with
the bandwidth and the products a second that it finds there.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, replace

H100_BANDWIDTH = 3.35e12
"""Bytes a second of an H100 SXM's memory, by its data sheet."""

H100_FLOPS = 6.6e14
"""Floating-point operations a second in bfloat16: two thirds of the data sheet's 989e12, which is
what large products reach."""

GRADIENT = 4
"""Bytes of a number of the gradients that are summed: float32."""


@dataclass(frozen=True)
class Step:
    """One call forward and backward.

    Args:
        rows: supervised tokens.
        width: H, of a hidden state.
        vocabulary: V.
        tile: tokens a tile.
        number: bytes of a number of the products' dtype.
        trainable: whether the head wants a gradient.
        kept: the share of the gradient's blocks that its products do not leave out.
    """

    rows: int = 8192
    width: int = 4096
    vocabulary: int = 128_256
    tile: int = 2048
    number: int = 2
    trainable: bool = True
    kept: float = 1.0

    @property
    def tiles(self) -> int:
        """How often the head is read."""
        return math.ceil(self.rows / self.tile)

    @property
    def tile_bytes(self) -> int:
        """What is there of the logits at a time."""
        return min(self.tile, self.rows) * self.vocabulary * self.number


@dataclass(frozen=True)
class Cost:
    """One part of a step: floating-point operations, and bytes read and written."""

    what: str
    flops: float
    moved: float


def step_costs(step: Step) -> list[Cost]:
    """The parts of a step in their order; caches that would spare a byte are not counted on."""
    product = 2.0 * step.rows * step.width * step.vocabulary
    logits = step.rows * step.vocabulary * step.number
    hidden = step.rows * step.width
    head = step.vocabulary * step.width
    reads_of_head = step.tiles * head * step.number
    costs = [
        Cost("logits", product, reads_of_head + logits + hidden * step.number),
        Cost("log p, entropy and sums", 0, logits),
        Cost("gradient in the logits' place", 0, 2 * logits),
        Cost(
            "hidden states' gradient",
            product * step.kept,
            (reads_of_head + logits) * step.kept + hidden * GRADIENT,
        ),
    ]
    if step.trainable:
        sums = 2 * GRADIENT * head * step.tiles  # read, added to, written
        costs += [
            Cost(
                "head's gradient",
                product * step.kept,
                (sums + logits + hidden * step.number) * step.kept,
            ),
            Cost("its zeros, and its scale and dtype", 0, head * (4 * GRADIENT + step.number)),
        ]
    costs.append(Cost("hidden states' scale and dtype", 0, hidden * (3 * GRADIENT + step.number)))
    return costs


def milliseconds(costs: list[Cost], bandwidth: float, flops: float) -> tuple[float, float]:
    """Two bounds: each part's products and bytes at the same time, and one after the other."""
    pairs = [(1e3 * cost.flops / flops, 1e3 * cost.moved / bandwidth) for cost in costs]
    return sum(max(pair) for pair in pairs), sum(sum(pair) for pair in pairs)


def table(step: Step, bandwidth: float, flops: float) -> list[str]:
    """A step's parts as rows of Markdown, with their sum."""
    lines = ["| part | TFLOP | GB | products, ms | bytes, ms |", "|---|--:|--:|--:|--:|"]
    costs = step_costs(step)
    total = Cost("all", sum(c.flops for c in costs), sum(c.moved for c in costs))
    for cost in [*costs, total]:
        times = f"{1e3 * cost.flops / flops:.1f} | {1e3 * cost.moved / bandwidth:.1f}"
        lines.append(
            f"| {cost.what} | {cost.flops / 1e12:.2f} | {cost.moved / 1e9:.1f} | {times} |"
        )
    return lines


def choices(step: Step, bandwidth: float, flops: float) -> list[str]:
    """What the size of a tile changes, as rows of Markdown."""
    lines = ["| tokens a tile | tile, MB | frozen, ms | trainable, ms |", "|--:|--:|--:|--:|"]
    for tile in (256, 512, 1024, 2048, 4096, step.rows):
        cells = []
        for trainable in (False, True):
            costs = step_costs(replace(step, tile=tile, trainable=trainable))
            best, worst = milliseconds(costs, bandwidth, flops)
            cells.append(f"{best:.0f} to {worst:.0f}")
        size = replace(step, tile=tile).tile_bytes / 1e6
        lines.append(f"| {tile:,} | {size:,.0f} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, default in (("rows", 8192), ("width", 4096), ("vocabulary", 128_256), ("tile", 2048)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--bandwidth", type=float, default=H100_BANDWIDTH, help="bytes a second")
    parser.add_argument("--flops", type=float, default=H100_FLOPS, help="operations a second")
    given = parser.parse_args()
    step = Step(given.rows, given.width, given.vocabulary, given.tile)
    print("\n".join(table(step, given.bandwidth, given.flops)), end="\n\n")
    print("\n".join(choices(step, given.bandwidth, given.flops)))


if __name__ == "__main__":
    main()
