"""How long counting a confusion matrix takes: ours against torchmetrics' MulticlassJaccardIndex, on one map pair.

    python benchmarks/confusion_matrix.py --rounds 200

All variants run shuffled in one process with one thread, and their processor time is taken, so that neighbours count little.
Ours is timed twice (A/A): the ratio of the two says how far the other ratios can be trusted. A ratio is the median over the
rounds of (variant's time / ours in the same round); in brackets the middle half of them.
"""

import argparse
import os

os.environ["OMP_NUM_THREADS"] = "1"

from collections.abc import Callable
from time import process_time_ns

import numpy as np
import torch
from torchmetrics.classification import MulticlassJaccardIndex

from seg.metrics.semantic import confusion_matrix, iou


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="height and width in pixels")
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=100)
    given = parser.parse_args()
    truth, predicted = maps(given.size, given.classes)
    variants = make_variants(truth, predicted, given.classes)
    agree(truth, predicted, given.classes)
    times = measure(variants, given.rounds)
    print(f"confusion matrix of {given.size}x{given.size} pixels, {given.classes} classes, {given.rounds} rounds, one thread")
    print(f"{'':<42}{'median':>10}{'ratio to ours':>26}")
    for name, spent in times.items():
        ratio = np.quantile(spent / times["ours"], [0.25, 0.5, 0.75])
        print(f"{name:<42}{np.median(spent) / 1e6:>7.3f} ms{ratio[1]:>12.2f} ({ratio[0]:.2f}..{ratio[2]:.2f})")


def maps(size: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """A truth of blocks with a tenth ignored, and a prediction that is wrong in a tenth."""
    rng = np.random.default_rng(0)
    truth = np.kron(rng.integers(classes, size=(-(-size // 16),) * 2), np.ones((16, 16), int))[:size, :size].astype(np.uint8)
    predicted = np.where(rng.random((size, size)) < 0.1, rng.integers(classes, size=(size, size)), truth).astype(np.uint8)
    truth[rng.random((size, size)) < 0.1] = 255
    return truth, predicted


def make_variants(truth: np.ndarray, predicted: np.ndarray, classes: int) -> dict[str, Callable[[], object]]:
    """Each call counts the pair once. torchmetrics is handed tensors in the type it likes best, made beforehand."""
    y, p = torch.from_numpy(truth).long(), torch.from_numpy(predicted).long()
    plain = MulticlassJaccardIndex(classes, ignore_index=255)
    unchecked = MulticlassJaccardIndex(classes, ignore_index=255, validate_args=False)
    return {
        "ours": lambda: confusion_matrix(truth, predicted, classes),
        "ours again (A/A)": lambda: confusion_matrix(truth, predicted, classes),
        "torchmetrics": lambda: plain.update(p, y),
        "torchmetrics, validate_args=False": lambda: unchecked.update(p, y),
    }


def agree(truth: np.ndarray, predicted: np.ndarray, classes: int) -> None:
    reference = MulticlassJaccardIndex(classes, average=None, ignore_index=255)
    reference.update(torch.from_numpy(predicted).long(), torch.from_numpy(truth).long())
    np.testing.assert_allclose(np.nan_to_num(iou(confusion_matrix(truth, predicted, classes))), reference.compute(), atol=1e-6)


def measure(variants: dict[str, Callable[[], object]], rounds: int) -> dict[str, np.ndarray]:
    """Nanoseconds of processor time of each variant in each round, after three rounds to warm up."""
    times: dict[str, list[int]] = {name: [] for name in variants}
    rng, names = np.random.default_rng(0), list(variants)
    for number in range(rounds + 3):
        for index in rng.permutation(len(names)):
            start = process_time_ns()
            variants[names[index]]()
            if number >= 3:
                times[names[index]].append(process_time_ns() - start)
    return {name: np.array(spent, float) for name, spent in times.items()}


if __name__ == "__main__":
    main()
