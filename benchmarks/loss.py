"""Time and memory of a loss on a large vocabulary: ours beside full logits, TRL's and Liger's.

    python benchmarks/loss.py            # N=4096 tokens, H=1024, V=128256: 10 to 25 min on 2 cores
    python benchmarks/loss.py --quick    # N=1024, H=512, one round, no plain cross-entropy

One call forward and backward, once with a frozen head (LoRA) and once with a trainable one. Each
measurement is a process of its own. The contenders take turns, so that a slow minute of the
machine meets them all, and the median over the rounds counts. Memory is the highest above the
inputs: resident memory of the process, or what torch has allocated on a GPU. With a GPU it is
bfloat16, N=8192, H=4096, ours runs with and without its kernels, and the last line has three more
ratios. It needs TRL: pip install 'tofu-eval[train]'. The last line is JSON; its
ratios are ours over the other's; where no head is named, the worse of the two.

Ours and the formula are TOFU, whose temperature costs a second softmax; the others cross-entropy.
TRL's is called as its SFTTrainer does, with entropy and accuracy, which ours gives too.
"""

from __future__ import annotations

import sys

sys.path.append(sys.path.pop(0))  # the statistics.py beside this file is not the standard one

import argparse
import importlib.util
import json
import resource
import subprocess
import time
from statistics import median

GAMMA, BETA = 3.0, 0.8
VOCABULARY = 128_256
HEADS = ("frozen", "trainable")
FULL, FORMULA, TRL, LIGER, PLAIN, OURS = (
    "cross-entropy, full logits",
    "TOFU's formula, full logits",
    "TRL's fused nll",
    "Liger's fused cross-entropy",
    "ours, without the kernels",
    "ours, fused TOFU",
)


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


def liger(hidden, weight, labels):
    from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

    return liger_fused_linear_cross_entropy(hidden, weight, labels)


def ours(hidden, weight, labels):
    from tofu_eval.training.fused import fused_loss
    from tofu_eval.training.losses import tofu

    return fused_loss(tofu(GAMMA, BETA), hidden, weight, labels).loss


def ours_without_kernels(hidden, weight, labels):
    """Each measurement is a process of its own, so nothing has to be put back."""
    from tofu_eval.training import fused

    fused._way = lambda device, dtype: fused._tile
    return ours(hidden, weight, labels)


CONTENDERS = {
    FULL: full_logits,
    FORMULA: formula,
    TRL: trl_nll,
    LIGER: liger,
    PLAIN: ours_without_kernels,
    OURS: ours,
}


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


def peak_bytes():
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measure(contender, head, tokens, width):
    """One call, after a small one that loads what is loaded late."""
    import torch

    cuda = torch.cuda.is_available()
    call = CONTENDERS[contender]
    # Kernels are tuned to a shape on a GPU; on a CPU the peak must be that of the measured call.
    shape = (tokens, width) if cuda else (8, 16, 100)
    small = make_inputs(*shape)
    call(small[0], small[1].requires_grad_(head == "trainable"), small[2]).backward()
    del small
    hidden, weight, labels = make_inputs(tokens, width)
    weight.requires_grad_(head == "trainable")
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    base, start = peak_bytes(), time.perf_counter()
    call(hidden, weight, labels).backward()
    if cuda:
        torch.cuda.synchronize()
    return {"seconds": time.perf_counter() - start, "bytes": peak_bytes() - base}


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


def in_a_process(*command):
    """This script with `--measure ...`. The parent never loads torch: on Linux a child's peak
    memory starts from its parent's."""
    line = [sys.executable, __file__, "--measure", *map(str, command)]
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def compare(tokens, width, rounds, left_out):
    names = [name for name in CONTENDERS if name not in left_out]
    results = {(name, head): [] for head in HEADS for name in names}
    for number in range(1, rounds + 1):
        for name, head in results:
            got = in_a_process(name, head, tokens, width)
            results[name, head].append(got)
            seconds, megabytes = got["seconds"], got["bytes"] / 1e6
            line = f"round {number}: {head}, {name}, {seconds:.3g} s, {megabytes:.0f} MB"
            print(line, file=sys.stderr, flush=True)
    times = {key: median(r["seconds"] for r in got) for key, got in results.items()}
    memory = {key: median(r["bytes"] for r in got) for key, got in results.items()}
    print("| head | contender | time, s | memory, MB |\n|---|---|--:|--:|")
    for name, head in results:
        print(f"| {head} | {name} | {times[name, head]:.3g} | {memory[name, head] / 1e6:.0f} |")

    def worse(values, other):
        return max(values[OURS, head] / values[other, head] for head in HEADS)

    on_gpu = {}
    if PLAIN in names:
        on_gpu["memory_vs_trl_nll"] = worse(memory, TRL)
        if LIGER in names:
            on_gpu["time_vs_liger"] = worse(times, LIGER)
            on_gpu["memory_vs_liger"] = worse(memory, LIGER)
    print(
        json.dumps(
            {
                "time_vs_trl_nll": worse(times, TRL),
                **{
                    f"memory_vs_formula_{head}": memory[OURS, head] / memory[FORMULA, head]
                    for head in HEADS
                },
                "max_gradient_error": in_a_process("gradient error", width),
                **on_gpu,
            }
        )
    )


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="under a minute: N=1024, H=512, one round"
    )
    parser.add_argument("--rounds", type=int, help="turns that each contender gets")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(one_measurement(*options.measure)))
        return
    if importlib.util.find_spec("trl") is None:
        raise SystemExit("This compares with TRL. Install it: pip install 'tofu-eval[train]'")
    left_out = [] if importlib.util.find_spec("liger_kernel") else [LIGER]
    if options.quick:
        left_out.append(FULL)
    here = in_a_process("machine")
    if not here["cuda"]:
        left_out += [LIGER, PLAIN]
    tokens, width = (1024, 512) if options.quick else (8192, 4096) if here["cuda"] else (4096, 1024)
    print(f"N={tokens}, H={width}, V={VOCABULARY}, {here['name']}")
    compare(tokens, width, options.rounds or (1 if options.quick else 3), left_out)


def one_measurement(what, *rest):
    if what == "machine":
        return machine()
    if what == "gradient error":
        return gradient_error(int(rest[0]))
    head, tokens, width = rest
    return measure(what, head, int(tokens), int(width))


if __name__ == "__main__":
    main()
