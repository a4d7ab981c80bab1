"""An image of any size in batches of tiles: its rows are read a few at a time, beside the network."""

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from seg.tiles.grid import Grid

Item = TypeVar("Item")
Place = tuple[int, int]
"""A tile's row and column in the grid."""


class Rows(Protocol):
    """An image of which any rows can be read."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        ...

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows from `start` to before `stop`: (stop - start, W, C) uint8. One thread at a time may read."""
        ...


class ArrayRows:
    """An array or a memory map (H, W, C) uint8."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels
        self.shape: tuple[int, int, int] = pixels.shape

    def read(self, start: int, stop: int) -> np.ndarray:
        return self.pixels[start:stop]


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
