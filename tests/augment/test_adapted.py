"""Quick ways through OpenCV give what albumentations' own give, byte by byte."""

import random
from collections import Counter
from typing import Any

import albumentations as A
import cv2
import numpy as np
import pytest

from seg.augment import adapted as quick_transforms
from seg.augment.adapted import identity, speed_up

BORDERS = (cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT, cv2.BORDER_REFLECT_101, cv2.BORDER_WRAP)
TRANSFORMS: dict[str, Any] = {
    "turns": lambda rng: A.RandomRotate90(p=0.8),
    "d4": lambda rng: A.D4(p=1.0),
    "symmetry": lambda rng: A.SquareSymmetry(p=1.0),
    "affine": lambda rng: A.Affine(
        scale=(0.3, 3), rotate=(-180, 180), shear=(-20, 20), translate_percent=(-0.3, 0.3), border_mode=rng.choice(BORDERS), p=0.9
    ),
    "filled": lambda rng: A.Affine(scale=(0.3, 1), fill=rng.randint(0, 255), p=1.0),
    "filled by channel": lambda rng: A.Affine(scale=(0.3, 1), fill=(200.0, 0.0, 10.0), p=1.0),
    "cubic": lambda rng: A.Affine(scale=(0.3, 1), interpolation=cv2.INTER_CUBIC, p=1.0),
    "fitted": lambda rng: A.Affine(rotate=(-45, 45), fit_output=True, p=1.0),
    "nothing": lambda rng: A.Affine(p=1.0),
    "shift": lambda rng: A.ShiftScaleRotate(p=1.0),
    "safe": lambda rng: A.SafeRotate(p=1.0),
    "rotate": lambda rng: A.Rotate(crop_border=rng.random() < 0.5, border_mode=rng.choice(BORDERS), p=1.0),
    "hue": lambda rng: A.HueSaturationValue(rng.choice((0, 30)), rng.choice((0, 40)), rng.choice((0, 40)), p=0.9),
    "flip": lambda rng: A.HorizontalFlip(p=0.5),
}


def drawn(name: str, seed: int, quick: bool, image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    transform = TRANSFORMS[name](random.Random(seed))
    compose = A.Compose([transform])
    if quick:
        speed_up(transform)
    compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
    result = compose(image=image.copy(), mask=mask.copy())
    return result["image"], result["mask"]


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.filterwarnings("ignore")
def test_the_quick_way_gives_the_same_bytes(name: str) -> None:
    for seed in range(40):
        rng = np.random.default_rng(seed)
        height, width = rng.integers(3, 90, 2)
        channels = 3 if name == "hue" or "filled by" in name else (3, 3, 1, 4, 5)[seed % 5]
        image = rng.integers(256, size=(height, width, channels), dtype=np.uint8)
        image[: height // 3] = image[: height // 3, :, :1]  # gray, whose saturation is 0
        mask = identity(height, width) if seed % 2 else rng.integers(9, size=(height, width)).astype(np.uint8)
        expected, given = (drawn(name, seed, quick, image, mask) for quick in (False, True))
        for a, b in zip(expected, given, strict=True):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            np.testing.assert_array_equal(a, b, err_msg=f"seed {seed}")


def test_the_quick_way_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the test above would compare albumentations with itself."""
    calls: Counter[str] = Counter()
    for function in ("rotate", "cvtColor", "LUT"):
        own = getattr(cv2, function)
        monkeypatch.setattr(quick_transforms.cv2, function, lambda *a, f=function, o=own, **k: calls.update([f]) or o(*a, **k))
    image, mask = np.zeros((8, 9, 3), np.uint8), np.zeros((8, 9), np.uint8)
    for name, expected in (
        ("symmetry", {"rotate": 2}),
        ("affine", {"cvtColor": 2}),
        ("filled", {"cvtColor": 2}),
        ("rotate", {"cvtColor": 2}),
    ):
        counts = []
        for seed in range(30):
            calls.clear()
            drawn(name, seed, True, image, mask)
            counts.append(dict(calls))
        assert expected in counts, name
    calls.clear()
    drawn("hue", 4, True, image, mask)
    assert calls["LUT"] == 1


def test_every_shift_of_hue_saturation_and_value() -> None:
    """On colours of every saturation and value, over the whole range of shifts."""
    image = np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)
    image[:8] = image[:8, :, :1]
    own, quick = A.HueSaturationValue(p=1.0), A.HueSaturationValue(p=1.0)
    speed_up(quick)
    rng = np.random.default_rng(1)
    shifts = [(0, s, 0) for s in range(-255, 256, 5)] + [(h, 0.5, 0) for h in range(-180, 181, 9)]
    for hue, saturation, value in [*shifts, *(rng.uniform(-255, 255, (200, 3)) * (0.7, 1, 1)).tolist()]:
        drawn = {"hue_shift": hue, "sat_shift": saturation, "val_shift": value}
        np.testing.assert_array_equal(quick._key2func["image"](image.copy(), **drawn), own.apply(image.copy(), **drawn), str(drawn))
