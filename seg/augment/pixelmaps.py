"""Pixel maps: which pixel of a stored image each pixel of a drawn one shows. One plane that is warped with the image takes
label maps of any number of layers along, and tells how much of each instance is still seen.

A pixel map is (H, W) float: 1 + the number of the stored pixel, counted row by row; 0 in a border that a transform filled.
It is float32 where that can count the pixels: OpenCV 5 warps such a plane to the same nearest pixels as an 8-bit image, and
planes of int32, of float64 and pairs of uint16 to slightly others.
"""

import numba
import numpy as np

from seg.data.sample import IGNORE

CELL = 16  # side in pixels of the squares of a drawn image within which the change of scale is taken to be one and the same
PART = 8  # side of the parts of a square that are looked at where it lies partly in a filled border


def identity(height: int, width: int) -> np.ndarray:
    """The pixel map (height, width) of an image as it is stored."""
    count = height * width
    return np.arange(1, count + 1, dtype=np.float32 if count <= 1 << 24 else np.float64).reshape(height, width)


def look_up(pixels: np.ndarray, semantic: np.ndarray, instances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The labels of a drawn image of the pixel map (H, W), from those of the stored one, of any height and width.

    Returns semantic (H, W) uint8, 255 where filled, and instances (H, W, L) int32, 0 where filled, with the ids they had.
    """
    num_layers = instances.shape[2]
    drawn_semantic, drawn_ids = np.empty(pixels.shape, np.uint8), np.empty((*pixels.shape, num_layers), np.int32)
    stored = semantic.reshape(-1), instances.reshape(-1, num_layers)
    _look_up(pixels.reshape(-1), *stored, drawn_semantic.reshape(-1), drawn_ids.reshape(-1, num_layers))
    return drawn_semantic, drawn_ids


def seen(pixels: np.ndarray, drawn: np.ndarray, stored_width: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """How much a drawn id map (H, W, L) shows of ids 1..count.

    areas (count,) int64: of drawn pixels. stored (count,) float64: how many stored pixels these stand for; exact after a
    crop or a flip, within a few per cent after a zoom or a turn, and within a tenth or so where space itself is bent.
    """
    areas, stored = np.zeros(count + 1, np.int64), np.zeros(count + 1)
    _seen(drawn, density(pixels, stored_width), areas, stored)
    return areas[1:], stored[1:]


def density(pixels: np.ndarray, stored_width: int) -> np.ndarray:
    """Stored pixels to a drawn one, (H / CELL, W / CELL) float64, rounded up: in each cell of a pixel map.

    A cell's corners span a quadrangle in the stored image, whose area tells. Of a cell with a corner in a filled border
    the parts count that have none; without any it takes the mean of all cells, or 1 where no cell has any.
    """
    height, width = pixels.shape
    cells = np.empty((-(-height // CELL), -(-width // CELL)))
    _density(pixels, stored_width, cells)
    return cells


@numba.njit(nogil=True, cache=True)
def _look_up(pixels: np.ndarray, semantic: np.ndarray, instances: np.ndarray, drawn_semantic: np.ndarray, drawn_ids: np.ndarray) -> None:
    one = np.uint32(1)  # numba looks whether a signed index counts from the end: twice the time
    for i in range(len(pixels)):
        number = np.uint32(pixels[i])
        drawn_semantic[i] = semantic[number - one] if number else IGNORE
        drawn_ids[i, 0] = instances[number - one, 0] if number else 0
    for layer in range(1, instances.shape[1]):
        for i in range(len(pixels)):
            number = np.uint32(pixels[i])
            drawn_ids[i, layer] = instances[number - one, layer] if number else 0


@numba.njit(nogil=True, cache=True)
def _seen(drawn: np.ndarray, cells: np.ndarray, areas: np.ndarray, stored: np.ndarray) -> None:
    height, width, num_layers = drawn.shape
    before = np.zeros(width + 1)  # stored pixels that the row shows left of each pixel
    for y in range(height):
        if y % CELL == 0:
            for x in range(width):
                before[x + 1] = before[x] + cells[y // CELL, x // CELL]
        for layer in range(num_layers):
            instance, start = drawn[y, 0, layer], 0
            for x in range(width):
                if drawn[y, x, layer] != instance:
                    areas[instance] += x - start
                    stored[instance] += before[x] - before[start]
                    instance, start = drawn[y, x, layer], x
            areas[instance] += width - start
            stored[instance] += before[width] - before[start]


@numba.njit(nogil=True, cache=True)
def _density(pixels: np.ndarray, stored_width: int, cells: np.ndarray) -> None:
    height, width = pixels.shape
    all_stored, all_drawn = 0.0, 0
    for row in range(cells.shape[0]):
        bottom = min((row + 1) * CELL, height - 1)
        top = max(0, bottom - CELL)
        for column in range(cells.shape[1]):
            right = min((column + 1) * CELL, width - 1)
            left = max(0, right - CELL)
            stored, drawn = _span(pixels, stored_width, top, left, bottom, right)
            if not drawn:
                for y in range(top, bottom, PART):
                    for x in range(left, right, PART):
                        more = _span(pixels, stored_width, y, x, min(y + PART, bottom), min(x + PART, right))
                        stored, drawn = stored + more[0], drawn + more[1]
            cells[row, column] = abs(stored) / drawn if drawn else -1
            all_stored, all_drawn = all_stored + abs(stored), all_drawn + drawn
    mean = all_stored / all_drawn if all_drawn else 1.0
    for row in range(cells.shape[0]):
        for column in range(cells.shape[1]):
            if cells[row, column] < 0:
                cells[row, column] = mean


@numba.njit(nogil=True, cache=True)
def _span(pixels: np.ndarray, stored_width: int, top: int, left: int, bottom: int, right: int) -> tuple[float, int]:
    """The area that a drawn rectangle spans in the stored image, negative where mirrored, and its own; 0, 0 with a filled corner."""
    corners = (pixels[top, left], pixels[top, right], pixels[bottom, right], pixels[bottom, left])
    if min(corners) == 0:
        return 0.0, 0
    y1, x1 = _place(corners[0], stored_width)
    y2, x2 = _place(corners[1], stored_width)
    y3, x3 = _place(corners[2], stored_width)
    y4, x4 = _place(corners[3], stored_width)
    return ((x3 - x1) * (y4 - y2) - (y3 - y1) * (x4 - x2)) / 2, (bottom - top) * (right - left)  # half the diagonals' cross product


@numba.njit(nogil=True, cache=True)
def _place(number: float, stored_width: int) -> tuple[np.int64, np.int64]:
    """Row and column of the stored pixel."""
    index, width = np.uint32(number) - np.uint32(1), np.uint32(stored_width)
    return np.int64(index // width), np.int64(index % width)
