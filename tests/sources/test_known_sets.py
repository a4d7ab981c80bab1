"""Configurations of known data sets, on their layouts made small."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from tiny import picture, read_back, write

from seg.data.store import read_info
from seg.stages import prepare

CONF = Path(__file__).parents[2] / "conf" / "data"


def test_pet_trimaps(tmp_path: Path, make_config, capsys: pytest.CaptureFixture[str]) -> None:
    """1 is the pet, 2 the ground, 3 their border; hidden files beside, lists with further columns, no list of val."""
    raw = tmp_path / "raw"
    trimap = np.array([[1, 1, 3, 2], [3, 3, 2, 2]], np.uint8)
    names = [f"Abyssinian_{number}" for number in range(1, 12)] + ["beagle_9"]
    for seed, name in enumerate(names):
        write(raw / "images" / f"{name}.jpg", picture(seed, (16, 32)))
        write(raw / "annotations" / "trimaps" / f"{name}.png", cv2.resize(trimap, (32, 16), interpolation=cv2.INTER_NEAREST))
        (raw / "annotations" / "trimaps" / f"._{name}.png").write_bytes(b"\0\5\26\7")
    (raw / "images" / "Abyssinian_1.mat").write_bytes(b"MATLAB 5.0")
    (raw / "annotations" / "trainval.txt").write_text("".join(f"{name} 1 1 1\n" for name in names[:10]))
    (raw / "annotations" / "test.txt").write_text("beagle_9 2 2 1\n")
    prepare.run(make_config("data=pet", f"data.root={raw}"), tmp_path / "out")
    info = read_info(tmp_path / "out")
    assert {name: counts["num_images"] for name, counts in info.splits.items()} == {"train": 9, "val": 1, "test": 1}
    assert "1 images stand in no list and are left out, such as Abyssinian_11" in capsys.readouterr().out
    semantic = read_back(tmp_path / "out")["beagle_9"].semantic
    assert semantic[::8, ::8].tolist() == [[1, 1, 255, 0], [255, 255, 0, 0]]
    assert info.splits["test"]["ignored_pixels"] == 3 * 64


def test_isbi_membranes(tmp_path: Path, make_config) -> None:
    """The class of interest is the zero; slices are cut into blocks in natural order."""
    folder = tmp_path / "raw" / "data" / "membrane" / "train"
    for number in range(12):
        write(folder / "image" / f"{number}.png", picture(number, (4, 6), 1))
        write(folder / "label" / f"{number}.png", np.array([[255, 255, 0, 0, 0, 255]] * 4, np.uint8))
    prepare.run(
        make_config("data=isbi2012", f"data.root={tmp_path / 'raw'}", "data.split.ratios.test=0.05", "data.split.ratios.val=0.25"),
        tmp_path / "out",
    )
    places = {name: sorted(int(p.stem) for p in (tmp_path / "out" / name / "images").iterdir()) for name in ("train", "val", "test")}
    assert places == {"train": list(range(8)), "val": [8, 9, 10], "test": [11]}
    info = read_info(tmp_path / "out")
    assert ([c.name for c in info.classes], info.channels) == (["cell", "membrane"], 1)
    assert info.splits["test"]["class_pixels"] == [12, 12]
    assert info.splits["test"]["ignored_pixels"] == 0


def test_every_class_of_a_known_set_has_its_own_name_colour_and_labels() -> None:
    counts = {
        "camvid32": 31,
        "cityscapes": 19,
        "cityscapes_instances": 9,
        "cityscapes_panoptic": 19,
        "coco_panoptic": 133,
        "coco_semantic": 133,
    }
    for name, count in counts.items():
        classes = yaml.safe_load((CONF / f"{name}.yaml").read_text())["classes"]
        assert len({c["name"] for c in classes}) == len({tuple(c["color"]) for c in classes}) == len(classes) == count
        labels = [label for c in classes for label in c.get("labels", [])]
        assert len(set(labels)) == len(labels)


def test_the_two_configurations_of_coco_agree() -> None:
    semantic, panoptic = (yaml.safe_load((CONF / f"{name}.yaml").read_text())["classes"] for name in ("coco_semantic", "coco_panoptic"))
    assert [(c["name"], c["color"]) for c in semantic] == [(c["name"], c["color"]) for c in panoptic]
