"""Bootstrap intervals: against loops over the draws, scipy's percentiles, and how often they hold the truth."""

import math

import numpy as np
import pytest
from scipy import stats

from seg.metrics import bootstrap
from seg.metrics.bootstrap import FEW, Moved, draws, few_images, intervals, limits_of, moved, percentiles


def ratio_of(right: np.ndarray, counted: np.ndarray, name: str = "share") -> bootstrap.Resampled:
    """A ratio of sums over images, as mIoU and F1 are."""
    return lambda weights: {name: weights @ right / (weights @ counted)}


def counts(rng: np.random.Generator, num_images: int, runs: int = 1) -> list[np.ndarray]:
    """Of each run, how many are right, and of all, how many are counted: images differ in size and in how hard they are."""
    counted = 1 + rng.poisson(8, num_images)
    hard = rng.normal(0, 0.8, num_images)
    each = [rng.binomial(counted, 1 / (1 + np.exp(-(1.5 + hard + rng.normal(0, 0.8, num_images))))) for _ in range(runs)]
    return [*each, counted]


@pytest.mark.parametrize("name", ["share", "length_px", "difference"])
def test_an_interval_is_that_of_a_loop_over_the_draws(name: str) -> None:
    right, counted = counts(np.random.default_rng(5), 12)
    right, counted = right * (1 + np.arange(12)), (counted + 1) * (1 + np.arange(12))  # of sizes far apart, none without an error
    rows = np.concatenate(list(draws(12, 300, 4))).astype(int)
    value = right.sum() / counted.sum()
    without = [np.delete(right, i).sum() / np.delete(counted, i).sum() for i in range(12)]
    pull = [11 * (np.mean(without) - v) for v in without]
    to, slope, back = {
        "share": (lambda x: math.log(x / (1 - x)), lambda x: 1 / x / (1 - x), lambda y: 1 / (1 + math.exp(-y))),
        "length_px": (math.log, lambda x: 1 / x, math.exp),
        "difference": (lambda x: x, lambda x: 1, lambda y: y),
    }[name]
    distances = []
    for row in rows:
        images = np.repeat(np.arange(12), row)
        drawn = right[images].sum() / counted[images].sum()
        error = np.std(np.array(pull)[images]) / math.sqrt(11)
        distances.append(abs(to(drawn) - to(value)) / (error * slope(drawn)))
    errors = float(np.quantile(distances, 0.9))
    assert errors > stats.t.ppf(0.95, 11), "else the interval would be Student's"
    # the jackknife's standard error
    reach = errors * math.sqrt(11 / 12 * sum((v - np.mean(without)) ** 2 for v in without)) * slope(value)
    found = moved(ratio_of(right, counted, name), 12, 300, 4)
    low, high = limits_of(found, 12, 4, 0.9, differences=name == "difference")[name]
    assert (low, high) == pytest.approx((back(to(value) - reach), back(to(value) + reach)), rel=1e-9)
    assert low < value < high


def test_an_interval_of_a_mean_is_never_narrower_than_students() -> None:
    values = np.random.default_rng(3).normal(0, 2, 15)
    found = moved(lambda weights: {"mean": weights @ values / 15}, 15, 400, 0)
    low, high = limits_of(found, 15, 0, 0.95, differences=True)["mean"]
    student = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert low <= student.low < student.high <= high
    assert high - low < 1.3 * (student.high - student.low)


@pytest.mark.parametrize(("num_images", "paired"), [(5, False), (10, False), (5, True), (10, True)])
def test_intervals_hold_the_truth_as_often_as_they_say_also_of_few_images(num_images: int, paired: bool) -> None:
    """benchmarks/intervals.py measures it with more sets of images, and of more figures."""
    rng, held, narrow = np.random.default_rng(1), 0, 0
    *rights, counted = counts(rng, 100_000, 2)
    truth = (rights[1].sum() - rights[0].sum() if paired else rights[0].sum()) / counted.sum()
    for seed in range(300):
        images = rng.integers(0, 100_000, num_images)
        one, other = (moved(ratio_of(right[images], counted[images]), num_images, 300, seed)["share"] for right in rights)
        figure = other.less(one) if paired else one
        low, high = limits_of({"share": figure}, num_images, seed, 0.95, paired)["share"]
        held += low <= truth <= high
        low, high = percentiles(figure.draws, 0.95)
        narrow += low <= truth <= high
    assert held / 300 >= 0.93
    assert narrow < held - 9, "else the percentiles would do"


