"""`seg init` as a user runs it: what it writes is read back as it was drawn, and a mistake is one line that leaves nothing behind."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from formats import (
    NAMES,
    PALETTE,
    instances,
    scene,
    write_class_files,
    write_coco,
    write_coco_splits,
    write_cvat_set,
    write_labelme_set,
    write_masks,
    write_object_files,
    write_palette_masks,
    write_panoptic,
    write_pictures,
    write_via_set,
    write_yolo_set,
    write_yolo_splits,
)
from tiny import picture, read_back, tree, write
from typed import typed

from seg import cli
from seg.configure.config import Config, checked
from seg.core.errors import ConfigError
from seg.data.store import read_info
from seg.settings.section import Params
from seg.stages import init, prepare

ROOT = Path(__file__).parents[2]
SPLITS = ("train", "val", "test")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own, in which the tests stand."""
    folder = tmp_path / "project"
    shutil.copytree(ROOT / "conf", folder / "conf")
    monkeypatch.chdir(folder)
    return folder


Refused = Callable[[list[str], str], None]


@pytest.fixture
def refused(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """(arguments, said): `seg init` ends in one line and exit code 1 (2 for a wrong command line), and changes nothing in conf/."""

    def run(arguments: list[str], said: str) -> None:
        before = tree(project / "conf")
        monkeypatch.setattr("sys.argv", ["seg", "init", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        shown = capsys.readouterr()
        code = 2 if "see seg init --help" in said else 1
        assert (ended.value.code, "wrote" in shown.out, tree(project / "conf")) == (code, False, before)
        assert shown.err.count("\n") == 1
        assert said in shown.err

    return run


@pytest.fixture
def composed(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """The configurations that `seg init` composed of what it wrote, as `seg prepare` would, with quiet and single workers."""
    found: list[Config] = []

    def check(params: Params) -> Config:
        params["runtime"] |= {"progress": "none", "workers": 0}
        found.append(checked(params))
        return found[-1]

    monkeypatch.setattr(init, "checked", check)
    return found


def same(number: int) -> np.ndarray:
    return scene(number)


def objects(number: int) -> np.ndarray:
    """The class map where all objects are of one class."""
    return (scene(number) > 0).astype(np.uint8)


def colored(root: Path) -> Path:
    return write_masks(root, lambda number: PALETTE[scene(number)], images="all/{}_photo.png", masks="all/{}_mask.png")


def gaps(root: Path) -> Path:
    return write_masks(root, lambda number: scene(number) * 70, masks="masks/{}_P.tif")


def by_split(root: Path) -> Path:
    for number, name in enumerate(NAMES):
        word = ("training", "validation", "testing")[number // 2]
        write(root / word / "images" / f"{name}.png", picture(number))
        write(root / word / "masks" / f"{name}.png", np.where(scene(number) == 2, 255, scene(number)).astype(np.uint8))
    return root


def without_dogs(number: int) -> np.ndarray:
    return np.where(scene(number) == 2, 255, scene(number)).astype(np.uint8)


COCO_SPLITS = ("annotations/instances_{}.json", "images")
FORMATS: dict[str, tuple[Callable[[Path], object], str, Callable[[int], np.ndarray]]] = {
    "index": (write_masks, "folders", same),
    "index with gaps and a suffix": (gaps, "folders", same),
    "index by split, with void": (by_split, "folders", without_dogs),
    "colour in one folder": (colored, "folders", same),
    "palette": (write_palette_masks, "folders", same),
    "id maps": (lambda root: write_masks(root, instances), "id_maps", objects),
    "a file a class": (lambda root: write_class_files(root, "{image}_{class}"), "class_files", same),
    "a file an object": (lambda root: write_object_files(root, "{}/images", "{}/masks"), "dsb2018", objects),
    "a file an object in one folder": (lambda root: write_object_files(root, "images", "masks/{}"), "dsb2018", objects),
    "coco": (write_coco, "coco", same),
    "coco by split": (lambda root: write_coco_splits(root, *COCO_SPLITS), "coco", same),
    "coco panoptic": (write_panoptic, "coco_panoptic", same),
    "labelme": (write_labelme_set, "labelme", same),
    "via": (lambda root: write_via_set(root, True, False), "via", same),
    "yolo": (write_yolo_set, "yolo", same),
    "yolo by split": (lambda root: write_yolo_splits(root, "{}/images", "{}/labels", ("train", "valid", "test")), "yolo", same),
    "cvat": (write_cvat_set, "cvat", same),
}


QUICK = ("index with gaps and a suffix", "colour in one folder", "id maps", "a file a class", "coco by split", "labelme", "yolo")


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=[] if kind in QUICK else pytest.mark.slow) for kind in FORMATS])
def test_what_is_written_is_read_as_it_was_drawn(
    project: Path, tmp_path: Path, composed: list[Config], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set, option, expected = FORMATS[kind]
    raw, out = tmp_path / "raw", tmp_path / "out"
    write_set(raw)
    before = tree(raw)
    typed("init", project, [str(raw)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"looking at {raw}: ")
    assert lines[lines.index(f"{raw}: taken for {option}") + 1].startswith("  because ")
    assert "files of images: 6 found, 6 taken, 0 left over" in lines
    assert "wrote conf/data/raw.yaml; edit it, then" in lines
    prepare.run(composed[-1], out)
    found = {name.rpartition("/")[2]: sample for name, sample in read_back(out).items()}
    assert sorted(found) == list(NAMES)
    assert [np.array_equal(found[name].semantic, expected(number)) for number, name in enumerate(NAMES)] == [True] * len(NAMES)
    assert [np.array_equal(found[name].image, picture(number)) for number, name in enumerate(NAMES)] == [True] * len(NAMES)
    assert read_info(out).task == ("instance" if lines[-1].endswith((" -S task=instance", " -S task=panoptic")) else "semantic")
    if "by split" in kind:
        assert {name: len(list((out / name / "images").iterdir())) for name in SPLITS} == dict.fromkeys(SPLITS, 2)
        assert (out / "val/images/c.png").exists()
    assert tree(raw) == before, "raw data is only read"


def test_of_several_formats_the_likeliest_is_taken_and_the_others_are_named(
    project: Path, tmp_path: Path, composed: list[Config], capsys: pytest.CaptureFixture[str]
) -> None:
    write_coco(tmp_path / "raw")
    write_yolo_set(tmp_path / "raw")
    write_masks(tmp_path / "raw")
    typed("init", project, [str(tmp_path / "raw")])
    shown = capsys.readouterr().out
    assert "taken for coco\n" in shown
    assert [line.split(":")[0] for line in shown.splitlines() if "or else" in line] == ["  or else --as yolo", "  or else --as folders"]
    typed("init", project, [str(tmp_path / "raw"), "--as", "folders", "--name", "other"])
    assert "taken for folders\n" in capsys.readouterr().out
    assert (composed[-1].data.name, composed[-1].data.source.target) == ("other", "seg.sources.folders.Folders")
    assert sorted(tree(project / "conf").keys() - tree(ROOT / "conf").keys()) == ["data/other.yaml", "data/raw.yaml"]


def test_a_folder_within_the_project_is_named_from_there(project: Path, composed: list[Config]) -> None:
    write_masks(project / "data/My cells (1)")
    typed("init", project, ["data/My cells (1)"])
    assert (composed[-1].data.name, composed[-1].data.root) == ("my_cells_1", "data/My cells (1)")


def test_a_name_that_is_taken_needs_force(project: Path, tmp_path: Path, refused: Refused) -> None:
    raw = write_masks(tmp_path / "raw")
    typed("init", project, [str(raw)])
    path = project / "conf/data/raw.yaml"
    first = path.read_text()
    path.write_text("edited")
    refused([str(raw)], f"{path}: is there already; give another name, as in --name my_raw, or replace it with --force")
    assert path.read_text() == "edited"
    typed("init", project, [str(raw), "--force"])
    assert path.read_text() == first


def test_what_does_not_compose_is_taken_back(project: Path, tmp_path: Path, refused: Refused) -> None:
    """A class of a name that stands for another setting."""
    raw, path = write_yolo_set(tmp_path / "raw", "names: ['${nowhere}', dog]"), project / "conf/data/raw.yaml"
    refused([str(raw)], "Interpolation key 'nowhere' not found")
    path.write_text("kept")
    refused([str(raw), "--force"], "Interpolation key 'nowhere' not found")
    assert path.read_text() == "kept"


def nothing(root: Path) -> None:
    root.mkdir()


def jpegs(root: Path) -> None:
    write_pictures(root / "images", suffix=".jpg")
    write_pictures(root / "masks", suffix=".jpg")


def a_file(root: Path) -> None:
    root.write_text("x")


@pytest.mark.parametrize(
    ("write_set", "arguments", "said"),
    [
        (write_masks, ["RAW", "--nmae", "x"], "init: unknown option --nmae: did you mean '--name'?; see seg init --help"),
        (write_masks, ["RAW", "--name", "a-b"], "--name a-b: expected letters, digits and underscores"),
        (write_masks, ["RAW", "--name", "../x"], "--name ../x: expected letters, digits and underscores"),
        (write_masks, ["RAW", "--as", "floders"], "raw: does not look like floders; did you mean 'folders'?"),
        (write_masks, ["RAW", "--as", "coco"], "raw: does not look like coco; it may be: folders"),
        (write_masks, ["RAW", "--name", "coco"], "conf/data/coco.yaml: is there already; give another name"),
        (lambda root: None, ["RAW"], "raw: there is no such folder"),
        (a_file, ["RAW"], "raw: is a file; give the folder that holds images and labels"),
        (nothing, ["RAW"], "raw: holds no file; give the folder that holds images and labels"),
        (write_pictures, ["RAW"], "raw: no labels of a known kind were found among 6 files (6 x .png): . has images alone"),
        (
            jpegs,
            ["RAW"],
            "raw: no labels of a known kind were found among 12 files (12 x .jpg); the nearest pairs are such as "
            "images/a.jpg and masks/a.jpg, but both are pictures",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_is_one_line(
    tmp_path: Path, refused: Refused, write_set: Callable[[Path], object], arguments: list[str], said: str
) -> None:
    write_set(tmp_path / "raw")
    refused([str(tmp_path / "raw") if a == "RAW" else a for a in arguments], said)


def test_outside_of_a_project(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="change into the project's folder first"):
        typed("init", tmp_path, [str(write_masks(tmp_path / "raw"))])
