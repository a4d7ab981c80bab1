"""Regions to a Record: classes, groups, order, crowds; what is left out, and what stops."""

import json
from math import nan

import numpy as np
import pytest
from tiny import SIZE, masks_of

from seg.core.errors import ConfigError, DataError
from seg.data.sample import ClassInfo, Sample
from seg.raw.record import Finding
from seg.sources.images import RawImage
from seg.sources.part_rle import rectangle
from seg.sources.regions import Region, Rules, packed, record_of, unpacked

CLASSES = [ClassInfo("background", (0, 0, 0)), ClassInfo("cat", (250, 0, 0), ("cat", "kitten")), ClassInfo("dog", (0, 250, 0))]
RAW = RawImage(np.zeros((*SIZE, 3), np.uint8), b"bytes", ".png")


def rules(**changed: object) -> Rules:
    settings = {"classes": CLASSES, "ignore": [], "drop": [], "others": "refuse", "holes": False}
    return Rules(**{**settings, **changed})  # type: ignore[arg-type]


def shape(number: int, label: str, left: int, top: int, right: int, bottom: int, **more: object) -> Region:
    return Region(f"shape {number}", label, [rectangle(left, top, right, bottom)], **more)  # type: ignore[arg-type]


def read(*regions: Region, **changed: object) -> tuple[Sample, tuple[Finding, ...]]:
    record = record_of("a", RAW, regions, "a.json", rules(**changed))
    assert (record.encoded, record.suffix) == (b"bytes", ".png")
    return record.sample, record.findings


def boxes(sample: Sample) -> list[tuple[int, int, int, int]]:
    """The instances, which must be rectangles, xyxy half-open."""
    found = []
    for mask in masks_of(sample):
        y, x = np.nonzero(mask)
        found.append((int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1))
        assert len(y) == (found[-1][2] - found[-1][0]) * (found[-1][3] - found[-1][1])
    return found


def test_labels_become_classes() -> None:
    sample, findings = read(shape(0, "dog", 2, 3, 8, 9), shape(1, "kitten", 10, 3, 12, 20))
    assert (boxes(sample), sample.categories.tolist(), findings) == ([(2, 3, 8, 9), (10, 3, 12, 20)], [2, 1], ())
    assert np.bincount(sample.semantic.ravel()).tolist() == [24 * 32 - 36 - 34, 34, 36]


def test_regions_keep_in_text() -> None:
    regions = [
        shape(0, "dog", 2, 3, 8, 9, crowd=True, group=3, z=-2),
        Region("line 7", "a", [{"line": [1, 2.5], "width": 3}], group="x"),
    ]
    assert unpacked(packed(regions)) == regions
    assert np.isnan(unpacked(packed([Region("a", "b", [[nan, 1]])]))[0].parts[0][0])  # type: ignore[index]


def test_parts_of_a_group_are_one_object_on_top_of_what_lies_before_its_last_part() -> None:
    sample, findings = read(
        shape(0, "dog", 0, 0, 4, 4, group=0),
        shape(1, "cat", 2, 0, 6, 4, group=0),  # another label: another object
        shape(2, "dog", 10, 0, 12, 4, group=0),
        shape(3, "dog", 20, 0, 22, 4, group=1),
        shape(4, "dog", 20, 10, 22, 14),
        shape(5, "dog", 25, 10, 27, 14),
    )
    assert [int(m.sum()) for m in masks_of(sample)] == [16, 16 + 8, 8, 8, 8]
    assert (sample.categories.tolist(), findings) == ([1, 2, 2, 2, 2], ())
    assert sample.semantic[0, :6].tolist() == [2, 2, 2, 2, 1, 1]


def test_of_what_overlaps_the_later_lies_on_top_unless_z_says_otherwise() -> None:
    two = [shape(0, "dog", 0, 0, 4, 4), shape(1, "cat", 2, 0, 6, 4)]
    assert read(*two)[0].semantic[0, :7].tolist() == [2, 2, 1, 1, 1, 1, 0]
    assert read(shape(0, "dog", 0, 0, 4, 4, z=1), two[1])[0].semantic[0, :7].tolist() == [2, 2, 2, 2, 1, 1, 0]
    parts = [shape(0, "dog", 0, 0, 4, 4, group=1, z=3), shape(1, "cat", 2, 0, 6, 4, z=2), shape(2, "dog", 8, 0, 9, 4, group=1, z=1)]
    assert read(*parts)[0].semantic[0, :7].tolist() == [2, 2, 2, 2, 1, 1, 0], "a group lies as high as its highest part"
    sample = read(*two)[0]
    assert (sample.instances.shape[2], [int(m.sum()) for m in masks_of(sample)]) == (2, [16, 16]), "both are whole"


def test_ignored_labels_become_crowds_beneath_all() -> None:
    regions = [shape(0, "dog", 0, 0, 4, 4, z=-9), shape(1, "mess", 2, 0, 6, 4, z=9), shape(2, "cat", 8, 0, 9, 4, crowd=True)]
    sample, _ = read(*regions, ignore=["mess"])
    assert (sample.categories.tolist(), sample.crowd.tolist()) == ([1, 1, 2], [True, True, False])
    assert sample.semantic[0, :10].tolist() == [2, 2, 2, 2, 255, 255, 0, 0, 255, 0]
    sample, _ = read(*regions, others="ignore")
    assert sample.crowd.tolist() == [True, True, False]
    sample, _ = read(*regions[:1], ignore=["dog"])
    assert (sample.categories.tolist(), sample.crowd.tolist()) == ([2], [True]), "a class that is ignored keeps its name"


