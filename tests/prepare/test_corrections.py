"""Corrected labels laid over raw data, by the stage `prepare` as it runs in a project: pixels, formats, names, splits, and each refusal."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotations import cvat_box
from composed import composed
from pycocotools import mask as coco_mask
from tiny import CLASSES, SIZE, encoded, labels, masks_of, picture, read_back, tree, write

from seg.configure.config import Config, checked
from seg.core.errors import ConfigError, DataError
from seg.data.sample import BACKGROUND, ClassInfo, Prediction
from seg.data.store import read_info
from seg.predict.write.polygons import labelme_file
from seg.stages import doctor, prepare

COUNT = 24
NAMES = [f"day/scene{number}" if number % 3 else f"scene{number}" for number in range(COUNT)]
OBJECTS = [ClassInfo(BACKGROUND, (0, 0, 0)), *CLASSES[1:]]
NONE: dict[str, Any] = {"shapes": []}
HEAD = "<?xml version='1.0'?><annotations><version>1.1</version>"

Prepare = Callable[..., Path]


def config(root: Path, option: str, classes: Sequence[ClassInfo], *overrides: str) -> Config:
    listed = ", ".join(f"{{name: {c.name}, color: {list(c.color)}}}" for c in classes)
    settings = [f"data={option}", f"data.root={root}", f"data.classes=[{listed}]", "runtime.progress=none", "runtime.workers=0"]
    return checked(composed(*settings, *overrides))


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The masks of a project's raw data; the test stands in the project."""
    for number, name in enumerate(NAMES):
        write(tmp_path / "raw/images" / f"{name}.jpg", picture(number))
        write(tmp_path / "raw/masks" / f"{name}.png", labels(number))
    monkeypatch.chdir(tmp_path)
    Path("data/corrections").mkdir(parents=True)
    return tmp_path / "raw"


def prepared(name: str, root: Path, option: str, classes: Sequence[ClassInfo], *overrides: str) -> Path:
    prepare.run(config(root, option, classes, *overrides), Path(name))  # type: ignore[arg-type]
    return Path(name)


def correct(name: str, content: object) -> Path:
    path = Path("data/corrections") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def labelme(classes: Sequence[ClassInfo], prediction: Prediction, image_path: str = "") -> dict[str, Any]:
    return labelme_file(image_path, *SIZE, prediction, classes, 0.0, 0)


def box(label: str, x1: int, y1: int, x2: int, y2: int, group: int | None = None) -> dict[str, Any]:
    return {"label": label, "points": [[x1, y1], [x2, y2]], "shape_type": "rectangle", "group_id": group}


def rows_of(folder: Path) -> dict[str, dict[str, str]]:
    """The rows of all manifests by image_id, with the split."""
    found = {}
    for split in ("train", "val", "test"):
        with open(folder / split / "manifest.csv", newline="") as file:
            found |= {row["image_id"]: row | {"split": split} for row in csv.DictReader(file)}
    return found


@pytest.mark.parametrize("classes", [CLASSES, OBJECTS], ids=["without background", "with background"])
def test_class_maps_come_back_to_the_pixel_and_move_no_image(raw: Path, classes: list[ClassInfo]) -> None:
    before, plain = tree(raw), prepared("plain", raw, "folders", classes)
    other = {NAMES[1]: labels(91), NAMES[6]: np.full(SIZE, 3, np.uint8), NAMES[7]: np.where(labels(92) == 255, 0, labels(92))}
    for number, (image_id, wanted) in enumerate(other.items()):
        content = labelme(classes, Prediction(wanted), f"../prepared/train/images/{image_id}.jpg")
        content["shapes"].append(box("suggestion: tree", 0, 0, 30, 20))
        correct(f"labelme/{image_id}.json" if number else "by its imagePath.json", content)
    shown = prepared("out", raw, "folders", classes)
    assert tree(raw) == before
    found, was = read_back(shown), read_back(plain)
    for image_id in NAMES:
        wanted = other.get(image_id, was[image_id].semantic)
        expected = np.where(wanted == 255, 0, wanted) if classes is OBJECTS and image_id in other else wanted
        assert np.array_equal(found[image_id].semantic, expected), image_id
        assert np.array_equal(found[image_id].image, was[image_id].image)
    rows, former = rows_of(shown), rows_of(plain)
    assert {image_id for image_id, row in rows.items() if row["corrected"] == "yes"} == set(other)
    assert {row["corrected"] for row in rows.values()} == {"yes", "no"}
    assert {i: row["split"] for i, row in rows.items()} == {i: row["split"] for i, row in former.items()}, "though the classes are others"
    assert read_info(shown).digest != read_info(plain).digest
    assert "corrected" not in next(iter(former.values()))


def test_without_corrections_nothing_is_another_byte(raw: Path) -> None:
    plain = tree(prepared("plain", raw, "folders", CLASSES, "data.corrections=null"))
    correct("README.md", "of a project that is new")
    assert tree(prepared("out", raw, "folders", CLASSES)) == plain
    Path("data/corrections/README.md").unlink()
    Path("data/corrections").rmdir()
    assert tree(prepared("out", raw, "folders", CLASSES)) == plain


