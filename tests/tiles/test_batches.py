"""Batches of tiles against a padded image that is cut; and items that are made ahead."""

import threading

import numpy as np
import pytest

from seg.tiles.grid import ArrayRows, Tiling, batches, grid, read_ahead


@pytest.mark.parametrize("padding", ["reflect", "edge"])
@pytest.mark.parametrize("size", [(301, 437), (64, 96), (70, 500), (20, 33), (300, 40), (1, 1), (1, 100)], ids=str)
def test_tiles_are_those_of_the_padded_image(size: tuple[int, int], padding: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 2)).astype(np.uint8)
    tiles = grid(Tiling((64, 96), 0.3, 0.125, 0, padding), *size, 16)
    below, right = tiles.rows.length - size[0], tiles.columns.length - size[1]
    padded = np.pad(image, ((0, below), (0, right), (0, 0)), mode=padding)  # type: ignore[call-overload]
    seen = []
    for places, images in batches(ArrayRows(image), tiles, padding, 3):
        assert images.shape[1:] == (2, 64, 96)
        for (row, column), tile in zip(places, images.permute(0, 2, 3, 1).numpy(), strict=True):
            top, left = tiles.rows.starts[row], tiles.columns.starts[column]
            assert np.array_equal(tile, padded[top : top + 64, left : left + 96])
            seen.append((row, column))
    assert seen == [(i, j) for i in range(len(tiles.rows.starts)) for j in range(len(tiles.columns.starts))]


def test_items_are_made_in_another_thread_in_their_order() -> None:
    makers = set()

    def numbers():  # type: ignore[no-untyped-def]
        for number in range(50):
            makers.add(threading.get_ident())
            yield number

    assert list(read_ahead(numbers())) == list(range(50))
    assert list(read_ahead(iter([]))) == []
    assert len(makers) == 1
    assert threading.get_ident() not in makers
