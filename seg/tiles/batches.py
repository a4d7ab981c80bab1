"""The tiles of an image in batches, read beside the network."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from seg.tiles.grid import Grid
from seg.tiles.rows import Rows

AHEAD = 2  # items that are read before they are asked for

Item = TypeVar("Item")
Place = tuple[int, int]
"""A tile's row and column in the grid."""


def batches(rows: Rows, grid: Grid, padding: str, batch_size: int) -> Iterator[tuple[list[Place], Tensor]]:
    """All tiles, row by row: up to `batch_size` at a time, where they lie in the grid and their images (B, C, h, w) uint8.

    padding: "reflect" or "edge", of what lies beyond the image's right and lower end.
    """
    places: list[Place] = []
    tiles: list[np.ndarray] = []
    for row, window in enumerate(_windows(rows, grid, padding)):
        for column, left in enumerate(grid.columns.starts):
            places.append((row, column))
            tiles.append(window[:, left : left + grid.columns.tile].copy())
            if len(tiles) == batch_size:
                yield places, _images(tiles)
                places, tiles = [], []
    if tiles:
        yield places, _images(tiles)


def _images(tiles: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(tiles)).permute(0, 3, 1, 2)


def _windows(rows: Rows, grid: Grid, padding: str) -> Iterator[np.ndarray]:
    """Of each row of tiles the padded image's rows (tile, width, C) uint8, in one array that is used again."""
    down, across = (_source(n, side.length, padding) for n, side in ((grid.height, grid.rows), (grid.width, grid.columns)))
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


def _source(length: int, padded: int, padding: str) -> np.ndarray:
    """Which of `length` pixels stands at each of the `padded` ones."""
    return np.pad(np.arange(length), (0, padded - length), mode=cast("Any", padding))


def read_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, made in another thread while the ones before are used."""
    end = object()
    with ThreadPoolExecutor(1) as pool:
        pending = deque(pool.submit(next, items, end) for _ in range(AHEAD))
        try:
            while (item := pending.popleft().result()) is not end:
                pending.append(pool.submit(next, items, end))
                yield cast("Item", item)
        finally:
            for future in pending:
                future.cancel()
