"""How far figures would move with other images: intervals by a studentised bootstrap over images (Efron and Tibshirani 1993, chapter 12).

Percentiles of the draws are too narrow where images are few, and blind to the fact that few images tell little about their own spread.
So each draw's distance to the figure is measured in standard errors of that draw, and the interval reaches as many standard errors
to either side as hold the asked share of the draws. benchmarks/intervals.py counts how often such intervals hold the truth."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

Resampled = Callable[[np.ndarray], dict[str, np.ndarray]]
"""weights (R, N) -> {figure: (R,)}, as `seg.metrics.base.Metrics.resampled` gives them for N images."""

Limits = tuple[float, float]

AT_ONCE = 2_000_000  # weights that are in memory together
DEFINED = 0.95  # share of the draws in which a figure must be defined for its interval to mean something
FEW = 30
"""Images below which an interval is itself a guess, and is marked as one."""

LENGTHS = ("_px", "_um")  # what the names of figures end in that are lengths
Function = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class Moved:
    """What a figure becomes: over the images as they are, in each draw (R,), and without each image (N,); NaN where undefined.

    `without` is empty where there are more images than draws: it would take longer than they do, and the draws alone say as much."""

    value: float
    draws: np.ndarray
    without: np.ndarray

    def less(self, other: "Moved") -> "Moved":
        """What the difference of the two figures becomes."""
        return Moved(self.value - other.value, self.draws - other.draws, self.without - other.without)


def by_images(resampled: Callable[[Sequence[str], np.ndarray], dict[str, np.ndarray]], tiles: Mapping[str, Sequence[str]]) -> Resampled:
    """The figures of resampled images, of which one that came in tiles is drawn whole. tiles: those of each image, by their names."""
    names, places = [tile for its in tiles.values() for tile in its], np.repeat(np.arange(len(tiles)), [len(its) for its in tiles.values()])
    return lambda weights: resampled(names, weights[:, places])


def draws(num_images: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """`resamples` draws of num_images out of num_images with replacement: blocks of weights (r, num_images) float64.

    The same for the same numbers and seed, so that two evaluations of the same images can be compared draw by draw."""
    rng = np.random.default_rng(seed)
    rows = max(1, AT_ONCE // num_images)
    shares = np.full(num_images, 1 / num_images)
    for start in range(0, resamples, rows):
        yield rng.multinomial(num_images, shares, size=min(rows, resamples - start)).astype(np.float64)


def moved(resampled: Resampled, num_images: int, resamples: int, seed: int) -> dict[str, Moved]:
    """What each figure becomes with other images; nothing without draws."""
    if not resamples:
        return {}
    left_out = 1 - np.eye(num_images) if 1 < num_images <= resamples else np.zeros((0, num_images))
    whole = resampled(np.concatenate([np.ones((1, num_images)), left_out]))
    blocks = [resampled(weights) for weights in draws(num_images, resamples, seed)]
    return {name: Moved(float(v[0]), np.concatenate([block[name] for block in blocks]), v[1:]) for name, v in whole.items()}


def intervals(resampled: Resampled, num_images: int, resamples: int, seed: int, level: float) -> dict[str, Limits]:
    """{figure: (low, high)} for a confidence `level` such as 0.95; NaN where there is none."""
    return limits_of(moved(resampled, num_images, resamples, seed), num_images, seed, level)


def limits_of(figures: Mapping[str, Moved], num_images: int, seed: int, level: float, differences: bool = False) -> dict[str, Limits]:
    """The interval of each figure, or of each difference of figures; NaN where fewer than 95 % of the draws are defined.

    Distances are measured on the scale of logits for shares, of logarithms for lengths, as they are for differences."""
    if not figures:
        return {}
    if not len(next(iter(figures.values())).without):
        # one image alone tells nothing of others; of many the percentiles will do
        return {name: percentiles(f.draws if num_images > 1 else f.draws[:0], level) for name, f in figures.items()}
    influence = np.stack([(num_images - 1) * (f.without.mean() - f.without) for f in figures.values()], axis=1)
    spread = np.sqrt((influence**2).sum(axis=0) / (num_images * (num_images - 1)))
    in_draws = np.concatenate([_spreads(w, influence) for w in draws(num_images, len(next(iter(figures.values())).draws), seed)])
    student = float(stdtrit(num_images - 1, (1 + level) / 2))
    scales = [_scale(name, figure, differences) for name, figure in figures.items()]
    each = zip(figures.items(), spread, in_draws.T, scales, strict=True)
    return {name: _limits(figure, own, drawn, level, student, scale) for (name, figure), own, drawn, scale in each}


def percentiles(values: np.ndarray, level: float) -> Limits:
    """The interval that holds the middle share `level` of the draws (R,); NaN where fewer than 95 % of them are defined."""
    known = values[np.isfinite(values)]
    if not len(values) or len(known) < DEFINED * len(values):
        return float("nan"), float("nan")
    low, high = np.percentile(known, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def _spreads(weights: np.ndarray, influence: np.ndarray) -> np.ndarray:
    """Standard errors (R, F) in draws (R, N), from how much each image moves each figure (N, F)."""
    num_images = len(influence)
    mean, squares = weights @ influence / num_images, weights @ influence**2 / num_images
    return np.sqrt(np.maximum(squares - mean**2, 0) / (num_images - 1))


def few_images(num_images: int) -> str:
    """What there is to say of figures from so few images; nothing where there are enough."""
    counted = f"from {num_images} image{'s' * (num_images > 1)}"
    return f"{counted}: the figures are rough, and an interval is wide and itself uncertain" if num_images < FEW else ""


@dataclass(frozen=True, slots=True)
class _Scale:
    """On which distances are measured: to it, its slope, and back."""

    to: Function
    slope: Function
    back: Function


SHARE = _Scale(lambda x: np.log(x / (1 - x)), lambda x: 1 / (x * (1 - x)), lambda y: 1 / (1 + np.exp(-y)))
LENGTH = _Scale(np.log, lambda x: 1 / x, np.exp)
AS_IS = _Scale(lambda x: x, np.ones_like, lambda y: y)


def _scale(name: str, figure: Moved, differences: bool) -> _Scale:
    if differences or name.endswith(LENGTHS):
        return AS_IS if differences else LENGTH
    known = np.append(figure.draws[np.isfinite(figure.draws)], figure.value)
    return SHARE if ((known >= 0) & (known <= 1)).all() else AS_IS  # a user's own metric may be anything


def _limits(figure: Moved, spread: float, in_draws: np.ndarray, level: float, student: float, scale: _Scale) -> Limits:
    """student: as many standard errors as an interval is to reach at least."""
    known = np.isfinite(figure.draws)
    if not np.isfinite(figure.value + spread) or known.sum() < DEFINED * len(known):
        return float("nan"), float("nan")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        value, drawn = np.asarray(figure.value), figure.draws[known]
        at, slope = scale.to(value), scale.slope(value)
        distance = np.abs(scale.to(drawn) - at) / (in_draws[known] * scale.slope(drawn))
        distance = distance[~np.isnan(distance)]
        errors = max(student, float(np.quantile(distance, level))) if len(distance) else student
        reach = errors * spread * slope
        low, high = scale.back(at - reach), scale.back(at + reach)
    return float(low), float(high)
