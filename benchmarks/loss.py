"""Time and memory of a loss on a large vocabulary: ours beside full logits and other fused losses.

    python benchmarks/loss.py            # N=4096 tokens, H=1024, V=128256: 30 min on 2 cores
    python benchmarks/loss.py --quick    # smaller, with the peers that the ratios need

One call forward and backward, once with a frozen head (LoRA) and once with a trainable one. The
contenders take turns in one process, so that a slow minute of the machine meets them all, and each
one's quickest turn counts: other work only adds to it. In the quick form the next turn is that of
whoever has used the least time so far. Threads that wait for others do not spin. Memory is the
highest above what was there before the call: resident memory of the process (on Linux), or what
torch has allocated on a GPU. With a GPU it is bfloat16, N=8192, H=4096, ours runs with and without
its kernels, Liger's and cut cross-entropy run where they are installed, and `loss_model.py`'s count
is printed beside. It needs TRL: pip install 'tofu-eval[train]'.

The last line is JSON; its ratios are ours over the other's, by the clock; on a CPU `cpu_time_vs_`
are those of processor seconds, which other work on the machine changes less. Where no head is
named, it is the worse of the two. Of torch's `linear_cross_entropy` the fastest of its options
counts, for each head; `torch.compile` is asked for before the clock starts.

Ours and the formula are TOFU, whose temperature costs a second softmax; the others cross-entropy.
TRL's is called as its SFTTrainer does, with entropy and accuracy, which ours gives too.
"""

from __future__ import annotations

import argparse
import functools
import gc
import importlib.util
import json
import os
import sys
import time
from pathlib import Path

import loss_model

GAMMA, BETA = 3.0, 0.8
VOCABULARY = 128_256
QUICK_SECONDS = 15
"""For the turns with each head."""

LEAST_TURNS = 3
"""Ours, and with it those that are as quick."""

HEADS = ("frozen", "trainable")


def full_logits(hidden, weight, labels):
    from torch.nn.functional import cross_entropy

    return cross_entropy((hidden @ weight.T).float(), labels)


def formula(hidden, weight, labels):
    """arXiv:2605.00195 as it is written; the token weight is a constant."""
    import torch

    z = (hidden @ weight.T).float()
    with torch.no_grad():
        p = torch.softmax(z, -1).gather(1, labels[:, None])
        w = (1 - p) ** GAMMA - GAMMA * p * (1 - p) ** (GAMMA - 1) * torch.log(p)
    log_q = torch.log_softmax(z / BETA, -1).gather(1, labels[:, None])
    return -(w * BETA * log_q).mean()


def trl_nll(hidden, weight, labels):
    from trl.kernels import ChunkedLogProbFunction
    from trl.trainer.utils import _CHUNKED_LOGPROB_CHUNK_SIZE as chunk

    outputs = ("log_probs", "entropy", "is_top1")
    log_probs, *_ = ChunkedLogProbFunction.apply(
        hidden, weight, None, labels, 1.0, chunk, None, 1.0, outputs
    )
    return -log_probs.mean()


def torch_fused(hidden, weight, labels, rows=None):
    """`rows` in a chunk; without them torch chooses."""
    from torch.nn import LinearCrossEntropyOptions
    from torch.nn.functional import linear_cross_entropy

    options = LinearCrossEntropyOptions(batch_chunk_size=rows)
    return linear_cross_entropy(hidden, weight, labels, options=options)


def tofu_by_torch(hidden, weight, labels):
    """TOFU out of `linear_cross_entropy`: log p without a gradient, then a weight a token."""
    import torch
    from torch.nn import LinearCrossEntropyOptions
    from torch.nn.functional import linear_cross_entropy

    options = LinearCrossEntropyOptions(batch_chunk_size=256)
    each = functools.partial(
        linear_cross_entropy, linear_weight=weight, target=labels, options=options, reduction="none"
    )
    with torch.no_grad():
        log_p = -each(hidden)
        p = log_p.exp()
        w = (1 - p) ** GAMMA - GAMMA * p * (1 - p) ** (GAMMA - 1) * log_p
    return (w * BETA * each(hidden / BETA)).mean()


@functools.cache
def compiled_chunk(frozen):
    import torch
    from torch.nn.functional import cross_entropy

    def total(hidden, weight, labels):
        return cross_entropy((hidden @ weight.T).float(), labels, reduction="sum")

    return torch.compile(torch.func.grad_and_value(total, argnums=(0,) if frozen else (0, 1)))


def compiled_chunks(hidden, weight, labels):
    """Gradients and loss of some rows at a time, each chunk by what torch.compile makes of it."""
    import torch

    rows = 1024 if hidden.is_cuda else 256

    class Chunks(torch.autograd.Function):
        @staticmethod
        def forward(ctx, hidden, weight):
            frozen = not ctx.needs_input_grad[1]
            sums = None if frozen else torch.zeros_like(weight)
            parts, total = [], 0.0
            for h, y in zip(hidden.split(rows), labels.split(rows), strict=True):
                grads, value = compiled_chunk(frozen)(h, weight, y)
                parts.append(grads[0])
                total += value
                if not frozen:
                    sums += grads[1]
            ctx.grads = torch.cat(parts), sums
            return total / len(labels)

        @staticmethod
        def backward(ctx, upstream):
            scale = upstream / len(labels)
            return tuple(None if grad is None else grad.mul_(scale) for grad in ctx.grads)

    return Chunks.apply(hidden, weight)


