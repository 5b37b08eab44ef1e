"""Time and memory of a loss on a large vocabulary: ours beside full logits and other fused losses.

    python benchmarks/loss.py            # N=4096 tokens, H=1024, V=128256: 30 min on 2 cores
    python benchmarks/loss.py --quick    # N=1024, H=512, as many rounds as 45 s hold

One call forward and backward, once with a frozen head (LoRA) and once with a trainable one. Each
measurement is a process of its own. The contenders take turns, so that a slow minute of the
machine meets them all, and the median over the rounds counts. Memory is the highest above what was
there before the call: resident memory of the process, or what torch has allocated on a GPU. With a
GPU it is bfloat16, N=8192, H=4096, ours runs with and without its kernels, Liger's and cut
cross-entropy run where they are installed, and `loss_model.py`'s count is printed beside. It needs
TRL: pip install 'tofu-eval[train]'. The last line is JSON; its ratios are ours over the other's;
where no head is named, the worse of the two. Of torch's `linear_cross_entropy` the fastest of its
options counts, for each head; `torch.compile` is asked for before the clock starts.

Ours and the formula are TOFU, whose temperature costs a second softmax; the others cross-entropy.
TRL's is called as its SFTTrainer does, with entropy and accuracy, which ours gives too.
"""

from __future__ import annotations

import sys
from pathlib import Path

if Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
    sys.path.append(sys.path.pop(0))  # the statistics.py beside this file is not the standard one

import argparse
import functools
import importlib.util
import json
import multiprocessing
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from statistics import median

import loss_model

GAMMA, BETA = 3.0, 0.8
VOCABULARY = 128_256
QUICK_SECONDS = 45
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
    """Each measurement is a process of its own, so nothing has to be put back."""
    from tofu_eval.training import fused, tiles

    fused.choose_tile = lambda device, dtype, spec: tiles.tile_in_torch
    return ours(hidden, weight, labels)


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
PRELOAD = ["torch", "trl.kernels", "trl.trainer.utils", "tofu_eval.training.fused"]


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


def reset_peak():
    """Let the peak begin where memory stands; on macOS it stays what it was."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    elif sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes():
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    if sys.platform == "linux":
        fields = dict(x.split(":", 1) for x in Path("/proc/self/status").read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(contender, head, tokens, width):
    """One call, after one that loads what is loaded late, and compiles what is compiled."""
    import torch

    cuda = torch.cuda.is_available()
    call = CONTENDERS[contender]

    def once(hidden, weight, labels):
        call(hidden, weight.requires_grad_(head == "trainable"), labels).backward()

    # Kernels are tuned and code is compiled for a shape; else a small one is enough.
    same = cuda or contender == COMPILED
    start = time.perf_counter()
    once(*make_inputs(*((tokens, width) if same else (8, 16, 100))))
    before = time.perf_counter() - start
    inputs = make_inputs(tokens, width)
    reset_peak()
    base, start = peak_bytes(), time.perf_counter()
    once(*inputs)
    if cuda:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "bytes": peak_bytes() - base, "before": before}


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


def machine():
    import torch

    cuda = torch.cuda.is_available()
    name = torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads"
    return {"cuda": cuda, "name": f"{name}, torch {torch.__version__}"}


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


def in_a_process(start, what, *rest):
    """`what(*rest)` in a new process. One that begins as a copy of a process with all loaded spares
    the time of loading, but CUDA does not bear that; the parent never loads torch."""
    context = multiprocessing.get_context(start)
    if start == "forkserver":
        context.set_forkserver_preload(PRELOAD)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(what, *rest).result()


def take_turns(start, names, tokens, width, rounds, until):
    """Results by contender and head: all of them in each round."""
    results = {(name, head): [] for head in HEADS for name in names}
    begin, number = time.monotonic(), 0
    while number < rounds:
        number += 1
        for name, head in results:
            got = in_a_process(start, measure, name, head, tokens, width)
            results[name, head].append(got)
            line = f"round {number}: {head}, {name}, {got['seconds']:.3g} s, "
            line += f"{got['bytes'] / 1e6:.0f} MB, {got['before']:.3g} s before"
            print(line, file=sys.stderr, flush=True)
        spent = time.monotonic() - begin
        if until is not None and spent * (number + 1) / number > until:
            break
    return results


def ratios(results, names):
    times = {key: median(r["seconds"] for r in got) for key, got in results.items()}
    memory = {key: median(r["bytes"] for r in got) for key, got in results.items()}
    print("| head | contender | time, s | memory, MB |\n|---|---|--:|--:|")
    for name, head in results:
        print(f"| {head} | {name} | {times[name, head]:.3g} | {memory[name, head] / 1e6:.0f} |")

    def against(*others):
        """Of time and memory, beside the fastest of the others for each head."""
        fastest = {h: min(others, key=lambda name: times[name, h]) for h in HEADS}
        return tuple(
            max(values[OURS, h] / values[fastest[h], h] for h in HEADS)
            for values in (times, memory)
        )

    said = {
        "trl_nll": [TRL],
        "torch_linear_cross_entropy": [name for name in TORCH if name in names],
        "compiled_chunks": [COMPILED],
        "liger": [LIGER] if LIGER in names else [],
        "cut_cross_entropy": [CUT] if CUT in names else [],
    }
    found = {"rounds": len(results[OURS, HEADS[0]])}
    for name, others in said.items():
        if others:
            found[f"time_vs_{name}"], found[f"memory_vs_{name}"] = against(*others)
    for head in HEADS:
        found[f"memory_vs_formula_{head}"] = memory[OURS, head] / memory[FORMULA, head]
    return found


def print_model(start, tokens, width):
    """What `loss_model.py` counts, with what this GPU reaches."""
    bandwidth, flops = in_a_process(start, device_rates)
    step = loss_model.Step(tokens, width, VOCABULARY)
    print(f"\nBy count, at {bandwidth / 1e12:.2f} TB/s and {flops / 1e12:.0f} TFLOP/s:\n")
    print("\n".join(loss_model.table(step, bandwidth, flops)), end="\n\n")
    print("\n".join(loss_model.choices(step, bandwidth, flops)), end="\n\n")


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="N=1024, H=512, as many rounds as 45 s hold"
    )
    parser.add_argument("--rounds", type=int, help="turns that each contender gets")
    options = parser.parse_args()
    if importlib.util.find_spec("trl") is None:
        raise SystemExit("This compares with TRL. Install it: pip install 'tofu-eval[train]'")
    here = in_a_process("spawn", machine)
    left_out = {name for name, package in NEEDS.items() if not importlib.util.find_spec(package)}
    if options.quick:
        left_out |= set(NOT_QUICK)
    if not here["cuda"]:
        left_out |= set(ON_A_GPU)
    names = [name for name in CONTENDERS if name not in left_out]
    start = "spawn" if here["cuda"] or sys.platform != "linux" else "forkserver"
    tokens, width = (1024, 512) if options.quick else (8192, 4096) if here["cuda"] else (4096, 1024)
    print(f"N={tokens}, H={width}, V={VOCABULARY}, {here['name']}")
    until = QUICK_SECONDS if options.quick and options.rounds is None else None
    rounds = options.rounds or (9 if options.quick else 3)
    found = ratios(take_turns(start, names, tokens, width, rounds, until), names)
    found["max_gradient_error"] = in_a_process(start, gradient_error, width)
    if here["cuda"]:
        print_model(start, tokens, width)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
