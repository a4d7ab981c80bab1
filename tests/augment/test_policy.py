"""Policies: image and labels move together, nothing is lost on the way, and a draw depends on its seed alone."""

import hashlib
import os
import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, MakeConfig
from tiny import augment

from seg.augment.policy import Policy, check_policy, compile_policy, load_policy
from seg.core.errors import ConfigError, DataError
from seg.data.labelmaps import layers_from_masks, semantic_from_instances
from seg.data.sample import Sample, no_instances, validate
from seg.settings.section import Target

ALLOW = ["albumentations", "seg"]
POLICIES = sorted(path.stem for path in (ROOT / "conf/augment").glob("*.yaml") if path.stem != "auto")


def policy_of(*transforms: dict[str, Any]) -> Policy:
    return compile_policy(augment(*transforms), ALLOW)


def sample_of(semantic: np.ndarray, image: np.ndarray | None = None, name: str = "scene") -> Sample:
    if image is None:
        image = np.repeat(semantic[..., None], 3, axis=2)
    return Sample(name, image, semantic, *no_instances(*semantic.shape))


CLASSES = (0, 1, 7, 20)


def coded(height: int = 45, width: int = 60) -> Sample:
    """Classes and two layers of ids that the image repeats, channel by channel, plus 10: 0 is left to what a transform fills in."""
    rng = np.random.default_rng(3)
    blocks = rng.choice(CLASSES, (9, 12)).astype(np.uint8)
    semantic = blocks.repeat(5, axis=0).repeat(5, axis=1)[:height, :width]
    instances = np.zeros((height, width, 2), np.int32)
    instances[5:30, 8:40, 0] = 1
    instances[30:43, 2:58, 0] = 3
    instances[15:41, 20:50, 1] = 2
    image = np.dstack([semantic + 10, instances + 10]).astype(np.uint8)
    return Sample("coded", image, semantic, instances, np.array([1, 7, 20], np.int32), np.zeros(3, bool))


@pytest.mark.parametrize(
    "transform",
    [
        {"_target_": "HorizontalFlip"},
        {"_target_": "VerticalFlip"},
        {"_target_": "RandomRotate90"},
        {"_target_": "Transpose"},
        {"_target_": "Affine", "rotate": [-60, 60], "scale": [0.5, 1.5], "shear": [-10, 10], "interpolation": 0},
        {"_target_": "Affine", "rotate": [20, 70], "interpolation": 0, "mask_interpolation": 1, "fit_output": True},
        {"_target_": "ShiftScaleRotate", "interpolation": 0},
        {"_target_": "SafeRotate", "interpolation": 0},
        {"_target_": "Perspective", "scale": [0.1, 0.2], "interpolation": 0},
        {"_target_": "ElasticTransform", "alpha": 60, "sigma": 6, "interpolation": 0},
        {"_target_": "GridDistortion", "interpolation": 0},
        {"_target_": "RandomResizedCrop", "size": [32, 41], "interpolation": 0},
        {"_target_": "RandomScale", "scale_limit": [-0.5, 0.5], "interpolation": 0},
        {"_target_": "Resize", "height": 70, "width": 31, "interpolation": 0},
        {"_target_": "RandomCrop", "height": 20, "width": 33},
        {"_target_": "CoarseDropout", "fill": 0, "fill_mask": 9},
        {"_target_": "PadIfNeeded", "min_height": 77, "min_width": 81},
        {"_target_": "OneOf", "transforms": []},
    ],
    ids=lambda t: t["_target_"],
)
def test_image_and_labels_move_together(transform: dict[str, Any]) -> None:
    if transform["_target_"] == "OneOf":
        import albumentations as A

        one_of = A.OneOf([A.Rotate(60, interpolation=0), A.Affine(scale=0.5, interpolation=0)], p=1)
        policy = Policy(A.Compose([one_of]), augment().instances, augment().copy_paste)
    else:
        policy = policy_of(transform)
    before, moved = coded(), False
    for seed in range(6):
        after = policy.draw(before, seed).sample  # with the ids as they were
        filled = after.image[..., 0] == 0
        np.testing.assert_array_equal(after.semantic, np.where(filled, 255, after.image[..., 0] - 10))
        np.testing.assert_array_equal(after.instances, np.where(filled[..., None], 0, after.image[..., 1:].astype(int) - 10))
        assert (after.semantic.dtype, after.instances.dtype, after.image.dtype) == (np.uint8, np.int32, np.uint8)
        assert after.categories is before.categories
        moved |= after.image.shape != before.image.shape or not np.array_equal(after.image, before.image)
    assert moved


