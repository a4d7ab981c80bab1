"""Cityscapes' layout, made small: the 19 classes from label ids, instances from instance ids, and the splits by city."""

import json
from pathlib import Path

import numpy as np
import pytest
from tiny import masks_of, picture, read_back, split, write

from seg.core.errors import ConfigError, DataError
from seg.data.labelmaps import with_stuff
from seg.data.sample import ClassInfo
from seg.data.store import read_info
from seg.sources.cityscapes import CityscapesInstances
from seg.sources.images import ImageReader
from seg.stages import prepare

CITIES = {
    "train": "aachen bochum bremen cologne darmstadt dusseldorf erfurt hamburg hanover jena krefeld monchengladbach strasbourg "
    "stuttgart tubingen ulm weimar zurich",
    "val": "frankfurt lindau munster",
    "test": "berlin",
}
LABELS = np.array([[7, 8, 11, 12, 13, 17, 19, 20], [21, 22, 23, 24, 25, 26, 27, 28], [31, 32, 33, 0, 4, 29, 34, 255]], np.uint8)
TRAIN_IDS = [[0, 1, 2, 3, 4, 5, 6, 7], [8, 9, 10, 11, 12, 13, 14, 15], [16, 17, 18, 255, 255, 255, 255, 255]]
INSTANCES = np.array([[26001, 26001, 26002, 26, 7, 7, 29003, 0], [24000, 25007, 23, 33, 33001, 10, 24001, 8]], np.uint16)


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    """An image a city, with all that gtFine has beside it; of the test split only dummies."""
    seed = 0
    for part, cities in CITIES.items():
        for city in cities.split():
            seed += 1
            name, fine = f"{city}_000000_000019", tmp_path / "raw" / "gtFine" / part / city
            write(tmp_path / "raw" / "leftImg8bit" / part / city / f"{name}_leftImg8bit.png", picture(seed, LABELS.shape))
            write(fine / f"{name}_gtFine_labelIds.png", LABELS if part != "test" else LABELS * 0)
            write(fine / f"{name}_gtFine_instanceIds.png", np.resize(INSTANCES, LABELS.shape))
            write(fine / f"{name}_gtFine_color.png", picture(seed, LABELS.shape))
            (fine / f"{name}_gtFine_polygons.json").write_text("{}")
    return tmp_path / "raw"


def test_the_classes_and_splits_of_the_configuration(cityscapes: Path, tmp_path: Path, make_config) -> None:
    prepare.run(make_config("data=cityscapes", f"data.root={cityscapes}"), tmp_path / "out")
    info = read_info(tmp_path / "out")
    assert {name: counts["num_images"] for name, counts in info.splits.items()} == {"train": 15, "val": 3, "test": 3}
    assert [c.name for c in info.classes[:3]] == ["road", "sidewalk", "building"]
    samples = read_back(tmp_path / "out")
    assert all(s.semantic.tolist() == TRAIN_IDS for s in samples.values())
    assert sorted(p.name[:3] for p in (tmp_path / "out" / "val" / "images").iterdir()) == ["ulm", "wei", "zur"]
    assert "berlin_000000_000019" not in samples, "its labels are not public"


