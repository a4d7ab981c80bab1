"""Raw data in tar files, as WebDataset has them, are read as folders are, by every source."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
from annotations import labelme, square, write_images, write_labelme
from tiny import Blobs, folders, labels, picture, prepare_tiny, read_all, read_back, refusal, split, tree, write, write_folders
from typed import typed
from untrained import untrained

from seg.core.errors import UsageError
from seg.data.sample import Sample
from seg.sources.listing import files_below


def pack(folder: Path, shards: Path, count: int = 2) -> Path:
    """The files of a folder, in their order, in tar files; those of one image together."""
    shards.mkdir(parents=True)
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    keys = sorted({p.relative_to(folder).as_posix().partition(".")[0] for p in files})
    for number in range(count):
        with tarfile.open(shards / f"{number:06d}.tar", "w") as tar:
            for file in files:
                name = file.relative_to(folder).as_posix()
                if keys.index(name.partition(".")[0]) % count == number:
                    tar.add(file, name)
    return shards


def same(first: dict[str, Sample], second: dict[str, Sample]) -> None:
    """The same images, but for the shards in their names."""
    there = {name.partition(".tar/")[2]: sample for name, sample in second.items()}
    assert first.keys() == there.keys()
    for name, sample in first.items():
        for part in ("image", "semantic", "instances", "categories"):
            np.testing.assert_array_equal(getattr(sample, part), getattr(there[name], part))


def test_images_and_class_maps_side_by_side(tmp_path: Path) -> None:
    for seed in range(8):
        write(tmp_path / f"raw/{seed:03d}.jpg", picture(seed))
        write(tmp_path / f"raw/{seed:03d}.semantic.png", labels(seed))
    pack(tmp_path / "raw", tmp_path / "shards")
    (tmp_path / "shards/.DS_Store").write_bytes(b"")
    given = {"images": ".", "masks": ".", "mask_suffix": ".semantic"}
    same(read_all(folders(tmp_path / "raw", **given)), read_all(folders(tmp_path / "shards", **given)))
    prepare_tiny(folders(tmp_path / "raw", **given), tmp_path / "one", workers=2)
    prepare_tiny(folders(tmp_path / "shards", **given), tmp_path / "two", workers=2)
    same(read_back(tmp_path / "one"), read_back(tmp_path / "two"))


def test_prepared_shards_are_raw_data_again(tmp_path: Path) -> None:
    prepare_tiny(Blobs(8), tmp_path / "prepared", split(), store="shards")
    for part in ("train", "val", "test"):
        assert list((tmp_path / "prepared" / part).glob("*/*.tar")) or list((tmp_path / "prepared" / part).glob("*.tar"))
    place = next((tmp_path / "prepared/train").rglob("*.tar")).parent.relative_to(tmp_path / "prepared/train")
    given = {"images": f"{{split}}/{place}", "masks": f"{{split}}/{place}", "mask_suffix": ".semantic"}
    again = read_all(folders(tmp_path / "prepared", split("folders"), **given))
    assert len(again) == 8
    stored = read_back(tmp_path / "prepared")
    for name, sample in again.items():
        np.testing.assert_array_equal(sample.image, stored[name.partition(".tar/")[2]].image)
        np.testing.assert_array_equal(sample.semantic, stored[name.partition(".tar/")[2]].semantic)


def test_polygons_of_labelme(tmp_path: Path) -> None:
    names = [f"{number}" for number in range(4)]
    write_images(tmp_path / "raw", *names)
    for name in names:
        write_labelme(tmp_path / f"raw/{name}.json", [square("cat", 2, 2, 9, 8)])
    pack(tmp_path / "raw", tmp_path / "shards")
    same(read_all(labelme(tmp_path / "raw")), read_all(labelme(tmp_path / "shards")))


def test_an_archive_beside_other_files_is_no_folder(tmp_path: Path) -> None:
    """Such as the download that the folders were unpacked from."""
    write_folders(tmp_path / "raw", ["a", "b"])
    pack(tmp_path / "raw", tmp_path / "packed")
    (tmp_path / "packed/000000.tar").rename(tmp_path / "raw/images/download.tar")
    assert sorted(read_all(folders(tmp_path / "raw"))) == ["a", "b"]


def test_names_that_lead_elsewhere_are_passed_over(tmp_path: Path) -> None:
    """Names become those of files below the prepared data."""
    write(tmp_path / "raw/a.png", picture(0))
    (tmp_path / "shards").mkdir()
    with tarfile.open(tmp_path / "shards/0.tar", "w") as tar:
        for name in ("../evil.png", "x/../../evil.png", ".hidden/b.png", "x/a.png"):
            tar.add(tmp_path / "raw/a.png", name)
    assert files_below(tmp_path / "shards", (".png",)) == ["0.tar/x/a.png"]
    assert files_below(tmp_path / "shards/0.tar", (".png",)) == ["x/a.png"]


def test_a_folder_that_is_named_as_a_tar_file_is_one(tmp_path: Path) -> None:
    """Also one with a link to the folder above it."""
    write(tmp_path / "raw/unpacked.tar/a.png", picture(0))
    (tmp_path / "raw/round.tar").symlink_to(tmp_path / "raw")
    assert files_below(tmp_path / "raw", (".png",)) == ["unpacked.tar/a.png"]


def test_a_model_predicts_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of tar files, or one of them, which is named as a folder is."""
    monkeypatch.chdir(tmp_path)
    untrained(tmp_path / "best.ckpt")
    write_images(tmp_path / "raw", *"abcd")
    pack(tmp_path / "raw", tmp_path / "shards", 1)
    given = ["predict.outputs=[classes]", "predict.accelerator=cpu", "runtime.threads=1"]
    for name in ("raw", "shards", "shards/000000.tar"):
        typed("predict", tmp_path, ["best.ckpt", name, "--out", f"out/{name}", *given])
    found = tree(tmp_path / "out/raw")
    assert sorted(found) == [f"classes/{name}.png" for name in "abcd"]
    assert tree(tmp_path / "out/shards/000000.tar") == found
    assert {n.replace("000000.tar/", ""): data for n, data in tree(tmp_path / "out/shards").items() if n.startswith("classes")} == found
    with pytest.raises(UsageError, match=r"^predict\.outputs=\[tiff\]: reads and writes parts of files, .* unpack them$"):
        typed("predict", tmp_path, ["best.ckpt", "shards", "predict.outputs=[tiff]", "predict.tile=32", *given[1:]])


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    write_folders(tmp_path / "raw", ["a", "b"])
    shards = pack(tmp_path / "raw/images", tmp_path / "raw2/images", 1)
    pack(tmp_path / "raw/masks", tmp_path / "raw2/masks", 1)
    file = shards / "000000.tar"
    file.write_bytes(file.read_bytes()[:700])
    assert f"{file}: cannot be read as a tar file" in refusal(lambda: folders(tmp_path / "raw2"), tmp_path / "out")
