"""Where the tiles of an image lie, and how much each counts where they overlap; and an image of any size in batches of tiles: its rows are
read a few at a time, beside the network.

Tiles overlap and are weighed by a Gaussian, as in nnU-Net (Isensee et al. 2021). The weights of a grid are products of a row's and a
column's, so they are normalised along each side by itself: weighted logits add up to the mean, and no map of weights is kept."""

import math
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from seg.core.errors import ArgumentError

FAINTEST = -600.0  # of the logarithm of a weight, so that none but a margin's is 0
Item = TypeVar("Item")
Place = tuple[int, int]  # a tile's row and column in the grid


@dataclass(frozen=True, slots=True)
class Tiling:
    """How images are cut into tiles. Settings are checked where they are read.

    tile: height and width in pixels. overlap: the least share of a tile's side that it has in common with the next one, 0 or more and
    below 1. sigma: of the Gaussian, as a share of the tile's side. margin: pixels along a tile's inner sides, those that are not the
    image's own, that count nothing. padding: reflect or edge, of images that are smaller than a tile."""

    tile: tuple[int, int]
    overlap: float
    sigma: float
    margin: int
    padding: str


@dataclass(frozen=True, slots=True)
class Side:
    """The tiles along one side of an image. length: of the side in pixels, padding included. tile: of a tile. starts: of the tiles, rising.
    weights: (tile,) float32 of each tile, which add up to 1 at every pixel."""

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
    """The tiles of an image. ArgumentError where tile, overlap and margin do not go with each other or with the network. Tiles start at
    multiples of `stride`, the network's, so that it sees each pixel on the same grid as in the whole image; they are spread evenly, and the
    last ends with the image (or with the padding that brings it to a multiple of the stride)."""
    rows, columns = (_side(tiling, axis, length, stride) for axis, length in enumerate((height, width)))
    return Grid(height, width, rows, columns)


def _side(tiling: Tiling, axis: int, length: int, stride: int) -> Side:
    tile = tiling.tile[axis]
    if tile % stride or tile < 2 * stride:
        nearest = max(2, round(tile / stride)) * stride
        raise ArgumentError(f"tile: expected a multiple of the network's stride {stride}, two or more, got {tile}; set {nearest}")
    step = (tile - math.ceil(round(tile * tiling.overlap, 6))) // stride * stride or stride
    if step > tile - 2 * tiling.margin:
        what = f"margin: with tiles of {tile} pixels, {step} apart, expected at most {(tile - step) // 2}, got {tiling.margin}"
        raise ArgumentError(f"{what}; set a larger overlap")
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


class Rows(Protocol):
    """An image of which any rows can be read."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows from `start` to before `stop`: (stop - start, W, C) uint8. One thread at a time may read."""


class ArrayRows:
    """An array or a memory map (H, W, C) uint8."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels
        self.shape: tuple[int, int, int] = pixels.shape

    def read(self, start: int, stop: int) -> np.ndarray:
        return self.pixels[start:stop]


def batches(rows: Rows, grid: Grid, padding: str, batch_size: int) -> Iterator[tuple[list[Place], Tensor]]:
    """All tiles, row by row: up to `batch_size` at a time, where they lie in the grid and their images (B, C, h, w) uint8. padding:
    "reflect" or "edge", of what lies beyond the image's right and lower end."""
    places: list[Place] = []
    tiles: list[np.ndarray] = []
    last = len(grid.rows.starts) - 1, len(grid.columns.starts) - 1
    for row, window in enumerate(_windows(rows, grid, padding)):
        for column, left in enumerate(grid.columns.starts):
            places.append((row, column))
            tiles.append(window[:, left : left + grid.columns.tile].copy())
            if len(tiles) == batch_size or (row, column) == last:
                yield places, torch.from_numpy(np.stack(tiles)).permute(0, 3, 1, 2)
                places, tiles = [], []


def _windows(rows: Rows, grid: Grid, padding: str) -> Iterator[np.ndarray]:
    """Of each row of tiles the padded image's rows (tile, width, C) uint8, in one array that is used again."""
    sides = (grid.height, grid.rows), (grid.width, grid.columns)  # which of the image's pixels stands at each of the padded ones
    down, across = (np.pad(np.arange(n), (0, side.length - n), mode=cast("Any", padding)) for n, side in sides)
    tile, bottom = grid.rows.tile, 0
    window = np.empty((tile, grid.columns.length, rows.shape[2]), np.uint8)
    for top in grid.rows.starts:
        kept = bottom - top
        window[:kept] = window[tile - kept :]  # numpy copies first where the two overlap
        bottom, new = top + tile, min(top + tile, grid.height)
        if new > top + kept:
            window[kept : new - top, : grid.width] = rows.read(top + kept, new)
            window[kept : new - top, grid.width :] = window[kept : new - top, across[grid.width :]]
        window[new - top :] = window[down[new:bottom] - top]
        yield window


def read_ahead(items: Iterator[Item], ahead: int = 2) -> Generator[Item, None, None]:
    """The same items, made in another thread while the ones before are used. ahead: so many before they are asked for."""
    end = object()
    with ThreadPoolExecutor(1) as pool:
        pending = deque(pool.submit(next, items, end) for _ in range(ahead))
        try:
            while (item := pending.popleft().result()) is not end:
                pending.append(pool.submit(next, items, end))
                yield cast("Item", item)
        finally:
            for future in pending:
                future.cancel()