def test_regions_of_a_class_map_are_painted_in_their_order(raw: Path) -> None:
    """By hand, in the three formats: a tree over a house, ignored pixels over both, background over these, and a hole."""
    shapes = [box("house", 0, 0, 8, 6), box("tree", 2, 0, 8, 4), box("ignore", 4, 0, 8, 2), box(BACKGROUND, 6, 0, 8, 2)]
    hole = [box("road", 10, 10, 20, 20, 7), box("road", 12, 12, 14, 14, 7)]
    wanted = np.zeros(SIZE, np.uint8)
    wanted[0:6, 0:8], wanted[0:4, 2:8], wanted[0:2, 4:8], wanted[0:2, 6:8] = 1, 2, 255, 0
    ringed = wanted.copy()
    ringed[10:20, 10:20], ringed[12:14, 12:14] = 3, 0
    correct("day/scene1.json", {"shapes": [*shapes, *hole], "imagePath": "scene1.jpg", "imageHeight": SIZE[0], "imageWidth": SIZE[1]})
    xml = [cvat_box(s["label"], *s["points"][0], *s["points"][1], f'z_order="{z}"') for z, s in enumerate(shapes)]
    image = f'<image id="0" name="day/scene2.jpg" width="{SIZE[1]}" height="{SIZE[0]}">'
    correct("task.xml", f"{HEAD}{image}{''.join(xml[::-1])}{cvat_box('suggestion: tree', 0, 0, 9, 9)}</image></annotations>")
    names = [s["label"] for s in shapes] + ["suggestion: road"]
    annotations = [
        {"id": k, "image_id": 1, "category_id": k, "segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]]}
        for k, s in enumerate([*shapes, box("", 0, 0, 30, 20)])
        for (x1, y1), (x2, y2) in [s["points"]]
    ]
    images = [{"id": 1, "file_name": "day/scene4", "width": SIZE[1], "height": SIZE[0]}]
    correct("coco.json", {"images": images, "annotations": annotations, "categories": [{"id": k, "name": n} for k, n in enumerate(names)]})
    correct("scene0.json", {"shapes": []})
    found = read_back(prepared("out", raw, "folders", OBJECTS))
    assert np.array_equal(found["day/scene1"].semantic, ringed)
    assert np.array_equal(found["day/scene2"].semantic, wanted)
    assert np.array_equal(found["day/scene4"].semantic, wanted)
    assert not found["scene0"].semantic.any()


def random_objects(seed: int) -> Prediction:
    """Five objects that overlap, some in several parts, and some with holes."""
    rng = np.random.default_rng([11, seed])
    masks = np.zeros((5, *SIZE), bool)
    for mask in masks:
        top, left = rng.integers(0, 12, 2)
        mask[top : top + 11, left : left + 14] = rng.random((11, 14)) < 0.85
    rles = [coco_mask.encode(np.asfortranarray(mask)) for mask in masks]
    kept = [{"size": rle["size"], "counts": rle["counts"].decode()} for rle in rles]
    boxes, scores = np.zeros((5, 4), np.float32), np.linspace(1, 0.5, 5).astype(np.float32)
    return Prediction(scores=scores, categories=rng.integers(1, 4, 5).astype(np.int32), boxes=boxes, masks=kept)


def coco_of(names: Sequence[str]) -> dict[str, Any]:
    """A square a scene."""
    images = [{"id": n, "file_name": f"{name}.jpg", "height": SIZE[0], "width": SIZE[1]} for n, name in enumerate(names)]
    square = {"segmentation": [[2, 2, 9, 2, 9, 9, 2, 9]], "iscrowd": 0}
    annotations = [square | {"id": n, "image_id": n, "category_id": 1 + n % 3} for n in range(len(names))]
    return {"images": images, "annotations": annotations, "categories": [{"id": k, "name": OBJECTS[k].name} for k in (1, 2, 3)]}


@pytest.mark.parametrize("option", ["id_maps", "coco"])
def test_instances_come_back_to_the_pixel(raw: Path, option: str) -> None:
    (raw / "annotations.json").write_text(json.dumps(coco_of(NAMES)))
    given = {
        "id_maps": ["data.source.category=house"],
        "coco": ["data.source.annotations=annotations.json", "data.source.images=images"],
    }[option]
    said = random_objects(4)
    content = labelme(OBJECTS, said)
    content["shapes"] = [box("ignore", 20, 0, 32, 24), *content["shapes"], box("suggestion: tree", 0, 0, 30, 20)]
    correct(f"{NAMES[2]}.json", content)
    found = read_back(prepared("out", raw, option, OBJECTS, *given))
    sample, was = found[NAMES[2]], read_back(prepared("plain", raw, option, OBJECTS, *given, "data.corrections=null"))
    assert sample.crowd.tolist() == [True] + [False] * 5
    assert sample.categories[1:].tolist() == said.categories[::-1].tolist()
    for mask, rle in zip(masks_of(sample)[1:], said.masks[::-1], strict=True):
        assert np.array_equal(mask, coco_mask.decode(rle).astype(bool))
    assert all(np.array_equal(found[i].semantic, was[i].semantic) for i in NAMES if i != NAMES[2])
    assert read_info(Path("out")).task == "instance"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"scene0.json": {"shapes": [box("hose", 0, 0, 4, 4)]}}, "scene0.json, shape 0: has the label 'hose', which is no class of data"),
        ({"scene0.json": NONE, "b.json": NONE | {"imagePath": "scene0.jpg"}}, "scene0.json: corrects the image scene0, and so does data/"),
        (
            {"scene99.json": NONE},
            "is of the image scene99, but the data set has no such image with labels (nearest: scene9)",
        ),
        ({"list.json": [1, 2]}, "list.json: is neither JSON of LabelMe or COCO nor XML of CVAT for images 1.1; move it"),
        (
            {"scene0.json": NONE | {"imageHeight": 10, "imageWidth": 12}},
            "but data/corrections/scene0.json has it as 12x10; use",
        ),
        ({"scene0.json": {"shapes": [box("house", 0, 0, 4, 4) | {"points": [[1, 1]]}]}}, "is a rectangle of 1 points, expected 2; redraw"),
        ({"scene0.json": {"shapes": [box("house", 900, 0, 999, 4)]}}, "scene0.json, shape 0: "),
        ({"marks.json": {"marks": []}}, "marks.json: is neither JSON of LabelMe or COCO nor XML of CVAT for"),
        ({"task.xml": "<html/>"}, "task.xml: starts with <html>, expected <annotations>"),
    ],
    ids=["label", "twice", "image", "list", "size", "shape", "outside", "format", "xml"],
)
def test_each_mistake_is_one_line_that_names_the_file(raw: Path, files: dict[str, Any], said: str) -> None:
    for name, content in files.items():
        correct(name, content)
    with pytest.raises(DataError) as error:
        prepared("out", raw, "folders", CLASSES)
    assert said in str(error.value)
    assert "data/corrections/" in str(error.value)
    assert "data.source" not in str(error.value)
    assert not Path("out").exists()
    with pytest.raises(DataError, match="1 error"):
        doctor.run(config(raw, "folders", CLASSES), Path("looked"))  # type: ignore[arg-type]


