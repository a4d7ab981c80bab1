"""The views of folds: prepared data sets of their own, of images that are stored once."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import MakeConfig

from seg.core.errors import ConfigError, DataError
from seg.data.store import read_annotations, read_entries, read_info
from seg.loading.dataset import SampleDataset
from seg.stages import divide


def divided(prepared: Path, folder: Path, make_config: MakeConfig, folds: int = 3) -> Path:
    divide.run(make_config(f"plan.folds={folds}", f"paths.prepare={prepared}"), folder / "folds")
    return folder / "folds"


def samples(folder: Path, split: str) -> dict[str, list[np.ndarray]]:
    dataset = SampleDataset([folder / split], 3, with_instances=True)
    read = [dataset.read(index) for index in range(len(dataset))]
    return {s.image_id: [s.image, s.semantic, s.instances, s.categories, s.crowd] for s in read}


def with_a_named_test(prepared: Path, folder: Path) -> Path:
    """A copy whose test split is one of a list."""
    shutil.copytree(prepared, folder)
    content = json.loads((folder / "dataset.json").read_text())
    content["settings"]["split"] |= {"by": "lists", "lists": {"train": "train.txt", "val": None, "test": "test.txt"}}
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("named", [False, True])
def test_a_view_is_a_prepared_data_set_without_images(prepared: Path, tmp_path: Path, make_config: MakeConfig, named: bool) -> None:
    source = with_a_named_test(prepared, tmp_path / "prepared") if named else prepared
    folds = divided(source, tmp_path, make_config)
    stored = {name: samples(source, name) for name in ("train", "val", "test")}
    pool = stored["train"] | stored["val"] | ({} if named else stored["test"])
    with open(folds / "folds.csv", newline="") as file:
        told = {row["image_id"]: row for row in csv.DictReader(file)}
    assert told.keys() == pool.keys()
    assert not [p for p in folds.rglob("*") if p.suffix in (".png", ".npy", ".jpg")]
    for fold in ("1", "2", "3"):
        found = {name: samples(folds / fold, name) for name in ("train", "val", "test")}
        assert found["val"].keys() == {image_id for image_id, row in told.items() if row["fold"] == fold}
        assert found["train"].keys() == pool.keys() - found["val"].keys()
        assert found["test"].keys() == (stored["test"].keys() if named else set())
        for image_id, arrays in (found["train"] | found["val"]).items():
            assert all(np.array_equal(a, b) for a, b in zip(arrays, pool[image_id], strict=True))
        info = read_info(folds / fold)
        pixels = np.concatenate([arrays[0].reshape(-1, 3) for arrays in found["train"].values()])
        assert info.mean == pytest.approx(pixels.mean(axis=0), abs=1e-4)
        labels = np.concatenate([arrays[1].ravel() for arrays in found["train"].values()])
        assert info.class_counts.pixels == np.bincount(labels, minlength=256)[: len(info.classes)].tolist()
        assert info.settings == read_info(source).settings
        whole = [a for name in ("train", "val") for a in read_annotations(folds / fold / name).values()]
        assert sum(map(len, whole)) == info.splits["train"]["num_instances"] + info.splits["val"]["num_instances"]
    digests = {read_info(folds / fold).digest for fold in "123"}
    assert len(digests | {read_info(source).digest}) == 4
    hashes = {e.image_id: (e.sha256, e.phash) for name in ("train", "val", "test") for e in read_entries(source / name)}
    assert all((e.sha256, e.phash) == hashes[e.image_id] for e in read_entries(folds / "1/val"))


def test_what_folds_cannot_be_made_of_is_refused(prepared: Path, tmp_path: Path, make_config: MakeConfig) -> None:
    with pytest.raises(ConfigError, match=r"^plan.folds=null: there are no folds to divide"):
        divide.run(make_config(f"paths.prepare={prepared}"), tmp_path / "folds")
    for wrong in (1, 11, "many"):
        with pytest.raises(ConfigError, match=rf"^plan.folds='?{wrong}'?: expected 2 to 10 folds, or null for none"):
            make_config(f"plan.folds={wrong}")
    folds = divided(prepared, tmp_path, make_config, folds=2)
    manifest = folds / "1/val/manifest.csv"
    rows = list(csv.reader(manifest.read_text().splitlines()))
    place = rows[1][rows[0].index("stored_in")]
    manifest.write_text(manifest.read_text().replace(place, "../../../../elsewhere/val"))
    with pytest.raises(DataError, match=r"its images lie in .*elsewhere/val, which is no split of a prepared data set"):
        read_entries(folds / "1/val")