def liger(hidden, weight, labels):
    from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

    return liger_fused_linear_cross_entropy(hidden, weight, labels)


def cut_cross_entropy(hidden, weight, labels):
    from cut_cross_entropy import linear_cross_entropy

    return linear_cross_entropy(hidden, weight, labels)


def ours(hidden, weight, labels):
    from tofu_eval.training.fused import fused_loss
    from tofu_eval.training.losses import tofu

    return fused_loss(tofu(GAMMA, BETA), hidden, weight, labels).loss


def ours_without_kernels(hidden, weight, labels):
    from tofu_eval.training import fused, tiles

    choose = fused.choose_tile
    fused.choose_tile = lambda device, dtype, spec: tiles.tile_in_torch
    try:
        return ours(hidden, weight, labels)
    finally:
        fused.choose_tile = choose


FULL, FORMULA, TRL, COMPILED, LIGER, CUT, BY_TORCH, PLAIN, OURS = (
    "cross-entropy, full logits",
    "TOFU's formula, full logits",
    "TRL's fused nll",
    "torch.compile on chunks",
    "Liger's fused cross-entropy",
    "cut cross-entropy",
    "TOFU by torch's linear_cross_entropy",
    "ours, without the kernels",
    "ours, fused TOFU",
)
TORCH = {
    f"torch's linear_cross_entropy, {name}": functools.partial(torch_fused, rows=rows)
    for name, rows in (("its own choice", None), ("256 rows", 256), ("1024 rows", 1024))
}
CONTENDERS = {
    FULL: full_logits,
    FORMULA: formula,
    TRL: trl_nll,
    **TORCH,
    COMPILED: compiled_chunks,
    LIGER: liger,
    CUT: cut_cross_entropy,
    BY_TORCH: tofu_by_torch,
    PLAIN: ours_without_kernels,
    OURS: ours,
}
NEEDS = {LIGER: "liger_kernel", CUT: "cut_cross_entropy"}
ON_A_GPU = (LIGER, CUT, PLAIN)
NOT_QUICK = (FULL, BY_TORCH, "torch's linear_cross_entropy, its own choice")


def make_inputs(tokens, width, vocabulary=VOCABULARY):
    """Logits of standard deviation 2, the first half of the targets helped up to be likely."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    stream = torch.Generator(device).manual_seed(0)
    like = {"generator": stream, "device": device}
    weight = torch.randn(vocabulary, width, dtype=dtype, **like).mul_(2 / width**0.5)
    hidden = torch.randn(tokens, width, dtype=dtype, **like)
    labels = torch.randint(vocabulary, (tokens,), **like)
    half = tokens // 2
    hidden[:half] += 3 * weight[labels[:half]]
    return hidden.requires_grad_(), weight, labels


def peak_bytes(reset=False):
    """The most memory since the last reset; None where that cannot be told."""
    import torch

    if torch.cuda.is_available():
        if reset:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated()
    if sys.platform != "linux":
        return None
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    fields = dict(x.split(":", 1) for x in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024


def measure(contender, head, inputs):
    """One call."""
    import torch

    hidden, weight, labels = inputs
    weight.requires_grad_(head == "trainable")
    hidden.grad = weight.grad = None
    gc.collect()
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.synchronize()
    base = peak_bytes(reset=True)
    clock, cpu = time.perf_counter(), time.process_time()
    CONTENDERS[contender](hidden, weight, labels).backward()
    if cuda:
        torch.cuda.synchronize()
    clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
    memory = None if base is None else peak_bytes() - base
    return {"clock": clock, "cpu": cpu, "bytes": memory}


def take_turns(names, head, inputs, rounds, seconds):
    """Each contender's calls: `rounds` of all, or as many as `seconds` hold."""
    import torch

    found, spent = {name: [] for name in names}, dict.fromkeys(names, 0.0)
    for name in names:
        # Kernels are tuned and code is compiled for a shape; else a small call loads what is late.
        same = torch.cuda.is_available() or name == COMPILED
        first = measure(name, head, inputs if same else make_inputs(8, 16, 100))
        print(f"{head}, {name}: {first['clock']:.3g} s before", file=sys.stderr, flush=True)
    begin = time.perf_counter()
    while True:
        name = min(names, key=lambda name: len(found[name]) if seconds is None else spent[name])
        tried = all(found.values()) and len(found[OURS]) >= LEAST_TURNS
        late = seconds is not None and time.perf_counter() - begin > seconds
        if len(found[name]) == rounds or (tried and late):
            return found
        got = measure(name, head, inputs)
        found[name].append(got)
        spent[name] += got["clock"]
        line = f"{head}, {name}: {got['clock']:.3g} s, {got['cpu']:.3g} processor seconds"
        print(line, file=sys.stderr, flush=True)