def test_dropped_labels_and_background_vanish() -> None:
    broken = Region("shape 2", "mess", [[nan, 3]])
    sample, findings = read(shape(0, "dog", 0, 0, 4, 4), shape(1, "background", 2, 0, 6, 4), broken, drop=["mess"])
    assert (boxes(sample), findings) == ([(0, 0, 4, 4)], ())
    assert boxes(read(shape(0, "dog", 0, 0, 4, 4), broken, others="drop")[0]) == [(0, 0, 4, 4)]


def test_without_a_class_background_other_pixels_are_ignored() -> None:
    sample, _ = read(shape(0, "dog", 0, 0, 4, 4), classes=CLASSES[1:])
    assert (sample.categories.tolist(), np.unique(sample.semantic).tolist()) == ([1], [1, 255])
    with pytest.raises(DataError, match=r"^a.json: no class of data.classes has the label 'background', which a region has"):
        read(shape(0, "background", 0, 0, 4, 4), classes=CLASSES[1:])


def test_unknown_labels_are_named_with_their_numbers() -> None:
    with pytest.raises(DataError) as error:
        read(shape(0, "dgo", 0, 0, 4, 4), shape(1, "dgo", 2, 0, 6, 4), shape(2, "emu", 2, 0, 6, 4))
    assert str(error.value).startswith(
        "a.json: no class of data.classes has the label 'dgo', which 2 regions have (nearest: dog); nor of emu; add it to a class"
    )


def test_doubles_and_what_covers_nothing_are_left_out() -> None:
    sample, findings = read(
        shape(0, "dog", 2, 3, 8, 9),
        shape(1, "dog", 8, 9, 2, 3),  # the same from the other corner
        shape(2, "cat", 2, 3, 8, 9),  # another label
        shape(3, "dog", 40, 3, 48, 9),
        Region("shape 4", "dog", [[1, 1, 5, 5, 9, 9]]),
        Region("shape 5", "dog", [[5.1, 5.1, 5.2, 5.1, 5.2, 5.2]]),
    )
    assert (boxes(sample), sample.categories.tolist()) == ([(2, 3, 8, 9)] * 2, [2, 1])
    assert [(f.kind, f.box, str(f).partition(";")[0]) for f in findings] == [
        ("outside-image", (31, 3, 32, 9), "a.json, shape 3: its polygon has 4 of its 4 points outside of the image, by up to 16 pixels"),
        ("zero-area", (1, 1, 9, 9), "a.json, shape 4: its polygon has no area"),
        ("duplicate-annotation", (2, 3, 8, 9), "a.json, shape 1: covers the same pixels as shape 0, has the same label, and is left out"),
        ("empty-instance", (31, 3, 32, 9), "a.json, shape 3: covers no pixel of a.png and is left out"),
        ("empty-instance", (5, 5, 6, 6), "a.json, shape 5: covers no pixel of a.png and is left out"),
    ]
    assert all(f.severity == "warning" and f.image_id == "a" for f in findings)


def test_errors_of_geometry_are_all_told_and_the_rest_is_kept() -> None:
    sample, findings = read(
        Region("shape 0", "dog", [[nan, 1, 5, 5, 9, 9]]),
        Region("shape 1", "dog", [[1, 1, 5, 5]]),
        Region("shape 2", "dog", [[1, 1, 5, 5, 9000, 9]]),
        Region("shape 3", "dog", [{"size": [5, 5], "counts": [25]}]),
        shape(4, "dog", 2, 3, 8, 9),
    )
    assert boxes(sample) == [(2, 3, 8, 9)]
    errors = [(f.kind, f.file) for f in findings if f.severity == "error"]
    assert errors == [
        ("nan-coordinate", "a.json, shape 0"),
        ("too-few-points", "a.json, shape 1"),
        ("bad-region", "a.json, shape 2"),
        ("bad-region", "a.json, shape 3"),
    ]


def test_holes_of_an_object_and_of_a_group() -> None:
    outer, inner = rectangle(2, 2, 12, 12), rectangle(4, 4, 8, 8)
    one = Region("annotation 1", "dog", [outer, inner])
    group = [Region("shape 0", "dog", [outer], group=5), Region("shape 1", "dog", [inner], group=5)]
    for regions, name in (([one], "annotation 1"), (group, "shape 0 + 1")):
        sample, findings = read(*regions)
        assert (int(masks_of(sample)[0].sum()), [(f.kind, f.file) for f in findings]) == (100, [("polygon-in-polygon", f"a.json, {name}")])
        sample, findings = read(*regions, holes=True)
        assert (int(masks_of(sample)[0].sum()), findings) == (84, ())


def test_a_hundred_random_rectangles_are_all_whole_and_in_order() -> None:
    rng = np.random.default_rng(4)
    corners = [(int(x), int(y), int(x + w), int(y + h)) for x, y, w, h in rng.integers((0, 0, 1, 1), (20, 14, 12, 10), (100, 4))]
    wanted = list(dict.fromkeys(corners))
    sample, findings = read(*(shape(i, "dog", *c) for i, c in enumerate(corners)))
    assert boxes(sample) == wanted
    assert len(findings) == len(corners) - len(wanted)
    assert json.dumps([f.kind for f in findings]).count("duplicate") == len(findings)


def test_slips_in_the_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^data.source.others=keep: expected: drop, ignore, refuse"):
        rules(others="keep")
    with pytest.raises(ConfigError, match=r"^data.source.drop: the label 'kitten' stands twice"):
        rules(drop=["kitten"])
