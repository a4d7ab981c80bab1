"""Pixel maps: labels looked up pixel by pixel, and how much of an instance is seen, against brute force and geometry."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from seg.augment.adapted import CELL, density, identity, look_up, seen


def warp(pixels: np.ndarray, matrix: list[list[float]], size: tuple[int, int]) -> np.ndarray:
    """Pixels moved by a forward matrix (2, 3) to an image of (width, height)."""
    return cv2.warpAffine(pixels, np.array(matrix), size, flags=cv2.INTER_NEAREST)


def test_pixels_are_counted_row_by_row_from_one() -> None:
    assert identity(2, 3).tolist() == [[1, 2, 3], [4, 5, 6]]
    assert identity(2, 3).dtype == np.float32
    large = identity(2, (1 << 23) + 1)  # float32 has no number between 2^24 and 2^24 + 2
    assert large.dtype == np.float64
    assert large[1, -2:].tolist() == [(1 << 24) + 1, (1 << 24) + 2]


@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_labels_are_looked_up_pixel_by_pixel(num_layers: int) -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(1, 99, size=(7, 9, num_layers)).astype(np.int32)
    classes = rng.integers(0, 256, size=(7, 9)).astype(np.uint8)
    pixels = rng.integers(0, 64, size=(11, 5)).astype(np.float32)
    semantic, instances = look_up(pixels, classes, ids)
    assert (semantic.dtype, instances.dtype) == (np.uint8, np.int32)
    for y in range(11):
        for x in range(5):
            number = int(pixels[y, x])
            place = (number - 1) // 9, (number - 1) % 9
            assert semantic[y, x] == (classes[place] if number else 255)
            assert instances[y, x].tolist() == (ids[place].tolist() if number else [0] * num_layers)
    again = look_up(identity(7, 9), np.asfortranarray(classes), np.asfortranarray(ids))  # not row by row in memory
    np.testing.assert_array_equal(again[0], classes)
    np.testing.assert_array_equal(again[1], ids)


MATRIX = np.array([[1.1, 0.08, -20], [-0.08, 0.9, 13]])
REMAP = np.dstack(np.meshgrid(np.arange(120.0) * 1.07 - 4.3, np.arange(90.0) * 0.81 + 3.6)).astype(np.float32)
WARPS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "affine": lambda m: cv2.warpAffine(m, MATRIX, (130, 100), flags=cv2.INTER_NEAREST),
    "perspective": lambda m: cv2.warpPerspective(m, np.vstack([MATRIX, [1e-3, 2e-4, 1]]), (130, 100), flags=cv2.INTER_NEAREST),
    "remap": lambda m: cv2.remap(m, REMAP, None, cv2.INTER_NEAREST),
    "resize": lambda m: cv2.resize(m, (77, 141), interpolation=cv2.INTER_NEAREST_EXACT),
}


@pytest.mark.parametrize("name", WARPS)
def test_a_pixel_map_takes_the_nearest_pixels_that_an_8_bit_image_takes(name: str) -> None:
    """OpenCV has more than one way to round: by the type and number of channels."""
    image = np.random.default_rng(0).integers(1, 256, size=(110, 120, 3)).astype(np.uint8)
    pixels, warped = WARPS[name](identity(110, 120)), WARPS[name](image)
    alone = WARPS[name](np.ascontiguousarray(image[..., 0]))
    semantic, instances = look_up(pixels, image[..., 0], image.astype(np.int32))
    np.testing.assert_array_equal(instances, warped)
    np.testing.assert_array_equal(np.where(pixels == 0, 0, semantic), alone)


@pytest.mark.parametrize(
    ("move", "expected"),
    [
        (lambda p: p, 1),
        (lambda p: p[13:77, 5:], 1),
        (lambda p: p[:, ::-1], 1),
        (np.rot90, 1),
        (np.transpose, 1),
        (lambda p: p.repeat(4, axis=0).repeat(3, axis=1), 1 / 12),
        (lambda p: p[1::2, ::5], 10),
    ],
    ids=["none", "crop", "flip", "turn", "transpose", "enlarged", "reduced"],
)
def test_one_drawn_pixel_stands_for_so_many_stored_ones(move: Callable[[np.ndarray], np.ndarray], expected: float) -> None:
    pixels = move(identity(120, 160))
    cells = density(pixels, 160)
    assert cells.shape == (-(-pixels.shape[0] // CELL), -(-pixels.shape[1] // CELL))
    if expected >= 1:
        assert (cells == expected).all(), "to the last bit: shares after a crop are exact"
    else:  # a cell's corners fall on stored pixels that are themselves several drawn ones wide
        assert cells.mean() == pytest.approx(expected, rel=0.02)
        np.testing.assert_allclose(cells, expected, rtol=0.5)


@pytest.mark.parametrize("degrees", [0, 10, 45, 137])
@pytest.mark.parametrize("scale", [0.4, 0.8, 1, 1.7, 3])
def test_a_turn_and_a_zoom_change_the_scale_by_its_square(degrees: float, scale: float) -> None:
    turned = warp(identity(400, 400), cv2.getRotationMatrix2D((200, 200), degrees, scale), (400, 400))
    cells = density(turned, 400)
    assert cells.mean() == pytest.approx(scale**-2, rel=0.03)
    np.testing.assert_allclose(cells, scale**-2, rtol=0.35)


def test_a_perspective_changes_the_scale_from_place_to_place() -> None:
    """Against the Jacobian of the inverse map, where scale differs by a factor of three over the image."""
    matrix = np.array([[1, 0, 0], [0, 1, 0], [1.5e-3, 0, 1]])
    pixels = cv2.warpPerspective(identity(400, 400), matrix, (250, 250), flags=cv2.INTER_NEAREST)
    cells = density(pixels, 400)
    middle = CELL / 2 + CELL * np.arange(15)  # the last cell reaches beyond the image
    expected = (1 - 1.5e-3 * middle) ** -3  # x = X / (1 - aX), y = Y / (1 - aX)
    assert expected.max() / expected.min() > 3
    assert (pixels[:240, :240] > 0).all()
    np.testing.assert_allclose(cells[:15, :15].mean(axis=0), expected, rtol=0.08)


def test_cells_in_a_filled_border_take_the_mean_of_the_others() -> None:
    pixels = np.zeros((64, 64), np.float32)
    pixels[:40, :40] = identity(80, 80)[::2, ::2]
    cells = density(pixels, 80)
    assert (cells == 4).all()
    assert density(np.zeros((20, 20), np.float32), 80).tolist() == [[1, 1], [1, 1]], "nothing is seen at all"


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 2), (3, 17), (16, 16), (17, 33)])
def test_images_of_any_size_have_cells(size: tuple[int, int]) -> None:
    assert (density(identity(*size), size[1]) == 1).all()


def test_what_is_seen_of_each_instance_is_counted() -> None:
    rng = np.random.default_rng(0)
    stored = rng.integers(0, 6, size=(60, 70, 2)).astype(np.int32).repeat(2, axis=1)
    pixels = np.ascontiguousarray(identity(60, 140)[5:51, 20:97][:, ::-1])
    _, drawn = look_up(pixels, np.zeros((60, 140), np.uint8), stored)
    areas, shown = seen(pixels, drawn, 140, 7)
    assert areas.tolist() == [int((stored[5:51, 20:97] == i).sum()) for i in range(1, 8)]
    assert shown.tolist() == areas.tolist()
    assert areas[5:].tolist() == [0, 0]
    enlarged = cv2.resize(identity(60, 140), (420, 120), interpolation=cv2.INTER_NEAREST)
    areas, shown = seen(enlarged, look_up(enlarged, np.zeros((60, 140), np.uint8), stored)[1], 140, 5)
    whole = np.array([(stored == i).sum() for i in range(1, 6)])
    assert (areas == 6 * whole).all()
    np.testing.assert_allclose(shown, whole, rtol=0.03)
