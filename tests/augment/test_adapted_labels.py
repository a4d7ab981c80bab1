"""Labels lie on the picture where both are resized: each takes the pixel whose middle is nearest, and a warp stays what it was."""

from typing import Any

import albumentations as A
import cv2
import numpy as np
import pytest
from scipy import ndimage
from tiny import augment

from seg.augment.adapted import RESIZING
from seg.augment.policy import Policy, compile_policy, load_policy
from seg.data.sample import Sample, no_instances


def compiled(transform: dict[str, Any]) -> Policy:
    return compile_policy(augment(transform), ["albumentations"])


def sample_of(semantic: np.ndarray, with_instances: bool, image: np.ndarray | None = None) -> Sample:
    """The class map as a picture, too; with instances one of each class but 0."""
    pixels = np.repeat(semantic[..., None] * np.uint8(255), 3, axis=2) if image is None else image
    if not with_instances:
        return Sample("scene", pixels, semantic, *no_instances(*semantic.shape))
    ids, count = semantic.astype(np.int32)[..., None], int(semantic.max())
    return Sample("scene", pixels, semantic, ids, np.arange(1, count + 1, dtype=np.int32), np.zeros(count, bool))


@pytest.mark.parametrize("with_instances", [False, True])
def test_six_columns_become_two(with_instances: bool) -> None:
    """Black 0..3, white 4..5: the middles of the two halves lie in columns 1 and 4. policy.json keeps to it."""
    semantic = np.repeat(np.array([[0, 0, 0, 0, 1, 1]], np.uint8), 2, axis=0)
    policy = compiled({"_target_": "Resize", "height": 2, "width": 2})
    for one in (policy, load_policy(policy.to_json())):
        after = one.draw(sample_of(semantic, with_instances), 0).sample
        assert after.semantic.tolist() == [[0, 1], [0, 1]]
        assert after.image[..., 0].tolist() == [[0, 255], [0, 255]]
        assert not with_instances or after.instances[..., 0].tolist() == [[0, 1], [0, 1]]


