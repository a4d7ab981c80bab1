"""Pictures of class maps, pixel by pixel."""

import numpy as np

from seg.report.draw import IGNORED_GRAY, borders, colorize, error_map, overlay, rgb
from seg.sample import ClassInfo

CLASSES = [ClassInfo("sky", (0, 0, 200)), ClassInfo("tree", (10, 150, 20)), ClassInfo("car", (255, 0, 0))]
GRAY = [IGNORED_GRAY] * 3


def test_colours_are_the_classes_and_ignored_is_gray() -> None:
    picture = colorize(np.array([[0, 1], [2, 255]], np.uint8), CLASSES)
    assert picture.dtype == np.uint8
    assert picture.tolist() == [[[0, 0, 200], [10, 150, 20]], [[255, 0, 0], GRAY]]


def test_gray_images_become_rgb_and_rgb_stays() -> None:
    gray = np.array([[[7], [9]]], np.uint8)
    assert rgb(gray).tolist() == [[[7, 7, 7], [9, 9, 9]]]
    image = np.array([[[1, 2, 3]]], np.uint8)
    assert rgb(image).tolist() == [[[1, 2, 3]]]


def test_an_error_map_shows_wrong_right_and_ignored_pixels() -> None:
    image = np.full((1, 4, 3), 90, np.uint8)
    truth, predicted = np.array([[0, 1, 255, 2]], np.uint8), np.array([[0, 2, 1, 2]], np.uint8)
    right = [90 // 3 + 140] * 3
    assert error_map(image, truth, predicted).tolist() == [[right, [213, 40, 30], [255, 255, 255], right]]
    bright, dark = (error_map(np.full((1, 1, 1), v, np.uint8), truth[:, :1], truth[:, :1]) for v in (255, 0))
    assert (bright[0, 0].tolist(), dark[0, 0].tolist()) == ([225] * 3, [140] * 3)


def test_borders_are_the_pixels_that_touch_another_class() -> None:
    semantic = np.zeros((5, 6), np.uint8)
    semantic[:, 3:] = 2
    expected = np.zeros((5, 6), bool)
    expected[:, 2:4] = True
    np.testing.assert_array_equal(borders(semantic), expected)
    assert not borders(np.full((4, 4), 1, np.uint8)).any()


def test_an_overlay_mixes_inside_draws_borders_and_leaves_ignored_pixels() -> None:
    image = np.full((5, 9, 3), 100, np.uint8)
    semantic = np.zeros((5, 9), np.uint8)
    semantic[:, 3:6], semantic[:, 6:] = 2, 255
    picture = overlay(image, semantic, CLASSES, strength=0.5)
    row = picture[2].tolist()
    assert row[0] == [50, 50, 150], "half of the image, half of the colour"
    assert row[2] == [0, 0, 200], "a border, in its class's own colour"
    assert row[3] == [255, 0, 0]
    assert row[4] == [177, 50, 50]
    assert row[7] == [100, 100, 100]
    assert image.min() == image.max() == 100, "the image itself is left alone"