def test_another_folder_is_one_of_the_project(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match=r"data.corrections=elsewhere: expected data/corrections, which dvc.yaml names, a folder"):
        prepared("out", raw, "folders", CLASSES, "data.corrections=elsewhere")
    with pytest.raises(DataError, match=r"data/corrections/a: there is no such folder; set data.corrections"):
        prepared("out", raw, "folders", CLASSES, "data.corrections=data/corrections/a")
    correct("a/scene0.json", {"shapes": []})
    correct("b/scene0.json", {"shapes": []})
    prepared("out", raw, "folders", CLASSES, "data.corrections=data/corrections/a")
    assert "corrected-labels: data/corrections/a: 1 of 24 images have their labels from here" in capsys.readouterr().out


def test_two_images_are_cut_and_their_pieces_are_corrected(raw: Path) -> None:
    for name in NAMES[2:]:
        (raw / "images" / f"{name}.jpg").unlink()
        (raw / "masks" / f"{name}.png").unlink()
    piece = next(iter(read_back(prepared("plain", raw, "folders", CLASSES)).values()))
    wanted = labels(3, piece.size)
    correct(f"{piece.image_id}.json", labelme_file("", *piece.size, Prediction(wanted), CLASSES, 0.0, 0))
    assert np.array_equal(read_back(prepared("out", raw, "folders", CLASSES))[piece.image_id].semantic, wanted)


def test_a_name_of_two_splits_is_told_by_the_split(raw: Path) -> None:
    for split in ("train", "val", "test"):
        for seed, name in enumerate(("a", split)):
            place = raw / f"{split}/{name}.png"
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(encoded(picture(10 * len(split) + seed), ".png"))
            write(raw / f"masks_{split}/{name}.png", labels(seed))
    given = ["data.source.images='{split}'", "data.source.masks='masks_{split}'", "data.split.by=folders", "data.split.ratios=null"]
    correct("a.json", labelme(CLASSES, Prediction(labels(5))))
    with pytest.raises(DataError, match="a is the name of 3 images; call it train/a, by its split"):
        prepared("out", raw, "folders", CLASSES, *given, "data.split.stratify=false")
    Path("data/corrections/val").mkdir()
    Path("data/corrections/a.json").rename("data/corrections/val/a.json")
    out = prepared("out", raw, "folders", CLASSES, *given, "data.split.stratify=false")
    found = {split: (out / split / "manifest.csv").read_text().count("yes") for split in ("train", "val", "test")}
    assert found == {"train": 0, "val": 1, "test": 0}
