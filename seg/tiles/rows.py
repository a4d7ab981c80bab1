"""Images that are read a few rows at a time, as tiles need them."""

from typing import Protocol

import numpy as np

from seg.core.errors import DataError


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
        if pixels.ndim != 3 or pixels.dtype != np.uint8 or not pixels.size:
            raise DataError(f"expected an image (height, width, channels) of uint8, got {pixels.shape} of {pixels.dtype}")
        self.pixels = pixels
        self.shape: tuple[int, int, int] = pixels.shape

    def read(self, start: int, stop: int) -> np.ndarray:
        return self.pixels[start:stop]