@pytest.mark.parametrize("fill", [{}, {"fill": 200, "fill_mask": 3}], ids=["default", "other-fill"])
def test_a_border_that_is_filled_is_ignored_and_holds_no_instance(fill: dict[str, Any]) -> None:
    before = coded()
    move = {"_target_": "Affine", "translate_px": {"x": [4, 4], "y": [-3, -3]}}
    after = policy_of(move | fill)(before, 0)
    semantic, instances = np.full_like(before.semantic, 255), np.zeros_like(before.instances)
    semantic[:-3, 4:], instances[:-3, 4:] = before.semantic[3:, :-4], before.instances[3:, :-4]
    np.testing.assert_array_equal(after.semantic, semantic)
    np.testing.assert_array_equal(after.instances, instances)
    assert after.image[-1, 0, 0] == fill.get("fill", 0)


@pytest.mark.parametrize("with_instances", [False, True])
def test_the_first_and_last_class_and_ignored_pixels_survive(with_instances: bool) -> None:
    semantic = np.zeros((40, 40), np.uint8)
    semantic[:, 14:27], semantic[:, 27:] = 254, 255
    sample = sample_of(semantic)
    if with_instances:
        ids = np.ones((40, 40, 1), np.int32)
        sample = Sample("scene", sample.image, semantic, ids, np.array([0], np.int32), np.array([False]))
    after = policy_of({"_target_": "Affine", "rotate": [33, 33], "scale": [1.4, 1.4]})(sample, 0)  # the image is interpolated
    assert set(np.unique(after.semantic)) == {0, 254, 255}
    assert len(np.unique(after.image)) > 3
    assert after.semantic[20, 20] == 254


@pytest.mark.parametrize("num_ids", [300, 70_000])
def test_large_ids_and_layers_survive(num_ids: int) -> None:
    layers = [[num_ids, 1], [256, 299], [257], [258], [259, 260]]
    instances = np.zeros((48, 64, len(layers)), np.int32)
    for layer, ids in enumerate(layers):
        for place, number in enumerate(ids):
            instances[4 + layer : 40, 10 + 25 * place : 30 + 25 * place, layer] = number
    semantic = np.zeros((48, 64), np.uint8)
    before = Sample("many", np.zeros((48, 64, 3), np.uint8), semantic, instances, np.zeros(num_ids, np.int32), np.zeros(num_ids, bool))
    warp = {"_target_": "Affine", "rotate": [20, 20], "scale": [0.7, 0.7]}
    after = policy_of(warp, {"_target_": "ElasticTransform", "alpha": 20, "sigma": 5}).draw(before, 1).sample
    assert [sorted(set(np.unique(after.instances[..., i])) - {0}) for i in range(len(layers))] == [sorted(ids) for ids in layers]
    assert after.instances.shape == instances.shape
    np.testing.assert_array_equal(policy_of({"_target_": "HorizontalFlip"}).draw(before, 0).sample.instances, instances[:, ::-1])


def boxes_scene(*boxes: tuple[int, int, int, int], size: tuple[int, int] = (100, 100), crowd: tuple[int, ...] = ()) -> Sample:
    """One rectangle (top, left, bottom, right) an instance, of class 1, 2, ..; the background is class 0. `crowd` are indices."""
    masks = np.zeros((len(boxes), *size), bool)
    for mask, (y1, x1, y2, x2) in zip(masks, boxes, strict=True):
        mask[y1:y2, x1:x2] = True
    instances, categories = layers_from_masks(masks, *size), np.arange(1, len(boxes) + 1, dtype=np.int32)
    crowds = np.isin(np.arange(len(boxes)), crowd)
    semantic = semantic_from_instances(instances, categories, crowds, 0)
    return Sample("boxes", np.repeat(semantic[..., None], 3, axis=2) * 20, semantic, instances, categories, crowds)


def crop(y1: int, x1: int, y2: int, x2: int) -> dict[str, Any]:
    return {"_target_": "Crop", "x_min": x1, "y_min": y1, "x_max": x2, "y_max": y2}