def test_of_more_images_than_draws_the_percentiles_do() -> None:
    values = np.random.default_rng(0).gamma(2, size=60)
    mean = ratio_of(values, np.ones(60))
    found = intervals(mean, 60, 59, 0, 0.9)["share"]
    assert found == percentiles(moved(mean, 60, 59, 0)["share"].draws, 0.9)
    expected = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", confidence_level=0.9, rng=1).confidence_interval
    many = np.concatenate([mean(block)["share"] for block in draws(60, 20_000, 0)])
    assert percentiles(many, 0.9) == pytest.approx((expected.low, expected.high), abs=0.02)


def test_the_seed_alone_decides_whatever_the_size_of_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(draws(7, 50, 3)))
    assert whole.shape == (50, 7)
    assert (whole.sum(axis=1) == 7).all()
    right, counted = counts(np.random.default_rng(0), 7)
    found = intervals(ratio_of(right, counted), 7, 50, 3, 0.9)
    monkeypatch.setattr(bootstrap, "AT_ONCE", 21)
    assert np.array_equal(np.concatenate(list(draws(7, 50, 3))), whole)
    assert not np.array_equal(np.concatenate(list(draws(7, 50, 4))), whole)
    assert intervals(ratio_of(right, counted), 7, 50, 3, 0.9) == found


def test_figures_that_are_seldom_defined_have_no_interval() -> None:
    values = np.arange(100.0)
    assert percentiles(values, 0.5) == (24.75, 74.25)
    values[:5] = np.nan
    assert percentiles(values, 0.5) == pytest.approx((28.5, 75.5), abs=0.1)
    values[:6] = np.nan
    assert all(map(math.isnan, percentiles(values, 0.5)))
    assert all(map(math.isnan, percentiles(np.zeros(0), 0.5)))
    steady = np.array([0.4, 0.6] * 5)
    for seldom, there in ((5, True), (6, False)):
        drawn = np.r_[np.full(seldom, np.nan), np.linspace(0.3, 0.7, 100 - seldom)]
        low, _ = limits_of({"share": Moved(0.5, drawn, steady)}, 10, 0, 0.9)["share"]
        assert math.isnan(low) != there
    of_one_image = Moved(0.5, np.linspace(0.3, 0.7, 100), np.r_[np.nan, steady[1:]])
    assert math.isnan(limits_of({"share": of_one_image}, 10, 0, 0.9)["share"][0]), "undefined without that image"


def test_what_images_cannot_tell_has_no_interval() -> None:
    one = intervals(ratio_of(np.array([3]), np.array([4])), 1, 100, 0, 0.95)["share"]
    assert all(map(math.isnan, one)), "an image alone tells nothing of others"
    perfect = ratio_of(np.full(8, 4), np.full(8, 4))
    assert all(map(math.isnan, intervals(perfect, 8, 100, 0, 0.95)["share"])), "eight images without an error: how far off is 1?"
    same = moved(perfect, 8, 100, 0)["share"]
    assert limits_of({"share": same.less(same)}, 8, 0, 0.95, differences=True)["share"] == (0, 0)
    assert intervals(perfect, 8, 0, 0, 0.95) == {}


def test_a_share_stays_between_0_and_1_and_a_length_above_0() -> None:
    right, counted = np.array([9, 10, 9, 10]), np.full(4, 10)
    low, high = intervals(ratio_of(right, counted), 4, 200, 0, 0.95)["share"]
    assert 0 < low < 0.95 < high < 1
    low, high = intervals(ratio_of(np.array([0.1, 9, 0.2, 0.1]), np.ones(4), "mean_hd95_px"), 4, 200, 0, 0.95)["mean_hd95_px"]
    assert 0 < low < 2.35
    assert high > 10


def test_few_images_are_told() -> None:
    assert few_images(FEW) == ""
    assert few_images(12) == "from 12 images: the figures are rough, and an interval is wide and itself uncertain"
    assert few_images(1).startswith("from 1 image:")
