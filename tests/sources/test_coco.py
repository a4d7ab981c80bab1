"""COCO instances files: what they hold arrives as drawn, and each mistake in one is refused by name."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools import mask as coco_mask
from tiny import SIZE, masks_of, picture, prepare_tiny, read_all, refusal, split, write

from seg.core.errors import ConfigError, DataError
from seg.data.sample import ClassInfo
from seg.data.store import read_annotations
from seg.prepare.assignment import Assignment
from seg.prepare.run import prepare
from seg.sources.coco import Coco
from seg.sources.coco_file import Annotation, parts_of_segmentation
from seg.sources.images import ImageReader
from seg.sources.part_rle import rle_of
from seg.sources.settings import Split

CLASSES = [ClassInfo("background", (0, 0, 0)), ClassInfo("cat", (250, 0, 0)), ClassInfo("dog", (0, 250, 0)), ClassInfo("owl", (0, 0, 250))]
CATEGORIES = [{"id": 3, "name": "dog"}, {"id": 17, "name": "cat"}, {"id": 90, "name": "owl"}, {"id": 91, "name": "emu"}]
DOG, CAT, OWL, EMU = 3, 17, 90, 91
HEIGHT, WIDTH = SIZE


def box(left: int, top: int, right: int, bottom: int) -> list[list[int]]:
    """A polygon of a rectangle of whole pixels, half-open."""
    return [[left, top, right, top, right, bottom, left, bottom]]


def region(image: int, category: int, segmentation: object, **more: object) -> dict[str, Any]:
    """An annotation, without its id."""
    return {"image_id": image, "category_id": category, "segmentation": segmentation, **more}


def write_coco(
    root: Path, regions: list[dict[str, Any]], count: int = 6, annotations: str = "annotations.json", images: str = "images"
) -> Path:
    """A COCO file with `count` images, a, b, c, ... of the ids 11, 12, 13, ..., and annotations of the ids 501, 502, ..."""
    entries = []
    for number in range(count):
        name = f"{'abcdefghijkl'[number]}.png"
        write(root / images / name, picture(100 * len(images) + number))  # other pictures in another folder
        entries.append({"id": 11 + number, "file_name": name, "height": HEIGHT, "width": WIDTH})
    numbered = [{"id": 501 + number, **r} for number, r in enumerate(regions)]
    content = {"images": entries, "annotations": numbered, "categories": CATEGORIES}
    (root / annotations).parent.mkdir(parents=True, exist_ok=True)
    (root / annotations).write_text(json.dumps(content))
    return root


def coco(root: Path, section: Split | None = None, **changed: object) -> Coco:
    arguments = {"annotations": "annotations.json", "images": "images", "ignore": [], "drop": [], "others": "refuse", "holes": False}
    given = {"root": str(root), "classes": CLASSES, "reader": ImageReader(3), "split": section or split()}
    return Coco(**{**arguments, **given, **changed})


def area(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[top:bottom, left:right] = True
    return mask


def test_instances_get_the_class_of_their_categorys_name(tmp_path: Path) -> None:
    regions = [region(11, DOG, box(2, 3, 8, 9)), region(11, OWL, box(10, 3, 12, 20)), region(13, CAT, box(0, 0, 5, 5))]
    samples = read_all(coco(write_coco(tmp_path, regions, count=3)))
    assert list(samples) == ["a", "b", "c"]
    assert samples["a"].categories.tolist() == [2, 3]
    assert samples["c"].categories.tolist() == [1]
    assert [np.array_equal(m, w) for m, w in zip(masks_of(samples["a"]), (area(2, 3, 8, 9), area(10, 3, 12, 20)), strict=True)] == [
        True
    ] * 2
    assert np.array_equal(samples["a"].semantic, 2 * area(2, 3, 8, 9) + 3 * area(10, 3, 12, 20)), "the rest is background"
    assert np.array_equal(samples["a"].image, picture(600))
    assert not any(s.crowd.any() for s in samples.values())


def test_without_a_class_background_pixels_of_no_instance_are_ignored(tmp_path: Path) -> None:
    root = write_coco(tmp_path, [region(11, CAT, box(2, 3, 8, 9))], count=2)
    samples = read_all(coco(root, classes=CLASSES[1:]))
    assert samples["a"].categories.tolist() == [0]
    assert np.array_equal(samples["a"].semantic, np.where(area(2, 3, 8, 9), 0, 255))
    assert (samples["b"].semantic == 255).all()


def test_crowds_are_regions_of_their_own_beneath_the_instances(tmp_path: Path) -> None:
    runs = {"size": [HEIGHT, WIDTH], "counts": [0, 10 * HEIGHT, (WIDTH - 10) * HEIGHT]}  # the first ten columns
    regions = [region(11, CAT, box(5, 5, 15, 10), iscrowd=0), region(11, DOG, runs, iscrowd=1)]
    sample = read_all(coco(write_coco(tmp_path, regions, count=1)))["a"]
    assert (sample.categories.tolist(), sample.crowd.tolist()) == ([2, 1], [True, False])
    assert [np.array_equal(m, w) for m, w in zip(masks_of(sample), (area(0, 0, 10, HEIGHT), area(5, 5, 15, 10)), strict=True)] == [True] * 2
    expected = np.where(area(0, 0, 10, HEIGHT), 255, 0)
    expected[5:10, 5:15] = 1
    assert np.array_equal(sample.semantic, expected)


def test_ignored_categories_become_crowds(tmp_path: Path) -> None:
    regions = [region(11, EMU, box(0, 0, 4, 4)), region(11, DOG, box(6, 0, 9, 4)), region(11, OWL, box(20, 0, 24, 4))]
    sample = read_all(coco(write_coco(tmp_path, regions, count=1), ignore=["emu", "owl"]))["a"]
    assert sample.crowd.tolist() == [True, True, False]
    assert sample.categories.tolist() == [1, 3, 2], "emu has no class and takes the first, owl has its own"
    expected = 255 * area(0, 0, 4, 4) + 255 * area(20, 0, 24, 4) + 2 * area(6, 0, 9, 4)
    assert np.array_equal(sample.semantic, expected)


def test_categories_are_renamed_merged_and_dropped(tmp_path: Path) -> None:
    regions = [region(11, c, box(left, 0, left + 3, 4)) for left, c in ((0, CAT), (5, DOG), (10, OWL), (15, EMU))]
    root = write_coco(tmp_path, regions, count=1)
    classes = [CLASSES[0], ClassInfo("pet", (1, 1, 1), ("dog", "cat")), ClassInfo("owl", (2, 2, 2))]
    sample = read_all(coco(root, classes=classes, drop=["emu"]))["a"]
    assert (sample.categories.tolist(), sample.crowd.any()) == ([1, 1, 2], np.False_)
    assert read_all(coco(root, classes=classes, others="drop"))["a"].categories.tolist() == [1, 1, 2]
    sample = read_all(coco(root, classes=classes[:2], others="ignore"))["a"]
    assert (sample.categories.tolist(), sample.crowd.tolist()) == ([1] * 4, [True, True, False, False])


def test_a_polygon_inside_another_is_added_or_a_hole(tmp_path: Path) -> None:
    root = write_coco(tmp_path, [region(11, CAT, [*box(2, 2, 12, 12), *box(4, 4, 8, 8)])], count=1)
    (item,) = coco(root).items()
    record = coco(root).read(item)
    assert int(masks_of(record.sample)[0].sum()) == 100
    assert [(f.kind, f.image_id, f.box) for f in record.findings] == [("polygon-in-polygon", "a", (2, 2, 12, 12))]
    record = coco(root, holes=True).read(item)
    assert (int(masks_of(record.sample)[0].sum()), record.findings) == (84, ())


def test_a_file_and_a_folder_for_each_split(tmp_path: Path) -> None:
    for name, category in (("train", CAT), ("val", DOG), ("test", OWL)):
        write_coco(tmp_path, [region(11, category, box(1, 1, 5, 5))], 2, f"annotations/instances_{name}.json", f"{name}/images")
    section = split("folders")
    source = coco(tmp_path, section, annotations="annotations/instances_{split}.json", images="{split}/images")
    assert [(item.split, item.image_id) for item in source.items()] == [(s, i) for s in ("train", "val", "test") for i in "ab"]
    assert [source.read(item).sample.categories.tolist() for item in source.items()] == [[1], [], [2], [], [3], []]
    with pytest.raises(ConfigError, match=r"^data.split.by=folders: data.source.annotations must hold {split}"):
        coco(tmp_path, section, images="{split}/images")


def test_a_file_for_each_split_and_one_folder_of_images(tmp_path: Path) -> None:
    """An image that none of the files names is told of once; one that another split's names is not."""
    write_coco(tmp_path, [region(11, CAT, box(1, 1, 5, 5))], 4)
    content = json.loads((tmp_path / "annotations.json").read_text())
    for number, name in enumerate(("train", "val", "test")):
        images = content["images"][number : number + 1]
        own = [a for a in content["annotations"] if a["image_id"] == images[0]["id"]]
        (tmp_path / f"{name}.json").write_text(json.dumps(content | {"images": images, "annotations": own}))
    source = coco(tmp_path, split("folders"), annotations="{split}.json")
    assert [(item.split, item.image_id) for item in source.items()] == [("train", "a"), ("val", "b"), ("test", "c")]
    assert [str(f) for f in source.findings] == [
        f"{tmp_path}/images: 1 images are not named in test.json or train.json or val.json and are left out, such as d.png"
    ]


