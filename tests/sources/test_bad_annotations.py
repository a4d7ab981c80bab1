"""Every kind of broken annotation is refused in one line that names the file, what was expected, what came, and the fix."""

import json
import pickle
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from annotations import (
    CLASSES,
    CVAT_SQUARE,
    VIA_SQUARE,
    VOC_CLASSES,
    YOLO_SQUARE,
    cvat,
    labelme,
    shape,
    square,
    via,
    via_region,
    voc,
    write_cvat,
    write_images,
    write_labelme,
    write_palette,
    write_via,
    write_voc,
    write_yolo,
    yolo,
)
from forked import seg
from tiny import picture, refusal, write

from seg.data.sample import ClassInfo
from seg.raw.record import Source

NAMES = ["a", "b", "c", "d"]


class Bad(NamedTuple):
    """A sound data set of four images is written and then spoiled. answer: how the message starts; {raw} is the folder."""

    make: Callable[[Path], Path]
    spoil: Callable[[Path], object]
    source: Callable[..., Source]
    answer: str
    settings: dict[str, Any] = {}  # noqa: RUF012 - read only
    classes: list[ClassInfo] = CLASSES


def a_labelme(root: Path) -> Path:
    write_images(root, *NAMES)
    for name in NAMES:
        write_labelme(root / f"{name}.json", [square("cat", 2, 3, 8, 9)])
    return root


def edit(change: Callable[[Any], object], name: str = "a.json") -> Callable[[Path], object]:
    """Change the content of a JSON file in place."""

    def spoil(root: Path) -> None:
        content = json.loads((root / name).read_text())
        change(content)
        (root / name).write_text(json.dumps(content))

    return spoil


def replace(name: str, old: str, new: str) -> Callable[[Path], object]:
    def spoil(root: Path) -> None:
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new))

    return spoil


def put(name: str, text: str) -> Callable[[Path], object]:
    return lambda root: (root / name).write_text(text)


def shapes(*given: dict[str, Any], name: str = "a.json") -> Callable[[Path], object]:
    return edit(lambda content: content.update(shapes=list(given)), name)


