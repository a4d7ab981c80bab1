"""The prepared data set: its statistics against numpy, its instances against pycocotools, its samples against what was written."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from tiny import CLASSES, SIZE, Blobs, folders, masks_of, picture, prepare_tiny, split, tree, write_folders

from seg.core.errors import DataError
from seg.data.sample import Sample, no_instances
from seg.data.store import SCHEMA_VERSION, ClassCounts, read_annotations, read_entries, read_info, read_sample
from seg.prepare.assignment import Assignment
from seg.prepare.run import Spool, SpooledRecord, prepare
from seg.raw.record import Item, Record
from seg.sources.images import ImageReader
from seg.storing.duplicates import perceptual_hash, thumbnail
from seg.storing.write import write_record, write_split

SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve scenes with instances, as prepared."""
    out = tmp_path_factory.mktemp("store") / "prepared"
    prepare_tiny(Blobs(), out)
    return out


def written(folder: Path, name: str) -> list[Sample]:
    """What the source gave for each entry of a split, in order."""
    source = Blobs()
    samples = {item.image_id: source.read(item).sample for item in source.items()}
    return [samples[entry.image_id] for entry in read_entries(folder / name)]


def test_every_sample_is_read_as_it_was_written(folder: Path) -> None:
    seen = []
    for name in SPLITS:
        annotations = read_annotations(folder / name)
        for entry, expected in zip(read_entries(folder / name), written(folder, name), strict=True):
            sample = read_sample(folder / name, entry, 3, annotations[entry.file])
            seen.append(sample.image_id)
            assert sample.image_id == expected.image_id
            for field in ("image", "semantic", "instances", "categories", "crowd"):
                value, wanted = getattr(sample, field), getattr(expected, field)
                assert np.array_equal(value, wanted), (entry.image_id, field)
                assert value.dtype == wanted.dtype, (entry.image_id, field)
    assert sorted(seen) == sorted(item.image_id for item in Blobs().items()), "every scene lies in one split"


def test_files_are_what_other_programs_read(folder: Path) -> None:
    for name in SPLITS:
        for entry, expected in zip(read_entries(folder / name), written(folder, name), strict=True):
            image = Image.open(folder / name / "images" / entry.file)
            label = Image.open(folder / name / "semantic" / f"{entry.image_id}.png")
            assert (image.mode, label.mode) == ("RGB", "L")
            assert np.array_equal(np.asarray(image), expected.image)
            assert np.array_equal(np.asarray(label), expected.semantic)


def test_the_manifest_says_what_there_is(folder: Path) -> None:
    for name in SPLITS:
        for entry, expected in zip(read_entries(folder / name), written(folder, name), strict=True):
            assert (entry.height, entry.width) == SIZE
            assert entry.num_instances == len(expected.categories)
            assert entry.phash == f"{perceptual_hash(thumbnail(expected.image)):016x}"
            assert entry.sha256 == hashlib.sha256(str(expected.image.shape).encode() + expected.image.tobytes()).hexdigest()
    lines = [(folder / name / "manifest.csv").read_text().splitlines() for name in SPLITS]
    assert [line[0] for line in lines] == ["image_id,file,height,width,num_instances,sha256,phash,spacing"] * 3
    assert sum(len(line) - 1 for line in lines) == 12


def test_statistics_equal_numpys_over_all_pixels(folder: Path) -> None:
    info = read_info(folder)
    pixels = np.concatenate([s.image.reshape(-1, 3) for s in written(folder, "train")]).astype(np.float64)
    assert info.mean == pytest.approx(pixels.mean(axis=0), abs=1e-3)
    assert info.std == pytest.approx(pixels.std(axis=0), abs=1e-3)
    assert info.channels == 3
    for name in SPLITS:
        samples, counts = written(folder, name), info.splits[name]
        labels = [s.semantic for s in samples]
        assert counts["num_images"] == len(samples)
        assert counts["num_instances"] == sum(len(s.categories) for s in samples)
        assert counts["class_pixels"] == [sum(int((x == k).sum()) for x in labels) for k in range(len(CLASSES))]
        assert counts["class_images"] == [sum(bool((x == k).any()) for x in labels) for k in range(len(CLASSES))]
        labelled = [int((x != 255).sum()) for x in labels]
        of_images = [sum(n for x, n in zip(labels, labelled, strict=True) if (x == k).any()) for k in range(len(CLASSES))]
        assert counts["class_image_pixels"] == of_images
        assert counts["ignored_pixels"] == sum(int((x == 255).sum()) for x in labels) > 0
        assert counts["sizes"] == {"24x32": len(samples)}
    train = info.splits["train"]
    assert info.class_counts == ClassCounts(train["class_pixels"], train["class_image_pixels"])
    older = replace(info, splits={"train": {"class_pixels": [3, 0, 5]}})
    assert older.class_counts == ClassCounts([3, 0, 5], [8, 8, 8])


