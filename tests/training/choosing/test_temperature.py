"""Temperatures, from labels that were drawn with known probabilities."""

import numpy as np
import pytest
from random_instances import Scene, batch_of, box

from seg.metrics.instance import InstanceMetrics
from seg.training.choosing.temperature import PIXELS, of_pixels, of_scores, sampled

NAMES = ["background", "cell"]


def pixels(times: float, images: int = 12) -> list[tuple[np.ndarray, np.ndarray]]:
    """Logits that are `times` too large for the labels."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(images):
        logits = rng.normal(0, 1.5, (400, 3))
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        labels = (rng.random((400, 1)) > shares.cumsum(axis=1)).sum(axis=1).clip(0, 2)
        found.append((times * logits, labels))
    return found


def likelihood(images: list[tuple[np.ndarray, np.ndarray]], temperature: float) -> float:
    logits, labels = (np.concatenate(parts) for parts in zip(*images, strict=True))
    shares = np.exp(logits / temperature)
    shares /= shares.sum(axis=1, keepdims=True)
    return float(-np.log(shares[np.arange(len(labels)), labels]).mean())


def test_the_temperature_of_pixels_is_the_best_of_a_grid() -> None:
    images = pixels(3.0)
    found = of_pixels(images)
    assert found is not None
    grid = np.arange(2.0, 4.0, 0.01)
    best = grid[np.argmin([likelihood(images, t) for t in grid])]
    assert found.temperature == pytest.approx(best, abs=0.02)
    assert found.temperature == pytest.approx(3, abs=0.2)
    assert (found.likelihood.before, found.likelihood.after) == pytest.approx(
        (likelihood(images, 1.0), likelihood(images, found.temperature)), rel=1e-6
    )
    assert found.errors[1] < 0.03 < 0.1 < found.errors[0]


def test_probabilities_that_are_right_stay() -> None:
    found = of_pixels(pixels(1.0))
    assert found is not None
    assert found.temperature == 1
    assert not found.likelihood.taken
    assert of_pixels([]) is None


def test_one_image_tells_too_little() -> None:
    found = of_pixels(pixels(3.0, images=1))
    assert found is not None
    assert found.temperature == 1


def test_the_temperature_of_scores() -> None:
    """An instance of score s is there with the probability whose log-odds are half of those of s."""
    rng = np.random.default_rng(2)
    metrics = InstanceMetrics(NAMES, 0.5, 100)
    for number in range(40):
        scene = Scene(f"{number:02}", (40, 80))
        for place in range(12):
            mask = box(40, 80, 10 * (place // 4), 20 * (place % 4), 10 * (place // 4) + 8, 20 * (place % 4) + 8)
            score = rng.uniform(0.02, 0.98)
            scene.predict(mask, score=score)
            odds = (score / (1 - score)) ** 0.5
            if rng.random() < odds / (1 + odds):
                scene.add(mask)
        metrics.update(*batch_of([scene]))
    found = of_scores(list(metrics.images.values()), [1], 100)
    assert found is not None
    assert found.temperature == pytest.approx(2, abs=0.4)
    assert found.errors[1] < found.errors[0]
    assert of_scores([], [1], 100) is None


def test_pixels_are_sampled_of_those_with_a_label() -> None:
    logits = np.stack([np.arange(10_000.0).reshape(100, 100), np.zeros((100, 100))])
    labels = (np.arange(10_000).reshape(100, 100) % 2).astype(np.uint8)
    known = np.zeros((100, 100), bool)
    known[50:] = True
    given, found = sampled(logits, labels, known, 0)
    assert len(given) == len(found) == PIXELS
    assert given[:, 0].min() >= 5000
    assert np.array_equal(given[:, 0] % 2, found)