def entry(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """Change the first image of a VIA file."""
    return edit(lambda content: change(next(iter(content.values()))), "annotations.json")


def of_labelme(answer: str, spoil: Callable[[Path], object], **settings: Any) -> Bad:
    return Bad(a_labelme, spoil, labelme, answer, settings)


def of_via(answer: str, spoil: Callable[[Path], object], **settings: Any) -> Bad:
    return Bad(lambda root: write_via(root, {f"{n}.png": [via_region(VIA_SQUARE)] for n in NAMES}), spoil, via, answer, settings)


def of_yolo(answer: str, spoil: Callable[[Path], object], **settings: Any) -> Bad:
    return Bad(lambda root: write_yolo(root, dict.fromkeys(NAMES, f"0 {YOLO_SQUARE}\n")), spoil, yolo, answer, settings)


def of_cvat(answer: str, spoil: Callable[[Path], object], **settings: Any) -> Bad:
    return Bad(lambda root: write_cvat(root, {f"{n}.png": CVAT_SQUARE for n in NAMES}), spoil, cvat, answer, settings)


def of_voc(answer: str, spoil: Callable[[Path], object], **settings: Any) -> Bad:
    return Bad(partial(write_voc, count=4), spoil, voc, answer, settings, VOC_CLASSES)


def indices(value: int, name: str) -> Callable[[Path], object]:
    return lambda root: write_palette(root / name, np.full((24, 32), value, np.uint8))


SHAPE = "{raw}/a.json, shape 0"
REGION = "{raw}/annotations.json, a.png, region 0"
LINE = "{raw}/labels/a.txt, line 1"
POLYGON = "{raw}/annotations.xml, a.png, polygon 0"

BAD: dict[str, Bad] = {
    "labelme: cut off": of_labelme("{raw}/a.json: is not JSON (", lambda root: (root / "a.json").write_text('{"shapes": [')),
    "labelme: another JSON": of_labelme("{raw}/a.json: has no list 'shapes', so it is no LabelMe file; move it", put("a.json", "[]")),
    "labelme: no label": of_labelme(f"{SHAPE}: has no label; give it one", shapes(shape("", [[1, 1], [5, 1], [5, 5]]))),
    "labelme: unknown label": of_labelme(
        "{raw}/a.json: no class of data.classes has the label 'cta', which a region has (nearest: cat); add it to a class",
        shapes(square("cta", 2, 3, 8, 9)),
    ),
    "labelme: unknown shape": of_labelme(
        f"{SHAPE}: has the shape_type 'star', expected polygon, rectangle, rotation,", shapes(shape("cat", [[1, 1]], "star"))
    ),
    "labelme: points that are none": of_labelme(
        f"{SHAPE}: has the points [1, 2, 3], expected a list of [x, y]", shapes(shape("cat", [1, 2, 3]))
    ),  # type: ignore[list-item]
    "labelme: two points": of_labelme(f"{SHAPE}: its polygon has 2 points, expected at least 3", shapes(shape("cat", [[1, 1], [5, 1]]))),
    "labelme: circle of one point": of_labelme(f"{SHAPE}: is a circle of 1 points, expected 2", shapes(shape("cat", [[1, 1]], "circle"))),
    "labelme: NaN": of_labelme(
        f"{SHAPE}: its polygon has a coordinate that is no number", shapes(shape("cat", [[1, float("nan")], [5, 1], [5, 5]]))
    ),
    "labelme: a NaN circle": of_labelme(
        f"{SHAPE}: its polygon has a coordinate that is no number", shapes(shape("cat", [[1, 1], [float("nan"), 5]], "circle"))
    ),
    "labelme: far away": of_labelme(
        f"{SHAPE}: its polygon 0 has x=900 in an image of 32x24 pixels", shapes(shape("cat", [[1, 1], [900, 1], [5, 5]]))
    ),
    "labelme: mask without data": of_labelme(f"{SHAPE}: is a mask without its 'mask'", shapes(shape("cat", [[1, 1], [5, 5]], "mask"))),
    "labelme: mask that is no base64": of_labelme(
        f"{SHAPE}: its mask is not base64; save the file again", shapes(shape("cat", [[1, 1], [5, 5]], "mask", mask="%%%"))
    ),
    "labelme: mask that is no image": of_labelme(
        f"{SHAPE}, its mask: is not a readable image", shapes(shape("cat", [[1, 1], [5, 5]], "mask", mask="aGVsbG8="))
    ),
    "labelme: group that is none": of_labelme(
        f"{SHAPE}: has group_id=[1], expected a number or null", shapes(square("cat", 2, 3, 8, 9, group_id=[1]))
    ),
    "labelme: another size": of_labelme(
        "{raw}/a.png: is 32x24 pixels, but {raw}/a.json has it as 32x30; use the image", edit(lambda c: c.update(imageHeight=30))
    ),
    "labelme: no JSON for an image": of_labelme(
        "{raw}/b.png: has no JSON file b.json in {raw}; save one with LabelMe", lambda root: (root / "b.json").unlink()
    ),
    "labelme: no JSON at all": of_labelme(
        "{raw}: holds no JSON files; set data.source.annotations", lambda root: [(root / f"{n}.json").unlink() for n in NAMES]
    ),
    "labelme: no image at all": of_labelme(
        "{raw}: none of its 4 JSON files has an image; set data.source.images", lambda root: [(root / f"{n}.png").unlink() for n in NAMES]
    ),
    "labelme: an unreadable image": of_labelme("{raw}/a.png: is not a readable image", put("a.png", "hello")),
    "via: no JSON": of_via("{raw}/annotations.json: is not JSON (", put("annotations.json", "filename,size")),
    "via: VIA 3": of_via("{raw}/annotations.json: is of VIA 3, which", put("annotations.json", '{"project": {}, "metadata": {}}')),
    "via: a COCO file": of_via("{raw}/annotations.json: is no VIA file, expected a project", put("annotations.json", '{"images": []}')),
    "via: no regions": of_via("{raw}/annotations.json, entry 'a.png", entry(lambda e: e.pop("regions"))),
    "via: no shape": of_via(f"{REGION}: has no shape_attributes", entry(lambda e: e["regions"][0].pop("shape_attributes"))),
    "via: unknown shape": of_via(
        f"{REGION}: is a shape 'star', expected polygon, polyline,",
        entry(lambda e: e["regions"][0]["shape_attributes"].update(name="star")),
    ),
    "via: x without y": of_via(
        f"{REGION}: has 3 x and 4 y", entry(lambda e: e["regions"][0]["shape_attributes"].update(all_points_x=[1, 2, 3]))
    ),
    "via: coordinates as text": of_via(
        f"{REGION}: has all_points_x=['1'], expected a list of numbers",
        entry(lambda e: e["regions"][0]["shape_attributes"].update(all_points_x=["1"])),
    ),
    "via: a circle without radius": of_via(
        f"{REGION}: has r=None, expected a number",
        entry(lambda e: e["regions"][0].update(shape_attributes={"name": "circle", "cx": 1, "cy": 2})),
    ),
    "via: no label": of_via(
        f"{REGION}: has no attribute 'label' (attributes: none)", entry(lambda e: e["regions"][0].update(region_attributes={}))
    ),
    "via: an image that is missing": of_via(
        "{raw}/annotations.json: there is no image {raw}/images/a.png, nor a single one of this last name; add it",
        lambda root: (root / "images" / "a.png").unlink(),
    ),
    "via: an image twice": of_via(
        "{raw}/annotations.json: 'b.png' has the same name as 'b.png'",
        edit(lambda c: c.update(z={"filename": "b.png", "regions": []}), "annotations.json"),
    ),
    "via: a way out": of_via(
        "{raw}/annotations.json: there is no image {raw}/images/../c/z.png", entry(lambda e: e.update(filename="../c/z.png"))
    ),
    "via: no such file": of_via(
        "{raw}/via.json: there is no such file; set data.source.annotations ({raw} holds: annotations.json)",
        lambda _: None,
        annotations="via.json",
    ),
    "yolo: words": of_yolo(f"{LINE}: is no line of numbers", put("labels/a.txt", "cat 0.1 0.2")),
    "yolo: an odd number": of_yolo(f"{LINE}: has 7 numbers after the class", put("labels/a.txt", "0 0.1 0.1 0.5 0.1 0.5 0.5 0.1")),
    "yolo: two points": of_yolo(f"{LINE}: is a box alone, which is no mask", put("labels/a.txt", "0 0.1 0.1 0.5 0.1")),
    "yolo: one point": of_yolo(f"{LINE}: its polygon has 1 points, expected at least 3", put("labels/a.txt", "0 0.1 0.1")),
    "yolo: an unknown id": of_yolo(
        f"{LINE}: the class 7 has no name in {{raw}}/data.yaml; add it there", put("labels/a.txt", f"7 {YOLO_SQUARE}")
    ),
    "yolo: half a class": of_yolo(f"{LINE}: the class 0.5 has no name", put("labels/a.txt", f"0.5 {YOLO_SQUARE}")),
    "yolo: pixels": of_yolo(f"{LINE}: has the coordinate 12, expected 0..1", put("labels/a.txt", "0 12 3 20 3 20 9")),
    "yolo: NaN": of_yolo(f"{LINE}: its polygon has a coordinate that is no number", put("labels/a.txt", "0 nan 0.1 0.5 0.1 0.5 0.5")),
    "yolo: no text": of_yolo("{raw}/labels/a.txt: is no text in UTF-8", lambda root: (root / "labels/a.txt").write_bytes(b"\xff\xfe\x00")),
    "yolo: no names": of_yolo(
        "{raw}: holds none of data.yaml, dataset.yaml,", lambda root: (root / "data.yaml").rename(root / "names.yaml")
    ),
    "yolo: two files of names": of_yolo("{raw}: holds data.yaml and classes.txt; name the file", put("classes.txt", "cat")),
    "yolo: names that are none": of_yolo("{raw}/data.yaml: has no 'names', expected a list", put("data.yaml", "nc: 2")),
    "yolo: a name that YAML takes for a truth": of_yolo(
        "{raw}/data.yaml: names has 1: False, expected", put("data.yaml", "names: [cat, no]")
    ),
    "yolo: broken YAML": of_yolo("{raw}/data.yaml: cannot be read (", put("data.yaml", "names: [cat")),
    "yolo: YAML nested too deep": of_yolo(
        "{raw}/data.yaml: cannot be read (its lists lie in each other", put("data.yaml", f"names: {'[' * 2000}{']' * 2000}")
    ),
    "yolo: aliases that grow": of_yolo(
        "{raw}/data.yaml: cannot be read (it has more than 1000000 values",
        put(
            "data.yaml",
            "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)) + "names: *a9",
        ),
    ),
    "yolo: a date that is none": of_yolo(
        "{raw}/data.yaml: cannot be read (month must be in 1..12", put("data.yaml", "names: [2020-13-45]")
    ),
    "yolo: a name without class": of_yolo(
        "{raw}/labels/a.txt: no class of data.classes has the label 'catt', which a region has (nearest: cat)",
        put("data.yaml", "names: [catt, cat]"),
    ),
    "yolo: no label file at all": of_yolo(
        "{raw}/labels: no image has a label file there; set data.source.annotations",
        lambda root: [(root / f"labels/{n}.txt").unlink() for n in NAMES],
    ),
    "cvat: no XML": of_cvat("{raw}/annotations.xml: is not XML (", put("annotations.xml", "<annotations>")),
    "cvat: another XML": of_cvat("{raw}/annotations.xml: starts with <annotation>", put("annotations.xml", "<annotation></annotation>")),
    "cvat: tracks": of_cvat(
        "{raw}/annotations.xml: holds 1 tracks, shapes that move",
        replace("annotations.xml", "<meta/>", '<meta/><track id="0" label="cat"/>'),
    ),
    "cvat: an unknown encoding": of_cvat(
        "{raw}/annotations.xml: is not XML (unknown encoding",
        put("annotations.xml", '<?xml version="1.0" encoding="klingon"?><annotations/>'),
    ),
    "cvat: a turn without end": of_cvat(
        "{raw}/annotations.xml, a.png, box 0: its polygon has a coordinate that is no number",
        replace("annotations.xml", CVAT_SQUARE, '<box label="cat" xtl="1" ytl="2" xbr="5" ybr="7" rotation="inf"/>'),
    ),
    "cvat: half a character": of_cvat("{raw}/annotations.xml: is not XML (", replace("annotations.xml", 'label="cat"', 'label="&#xD800;"')),
    "cvat: a name that no file has": of_cvat(
        "{raw}/annotations.xml: there is no image {raw}/images/nnn", replace("annotations.xml", 'name="a.png"', f'name="{"n" * 300}"')
    ),
    "cvat: entities": of_cvat(
        "{raw}/annotations.xml: declares entities, which are not read",
        put("annotations.xml", '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>'),
    ),
    "cvat: a cuboid": of_cvat("{raw}/annotations.xml, a.png, cuboid 0: is a cuboid", replace("annotations.xml", "polygon", "cuboid")),
    "cvat: no label": of_cvat(f"{POLYGON}: has no label; give it one", replace("annotations.xml", 'label="cat"', "")),
    "cvat: points that are none": of_cvat(f"{POLYGON}: has points that are not", replace("annotations.xml", "2.00,3.00;", "2.00;")),
    "cvat: a point of words": of_cvat(f"{POLYGON}: has points='x', expected a number", replace("annotations.xml", "2.00,3.00;", "x,3.00;")),
    "cvat: no points": of_cvat(
        f"{POLYGON}: its polygon has 0 points", replace("annotations.xml", "2.00,3.00;8.00,3.00;8.00,9.00;2.00,9.00", "")
    ),
    "cvat: a box without a side": of_cvat(
        "{raw}/annotations.xml, a.png, box 0: its polygon has a coordinate that is no number",
        replace("annotations.xml", CVAT_SQUARE, '<box label="cat" xtl="1" ytl="2" xbr="5"/>'),
    ),
    "cvat: a mask that does not fill": of_cvat(
        "{raw}/annotations.xml, a.png, mask 0: its rle does not fill 3x2 pixels",
        replace("annotations.xml", CVAT_SQUARE, '<mask label="cat" rle="1, 2" left="0" top="0" width="3" height="2"/>'),
    ),
    "cvat: no size": of_cvat("{raw}/annotations.xml, image 0: has height=None", replace("annotations.xml", 'height="24"', "")),
    "cvat: another size": of_cvat(
        "{raw}/images/a.png: is 32x24 pixels (the file's EXIF orientation",
        replace("annotations.xml", 'width="32" height="24"', 'width="24" height="32"'),
    ),
    "cvat: an image that is missing": of_cvat(
        "{raw}/annotations.xml: there is no image {raw}/images/b.png, nor a single one of this last name; add it",
        lambda root: (root / "images" / "b.png").unlink(),
    ),
    "voc: an unknown index": of_voc(
        "{raw}/SegmentationClass/0.png: has the value 9 in 768 pixels, which no class has (the classes have 0, 1, 2)",
        indices(9, "SegmentationClass/0.png"),
    ),
    "voc: colours": of_voc(
        "{raw}/SegmentationClass/0.png: is a colour or palette image, expected one gray value a pixel",
        lambda root: write(root / "SegmentationClass" / "0.png", picture(3)),
    ),
    "voc: no objects": of_voc(
        "{raw}/SegmentationObject/1.png: cannot be read (No such file", lambda root: (root / "SegmentationObject" / "1.png").unlink()
    ),
    "voc: objects of another size": of_voc(
        "{raw}/SegmentationObject/0.png: is 8x6 pixels, but its image {raw}/JPEGImages/0.png is 32x24",
        lambda root: write_palette(root / "SegmentationObject" / "0.png", np.zeros((6, 8), np.uint8)),
    ),
    "voc: a mask that is cut off": of_voc(
        "{raw}/SegmentationClass/0.png: is cut off before its end",
        lambda root: (path := root / "SegmentationClass" / "0.png").write_bytes(path.read_bytes()[:-20]),
    ),
    "voc: no masks": of_voc(
        "{raw}/SegmentationClass: holds no mask of an image", lambda root: [p.unlink() for p in (root / "SegmentationClass").iterdir()]
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_broken_is_refused(tmp_path: Path, kind: str) -> None:
    bad = BAD[kind]
    raw = bad.make(tmp_path / "raw")
    bad.spoil(raw)
    answer = refusal(lambda: bad.source(raw, **bad.settings), tmp_path / "out", classes=bad.classes)
    assert answer.startswith(bad.answer.replace("{raw}", str(raw)))
    assert "\n" not in answer or re.match(r"  of \d+ errors \(", answer.split("\n")[1])


SOUND = {bad.source.__name__: bad for bad in BAD.values()}


@pytest.mark.parametrize("kind", SOUND)
def test_what_is_not_spoiled_is_sound(tmp_path: Path, kind: str) -> None:
    """The table says something only if each data set is whole before."""
    source = SOUND[kind].source(SOUND[kind].make(tmp_path / "raw"))
    items = source.items()
    sent = pickle.loads(pickle.dumps(source))  # as to a worker process
    assert [len(sent.read(item).findings) for item in items] == [0] * 4
    assert source.findings == []


def test_several_errors_of_one_image_are_said_at_once(tmp_path: Path) -> None:
    raw = a_labelme(tmp_path / "raw")
    shapes(*(shape("cat", [[1, 1], [5, number]]) for number in range(5)))(raw)
    answer = refusal(lambda: labelme(raw), tmp_path / "out", classes=CLASSES)
    one = "{}/a.json, shape {}: its polygon has 2 points, expected at least 3; correct or remove it, or leave such regions out with {}"
    assert answer.startswith(
        one.format(raw, 0, "data.source.invalid=skip") + "\n  of 5 errors (too-few-points 5); to see all, run `seg doctor`"
    )


def test_the_command_ends_with_one_line_and_1(tmp_path: Path) -> None:
    bad = BAD["labelme: NaN"]
    raw = bad.make(tmp_path / "raw")
    bad.spoil(raw)
    classes = ", ".join(f"{{name: {c.name}, color: [{i},{i},{i}]}}" for i, c in enumerate(bad.classes))
    words = ["data=labelme", f"data.root={raw}", f"data.classes=[{classes}]", f"hydra.run.dir={tmp_path / 'out'}"]
    done = seg("prepare", *words, "runtime.progress=none")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {bad.answer.replace('{raw}', str(raw))}")
    assert done.stderr.count("\n") <= 2, "and how many there are"
    assert {p.name for p in tmp_path.rglob("out*/*")} <= {".hydra", "prepare.log"}, "nothing half-written is left"