def test_statistics_of_gray_images(tmp_path: Path) -> None:
    source = folders(write_folders(tmp_path / "raw", list("abcdef"), suffix=".png"), reader=ImageReader(1))
    info = prepare_tiny(source, tmp_path / "out")
    train = [e.image_id for e in read_entries(tmp_path / "out" / "train")]
    pixels = np.concatenate([source.read(i).sample.image.ravel() for i in source.items() if i.image_id in train]).astype(np.float64)
    assert info.channels == 1
    assert info.mean == pytest.approx([pixels.mean()], abs=1e-3)
    assert info.std == pytest.approx([pixels.std()], abs=1e-3)


def test_dataset_json_survives_reading(folder: Path) -> None:
    content = json.loads((folder / "dataset.json").read_text())
    assert content["schema_version"] == SCHEMA_VERSION
    assert content["task"] == "instance"
    assert content["classes"] == [{"name": c.name, "color": list(c.color)} for c in CLASSES]
    info = read_info(folder)
    assert info.name == "tiny"
    assert info.classes == CLASSES
    assert info.digest == content["digest"]


def test_a_data_set_without_instances_is_semantic(tmp_path: Path) -> None:
    info = prepare_tiny(folders(write_folders(tmp_path / "raw", list("abcd"))), tmp_path / "out")
    assert info.task == "semantic"
    assert not list((tmp_path / "out").rglob("instances.json"))
    assert read_annotations(tmp_path / "out" / "train") == {}
    entry = read_entries(tmp_path / "out" / "train")[0]
    assert read_sample(tmp_path / "out" / "train", entry, 3).instances.shape == (*SIZE, 0)


