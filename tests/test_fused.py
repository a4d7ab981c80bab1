"""Fused policies draw what albumentations draws, and show the same with fewer warps; what is deferred is done by a batch's device."""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from tiny import augment

from seg import geometry
from seg.augment.policy import Policy, compile_policy, load_policy
from seg.data.sample import IGNORE, Sample, no_instances
from seg.deferred import Deferred
from seg.device_transforms import apply
from seg.fused import FusedTransforms
from seg.geometry import is_geometric
from seg.loading.batch import Batch, collate

Transforms = Sequence[dict[str, Any]]

FLIP, TURN = {"_target_": "HorizontalFlip", "p": 0.5}, {"_target_": "RandomRotate90"}
AFFINE = {"_target_": "Affine", "rotate": [-40, 40], "scale": [0.7, 1.6], "translate_percent": [-0.2, 0.2], "p": 0.9}
COLORS = [
    {"_target_": "RandomBrightnessContrast", "p": 0.8},
    {"_target_": "HueSaturationValue", "p": 0.8},
    {"_target_": "RandomGamma", "gamma_limit": [60, 150], "p": 0.8},
]


def smooth(height: int = 72, width: int = 90, channels: int = 3, seed: int = 0) -> Sample:
    """An image without edges, in which half a pixel matters little, and classes in blocks."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(20, 236, (4, 5, channels), dtype=np.uint8)
    image = np.dstack([cv2.resize(coarse[..., i], (width, height), interpolation=cv2.INTER_CUBIC) for i in range(channels)])
    blocks = rng.integers(0, 9, (height // 9 + 1, width // 9 + 1)).astype(np.uint8)
    semantic = np.ascontiguousarray(blocks.repeat(9, 0).repeat(9, 1)[:height, :width])
    return Sample(f"smooth {seed}", image, semantic, *no_instances(height, width))


def policies(*transforms: dict[str, Any], p: float = 0.0) -> tuple[Policy, Policy]:
    """As they are, and fused."""
    plain, fused = (compile_policy(augment(*transforms, fused=fused, p=p), ["albumentations"]) for fused in (False, True))
    return plain, fused


EXACT: dict[str, Transforms] = {
    "flips": [FLIP, {"_target_": "VerticalFlip", "p": 0.5}, TURN, {"_target_": "Transpose", "p": 0.5}],
    "symmetries": [{"_target_": "D4"}, {"_target_": "SquareSymmetry"}],
    "turned crops": [{"_target_": "RandomCrop", "height": 40, "width": 50}, TURN, {"_target_": "CenterCrop", "height": 30, "width": 31}],
    "padded": [FLIP, {"_target_": "PadIfNeeded", "min_height": 99, "min_width": 80, "fill": 7}, TURN],
    "padded crops": [{"_target_": "RandomCrop", "height": 80, "width": 60, "pad_if_needed": True}, FLIP],
    "reflected": [{"_target_": "PadIfNeeded", "min_height": 99, "min_width": 99, "border_mode": cv2.BORDER_REFLECT_101}, TURN],
    "reflected twice": [
        {"_target_": "PadIfNeeded", "min_height": side, "min_width": side, "border_mode": cv2.BORDER_REFLECT_101} for side in (99, 150)
    ],
    "warps one by one": [AFFINE, AFFINE, AFFINE],
    "cut before a warp": [{"_target_": "RandomCrop", "height": 40, "width": 50}, AFFINE],
    "reflected after a cut": [AFFINE, AFFINE | {"border_mode": cv2.BORDER_REFLECT}],
    "another fill": [{"_target_": "PadIfNeeded", "min_height": 99, "min_width": 99, "fill": 9}, AFFINE],
    "not known": [FLIP, {"_target_": "ElasticTransform", "alpha": 20, "sigma": 4}, {"_target_": "Rotate", "crop_border": True}, *COLORS],
    "not linear": [AFFINE | {"interpolation": cv2.INTER_CUBIC}, {"_target_": "RandomScale", "interpolation": 0}],
    "by area": [{"_target_": "Resize", "height": 30, "width": 30, "area_for_downscale": "image"}],
    "after colours": [*COLORS, FLIP],
}

ONE_WARP: dict[str, Transforms] = {
    "all": [FLIP, TURN, {"_target_": "Transpose", "p": 0.5}, AFFINE, {"_target_": "RandomCrop", "height": 50, "width": 40}, FLIP],
    "scaled crops": [
        {"_target_": "RandomScale", "scale_limit": [-0.5, 1.0]},
        {"_target_": "PadIfNeeded", "min_height": 60, "min_width": 60},
        {"_target_": "RandomCrop", "height": 60, "width": 60},
        FLIP,
    ],
    "resized crops": [{"_target_": "RandomResizedCrop", "size": [64, 50]}, TURN],
    "sized crops": [{"_target_": "RandomSizedCrop", "min_max_height": [30, 70], "size": [64, 50]}, TURN],
    "filled": [FLIP, AFFINE | {"fill": 200, "fill_mask": 3}],
    "filled by channel": [AFFINE | {"fill": [200.0, 0.0, 10.0]}, TURN],
    "fitted": [{"_target_": "Affine", "rotate": [-40, 40], "fit_output": True}, FLIP],
    "mirrored": [TURN, AFFINE | {"border_mode": cv2.BORDER_REFLECT_101}, FLIP],
    "replicated": [AFFINE | {"border_mode": cv2.BORDER_REPLICATE}],
    "resized": [{"_target_": "Resize", "height": 50, "width": 111}, AFFINE],
    "others": [TURN, {"_target_": "ShiftScaleRotate"}],
    "safe": [{"_target_": "SafeRotate"}, FLIP],
    "rotated": [FLIP, {"_target_": "Rotate"}],
}


@pytest.mark.parametrize("name", EXACT)
def test_what_needs_no_other_interpolation_has_the_same_bytes(name: str) -> None:
    plain, fused = policies(*EXACT[name])
    for seed in range(25):
        sample = smooth(seed=seed, channels=3)
        a, b = plain(sample, seed), fused(sample, seed)
        np.testing.assert_array_equal(a.image, b.image, err_msg=f"seed {seed}")
        np.testing.assert_array_equal(a.semantic, b.semantic, err_msg=f"seed {seed}")
        assert b.image.flags.c_contiguous
        assert b.semantic.flags.c_contiguous


def differs(a: Sample | Batch, b: Sample | Batch) -> tuple[float, float]:
    """Mean difference of the images' levels, and share of the pixels that have another label."""
    images = [np.asarray(x.image if isinstance(x, Sample) else x.images).astype(float) for x in (a, b)]
    labels = [np.asarray(x.semantic) for x in (a, b)]
    assert images[0].shape == images[1].shape
    return float(np.abs(images[0] - images[1]).mean()), float((labels[0] != labels[1]).mean())