def test_a_crop_leaves_the_share_of_each_instance_that_it_holds() -> None:
    """Of squares of 20 x 20 pixels: all, half, a fifth, a twentieth, nothing, and half of one in the second layer."""
    squares = boxes_scene((10, 10, 30, 30), (40, 70, 60, 90), (76, 20, 96, 40), (61, 50, 81, 70), (0, 81, 20, 100), (12, 20, 32, 40))
    assert squares.instances.shape[2] == 2
    policy = compile_policy(augment(crop(0, 0, 80, 80), min_visible=0.25), ALLOW)
    drawn = policy.draw(squares, 0)
    assert drawn.visible.tolist() == [1, 0.5, 0.2, 0.95, 0, 1]
    assert drawn.areas.tolist() == [400, 200, 80, 380, 0, 400]
    after = policy(squares, 0)
    assert after.categories.tolist() == [1, 2, 3, 4, 6]
    assert after.crowd.tolist() == [False, False, True, False, False]
    np.testing.assert_array_equal(after.instances == 3, squares.instances[:80, :80] == 3)
    np.testing.assert_array_equal(after.instances == 5, squares.instances[:80, :80] == 6)
    expected = squares.semantic[:80, :80].copy()
    expected[76:, 20:40] = 255
    np.testing.assert_array_equal(after.semantic, expected)
    np.testing.assert_array_equal(after.image, squares.image[:80, :80])


def test_a_sliver_of_few_pixels_is_ignored_and_so_is_what_was_small_before() -> None:
    scene = boxes_scene((0, 0, 3, 5), (0, 20, 4, 24), (50, 0, 90, 51), (50, 60, 53, 62), crowd=(3,))
    after = compile_policy(augment(crop(0, 0, 60, 100), {"_target_": "HorizontalFlip"}, min_area=16), ALLOW)(scene, 0)
    assert after.crowd.tolist() == [True, False, False, True]
    assert after.categories.tolist() == [1, 2, 3, 4]
    assert after.semantic[0].tolist() == [0] * 76 + [2] * 4 + [0] * 15 + [255] * 5


ZOOMS = [
    {"_target_": "RandomScale", "scale_limit": [-0.6, -0.6]},
    {"_target_": "RandomScale", "scale_limit": [1.5, 1.5]},
    {"_target_": "Resize", "height": 45, "width": 300},
    {"_target_": "Affine", "scale": [0.3, 0.5]},
    {"_target_": "Affine", "scale": [0.5, 1.2], "rotate": [-60, 60], "shear": [-20, 20], "fit_output": True},
    {"_target_": "Perspective", "scale": [0.05, 0.2], "fit_output": True},
    {"_target_": "RandomResizedCrop", "size": [80, 60], "scale": [1, 1], "ratio": [1, 1]},
    {"_target_": "LongestMaxSize", "max_size": 40, "area_for_downscale": "image_mask"},
    {"_target_": "PadIfNeeded", "min_height": 300, "min_width": 200},
    {"_target_": "ElasticTransform", "alpha": 30, "sigma": 6},
    {"_target_": "GridDistortion"},
    {"_target_": "OpticalDistortion"},
]


@pytest.mark.parametrize("transform", ZOOMS, ids=lambda t: t["_target_"])
def test_what_is_wholly_in_the_picture_is_wholly_visible_at_any_zoom(transform: dict[str, Any]) -> None:
    scene = boxes_scene((30, 30, 60, 70), (60, 60, 72, 72), (20, 20, 36, 28))
    policy = compile_policy(augment(transform, min_visible=0.6), ALLOW)
    for seed in range(10):
        drawn = policy.draw(scene, seed)
        np.testing.assert_allclose(drawn.visible, 1, atol=0.4)  # of the small ones few pixels are left
        np.testing.assert_allclose(drawn.visible[0], 1, atol=0.1)
        assert not policy(scene, seed).crowd.any()


