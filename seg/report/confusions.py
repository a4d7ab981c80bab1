"""A confusion matrix as the page shows it, at 150 classes too, and its largest confusions in words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seg.data.sample import ClassInfo
from seg.report.rendering import percent

LISTED = 15  # confusions in words


@dataclass(frozen=True, slots=True)
class Confusions:
    """names: of the classes in truth or predictions; absent: how many others there are. rows: each with its counts of `unit`.

    largest: (true class, what it was called, count, share of the true class, share of all that is wrong); smaller: how many are left out.
    """

    names: list[str]
    rows: list[tuple[str, list[int]]]
    largest: list[tuple[str, str, int, float, float]]
    smaller: int
    absent: int
    unit: str


def summarise(matrix: np.ndarray, classes: Sequence[ClassInfo], unit: str) -> Confusions:
    """matrix: (K, K) counts of `unit`, true classes down, predicted ones across."""
    present = np.flatnonzero((matrix.sum(0) + matrix.sum(1)) > 0).tolist()
    counts, names = matrix[np.ix_(present, present)], [classes[i].name for i in present]
    pairs, totals, wrong = confusions_of(counts), counts.sum(1), int(counts.sum() - np.trace(counts))
    largest = [
        (names[i], names[j], int(counts[i, j]), float(counts[i, j] / totals[i]), float(counts[i, j] / wrong)) for i, j in pairs[:LISTED]
    ]
    rows = list(zip(names, counts.tolist(), strict=True))
    return Confusions(names, rows, largest, len(pairs) - len(largest), len(classes) - len(present), unit)


def confusions_of(matrix: np.ndarray) -> list[tuple[int, int]]:
    """The pairs (true, predicted) that differ and were counted, the largest count first."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[: np.count_nonzero(wrong)]
    return [(int(i), int(j)) for i, j in zip(*np.unravel_index(order, wrong.shape), strict=True)]


def kinds_of_errors(matrix: np.ndarray, classes: Sequence[ClassInfo], least: float) -> dict[str, str]:
    """The confusions in one matrix (K, K) that take a share of `least` of its pixels or more, the largest first, and their shares."""
    total = max(1, int(matrix.sum()))
    shares = {(i, j): int(matrix[i, j]) / total for i, j in confusions_of(matrix)}
    return {f"{classes[i].name} called {classes[j].name}": percent(share) for (i, j), share in shares.items() if share >= least}
