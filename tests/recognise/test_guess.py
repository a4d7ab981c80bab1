"""Names, colours and labels of classes that a data set does not describe itself."""

from pathlib import Path

import pytest
import yaml

from seg.recognise.guess import color, entry, instance_classes, is_background, is_void, void_of

ROOT = Path(__file__).parents[2]


def test_colours_are_those_of_pascal_voc() -> None:
    classes = yaml.safe_load((ROOT / "conf/data/voc.yaml").read_text())["classes"]
    assert [color(index) for index in range(len(classes))] == [c["color"] for c in classes]
    assert color(255) == [224, 224, 192], "its borders"
    assert len({tuple(color(index)) for index in range(256)}) == 256


@pytest.mark.parametrize("name", ["void", "Void", "__ignore__", "unlabeled", " Don't care"])
def test_void(name: str) -> None:
    assert is_void(name)
    assert not is_background(name)


@pytest.mark.parametrize("name", ["background", "_background_", "BG", "__background__"])
def test_background(name: str) -> None:
    assert is_background(name)
    assert not is_void(name)


def test_instances_have_a_background_and_no_void() -> None:
    found = instance_classes(["dog", "__ignore__", "cat", "dog"])
    assert found == [entry("background", (0, 0, 0)), entry("dog", color(1)), entry("cat", color(2))]
    assert void_of(["dog", "__ignore__", "Void", "Void"]) == {"ignore": ["__ignore__", "Void"]}
    assert void_of(["dog"]) == {}


def test_what_means_background_is_a_label_of_it() -> None:
    assert instance_classes(["_background_", "dog"])[0] == {"name": "background", "color": [0, 0, 0], "labels": ["_background_"]}
    assert instance_classes(["background", "bg", "dog"])[0]["labels"] == ["background", "bg"]
    assert "labels" not in instance_classes(["background", "dog"])[0]