def test_the_instances_of_the_configuration(cityscapes: Path, tmp_path: Path, make_config) -> None:
    prepare.run(make_config("data=cityscapes_instances", "task=instance", f"data.root={cityscapes}"), tmp_path / "out")
    info = read_info(tmp_path / "out")
    assert [c.name for c in info.classes] == ["background", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"]
    assert info.splits["train"]["num_instances"] == 15 * 9
    sample = read_back(tmp_path / "out")["ulm_000000_000019"]
    named = [info.classes[c].name for c in sample.categories[~sample.crowd]]
    assert named == ["person", "person", "rider", "car", "car", "bicycle"], "in the order of the ids"


def test_things_and_stuff_of_the_configuration(cityscapes: Path, tmp_path: Path, make_config) -> None:
    prepare.run(make_config("data=cityscapes_panoptic", "task=panoptic", f"data.root={cityscapes}"), tmp_path / "out")
    info, sample = read_info(tmp_path / "out"), read_back(tmp_path / "out")["ulm_000000_000019"]
    assert [info.classes[c].name for c in info.things] == ["person", "rider", "car", "bicycle"], "those with objects in the training split"
    found = with_stuff(sample, info.things)
    segments = [info.classes[c].name for c in found.categories[~found.crowd]]
    assert segments == ["person", "person", "rider", "car", "car", "bicycle", "road", "sidewalk", "sky"], "10 is of no class of evaluation"


def source(root: Path, **changed: object) -> CityscapesInstances:
    classes = [
        ClassInfo("background", (0, 0, 0), (7, 23)),
        ClassInfo("person", (220, 20, 60), (24, 25)),
        ClassInfo("car", (0, 0, 142), (26,)),
    ]
    arguments = {
        "images": "images",
        "masks": "masks",
        "image_suffix": "",
        "mask_suffix": "",
        "things": ["person", "car"],
        "ignore": [0, 29],
    }
    arguments |= {"others": "ignore", "skip_unlabelled": False, "root": str(root), "classes": classes, "reader": ImageReader(3)}
    return CityscapesInstances(**{**arguments, "split": split(), **changed})


def test_instances_groups_stuff_and_void_by_hand(tmp_path: Path) -> None:
    """Person and rider are one class; the group of cars (26) is a crowd; the caravan (29003) is ignored, as a crowd is."""
    write(tmp_path / "images" / "a.png", picture(0, INSTANCES.shape))
    write(tmp_path / "masks" / "a.png", INSTANCES)
    made = source(tmp_path)
    sample = made.read(made.items()[0]).sample
    assert sample.semantic.tolist() == [[2, 2, 2, 2, 0, 0, 255, 255], [1, 1, 0, 255, 255, 255, 1, 255]]
    shown = [
        (int(c), bool(k), [tuple(p) for p in np.argwhere(m).tolist()])
        for c, k, m in zip(sample.categories, sample.crowd, masks_of(sample), strict=True)
    ]
    assert shown == [
        (2, True, [(0, 3)]),
        (1, True, [(0, 6)]),
        (1, True, [(1, 4)]),
        (1, False, [(1, 0)]),
        (1, False, [(1, 6)]),
        (1, False, [(1, 1)]),
        (2, False, [(0, 0), (0, 1)]),
        (2, False, [(0, 2)]),
    ]


def test_the_least_number_of_an_instance(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.png", picture(0, (1, 3)))
    write(tmp_path / "masks" / "a.png", np.array([[1000, 1, 999]], np.uint16))
    made = source(tmp_path, classes=[ClassInfo("background", (0, 0, 0), (999,)), ClassInfo("person", (1, 1, 1))], things=["person"])
    sample = made.read(made.items()[0]).sample
    assert (sample.semantic.tolist(), sample.crowd.tolist()) == ([[1, 1, 0]], [True, False])
    assert masks_of(sample)[1].tolist() == [[True, False, False]], "1000 is number 0 of class 1; 1 is a crowd of it"


def test_what_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.png", picture(0, INSTANCES.shape))
    write(tmp_path / "masks" / "a.png", INSTANCES)
    made = source(tmp_path, others="refuse")
    with pytest.raises(DataError, match=r"masks/a.png: has 3 values that no class has: 33 in 2 pixels, 8 in 1 pixels, 10 in 1 pixels"):
        made.read(made.items()[0])
    with pytest.raises(ConfigError, match=r"^data.source.things=cra: no class of data.classes has this name; did you mean 'car'\?"):
        source(tmp_path, things=["cra"])


def test_corrected_regions_of_stuff_are_no_objects(cityscapes: Path, tmp_path: Path, make_config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data/corrections").mkdir(parents=True)
    boxes = {"road": [[0, 0], [8, 3]], "car": [[1, 1], [3, 2]], "sky": [[0, 0], [8, 1]]}
    shapes = [{"label": label, "points": points, "shape_type": "rectangle"} for label, points in boxes.items()]
    Path("data/corrections/ulm_000000_000019.json").write_text(json.dumps({"shapes": shapes}))
    prepare.run(make_config("data=cityscapes_panoptic", "task=panoptic", f"data.root={cityscapes}"), tmp_path / "out")
    sample = read_back(tmp_path / "out")["ulm_000000_000019"]
    assert sample.semantic.tolist() == [[10] * 8, [0, 13, 13, 0, 0, 0, 0, 0], [0] * 8]
    assert sample.categories.tolist() == [13]
    assert np.argwhere(masks_of(sample)[0]).tolist() == [[1, 1], [1, 2]]