@pytest.mark.parametrize("interpolation", [{}, {"interpolation": 0}], ids=["linear", "nearest"])
@pytest.mark.parametrize("with_instances", [False, True])
@pytest.mark.parametrize(
    "transform",
    [
        {"_target_": "Resize", "height": 31, "width": 90},
        {"_target_": "RandomScale", "scale_limit": [-0.5, 0.7]},
        {"_target_": "LongestMaxSize", "max_size": 50},
        {"_target_": "SmallestMaxSize", "max_size": 80},
    ],
    ids=lambda t: t["_target_"],
)
def test_each_pixel_is_the_one_whose_middle_is_nearest(transform: dict[str, Any], with_instances: bool, interpolation: Any) -> None:
    semantic = np.random.default_rng(0).integers(0, 9, (53, 73)).astype(np.uint8)
    policy = compiled(transform | interpolation)
    for seed in range(4):
        drawn = policy.draw(sample_of(semantic, with_instances), seed).sample
        rows, columns = (
            ((2 * np.arange(out) + 1) * side // (2 * out)) for side, out in zip(semantic.shape, drawn.semantic.shape, strict=True)
        )
        expected = semantic[np.ix_(rows, columns)]
        np.testing.assert_array_equal(drawn.semantic, expected)
        assert not with_instances or np.array_equal(drawn.instances[..., 0], expected)
        assert not interpolation or np.array_equal(drawn.image[..., 0], expected * np.uint8(255))


@pytest.mark.parametrize(
    ("transform", "with_instances"),
    [
        ({"_target_": "RandomScale", "scale_limit": [-0.5, 0.7]}, False),
        ({"_target_": "RandomScale", "scale_limit": [-0.5, 0.7]}, True),
        ({"_target_": "RandomResizedCrop", "size": [250, 280], "scale": [0.9, 1.0], "ratio": [0.9, 1.1]}, True),
        ({"_target_": "RandomSizedCrop", "min_max_height": [230, 250], "size": [330, 310]}, False),
        ({"_target_": "CropAndPad", "percent": [-0.06, 0.2]}, True),
    ],
    ids=["RandomScale", "RandomScale-instances", "RandomResizedCrop", "RandomSizedCrop", "CropAndPad"],
)
def test_discs_lie_on_their_picture(transform: dict[str, Any], with_instances: bool) -> None:
    """150 discs, at scales from 0.5 to 1.7: where their labels have their middle, and what they cover."""
    policy, rng, apart, overlaps = compiled(transform), np.random.default_rng(1), [], []
    height, width = 260, 270
    y, x = np.ogrid[:height, :width]
    for seed in range(150):
        radius = rng.uniform(90, 110)
        inside = radius - np.hypot(y - rng.uniform(120, 140), x - rng.uniform(120, 150))
        image = np.repeat((np.clip(inside + 0.5, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)
        drawn = policy.draw(sample_of((inside > 0).astype(np.uint8), with_instances, image), seed).sample
        labels = drawn.instances[..., 0] > 0 if with_instances else drawn.semantic == 1
        shown = drawn.image[..., 0]
        apart.append(np.subtract(ndimage.center_of_mass(labels), ndimage.center_of_mass(shown)))
        overlaps.append((labels & (shown > 127)).sum() / (labels | (shown > 127)).sum())
    assert np.abs(np.mean(apart, axis=0)).max() < 0.02
    assert np.mean(overlaps) > 0.99
    assert np.min(overlaps) > 0.98


MADE = {  # with the arguments that each must be given
    "Resize": {"height": 20, "width": 30},
    "RandomScale": {"scale_limit": (0.4, 0.5)},
    "LongestMaxSize": {"max_size": 30},
    "SmallestMaxSize": {"max_size": 30},
    "RandomResizedCrop": {"size": (20, 30)},
    "RandomSizedCrop": {"min_max_height": (20, 25), "size": (33, 31)},
    "RandomSizedBBoxSafeCrop": {"height": 20, "width": 30},
    "CropAndPad": {"percent": -0.1},
}


@pytest.mark.filterwarnings("ignore")
def test_all_that_resize_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every transform of albumentations that has an interpolation of masks, with what OpenCV is called."""
    image, mask, called = np.zeros((48, 60, 3), np.uint8), np.zeros((48, 60), np.float32), []
    for function in ("resize", "warpAffine", "warpPerspective", "remap"):
        own = getattr(cv2, function)

        def spy(pixels: np.ndarray, *args: Any, own: Any = own, function: str = function, **named: Any) -> np.ndarray:
            flags = named.get("interpolation", named.get("flags", args[-1] if function == "remap" and args else None))
            called.append((function, pixels.dtype == np.float32 and pixels.ndim == 2, flags))
            return own(pixels, *args, **named)

        monkeypatch.setattr(cv2, function, spy)
    resizing = set()
    for name in sorted(dir(A)):
        kind = getattr(A, name)
        if not (isinstance(kind, type) and issubclass(kind, A.DualTransform)):
            continue
        try:
            transform = kind(**MADE.get(name, {}), p=1.0)
        except (TypeError, ValueError):  # it must be given more than any that resizes
            continue
        if not hasattr(transform, "mask_interpolation") or transform.targets_as_params:  # a policy has image and mask alone
            continue
        policy = Policy(A.Compose([transform]), augment().instances, augment().copy_paste)
        called.clear()
        try:
            policy.compose(image=image, mask=mask)
        except KeyError:  # it needs boxes
            continue
        for function, of_mask, flags in called:
            if function == "resize" and of_mask:
                resizing.add(name)
                assert flags == cv2.INTER_NEAREST_EXACT, name
            elif of_mask and flags is not None:
                assert flags & 7 != cv2.INTER_NEAREST_EXACT, name
    assert resizing >= {kind.__name__ for kind in RESIZING} - {"RandomSizedBBoxSafeCrop"}
