"""What lies below a folder: hidden things, links, names in two Unicode forms, volumes."""

from pathlib import Path
from unicodedata import normalize

import pytest
from tiny import folders, labels, picture, prepare_tiny, write, write_folders

from seg.core.errors import DataError
from seg.sources.listing import Names, by_stem, files_below


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    touch(
        tmp_path, "b/2.png", "b/10.PNG", "a.txt", ".c.png", ".ipynb_checkpoints/d.png", "__MACOSX/._e.png", "b/@eaDir/f.png", "b.png/g.png"
    )
    assert files_below(tmp_path, (".png",)) == ["b.png", "b.png/g.png", "b/2.png", "b/10.PNG"], "a folder that is named like an image tells"
    write_folders(tmp_path / "raw", ["x", "y", "z"])
    write(tmp_path / "raw" / "images" / ".ipynb_checkpoints" / "x-checkpoint.png", picture(9))
    assert [i.image_id for i in folders(tmp_path / "raw").items()] == ["x", "y", "z"]


def test_links_to_folders_are_followed_and_end(tmp_path: Path) -> None:
    touch(tmp_path, "real/1.png", "real/deep/2.png")
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "deep" / "up").symlink_to(tmp_path / "real")
    assert files_below(tmp_path / "all", (".png",)) == ["linked/1.png", "linked/deep/2.png"]


def test_unicode_forms_of_a_name_are_one(tmp_path: Path) -> None:
    decomposed = normalize("NFD", "Übersicht")
    write(tmp_path / "images" / f"{decomposed}.png", picture(0))
    write(tmp_path / "masks" / "Übersicht.png", labels(0))
    assert [i.image_id for i in folders(tmp_path).items()] == ["Übersicht"]
    (tmp_path / "images" / "Übersicht.jpg").touch()
    with pytest.raises(DataError, match="has the same name as"):
        by_stem(tmp_path / "images")


def test_case_and_the_images_own_suffix_do_not_part_a_pair(tmp_path: Path) -> None:
    for seed, (image, mask) in enumerate([("Scene_01.JPG", "scene_01.png"), ("IMG (2).jpg", "IMG (2).jpg.png"), ("c.png", "c.png")]):
        write(tmp_path / "images" / image, picture(seed))
        write(tmp_path / "masks" / mask, labels(seed))
    pairs = {Path(i.files[0]).name: Path(i.files[1]).name for i in folders(tmp_path).items()}
    assert pairs == {"Scene_01.JPG": "scene_01.png", "IMG (2).jpg": "IMG (2).jpg.png", "c.png": "c.png"}


def test_names_are_found_when_only_one_fits() -> None:
    names = Names(["day/a.png", "night/a.png", "night/B.png", "é.png"])
    assert (names.get("NIGHT/b.png"), names.by_last("x/b.png"), names.by_last("x/a.png")) == ("night/B.png", "night/B.png", None)
    assert (names.by_stem("day/a"), names.by_last("upload/0a1b2c3d-b.png"), names.get(normalize("NFD", "é.png"))) == (
        "day/a.png",
        "night/B.png",
        "é.png",
    )


def test_volumes_are_refused_with_the_way_to_slices(tmp_path: Path) -> None:
    touch(tmp_path, "images/case_0000.nii.gz", "scans/1.dcm", "masks/a.png")
    with pytest.raises(
        DataError, match=r"images: holds no images, but NIfTI files such as case_0000.nii.gz; save each slice .*nibabel.load"
    ):
        folders(tmp_path).items()
    with pytest.raises(DataError, match=r"DICOM files such as 1.dcm; .*SimpleITK.ReadImage\('1.dcm'\)"):
        folders(tmp_path, images="scans").items()


def test_what_leaves_nothing_is_refused(tmp_path: Path) -> None:
    root = write_folders(tmp_path / "raw", ["a", "b"], masks="other")
    touch(root, "masks/c.png")
    with pytest.raises(DataError, match=r"no image with labels is left; .*: 1 masks have no image and are left out, such as c.png"):
        prepare_tiny(folders(root, skip_unlabelled=True), tmp_path / "out")


def test_by_stem_knows_endings() -> None:
    assert by_stem(Path(__file__).parent, (".py",), "_listing").keys() == {"test"}


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "über.png").touch()
    with open(bytes(tmp_path) + b"/b\xff.png", "wb"):
        pass
    with pytest.raises(DataError, match=r"b\?\.png: its name is not UTF-8; rename it"):
        files_below(tmp_path, (".png",))
