"""Raw labels to classes: renamed, merged, reordered, with gaps, ignored and dropped; and what is refused."""

import pytest

from seg.core.errors import ConfigError, DataError
from seg.data.sample import ClassInfo
from seg.sources.class_map import DROP, ClassMap

ROAD, CAR = ClassInfo("road", (128, 64, 128)), ClassInfo("car", (0, 0, 142))


def test_without_labels_a_class_is_its_place_its_name_or_its_colour() -> None:
    assert [ClassMap([ROAD, CAR], int, []).get(label) for label in (0, 1, 2)] == [0, 1, None]
    assert [ClassMap([ROAD, CAR], str, []).get(label) for label in ("road", "car", "sky")] == [0, 1, None]
    assert [ClassMap([ROAD, CAR], tuple, []).get(label) for label in ((128, 64, 128), (0, 0, 142), (0, 0, 0))] == [0, 1, None]


def test_labels_merge_rename_and_reorder() -> None:
    classes = [ClassInfo("vehicle", (1, 1, 1), ("car", "bus")), ClassInfo("road", (2, 2, 2))]
    found = ClassMap(classes, str, ["sky"], ["pole"])
    assert [found.get(label) for label in ("car", "bus", "road", "sky", "pole", "vehicle")] == [0, 0, 1, 255, DROP, None]
    values = ClassMap([ClassInfo("cell", (1, 1, 1), (0,)), ClassInfo("ground", (2, 2, 2), (255, 200))], int, [7])
    assert [values.get(label) for label in (0, 255, 200, 7, 1)] == [0, 1, 1, 255, None]
    colors = ClassMap([ClassInfo("cell", (1, 1, 1), ((9, 9, 9), (8, 8, 8))), ROAD], tuple, [[0, 0, 0]])
    assert [colors.get(label) for label in ((9, 9, 9), (8, 8, 8), (1, 1, 1), (0, 0, 0))] == [0, 0, None, 255]


@pytest.mark.parametrize(("others", "expected"), [("refuse", None), ("ignore", 255), ("drop", DROP)])
def test_labels_that_are_not_listed(others: str, expected: int | None) -> None:
    assert ClassMap([ROAD, CAR], str, [], [], others).get("sky") == expected


def test_an_unknown_label_is_answered_with_the_nearest() -> None:
    with pytest.raises(DataError, match=r"^a\.csv: no class of data.classes has the name 'raod' \(nearest: road\); add it") as error:
        ClassMap([ROAD, CAR], str, []).named("raod", "a.csv")
    assert error.value.kind == "unknown-category"
    letters = [chr(code) for code in range(ord("a"), ord("p"))]
    many = str(ClassMap([ROAD, CAR], str, []).unknown("a.json", letters, "label", ", which 2 have"))
    first, nor, _ = many.split("; ", 2)
    assert first == "a.json: no class of data.classes has the label 'a', which 2 have"
    assert nor == "nor of b, c, d, e, f, g, h, i, j, k, l, m and 2 more"


def test_pixels_of_an_unknown_label_are_counted() -> None:
    with pytest.raises(
        DataError, match=r"^a\.png: has the value 3 in 7 pixels, which no class has \(the classes have 0, 1\); add it"
    ) as error:
        ClassMap([ROAD, CAR], int, [9]).of_values([0, 3, 9, 3], "a.png", lambda: [1, 2, 4, 5])
    assert error.value.kind == "unknown-value"
    with pytest.raises(DataError, match=r"has the colour \[120, 60, 120\] in 1 pixels \(nearest: road \[128, 64, 128\]\)") as error:
        ClassMap([ROAD, CAR], tuple, []).of_values([(120, 60, 120)], "a.png", lambda: [1])
    assert error.value.kind == "unknown-color"
    assert ClassMap([ROAD, CAR], int, [9]).of_values([0, 9, 1], "a.png", lambda: [1]) == [0, 255, 1], "then nothing is counted"


@pytest.mark.parametrize(
    ("classes", "kind", "ignore", "others", "message"),
    [
        ([ClassInfo("a", (1, 1, 1), ("car",)), CAR], str, [], "refuse", "data.classes[1] (car): the label 'car' stands twice; "),
        ([ROAD, CAR], str, ["car"], "refuse", "data.source.ignore: the label 'car' stands twice; "),
        ([ROAD, CAR], int, [[1, 1, 1]], "refuse", "data.source.ignore: the label [1, 1, 1]: expected a value, such as 7"),
        ([ClassInfo("a", (1, 1, 1), (3,)), CAR], str, [], "refuse", "data.classes[0] (a): the label 3: expected a name, such as car"),
        ([ROAD, ClassInfo("b", (128, 64, 128))], tuple, [], "refuse", "data.classes[1] (b): the label [128, 64, 128] stands twice; "),
        ([ROAD, CAR], int, [], "ignroe", "data.source.others=ignroe: did you mean 'ignore'?"),
    ],
)
def test_what_is_refused(classes: list[ClassInfo], kind: type, ignore: list[int | str | list[int]], others: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        ClassMap(classes, kind, ignore, [], others)  # type: ignore[arg-type]
    assert str(error.value).startswith(message)
