"""Preparing: everything unsound is refused by a message that names the file and the fix, and nothing is left behind."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields
from multiprocessing import get_context
from multiprocessing.context import BaseContext
from pathlib import Path

import numpy as np
import pytest
from tiny import Blobs, encoded, folders, labels, picture, prepare_tiny, refusal, split, tree, write, write_folders

from seg.core.errors import ConfigError, DataError, InputError
from seg.data.store import read_entries
from seg.prepare import run as preparation
from seg.raw.record import Item, Record
from seg.runtime import engine
from seg.sources.folders import Folders
from seg.sources.settings import Split

NAMES = [f"scene{number}" for number in range(8)]
SPLITS = ("train", "val", "test")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return write_folders(tmp_path / "raw", NAMES)


def replace_bytes(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def test_every_bad_file_is_named_at_once(raw: Path, tmp_path: Path) -> None:
    for number in (2, 4, 7):
        replace_bytes(raw / "images" / f"scene{number}.jpg", lambda data: data[:200])
    replace_bytes(raw / "images" / "scene1.jpg", lambda data: encoded(np.full((24, 32), 5000, np.uint16), ".png"))
    first, others = refusal(lambda: folders(raw), tmp_path / "out").split("\n")
    fix = "set data.range=[0,16383] (the values that become 0 and 255 in all images) or data.range=image (each image's own range)"
    assert first == f"{raw}/images/scene1.jpg: has uint16 pixels from 5000 to 5000, expected 8 bit; {fix}"
    assert others == "  of 4 errors (truncated-file 3, pixel-type 1); " + preparation.SEE_ALL


def test_an_image_without_a_mask_is_refused(raw: Path, tmp_path: Path) -> None:
    for number in (3, 4):
        (raw / "masks" / f"scene{number}.png").unlink()
    message = refusal(lambda: folders(raw), tmp_path / "out")
    assert message.startswith(f"{raw}/images/scene3.jpg: has no mask {raw}/masks/scene3.*; add it")
    assert "data.source.skip_unlabelled=true" in message
    section = lists(raw, train="scene0\nscene1\n", val="scene7\n", test="scene2\nscene4\n")
    message = refusal(lambda: folders(raw), tmp_path / "out", section, raw)
    assert message.startswith(f"{raw}/images/scene3.jpg: has no mask"), "not that a list names an image that is none"
    for name in NAMES:
        (raw / "masks" / f"{name}.png").rename(raw / "masks" / f"{name}_label.png") if name not in ("scene3", "scene4") else None
    message = refusal(lambda: folders(raw), tmp_path / "out")
    assert message.startswith(
        f"{raw}/images/scene0.jpg: has no mask {raw}/masks/scene0.*; add it, set data.source.mask_suffix=_label (if the"
    )


@pytest.mark.parametrize("key", ["images", "masks"])
def test_a_missing_folder_is_refused_with_those_that_there_are(raw: Path, tmp_path: Path, key: str) -> None:
    message = refusal(lambda: folders(raw, **{key: "pictures"}), tmp_path / "out")
    assert message == f"{raw}/pictures: there is no such folder; set data.source.{key} ({raw} holds: images, masks)"


def test_a_folder_without_images_is_refused(raw: Path, tmp_path: Path) -> None:
    (raw / "empty").mkdir()
    message = refusal(lambda: folders(raw, images="empty"), tmp_path / "out")
    assert message.startswith(f"{raw}/empty: holds no images (.jpg, .jpeg, .png")
    assert message.endswith("set data.source.images")


def in_folders(root: Path, suffixes: tuple[str, str, str] = (".png", ".png", ".png"), **pictures: list[int]) -> Folders:
    """Images by their seeds, in folders named by the splits."""
    for name, suffix in zip(SPLITS, suffixes, strict=True):
        (root / name / "images").mkdir(parents=True)
        (root / name / "masks").mkdir()
        for seed in pictures[name]:
            write(root / name / "images" / f"{name}{seed}{suffix}", picture(seed))
            write(root / name / "masks" / f"{name}{seed}.png", labels(seed))
    return folders(root, split("folders"), images="{split}/images", masks="{split}/masks")


def test_the_same_picture_in_two_splits_is_refused_whatever_its_format(tmp_path: Path) -> None:
    source = in_folders(tmp_path / "raw", (".png", ".png", ".bmp"), train=[0, 1, 2], val=[3, 4], test=[5, 1, 4])
    message = refusal(lambda: source, tmp_path / "out", split("folders"))
    assert message == (
        f"{tmp_path}/raw/test/images/test1.bmp: is the same picture as train/train1.png, so figures would be too good; "
        "remove one, or keep both in one split with data.split.group\n  of 2 errors (same-picture 2); " + preparation.SEE_ALL
    )


def test_copies_of_a_picture_stay_together(tmp_path: Path) -> None:
    """By ratios, four pictures in five copies each: all copies of one go to one split."""
    for number in range(20):
        write(tmp_path / "raw" / "images" / f"img{number:02d}.png", picture(number % 4))
        write(tmp_path / "raw" / "masks" / f"img{number:02d}.png", labels(number % 4))
    prepare_tiny(folders(tmp_path / "raw"), tmp_path / "out")
    places = {e.image_id: s for s in SPLITS for e in read_entries(tmp_path / "out" / s)}
    assert [len({places[f"img{n:02d}"] for n in range(first, 20, 4)}) for first in range(4)] == [1, 1, 1, 1]
    assert len(places) == 20


def test_a_group_stays_together_on_disk(tmp_path: Path) -> None:
    names = [f"walk{number // 4}_{number % 4}" for number in range(32)]
    section = split(group=r"^walk\d+")
    prepare_tiny(folders(write_folders(tmp_path / "raw", names)), tmp_path / "out", section)
    places = {e.image_id: s for s in SPLITS for e in read_entries(tmp_path / "out" / s)}
    assert [len({places[f"walk{w}_{i}"] for i in range(4)}) for w in range(8)] == [1] * 8
    assert [sum(p == s for p in places.values()) for s in SPLITS] == [16, 8, 8]


def lists(root: Path, **lines: str) -> Split:
    for name in SPLITS:
        (root / f"{name}.txt").write_text(lines[name])
    return split("lists", lists={name: f"{name}.txt" for name in SPLITS})


def test_lists(raw: Path, tmp_path: Path) -> None:
    section = lists(raw, train="scene1\nscene0.jpg\n", val="scene7\n", test="# the last\nscene2\n")
    prepare_tiny(folders(raw), tmp_path / "out", section, raw)
    places = {s: [e.image_id for e in read_entries(tmp_path / "out" / s)] for s in SPLITS}
    assert places == {"train": ["scene0", "scene1"], "val": ["scene7"], "test": ["scene2"]}


def test_missing_lists_are_refused(raw: Path, tmp_path: Path) -> None:
    message = refusal(lambda: folders(raw), tmp_path / "out", split("lists", lists={"train": "train.txt"}), raw)
    assert message.startswith("data.split.by=lists: set data.split.lists={train: train.txt, val: val.txt, test: test.txt}")


def of(folder: Path) -> dict[str, list[str]]:
    return {s: [e.image_id for e in read_entries(folder / s)] for s in SPLITS}


def test_a_split_without_a_list_is_cut_from_train(raw: Path, tmp_path: Path) -> None:
    """The same picture twice stays in one split."""
    (raw / "images/scene6.jpg").write_bytes((raw / "images/scene5.jpg").read_bytes())
    (raw / "masks/scene6.png").write_bytes((raw / "masks/scene5.png").read_bytes())
    (raw / "all.txt").write_text("\n".join(NAMES[:7]))
    (raw / "test.txt").write_text("scene7\n")
    ratios = {"train": 0.6, "val": 0.4, "test": 0.0}
    for seed in range(6):
        section = split("lists", lists={"train": "all.txt", "val": None, "test": "test.txt"}, ratios=ratios, seed=seed)
        prepare_tiny(folders(raw), tmp_path / str(seed), section, raw)
        found = of(tmp_path / str(seed))
        assert (sorted(found["train"] + found["val"]), found["test"], len(found["val"])) == (NAMES[:7], ["scene7"], 3)
        assert ("scene5" in found["val"]) == ("scene6" in found["val"])
    assert len({tuple(of(tmp_path / str(seed))["val"]) for seed in range(6)}) > 1


def test_a_split_without_a_folder_is_cut_from_train(tmp_path: Path) -> None:
    raw = write_folders(tmp_path / "raw", NAMES)
    for number, name in enumerate(NAMES):
        place = "val" if number > 4 else "training"
        for kind, ending in (("images", "jpg"), ("masks", "png")):
            (raw / place / kind).mkdir(parents=True, exist_ok=True)
            (raw / kind / f"{name}.{ending}").rename(raw / place / kind / f"{name}.{ending}")
    places = {"images": "{split}/images", "masks": "{split}/masks"}
    named = {"train": "training", "test": None}
    section = split("folders", folders=named, ratios={"train": 0.6, "val": 0.0, "test": 0.4})
    prepare_tiny(folders(raw, section=section, **places), tmp_path / "out", section, raw)
    found = of(tmp_path / "out")
    assert (sorted(found["train"] + found["test"]), found["val"], len(found["test"])) == (NAMES[:5], NAMES[5:], 2)
    refused = {
        "data.split.folders: names nothing for test; name it, or say by data.split.ratios how": split("folders", folders=named),
        f"{raw}/test/images: there is no such folder; set data.source.images": split("folders", folders={"train": "training"}),
    }
    for message, wrong in refused.items():
        assert refusal(lambda wrong=wrong: folders(raw, section=wrong, **places), tmp_path / "no", wrong, raw).startswith(message)


TABLE = {"file": "index.csv", "id": "image"}


def write_kinds(raw: Path, **kinds: str) -> None:
    """A table with the kind of each scene, "day" where none is given."""
    rows = [f"{name}.jpg,{kinds.get(name, 'day')}" for name in NAMES]
    (raw / "index.csv").write_text("\n".join(["image,kind", *rows]))


@pytest.mark.parametrize("seed", range(5))
def test_a_column_of_a_table_is_stratified_by(raw: Path, tmp_path: Path, seed: int) -> None:
    write_kinds(raw, scene1="night", scene4="night", scene6="night", scene7="night")
    prepare_tiny(folders(raw), tmp_path / "out", split(stratify="kind", table=TABLE, seed=seed), raw)
    places = {s: [e.image_id for e in read_entries(tmp_path / "out" / s)] for s in SPLITS}
    night = {"scene1", "scene4", "scene6", "scene7"}
    assert {s: (len(set(ids) & night), len(set(ids) - night)) for s, ids in places.items()} == {
        "train": (2, 2),
        "val": (1, 1),
        "test": (1, 1),
    }


def test_the_columns_of_a_table_stand_in_the_manifest(raw: Path, tmp_path: Path) -> None:
    """But for that of the names, and those that a manifest has itself."""
    rows = [f'{name}.jpg,"{number}, a",{number % 2},7' for number, name in enumerate(NAMES)]
    (raw / "index.csv").write_text("\n".join(["image,scanner,kind,height", *rows]))
    prepare_tiny(folders(raw), tmp_path / "out", split(table=TABLE), raw)
    entries = [entry for name in SPLITS for entry in read_entries(tmp_path / "out" / name)]
    assert {e.image_id: dict(e.columns) for e in entries} == {
        name: {"scanner": f"{number}, a", "kind": str(number % 2)} for number, name in enumerate(NAMES)
    }
    assert {e.height for e in entries} == {24}
    header = "image_id,file,height,width,num_instances,sha256,phash,spacing,scanner,kind"
    assert (tmp_path / "out/val/manifest.csv").read_text().splitlines()[0] == header
    prepare_tiny(folders(raw), tmp_path / "plain", split(), raw)
    assert all(not e.columns for e in read_entries(tmp_path / "plain/train"))


class Unread(Folders):
    """Folders that nothing may be read from."""

    def read(self, item: Item) -> Record:
        raise AssertionError(f"{item.image_id} was read before the settings were checked")


@pytest.mark.parametrize(
    ("changed", "kind", "message"),
    [
        ({"ratios": {"train": 0.7, "val": 0.2, "test": 0.2}}, ConfigError, "data.split.ratios=.* that sum to 1, got 1.1"),
        ({"group": r"^take(\d)"}, ConfigError, r"data.split.group='\^take\(.*': does not match the image 'scene0'; widen the expression"),
        ({"group": "(scene"}, ConfigError, r"data.split.group='\(scene': is not a regular expression \("),
        ({"by": "folders"}, DataError, "data.split.by=folders: this source's layout names no splits; set data.split.by=ratios"),
        ({"by": "ratios", "ratios": None}, DataError, "data.split.by=ratios: .*set data.split.by=ratios and data.split.ratios"),
        (
            {"stratify": "kind"},
            ConfigError,
            "data.split.stratify=kind: names a column, but there is no table; set data.split.table={file: index.csv, id: image_id}",
        ),
        ({"stratify": "kinds", "table": TABLE}, DataError, "{raw}/index.csv: has no column 'kinds' .*did you mean 'kind'"),
        ({"stratify": "kind", "table": {**TABLE, "id": "name"}}, DataError, "{raw}/index.csv: has no column 'name' in its first line"),
        ({"stratify": "image", "table": TABLE}, ConfigError, "data.split.stratify=image: the column has 8 different values for 8 images"),
        (
            {"stratify": "kind", "table": {**TABLE, "file": "indx.csv"}},
            DataError,
            "{raw}/indx.csv: there is no such file; set data.split.table.file .{raw} holds: index.csv.",
        ),
    ],
)
def test_bad_settings_are_refused_before_anything_is_read(
    raw: Path, tmp_path: Path, changed: dict, kind: type[InputError], message: str
) -> None:
    write_kinds(raw)
    given = folders(raw)
    source = Unread(**{f.name: getattr(given, f.name) for f in fields(given) if f.init})
    with pytest.raises(kind, match=f"^{message.replace('{raw}', str(raw))}"):
        prepare_tiny(source, tmp_path / "out", split(**{"by": "ratios", **changed}), raw)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.partial").exists()


def test_an_older_data_set_survives_a_failure(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare_tiny(folders(raw), out)
    before = tree(out)
    replace_bytes(raw / "images" / "scene5.jpg", lambda data: data[:100])
    with pytest.raises(DataError, match=r"scene5.jpg: is cut off"):
        prepare_tiny(folders(raw), out)
    assert tree(out) == before
    assert not (tmp_path / "out.partial").exists()


def test_an_older_data_set_is_replaced_as_a_whole(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "out.partial" / "train").mkdir(parents=True)
    (tmp_path / "out.partial" / "train" / "of a killed run").touch()
    prepare_tiny(folders(raw), out)
    (raw / "images" / "scene5.jpg").unlink()
    prepare_tiny(folders(raw), out)
    prepare_tiny(folders(raw), tmp_path / "fresh")
    assert tree(out) == tree(tmp_path / "fresh")
    assert not any("scene5" in name or "killed" in name for name in tree(out))


class Interrupted(Blobs):
    def read(self, item: Item) -> Record:
        if item.image_id == "blobs5":
            raise KeyboardInterrupt
        return super().read(item)


def test_nothing_is_left_of_an_interrupted_run(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        prepare_tiny(Interrupted(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> list[int]:
    """How many processes each pool had that preparing started; few images are enough for it here."""
    sizes = []

    class Pool(ProcessPoolExecutor):
        def __init__(self, count: int, context: BaseContext, *given: object) -> None:
            sizes.append(count)
            super().__init__(count, getattr(request, "param", context), *given)

    monkeypatch.setattr(engine.Engine, "alone_below", 2)
    monkeypatch.setattr(engine, "ProcessPoolExecutor", Pool)
    return sizes


@pytest.mark.parametrize(("store", "files"), [("files", 20 * 2), ("shards", 3)])
def test_processes_give_the_same_bytes_as_one_alone(tmp_path: Path, pools: list[int], store: str, files: int) -> None:
    section = split(stratify=True)
    alone = prepare_tiny(Blobs(20), tmp_path / "alone", section, workers=0, store=store)
    assert pools == []
    together = prepare_tiny(Blobs(20), tmp_path / "together", section, workers=2, store=store)
    assert pools == [2]
    assert alone == together
    assert tree(tmp_path / "alone") == tree(tmp_path / "together")
    assert len(tree(tmp_path / "alone")) == files + 3 * 2 + 2


@pytest.mark.parametrize("pools", [get_context("fork")], indirect=True)  # which takes less time
def test_processes_report_bad_files_too(raw: Path, tmp_path: Path, pools: list[int]) -> None:
    for number in (1, 6):
        replace_bytes(raw / "images" / f"scene{number}.jpg", lambda data: b"")
    with pytest.raises(DataError, match=r"scene1.jpg: is an empty file.*\n  of 2 errors \(unreadable-file 2\)"):
        prepare_tiny(folders(raw), tmp_path / "out", workers=2)
    assert pools == [2]
    assert [p.name for p in tmp_path.iterdir()] == ["raw"]