@pytest.mark.parametrize(
    "transform",
    [
        {"_target_": "Affine", "scale": [0.5, 1.6], "translate_percent": [-0.4, 0.4], "rotate": [-40, 40], "shear": [-10, 10]},
        {"_target_": "RandomResizedCrop", "size": [300, 400], "scale": [0.2, 0.6]},
        {"_target_": "Perspective", "scale": [0.1, 0.25], "fit_output": False},
        {"_target_": "ShiftScaleRotate", "shift_limit": [-0.4, 0.4]},
        {"_target_": "GridDistortion", "distort_limit": [-0.7, 0.7]},
        {"_target_": "OpticalDistortion", "distort_limit": [0.5, 0.9]},
        {"_target_": "ElasticTransform", "alpha": 900, "sigma": 30},
        {"_target_": "ThinPlateSpline", "scale_range": [0.05, 0.15]},
        {"_target_": "CoarseDropout", "fill_mask": 0, "hole_height_range": [0.3, 0.5], "hole_width_range": [0.3, 0.5]},
        {"_target_": "CropAndPad", "percent": [-0.3, 0.3], "sample_independently": True},
    ],
    ids=lambda t: t["_target_"],
)
def test_the_visible_share_equals_that_of_the_stored_pixels_that_are_drawn(transform: dict[str, Any]) -> None:
    """Four times enlarged beforehand, next to every stored pixel that is in the picture is drawn at least once: count them."""
    boxes = [(y, x, y + 20 + y // 9, x + 14 + x // 7) for y in range(0, 80, 26) for x in range(0, 80, 20)]
    scene = boxes_scene(*boxes)
    policy = compile_policy(augment({"_target_": "Resize", "height": 400, "width": 400, "interpolation": 0}, transform), ALLOW)
    numbers = np.arange(1, 10_001, dtype=np.float32).reshape(100, 100)
    cut = 0
    for seed in range(6):
        drawn = policy.draw(scene, seed)
        policy.compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        found = np.unique(policy.compose(image=scene.image, mask=numbers)["mask"]).astype(int)
        in_picture = np.isin(numbers, found)
        expected = [
            (in_picture[..., None] & (scene.instances == i + 1)).sum() / (scene.instances == i + 1).sum() for i in range(len(boxes))
        ]
        np.testing.assert_allclose(drawn.visible, expected, atol=0.15)
        assert np.abs(drawn.visible - expected).mean() < 0.04
        cut += sum(0.05 < share < 0.95 for share in expected)
    assert cut > 10 or transform["_target_"] in {"GridDistortion", "OpticalDistortion"}, "the test cuts instances"


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "overlap_crops"])  # which looks at all labels: test_overlap.py
def test_each_instance_is_drawn_as_its_own_mask_alone_would_be(name: str, make_config: MakeConfig) -> None:
    """And only what is cut below the limits is ignored, with its class kept."""
    policy, rng = compile_policy(make_config(f"augment={name}").augment, ALLOW), np.random.default_rng(0)
    corners = rng.integers(0, 80, size=(14, 2))
    scene = boxes_scene(*[(y, x, y + int(rng.integers(3, 30)), x + int(rng.integers(3, 30))) for y, x in corners.tolist()], crowd=(2, 9))
    assert scene.instances.shape[2] > 1
    ignored, vanished = 0, 0
    for seed in range(25):
        after, alone = policy(scene, seed), []
        for i in range(14):
            policy.compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
            alone.append(policy.compose(image=scene.image, mask=(scene.instances == i + 1).any(axis=2).astype(np.uint8))["mask"])
        left = [i for i in range(14) if alone[i].any()]
        assert len(after.categories) == len(left)
        assert after.categories.tolist() == [i + 1 for i in left]
        for new, old in enumerate(left):
            np.testing.assert_array_equal((after.instances == new + 1).any(axis=2), alone[old])
        visible = policy.draw(scene, seed).visible[left]
        small = np.array([alone[i].sum() < 16 for i in left]) | (visible < 0.2)
        if name == "none":
            assert after is scene
        else:
            np.testing.assert_array_equal(after.crowd, small | scene.crowd[left])
        validate(after, 15)
        assert np.isin(after.semantic[(after.instances > 0).any(axis=2)], [255, *after.categories[~after.crowd]]).all()
        ignored, vanished = ignored + int((after.crowd & ~scene.crowd[left]).sum()), vanished + 14 - len(left)
    if name in {"medium", "heavy", "camvid", "aerial"}:
        assert ignored > 5
        assert vanished > 0


def test_instances_without_any_pixel_vanish_and_images_without_instances_go_along() -> None:
    scene = boxes_scene((10, 10, 40, 40))
    nowhere = replace(scene, instances=np.zeros((100, 100, 0), np.int32))
    emptied = replace(scene, instances=np.zeros_like(scene.instances), categories=scene.categories[:0], crowd=scene.crowd[:0])
    policy = compile_policy(augment({"_target_": "HorizontalFlip"}, min_visible=0.2, min_area=16), ALLOW)
    for sample in (nowhere, emptied, replace(emptied, instances=nowhere.instances)):
        after = policy(sample, 0)
        assert (len(after.categories), len(after.crowd), after.instances.any()) == (0, 0, False)
        np.testing.assert_array_equal(after.semantic, scene.semantic[:, ::-1])
        validate(after, 2)


