"""The paired bootstrap: against a loop that counts every draw anew, and what pairing is for."""

import math
from dataclasses import astuple

import numpy as np
import pytest
from random_instances import batch_of, random_scenes
from sklearn.metrics import jaccard_score

from seg.compare.comparison import ImageScores, extremes, paired, scores_by_image
from seg.data.sample import Prediction, Sample, no_instances
from seg.evaluation.settings import Bootstrap
from seg.loading.batch import collate
from seg.metrics.bootstrap import draws, limits_of, moved
from seg.metrics.instance import InstanceMetrics
from seg.metrics.semantic import SemanticMetrics

NAMES = ["ground", "house", "tree"]
SIZE = (10, 12)


def bootstrap(resamples: int = 60, level: float = 0.9, seed: int = 5) -> Bootstrap:
    return Bootstrap(resamples=resamples, level=level, seed=seed)


def truths(count: int) -> list[np.ndarray]:
    """Class maps of three classes, an ignored row in each."""
    rng = np.random.default_rng(0)
    maps = [rng.integers(0, 3, SIZE).astype(np.uint8) for _ in range(count)]
    for labels in maps:
        labels[0] = 255
    return maps


def guesses(maps: list[np.ndarray], wrong: float, seed: int) -> list[np.ndarray]:
    """Wrong in about that share of the pixels; the larger the share, the more of the same pixels. Images differ in how hard they are."""
    said = []
    for number, labels in enumerate(maps):
        rng = np.random.default_rng([seed, number])
        hard = rng.random(SIZE) < wrong * rng.uniform(0, 2)
        said.append(np.where(hard | (labels == 255), (labels.astype(int) + 1) % 3, labels).astype(np.uint8))
    return said


def metrics_of(maps: list[np.ndarray], said: list[np.ndarray]) -> SemanticMetrics:
    metrics = SemanticMetrics(NAMES)
    for number, (labels, predicted) in enumerate(zip(maps, said, strict=True)):
        sample = Sample(f"image{number}", np.zeros((*SIZE, 3), np.uint8), labels, *no_instances(*SIZE))
        metrics.update(collate([sample]), [Prediction(predicted)])
    return metrics


def ids(count: int) -> dict[str, list[str]]:
    return {f"image{number}": [f"image{number}"] for number in range(count)}


@pytest.mark.parametrize("tiles", [1, 2])
def test_differences_are_those_of_a_loop_over_the_draws(tiles: int) -> None:
    """Of draws, of which the interval is made by `limits_of`, which has a test of its own. The tiles of an image are drawn together."""
    maps = truths(8 * tiles)
    first, other = guesses(maps, 0.3, 1), guesses(maps, 0.2, 1)
    images = {f"whole{number}": [f"image{tiles * number + tile}" for tile in range(tiles)] for number in range(8)}
    found = paired([metrics_of(maps, first), metrics_of(maps, other)], images, bootstrap())

    def miou(said: list[np.ndarray], times: np.ndarray) -> float:
        pixels = [(a[a != 255], b[a != 255]) for a, b, n in zip(maps, said, np.repeat(times, tiles), strict=True) for _ in range(int(n))]
        true, predicted = (np.concatenate(side) for side in zip(*pixels, strict=True))
        return float(jaccard_score(true, predicted, average="macro"))

    own = [
        moved(lambda weights, said=said: {"miou": np.array([miou(said, times) for times in weights])}, 8, 60, 5)["miou"]
        for said in (first, other)
    ]
    apart, d = own[1].less(own[0]), found.differences[0]["miou"]
    expected = limits_of({"miou": apart}, 8, 5, 0.9, differences=True)["miou"]
    assert astuple(d) == pytest.approx((own[0].value, own[1].value, apart.value, *expected, np.mean(apart.draws > 0)))
    assert apart.value == pytest.approx(miou(other, np.ones(8)) - miou(first, np.ones(8)))
    assert 0 < d.low < d.difference < d.high
    assert d.decided
    for place in (0, 1):
        within = limits_of({"miou": own[place]}, 8, 5, 0.9)["miou"]
        assert astuple(found.intervals[place]["miou"]) == pytest.approx((own[place].value, *within))
    assert set(found.differences[0]) == set(metrics_of(maps, first).figures())


