"""The doctor on real data: what it finds there, which is little, and that it raises no false alarm on pictures of one kind."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from seg.configure.compose import compose
from seg.configure.config import checked
from seg.data.imagefile import decode_color, read_bytes
from seg.prepare.assignment import Assignment
from seg.prepare.checks.check import Diagnosis
from seg.prepare.run import Examination, examine
from seg.stages.prepare import source_of
from seg.storing.duplicates import near_pairs, perceptual_hash, thumbnail

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"the real data sets do not lie in {DATA}"),
]


def examined(*overrides: str) -> Examination:
    config = checked(compose(ROOT / "conf", [*overrides, "runtime.progress=none"])[0])
    source, classes, root = source_of(config)
    return examine(source, classes, Assignment.of(config.data), root, "auto", "none", None)


def diagnosis(*overrides: str) -> Diagnosis:
    return examined(*overrides).diagnosis


def kinds(found: Diagnosis) -> list[str]:
    return sorted({f.kind for f in found.findings})


def test_camvid() -> None:
    found = diagnosis("data=camvid", f"data.root={DATA / 'camvid'}")
    assert kinds(found) == ["class-imbalance"], "Bicyclist has 0.29 %, Road 31.66 % of the pixels; no near-duplicates across splits"
    assert "Bicyclist" in found.findings[0].what
    near = {name: counts["near_duplicates"] for name, counts in found.summary.items()}
    assert near == {"train": 50, "val": 101, "test": 57}, "val is one stretch of a film at 15 Hz, every second frame of it"


def test_nuclei() -> None:
    found = diagnosis("data=dsb2018", f"data.root={DATA / 'dsb2018_nuclei'}")
    assert kinds(found) == ["mixed-color"]
    assert "as 12 of 99 are; the others are gray" in found.findings[0].what, "12 are stained tissue, by the index that comes with them"


def test_coco() -> None:
    found = diagnosis("data=coco", f"data.root={DATA / 'format_samples' / 'coco_instances'}")
    assert kinds(found) == ["absent-class", "class-imbalance", "empty-label", "few-images"]
    assert [f.image_id for f in found.findings if f.kind == "empty-label"] == ["000000000089"], "which has no annotation at all"


@pytest.mark.parametrize(
    "folder",
    ["camvid/train", "dsb2018_nuclei/stage1_train/*/images", "isbi2012_em/data/membrane/train/image"],
    ids=lambda f: f.split("/")[0],
)
def test_copies_of_real_images_are_found_and_only_they(folder: str) -> None:
    files = sorted(DATA.glob(f"{folder}/*"))[:100]
    images = [decode_color(read_bytes(file), file) for file in files]
    rescaled = [cv2.resize(image, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA) for image in images]
    copies = [cv2.imdecode(cv2.imencode(".jpg", cv2.add(image, (8, 8, 8, 0)), [cv2.IMWRITE_JPEG_QUALITY, 50])[1], 1) for image in rescaled]
    small = np.array([thumbnail(image) for image in images + copies])
    parts = [0] * len(images) + [1] * len(images)
    across, within = near_pairs([perceptual_hash(t) for t in small], small, parts, range(len(small)))
    assert [(p.first, p.second) for p in across] == [(i, i + len(images)) for i in range(len(images))]
    assert within == [] or folder == "camvid/train", "frames of a film, of which some hardly differ"
