"""Where the tiles of an image lie, and how much each counts where they overlap.

Tiles overlap and are weighed by a Gaussian, as in nnU-Net (Isensee et al. 2021). The weights of a grid are products of a row's and a
column's, so they are normalised along each side by itself: weighted logits add up to the mean, and no map of weights is kept.
"""

import math
from dataclasses import dataclass

import numpy as np

from seg.core.errors import ArgumentError

FAINTEST = -600.0  # of the logarithm of a weight, so that none but a margin's is 0


@dataclass(frozen=True, slots=True)
class Tiling:
    """How images are cut into tiles. Settings are checked where they are read.

    tile: height and width in pixels. overlap: the least share of a tile's side that it has in common with the next one, 0 or more and
    below 1. sigma: of the Gaussian, as a share of the tile's side. margin: pixels along a tile's inner sides, those that are not the
    image's own, that count nothing. padding: reflect or edge, of images that are smaller than a tile.
    """

    tile: tuple[int, int]
    overlap: float
    sigma: float
    margin: int
    padding: str


@dataclass(frozen=True, slots=True)
class Side:
    """The tiles along one side of an image.

    length: of the side in pixels, padding included. tile: of a tile. starts: of the tiles, rising. weights: (tile,) float32 of each tile,
    which add up to 1 at every pixel.
    """

    length: int
    tile: int
    starts: tuple[int, ...]
    weights: tuple[np.ndarray, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """The tiles of one image of (height, width) pixels: all pairs of one of `rows` and one of `columns`."""

    height: int
    width: int
    rows: Side
    columns: Side


def grid(tiling: Tiling, height: int, width: int, stride: int) -> Grid:
    """The tiles of an image. ArgumentError where tile, overlap and margin do not go with each other or with the network.

    Tiles start at multiples of `stride`, the network's, so that it sees each pixel on the same grid as in the whole image; they are spread
    evenly, and the last ends with the image (or with the padding that brings it to a multiple of the stride).
    """
    rows, columns = (_side(tiling, axis, length, stride) for axis, length in enumerate((height, width)))
    return Grid(height, width, rows, columns)


def _side(tiling: Tiling, axis: int, length: int, stride: int) -> Side:
    tile = tiling.tile[axis]
    if tile % stride or tile < 2 * stride:
        nearest = max(2, round(tile / stride)) * stride
        raise ArgumentError(f"tile: expected a multiple of the network's stride {stride}, two or more, got {tile}; set {nearest}")
    step = (tile - math.ceil(round(tile * tiling.overlap, 6))) // stride * stride or stride
    if step > tile - 2 * tiling.margin:
        raise ArgumentError(
            f"margin: with tiles of {tile} pixels, {step} apart, expected at most {(tile - step) // 2}, got {tiling.margin}; "
            "set a larger overlap"
        )
    padded = max(tile, math.ceil(length / stride) * stride)
    count = math.ceil((padded - tile) / step) + 1
    starts = tuple(i * (padded - tile) // (stride * max(1, count - 1)) * stride for i in range(count))
    return Side(padded, tile, starts, _weights(padded, tile, starts, tiling))


def _weights(length: int, tile: int, starts: tuple[int, ...], tiling: Tiling) -> tuple[np.ndarray, ...]:
    distance = (np.arange(tile) - (tile - 1) / 2) / (tiling.sigma * tile)
    bell = np.exp(np.maximum(-0.5 * distance**2, FAINTEST))
    total, each = np.zeros(length), []
    for start in starts:
        weights = bell.copy()
        if start > 0:
            weights[: tiling.margin] = 0
        if start + tile < length:
            weights[tile - tiling.margin :] = 0
        each.append(weights)
        total[start : start + tile] += weights
    return tuple((weights / total[start : start + tile]).astype(np.float32) for start, weights in zip(starts, each, strict=True))