@pytest.mark.parametrize("kind", ["pixels", "instances"])
def test_two_equal_runs_differ_by_exactly_nothing(kind: str) -> None:
    if kind == "pixels":
        maps = truths(6)
        runs = [metrics_of(maps, guesses(maps, 0.3, 1)) for _ in range(2)]
        names = ids(6)
    else:
        scenes = random_scenes(0, 6)
        runs = [InstanceMetrics(["background", "a", "b", "c"], 0.5, 100) for _ in range(2)]  # type: ignore[misc]
        for run in runs:
            run.update(*batch_of(scenes))
        names = [scene.image_id for scene in scenes]
    drawn = runs[0].resampled(names, np.concatenate(list(draws(len(names), 20, 5))))
    without = runs[0].resampled(names, 1 - np.eye(len(names)))
    found = paired(runs, {name: [name] for name in names}, bootstrap(20)).differences[0]
    assert set(found) == set(drawn)
    for name, d in found.items():
        seldom = not np.isfinite(without[name]).all() or np.isfinite(drawn[name]).sum() < 19
        assert astuple(d)[3:5] == pytest.approx([math.nan] * 2 if seldom else [0, 0], abs=0, nan_ok=True)
        assert d.above == 0 or seldom
        assert d.difference == 0 or math.isnan(d.first)
        assert not d.decided
    assert any(d.above == 0 for d in found.values())


def test_pairing_narrows_the_interval_of_runs_that_find_the_same_images_hard() -> None:
    maps = truths(40)
    runs = [metrics_of(maps, guesses(maps, wrong, 1)) for wrong in (0.30, 0.27)]
    d = paired(runs, ids(40), bootstrap(400, 0.95)).differences[0]["miou"]
    one, other = (np.concatenate([run.resampled(ids(40), w)["miou"] for w in draws(40, 400, seed)]) for seed, run in enumerate(runs))
    low, high = np.percentile(other - one, [2.5, 97.5])
    assert d.high - d.low < 0.5 * (high - low)
    assert d.decided
    assert low < 0 < high


def test_the_first_runs_draws_are_every_runs() -> None:
    maps = truths(5)
    runs = [metrics_of(maps, guesses(maps, wrong, 1)) for wrong in (0.3, 0.2, 0.1)]
    three = paired(runs, ids(5), bootstrap())
    assert three.differences[1] == paired(runs[::2], ids(5), bootstrap()).differences[0]
    back = paired(runs[::-2], ids(5), bootstrap()).differences[0]["miou"]
    there = three.differences[1]["miou"]
    assert (back.difference, back.low, back.high) == pytest.approx((-there.difference, -there.high, -there.low))


def test_without_draws_there_are_differences_alone() -> None:
    maps = truths(3)
    d = paired([metrics_of(maps, guesses(maps, w, 1)) for w in (0.3, 0.1)], ids(3), bootstrap(0)).differences[0]["miou"]
    assert d.difference > 0
    assert math.isnan(d.low)
    assert math.isnan(d.high)
    assert math.isnan(d.above)
    assert not d.decided


def test_images_are_ordered_by_how_far_they_are_apart() -> None:
    nan = math.nan
    images = [ImageScores(name, scores) for name, scores in {
        "same": (0.5, 0.5, 0.9), "up": (0.2, 0.7, 0.2), "high": (0.1, 0.9, 0.0), "down": (0.6, 0.5, nan), "none": (nan, 0.4, nan),
    }.items()]  # fmt: skip
    gains, losses = extremes(images, 1, 8)
    assert [[i.image_id for i in part] for part in (gains, losses)] == [["high", "up"], ["down"]]
    assert [i.image_id for i in extremes(images, 1, 1)[0]] == ["high"]
    assert [i.image_id for i in extremes(images, 2, 8)[0]] == ["same"]
    assert [i.largest for i in images] == pytest.approx([0.4, 0.5, 0.8, -0.1, nan], nan_ok=True)


def test_scores_are_those_of_the_metrics() -> None:
    maps = truths(2)
    runs = []
    for wrong in (0.3, 0.1):
        metrics = SemanticMetrics(NAMES)
        samples = [Sample(f"image{n}", np.zeros((*SIZE, 3), np.uint8), maps[n], *no_instances(*SIZE)) for n in (1, 0)]
        said = guesses(maps, wrong, 1)
        runs.append({s.image_id: s for s in metrics.update(collate(samples), [Prediction(said[1]), Prediction(said[0])])})
    assert [i.image_id for i in scores_by_image(runs)] == ["image0", "image1"]
    assert scores_by_image(runs)[1].scores == (runs[0]["image1"].score, runs[1]["image1"].score)