def test_boxes_and_areas_of_the_file_are_not_trusted(tmp_path: Path) -> None:
    regions = [region(11 + i, CAT, box(2, 3, 8, 9), bbox=[0, 0, 1, 1], area=7777) for i in range(6)]
    prepare_tiny(coco(write_coco(tmp_path / "raw", regions)), tmp_path / "out", classes=CLASSES)
    written = [a for part in ("train", "val", "test") for found in read_annotations(tmp_path / "out" / part).values() for a in found]
    assert [(a["bbox"], a["area"]) for a in written] == [([2, 3, 6, 6], 36)] * 6


def test_images_in_folders_keep_their_place(tmp_path: Path) -> None:
    root = write_coco(tmp_path, [region(11, CAT, box(2, 3, 8, 9))], count=2)
    for name in ("day/x.png", "night/x.png"):
        write(root / "images" / name, picture(1))
    content = json.loads((root / "annotations.json").read_text())
    for entry, name in zip(content["images"], ("night/x.png", "./day/x.png"), strict=True):
        entry["file_name"] = name
    (root / "annotations.json").write_text(json.dumps(content))
    items = coco(root).items()
    assert [(item.image_id, item.names) for item in items] == [
        ("day/x", ("day/x", "day/x.png", "x.png")),
        ("night/x", ("night/x", "night/x.png", "x.png")),
    ]
    assert [len(coco(root).read(item).sample.categories) for item in items] == [0, 1]


