"""Prepared images in shards: the same bytes, samples and training as in files; what other programs read; what is said of damage."""

import csv
import json
import re
import shutil
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import MakeConfig
from s3 import environment, put
from tiny import Blobs, prepare_tiny, read_back, tree
from torch.utils.data import DataLoader
from watched import own_scratch, small

from seg.core.errors import DataError
from seg.core.urls import place_of
from seg.data import shards as reading
from seg.data.sample import ClassInfo, Sample
from seg.data.store import ManifestEntry, image_of, labels_of, read_entries, read_info, read_sample
from seg.export.check import real_images
from seg.loading.dataset import SampleDataset
from seg.predict.inputs import Input, images_of
from seg.prepare import pieces
from seg.prepare import run as preparation
from seg.prepare.assignment import Assignment
from seg.raw.record import Item, Record
from seg.sources.shapes import Shapes
from seg.stages import augment, divide, train
from seg.storing import shards as writing

bucket = pytest.fixture(environment, scope="module")
SPLITS = ("train", "val", "test")
NAMES = ("a.b", "a.c", "50%", "near/a scene", "n\N{LATIN SMALL LETTER A WITH DIAERESIS}her", "long" * 40)


@dataclass(frozen=True)
class Named(Blobs):
    """Scenes, of which the first have names that are hard for an archive."""

    def items(self) -> list[Item]:
        numbers = range(self.count)
        return [Item(NAMES[n] if n < len(NAMES) else f"scene{n}", files=(str(n),)) for n in numbers]

    def read(self, item: Item) -> Record:
        record = super().read(item)
        return replace(record, sample=replace(record.sample, image_id=item.image_id))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One data set in files, and in shards of two or three images."""
    folder = tmp_path_factory.mktemp("both")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "MOST_BYTES", 10_000)
        for store in ("files", "shards"):
            prepare_tiny(Named(), folder / store, store=store)
    return folder / "files", folder / "shards"


def entries_of(both: tuple[Path, Path]) -> list[tuple[tuple[Path, ManifestEntry], tuple[Path, ManifestEntry]]]:
    """Of each image its folder and its entry, in files and in shards."""
    files, shards = ([(folder / name, entry) for name in SPLITS for entry in read_entries(folder / name)] for folder in both)
    return list(zip(files, shards, strict=True))


def test_shards_hold_the_bytes_of_the_files(both: tuple[Path, Path]) -> None:
    files, shards = tree(both[0]), tree(both[1])
    alike = ("dataset.json", "doctor.json", *(f"{name}/instances.json" for name in SPLITS))
    assert {name: files[name] for name in alike} == {name: shards[name] for name in alike}
    assert {Path(name).suffix for name in shards.keys() - {*alike}} == {".csv", ".tar"}
    assert sum(name.endswith(".tar") for name in shards) > len(SPLITS)
    assert len(entries_of(both)) == 12
    for one, other in entries_of(both):
        assert replace(other[1], stored_at="") == one[1]
        assert image_of(*other).read() == image_of(*one).read()
        assert labels_of(*other).read() == labels_of(*one).read()


def test_other_programs_read_the_shards(both: tuple[Path, Path]) -> None:
    """As tar files whose members have no time and no owner, and as WebDataset, which takes for one sample what has one key in turn."""
    for name in SPLITS:
        keys: list[tuple[str, list[str]]] = []
        found = dict[str, tuple[int, int, bytes]]()
        for path in sorted((both[1] / name / "shards").iterdir()):
            with tarfile.open(path) as archive:
                for member in archive:
                    file = archive.extractfile(member)
                    assert file is not None
                    assert (member.mtime, member.uid, member.gid, member.uname, member.mode) == (0, 0, 0, "", 0o644)
                    found[member.name] = member.offset_data, member.size, file.read()
                    key, suffix = re.fullmatch(r"((?:.*/|)[^.]+)[.]([^/]*)", member.name).groups()  # type: ignore[union-attr]
                    if not keys or keys[-1][0] != key:
                        keys.append((key, []))
                    keys[-1][1].append(suffix)
        entries = read_entries(both[1] / name)
        assert [key.replace("%2E", ".").replace("%25", "%") for key, _ in keys] == [entry.image_id for entry in entries]
        assert {tuple(suffixes) for _, suffixes in keys} == {("png", "semantic.png")}
        for (key, _), entry in zip(keys, entries, strict=True):
            image, labels = found[f"{key}.png"], found[f"{key}.semantic.png"]
            assert [int(number) for number in entry.stored_at.split()[1:]] == [*image[:2], *labels[:2]]
            assert (image[2], labels[2]) == (image_of(both[1] / name, entry).read(), labels_of(both[1] / name, entry).read())


def same(one: Sample, other: Sample) -> bool:
    names = ("image", "semantic", "instances", "categories", "crowd")
    return one.image_id == other.image_id and all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def test_processes_that_load_share_an_open_shard(both: tuple[Path, Path]) -> None:
    files, shards = (SampleDataset([folder / "train"], 3, with_instances=True) for folder in both)
    path = image_of(*shards.rows[0]).file
    shards.read(0)
    keys = [[(index, 0)] for index in range(len(files))] * 3
    loaded = list(DataLoader(shards, batch_sampler=keys, num_workers=2, collate_fn=lambda batch: batch[0]))
    assert all(same(sample, files.read(key[0][0])) for sample, key in zip(loaded, keys, strict=True))
    assert reading._opened(path).tell() == 0, "reading moves no place that processes share"
    assert reading._opened(path) is reading._opened(path)
    assert shards.label_digests() == files.label_digests()


def test_many_images_go_to_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for most, sharded in ((12, False), (11, True)):
        monkeypatch.setattr(preparation, "MANY", most)
        prepare_tiny(Named(), tmp_path / str(most), store="auto")
        assert any(name.endswith(".tar") for name in tree(tmp_path / str(most))) == sharded
    assert writing.MANY == 20_000


def test_tiles_of_large_images_go_to_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "LARGE", 500)
    monkeypatch.setattr(pieces, "TILE", 20)
    for store in ("files", "shards"):
        prepare_tiny(Named(), tmp_path / store, store=store)
    files, shards = (read_back(tmp_path / store) for store in ("files", "shards"))
    assert files.keys() == shards.keys()
    assert len(files) > 12
    assert all(same(files[name], shards[name]) for name in files)
    assert not [name for name in tree(tmp_path / "shards") if name.endswith(".png")]


def test_folds_see_the_shards(both: tuple[Path, Path], tmp_path: Path, make_config: MakeConfig) -> None:
    for folder, prepared in zip("ab", both, strict=True):
        copy = shutil.copytree(prepared, tmp_path / folder / "prepared")
        content = json.loads((copy / "dataset.json").read_text())
        (copy / "dataset.json").write_text(json.dumps(content | {"settings": make_config().data.plain()}))
        divide.run(make_config("plan.folds=2", f"paths.prepare={copy}"), tmp_path / folder / "folds")
    files, shards = tmp_path / "a/folds", tmp_path / "b/folds"
    assert (files / "folds.csv").read_bytes() == (shards / "folds.csv").read_bytes()
    for fold in "12":
        assert read_info(files / fold) == read_info(shards / fold)
        one, other = read_back(files / fold), read_back(shards / fold)
        assert all(same(one[name], other[name]) for name in one | other)
        assert all(entry.stored_in and entry.stored_at for entry in read_entries(shards / fold / "val"))


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory, prepared: Path, make_config: MakeConfig) -> Path:
    """The data set `prepared` of conftest, in shards."""
    data, out = make_config("data.store=shards").data, tmp_path_factory.mktemp("shapes") / "prepared"
    classes = [ClassInfo(c.name, tuple(c.color)) for c in data.classes]  # type: ignore[arg-type]
    preparation.prepare(Shapes(12, 48, 0, classes), "shapes", classes, Assignment.of(data), None, out, 1, "none", data.plain(), data.store)
    assert (prepared / "dataset.json").read_bytes() == (out / "dataset.json").read_bytes()
    return out


def test_copies_lie_as_the_images_do(shapes: Path, prepared: Path, tmp_path: Path, make_config: MakeConfig) -> None:
    for name, folder in (("files", prepared), ("shards", shapes)):
        given = (f"paths.prepare={folder}", "augment=medium", "augment.copies=1", "augment.preview.images=1", "augment.preview.draws=1")
        augment.run(make_config(*given, "runtime.progress=none"), tmp_path / name)
    files, shards = tree(tmp_path / "files"), tree(tmp_path / "shards")
    assert files["augmented.json"] == shards["augmented.json"]
    assert {name for name in shards if name.startswith("train/")} == {"train/manifest.csv", "train/shards/000000.tar"}
    copies = [(read_entries(tmp_path / name / "train"), tmp_path / name / "train") for name in ("files", "shards")]
    for one, other in zip(copies[0][0], copies[1][0], strict=True):
        assert image_of(copies[0][1], one).read() == image_of(copies[1][1], other).read()


def test_a_training_is_the_same_bit_for_bit(
    shapes: Path, prepared: Path, tmp_path: Path, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_scratch(tmp_path, monkeypatch)
    weights = []
    for name, folder in (("files", prepared), ("shards", shapes)):
        (out := tmp_path / name).mkdir()
        train.run(small(make_config, folder, out), out)
        weights.append(torch.load(out / "best.ckpt", weights_only=True)["state_dict"])
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


@pytest.mark.parametrize("store", ["files", "shards"])
def test_a_training_streams_from_a_bucket(
    store: str,
    bucket: str,
    shapes: Path,
    prepared: Path,
    tmp_path: Path,
    make_config: MakeConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the very weights, in two processes that load; nothing is copied here."""
    own_scratch(tmp_path, monkeypatch)
    here = shapes if store == "shards" else prepared
    put(here, f"{bucket}/{store}")
    weights = []
    for name, folder in (("here", here), ("there", place_of(f"{bucket}/{store}"))):
        (out := tmp_path / name).mkdir()
        train.run(small(make_config, folder, out, "runtime.workers=2"), out)
        weights.append(torch.load(out / "best.ckpt", weights_only=True)["state_dict"])
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert not list((tmp_path / "there").rglob("*.png"))


