"""Real masks as they lie beside the project: every oddity that is told of them, with counts by Pillow, numpy and the files themselves."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import masks_of, read_back, split

from seg.configure.compose import compose
from seg.configure.config import Config, checked
from seg.data.sample import ClassInfo, Sample
from seg.data.store import read_info
from seg.sources.folders import Folders
from seg.sources.images import ImageReader
from seg.stages import prepare

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
SAMPLES, MEMBRANES = DATA / "format_samples", DATA / "isbi2012_em"
COCO128, CAMVID32 = SAMPLES / "coco128", SAMPLES / "camvid32"
LABELME, VOC = SAMPLES / "labelme", SAMPLES / "voc"
PANOPTIC = COCO128 / "panoptic_segmentation" / "annotations"
SPLITS = ("train", "val", "test")

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not (SAMPLES.is_dir() and MEMBRANES.is_dir()), reason=f"the masks do not lie in {DATA}"),
]


def config(*overrides: str) -> Config:
    return checked(compose(ROOT / "conf", [*overrides, "runtime.progress=none"])[0])


def prepared(out: Path, *overrides: str) -> Path:
    prepare.run(config(*overrides), out)
    return out


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def classes_of(name: str) -> list[ClassInfo]:
    return [ClassInfo(c.name, tuple(c.color), tuple(c.labels)) for c in config(f"data={name}", "data.root=/data").data.classes]  # type: ignore[arg-type]


def folders(root: Path, classes: list[ClassInfo], **changed: object) -> dict[str, Sample]:
    """Every sample of a folder of images and one of masks."""
    arguments = {"image_suffix": "", "mask_suffix": "", "labels": "index", "ignore": [255], "others": "refuse", "skip_unlabelled": False}
    given = {"root": str(root), "classes": classes, "reader": ImageReader(3), "split": split()}
    source = Folders(**{**arguments, **given, **changed})  # type: ignore[arg-type]
    return {item.image_id: source.read(item).sample for item in source.items()}


def test_camvids_32_classes() -> None:
    """A value is the line in codes.txt; 30 is Void, and masks are called x_P."""
    codes, classes = (CAMVID32 / "codes.txt").read_text().split(), classes_of("camvid32")
    assert [c.name for c in classes] == [name for name in codes if name != "Void"]
    samples = folders(CAMVID32, classes, images="images", masks="labels", mask_suffix="_P", ignore=[30])
    assert list(samples) == ["0006R0_f02280", "0006R0_f02370"]
    for name, sample in samples.items():
        values, counts = np.unique(pixels(CAMVID32 / "labels" / f"{name}_P.png"), return_counts=True)
        expected = {codes[v]: int(n) for v, n in zip(values, counts, strict=True)}
        found = {("Void" if v == 255 else classes[v].name): int((sample.semantic == v).sum()) for v in np.unique(sample.semantic)}
        assert found == expected
    semantic = samples["0006R0_f02370"].semantic
    assert [int((semantic == index).sum()) for index in (17, 29, 255)] == [237689, 996, 7815], "Road, VegetationMisc, and Void"
    assert (classes[30].name, classes[30].labels) == ("Wall", (31,))


def test_cocos_segments_have_the_areas_of_the_file(tmp_path: Path) -> None:
    places = ["data.source.images=images/train2017", "data.source.masks=panoptic_segmentation/annotations/panoptic_train2017"]
    places.append("data.source.annotations=panoptic_segmentation/annotations/panoptic_train2017.json")
    out = prepared(tmp_path / "out", "data=coco_panoptic", f"data.root={COCO128}", *places)
    content = json.loads((PANOPTIC / "panoptic_train2017.json").read_text())
    categories = {c["id"]: c for c in content["categories"]}
    classes = [c.name for c in read_info(out).classes]
    assert classes == [c["name"] for c in content["categories"]], "133, in the file's order"
    samples = read_back(out)
    things = stuff = 0
    for annotation in content["annotations"]:
        sample = samples[annotation["file_name"].removesuffix(".png")]
        ids = pixels(PANOPTIC / "panoptic_train2017" / annotation["file_name"]).astype(int) @ [1, 256, 65536]
        masks = masks_of(sample)
        shown = sorted((classes[c], bool(k), int(m.sum())) for c, k, m in zip(sample.categories, sample.crowd, masks, strict=True))
        infos = [(s, categories[s["category_id"]]) for s in annotation["segments_info"]]
        assert shown == sorted((c["name"], bool(s["iscrowd"]), s["area"]) for s, c in infos if c["isthing"])
        for s, c in infos:
            segment = ids == s["id"]
            assert segment.sum() == s["area"]
            assert (sample.semantic[segment] == classes.index(c["name"])).all()
            assert any(np.array_equal(segment, m) for m in masks) == bool(c["isthing"])
            things, stuff = things + c["isthing"], stuff + 1 - c["isthing"]
        assert np.array_equal(sample.semantic == 255, ids == 0), "what is unlabelled is ignored"
    assert (things, stuff) == (44, 25)
    crowds = [(name, classes[c]) for name, s in samples.items() for c in s.categories[s.crowd]]
    assert crowds == [("000000000149", "person")]
    assert samples["000000000086"].image.shape[2] == 3, "the gray JPEG"
    assert len(samples["000000000250"].categories) == 0, "an image of stuff alone"


def test_cocos_semantic_masks_are_those_of_panoptic() -> None:
    """Values are ids of categories, with gaps; 0 is unlabelled."""
    classes = classes_of("coco_semantic")
    samples = folders(COCO128, classes, images="images/train2017", masks="semantic_segmentation/masks/train2017", ignore=[0, 255])
    content = json.loads((PANOPTIC / "panoptic_train2017.json").read_text())
    names = {c["id"]: c["name"] for c in content["categories"]}
    for annotation in content["annotations"]:
        ids = pixels(PANOPTIC / "panoptic_train2017" / annotation["file_name"]).astype(int) @ [1, 256, 65536]
        expected = np.full(ids.shape, 255)
        for s in annotation["segments_info"]:
            expected[ids == s["id"]] = [c.name for c in classes].index(names[s["category_id"]])
        assert np.array_equal(samples[annotation["file_name"].removesuffix(".png")].semantic, expected)
    assert [c.labels for c in classes] == [(c["id"],) for c in content["categories"]]


def test_membranes_are_the_zero_and_blocks_are_in_natural_order(tmp_path: Path) -> None:
    out = prepared(tmp_path / "out", "data=isbi2012", f"data.root={MEMBRANES}")
    labels = MEMBRANES / "data" / "membrane" / "train" / "label"
    samples = read_back(out)
    for number in range(30):
        assert np.array_equal(samples[str(number)].semantic, pixels(labels / f"{number}.png") == 0)
    assert not any((s.semantic == 255).any() for s in samples.values()), "255 is a class, and nothing is ignored"
    places = {name: sorted(int(p.stem) for p in (out / name / "images").iterdir()) for name in SPLITS}
    assert places["train"] + places["val"] + places["test"] == list(range(30))
    assert len(places["train"]) == 21
    assert read_info(out).channels == 1


@pytest.mark.parametrize("kind", ["semantic_segmentation", "instance_segmentation"])
def test_labelmes_class_pngs_have_palettes(kind: str) -> None:
    """Read by their indices and by their colours: the same; 255 is ignored."""
    root = LABELME / kind / "data_dataset_voc"
    names = (root / "class_names.txt").read_text().split()
    palette = np.array(Image.open(root / "SegmentationClass" / "2011_000003.png").getpalette()).reshape(-1, 3)
    classes = [ClassInfo(name, tuple(int(v) for v in palette[index])) for index, name in enumerate(names)]  # type: ignore[arg-type]
    places = {"images": "JPEGImages", "masks": "SegmentationClass"}
    by_index = folders(root, classes, labels="palette", **places)
    by_color = folders(root, classes, labels="color", ignore=[palette[255].tolist()], **places)
    assert sorted(by_index) == ["2011_000003", "2011_000006", "2011_000025"]
    for name, sample in by_index.items():
        indices = np.array(Image.open(root / "SegmentationClass" / f"{name}.png"))
        assert np.array_equal(sample.semantic, indices)
        assert np.array_equal(sample.semantic, by_color[name].semantic)
    assert [int((by_index[n].semantic == 255).sum()) for n in sorted(by_index)] == [9460, 909, 0]