def gradient_error(width):
    """Largest difference to float64 over the largest entry, on 300 tokens: more than one tile."""
    import torch

    from tofu_eval.training.logit_losses import mean_loss
    from tofu_eval.training.losses import tofu

    hidden, weight, labels = make_inputs(300, width)
    ours(hidden, weight.requires_grad_(), labels).backward()
    grads = [hidden.grad, weight.grad]
    h, w = (x.detach().double().requires_grad_() for x in (hidden, weight))
    mean_loss(tofu(GAMMA, BETA), h @ w.T, labels).loss.backward()
    errors = [
        (one - x.grad).abs().max() / x.grad.abs().max()
        for one, x in zip(grads, (h, w), strict=True)
    ]
    return torch.stack(errors).max().item()


def device_rates():
    """Bytes and floating-point operations a second that this GPU reaches, for the model."""
    import torch

    def seconds(call):
        call()
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(10):
            call()
        torch.cuda.synchronize()
        return (time.perf_counter() - start) / 10

    x = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    large = torch.empty(2**29, device="cuda", dtype=torch.uint8)
    other = torch.empty_like(large)
    return 2 * len(large) / seconds(lambda: other.copy_(large)), 2 * 8192**3 / seconds(
        lambda: x @ x
    )


def print_results(results):
    """Each contender's quickest turn, as rows of Markdown."""
    print("| head | contender | turns | time, s | processor, s | memory, MB |")
    print("|---|---|--:|--:|--:|--:|")
    for (head, name), turns in results.items():
        memory = best_of(turns, "bytes")
        memory = "" if memory is None else f"{memory / 1e6:.0f}"
        times = f"{best_of(turns, 'clock'):.3g} | {best_of(turns, 'cpu'):.3g}"
        print(f"| {head} | {name} | {len(turns)} | {times} | {memory} |")


def best_of(turns, what):
    """Of a contender's turns the least; None where that was not measured."""
    values = [turn[what] for turn in turns]
    return None if None in values else min(values)


def ratios(results, names, cuda):
    """Ours over each of the others', the worse of the two heads."""
    peers = {
        "trl_nll": [TRL],
        "torch_linear_cross_entropy": [name for name in TORCH if name in names],
        "compiled_chunks": [COMPILED],
        "liger": [LIGER],
        "cut_cross_entropy": [CUT],
    }

    def worse(what, others, fastest_by):
        pairs = []
        for head in HEADS:
            best = min(others, key=lambda name: best_of(results[head, name], fastest_by))
            pairs.append((best_of(results[head, OURS], what), best_of(results[head, best], what)))
        return None if None in sum(pairs, ()) else max(one / other for one, other in pairs)

    found = {}
    for peer, given in peers.items():
        others = [name for name in given if name in names]
        if not others:
            continue
        found[f"time_vs_{peer}"] = worse("clock", others, "clock")
        if not cuda:
            found[f"cpu_time_vs_{peer}"] = worse("cpu", others, "cpu")
        found[f"memory_vs_{peer}"] = worse("bytes", others, "clock")
    for head in HEADS:
        one, other = (best_of(results[head, name], "bytes") for name in (OURS, FORMULA))
        found[f"memory_vs_formula_{head}"] = None if one is None else one / other
    return found


def print_model(tokens, width):
    """What `loss_model.py` counts, with what this GPU reaches."""
    bandwidth, flops = device_rates()
    step = loss_model.Step(tokens, width, VOCABULARY)
    print(f"\nBy count, at {bandwidth / 1e12:.2f} TB/s and {flops / 1e12:.0f} TFLOP/s:\n")
    print("\n".join(loss_model.table(step, bandwidth, flops)), end="\n\n")
    print("\n".join(loss_model.choices(step, bandwidth, flops)), end="\n\n")


def choose_contenders(quick, cuda):
    """Their names, less what is not installed, needs a GPU, or is not asked for."""
    left_out = {name for name, package in NEEDS.items() if not importlib.util.find_spec(package)}
    left_out |= set(NOT_QUICK if quick else ()) | set(() if cuda else ON_A_GPU)
    return [name for name in CONTENDERS if name not in left_out]


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="smaller, for about a minute")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contender (not quick)")
    options = parser.parse_args()
    if importlib.util.find_spec("trl") is None:
        raise SystemExit("This compares with TRL. Install it: pip install 'tofu-eval[train]'")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is there
    import torch

    cuda = torch.cuda.is_available()
    name = torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads"
    tokens, width = (512, 512) if options.quick else (8192, 4096) if cuda else (4096, 1024)
    print(f"N={tokens}, H={width}, V={VOCABULARY}, {name}, torch {torch.__version__}")
    names = choose_contenders(options.quick, cuda)
    inputs = make_inputs(tokens, width)
    turns = (None, QUICK_SECONDS) if options.quick else (options.rounds, None)
    results = {}
    for head in HEADS:
        for contender, got in take_turns(names, head, inputs, *turns).items():
            results[head, contender] = got
    print_results(results)
    found = ratios(results, names, cuda)
    if not options.quick:
        found["max_gradient_error"] = gradient_error(width)
    if cuda:
        print_model(tokens, width)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