def test_what_is_left_out_is_noted(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "raw", [region(11 + i % 6, CAT, [[i, 3] * 3] if i > 5 else box(2, 3, 8, 9)) for i in range(18)])
    write(root / "images" / "z.png", picture(1))
    info, found = prepare(coco(root), "tiny", CLASSES, Assignment(split(), None), None, tmp_path / "out", 0, "none")
    assert sum(counts["num_instances"] for counts in info.splits.values()) == 6
    said = [str(finding) for finding in found if finding.kind in ("image-without-label", "zero-area")]
    assert said[0] == f"{root}/images: 1 images are not named in annotations.json and are left out, such as z.png"
    assert (
        said[1]
        == f"{root}/annotations.json, annotation 507: its polygon has no area; it covers no pixel and is left out; remove or redraw it"
    )
    assert len(said) == 13


def test_the_file_is_read_once_and_sent_to_no_other_process(tmp_path: Path) -> None:
    regions = [region(11 + i % 6, CAT, box(i // 6 % 12, i // 72, 20, 20)) for i in range(500)]
    root = write_coco(tmp_path, regions)
    source = coco(root)
    items = source.items()
    (root / "annotations.json").unlink()
    sent = pickle.dumps(source)
    assert len(sent) < 2000
    again = pickle.loads(sent)
    assert sum(len(again.read(item).sample.categories) for item in items) == 500


def runs_of(mask: np.ndarray) -> list[int]:
    """COCO's run lengths of a mask, counted pixel by pixel."""
    runs, last = [0], False
    for value in mask.T.ravel().tolist():
        if value != last:
            runs.append(0)
        runs[-1], last = runs[-1] + 1, value
    return runs


def test_the_classes_of_the_configuration_tell_apart() -> None:
    content = yaml.safe_load((Path(__file__).parents[2] / "conf/data/coco.yaml").read_text())
    names, colors = [c["name"] for c in content["classes"]], [tuple(c["color"]) for c in content["classes"]]
    assert (names[0], names[1], names[80], len(names)) == ("background", "person", "toothbrush", 81)
    assert len(set(names)) == len(set(colors)) == 81
    spread = np.abs(np.array(colors)[:, None] - np.array(colors)[None]).max(axis=2) + 255 * np.eye(81)
    assert spread.min() >= 15


Change = Callable[[dict[str, Any]], object]

BROKEN: dict[str, tuple[Change, str]] = {
    "no images": (lambda c: c.pop("images"), "{json}: has no list 'images'; a COCO instances file has images, annotations and categories"),
    "no categories": (lambda c: c.pop("categories"), "{json}: has no list 'categories'"),
    "annotations that are no list": (lambda c: c.update(annotations={}), "{json}: has no list 'annotations'"),
    "an image without id": (lambda c: c["images"][2].pop("id"), "{json}, images[2]: has no 'id'; add it, or export the file again"),
    "a height in words": (lambda c: c["images"][2].update(height="tall"), "{json}, images[2]: has height='tall', expected a number"),
    "a width of 0": (lambda c: c["images"][2].update(width=0), "{json}, images[2]: has width=0, expected a number of pixels"),
    "an image without name": (lambda c: c["images"][2].pop("file_name"), "{json}, images[2]: has no 'file_name'"),
    "no entry": (lambda c: c["images"].append(5), "{json}, images[6]: is '5', expected an object with the key 'id'"),
    "an image's id twice": (lambda c: c["images"][2].update(id=11), "{json}, images[2]: the id 11 stands twice"),
    "an image twice": (lambda c: c["images"][2].update(file_name="a.png"), "{json}: 'a.png' has the same name as 'a.png'"),
    "an image twice by its last name": (lambda c: c["images"][2].update(file_name="../a.png"), "{json}: '../a.png' has the same name as"),
    "a way out": (
        lambda c: c["images"][2].update(file_name="../z.png"),
        "{json}: there is no image {raw}/images/../z.png, nor a single one of this last name",
    ),
    "an image that is not there": (
        lambda c: [c["images"][i].update(file_name=f"none{i}.png") for i in (2, 3)],
        "{json}: there is no image {raw}/images/none2.png (and 1 more images), nor a single one of ",
    ),
    "no image at all": (lambda c: c.update(images=[], annotations=[]), "{json}: names no images; set data.source.annotations"),
    "an annotation without id": (lambda c: c["annotations"][1].pop("id"), "{json}, annotations[1]: has no 'id'"),
    "an annotation's id twice": (lambda c: c["annotations"][1].update(id=501), "{json}, annotation 501: the id 501 stands twice"),
    "a list for an id": (lambda c: c["annotations"][1].update(id=[1]), "{json}, annotations[1]: has id=[1], expected a whole number"),
    "an unknown image": (
        lambda c: c["annotations"][1].update(image_id=99),
        "{json}, annotation 502: belongs to the image 99, which is not in 'images'; add the image, or remove the annotation",
    ),
    "an unknown category": (
        lambda c: c["annotations"][1].update(category_id=99),
        "{json}, annotation 502: is of the category 99, which is not in 'categories'",
    ),
    "a category twice": (lambda c: c["categories"][1].update(id=3), "{json}, categories[1]: the id 3 stands twice"),
    "a category without name": (lambda c: c["categories"][1].pop("name"), "{json}, categories[1]: has no 'name'"),
    "a category without class": (
        lambda c: [c["categories"][2].update(name="cats"), *(c["annotations"][i].update(category_id=90) for i in (1, 2))],
        "{json}: no class of data.classes has the label 'cats', which 2 regions have (nearest: cat); add it to a class in data.classes "
        "(labels: [...]), to data.source.ignore, or set data.source.others=ignore",
    ),
    "three categories without class": (
        lambda c: [
            c["categories"][i].update(name=f"bird{i}") or c["annotations"][i].update(category_id=CATEGORIES[i]["id"]) for i in range(3)
        ],
        "{json}: no class of data.classes has the label 'bird0', which a region has; nor of bird1, bird2; add it",
    ),
    "nothing but background": (
        lambda c: c["categories"][1].update(name="background"),
        "data.source: the labels hold no instance in any image; compare it with",
    ),
    "no segmentation": (
        lambda c: c["annotations"][1].pop("segmentation"),
        "{json}, annotation 502: has no 'segmentation', and a box alone is no mask; add polygons or RLE, make",
    ),
    "an empty segmentation": (lambda c: c["annotations"][1].update(segmentation=[]), "{json}, annotation 502: has no 'segmentation'"),
    "a crowd of two": (lambda c: c["annotations"][1].update(iscrowd=2), "{json}, annotation 502: has iscrowd=2, expected 0 or 1"),
    "two points": (
        lambda c: c["annotations"][1].update(segmentation=[[1, 1, 4, 4]]),
        "{json}, annotation 502: its polygon has 2 points, expected at least 3; correct or remove it",
    ),
    "RLE of another size": (
        lambda c: c["annotations"][1].update(segmentation={"size": [32, 24], "counts": [768]}),
        "{json}, annotation 502: its RLE has the size [32, 24], but the image has [height, width] = [24, 32]; correct one of them",
    ),
    "an image of another size": (
        lambda c: c["images"][2].update(width=31),
        "{raw}/images/c.png: is 32x24 pixels, but {json} has it as 31x24; use the image that was annotated, or correct width, height",
    ),
    "nothing to learn": (lambda c: c.update(annotations=[]), "data.source: the labels hold no instance in any image; compare it with"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_refused(tmp_path: Path, kind: str) -> None:
    change, message = BROKEN[kind]
    raw = write_coco(tmp_path / "raw", [region(11 + i, CAT, box(2, 3, 8, 9)) for i in range(6)])
    path = raw / "annotations.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    answer = refusal(lambda: coco(raw), tmp_path / "out", classes=CLASSES)
    assert answer.startswith(message.replace("{json}", str(path)).replace("{raw}", str(raw)))
    assert "\n" not in answer


def test_what_is_no_json_is_refused(tmp_path: Path) -> None:
    raw = write_coco(tmp_path / "raw", [])
    path = raw / "annotations.json"
    for content in (path.read_bytes()[:200], b"", b"\x89PNG\r\n\x1a\n\xff\xfe"):
        path.write_bytes(content)
        answer = refusal(lambda: coco(raw), tmp_path / "out", classes=CLASSES)
        assert answer.startswith(f"{path}: is not JSON (")
        assert answer.endswith("; export it again")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"annotations": "anotations.json"},
            "{raw}/anotations.json: there is no such file; set data.source.annotations ({raw} holds: annotations.json)",
        ),
        ({"images": "image"}, "{raw}/image: there is no such folder; set data.source.images ({raw} holds: images)"),
        ({"images": "../elsewhere"}, "{raw}/../elsewhere: lies outside of data.root ({raw}), where changes would go unnoticed"),
        ({"annotations": "../beyond.json"}, "{raw}/../beyond.json: lies outside of data.root ({raw}), where changes would go unnoticed"),
        ({"ignore": ["emus"]}, "data.source.ignore: there is no category 'emus'; did you mean 'emu'? (categories: cat, dog, emu, owl)"),
        ({"drop": ["emus"]}, "data.source.drop: there is no category 'emus'; did you mean 'emu'?"),
        ({"others": "skip"}, "data.source.others=skip: expected: drop, ignore, refuse"),
        ({"classes": [*CLASSES, CLASSES[1]]}, "data.classes: the name cat stands twice; each class needs its own"),
    ],
)
def test_bad_settings_are_refused(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    raw = write_coco(tmp_path / "raw", [region(11, CAT, box(2, 3, 8, 9))])
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "beyond.json").write_text("{}")
    assert refusal(lambda: coco(raw, **changed), tmp_path / "out", classes=CLASSES).startswith(message.replace("{raw}", str(raw)))


def test_the_annotated_size_is_compared_after_turning(tmp_path: Path) -> None:
    """A phone's picture is stored on its side; who annotated it saw it upright, or did not."""
    raw = write_coco(tmp_path / "raw", [region(11, CAT, box(2, 3, 8, 9))])
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = picture(0, SIZE)
    Image.fromarray(np.ascontiguousarray(np.rot90(upright))).save(raw / "images" / "a.jpg", exif=exif, quality=95, subsampling=0)
    path = raw / "annotations.json"
    path.write_text(path.read_text().replace("a.png", "a.jpg"))
    sample = read_all(coco(raw))["a"]
    assert np.abs(sample.image.astype(int) - upright).mean() < 4
    path.write_text(path.read_text().replace('"height": 24, "width": 32', '"height": 32, "width": 24', 1))
    answer = refusal(lambda: coco(raw), tmp_path / "out", classes=CLASSES)
    assert answer.startswith(f"{raw}/images/a.jpg: is 32x24 pixels (the file's EXIF orientation, which is applied on reading, may turn it)")
    assert "as Label Studio does in COCO, multiply x by 32/24, y by 24/32 and swap width and height" in answer


def edited(root: Path, change: Callable[[dict[str, Any]], object], encoding: str = "utf-8") -> Path:
    path = root / "annotations.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content), encoding)
    return root


def test_crowds_are_objects_where_the_settings_say_so_and_many_are_told(tmp_path: Path) -> None:
    """CVAT writes iscrowd=1 for each object that was drawn with the brush."""
    brush = {"size": list(SIZE), "counts": runs_of(area(10, 3, 14, 20))}
    regions = [region(11 + i, CAT, box(2, 3, 8, 9), iscrowd=0) for i in range(3)] + [region(11, DOG, brush, iscrowd=1)]
    root = write_coco(tmp_path, regions)
    source = coco(root)
    first = source.read(source.items()[0]).sample
    assert (first.categories.tolist(), first.crowd.tolist()) == ([2, 1], [True, False])
    assert [(f.kind, "1 of the 4 annotations have iscrowd=1" in f.what, "crowds=instances" in f.fix) for f in source.findings] == [
        ("many-crowds", True, True)
    ]
    source = coco(root, crowds="instances")
    first = source.read(source.items()[0]).sample
    assert (first.categories.tolist(), first.crowd.any(), source.findings) == ([1, 2], False, [])
    assert np.array_equal(first.semantic == 2, area(10, 3, 14, 20))
    few = write_coco(tmp_path / "few", [region(11, CAT, box(2 * i, 3, 2 * i + 2, 9), iscrowd=int(i == 0)) for i in range(20)])
    source = coco(few)
    source.items()
    assert source.findings == [], "one in twenty is COCO's own share"


FORMS: dict[str, Any] = {
    "flat": lambda p: p[0],
    "nested once too often": lambda p: [p],
    "nested twice too often": lambda p: [[p]],
    "pairs": lambda p: [p[0][i : i + 2] for i in range(0, 8, 2)],
    "a list of pairs": lambda p: [[p[0][i : i + 2] for i in range(0, 8, 2)]],
    "with a sliver": lambda p: [p[0], [1, 1, 5, 5]],
    "RLE of str(bytes)": lambda _: {
        "size": list(SIZE),
        "counts": str(coco_mask.encode(np.asfortranarray(area(2, 3, 8, 9), np.uint8))["counts"]),
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_segmentations_as_programs_write_them(tmp_path: Path, form: str) -> None:
    source = coco(write_coco(tmp_path, [region(11, CAT, FORMS[form](box(2, 3, 8, 9)))]))
    record = source.read(source.items()[0])
    assert np.array_equal(record.sample.semantic == 1, area(2, 3, 8, 9))
    assert [(f.kind, f.severity) for f in record.findings] == ([("sliver-polygon", "warning")] if "sliver" in form else [])


def test_null_flags_ids_as_text_sides_that_are_missing_and_a_byte_order_mark(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["annotations"][0].update(iscrowd=None, image_id="11", category_id=str(content["annotations"][0]["category_id"]))
        content["images"][0].update(height=None, width=None)
        del content["images"][1]["height"]

    root = edited(write_coco(tmp_path, [region(11, CAT, box(2, 3, 8, 9))]), change, "utf-8-sig")
    source = coco(root)
    record = source.read(source.items()[0])
    assert np.array_equal(record.sample.semantic == 1, area(2, 3, 8, 9))
    assert not record.sample.crowd.any()


def test_images_are_found_by_their_last_name_if_it_is_the_only_one(tmp_path: Path) -> None:
    names = ["..\\media\\upload\\4\\a.png", "/data/B.PNG", "d41d8cd9-c.png", "x/d"]
    root = edited(
        write_coco(tmp_path, [region(11, CAT, box(2, 3, 8, 9))], 4),
        lambda c: [image.update(file_name=name) for image, name in zip(c["images"], names, strict=True)],
    )
    with pytest.raises(DataError, match=r"there is no image .*x/d, nor a single one"):
        coco(root).items()
    edited(root, lambda c: c["images"][3].update(file_name="d"))
    source = coco(root)
    assert [i.image_id for i in source.items()] == ["a", "b", "c", "d"]
    assert [(f.kind, f.what.startswith("3 images do not lie where it says")) for f in source.findings] == [("other-image-name", True)]
    write_coco(tmp_path, [], 4, "other.json", "images/more")
    with pytest.raises(DataError, match="there is no image"):
        coco(root).items()


def test_boxes_alone_are_refused_left_out_or_rectangles(tmp_path: Path) -> None:
    regions = [region(11, CAT, box(2, 3, 8, 9)), region(11, DOG, [], bbox=[10, 3, 4, 6]), region(12, DOG, None, bbox=[1, 1, 2, 2])]
    root = write_coco(tmp_path, regions)
    with pytest.raises(DataError, match=r"annotation 502: has no 'segmentation', .*data.source.boxes=true, .*data.source.boxes=skip"):
        coco(root).items()
    source = coco(root, boxes="skip")
    assert [s.categories.tolist() for s in read_all(source).values()][:2] == [[1], []]
    assert [f.what for f in source.findings] == ["2 annotations are boxes alone, such as annotation 502, and are left out"]
    source = coco(root, boxes=True)
    assert np.array_equal(read_all(source)["a"].semantic == 2, area(10, 3, 14, 9))


def test_invalid_annotations_are_skipped_where_the_settings_say_so(tmp_path: Path) -> None:
    """Among sound ones: of an unknown image, without its category, and of two kinds of points."""
    regions = [
        region(11, CAT, box(2, 3, 8, 9)),
        region(99, CAT, box(2, 3, 8, 9)),
        region(11, 77, box(2, 3, 8, 9)),
        region(11, DOG, [[1, 1, 2, "x", 3, 3]]),
        region(11, DOG, [[1, 1, 5, 5]]),
        region(12, DOG, box(2, 3, 8, 9)),
    ]
    root = write_coco(tmp_path, regions)
    with pytest.raises(DataError, match="annotation 502: belongs to the image 99"):
        coco(root).items()
    source = coco(root, invalid="skip")
    records = [source.read(item) for item in source.items()][:2]
    assert [r.sample.categories.tolist() for r in records] == [[1], [2]]
    found = [*source.findings, *records[0].findings]
    assert [(f.kind, f.severity) for f in found] == [
        ("bad-annotation", "warning"),
        ("bad-annotation", "warning"),
        ("too-few-points", "warning"),
        ("bad-region", "warning"),
    ]
    assert all(f.what.endswith("it is left out, as data.source.invalid=skip says") for f in found)
    with pytest.raises(ConfigError, match=r"data.source.invalid=pass: "):
        coco(root, invalid="pass")


@pytest.mark.parametrize(
    "segmentation",
    [
        [{"line": [1, 2, 30, 4], "width": 1e9}],
        {"runs": [0, 10_000_000_000], "left": 0, "top": 0, "width": 100_000, "height": 100_000},
        {"starts": [0], "lengths": [10**12], "order": "rows"},
        [{"rings": [[0, 0, 9, 0, 9, 9]]}],
        [{}],
    ],
)
def test_the_forms_that_seg_draws_are_not_a_files_to_use(segmentation: Any) -> None:
    with pytest.raises(ValueError, match="its RLE has the size None"):
        rle_of(parts_of_segmentation(Annotation(1, 1, False, segmentation)), 100, 100)