def test_images_for_predictions_and_exports_come_from_shards(both: tuple[Path, Path]) -> None:
    info = read_info(both[0])
    told, (said, images) = real_images(None, both[0], info, 2, 0), real_images(None, both[1], info, 2, 0)
    assert told[0] == said == "images of the test split"
    assert all(np.array_equal(a, b) for a, b in zip(told[1], images, strict=True))
    folder, entry = both[1] / "train", read_entries(both[1] / "train")[0]
    stored = image_of(folder, entry)
    (image,) = images_of([Input("train/a", stored.path, stored=stored)], 3, None)
    assert np.array_equal(image, read_sample(folder, entry, 3).image)


def test_a_damaged_shard_is_named(both: tuple[Path, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(both[1], tmp_path / "copy") / "train"
    entries = read_entries(folder)
    last = max(entries, key=lambda entry: (entry.stored_at.split()[0], int(entry.stored_at.split()[1])))
    shard = folder / last.stored_at.split()[0]
    data, start = shard.read_bytes(), int(last.stored_at.split()[1])

    def said() -> str:
        with pytest.raises(DataError) as error:
            read_sample(folder, last, 3)
        return str(error.value)

    again = r"; restore it \(`dvc checkout`, `dvc pull`\), or run `seg prepare` again"
    shard.write_bytes(data[: start + 10])
    assert re.fullmatch(rf"{shard}: is cut off within .*\.png{again}", said())
    shard.write_bytes(bytes(512) + data)
    assert re.fullmatch(rf"{shard}: does not have .*\.png where the manifest says{again}", said())
    shard.write_bytes(data[:start] + b"0" * 10 + data[start + 10 :])
    assert said().startswith(f"{shard}/")
    assert "is not a readable image" in said()
    shard.unlink()
    assert said() == f"{shard}: cannot be read (No such file or directory)"


def test_a_manifest_leads_to_no_other_place(both: tuple[Path, Path], tmp_path: Path) -> None:
    path = shutil.copytree(both[1] / "val", tmp_path / "val") / "manifest.csv"
    rows = list(csv.DictReader(path.read_text().splitlines()))
    for wrong, said in (
        ("../other.tar 512 1 1536 1", r"names the image '../other.tar', which is no place in this folder"),
        ("shards/000000.tar 512 1 1536", r"is damaged \(stored_at='shards/000000.tar 512 1 1536'\); run `seg prepare` again"),
        ("shards/000000.tar 512 1 -5 1", r"is damaged \(stored_at="),
    ):
        with open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows([rows[0] | {"stored_at": wrong}])
        with pytest.raises(DataError, match=said):
            read_entries(path.parent)
