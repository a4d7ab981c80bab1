"""Instances that are cut, covered or tiny: who is ignored, who vanishes, and that every list follows."""

import numpy as np

from seg.augment.instances import Drawn, ignore_cut
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
        kept = [part.copy() for part in (before.sample.instances, before.sample.semantic, before.sample.crowd)]
        settled = ignore_cut(before, 0.5, 3)
        after = settled.sample
        assert all(map(np.array_equal, kept, (before.sample.instances, before.sample.semantic, before.sample.crowd))), "left alone"
        survivors = [i for i in range(count) if (ids == i + 1).any()]
        assert len(after.categories) == len(survivors)
        assert after.instances.dtype == np.int32
        assert (settled.areas.tolist(), settled.visible.tolist()) == (before.areas[survivors].tolist(), before.visible[survivors].tolist())
        validate(after, 10)
        for new, old in enumerate(survivors):
            np.testing.assert_array_equal(after.instances == new + 1, ids == old + 1)
            assert after.categories[new] == before.sample.categories[old]
            gone = before.visible[old] < 0.5 or (ids == old + 1).sum() < 3
            assert after.crowd[new] == (crowd[old] or gone)
        np.testing.assert_array_equal(after.semantic, semantic_from_instances(after.instances, after.categories, after.crowd, 9))
