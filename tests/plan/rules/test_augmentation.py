"""How images are changed in training."""

from typing import Any

import pytest
from planned_facts import FREE, UNKNOWN, UPRIGHT, chosen, draft, facts, objects, reason, spread

from seg.plan.rules.augmentation import copy_paste, transforms

DIRECTIONS = ("left_right", "up_down", "turned")
FLIPS = ("HorizontalFlip", "VerticalFlip", "RandomRotate90")


def drawn(crop: Any = None, **changed: Any) -> dict[str, dict[str, Any]]:
    """{name: its arguments} of the transforms, in order."""
    found = chosen(transforms, facts(**changed), draft(augment__crop=crop))["augment.transforms"]
    return {t["_target_"].removeprefix("albumentations."): t for t in found}


def flips(*directions: Any, crop: Any = None, **changed: Any) -> list[str]:
    return [name for name in drawn(crop, directions=dict(zip(DIRECTIONS, directions, strict=True)), **changed) if name in FLIPS]


@pytest.mark.parametrize(
    ("left_right", "up_down", "turned", "expected"),
    [
        (FREE, FREE, FREE, FLIPS),
        (FREE, UPRIGHT, UPRIGHT, FLIPS[:1]),
        (UPRIGHT, UPRIGHT, UPRIGHT, ()),
        (FREE, FREE, UPRIGHT, FLIPS[:2]),
        (FREE, UPRIGHT, FREE, FLIPS[:1]),
        (UPRIGHT, FREE, FREE, FLIPS[1:2]),  # two quarter turns and an upright flip would mirror it
        (UNKNOWN, UNKNOWN, UNKNOWN, FLIPS[:1]),
        (FREE, UNKNOWN, FREE, FLIPS[:1]),
        (UPRIGHT, UNKNOWN, FREE, ()),
    ],
)
def test_flips_by_directions(left_right: Any, up_down: Any, turned: Any, expected: tuple[str, ...]) -> None:
    assert flips(left_right, up_down, turned) == list(expected)


@pytest.mark.parametrize(
    ("height", "width", "crop", "turned"),
    [
        (spread(200), spread(300), None, False),
        (spread(200), spread(300), [128, 128], True),
        (spread(200), spread(300), [128, 256], False),
        (spread(200, 300, 400), spread(200, 300, 400), None, True),
        (spread(100), spread(100), None, True),
    ],
    ids=str,
)
def test_only_square_windows_turn(height: Any, width: Any, crop: Any, turned: bool) -> None:
    """Others would become images of two sizes, which cannot lie in one batch without padding."""
    found = flips(FREE, FREE, FREE, crop=crop and {"size": crop, "foreground": 0.33}, height=height, width=width)
    assert ("RandomRotate90" in found) is turned


@pytest.mark.parametrize(
    ("images", "scale", "turn", "limit"),
    [
        (5, [0.7, 1.5], 45, 0.25),
        (199, [0.7, 1.5], 45, 0.25),
        (200, [0.8, 1.35], 20, 0.2),
        (999, [0.8, 1.35], 20, 0.2),
        (1000, None, None, 0.15),
    ],
)
def test_strength_by_number_of_images(images: int, scale: Any, turn: Any, limit: float) -> None:
    found = drawn(images=images)
    assert found["RandomBrightnessContrast"]["brightness_limit"] == limit
    assert ("GaussNoise" in found) is (images < 200)
    if scale is None:
        assert "Affine" not in found
    else:
        assert (found["Affine"]["scale"], found["Affine"]["rotate"]) == (scale, [-turn, turn])


@pytest.mark.parametrize(
    ("directions", "turn"), [((FREE, UPRIGHT, UPRIGHT), 7), ((FREE, FREE, UPRIGHT), 7), ((UPRIGHT, FREE, FREE), 20), ((UNKNOWN,) * 3, 7)]
)
def test_upright_images_turn_little(directions: Any, turn: int) -> None:
    assert drawn(directions=dict(zip(DIRECTIONS, directions, strict=True)))["Affine"]["rotate"] == [-turn, turn]


@pytest.mark.parametrize(("large", "scale"), [(40.0, [0.9, 1.1]), (41.0, [0.8, 1.25]), (79.0, [0.8, 1.25]), (80.0, [0.7, 1.5])])
def test_sizes_change_as_those_of_objects_do(large: float, scale: list[float]) -> None:
    """Objects of 20 pixels (5th percentile) to `large` ones (95th)."""
    found = objects(side=(20.0, 22.0, 25.0, 30.0, 35.0, 38.0, large, 90.0))
    assert drawn(task="instance", images=50, objects=found)["Affine"]["scale"] == scale


@pytest.mark.parametrize(
    ("channels", "colour", "images", "hue", "said"),
    [
        (3, True, 50, True, "light and colour change"),
        (3, True, 2000, False, "light changes, not colour"),
        (3, False, 50, False, "light changes, not colour, as they are gray"),
        (1, False, 50, False, "light changes, not colour, as they are gray"),
        (4, False, 50, False, "light changes, not colour"),
    ],
)
def test_colour_changes_in_colour_images(channels: int, colour: bool, images: int, hue: bool, said: str) -> None:
    known = facts(channels=channels, colour=colour, images=images)
    assert ("HueSaturationValue" in drawn(channels=channels, colour=colour, images=images)) is hue
    assert reason(transforms, "augment.transforms", known, draft()).endswith(f"; {said}")


@pytest.mark.parametrize(("count", "images", "p"), [(999, 300, 0.5), (1000, 300, 0.0), (5, 1, 0.0)])
def test_few_objects_are_pasted(count: int, images: int, p: float) -> None:
    assert chosen(copy_paste, facts(task="instance", objects=objects(count), images=images), draft()) == {"augment.copy_paste.p": p}


def test_pixels_are_not_pasted() -> None:
    assert chosen(copy_paste, facts(), draft()) == {"augment.copy_paste.p": 0.0}
