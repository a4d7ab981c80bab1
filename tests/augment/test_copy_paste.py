"""Copy-paste, pixel by pixel: what lies on top, what is covered, where edges blend, and what is never pasted."""

from dataclasses import replace

import numpy as np
import pytest

from seg.augment.instances import Drawn, ignore_cut, paste, paste_some
from seg.data.labelmaps import areas_of, layers_from_masks, semantic_from_instances
from seg.data.sample import Sample, no_instances, validate


def scene(seed: int, height: int = 14, width: int = 17, count: int = 4, crowd: tuple[int, ...] = ()) -> Sample:
    """Random overlapping rectangles on noise; class 9 is the background. `crowd` are indices."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, height, width), bool)
    for mask in masks:
        y, x = rng.integers(0, (height - 4, width - 4))
        mask[y : y + rng.integers(2, 9), x : x + rng.integers(2, 9)] = True
    instances = layers_from_masks(masks, height, width)
    categories, crowds = rng.integers(0, 9, count).astype(np.int32), np.isin(np.arange(count), crowd)
    image = rng.integers(256, size=(height, width, 3)).astype(np.uint8)
    semantic = semantic_from_instances(instances, categories, crowds, 9)
    return Sample(f"scene{seed}", image, semantic, instances, categories, crowds)


def whole(sample: Sample) -> Drawn:
    """A sample of which all is seen."""
    return Drawn(sample, areas_of(sample.instances, len(sample.categories)), np.ones(len(sample.categories)))


def by_hand(target: Sample, source: Sample, ids: list[int], top: int, left: int) -> Sample:
    """Pasting, a pixel at a time; the layers are as many as are needed for the highest one that is used."""
    (height, width), (h, w) = target.size, source.size
    image, semantic = target.image.astype(int), target.semantic.copy()
    sets = [[set(target.instances[y, x]) - {0} for x in range(width)] for y in range(height)]

    def pasted(y: int, x: int) -> bool:
        """Whether the topmost instance at (y, x) of the target, as the source has it, is to be pasted."""
        return 0 <= y - top < h and 0 <= x - left < w and int(max([0, *source.instances[y - top, x - left]])) in ids

    def nearest(y: int, x: int, to: tuple[int, int]) -> bool:
        """The same beside a pixel; beyond what the two images share, what its nearest pixel says."""
        inside = [
            (b, a) for b in (y, to[0]) for a in (x, to[1]) if 0 <= b < height and 0 <= a < width and 0 <= b - top < h and 0 <= a - left < w
        ]
        return pasted(*inside[0])

    for y in range(height):
        for x in range(width):
            if not (0 <= y - top < h and 0 <= x - left < w):
                continue
            weight = sum((2 - abs(dy)) * (2 - abs(dx)) * nearest(y + dy, x + dx, (y, x)) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
            image[y, x] = (weight * source.image[y - top, x - left].astype(int) + (16 - weight) * image[y, x] + 8) // 16
            if pasted(y, x):
                found = [ids.index(int(i)) for i in source.instances[y - top, x - left] if int(i) in ids]
                sets[y][x] = {len(target.categories) + 1 + f for f in found}
                semantic[y, x] = source.categories[ids[max(found)] - 1]
    count = len(target.categories) + len(ids)
    masks = np.array([[[i in sets[y][x] for x in range(width)] for y in range(height)] for i in range(1, count + 1)])
    categories = np.concatenate([target.categories, source.categories[np.array(ids) - 1]])
    crowd = np.concatenate([target.crowd, np.zeros(len(ids), bool)])
    return Sample(target.image_id, image.astype(np.uint8), semantic, np.moveaxis(masks, 0, 2), categories, crowd)


@pytest.mark.parametrize(
    ("ids", "top", "left", "size"),
    [
        ([1, 2, 3, 4], 0, 0, (14, 17)),
        ([2], 0, 0, (14, 17)),
        ([1, 4], 0, 0, (14, 17)),
        ([1, 2, 3], -5, -2, (20, 25)),
        ([2, 3], 3, 6, (9, 8)),
        ([1, 2, 4], -4, 2, (20, 9)),
    ],
)
def test_pasting_equals_a_loop_over_pixels(ids: list[int], top: int, left: int, size: tuple[int, int]) -> None:
    for seed in range(8):
        target, source = scene(seed, crowd=(1,)), scene(100 + seed, *size)
        before = [a.copy() for a in (target.image, target.semantic, target.instances, source.image, source.instances)]
        after, expected = paste(target, source, np.array(ids), top, left), by_hand(target, source, ids, top, left)
        np.testing.assert_array_equal(after.image, expected.image)
        np.testing.assert_array_equal(after.semantic, expected.semantic)
        np.testing.assert_array_equal(after.categories, expected.categories)
        np.testing.assert_array_equal(after.crowd, expected.crowd)
        for i in range(len(after.categories)):
            np.testing.assert_array_equal((after.instances == i + 1).any(axis=2), expected.instances[..., i])
        validate(after, 10)
        assert after.image_id == target.image_id
        for now, then in zip((target.image, target.semantic, target.instances, source.image, source.instances), before, strict=True):
            np.testing.assert_array_equal(now, then)


def square(value: int, *boxes: tuple[int, int, int, int], size: int = 12) -> Sample:
    """A plain image with one rectangle (top, left, bottom, right) an instance, of class 1, 2, ..; the background is class 0."""
    masks = np.zeros((len(boxes), size, size), bool)
    for mask, (y1, x1, y2, x2) in zip(masks, boxes, strict=True):
        mask[y1:y2, x1:x2] = True
    instances = layers_from_masks(masks, size, size)
    categories, crowd = np.arange(1, len(boxes) + 1, dtype=np.int32), np.zeros(len(boxes), bool)
    image = np.full((size, size, 1), value, np.uint8)
    return Sample("square", image, semantic_from_instances(instances, categories, crowd, 0), instances, categories, crowd)


def test_covered_instances_lose_their_pixels_and_those_of_which_little_is_left_are_ignored() -> None:
    target = square(0, (0, 0, 4, 4), (4, 4, 9, 8), (0, 8, 5, 12))
    source = square(9, (0, 0, 5, 7))
    pasted = paste(target, source, np.array([1]), 0, 0)
    assert areas_of(pasted.instances, 4).tolist() == [0, 5 * 4 - 3, 20, 35]
    after = paste_some(whole(target), whole(source), np.random.default_rng(0), None)
    np.testing.assert_array_equal(after.sample.instances, pasted.instances)
    assert after.visible.tolist() == [0, 17 / 20, 1, 1]
    settled = ignore_cut(after, 0.9, 1).sample
    assert settled.categories.tolist() == [2, 3, 1]
    assert settled.crowd.tolist() == [True, False, False]
    assert settled.semantic[8, 5] == 255
    assert settled.semantic[2, 2] == 1


def test_the_share_that_is_seen_counts_cut_and_cover_together() -> None:
    target, source = square(0, (0, 0, 4, 4)), square(9, (0, 0, 2, 4), (6, 6, 12, 12))
    cut = replace_visible(whole(target), [0.3]), replace_visible(whole(source), [0.6, 0.9])
    after = paste_some(*cut, np.random.default_rng(0), None)
    assert len(after.visible) == 3, "both are pasted"
    np.testing.assert_allclose(after.visible, [0.15, 0.6, 0.9])


def replace_visible(drawn: Drawn, visible: list[float]) -> Drawn:
    return replace(drawn, visible=np.array(visible))


def test_crowds_are_never_pasted_and_nothing_is_pasted_without_a_candidate() -> None:
    target = scene(0)
    crowded = scene(1, count=5, crowd=(0, 2, 4))
    for seed in range(40):
        after = paste_some(whole(target), whole(crowded), np.random.default_rng(seed), None).sample
        assert set(after.categories[4:]) <= set(crowded.categories[[1, 3]])
        assert not after.crowd.any()
    drawn = whole(target)
    assert paste_some(drawn, whole(scene(1, crowd=(0, 1, 2, 3))), np.random.default_rng(0), None) is drawn
    empty = replace(scene(1), **dict(zip(("instances", "categories", "crowd"), no_instances(14, 17), strict=True)))
    assert paste_some(drawn, whole(empty), np.random.default_rng(0), None) is drawn
    onto_empty = paste_some(whole(empty), drawn, np.random.default_rng(0), None)
    assert len(onto_empty.sample.categories) == len(onto_empty.areas) > 0
    assert onto_empty.areas.sum() > 0


def test_each_number_of_instances_is_as_likely_up_to_the_most_and_so_is_each_instance() -> None:
    target, source = whole(square(0)), whole(square(9, *[(2 * i, 0, 2 * i + 1, 12) for i in range(5)]))
    rng = np.random.default_rng(0)
    for most, numbers in ((None, 5), (3, 3), (9, 5), (1, 1)):
        drawn = [paste_some(target, source, rng, most).sample.categories for _ in range(600)]
        counts = np.bincount([len(c) for c in drawn], minlength=7)
        assert (counts > 0).tolist() == [1 <= n <= numbers for n in range(7)]
        assert counts[1 : numbers + 1].min() > 0.6 * 600 / numbers
        each = np.bincount(np.concatenate(drawn), minlength=6)[1:]
        assert each.min() > 0.75 * each.mean()


@pytest.mark.parametrize(("size", "places"), [(12, 1), (10, 9), (15, 16)])
def test_a_source_of_another_size_may_come_to_lie_anywhere(size: int, places: int) -> None:
    """Seen from where the source's middle comes to lie."""
    middle = size // 2
    source = whole(square(9, (middle, middle, middle + 1, middle + 1), size=size))
    target, found = whole(square(0)), set()
    for seed in range(300):
        after = paste_some(target, source, np.random.default_rng(seed), None).sample
        assert after.size == (12, 12)
        found.add(tuple(np.argwhere(after.instances[..., 0])[0].tolist()))
    assert len(found) == places


def test_the_generator_alone_decides() -> None:
    target, source = whole(scene(0)), whole(scene(1, 20, 9))
    again = [paste_some(target, source, np.random.default_rng(5), None).sample for _ in range(2)]
    np.testing.assert_array_equal(again[0].image, again[1].image)
    np.testing.assert_array_equal(again[0].instances, again[1].instances)
    other = paste_some(target, source, np.random.default_rng(6), None).sample
    assert not np.array_equal(other.image, again[0].image)
