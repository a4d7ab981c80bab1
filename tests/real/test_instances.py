"""Real instances as they lie beside the project, prepared: COCO's own annotations, and the nuclei of the Data Science Bowl 2018."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from real_sets import prepared_once
from tiny import masks_of, read_back

from seg.configure.compose import compose
from seg.configure.config import checked
from seg.core.textfile import natural_key
from seg.data.imagefile import decode_index, read_bytes
from seg.data.store import DatasetInfo, read_entries, read_info
from seg.stages import prepare

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
SAMPLES, NUCLEI = DATA / "format_samples" / "coco_instances", DATA / "dsb2018_nuclei"
SPLITS = ("train", "val", "test")
OVERLAPPING = "0a7d30b252359a10fd298b638b90cb9ada3acced4e0c0e5a3692013f432ee4e9"

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not (SAMPLES.is_dir() and NUCLEI.is_dir()), reason=f"the instances do not lie in {DATA}"),
]


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("coco") / "prepared"
    prepare.run(checked(compose(ROOT / "conf", ["data=coco", f"data.root={SAMPLES}", "runtime.progress=none"])[0]), out)
    return out


@pytest.fixture(scope="module")
def nuclei(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared_once(tmp_path_factory, "dsb2018")


def total(info: DatasetInfo, count: str) -> int:
    return sum(counts[count] for counts in info.splits.values())


def test_all_objects_of_coco_are_imported(coco: Path) -> None:
    info = read_info(coco)
    assert (info.name, info.task, info.channels, len(info.classes)) == ("coco", "instance", 3, 81)
    assert (total(info, "num_images"), total(info, "num_instances")) == (6, 36)
    samples = read_back(coco)
    assert [name for name, s in samples.items() if not len(s.categories)] == ["000000000089"]
    crowds = [(name, info.classes[c].name) for name, s in samples.items() for c in s.categories[s.crowd]]
    assert crowds == [("000000464689", "bottle")]


def test_cocos_masks_are_pycocotools_own_bit_for_bit(coco: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = COCO(str(SAMPLES / "annotations.json"))
    expected = [
        (truth.imgs[a["image_id"]]["file_name"], truth.cats[a["category_id"]]["name"], a["iscrowd"], truth.annToMask(a).tobytes())
        for a in truth.anns.values()
    ]
    found = []
    for name in SPLITS:
        opened = COCO(str(coco / name / "instances.json"))
        assert "background" not in {c["name"] for c in opened.cats.values()}
        for a in opened.anns.values():
            mask = opened.annToMask(a)
            rows, columns = np.nonzero(mask)
            assert a["area"] == mask.sum()
            assert a["bbox"] == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
            found.append((opened.imgs[a["image_id"]]["file_name"], opened.cats[a["category_id"]]["name"], a["iscrowd"], mask.tobytes()))
    capsys.readouterr()
    assert sorted(found) == sorted(expected)


def test_the_classes_of_the_configuration_are_cocos_in_order(coco: Path) -> None:
    content = json.loads((SAMPLES / "annotations.json").read_text())
    assert [c.name for c in read_info(coco).classes] == ["background", *(c["name"] for c in content["categories"])]


def test_all_nuclei_are_imported(nuclei: Path) -> None:
    info = read_info(nuclei)
    assert (info.name, info.task, total(info, "num_images"), total(info, "num_instances")) == ("dsb2018", "instance", 99, 3834)
    with open(NUCLEI / "index.csv", newline="") as file:
        rows = {r["image_id"]: (int(r["height"]), int(r["width"]), int(r["n_masks"])) for r in csv.DictReader(file)}
    assert {e.image_id: (e.height, e.width, e.num_instances) for s in SPLITS for e in read_entries(nuclei / s)} == rows


def test_nuclei_that_overlap_are_whole_and_every_mask_is_its_files(nuclei: Path) -> None:
    samples = read_back(nuclei)
    sample = samples[OVERLAPPING]
    assert (len(sample.categories), sample.instances.shape[2]) == (28, 2)
    assert ((sample.instances > 0).sum(axis=2) > 1).sum() == 2
    for name in (OVERLAPPING, *sorted(samples)[::20]):
        files = sorted((NUCLEI / "stage1_train" / name / "masks").glob("*.png"), key=lambda p: natural_key(p.name))
        assert [np.array_equal(m, decode_index(read_bytes(f), f) > 0) for m, f in zip(masks_of(samples[name]), files, strict=True)] == [
            True
        ] * len(files)
    layers = {name: s.instances.shape[2] for name, s in samples.items()}
    assert [name for name, count in layers.items() if count != 1] == [OVERLAPPING]
