"""Segments of things and stuff: by hand, and against loops over pixels."""

import numpy as np
import pytest

from seg.data.labelmaps import boxes_of, encode, layers_from_masks, merged, together, with_stuff
from seg.data.rle import decode_crop
from seg.data.sample import IGNORE, Prediction, Sample


def prediction(height: int, width: int, *found: tuple[np.ndarray, int, float]) -> Prediction:
    """found: mask (H, W), category and score of each."""
    masks, categories, scores = zip(*found, strict=True)
    layers = layers_from_masks(masks, height, width)
    boxes = boxes_of(layers, len(masks)).astype(np.float32)
    return Prediction(scores=np.float32(scores), categories=np.int32(categories), boxes=boxes, masks=encode(layers, len(masks)))


def segment_map(found: Prediction, height: int, width: int) -> np.ndarray:
    """(H, W): the place of each pixel's segment, from 1; fails where two share one."""
    ids = np.zeros((height, width), int)
    for number, mask in enumerate(found.masks, start=1):
        inside, left, top = decode_crop(mask)
        there = ids[top : top + inside.shape[0], left : left + inside.shape[1]]
        assert not there[inside].any()
        there[inside] = number
    return ids


def test_stuff_becomes_a_segment_of_each_class_and_things_keep_what_is_seen_of_them() -> None:
    semantic = np.array([[0, 0, 0, 3], [0, 1, 1, 3], [0, 1, 2, 3], [255, 255, 2, 1]], np.uint8)
    disc, square = semantic == 1, np.isin(semantic, (1, 2)) & (np.arange(4) > 1)
    disc[3, 3] = False  # a pixel of the class, but of no instance
    ids = layers_from_masks([disc, square], 4, 4)
    assert ids.shape[2] == 2
    sample = Sample("a", np.zeros((4, 4, 3), np.uint8), semantic, ids, np.array([1, 2], np.int32), np.zeros(2, bool))
    found = with_stuff(sample, {1, 2})
    # the square lies on top of the disc in (1, 2), where the class map shows the disc: there is neither
    assert found.instances[:, :, 0].tolist() == [[3, 3, 3, 4], [3, 1, 0, 4], [3, 1, 2, 4], [0, 0, 2, 0]]
    assert found.categories.tolist() == [1, 2, 0, 3]
    assert found.crowd.tolist() == [False] * 4
    assert found.semantic is semantic


def test_a_crowd_stays_a_crowd_and_an_image_without_instances_is_stuff() -> None:
    semantic = np.full((2, 3), 1, np.uint8)
    semantic[0] = IGNORE
    ids = np.zeros((2, 3, 1), np.int32)
    ids[0, :2] = 1
    sample = Sample("a", np.zeros((2, 3, 1), np.uint8), semantic, ids, np.array([2], np.int32), np.array([True]))
    found = with_stuff(sample, [2])
    assert found.instances[:, :, 0].tolist() == [[1, 1, 0], [2, 2, 2]]
    assert found.crowd.tolist() == [True, False]
    bare = Sample("b", sample.image, semantic, ids[:, :, :0], np.zeros(0, np.int32), np.zeros(0, bool))
    assert with_stuff(bare, [2]).instances[:, :, 0].tolist() == [[0, 0, 0], [1, 1, 1]]


def test_better_things_come_first_and_stuff_takes_what_is_left() -> None:
    whole = np.ones((4, 6), bool)
    left, middle = whole & (np.arange(6) < 3), whole & (np.arange(6) > 1) & (np.arange(6) < 5)
    hidden, right = whole & (np.arange(6) < 2), whole & (np.arange(6) > 3)
    found = merged(prediction(4, 6, (left, 1, 0.9), (middle, 2, 0.8), (hidden, 2, 0.7), (right, 0, 0.95), (whole, 0, 0.6)), {1, 2})
    assert segment_map(found, 4, 6)[0].tolist() == [2, 2, 2, 3, 3, 1]  # best first: the stuff scores 0.95
    assert found.categories.tolist() == [0, 1, 2]
    assert found.scores.tolist() == pytest.approx([0.95, 0.9, 0.8])
    assert found.boxes.tolist() == [[5, 0, 6, 4], [0, 0, 3, 4], [3, 0, 5, 4]]
    assert found.segments
    again = merged(found, {1, 2})
    assert [m["counts"] for m in again.masks] == [m["counts"] for m in found.masks]


def test_a_thing_of_which_half_is_left_is_hidden() -> None:
    whole = np.ones((2, 4), bool)
    first, second, third = whole & (np.arange(4) < 2), whole & (np.arange(4) > 0), whole & (np.arange(4) > 1)
    found = merged(prediction(2, 4, (first, 1, 0.9), (whole, 1, 0.8), (second, 1, 0.7), (third, 1, 0.6)), {1})
    # of the second a half is left and it goes; of the third two of three columns are; of the fourth nothing is
    assert segment_map(found, 2, 4)[0].tolist() == [1, 1, 2, 2]
    assert found.scores.tolist() == pytest.approx([0.9, 0.7])


def test_nothing_found_stays_nothing() -> None:
    found = merged(Prediction(), {1})
    assert found.segments
    assert not found.masks


@pytest.mark.parametrize("seed", range(5))
def test_segments_agree_with_loops_over_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = []
    for score in np.sort(rng.random(9))[::-1]:
        y, x, h, w = rng.integers(0, 8), rng.integers(0, 10), rng.integers(1, 9), rng.integers(1, 9)
        mask = np.zeros((12, 16), bool)
        mask[y : y + h, x : x + w] = True
        found.append((mask, int(rng.integers(0, 4)), float(score)))
    expected = np.full((12, 16), -1)
    for things in (True, False):
        for place, (mask, category, _) in enumerate(found):
            if (category > 1) != things:
                continue
            free = mask & (expected < 0)
            if things and free.sum() * 2 <= mask.sum():
                continue
            first = next(i for i, (_, c, _) in enumerate(found) if c == category) if not things else place
            expected[free] = first
    said = merged(prediction(12, 16, *found), {2, 3})
    shown = segment_map(said, 12, 16)
    order = [place for place in range(9) if (expected == place).any()]
    for number, place in enumerate(order, start=1):
        assert np.array_equal(shown == number, expected == place)
        assert said.categories[number - 1] == found[place][1]
    assert len(said.scores) == len(order)


@pytest.mark.parametrize("seed", range(5))
def test_what_a_threshold_leaves_is_had_from_all_things_and_from_stuff_alone(seed: int) -> None:
    rng, found = np.random.default_rng(seed), []
    for score in np.sort(rng.random(9))[::-1]:
        y, x, h, w = rng.integers(0, 8), rng.integers(0, 10), rng.integers(1, 9), rng.integers(1, 9)
        mask = np.zeros((12, 16), bool)
        mask[y : y + h, x : x + w] = True
        found.append((mask, int(rng.integers(0, 4)), float(score)))
    given = prediction(12, 16, *found)
    both = together(merged(given, {2, 3}), merged(given, {2, 3}, 2.0))
    for least in (0.0, 0.2, 0.5, 0.8, 1.0):
        wanted, said = merged(given, {2, 3}, least), merged(both, {2, 3}, least)
        assert said.masks == wanted.masks
        assert np.array_equal(said.categories, wanted.categories)
        assert np.array_equal(said.scores, wanted.scores)
        assert not [s for s, c in zip(said.scores, said.categories, strict=True) if c in (2, 3) and s < least]
