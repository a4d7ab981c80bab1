"""VIA 1 and 2: every shape with its area, regions as list and dict, and where the label is looked for."""

from math import pi
from pathlib import Path
from typing import Any

import pytest
from annotations import CLASSES, VIA_SQUARE, areas, via, via_rect, via_region, write_via
from tiny import masks_of, picture, read_all, write

from seg.core.errors import ConfigError, DataError
from seg.data.sample import ClassInfo


def test_every_shape_has_its_area(tmp_path: Path) -> None:
    shapes = [
        VIA_SQUARE,
        via_rect(10, 2, 5, 4),
        {"name": "polyline", "all_points_x": [2, 12], "all_points_y": [20, 20]},
        {"name": "circle", "cx": 24, "cy": 6, "r": 5},
        {"name": "ellipse", "cx": 22, "cy": 17, "rx": 8, "ry": 4, "theta": pi / 2},
        {"name": "ellipse", "cx": 22, "cy": 17, "rx": 8, "ry": 4},
        {"name": "point", "cx": 6, "cy": 14},
    ]
    sample = read_all(via(write_via(tmp_path, {"a.png": [via_region(s) for s in shapes]})))["a"]
    assert areas(sample)[:3] == [36, 20, 40]
    assert areas(sample)[3:] == [pytest.approx(area, abs=8) for area in (25 * pi, 32 * pi, 32 * pi, 9 * pi)]
    assert [int(mask.nonzero()[1].min()) for mask in masks_of(sample)[4:6]] == [18, 14], "theta turns the longer axis upright"


@pytest.mark.parametrize("project", [False, True])
@pytest.mark.parametrize("as_dict", [False, True])
def test_both_versions_and_forms_are_read_alike(tmp_path: Path, project: bool, as_dict: bool) -> None:
    regions: Any = [via_region(VIA_SQUARE), via_region(via_rect(6, 3, 5, 6), "dog")]
    if as_dict:
        regions = {str(number): r for number, r in enumerate(regions)}
    root = write_via(tmp_path, {"b.png": {} if as_dict else [], "a.png": regions}, project)
    write(root / "images" / "z.png", picture(9))
    source = via(root)
    samples = read_all(source)
    assert {name: (areas(s), s.categories.tolist()) for name, s in samples.items()} == {"a": ([36, 30], [1, 2]), "b": ([], [])}
    assert samples["a"].semantic[3, 1:12].tolist() == [0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 0], "the later lies on top"
    assert [str(f).partition(": ")[2] for f in source.findings] == [
        "1 images are not named in annotations.json and are left out, such as z.png"
    ]


@pytest.mark.parametrize("label", ["dog", " dog ", {"dog": True}, {"cat": False, "dog": True}])
def test_text_dropdowns_and_checkboxes_name_the_class(tmp_path: Path, label: object) -> None:
    assert read_all(via(write_via(tmp_path, {"a.png": [via_region(VIA_SQUARE, label)]})))["a"].categories.tolist() == [2]


def test_one_label_for_all_regions(tmp_path: Path) -> None:
    root = write_via(tmp_path, {"a.png": [{"shape_attributes": VIA_SQUARE, "region_attributes": {}}]})
    assert read_all(via(root, attribute=None, category="dog"))["a"].categories.tolist() == [2]
    with pytest.raises(ConfigError, match=r"^data.source.attribute=None and data.source.category=None: one must name the attribute"):
        via(root, attribute=None)


def test_numbers_are_labels_as_text(tmp_path: Path) -> None:
    classes = [CLASSES[0], ClassInfo("five", (1, 1, 1), ("5",))]
    assert read_all(via(write_via(tmp_path, {"a.png": [via_region(VIA_SQUARE, 5)]}), classes=classes))["a"].categories.tolist() == [1]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("", "a.png, region 1: its attribute 'label' is empty; label it in VIA, set data.source.attribute, or give all regions one label"),
        ("  ", "a.png, region 1: its attribute 'label' is empty"),
        (None, "a.png, region 1: its attribute 'label' is empty"),
        ({"cat": False}, "a.png, region 1: its attribute 'label' is empty"),
        ({"cat": True, "dog": True}, "a.png, region 1: its attribute 'label' has 2 values (cat, dog), expected one"),
        (..., "a.png, region 1: has no attribute 'label' (did you mean 'labels'? (attributes: labels))"),
    ],
)
def test_a_region_without_a_label_is_refused(tmp_path: Path, label: object, message: str) -> None:
    second = via_region(VIA_SQUARE, label) if label is not ... else {"shape_attributes": VIA_SQUARE, "region_attributes": {"labels": "cat"}}
    root = write_via(tmp_path, {"a.png": [via_region(VIA_SQUARE), second]})
    with pytest.raises(DataError) as error:
        via(root).items()
    assert str(error.value).startswith(f"{root}/annotations.json, {message}")
