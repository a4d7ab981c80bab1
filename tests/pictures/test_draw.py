"""Pictures of class maps, pixel by pixel."""

import numpy as np

from seg.data.sample import ClassInfo
from seg.pictures.draw import IGNORED_GRAY, INSTANCE_COLORS, borders, colorize, error_map, heat_map, outline_instances, overlay, rgb

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


def test_the_first_three_channels_are_shown_and_stretched_where_they_are_no_colours() -> None:
    image = np.stack([np.tile(np.arange(100, 150), (40, 1)) + 10 * c for c in range(5)], axis=2).astype(np.uint8)
    shown = rgb(image)
    assert shown.shape == (40, 50, 3)
    assert np.array_equal(shown[..., 0], shown[..., 2])
    assert [int(v) for v in shown[0, [0, 25, 49], 0]] == [0, 130, 255]
    gray = rgb(image[..., :2])
    assert np.array_equal(gray, shown[..., [0, 0, 0]])
    assert not rgb(np.full((4, 4, 4), 9, np.uint8)).any(), "constant"


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


def test_each_instance_is_outlined_in_its_own_colour_with_a_dark_rim() -> None:
    image = np.full((12, 20, 3), 100, np.uint8)
    ids = np.zeros((12, 20, 1), np.int32)
    ids[2:10, 2:10], ids[4:12, 12:20] = 1, 2
    picture = outline_instances(image, ids, np.zeros(2, bool))
    first, second = map(list, INSTANCE_COLORS[:2])
    inside, rim = [100] * 3, [0] * 3
    assert picture[6].tolist() == ([inside, rim, first, first] + [inside] * 4 + [first, first, rim, rim, second, second] + [inside] * 6), (
        "two pixels of colour, open at the right end of the image"
    )
    assert picture[11, 16].tolist() == inside
    assert picture[0, 0].tolist() == inside
    assert image.min() == image.max() == 100, "the image itself is left alone"
    gray = outline_instances(image[..., :1], ids, np.zeros(2, bool))
    np.testing.assert_array_equal(gray, picture)


def test_instances_that_touch_or_overlap_are_told_apart() -> None:
    ids = np.zeros((9, 16, 2), np.int32)
    ids[:, :8, 0], ids[:, 8:, 0], ids[3:6, 2:14, 1] = 1, 2, 3
    picture = outline_instances(np.zeros((9, 16, 3), np.uint8), ids, np.zeros(3, bool))
    colors = [tuple(c) for c in picture.reshape(-1, 3).tolist()]
    assert set(colors) == {(0, 0, 0), *INSTANCE_COLORS[:3]}
    assert picture[0, 6:10].tolist() == [list(INSTANCE_COLORS[0])] * 2 + [list(INSTANCE_COLORS[1])] * 2
    assert picture[4, 2:4].tolist() == [list(INSTANCE_COLORS[2])] * 2


def test_crowds_are_hatched_in_gray_and_colours_come_round() -> None:
    ids = np.arange(1, 10, dtype=np.int32).repeat(20)[None].repeat(20, axis=0)[..., None]
    picture = outline_instances(np.zeros((20, 180, 3), np.uint8), ids, np.arange(9) == 4)
    crowd = picture[:, 82:98].reshape(-1, 3)
    assert {tuple(c) for c in crowd.tolist()} == {(0, 0, 0), tuple(GRAY)}
    assert 0.25 < (crowd == GRAY).all(axis=1).mean() < 0.45
    assert picture[5, 160].tolist() == list(INSTANCE_COLORS[8 % 7])
    assert len(set(INSTANCE_COLORS)) == 7
    none = np.full((4, 4, 3), 9, np.uint8)
    np.testing.assert_array_equal(outline_instances(none, np.zeros((4, 4, 0), np.int32), np.zeros(0, bool)), none)


def test_a_heat_map_runs_from_dark_violet_to_yellow_over_the_gray_image() -> None:
    image = np.full((1, 3, 3), 100, np.uint8)
    picture = heat_map(image, np.array([[0.9, 0.7, 0.8]], np.float32), strength=0.5)
    dark, middle, bright = [68, 1, 84], [33, 144, 140], [253, 231, 36]  # of viridis
    wanted = [[(100 + shade) / 2 for shade in color] for color in (bright, dark, middle)]
    np.testing.assert_allclose(picture[0], wanted, atol=2)
    assert (heat_map(image, np.full((1, 3), 0.5, np.float32), strength=1.0) == dark).all(), "a constant map has one colour"
