"""Bootstrap intervals: against scipy's own bootstrap, and how often they hold the truth."""

import math

import numpy as np
import pytest
from scipy import stats

from seg.evaluation import bootstrap
from seg.evaluation.bootstrap import distribution, draws, interval, intervals


def mean_of(values: np.ndarray) -> bootstrap.Resampled:
    return lambda weights: {"mean": weights @ values / weights.sum(axis=1)}


def test_intervals_agree_with_scipys() -> None:
    values = np.random.default_rng(0).gamma(2, size=60)
    found = intervals(mean_of(values), 60, 20_000, 0, 0.9)["mean"]
    expected = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", confidence_level=0.9, rng=1).confidence_interval
    assert found == pytest.approx((expected.low, expected.high), abs=0.02)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for seed in range(200):
        low, high = intervals(mean_of(rng.normal(3, 2, 50)), 50, 400, seed, 0.95)["mean"]
        held += low <= 3 <= high
    assert 0.88 <= held / 200 <= 0.99


def test_the_seed_alone_decides_whatever_the_size_of_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(draws(7, 50, 3)))
    assert whole.shape == (50, 7)
    assert (whole.sum(axis=1) == 7).all()
    monkeypatch.setattr(bootstrap, "AT_ONCE", 21)
    assert np.array_equal(np.concatenate(list(draws(7, 50, 3))), whole)
    assert not np.array_equal(np.concatenate(list(draws(7, 50, 4))), whole)
    assert distribution(mean_of(np.arange(7.0)), 7, 50, 3)["mean"].shape == (50,)


def test_figures_that_are_seldom_defined_have_no_interval() -> None:
    values = np.arange(100.0)
    assert interval(values, 0.5) == (24.75, 74.25)
    values[:5] = np.nan
    assert interval(values, 0.5) == pytest.approx((28.5, 75.5), abs=0.1)
    values[:6] = np.nan
    assert all(map(math.isnan, interval(values, 0.5)))
    assert all(map(math.isnan, interval(np.zeros(0), 0.5)))
