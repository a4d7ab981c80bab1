"""How far figures would move with other images: intervals by the bootstrap over images (Efron 1979)."""

from collections.abc import Callable, Iterator

import numpy as np

Resampled = Callable[[np.ndarray], dict[str, np.ndarray]]
"""weights (R, N) -> {figure: (R,)}, as `seg.metrics.base.Metrics.resampled` gives them for N images."""

AT_ONCE = 2_000_000  # weights that are in memory together
DEFINED = 0.95  # share of the draws in which a figure must be defined for its interval to mean something


def draws(num_images: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """`resamples` draws of num_images out of num_images with replacement: blocks of weights (r, num_images) float64.

    The same for the same numbers and seed, so that two evaluations of the same images can be compared draw by draw.
    """
    rng = np.random.default_rng(seed)
    rows = max(1, AT_ONCE // num_images)
    shares = np.full(num_images, 1 / num_images)
    for start in range(0, resamples, rows):
        yield rng.multinomial(num_images, shares, size=min(rows, resamples - start)).astype(np.float64)


def distribution(resampled: Resampled, num_images: int, resamples: int, seed: int) -> dict[str, np.ndarray]:
    """{figure: (resamples,)}, its value in each draw; NaN where it is undefined."""
    blocks = [resampled(weights) for weights in draws(num_images, resamples, seed)]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]} if blocks else {}


def interval(values: np.ndarray, level: float) -> tuple[float, float]:
    """The percentile interval that holds the share `level` of the draws (n,); NaN where fewer than 95 % of them are defined."""
    known = values[np.isfinite(values)]
    if not len(values) or len(known) < DEFINED * len(values):
        return float("nan"), float("nan")
    low, high = np.percentile(known, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def intervals(resampled: Resampled, num_images: int, resamples: int, seed: int, level: float) -> dict[str, tuple[float, float]]:
    """{figure: (low, high)} for a confidence `level` such as 0.95."""
    return {name: interval(values, level) for name, values in distribution(resampled, num_images, resamples, seed).items()}
