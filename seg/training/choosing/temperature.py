"""The temperature by which a model's probabilities say how often it is right (Guo et al. 2017), from images that it did not learn.

Of class maps, logits are divided by it; of instances, the log-odds of scores, so that a score is the share of instances that match a true
one at an IoU of 0.5. The order of scores and the class of each pixel stay."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from seg.data.sample import CERTAIN
from seg.metrics.bootstrap import Moved, limits_of, moved
from seg.metrics.calibration import count_confidence, count_scores, expected_calibration_error
from seg.metrics.coco import ImageInstances, scored_matches
from seg.metrics.semantic import ratio
from seg.models.postprocess import Compared, softened

PIXELS = 2000  # labelled pixels of an image that count
BINS = 15
LEVEL = 0.95
RANGE = (0.05, 20.0)
RESAMPLES, SEED = 1000, 0
Figure = Callable[[np.ndarray], np.ndarray]
"""weights (R, N), how often each of R data sets holds each of N images -> (R,) the figure of each."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """likelihood: the mean negative log-likelihood without and with the temperature. errors: the expected calibration errors."""

    temperature: float
    likelihood: Compared
    errors: tuple[float, float]


def sampled(logits: np.ndarray, labels: np.ndarray, known: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Up to PIXELS of an image's labelled pixels: logits (n, K) float64 and labels (n,) int64.

    logits: (K, H, W). labels: (H, W) uint8. known: (H, W) bool, where the label counts."""
    places = np.flatnonzero(known)
    if len(places) > PIXELS:
        places = np.sort(np.random.default_rng(seed).choice(places, PIXELS, replace=False))
    return logits.reshape(len(logits), -1)[:, places].T.astype(np.float64), labels.ravel()[places].astype(np.int64)


def of_pixels(images: Sequence[tuple[np.ndarray, np.ndarray]]) -> Calibration | None:
    """From the pixels of each image, as `sampled` gives them; None without any."""
    logits, labels = (np.concatenate(parts) for parts in zip(*images, strict=True)) if images else (np.zeros((0, 1)), np.zeros(0, np.int64))
    image = np.repeat(np.arange(len(images)), [len(own) for _, own in images])

    def losses(temperature: float) -> np.ndarray:
        scaled = logits / temperature
        highest = scaled.max(axis=1, keepdims=True)
        return np.asarray(np.log(np.exp(scaled - highest).sum(axis=1)) + highest[:, 0] - scaled[np.arange(len(labels)), labels])

    def error(temperature: float) -> float:
        scaled = logits / temperature
        found, highest = scaled.argmax(axis=1), scaled.max(axis=1, keepdims=True)
        confidence = np.round(CERTAIN / np.exp(scaled - highest).sum(axis=1)).astype(np.uint16)
        truth, predicted = labels.astype(np.uint8)[None], found.astype(np.uint8)[None]
        return expected_calibration_error(count_confidence(truth, predicted, confidence[None], logits.shape[1], BINS))

    return _fitted(losses, error, image, len(images))


def of_scores(images: Sequence[ImageInstances], categories: Sequence[int], max_detections: int) -> Calibration | None:
    """From all predicted instances that count for average precision; None without any."""
    image, scores, hits = scored_matches(images, categories, max_detections)

    def losses(temperature: float) -> np.ndarray:
        probability = softened(scores, temperature)
        return np.asarray(-np.log(np.where(hits, probability, 1 - probability)))

    def error(temperature: float) -> float:
        return expected_calibration_error(count_scores(softened(scores, temperature), hits, BINS))

    return _fitted(losses, error, image, len(images))


def _fitted(
    losses: Callable[[float], np.ndarray], error: Callable[[float], float], image: np.ndarray, num_images: int
) -> Calibration | None:
    """losses: of each element at a temperature. image: the place of each element's image."""
    if not len(image):
        return None
    found = minimize_scalar(
        lambda power: losses(float(np.exp(power))).mean(), bounds=tuple(np.log(RANGE)), method="bounded", options={"xatol": 1e-3}
    )
    temperature = round(float(np.exp(found.x)), 3)
    count = np.bincount(image, minlength=num_images).astype(np.float64)
    before, after = (np.bincount(image, losses(t), num_images) for t in (1.0, temperature))

    def mean(sums: np.ndarray) -> Figure:
        return lambda weights: ratio(weights @ sums, weights @ count)

    what = f"probabilities at a temperature of {temperature:g}"
    likelihood = compared(what, "negative log-likelihood", mean(before), mean(after), num_images, LEVEL, larger=False)
    return Calibration(temperature if likelihood.taken else 1.0, likelihood, (error(1.0), error(temperature)))


def compared(what: str, name: str, before: Figure, after: Figure, num_images: int, level: float, larger: bool = True) -> Compared:
    """Compare draw by draw. level: of the interval. The change is taken where the whole interval is an improvement.

    larger: whether a larger figure is better."""

    def of(figure: Figure) -> Moved:
        return moved(lambda weights: {name: figure(weights)}, num_images, RESAMPLES, SEED)[name]

    first, second = of(before), of(after)
    low, high = limits_of({name: second.less(first)}, num_images, SEED, level, differences=True)[name]
    return Compared(what, name, first.value, second.value, low, high, bool(low > 0 if larger else high < 0))
