"""`seg init` on real data: what it takes each sample for, and that doctor and prepare read the configuration as it stands."""

import json
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from real_sets import settings
from typed import typed

from seg.configure.config import Config, checked
from seg.core.errors import DataError
from seg.data.store import read_info
from seg.settings.section import Params
from seg.sources.settings import Data
from seg.stages import doctor, init, prepare

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"the real data sets do not lie in {DATA}"),
]


@dataclass(frozen=True)
class Expected:
    """What becomes of a sample: the option, and the numbers of images, instances and classes, as prepare counts them."""

    option: str
    images: int
    instances: int  # crowds among them, as void regions of VOC are
    classes: int


SAMPLES: dict[str, Expected] = {
    "camvid": Expected("camvid", 367 + 101 + 233, 0, 11),
    "isbi2012_em": Expected("folders", 30, 0, 2),
    "dsb2018_nuclei": Expected("dsb2018", 99, 3834, 2),
    "format_samples/coco_instances": Expected("coco", 6, 36, 81),
    "format_samples/coco128": Expected("coco_panoptic", 8, 44, 133),
    "format_samples/coco128 --as yolo": Expected("yolo", 8, 3 + 2 + 8 + 23 + 0 + 2 + 4 + 2, 81),
    "format_samples/coco128 --as folders --labels semantic_segmentation/masks": Expected("folders", 8, 0, 28),
    "format_samples/labelme/instance_segmentation/data_annotated": Expected("labelme", 3, 4 + 7 + 3, 7),
    "format_samples/labelme/semantic_segmentation/data_annotated": Expected("labelme", 3, 5 + 10 + 3, 7),
    "format_samples/labelme/primitives": Expected("labelme", 1, 8, 8),
    "format_samples/labelme/instance_segmentation/data_dataset_voc": Expected("voc", 3, 3 + 6 + 3 + 2, 21),
    "format_samples/labelme/semantic_segmentation/data_dataset_voc": Expected("voc", 3, 0, 21),
    "format_samples/via": Expected("via", 2, 10, 6),
    "format_samples/voc": Expected("voc", 1, 3, 21),
    "format_samples/camvid32": Expected("folders", 2, 0, 31),
}


@pytest.fixture
def composed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """The configurations that `seg init` composed of what it wrote into the project that the test stands in."""
    shutil.copytree(ROOT / "conf", tmp_path / "project" / "conf")
    monkeypatch.chdir(tmp_path / "project")
    found: list[Config] = []

    def check(params: Params) -> Config:
        params["runtime"]["progress"] = "none"
        found.append(checked(params))
        return found[-1]

    monkeypatch.setattr(init, "checked", check)
    return found


def initialised(raw: Path, arguments: list[str], composed: list[Config], capsys: pytest.CaptureFixture[str]) -> tuple[str, Config]:
    """The option that a folder is taken for, and its configuration."""
    capsys.readouterr()
    typed("init", Path.cwd(), [str(raw), "--name", "sample", "--force", *arguments])
    said = next(line for line in capsys.readouterr().out.splitlines() if ": taken for " in line)
    return said.rpartition(" ")[2], composed[-1]


def errors(config: Config, out: Path) -> list[str]:
    """The kinds of the errors that the doctor finds."""
    with suppress(DataError):
        doctor.run(config, out)
    return sorted({f["kind"] for f in json.loads((out / "doctor.json").read_text())["findings"] if f["severity"] == "error"})


def mirrored(raw: Path, copy: Path) -> Path:
    """A copy of a sample in which each image is there three times: as it is, and flipped either way under other names."""
    shutil.copytree(raw, copy)
    stems = {file.stem for file in copy.rglob("*.jpg")} | {file.stem for file in copy.rglob("images/*.png")}
    for way, flip in (("_mirrored", ImageOps.mirror), ("_turned", ImageOps.flip)):
        for file in sorted(path for path in raw.rglob("*") if path.is_file()):
            stem = next((s for s in stems if s in file.stem), None)
            if stem is None:
                continue
            other = copy / file.relative_to(raw).with_name(file.name.replace(stem, stem + way))
            if file.suffix in (".jpg", ".png"):
                flip(Image.open(file)).save(other, quality=95)
            else:
                other.write_text(file.read_text().replace(stem, stem + way))
    for file in copy.glob("via*.json"):
        entries = json.loads(file.read_text())
        more = {
            w + key: e | {"filename": e["filename"].replace(".", f"{w}.")} for key, e in entries.items() for w in ("_mirrored", "_turned")
        }
        file.write_text(json.dumps(entries | more))
    return copy


