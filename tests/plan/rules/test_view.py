"""What the network sees: whole images at a scale, or crops."""

from typing import Any

import pytest
from planned_facts import chosen, draft, facts, objects, reason, spread

from seg.plan.rules.view import crop, scale, seen_share

SMALL = (5, 6, 8, 10, 12, 15, 18, 20)


def seen(**changed: Any) -> tuple[float, Any, Any]:
    """(model.scale, augment.crop, model.window) that the rules choose."""
    known = facts(**changed)
    factor = chosen(scale, known, draft())["model.scale"]
    rest = chosen(crop, known, draft(model__scale=factor))
    return factor, rest["augment.crop"] and rest["augment.crop"]["size"], rest["model.window"]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, (1.0, None, None)),
        ({"height": spread(40), "width": spread(30)}, (1.0, None, None)),
        # a photograph of few large objects: 250 x 375 of it
        ({"height": spread(2000), "width": spread(3000), "widths": {"thing": 300.0}}, (0.125, None, None)),
        ({"height": spread(360), "width": spread(480), "widths": {"thing": 20.0}}, (0.5, None, None)),
        # thin vessels: half of them would still be 1.5 pixels, but crops are taken in any case
        ({"height": spread(960), "width": spread(999), "widths": {"thing": 3.0}}, (1.0, [256, 256], 256)),
        ({"height": spread(960), "width": spread(999), "widths": {"thing": 3.0}, "device": "mps"}, (1.0, [384, 384], 384)),
        # on a GPU half of the image would fit whole, where 3 pixels become 1.5
        ({"height": spread(960), "width": spread(999), "widths": {"thing": 3.0}, "device": "cuda"}, (0.5, None, None)),
        ({"height": spread(960), "width": spread(999), "widths": {"thing": 2.0}, "device": "cuda"}, (1.0, [512, 512], 512)),
        # too large for any scale: crops of 256 / 0.125 stored pixels
        ({"height": spread(20000), "width": spread(20000), "widths": {"thing": 1000.0}}, (0.125, [2048, 2048], 2048)),
        ({"height": spread(20000), "width": spread(20000), "widths": {"thing": 4.0}}, (0.75, [320, 320], 320)),
        # one narrow class of eleven gives way, one of two does not
        ({"height": spread(360), "width": spread(480), "widths": {"pole": 1.0} | {f"c{n}": 30.0 for n in range(10)}}, (0.5, None, None)),
        ({"height": spread(600), "width": spread(800), "widths": {"pole": 1.0, "wall": 3.0}}, (1.0, [256, 256], 256)),
        ({"height": spread(600), "width": spread(800), "widths": {}}, (1.0, [256, 256], 256)),
        # narrow images have narrow crops
        ({"height": spread(100), "width": spread(4000), "widths": {"thing": 3.0}}, (1.0, [128, 256], 256)),
        ({"height": spread(20), "width": spread(20000), "widths": {"thing": 3.0}}, (1.0, [32, 256], 256)),
        # sizes vary: the median is seen whole, the largest would be too much
        ({"height": spread(100, 200, 900), "width": spread(100, 200, 900)}, (1.0, [224, 224], 224)),
        ({"height": spread(100, 200, 300), "width": spread(100, 200, 300)}, (1.0, None, None)),
    ],
    ids=str,
)
def test_regions(changed: dict[str, Any], expected: tuple[float, Any, Any]) -> None:
    assert seen(**changed) == expected


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"height": spread(320), "width": spread(320)}, (1.0, None, None)),
        ({"height": spread(640), "width": spread(640)}, (0.5, None, None)),  # a side of 25 pixels becomes 12.5
        ({"height": spread(640), "width": spread(640), "objects": objects(side=SMALL)}, (1.0, [320, 320], 640)),
        ({"height": spread(640), "width": spread(640), "objects": objects(side=SMALL), "device": "cuda"}, (1.0, None, None)),
        # 25 * 0.75 = 18.75 is two times the least side
        ({"height": spread(4000), "width": spread(4000)}, (0.75, [416, 416], 832)),
        ({"height": spread(4000), "width": spread(4000), "device": "cuda"}, (0.75, [1056, 1056], 2112)),
        ({"height": spread(4000), "width": spread(4000), "objects": objects(count=0)}, (1.0, [320, 320], 640)),
    ],
    ids=str,
)
def test_objects(changed: dict[str, Any], expected: tuple[float, Any, Any]) -> None:
    assert seen(task="instance", **changed) == expected


def test_a_third_of_the_crops_is_forced() -> None:
    large = facts(height=spread(960), width=spread(999), widths={"thing": 3.0})
    assert chosen(crop, large, draft(model__scale=1.0))["augment.crop"]["foreground"] == 0.33


def test_scales_that_a_person_set() -> None:
    large = facts(height=spread(960), width=spread(999))
    assert chosen(crop, large, draft(model__scale=1))["model.window"] == 256  # as Hydra reads model.scale=1
    assert chosen(crop, large, draft(model__scale=0.3))["augment.crop"] is None  # 288 x 300 pixels
    assert chosen(crop, large, draft(model__scale=[256, 512])) == {"augment.crop": None, "model.window": None}


@pytest.mark.parametrize(("stride", "side"), [(32, 320), (14, 224), (3, 288), (64, 320)])
def test_crops_are_multiples_of_a_stride_that_a_person_set(stride: int, side: int) -> None:
    found = chosen(crop, facts(height=spread(2000), width=spread(2000)), draft(model__scale=0.75, model__stride=stride))
    assert found["augment.crop"]["size"] == [side, side]
    assert found["model.window"] == max(side, 2 * 224) if stride == 14 else side
    assert found["model.window"] % stride == 0


def test_a_window_is_two_strides_at_least() -> None:
    tiny = facts(height=spread(10, 20, 9000), width=spread(10, 20, 9000))
    assert chosen(crop, tiny, draft(model__scale=1.0))["model.window"] == 64


@pytest.mark.parametrize(
    ("setting", "share"),
    [(1, 1.0), (0.25, 0.25), ([240, 640], 0.5), ([480, 480], 0.6), ([480, 800], 1.0)],
    ids=str,
)
def test_share_that_the_network_sees(setting: Any, share: float) -> None:
    """Of images of 480 x 800: the shorter side becomes the first number unless the longer one exceeds the second."""
    assert seen_share(facts(height=spread(480), width=spread(800)), draft(model__scale=setting)) == share


def test_reasons_say_what_was_weighed() -> None:
    vessels = facts(height=spread(960), width=spread(999), widths={"vessel": 3.0})
    assert reason(scale, "model.scale", vessels, draft()) == (
        "images are 960 x 999 in the median, and the width of narrow regions is 3.0 pixels: nothing is scaled down"
    )
    said = reason(crop, "augment.crop", vessels, draft(model__scale=1.0))
    assert said.startswith("images have up to 960 x 999 pixels: crops of 256 x 256; a third of them hold")
    halved = reason(scale, "model.scale", facts(height=spread(360), width=spread(480)), draft())
    assert "at 180 x 240 the width of narrow regions is still 10.0 pixels, and a step stays short" in halved
