"""Policies: image and labels move together, nothing is lost on the way, and a draw depends on its seed alone."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, MakeConfig

from seg.errors import ConfigError
from seg.sample import Sample, no_instances
from seg.schema import Target
from seg.transforms import Policy, check_policy, compile_policy, load_policy

ALLOW = ["albumentations"]
POLICIES = sorted(path.stem for path in (ROOT / "conf/augment").glob("*.yaml"))


def policy_of(*transforms: dict[str, Any]) -> Policy:
    targets = [Target(**({"p": 1.0} | t | {"_target_": f"albumentations.{t['_target_']}"})) for t in transforms]
    return compile_policy(targets, ALLOW)


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
        {"_target_": "Affine", "rotate": [20, 70], "interpolation": 0, "fit_output": True},
        {"_target_": "ShiftScaleRotate", "interpolation": 0},
        {"_target_": "SafeRotate", "interpolation": 0},
        {"_target_": "Perspective", "scale": [0.1, 0.2], "interpolation": 0},
        {"_target_": "ElasticTransform", "alpha": 60, "sigma": 6, "interpolation": 0},
        {"_target_": "GridDistortion", "interpolation": 0},
        {"_target_": "RandomResizedCrop", "size": [32, 41], "interpolation": 0},
        {"_target_": "RandomScale", "scale_limit": [-0.5, 0.5], "interpolation": 0},
        {"_target_": "Resize", "height": 70, "width": 31, "interpolation": 0},
        {"_target_": "RandomCrop", "height": 20, "width": 33},
        {"_target_": "PadIfNeeded", "min_height": 77, "min_width": 81},
        {"_target_": "OneOf", "transforms": []},
    ],
    ids=lambda t: t["_target_"],
)
def test_image_and_labels_move_together(transform: dict[str, Any]) -> None:
    if transform["_target_"] == "OneOf":
        import albumentations as A

        policy = Policy(A.Compose([A.OneOf([A.Rotate(60, interpolation=0), A.Affine(scale=0.5, interpolation=0)], p=1)]))
    else:
        policy = policy_of(transform)
    before, moved = coded(), False
    for seed in range(6):
        after = policy(before, seed)
        filled = after.image[..., 0] == 0
        np.testing.assert_array_equal(after.semantic, np.where(filled, 255, after.image[..., 0] - 10))
        np.testing.assert_array_equal(after.instances, np.where(filled[..., None], 0, after.image[..., 1:].astype(int) - 10))
        assert (after.semantic.dtype, after.instances.dtype, after.image.dtype) == (np.uint8, np.int32, np.uint8)
        assert after.categories is before.categories
        moved |= after.image.shape != before.image.shape or not np.array_equal(after.image, before.image)
    assert moved


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        ({"_target_": "HorizontalFlip"}, np.fliplr),
        ({"_target_": "VerticalFlip"}, np.flipud),
        ({"_target_": "Transpose"}, lambda x: np.swapaxes(x, 0, 1)),
        ({"_target_": "Rotate", "limit": [90, 90]}, np.rot90),
    ],
    ids=["HorizontalFlip", "VerticalFlip", "Transpose", "Rotate90"],
)
def test_moves_of_whole_pixels_equal_numpys(transform: dict[str, Any], expected: Any) -> None:
    before = coded(45, 45)
    after = policy_of(transform)(before, 0)
    np.testing.assert_array_equal(after.image, expected(before.image))
    np.testing.assert_array_equal(after.semantic, expected(before.semantic))
    np.testing.assert_array_equal(after.instances, expected(before.instances))


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
    after = policy_of(warp, {"_target_": "ElasticTransform", "alpha": 20, "sigma": 5})(before, 1)
    assert [sorted(set(np.unique(after.instances[..., i])) - {0}) for i in range(len(layers))] == [sorted(ids) for ids in layers]
    assert after.instances.shape == instances.shape
    np.testing.assert_array_equal(policy_of({"_target_": "HorizontalFlip"})(before, 0).instances, instances[:, ::-1])


def test_gray_images_stay_gray() -> None:
    gray = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    flip, light = {"_target_": "HorizontalFlip"}, {"_target_": "RandomBrightnessContrast", "brightness_limit": [0.1, 0.1]}
    after = policy_of(flip, light)(sample_of(gray[..., 0], gray), 0)
    assert after.image.shape == (8, 8, 1)
    np.testing.assert_array_equal(after.semantic, gray[:, ::-1, 0])


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
    policy = compile_policy(make_config(f"augment={name}").augment.transforms, ALLOW)
    again = load_policy(policy.to_json())
    assert drawn(again, [0, 1, 2, 2**32 - 1]) == drawn(policy, [0, 1, 2, 2**32 - 1])
    if name != "none":
        assert len({drawn(policy, [seed]) for seed in range(8)}) > 2, "the seed is not heeded"
    check_policy(policy, [photo(), coded()], 3, 0)


def test_a_draw_does_not_depend_on_earlier_draws_or_on_the_process(make_config: MakeConfig) -> None:
    """And albumentations asks no server for newer versions of itself."""
    policy = compile_policy(make_config("augment=heavy").augment.transforms, ALLOW)
    first = drawn(policy, [7, 8])
    drawn(policy, [1, 2, 3])
    assert drawn(policy, [8, 7]) != first
    assert drawn(policy, [7, 8]) == first
    code = """
import sys, urllib.request
def refuse(*_, **__): sys.exit("albumentations asked for its newest version")
urllib.request.OpenerDirector.open = refuse
from seg.transforms import load_policy
from test_transforms import drawn
print(drawn(load_policy(sys.stdin.read()), [7, 8]))
"""
    env = {k: v for k, v in os.environ.items() if k != "NO_ALBUMENTATIONS_UPDATE"}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
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
        compile_policy([Target(**target)], ALLOW)