SETTINGS: dict[str, tuple[dict[str, Any], dict[str, list[Any]]]] = {
    "isbi2012_em": (
        {"images": "data/membrane/train/image", "masks": "data/membrane/train/label", "labels": "index", "ignore": []},
        {"background": [0], "foreground": [255]},
    ),
    "dsb2018_nuclei": ({"images": "stage1_train/{image}/images", "masks": "stage1_train/{image}/masks"}, {"object": []}),
    "format_samples/coco_instances": ({"annotations": "annotations.json", "images": "images"}, {"person": [], "toothbrush": []}),
    "format_samples/coco128": (
        {
            "annotations": "panoptic_segmentation/annotations/panoptic_train2017.json",
            "masks": "panoptic_segmentation/annotations/panoptic_train2017",
            "images": "images/train2017",
        },
        {"person": [], "rug-merged": []},
    ),
    "format_samples/coco128 --as yolo": (
        {"images": "images", "annotations": "instance_segmentation/labels", "names": "instance_segmentation/config.yaml"},
        {"person": [], "toothbrush": []},
    ),
    "format_samples/coco128 --as folders --labels semantic_segmentation/masks": (
        {"images": "images/train2017", "masks": "semantic_segmentation/masks/train2017"},
        {"class1": [1], "class193": [193]},
    ),
    "format_samples/labelme/instance_segmentation/data_annotated": (
        {"images": ".", "annotations": ".", "ignore": ["__ignore__"]},
        {name: [] for name in ("bottle", "bus", "car", "chair", "person", "sofa")},
    ),
    "format_samples/labelme/instance_segmentation/data_dataset_voc": (
        {"images": "JPEGImages", "masks": "SegmentationClass", "objects": "SegmentationObject", "ignore": [255]},
        {"background": [], "tvmonitor": []},
    ),
    "format_samples/via": ({"annotations": "via_bbox.json", "images": ".", "attribute": "label", "category": None}, {"###": [], "n": []}),
    "format_samples/voc": ({"images": "JPEGImages", "objects": "SegmentationObject", "task": "instance"}, {"tvmonitor": []}),
    "format_samples/camvid32": (
        {"images": "images", "masks": "labels", "mask_suffix": "_P", "ignore": [30], "labels": "index"},
        {"Animal": [0], "VegetationMisc": [29], "Wall": [31]},
    ),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_each_sample(name: str, tmp_path: Path, composed: list[Config], capsys: pytest.CaptureFixture[str]) -> None:
    folder, *arguments = name.split()
    raw, expected = DATA / folder, SAMPLES[name]
    option, config = initialised(raw, arguments, composed, capsys)
    assert (option, len(config.data.classes)) == (expected.option, expected.classes)
    check_settings(config.data, *SETTINGS.get(name, ({}, {})))
    if name == "camvid":  # which other tests prepare by the same settings
        own = {"name": "camvid", "obtain": settings("camvid").data.obtain}
        assert config.data.model_copy(update=own) == settings("camvid").data
        return
    times = 1
    if expected.images < 50:  # prepare would stop at an error, and takes its time with more
        assert errors(config, tmp_path / "doctor") == []
    if expected.images < 3:  # which prepare would cut into pieces
        times = 3
        option, config = initialised(mirrored(raw, tmp_path / "copy"), arguments, composed, capsys)
        assert (option, len(config.data.classes)) == (expected.option, expected.classes)
    prepare.run(config, tmp_path / "out")
    info = read_info(tmp_path / "out")
    totals = [sum(counts[key] for counts in info.splits.values()) for key in ("num_images", "num_instances")]
    assert totals == [times * expected.images, times * expected.instances]
    assert len(info.classes) == expected.classes
    assert info.channels == (1 if folder == "isbi2012_em" else 3)


def check_settings(data: Data, source: dict[str, Any], classes: dict[str, list[Any]]) -> None:
    assert {key: data.source.arguments[key] for key in source} == source
    assert {c.name: c.labels for c in data.classes if c.name in classes} == classes


def test_the_classes_of_cocos_semantic_masks_are_the_values_that_occur(composed: list[Config], capsys: pytest.CaptureFixture[str]) -> None:
    files = sorted((DATA / "format_samples/coco128/semantic_segmentation/masks").rglob("*.png"))
    values = sorted({int(v) for file in files for v in np.unique(np.asarray(Image.open(file)))})
    data = initialised(DATA / "format_samples/coco128", ["--as", "folders", "--labels", "semantic_segmentation/masks"], composed, capsys)[
        1
    ].data
    assert [c.labels for c in data.classes] == [[value] for value in values]
