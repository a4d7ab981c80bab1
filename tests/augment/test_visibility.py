"""Instances that are cut, covered or tiny: who is ignored, who vanishes, and that every list follows."""

import numpy as np
import pytest

from seg.augment.visibility import Drawn, ignore_cut
from seg.data.labelmaps import areas_of, semantic_from_instances
from seg.data.sample import Sample, validate


def drawn(instances: np.ndarray, categories: list[int], crowd: list[bool], visible: list[float]) -> Drawn:
    """Class 9 is the background."""
    ids, kinds, crowds = instances.astype(np.int32), np.array(categories, np.int32), np.array(crowd, bool)
    image = np.zeros((*ids.shape[:2], 3), np.uint8)
    sample = Sample("drawn", image, semantic_from_instances(ids, kinds, crowds, 9), ids, kinds, crowds)
    return Drawn(sample, areas_of(ids, len(kinds)), np.array(visible))


def strips(*widths: int) -> np.ndarray:
    """(1, sum, 1): id i + 1 is `widths[i]` pixels wide."""
    return np.repeat(np.arange(1, len(widths) + 1), widths)[None, :, None]


def test_what_is_seen_of_too_little_or_too_small_becomes_a_crowd() -> None:
    before = drawn(strips(10, 10, 3, 4, 5), [0, 1, 2, 3, 4], [False] * 5, [0.19, 0.2, 1.0, 1.0, 0.9])
    after = ignore_cut(before, min_visible=0.2, min_area=4)
    assert after.sample.crowd.tolist() == [True, False, True, False, False]
    assert after.sample.categories.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(after.sample.instances, before.sample.instances)
    assert after.sample.semantic[0].tolist() == [255] * 10 + [1] * 10 + [255] * 3 + [3] * 4 + [4] * 5
    assert before.sample.semantic[0, 0] == 0, "the sample that came in is left alone"
    assert before.sample.crowd.tolist() == [False] * 5
    validate(after.sample, 10)


def test_what_has_no_pixel_vanishes_and_ids_are_consecutive_again() -> None:
    ids = strips(2, 3, 4)
    ids[ids == 2] = 0
    ids[ids == 3] = 5
    before = drawn(ids, [4, 5, 6, 7, 8], [False, False, True, False, True], [1, 0, 0, 0, 0.5])
    after = ignore_cut(before, 0.2, 1)
    assert after.sample.instances[0, :, 0].tolist() == [1, 1, 0, 0, 0, 2, 2, 2, 2]
    assert after.sample.instances.dtype == np.int32
    assert after.sample.categories.tolist() == [4, 8]
    assert after.sample.crowd.tolist() == [False, True]
    assert (after.areas.tolist(), after.visible.tolist()) == ([2, 4], [1, 0.5])
    np.testing.assert_array_equal(after.sample.semantic, before.sample.semantic)


def test_crowds_stay_crowds_however_little_is_seen_of_them() -> None:
    after = ignore_cut(drawn(strips(9, 1), [0, 1], [False, True], [1, 0.01]), 0.5, 5)
    assert after.sample.crowd.tolist() == [False, True]
    assert after.sample.categories.tolist() == [0, 1]
    before = drawn(strips(9, 1, 1), [0, 1, 2], [False, True, False], [1, 0.01, 0.01])
    before.sample.semantic[0, 9] = 3  # a class map of its own, as of a data set that labels what lies in a crowd
    assert ignore_cut(before, 0.5, 5).sample.semantic[0, 8:].tolist() == [0, 3, 255]


def test_nothing_is_touched_where_all_is_seen() -> None:
    before = drawn(strips(5, 6), [0, 1], [False, True], [1, 1])
    assert ignore_cut(before, 1.0, 5) is before
    none = drawn(np.zeros((4, 4, 0)), [], [], [])
    assert ignore_cut(none, 1.0, 5) is none


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        ((0.1, 1, 1), [255, 1, 1, 2, 2]),  # the lowest is lost: only where nothing lies over it
        ((1, 0.1, 1), [0, 255, 255, 2, 2]),
        ((1, 1, 0.1), [0, 1, 1, 255, 255]),
        ((0.1, 0.1, 1), [255, 255, 255, 2, 2]),
    ],
)
def test_the_class_map_is_ignored_where_the_lost_lies_on_top(visible: tuple[float, ...], expected: list[int]) -> None:
    ids = np.zeros((1, 5, 2))
    ids[0, 0:4, 1], ids[0, 1:3, 0], ids[0, 3:5, 0] = 1, 2, 3  # id 1 lies beneath, in the second layer
    after = ignore_cut(drawn(ids, [0, 1, 2], [False] * 3, list(visible)), 0.2, 1)
    assert after.sample.semantic[0].tolist() == expected
    again = semantic_from_instances(after.sample.instances, after.sample.categories, after.sample.crowd, 9)
    np.testing.assert_array_equal(after.sample.semantic, again)


def test_many_random_scenes_against_a_loop_over_instances() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        count = int(rng.integers(1, 12))
        layer_of = rng.integers(0, 2, size=count + 1)
        ids = rng.integers(0, count + 1, size=(6, 7, 2))
        for layer in (0, 1):
            ids[..., layer][layer_of[ids[..., layer]] != layer] = 0
        crowd = (rng.random(count) < 0.3).tolist()
        before = drawn(ids, rng.integers(0, 9, count).tolist(), crowd, rng.random(count).round(1).tolist())
        after = ignore_cut(before, 0.5, 3).sample
        survivors = [i for i in range(count) if (ids == i + 1).any()]
        assert len(after.categories) == len(survivors)
        for new, old in enumerate(survivors):
            np.testing.assert_array_equal(after.instances == new + 1, ids == old + 1)
            assert after.categories[new] == before.sample.categories[old]
            gone = before.visible[old] < 0.5 or (ids == old + 1).sum() < 3
            assert after.crowd[new] == (crowd[old] or gone)
        np.testing.assert_array_equal(after.semantic, semantic_from_instances(after.instances, after.categories, after.crowd, 9))