def test_light_and_colour_leave_the_labels_alone() -> None:
    light = [{"_target_": "RandomBrightnessContrast"}, {"_target_": "HueSaturationValue"}, {"_target_": "GaussNoise"}]
    scene = boxes_scene((10, 10, 40, 40), (30, 30, 50, 52))
    after = compile_policy(augment(*light, min_visible=1.0, min_area=16), ALLOW)(scene, 0)
    assert after.semantic is scene.semantic
    assert after.instances is scene.instances
    assert not np.array_equal(after.image, scene.image)


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_pasted_instances_come_from_another_image_that_the_seed_chooses(count: int) -> None:
    """Image i has one instance, of class i, in row i."""
    scenes = [boxes_scene(*[(10 * i, 0, 10 * i + 8, 50)] * (i + 1)) for i in range(count)]
    scenes = [
        replace(s, instances=(s.instances[..., -1:] > 0).astype(np.int32), categories=s.categories[-1:], crowd=s.crowd[-1:]) for s in scenes
    ]
    policy = compile_policy(augment(p=0.5), ALLOW)
    for index in range(count):
        reads: list[int] = []

        def read(i: int) -> Sample:
            reads.append(i)  # noqa: B023 - called before the next round
            return scenes[i]

        outcomes = Counter()
        for seed in range(200):
            reads.clear()
            after = policy.draw_from(read, count, index, seed)
            assert reads[0] == index
            outcomes[tuple(after.categories)] += 1
            assert after.categories.tolist() == [i + 1 for i in reads]
        expected = {(index + 1,)} | {(index + 1, other + 1) for other in range(count) if other != index}
        assert set(outcomes) == expected
        if count > 1:
            assert 60 < outcomes[(index + 1,)] < 140
            assert min(outcomes.values()) > 0.4 * 100 / (count - 1)


def test_both_images_are_drawn_before_one_is_pasted_on_the_other_and_the_target_as_without(make_config: MakeConfig) -> None:
    shift = {"_target_": "Affine", "translate_px": {"x": [-90, -90], "y": [0, 0]}, "interpolation": 0}
    target, source = boxes_scene((0, 90, 20, 100)), boxes_scene((50, 91, 60, 99), (80, 0, 90, 100))
    always, never = (compile_policy(augment(shift, min_visible=0.2, p=p), ALLOW) for p in (1.0, 0.0))
    both = [always.draw_from([target, source].__getitem__, 2, 0, seed) for seed in range(20)]
    assert {tuple(b.categories.tolist()) for b in both} == {(1, 1)}, "the one that the move cut to a tenth is a crowd: not pasted"
    assert (both[0].instances[:20, :10] == 1).all()
    assert (both[0].instances[50:60, 1:9] == 2).all()
    light = make_config("augment=copy_paste").augment
    assert light.copy_paste.p == 0.5
    policy, plain = compile_policy(light, ALLOW), compile_policy(make_config("augment=light").augment, ALLOW)
    scenes, same = [coded(45, 45), photo()], 0
    scenes[1] = replace(boxes_scene((5, 5, 20, 20), (25, 30, 40, 45), size=(48, 64)), image=scenes[1].image)
    for seed in range(40):
        after, alone = policy.draw_from(scenes.__getitem__, 2, 0, seed), plain(scenes[0], seed)
        unchanged = (after.image == alone.image).all(axis=2)
        assert unchanged.mean() > 0.6
        assert (after.semantic[unchanged] == alone.semantic[unchanged]).mean() > 0.9, "all but what is ignored now"
        same += unchanged.all()
    assert 10 < same < 30
    np.testing.assert_array_equal(never.draw_from([target].__getitem__, 1, 0, 3).image, never(target, 3).image)


def test_settings_of_instances_and_copy_paste_travel_in_policy_json() -> None:
    given = augment({"_target_": "HorizontalFlip"}, min_visible=0.3, min_area=7, p=0.25, most=3)
    again = load_policy(compile_policy(given, ALLOW).to_json())
    assert (again.instances, again.copy_paste) == (given.instances, given.copy_paste)
    assert again.to_json() == compile_policy(given, ALLOW).to_json()


@pytest.mark.parametrize("text", ["{}", "no JSON", "[]", '{"__version__": "2.0.8", "transform": {}}'])
def test_a_policy_of_another_version_is_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"policy\.json: is not a policy of this version .*; run `seg augment` again"):
        load_policy(text)