@pytest.mark.parametrize("name", ONE_WARP)
def test_one_warp_shows_what_several_show(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[str] = Counter()
    own = geometry.warp_affine
    monkeypatch.setattr(geometry, "warp_affine", lambda *a: calls.update(["warps"]) or own(*a))
    plain, fused = policies(*ONE_WARP[name])
    found = []
    for seed in range(25):
        sample, before = smooth(seed=seed), calls["warps"]
        found.append(differs(plain(sample, seed), fused(sample, seed)))
        assert calls["warps"] - before in (0, 2), "one for the image and one for the labels"
    levels, labels = np.mean(found, 0)
    assert levels < 1.5, f"{levels} levels"  # at the edge of what is filled, a pixel blends in or does not
    assert labels < (0.1 if "sized" in name or "scaled" in name else 0.01), f"{labels} of the labels"  # resized masks lie half a pixel off
    assert calls["warps"]


def test_wrong_geometry_would_be_seen() -> None:
    """The bounds of the test above are not so wide that a mirrored image fits."""
    plain, fused = policies(FLIP | {"p": 1.0}, AFFINE)[0], policies(AFFINE)[1]
    levels, labels = np.mean([differs(plain(smooth(seed=s), s), fused(smooth(seed=s), s)) for s in range(25)], 0)
    assert levels > 15
    assert labels > 0.3


def test_a_move_by_half_a_pixel_would_be_seen() -> None:
    """Pixels are squares: a mirrored image lies on itself, and so does one that was enlarged and reduced again."""
    ramp = np.tile(np.arange(0, 240, 4, dtype=np.uint8), (60, 1))
    sample = Sample("ramp", np.dstack([ramp, ramp, ramp]), (ramp // 16).astype(np.uint8), *no_instances(60, 60))
    larger, back = ({"_target_": "Resize", "height": side, "width": side} for side in (120, 60))
    _, fused = policies(larger, FLIP | {"p": 1.0}, back, FLIP | {"p": 1.0})
    drawn = fused(sample, 0)
    np.testing.assert_array_equal(drawn.image, sample.image)
    np.testing.assert_array_equal(drawn.semantic, sample.semantic)


def deferred(policy: Policy, samples: Sequence[Sample], seed: int) -> Batch:
    return collate([policy.draw_from(lambda i: samples[i], len(samples), i, seed + i, True) for i in range(len(samples))])


@pytest.mark.parametrize(("name", "channels"), [(n, c) for n in ONE_WARP for c in (3, 1, 5) if c == 3 or n != "filled by channel"])
def test_a_deferred_warp_shows_the_same(name: str, channels: int) -> None:
    _, fused = policies(*ONE_WARP[name])
    samples = [smooth(72, 90, channels, 1), smooth(80, 70, channels, 2), smooth(72, 90, channels, 3)]
    found = []
    for seed in range(0, 60, 4):
        here = collate([fused(s, seed + i) for i, s in enumerate(samples)])
        there = deferred(fused, samples, seed).to("cpu")
        assert there.sizes == here.sizes
        assert not there.deferred
        found.append(differs(here, there))
        for i, (height, width) in enumerate(there.sizes):
            assert not there.images[i, :, height:].any()
            assert not there.images[i, :, :, width:].any()
            assert (there.semantic[i, height:] == IGNORE).all()
            assert (there.semantic[i, :, width:] == IGNORE).all()
    levels, labels = np.mean(found, 0)
    assert levels < 0.3
    assert labels < 0.005  # half-way between two pixels either is the nearest


def test_which_warps_are_deferred() -> None:
    def kinds(sample: Sample, *transforms: dict[str, Any], p: float = 0.0) -> set[str]:
        other = Sample("other", sample.image, sample.semantic, sample.instances, sample.categories, sample.crowd)
        drawn = [policies(*transforms, p=p)[1].draw_from(lambda i: (sample, other)[i], 2, 0, seed, True) for seed in range(20)]
        return {step.kind for s in drawn for step in s.deferred}

    affine, colors = AFFINE | {"p": 1.0}, {"table", "hsv"}
    sample = smooth()
    assert kinds(sample, FLIP, affine, *COLORS) == {"warp"} | colors
    assert kinds(sample, FLIP, TURN, *COLORS) == colors, "no pixel has to be interpolated"
    assert kinds(sample, affine | {"border_mode": cv2.BORDER_REFLECT}, *COLORS) == colors
    assert kinds(sample, affine, {"_target_": "RandomCrop", "height": 40, "width": 40}, *COLORS) == colors, "most of it is not seen"
    assert kinds(sample, *COLORS, affine) == {"warp"}
    assert kinds(sample, affine, {"_target_": "ElasticTransform"}, *COLORS) == colors
    assert kinds(sample, affine, {"_target_": "RandomBrightnessContrast", "brightness_by_max": False}) == set()
    instances = np.zeros((72, 90, 1), np.int32)
    instances[10:40, 10:40] = 1
    one = Sample("one", sample.image, sample.semantic, instances, np.array([1], np.int32), np.zeros(1, bool))
    assert kinds(one, affine, *COLORS) == colors, "boxes are derived from the labels before the device sees them"
    assert kinds(one, affine, *COLORS, p=0.5) == set(), "instances are pasted into what is finished"
    assert {s.kind for s in policies(affine, *COLORS)[0].draw_from(lambda i: sample, 1, 0, 0, True).deferred} == set(), "not fused"


SETTINGS: dict[str, dict[str, Any]] = {
    "RandomBrightnessContrast": {"brightness_limit": 0.4, "contrast_limit": 0.4},
    "RandomGamma": {"gamma_limit": [40, 200]},
    "InvertImg": {},
    "HueSaturationValue": {"hue_shift_limit": 90, "sat_shift_limit": 120, "val_shift_limit": 60},
    "GaussianBlur": {"blur_limit": [3, 9]},
    "CoarseDropout": {"fill": 99, "num_holes_range": [2, 5]},
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.filterwarnings("ignore:HueSaturationValue")
def test_deferred_photometry_is_albumentations(name: str, channels: int) -> None:
    """On any colours, gray ones among them; in images of two sizes, with some that are not changed."""
    plain, fused = policies(FLIP, {"_target_": name, "p": 0.7} | SETTINGS[name])
    rng = np.random.default_rng(5)
    samples = []
    for size in ((50, 41), (40, 60), (50, 41), (33, 33)):
        image = rng.integers(0, 256, (*size, channels), dtype=np.uint8)
        image[:9] = image[:9, :, :1]
        samples.append(Sample("any", image, np.zeros(size, np.uint8), *no_instances(*size)))
    changed = 0
    for seed in range(0, 80, 4):
        here, raw = collate([plain(s, seed + i) for i, s in enumerate(samples)]), deferred(fused, samples, seed)
        changed += sum(map(len, raw.deferred))
        there = raw.to("cpu")
        apart = (here.images.int() - there.images.int()).abs()
        assert int(apart.max()) <= 1, f"seed {seed}"
        if name not in ("HueSaturationValue", "GaussianBlur"):
            assert not apart.any()
        assert float(apart.float().mean()) < 0.2
        assert torch.equal(here.semantic, there.semantic)
    assert 30 < changed < 80


@pytest.mark.parametrize("per_channel", [True, False])
def test_deferred_noise_has_albumentations_distribution(per_channel: bool) -> None:
    settings = {"std_range": [0.02, 0.02], "mean_range": [0.04, 0.04], "per_channel": per_channel}
    plain, fused = policies({"_target_": "GaussNoise"} | settings)
    gray = np.full((200, 200, 3), 100, np.uint8)
    sample = Sample("gray", gray, np.zeros((200, 200), np.uint8), *no_instances(200, 200))
    here = plain(sample, 1).image.astype(float) - 100
    batch = deferred(fused, [sample, sample], 1)
    there = batch.to("cpu").images.permute(0, 2, 3, 1).numpy().astype(float) - 100
    for noise in (here, there[0], there[1]):
        assert abs(noise.mean() - (255 * 0.04 - 0.5)) < 0.1  # what follows the point is cut off
        assert abs(noise.std() - 255 * 0.02) < 0.1
        assert np.array_equal(noise[..., 0], noise[..., 1]) != per_channel
    assert not np.array_equal(there[0], there[1])
    np.testing.assert_array_equal(there, batch.to("cpu").images.permute(0, 2, 3, 1).numpy().astype(float) - 100)
    alone = Batch.split(batch, 1)[1].to("cpu")
    np.testing.assert_array_equal(alone.images[0], batch.to("cpu").images[1], err_msg="by itself as in its batch")


def test_draws_do_not_depend_on_what_is_deferred() -> None:
    """All transforms share one stream of random numbers: one that draws less would change those that follow."""
    transforms = [FLIP, AFFINE, *COLORS, {"_target_": "GaussNoise", "p": 0.5}, {"_target_": "CoarseDropout", "p": 0.5, "fill": 0}]
    _, fused = policies(*transforms)
    for seed in range(20):
        states = []
        for defers in (False, True):
            fused.draw(smooth(), seed, defers)
            states.append((fused.compose.py_random.getstate(), str(fused.compose.random_generator.bit_generator.state)))
        assert states[0] == states[1]


def test_a_policy_remembers_that_it_is_fused() -> None:
    for policy, fused in zip(policies(AFFINE), (False, True), strict=True):
        read = load_policy(policy.to_json())
        assert (read.fused is not None) is fused
        sample = smooth()
        np.testing.assert_array_equal(read(sample, 3).image, policy(sample, 3).image)


def test_identity_is_not_copied() -> None:
    sample = smooth()
    transforms = FusedTransforms(A.Compose([A.HorizontalFlip(p=0.0), A.Affine(p=0.0)]))
    transforms.compose.set_random_state(np.random.default_rng(0), random.Random(0))
    image, labels, left = transforms(sample.image, sample.semantic, False, False)
    assert image is sample.image
    assert labels is sample.semantic
    assert left == ()


def test_what_is_deferred_is_done_once_and_in_order() -> None:
    """A table that doubles, and one that adds 3: 10 becomes 23, not 26."""
    double, add = (np.clip(f(np.arange(256)), 0, 255).astype(np.uint8) for f in (lambda v: 2 * v, lambda v: v + 3))
    images = torch.full((2, 1, 4, 4), 10, dtype=torch.uint8)
    steps = [(Deferred(0, "table", double), Deferred(4, "table", add)), (Deferred(4, "table", add),)]
    done, _, _ = apply(images, images[:, 0], [(4, 4), (4, 3)], steps)
    assert done[0].unique().tolist() == [23]
    assert done[1, 0, :, :3].unique().tolist() == [13]
    assert done[1, 0, :, 3].unique().tolist() == [0], "beyond the image"
    assert images.unique().tolist() == [10], "what was given is left alone"


def test_transforms_of_other_kinds_are_not_taken() -> None:
    assert is_geometric(A.Affine())
    assert not is_geometric(A.Affine(interpolation=cv2.INTER_CUBIC))
    assert not is_geometric(A.Rotate(crop_border=True))
    assert not is_geometric(A.RandomScale(area_for_downscale="image"))
    assert not is_geometric(A.Perspective())
