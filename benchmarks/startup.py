"""How long each command takes until it does its work: the interpreter's start, imports, and the composition of the settings.

    python benchmarks/startup.py --rounds 7          # in the project's folder, whose pipeline is up to date, with nothing else running

Commands are interleaved: each round runs all of them, in shuffled order, after one that is not counted. Shown are the median of the
wall time over the rounds, the least and the greatest, and the median of the processor time. `import ...` are lower bounds: what the
libraries of a stage take alone. At the end stands the ratio of a `dvc repro` that has nothing to do to `dvc status`, round by round;
--bar ends with exit code 1 where its median is above.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

SEG = (sys.executable, "-m", "seg")
COMMANDS: dict[str, tuple[str, ...]] = {
    "python -c pass": (sys.executable, "-c", "pass"),
    "seg --help": (*SEG, "--help"),
    "seg sweep --help": (*SEG, "sweep", "--help"),
    "seg predict --help": (*SEG, "predict", "--help"),
    "seg train --help": (*SEG, "train", "--help"),
    "seg configure": (*SEG, "configure"),
    "import hydra": (sys.executable, "-c", "import hydra"),
    "import torch": (sys.executable, "-c", "import torch"),
    "import of train": (sys.executable, "-c", "import seg.stages.train"),
    "import of predict": (sys.executable, "-c", "import seg.predict.api, seg.predict.inputs, seg.predict.write.writers"),
    "dvc status": (sys.executable, "-m", "dvc", "status"),
    "dvc repro": (sys.executable, "-m", "dvc", "repro"),
}
REPRO, STATUS = "dvc repro", "dvc status"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="*", choices=list(COMMANDS), default=list(COMMANDS), metavar="COMMAND", help="as they are listed")
    parser.add_argument("--bar", type=float, default=1.5, help="of dvc repro over dvc status (%(default)s)")
    given = parser.parse_args()
    wall, processor = measure(given.only, given.rounds)
    width = max(map(len, given.only))
    print(f"{'':<{width}}  median s  least to greatest  processor s")
    for name in given.only:
        spread = f"{min(wall[name]):.2f} to {max(wall[name]):.2f}"
        print(f"{name:<{width}}  {statistics.median(wall[name]):8.2f}  {spread:>17}  {statistics.median(processor[name]):11.2f}")
    if {REPRO, STATUS} <= set(given.only):
        ratios = [repro / status for repro, status in zip(wall[REPRO], wall[STATUS], strict=True)]
        ratio = statistics.median(ratios)
        print(f"dvc repro over dvc status: {ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f}); bar {given.bar:g}")
        sys.exit(ratio > given.bar)


def measure(names: Sequence[str], rounds: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of wall and of processor time of each round, by command."""
    wall: dict[str, list[float]] = {name: [] for name in names}
    processor: dict[str, list[float]] = {name: [] for name in names}
    rng = random.Random(0)
    for number in range(rounds + 1):
        order = list(names)
        rng.shuffle(order)
        for name in order:
            seconds = run(COMMANDS[name])
            if number:  # the first round fills the caches of files
                wall[name].append(seconds[0])
                processor[name].append(seconds[1])
        print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
    return wall, processor


def run(command: Sequence[str]) -> tuple[float, float]:
    """Wall and processor seconds of one process and its children; an error where it fails, or where `dvc repro` has work to do."""
    start, before = time.perf_counter(), os.times()
    done = subprocess.run(command, capture_output=True, text=True)
    wall, after = time.perf_counter() - start, os.times()
    if done.returncode or "Running stage" in done.stdout:
        sys.exit(f"{' '.join(command)}: expected nothing to do\n{done.stdout}{done.stderr}")
    return wall, after.children_user + after.children_system - before.children_user - before.children_system


if __name__ == "__main__":
    main()
