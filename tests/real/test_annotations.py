"""Real annotations of several programs as they lie beside the project: counted by hand, or by pycocotools, shapely and Pillow."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import shapely
import yaml
from annotations import areas, labelme, via, voc, yolo
from PIL import Image
from pycocotools.coco import COCO
from tiny import masks_of, read_all

from seg.configure.compose import compose
from seg.configure.config import checked
from seg.data.sample import ClassInfo, Sample

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT.parent / "shared" / "data" / "format_samples"
YOLO, LABELME = SAMPLES / "coco128", SAMPLES / "labelme"

pytestmark = [pytest.mark.real, pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"the samples do not lie in {SAMPLES}")]


def classes_of(*names: str) -> list[ClassInfo]:
    """The classes `background` and these."""
    return [ClassInfo(name, (number, 0, 0)) for number, name in enumerate(("background", *names))]


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


PASCAL = [c["name"] for c in yaml.safe_load((ROOT / "conf/data/voc.yaml").read_text())["classes"][1:]]


@pytest.fixture(scope="module")
def pascal() -> list[ClassInfo]:
    """Pascal VOC's classes as LabelMe's examples write them."""
    other = {"pottedplant": "potted plant", "tvmonitor": "tv/monitor"}
    return classes_of(*(other.get(name, name) for name in PASCAL))


def test_labelmes_objects_are_those_of_its_own_coco_file_bit_for_bit(pascal: list[ClassInfo], capsys: pytest.CaptureFixture[str]) -> None:
    folder = LABELME / "instance_segmentation"
    truth = COCO(str(folder / "data_dataset_coco" / "annotations.json"))
    capsys.readouterr()
    expected: dict[str, list[tuple[str, bytes]]] = {}
    for a in truth.anns.values():
        name = Path(truth.imgs[a["image_id"]]["file_name"]).stem
        expected.setdefault(name, []).append((truth.cats[a["category_id"]]["name"], truth.annToMask(a).astype(bool).tobytes()))
    found: dict[str, list[tuple[str, bytes]]] = {}
    for name, sample in read_all(labelme(folder, images="data_annotated", annotations="data_annotated", classes=pascal)).items():
        found[name] = [
            (pascal[c].name, mask.tobytes())
            for mask, c, crowd in zip(masks_of(sample), sample.categories, sample.crowd, strict=True)
            if not crowd
        ]
    assert {name: Counter(objects) for name, objects in found.items()} == {name: Counter(o) for name, o in expected.items()}
    assert {name: len(objects) for name, objects in found.items()} == {"2011_000003": 3, "2011_000006": 6, "2011_000025": 3}


@pytest.mark.parametrize("kind", ["instance_segmentation", "semantic_segmentation"])
def test_labelmes_class_maps_are_close_to_its_own(pascal: list[ClassInfo], kind: str) -> None:
    """Its own, drawn by Pillow, have the pixels of the outlines too."""
    samples = read_all(labelme(LABELME / kind, images="data_annotated", annotations="data_annotated", classes=pascal))
    assert {name: int(s.crowd.sum()) for name, s in samples.items()} == {"2011_000003": 1, "2011_000006": 1, "2011_000025": 0}
    for name, sample in samples.items():
        own = np.array(Image.open(LABELME / kind / "data_dataset_voc" / "SegmentationClass" / f"{name}.png"))
        assert (own == sample.semantic).mean() > 0.99
        assert sorted(np.unique(own)) == sorted(np.unique(sample.semantic))
    parts = [len(s.categories) for s in samples.values()]
    assert parts == ([4, 7, 3] if kind.startswith("instance") else [5, 10, 3]), "without groups each part is an object"


def test_labelmes_own_voc_files_are_read_pixel_by_pixel(pascal: list[ClassInfo]) -> None:
    folder = LABELME / "instance_segmentation" / "data_dataset_voc"
    source = voc(folder, classes=pascal)
    samples = read_all(source)
    for name, sample in samples.items():
        classes, objects = (np.array(Image.open(folder / part / f"{name}.png")) for part in ("SegmentationClass", "SegmentationObject"))
        assert np.array_equal(sample.semantic, classes)
        numbers = [int(v) for v in np.unique(objects) if v]
        real = [mask for mask, crowd in zip(masks_of(sample), sample.crowd, strict=True) if not crowd]
        assert [np.array_equal(mask, objects == v) for mask, v in zip(real, numbers, strict=True)] == [True] * len(numbers)
    assert areas(samples["2011_000006"]) == [909, 14690, 11672, 7463, 44403, 991, 14002], "the ignored region first; object 6 is none"


def test_labelmes_primitives() -> None:
    classes = classes_of("rectangle", "circle", "polygon", "line", "point", "line_strip", "octagon")
    (sample,) = read_all(labelme(LABELME / "primitives", classes=classes, line_width=10, point_radius=5)).values()
    content = json.loads((LABELME / "primitives" / "primitives.json").read_text())
    outline = shapely.Polygon(content["shapes"][3]["points"])
    strip = shapely.LineString(content["shapes"][6]["points"])
    radius = np.hypot(225 - 195, 125 - 84)
    expected = [100 * 100, np.pi * radius**2, 151 * 102, outline.area, 10 * np.hypot(28, 46), np.pi * 25, 10 * strip.length, 7275]
    assert sample.categories.tolist() == [1, 2, 1, 3, 4, 5, 6, 7]
    assert areas(sample) == [pytest.approx(area, rel=0.02) for area in expected]
    assert (areas(sample)[0], areas(sample)[2], areas(sample)[7]) == (10000, 15402, 7275)
    y, x = np.nonzero(masks_of(sample)[7])
    assert (x.min() >= 417, x.max() <= 516, y.min() >= 305, y.max() <= 404) == (True,) * 4


@pytest.fixture(scope="module")
def reading() -> dict[str, Sample]:
    source = via(SAMPLES / "via", annotations="via_bbox.json", images=".", classes=classes_of(*"zcon"), ignore=["###"])
    samples = read_all(source)
    assert source.findings == []
    return samples


def test_vias_polygons_have_their_areas(reading: dict[str, Sample]) -> None:
    content = json.loads((SAMPLES / "via" / "via_bbox.json").read_text())
    shapes = {entry["filename"][:-4]: entry["regions"] for entry in content.values()}
    assert {name: len(s.categories) for name, s in reading.items()} == {"IMG_4908": 5, "IMG_4909": 5}
    for name, sample in reading.items():
        ignored_first = sorted(shapes[name], key=lambda r: r["region_attributes"]["label"] != "###")
        for mask, category, crowd, region in zip(masks_of(sample), sample.categories, sample.crowd, ignored_first, strict=True):
            label, shape = region["region_attributes"]["label"], region["shape_attributes"]
            assert crowd == (label == "###")
            assert crowd or "zcon"[category - 1] == label
            if shape["name"] == "rect":
                assert int(mask.sum()) == 45 * 48
            else:
                outline = shapely.Polygon(zip(shape["all_points_x"], shape["all_points_y"], strict=True))
                assert mask.sum() == pytest.approx(outline.area, abs=0.55 * outline.length)


def test_yolos_objects_are_counted_and_close_to_the_panoptic_masks(tmp_path: Path) -> None:
    config = YOLO / "instance_segmentation" / "config.yaml"
    names = yaml.safe_load(config.read_text())["names"]
    source = yolo(
        YOLO,
        annotations="instance_segmentation/labels",
        names="instance_segmentation/config.yaml",
        classes=classes_of(*names.values()),
    )
    samples = read_all(source)
    assert len(samples) == 8
    assert {n[-3:]: len(s.categories) for n, s in samples.items()} == {
        "086": 3,
        "092": 2,
        "143": 8,
        "149": 23,
        "250": 0,
        "326": 2,
        "349": 4,
        "370": 2,
    }
    assert not any(s.crowd.any() for s in samples.values()), "the crowd of 149 is written as an object"
    gray = samples["train2017/000000000086"].image
    assert gray.shape[2] == 3
    assert np.ptp(gray.astype(int), axis=2).max() == 0
    ids = dict(enumerate(names, start=1))
    overlaps = []
    for name, sample in samples.items():
        truth = np.array(Image.open(YOLO / "semantic_segmentation" / "masks" / f"{name}.png"))
        for index in np.unique(sample.categories):
            overlaps.append(iou(sample.semantic == index, truth == ids[int(index)]))
    assert len(overlaps) == 15
    assert np.mean(overlaps) > 0.8


def test_vocs_own_image_and_the_one_with_boxes_only(pascal: list[ClassInfo]) -> None:
    source = voc(SAMPLES / "voc", classes=pascal)
    samples = read_all(source)
    assert [str(f).partition(": ")[2] for f in source.findings] == ["1 images have no mask and are left out, such as 2011_003353.jpg"]
    (sample,) = samples.values()
    assert [(pascal[c].name, crowd) for c, crowd in zip(sample.categories[1:], sample.crowd[1:], strict=True)] == [
        ("dog", False),
        ("chair", False),
    ]
    assert areas(sample) == [8714, 27632, 78930], "void, the dog, the chair"
    truth = np.array(Image.open(SAMPLES / "voc" / "SegmentationClass" / "2007_000063.png"))
    assert np.array_equal(sample.semantic, truth)
    (alone,) = read_all(voc(SAMPLES / "voc", classes=pascal, task="semantic")).values()
    assert np.array_equal(alone.semantic, truth)


def test_vocs_configuration_has_its_classes_by_index() -> None:
    params, _ = compose(ROOT / "conf", ["data=voc", f"data.root={SAMPLES / 'voc'}"])
    data = checked(params).data
    palette = np.array(Image.open(SAMPLES / "voc" / "SegmentationClass" / "2007_000063.png").getpalette()).reshape(-1, 3)
    assert [c.color for c in data.classes] == palette[:21].tolist(), "the colours are those of its own palette"
    assert (data.classes[9].name, data.classes[12].name) == ("chair", "dog")