def test_no_transforms_change_nothing() -> None:
    before = coded()
    assert policy_of()(before, 5) is before


def test_transforms_toss_their_own_coins() -> None:
    """Two flips of one half each give all four outcomes, about equally often."""
    policy = policy_of({"_target_": "HorizontalFlip", "p": 0.5}, {"_target_": "VerticalFlip", "p": 0.5})
    corners = sample_of(np.array([[0, 1], [2, 3]], np.uint8))
    outcomes = Counter(int(policy(corners, seed).semantic[0, 0]) for seed in range(400))
    assert set(outcomes) == {0, 1, 2, 3}
    assert min(outcomes.values()) > 60


def drawn(policy: Policy, seeds: list[int]) -> str:
    """The hash of what the policy draws from one scene with each of the seeds."""
    scene = photo()
    digest = hashlib.sha256()
    for seed in seeds:
        after = policy(scene, seed)
        digest.update(after.image.tobytes() + after.semantic.tobytes())
    return digest.hexdigest()


def photo() -> Sample:
    rng = np.random.default_rng(1)
    return sample_of(rng.integers(4, size=(48, 64)).astype(np.uint8), rng.integers(256, size=(48, 64, 3)).astype(np.uint8), "photo")


@pytest.mark.parametrize("name", POLICIES)
def test_policies_of_the_project_draw_the_same_from_policy_json(name: str, make_config: MakeConfig) -> None:
    policy = compile_policy(make_config(f"augment={name}").augment, ALLOW)
    again = load_policy(policy.to_json())
    assert drawn(again, [0, 1, 2, 2**32 - 1]) == drawn(policy, [0, 1, 2, 2**32 - 1])
    if name != "none":
        assert len({drawn(policy, [seed]) for seed in range(8)}) > 2, "the seed is not heeded"
    check_policy(policy, [photo(), coded()], 3, 0)


def test_a_draw_does_not_depend_on_earlier_draws_or_on_the_process(make_config: MakeConfig) -> None:
    """And albumentations asks no server for newer versions of itself."""
    policy = compile_policy(make_config("augment=heavy").augment, ALLOW)
    first = drawn(policy, [7, 8])
    drawn(policy, [1, 2, 3])
    assert drawn(policy, [8, 7]) != first
    assert drawn(policy, [7, 8]) == first
    code = """
import sys, urllib.request
def refuse(*_, **__): sys.exit("albumentations asked for its newest version")
urllib.request.OpenerDirector.open = refuse
from seg.augment.policy import load_policy
from test_policy import drawn
print(drawn(load_policy(sys.stdin.read()), [7, 8]))
"""
    env = {k: v for k, v in os.environ.items() if k != "NO_ALBUMENTATIONS_UPDATE"}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/augment")])
    done = subprocess.run([sys.executable, "-c", code], input=policy.to_json(), capture_output=True, text=True, env=env, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == first


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (
            {"_target_": "RandomCrop", "height": 100, "width": 20},
            r"augment\.transforms: fails on the image photo \(48x64x3\): Crop size \(height, width\) exceeds image",
        ),
        ({"_target_": "Normalize"}, r"augment\.transforms: made a float32 image of 3 channels from photo.*leave Normalize"),
        (
            {"_target_": "ToGray", "num_output_channels": 1},
            r"augment\.transforms: made a uint8 image of 1 channels from photo, expected uint8",
        ),
    ],
    ids=["crop", "normalize", "channels"],
)
def test_what_cannot_be_trained_on_is_refused(transform: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_policy(policy_of(transform), [photo()], 2, 0)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            {"_target_": "albumentations.HorizontalFlipp"},
            r"transforms\[0\].*albumentations has no 'HorizontalFlipp'; did you mean 'HorizontalFlip'",
        ),
        ({"_target_": "albumentations.BboxParams", "format": "coco"}, r"transforms\[0\].*BboxParams: is not a transform of albumentations"),
        (
            {"_target_": "albumentations.RandomCrop", "height": 10},
            r"transforms\[0\]: albumentations\.RandomCrop does not take these arguments",
        ),
        ({"_target_": "os.system", "command": "true"}, r"transforms\[0\]\._target_=os\.system: is not in an allowed module"),
    ],
    ids=["name", "kind", "argument", "module"],
)
def test_what_is_no_transform_is_refused(target: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compile_policy(augment().model_copy(update={"transforms": [Target(**target)]}), ALLOW)
