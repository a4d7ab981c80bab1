"""Where tiles lie and what they weigh, by what must hold for every image, and by nnU-Net's formula."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from seg.core.errors import ConfigError
from seg.tiles.grid import Side, Tiling, grid

TILING = Tiling((64, 96), 0.25, 0.125, 0, "reflect")


def side(length: int, overlap: float = 0.25, margin: int = 0, stride: int = 8, tile: int = 64) -> Side:
    return grid(Tiling((tile, tile), overlap, 0.125, margin, "edge"), length, 7, stride).rows


@pytest.mark.parametrize("overlap", [0, 0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("stride", [1, 8, 32])
def test_tiles_cover_the_side_overlap_enough_and_start_on_the_networks_grid(overlap: float, stride: int) -> None:
    for length in (1, 63, 64, 65, 90, 128, 129, 500, 1001):
        rows = side(length, overlap, stride=stride)
        assert rows.starts[0] == 0
        assert rows.starts[-1] + 64 == rows.length
        assert length <= rows.length < max(65, length + stride)
        assert all(start % stride == 0 for start in rows.starts)
        steps = [b - a for a, b in pairwise(rows.starts)]
        assert all(0 < step <= max(stride, 64 - 64 * overlap) for step in steps)
        assert not steps or max(steps) - min(steps) <= stride, "spread evenly"


def test_there_are_as_few_tiles_as_the_overlap_allows() -> None:
    assert side(4096, 0.5, tile=512).starts == tuple(range(0, 3585, 256))
    assert len(side(4096, 0.25, tile=512).starts) == 11
    assert side(100, 0, tile=64).starts == (0, 40)


@pytest.mark.parametrize("margin", [0, 5, 8])
@pytest.mark.parametrize("length", [10, 64, 70, 300])
def test_weights_add_up_to_one_and_are_a_gaussians_but_for_the_margin(length: int, margin: int) -> None:
    rows = side(length, 0.3, margin)
    total, plain = np.zeros(rows.length), np.zeros(rows.length)
    y = np.arange(64) - 31.5
    for start, weights in zip(rows.starts, rows.weights, strict=True):
        total[start : start + 64] += weights
        inner = np.ones(64, bool)
        if start:
            assert not weights[:margin].any()
            inner[:margin] = False
        if start + 64 < rows.length:
            assert not weights[64 - margin :].any()
            inner[64 - margin :] = False
        assert (weights[inner] > 0).all()
        plain[start : start + 64] += np.exp(-(y**2) / (2 * 8**2)) * inner
    assert np.abs(total - 1).max() < 1e-6
    first = np.exp(-(y**2) / (2 * 8**2)) / plain[:64]
    if len(rows.starts) > 1:
        first[64 - margin :] = 0
    np.testing.assert_allclose(rows.weights[0], first, rtol=1e-5)


def test_a_narrow_gaussian_leaves_no_pixel_without_a_weight() -> None:
    rows = grid(replace(TILING, sigma=0.001), 200, 200, 8).rows
    assert all(np.isfinite(weights).all() for weights in rows.weights)
    assert rows.weights[0][0] == 1


@pytest.mark.parametrize(
    ("changed", "stride", "said"),
    [
        ({"tile": (60, 96)}, 16, "tile: expected a multiple of the network's stride 16, two or more, got 60; set 64"),
        ({"tile": (64, 96)}, 64, "set 128"),
        ({"margin": 9}, 8, "margin: with tiles of 64 pixels, 48 apart, expected at most 8, got 9; set a larger overlap"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_said(changed: dict, stride: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("?", r"\?")):
        grid(replace(TILING, **changed), 500, 500, stride)
