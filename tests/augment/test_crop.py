"""Windows of stored images: where they lie, what they hold, and what becomes of objects that they cut."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tiny import augment

from seg.augment.crop import Windows
from seg.augment.policy import Policy, compile_policy, load_policy
from seg.augment.settings import Crop
from seg.data.sample import ClassInfo, Sample, no_instances, validate

ALLOW = ["albumentations"]
CLASSES = [ClassInfo("Background", (0, 0, 0)), *(ClassInfo(name, (9, 9, 9)) for name in "abc")]


def scene(height: int = 60, width: int = 80) -> Sample:
    """Each pixel's colour is its row and column. Class 0, a band of class 1, and three pixels of class 3; the first row is ignored."""
    semantic = np.zeros((height, width), np.uint8)
    semantic[:, 70:], semantic[0] = 1, 255
    semantic[50:51, 3:6] = 3
    rows, columns = np.indices((height, width))
    return Sample("scene", np.dstack([rows, columns, rows]).astype(np.uint8), semantic, *no_instances(height, width))


def policy_of(height: int, width: int, foreground: float, *transforms: dict[str, Any], **more: Any) -> Policy:
    return compile_policy(augment(*transforms, crop={"size": [height, width], "foreground": foreground}, **more), ALLOW, CLASSES)


def corner(drawn: Sample) -> tuple[int, int]:
    """Where in the scene a window begins."""
    return int(drawn.image[0, 0, 0]), int(drawn.image[0, 0, 1])


@pytest.mark.parametrize("foreground", [0.0, 0.5, 1.0])
def test_a_window_is_a_part_of_the_image_with_its_labels(foreground: float) -> None:
    before, policy = scene(), policy_of(16, 24, foreground)
    for seed in range(40):
        after = policy(before, seed)
        top, left = corner(after)
        window = np.s_[top : top + 16, left : left + 24]
        assert after.image.shape == (16, 24, 3)
        np.testing.assert_array_equal(after.image, before.image[window])
        np.testing.assert_array_equal(after.semantic, before.semantic[window])
        assert all(part.flags.c_contiguous for part in (after.image, after.semantic, after.instances))


def test_windows_lie_anywhere_and_as_often_in_each_place() -> None:
    before, policy = scene(18, 27), policy_of(16, 24, 0.0)
    places = Counter(corner(policy(before, seed)) for seed in range(1200))
    assert set(places) == {(y, x) for y in range(3) for x in range(4)}
    assert min(places.values()) > 60


@pytest.mark.parametrize(("foreground", "low", "high"), [(0.0, 0.0, 0.1), (0.6, 0.25, 0.4), (1.0, 0.5, 0.6)])
def test_a_rare_class_is_held_as_often_as_is_asked_for(foreground: float, low: float, high: float) -> None:
    """Three pixels of 4800. Of the forced windows half choose this class and half the other; the background is left aside."""
    before, policy = scene(), policy_of(8, 8, foreground)
    held = [3 in policy(before, seed).semantic for seed in range(600)]
    assert low <= np.mean(held) <= high
    if foreground == 1.0:
        assert all({1, 3} & set(np.unique(policy(before, seed).semantic).tolist()) for seed in range(100))


def test_every_pixel_of_a_class_is_chosen_and_lies_anywhere_in_its_window() -> None:
    semantic = np.zeros((30, 30), np.uint8)
    semantic[15, 10] = semantic[15, 20] = 2
    before, policy = replace(scene(30, 30), semantic=semantic), policy_of(5, 4, 1.0)
    places = Counter(corner(policy(before, seed)) for seed in range(800))
    assert set(places) == {(y, x + shift) for y in range(11, 16) for x in (7, 17) for shift in range(4)}
    assert min(places.values()) > 5


def test_without_anything_to_hold_windows_lie_anywhere() -> None:
    for filled in (0, 255):
        before, policy = scene(18, 27), policy_of(16, 24, 1.0)
        places = Counter(corner(policy(replace(before, semantic=np.full((18, 27), filled, np.uint8)), seed)) for seed in range(400))
        assert len(places) == 12
    alone = compile_policy(augment(crop={"size": [4, 4], "foreground": 1.0}), ALLOW, [ClassInfo("sky", (0, 0, 0)), CLASSES[1]])
    semantic = np.ones((30, 30), np.uint8)
    semantic[20, 20] = 0
    held = [0 in alone(replace(scene(30, 30), semantic=semantic), seed).semantic for seed in range(300)]
    assert 0.4 < np.mean(held) < 0.6, "a first class of another name is a class like others"