@pytest.mark.parametrize("name", SPLITS)
def test_instances_open_in_pycocotools_bit_for_bit(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    coco = COCO(str(folder / name / "instances.json"))
    capsys.readouterr()
    assert {k: c["name"] for k, c in coco.cats.items()} == dict(enumerate(c.name for c in CLASSES))
    assert len(coco.anns) == len({a["id"] for a in coco.dataset["annotations"]}) == len(coco.dataset["annotations"])
    images = {image["file_name"]: number for number, image in coco.imgs.items()}
    entries = read_entries(folder / name)
    assert list(images) == [e.file for e in entries]
    for entry, expected in zip(entries, written(folder, name), strict=True):
        image = coco.imgs[images[entry.file]]
        assert (image["height"], image["width"]) == SIZE
        masks = Blobs().masks(int(entry.image_id.removeprefix("blobs")))
        annotations = coco.loadAnns(coco.getAnnIds([image["id"]]))
        assert len(annotations) == len(masks)
        for annotation, mask, category, crowd in zip(annotations, masks, expected.categories, expected.crowd, strict=True):
            assert np.array_equal(coco.annToMask(annotation), mask)
            assert annotation["area"] == mask.sum()
            assert annotation["category_id"] == category
            assert annotation["iscrowd"] == crowd
            rows, columns = np.nonzero(mask)
            x, y, width, height = annotation["bbox"]
            assert (x, y, x + width, y + height) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_background_is_no_category(tmp_path: Path) -> None:
    classes = [replace(CLASSES[0], name="background"), *CLASSES[1:]]
    prepare(Blobs(), "tiny", classes, Assignment(split(), None), None, tmp_path / "out", 0, "none")
    for name in SPLITS:
        content = json.loads((tmp_path / "out" / name / "instances.json").read_text())
        assert content["categories"] == [{"id": 1, "name": "house"}, {"id": 2, "name": "tree"}, {"id": 3, "name": "road"}]
    assert [c.name for c in read_info(tmp_path / "out").classes] == ["background", "house", "tree", "road"]


def test_an_image_without_instances_and_instances_without_a_pixel_are_read_as_written(tmp_path: Path) -> None:
    semantic, image = np.zeros(SIZE, np.uint8), picture(3)
    ids = np.zeros((*SIZE, 2), np.int32)
    ids[4:6, 7:9, 1] = 2
    hidden = Sample("hidden", image, semantic, ids, np.array([1, 2, 3], np.int32), np.array([False, True, False]))
    none = Sample("none", image, semantic, *no_instances(*SIZE))
    stored = [write_record(tmp_path, Record(sample), len(CLASSES)) for sample in (hidden, none)]
    write_split(tmp_path, stored, CLASSES, with_instances=True)
    annotations, entries = read_annotations(tmp_path), read_entries(tmp_path)
    assert [(a["area"], a["bbox"]) for a in annotations["hidden.png"]] == [(0, [0, 0, 0, 0]), (4, [7, 4, 2, 2]), (0, [0, 0, 0, 0])]
    again = read_sample(tmp_path, entries[0], 3, annotations["hidden.png"])
    assert [mask.sum() for mask in masks_of(again)] == [0, 4, 0]
    assert (again.categories.tolist(), again.crowd.tolist()) == ([1, 2, 3], [False, True, False])
    assert annotations["none.png"] == []
    again = read_sample(tmp_path, entries[1], 3, annotations["none.png"])
    for field in ("image", "semantic", "instances", "categories", "crowd"):
        assert np.array_equal(getattr(again, field), getattr(none, field))
        assert getattr(again, field).dtype == getattr(none, field).dtype


@dataclass(frozen=True)
class Altered(Blobs):
    """Scenes in which one thing is different, in a pixel or in an instance."""

    what: str = ""

    def read(self, item: Item) -> Record:
        sample = super().read(item).sample
        if item.image_id != "blobs4" or not self.what:
            return Record(sample)
        value = getattr(sample, self.what).copy()
        if self.what == "image":
            value[3, 3, 1] ^= 1
        else:  # another class, another id, or another flag
            value.flat[-1] = (value.flat[-1] + 1) % (2 if self.what == "crowd" else 4)
        return Record(replace(sample, **{self.what: value}))


def test_the_digest_stands_for_all_that_there_is(tmp_path: Path) -> None:
    section = split(group=r"^blobs(\d+)")  # by name: a changed pixel moves no image into another split
    digest = prepare_tiny(Altered(), tmp_path / "out", section).digest
    assert prepare_tiny(Altered(), tmp_path / "again", section).digest == digest
    parts = ("image", "semantic", "instances", "categories", "crowd")
    others = {prepare_tiny(Altered(what=part), tmp_path / "out", section).digest for part in parts}
    others.add(prepare_tiny(Altered(), tmp_path / "out", split(group=r"^blobs(\d+)", seed=1)).digest)
    others.add(prepare_tiny(Altered(), tmp_path / "out", section, classes=CLASSES[::-1]).digest)
    assert len(others - {digest}) == 7, "each of five changes, another division into splits, another list of classes"


def test_large_images_are_counted_exactly(tmp_path: Path) -> None:
    """More pixels of one value than a float32 can count, in which OpenCV's histogram is kept."""
    size = (4099, 4099)
    sample = Sample("large", np.full((*size, 1), 9, np.uint8), np.full(size, 2, np.uint8), *no_instances(*size))
    stored = write_record(tmp_path, Record(sample), len(CLASSES))
    assert np.flatnonzero(stored.counts.histogram).tolist() == [9]
    assert stored.counts.histogram[0, 9] == stored.counts.class_pixels[2] == 4099**2


def test_what_is_put_aside_is_as_it_was(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    stored = [write_record(tmp_path, Blobs().read(item), len(CLASSES), 0) for item in Blobs().items()]
    for before, after in zip(stored, [SpooledRecord(s, spool) for s in stored], strict=True):
        for name in ("entry", "annotations", "labels_sha256", "findings", "spacing"):
            assert getattr(after, name) == getattr(before, name)
        for name in ("class_pixels", "histogram", "foreground"):
            assert np.array_equal(getattr(after.counts, name), getattr(before.counts, name))
            assert getattr(after.counts, name).dtype == np.int64


def test_instances_are_written_as_one_call_of_json_would(folder: Path) -> None:
    for name in SPLITS:
        text = (folder / name / "instances.json").read_text()
        assert json.dumps(json.loads(text)) == text


def test_images_that_are_not_kept_as_they_were_become_png(folder: Path) -> None:
    assert {Path(name).suffix for name in tree(folder) if "/images/" in name} == {".png"}
    assert np.array_equal(picture(0), Blobs().read(Blobs().items()[0]).sample.image)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"dataset.json: there is no prepared data set; run `dvc repro` or `seg prepare`, or set paths.prepare"),
        ("{", r"dataset.json: is not JSON \(.*\); run `seg prepare` again"),
        ('{"schema_version": 0}', r"dataset.json: is of another version than \d+; run `seg prepare` again"),
    ],
)
def test_a_folder_that_is_no_prepared_data_set_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(DataError, match=message):
        read_info(tmp_path)


def test_a_split_without_its_files_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"manifest.csv: is missing; run `dvc repro` or `seg prepare` again"):
        read_entries(tmp_path)
    with pytest.raises(DataError, match=r"images/.*png: cannot be read \(No such file or directory\)"):
        read_sample(tmp_path, read_entries(folder / "train")[0], 3)


@pytest.mark.parametrize("name", ["../../../x", "/etc/x", "a/../../x", "..\\x", "", "x" * 2000])
def test_an_id_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    heads = "image_id,file,height,width,num_instances,sha256,phash,spacing\n"
    for row in (f"{name},a.png,1,1,0,0,0,\n", f"a,{name},1,1,0,0,0,\n"):
        (tmp_path / "manifest.csv").write_text(heads + row)
        with pytest.raises(DataError, match=r"manifest\.csv: names the image .*, which is no place in this folder"):
            read_entries(tmp_path)
    (tmp_path / "manifest.csv").write_text(heads + "a/b..c,a/b.png,1,1,0,0,0,\n")
    assert read_entries(tmp_path)[0].image_id == "a/b..c"
    for row in ("a,a.png,many,1,0,0,0,\n", "a\n"):
        (tmp_path / "manifest.csv").write_text(heads + row)
        with pytest.raises(DataError, match=r"manifest\.csv: is damaged"):
            read_entries(tmp_path)
