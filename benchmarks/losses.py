"""How long each option of conf/loss takes, forward and backward, in times of the cross-entropy.

    python benchmarks/losses.py --rounds 30

All options run shuffled in one process with one thread, and their processor time is taken, so that neighbours count little.
The cross-entropy is timed twice (A/A): the ratio of the two says how far the other ratios can be trusted. A ratio is the
median over the rounds of (option's time / the cross-entropy's in the same round); in brackets the middle half of them.
"peak" is the most that torch held at once beside logits and labels, in sizes of the logits; the gradient is one of them.
"""

import argparse
import os

os.environ["OMP_NUM_THREADS"] = "1"

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import process_time_ns

import numpy as np
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from seg.configure.compose import compose
from seg.configure.config import checked
from seg.core.environment import conf_folder
from seg.data.store import ClassCounts
from seg.settings.targets import build


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--classes", type=int, default=6)
    parser.add_argument("--size", type=int, default=128, help="height and width in pixels")
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args()
    logits, semantic = batch_of(given.batch, given.classes, given.size)
    steps = {name: step(loss, logits, semantic) for name, loss in losses(given.classes).items()}
    steps["ce again (A/A)"] = steps["ce"]
    times = measure(steps, given.rounds)
    print(f"logits {tuple(logits.shape)} channels_last, {given.rounds} rounds, one thread")
    print(f"{'':<18}{'median':>10}{'ratio to ce':>26}{'peak':>8}")
    for name, spent in times.items():
        ratio = np.quantile(spent / times["ce"], [0.25, 0.5, 0.75])
        peak = peak_bytes(steps[name]) / (logits.numel() * 4)
        print(f"{name:<18}{np.median(spent) / 1e6:>7.1f} ms{ratio[1]:>12.2f} ({ratio[0]:.2f}..{ratio[2]:.2f}){peak:>8.1f}")


def batch_of(batch: int, classes: int, size: int) -> tuple[Tensor, Tensor]:
    """Logits as a convolution hands them over, and labels in blocks of which a tenth is ignored."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(classes, size=(batch, -(-size // 16), -(-size // 16)))
    labels = np.kron(blocks, np.ones((1, 16, 16), int))[:, :size, :size].astype(np.uint8)
    labels[rng.random(labels.shape) < 0.1] = 255
    logits = torch.from_numpy(2 * rng.standard_normal((batch, classes, size, size), np.float32))
    return logits.contiguous(memory_format=torch.channels_last).requires_grad_(), torch.from_numpy(labels)


def losses(classes: int) -> dict[str, nn.Module]:
    """Every option for semantic segmentation, as conf/ has it."""
    conf, found = conf_folder(Path.cwd()), {}
    names = {p.stem for p in (conf / "loss").glob("*.yaml")} - {"mask_rcnn", "detection", "camvid"}
    for name in sorted(names, key=lambda n: (n != "ce", n)):
        config = checked(compose(conf, [f"loss={name}"])[0])
        found[name] = build(config.loss, config.targets.allow, "loss", {"class_counts": ClassCounts([1] * classes, [classes] * classes)})
    return found


def step(loss: nn.Module, logits: Tensor, semantic: Tensor) -> Callable[[], None]:
    def run() -> None:
        given = loss(logits, semantic)
        (torch.stack(list(given.values())).sum() if isinstance(given, dict) else given).backward()
        logits.grad = None

    return run


def measure(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, np.ndarray]:
    """Nanoseconds of processor time of each step in each round, after two rounds to warm up."""
    times: dict[str, list[int]] = {name: [] for name in steps}
    rng, names = np.random.default_rng(0), list(steps)
    for number in range(rounds + 2):
        for index in rng.permutation(len(names)):
            start = process_time_ns()
            steps[names[index]]()
            if number >= 2:
                times[names[index]].append(process_time_ns() - start)
    return {name: np.array(spent, float) for name, spent in times.items()}


@contextmanager
def silent() -> Iterator[None]:
    """Nothing on stderr, where the profiler's library writes of itself."""
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def peak_bytes(run: Callable[[], None]) -> int:
    """The most that torch held at once during the call, beyond what it held before."""
    with silent(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    held = np.cumsum([e.nbytes() for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"])
    return int(held.max(initial=0))


if __name__ == "__main__":
    main()