@pytest.mark.parametrize("noise", [0.0, 0.02, 1.0])
def test_pixels_are_counted_and_found_as_numpy_does(noise: float) -> None:
    rng, windows = np.random.default_rng(2), Windows(Crop(size=[1, 1], foreground=1.0), CLASSES)
    for height, width in ((1, 3), (2, 4), (40, 25), (17, 241)):
        labels = np.repeat(rng.choice([0, 1, 7, 254, 255], height * width // 30 + 1), 30)[: height * width].astype(np.uint8)
        mixed = rng.random(height * width) < noise
        labels[mixed] = rng.choice([0, 1, 7, 254, 255], mixed.sum())
        sample = replace(scene(height, width), semantic=labels.reshape(height, width))
        classes = np.setdiff1d(labels, [0, 255])
        for seed in range(20):
            held = windows._held(sample, np.zeros(0), np.zeros((0, 4)), np.random.default_rng(seed))
            if not len(classes):
                assert held is None
                continue
            same = np.random.default_rng(seed)
            places = np.flatnonzero(labels == same.choice(classes))
            assert held == divmod(places[same.integers(len(places))], width)


@pytest.mark.parametrize("size", [(60, 80), (60, 90), (100, 30), (200, 300)])
def test_a_smaller_image_is_whole_and_followed_by_ignored_pixels_that_mirror_it(size: tuple[int, int]) -> None:
    before = scene()
    after = policy_of(*size, 0.5)(before, 3)
    assert after.size == after.semantic.shape == after.instances.shape[:2] == size
    top, left = corner(after)
    assert top == 0
    assert (left == 0) == (size[1] >= 80)
    high, wide = min(60, size[0]), min(80, size[1])
    np.testing.assert_array_equal(after.semantic[:high, :wide], before.semantic[:, left : left + wide])
    assert (after.semantic[high:] == 255).all()
    assert (after.semantic[:, wide:] == 255).all()

    def mirrored(place: int, length: int) -> int:
        place %= 2 * length - 2
        return min(place, 2 * length - 2 - place)

    rows, columns = [mirrored(y, 60) for y in range(size[0])], [left + mirrored(x, wide) for x in range(size[1])]
    np.testing.assert_array_equal(after.image, before.image[np.ix_(rows, columns)])


def objects(*boxes: tuple[int, int, int, int], size: tuple[int, int] = (100, 100), crowd: tuple[int, ...] = ()) -> Sample:
    """One rectangle (top, left, bottom, right) an instance, in a layer of its own, of class 1."""
    instances = np.zeros((*size, len(boxes)), np.int32)
    for layer, (y1, x1, y2, x2) in enumerate(boxes):
        instances[y1:y2, x1:x2, layer] = layer + 1
    semantic = (instances.any(axis=2)).astype(np.uint8)
    rows, columns = np.indices(size)
    image, count = np.dstack([rows, columns, rows]).astype(np.uint8), len(boxes)
    return Sample("objects", image, semantic, instances, np.ones(count, np.int32), np.isin(np.arange(count), crowd))


def test_windows_hold_a_random_instance_each_as_often_whatever_its_size_and_no_crowd() -> None:
    before = objects((2, 2, 4, 4), (60, 10, 95, 50), (50, 60, 100, 100), crowd=(2,))
    chosen = Counter()
    for seed in range(400):
        top, left = corner(policy_of(10, 10, 1.0)(before, seed))
        kinds = [int(i) for i in np.unique(before.instances[top : top + 10, left : left + 10, :2]) if i]
        assert len(kinds) == 1
        chosen[kinds[0]] += 1
    assert 150 < chosen[1] < 250
    alone = objects((50, 60, 100, 100), crowd=(0,))
    assert len({corner(policy_of(10, 10, 1.0)(alone, seed)) for seed in range(60)}) > 50, "anywhere"


def test_what_a_window_cuts_is_ignored_as_after_any_transform() -> None:
    """The visible share is of the stored object: what the window shows of it, times what the transforms leave."""
    before = objects((10, 10, 30, 30), (0, 90, 3, 93))
    half = {"_target_": "Crop", "x_min": 0, "y_min": 0, "x_max": 40, "y_max": 20}
    seen = set()
    for seed in range(200):
        drawn = policy_of(40, 40, 0.5, half).draw(before, seed)
        top, left = corner(drawn.sample)
        whole = before.instances[top : top + 20, left : left + 40]
        areas = [int((whole == number).sum()) for number in (1, 2)]
        assert drawn.areas.tolist() == areas
        np.testing.assert_allclose(drawn.visible, [areas[0] / 400, areas[1] / 9])
        after = policy_of(40, 40, 0.5, half, min_visible=0.5, min_area=4)(before, seed)
        left_over = [n for n in (0, 1) if areas[n]]
        assert len(after.categories) == len(left_over)
        assert after.crowd.tolist() == [areas[n] < 4 or areas[n] / (400, 9)[n] < 0.5 for n in left_over]
        validate(after, 2)
        seen |= {tuple(after.crowd.tolist())}
    assert {(True,), (False,), ()} <= seen


def test_beside_instances_what_follows_a_small_image_is_a_crowd() -> None:
    """The mirrored picture shows objects there, which are not to be learned as background."""
    before = objects((5, 5, 15, 15), size=(20, 30))
    after = policy_of(32, 32, 1.0, min_visible=0.3, min_area=4)(before, 0)
    assert (after.categories.tolist(), after.crowd.tolist()) == ([1, 1], [False, True])
    beyond = np.ones((32, 32), bool)
    beyond[:20, :30] = False
    np.testing.assert_array_equal((after.instances == 2).any(axis=2), beyond)
    np.testing.assert_array_equal(after.semantic == 255, beyond)
    np.testing.assert_array_equal(after.instances[:20, :30] == 1, before.instances == 1)
    validate(after, 2)
    flipped = policy_of(32, 32, 1.0, {"_target_": "HorizontalFlip"})(before, 0)
    np.testing.assert_array_equal(flipped.instances, after.instances[:, ::-1])
    nothing = Sample("none", before.image, before.semantic, *no_instances(20, 30))
    assert len(policy_of(32, 32, 1.0)(nothing, 0).categories) == 0


def test_a_draw_depends_on_sample_and_seed_alone_and_moves_no_other_draw() -> None:
    before, light = scene(16, 24), {"_target_": "RandomBrightnessContrast"}
    whole, cut = compile_policy(augment(light), ALLOW), policy_of(16, 24, 0.5, light)
    for seed in range(5):
        np.testing.assert_array_equal(cut(before, seed).image, whole(before, seed).image, "a window of the image's size is the image")
    policy = policy_of(8, 8, 0.5, light)
    first = [policy(scene(), seed).image.tobytes() for seed in (3, 4, 5)]
    again = load_policy(policy.to_json(), CLASSES)
    assert [again(scene(), seed).image.tobytes() for seed in (5, 4, 3)] == first[::-1]
    assert len(set(first)) == 3


def test_pasted_instances_come_from_a_window_of_the_other_image() -> None:
    """Objects of the other image that its window does not show are never pasted, and all are of the window's size."""
    target, source = objects(), replace(objects((0, 0, 6, 6), (80, 80, 90, 90)), image=np.full((100, 100, 3), 200, np.uint8))
    policy = policy_of(30, 30, 1.0, p=1.0)
    areas = set()
    for seed in range(40):
        after = policy.draw_from([target, source].__getitem__, 2, 0, seed)
        assert after.size == (30, 30)
        assert len(after.categories) <= 1
        areas |= {int((after.instances > 0).sum())}
    assert {36, 100} <= areas


def test_the_window_travels_in_policy_json_and_files_without_one_load() -> None:
    given = policy_of(8, 12, 0.25)
    again = load_policy(given.to_json(), CLASSES)
    assert again.crop is not None
    assert again.crop.settings == Crop(size=[8, 12], foreground=0.25)
    assert again.to_json() == given.to_json()
    plain = compile_policy(augment(), ALLOW).to_json()
    assert "crop" not in plain
    assert load_policy(plain).crop is None


def test_nothing_of_a_large_image_is_copied_beyond_the_window() -> None:
    """Of 36 million pixels: a copy would take that many bytes."""
    import tracemalloc

    height = width = 6000
    image = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (height, width, 3))
    before = Sample("large", image, np.zeros((height, width), np.uint8), *no_instances(height, width))
    windows = Windows(Crop(size=[64, 64], foreground=1.0), [])
    windows.cut(before, np.random.default_rng(0))
    tracemalloc.start()
    windows.cut(before, np.random.default_rng(1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20
