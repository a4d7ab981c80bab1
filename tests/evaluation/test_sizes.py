"""Figures by size, counted by hand and with loops."""

import math

import numpy as np
import pytest

from seg.evaluation.detail import bin_sizes, quantile_edges


def test_bins_of_equally_many() -> None:
    areas = np.array([100, 7, 30, 1, 52, 9, 4, 1000, 20, 60])
    assert quantile_edges(areas, 5) == [7, 20, 52, 100]
    assert quantile_edges(areas, 1) == []
    assert quantile_edges(areas, 3) == [20, 60], "4, 3 and 3 of the ten"


def test_equal_areas_share_a_bin() -> None:
    assert quantile_edges(np.array([5, 5, 5, 5, 5, 5, 5, 5, 8, 9]), 5) == [8]
    assert quantile_edges(np.full(10, 5), 5) == []
    assert quantile_edges(np.zeros(0, np.int64), 5) == []
    assert quantile_edges(np.array([3, 4]), 5) == [4]


@pytest.mark.parametrize("seed", range(20))
def test_the_bins_of_unlike_areas_differ_by_one_at_most(seed: int) -> None:
    rng = np.random.default_rng(seed)
    areas = rng.permutation(1000)[: rng.integers(5, 200)]
    edges = quantile_edges(areas, 5)
    counts = [b["num_truth"] for b in bin_sizes(areas, areas < 0, areas, areas < 0, edges)]
    assert len(counts) == 5
    assert sum(counts) == len(areas)
    assert max(counts) - min(counts) <= 1


def test_recall_is_binned_by_the_truths_area_and_precision_by_the_predictions() -> None:
    truth, found = np.array([1, 9, 10, 99, 100]), np.array([False, True, True, False, True])
    predicted, correct = np.array([9, 11, 12, 200, 3000]), np.array([False, True, True, True, False])
    small, medium, large = bin_sizes(truth, found, predicted, correct, [10, 100])
    bins = [{k: b[k] for k in ("low", "high", "num_truth", "found", "num_predicted")} for b in (small, medium, large)]
    assert bins[0] == {"low": 0, "high": 10, "num_truth": 2, "found": 1, "num_predicted": 1}
    assert bins[1] == {"low": 10, "high": 100, "num_truth": 2, "found": 1, "num_predicted": 2}
    assert bins[2] == {"low": 100, "high": None, "num_truth": 1, "found": 1, "num_predicted": 2}
    assert [(b["recall"], b["precision"]) for b in (small, medium, large)] == [(0.5, 0), (0.5, 1), (1, 0.5)]


def test_an_empty_bin_has_no_figures() -> None:
    nothing = np.zeros(0, np.int64)
    for edges in ([], [32**2, 96**2]):
        bins = bin_sizes(nothing, nothing > 0, nothing, nothing > 0, edges)
        assert len(bins) == 1 + len(edges)
        assert all(b["num_truth"] == b["num_predicted"] == 0 and math.isnan(b["recall"]) and math.isnan(b["precision"]) for b in bins)
