"""How long OpenMP's idle threads should spin: one training step on the CPU, alone and beside a busy process.

    python benchmarks/openmp_spin.py --rounds 5 --steps 20      # on a machine with nothing else to do

Each setting runs in a process of its own, as it counts only before torch is loaded. Rounds are interleaved: in each of them
every setting is measured quiet and busy, in shuffled order; "runtime default" runs twice (A/A), which says how far the
ratios can be trusted. A process's figure is the median over its steps. Shown are the median over the rounds, the least
and the greatest, and the ratio to the runtime's default (below 1: faster).
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

from seg.core.environment import num_cores

SETTINGS: dict[str, dict[str, str]] = {
    "runtime default": {},
    "runtime default (A/A)": {},
    "GOMP_SPINCOUNT=1000": {"GOMP_SPINCOUNT": "1000"},
    "GOMP_SPINCOUNT=0": {"GOMP_SPINCOUNT": "0"},
    "OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
}
PLACES = ("quiet", "busy")
OPENMP = ("GOMP_", "OMP_", "KMP_")

Times = dict[tuple[str, str], list[float]]
"""Seconds a step of each round, by setting and place."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="timed steps of each process")
    parser.add_argument("--warmup", type=int, default=3, help="steps before those that are timed")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=128, help="height and width in pixels")
    parser.add_argument("--threads", type=int, default=num_cores())
    parser.add_argument("--inner", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inner:
        print(json.dumps(step_seconds(given.steps, given.warmup, given.batch, given.size, given.threads)))
        return
    times = measure(given.rounds, [*sys.argv[1:], "--inner"])
    print(f"U-Net-ResNet18, {given.batch} images of {given.size}x{given.size}, {given.threads} threads, {given.rounds} rounds; s a step")
    print(table(times))


def measure(rounds: int, arguments: list[str]) -> Times:
    """Run every setting in every place once a round."""
    times: Times = {(setting, place): [] for setting in SETTINGS for place in PLACES}
    order = list(times)
    rng = random.Random(0)
    for number in range(rounds):
        rng.shuffle(order)
        for setting, place in order:
            times[setting, place].append(run(SETTINGS[setting], place, arguments))
            print(f"round {number + 1}: {setting}, {place}: {times[setting, place][-1]:.3f} s", file=sys.stderr, flush=True)
    return times


def run(setting: dict[str, str], place: str, arguments: list[str]) -> float:
    """The median step of one fresh process, perhaps beside one that keeps a core busy."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(OPENMP)} | setting
    neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if place == "busy" else None
    try:
        done = subprocess.run(
            [sys.executable, str(Path(__file__).resolve()), *arguments], env=env, stdout=subprocess.PIPE, text=True, check=True
        )
    finally:
        if neighbour:
            neighbour.kill()
            neighbour.wait()
    return statistics.median(json.loads(done.stdout))


def step_seconds(steps: int, warmup: int, batch: int, size: int, threads: int) -> list[float]:
    """Wall time of each training step, in bf16 where the processor is quick at it."""
    import segmentation_models_pytorch as smp
    import torch
    from torch.nn.functional import cross_entropy

    from seg.models.hardware import has_fast_bf16

    torch.manual_seed(0)
    torch.set_num_threads(threads)
    model = smp.Unet("resnet18", encoder_weights=None, classes=6).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    images = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
    labels = torch.randint(6, (batch, size, size))
    fast = has_fast_bf16(torch.device("cpu"))
    spent = []
    for _ in range(warmup + steps):
        start = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            loss = cross_entropy(model(images).float(), labels)
        loss.backward()
        optimizer.step()
        spent.append(time.perf_counter() - start)
    return spent[warmup:]


def table(times: Times) -> str:
    """A row a setting: median (least..greatest) and ratio to the default, in each place."""
    lines = [f"{'':<25}" + "".join(f"{place:>24}{'ratio':>8}" for place in PLACES)]
    for setting in SETTINGS:
        cells = ""
        for place in PLACES:
            own, default = times[setting, place], statistics.median(times["runtime default", place])
            middle = statistics.median(own)
            cells += f"{f'{middle:.3f} ({min(own):.3f}..{max(own):.3f})':>24}{middle / default:>8.2f}"
        lines.append(f"{setting:<25}{cells}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
