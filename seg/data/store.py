"""The prepared data set on disk, which everything downstream reads: dataset.json, and a folder a split. `seg.storing.write` writes it.

dataset.json                     schema version, task, classes, channels, counts, statistics, digest, settings
{train,val,test}/manifest.csv    a row an image: image_id, file, height, width, instances, sha256 and perceptual hash of its pixels
{train,val,test}/images/         original bytes where nothing had to change; else PNG, or .npy for other than 1, 3, 4 channels
{train,val,test}/semantic/*.png  class indices, 255 = ignore
{train,val,test}/instances.json  COCO with RLE, where the data set has instances
{train,val,test}/shards/*.tar    in the place of images/ and semantic/ of a large data set: `seg.data.shards`

docs/data.md describes each file and key."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from seg.core.errors import DataError
from seg.core.textfile import json_of
from seg.data.imagefile import decode_image, decode_index
from seg.data.labelmaps import decode
from seg.data.rle import Rle
from seg.data.sample import ClassInfo, Range, Sample, no_instances
from seg.data.shards import Stored, members_of

SCHEMA_VERSION = 5


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """A row of a manifest: an image that is stored. `file` is relative to the split's images/.

    sha256: of its pixels. phash: 64 bits in hexadecimal, as `seg.storing.duplicates.perceptual_hash` has them. spacing: height and width of
    a pixel in micrometres, as `0.25 0.5`; empty where the file does not say. columns: what the user's table says of the image, by column.
    stored_in: the folder that holds images/ and semantic/, seen from the manifest's; empty where it is the manifest's own.
    stored_at: in shards: the shard, seen from that folder, and the first byte and the length of the image and of its class map."""

    image_id: str
    file: str
    height: int
    width: int
    num_instances: int
    sha256: str
    phash: str
    spacing: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    stored_in: str = ""
    stored_at: str = ""

    @property
    def pixel_size(self) -> tuple[float, float] | None:
        """Height and width of a pixel in micrometres, where known."""
        sides = [float(side) for side in self.spacing.split()]
        return (sides[0], sides[1]) if sides else None


# of a manifest; those of places come behind where an image has one, then those of a table
PLACES = ("stored_in", "stored_at")
OWN_COLUMNS = tuple(f.name for f in fields(ManifestEntry) if f.name not in ("columns", *PLACES))
CUT_FROM = "cut_from"  # the column that names the image of which a tile was cut, where `prepare` did that


@dataclass(frozen=True, slots=True)
class ClassCounts:
    """Of each class: its pixels, and the labelled pixels of all classes in the images in which it occurs."""

    pixels: Sequence[int]
    of_images: Sequence[int]


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """dataset.json. mean, std: a channel's, 0..255, in the training split. settings: the section `data` that it was prepared with."""

    name: str
    task: str
    classes: list[ClassInfo]
    channels: int
    mean: list[float]
    std: list[float]
    splits: dict[str, dict[str, Any]]
    digest: str
    statistics: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def range(self) -> Range:
        """The values of images deeper than 8 bit that became 0 and 255."""
        return self.settings.get("range")

    @property
    def in_folds(self) -> tuple[str, ...]:
        """The splits that folds divide: all, but for a test split that the data set names and that was not drawn from its images."""
        split = self.settings.get("split") or {}
        lists, folders = split.get("lists") or {}, split.get("folders") or {}
        drawn = {"ratios": True, "blocks": True, "lists": not lists.get("test"), "folders": not folders.get("test", "test")}
        return ("train", "val", "test") if drawn.get(split.get("by", "")) else ("train", "val")

    @property
    def things(self) -> tuple[int, ...]:
        """The classes that have instances in the training split; others are stuff."""
        found = self.statistics.get("instances") or {}
        return tuple(index for index, c in enumerate(self.classes) if c.name in found)

    @property
    def class_counts(self) -> ClassCounts:
        """Of the training split. Old checkpoints know of all images together alone; they bring the weights made of that."""
        counts = self.splits["train"]
        pixels = list(counts["class_pixels"])
        return ClassCounts(pixels, list(counts.get("class_image_pixels", [sum(pixels)] * len(pixels))))


def images_of_tiles(entries: Iterable[ManifestEntry]) -> dict[str, list[str]]:
    """{image: the image_ids of its tiles}; of an image that is whole its own."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        found.setdefault(entry.columns.get(CUT_FROM) or entry.image_id, []).append(entry.image_id)
    return found


def numbers_of(entries: Iterable[ManifestEntry]) -> dict[str, int]:
    """{image_id: its id in the split's instances.json}: its place in the order of all image_ids, from 1. Where scores are equal, COCO's
    tools take images by these ids, and `seg.metrics.instance` by image_id: the figures are the same."""
    return {image_id: number for number, image_id in enumerate(sorted(entry.image_id for entry in entries), start=1)}


def read_info(folder: Path) -> DatasetInfo:
    """dataset.json; DataError where the folder is no prepared data set of this version."""
    path = folder / "dataset.json"
    try:
        content = json_of(path.read_bytes())
    except OSError:
        raise DataError(f"{path}: there is no prepared data set; run `dvc repro` or `seg prepare`, or set paths.prepare") from None
    except ValueError as error:
        raise DataError(f"{path}: is not JSON ({error}); run `seg prepare` again") from None
    if not isinstance(content, dict) or content.pop("schema_version", None) != SCHEMA_VERSION:
        raise DataError(f"{path}: is of another version than {SCHEMA_VERSION}; run `seg prepare` again")
    try:
        return DatasetInfo(classes=[ClassInfo(c["name"], tuple(c["color"])) for c in content.pop("classes")], **content)
    except (KeyError, TypeError):
        raise DataError(f"{path}: is damaged; run `seg prepare` again") from None


def read_entries(folder: Path) -> list[ManifestEntry]:
    """The manifest of a split's folder."""
    path = folder / "manifest.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            entries = [_entry(row) for row in csv.DictReader(file)]
    except OSError:
        raise DataError(f"{path}: is missing; run `dvc repro` or `seg prepare` again") from None
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise DataError(f"{path}: is damaged ({type(error).__name__}: {str(error)[:100]}); run `seg prepare` again") from None
    _refuse_outside(entries, path)
    for place in {entry.stored_in for entry in entries} - {""}:
        if not ((folder / place).resolve().parent / "dataset.json").is_file():
            raise DataError(f"{path}: its images lie in {folder / place}, which is no split of a prepared data set; run `dvc repro` again")
    return entries


def _entry(row: dict[str, str]) -> ManifestEntry:
    own: dict[str, Any] = {name: row[name] for name in OWN_COLUMNS}
    numbers = {name: int(row[name]) for name in ("height", "width", "num_instances")}
    others = {name: value for name, value in row.items() if name not in (*OWN_COLUMNS, *PLACES)}
    return ManifestEntry(**(own | numbers), columns=others, stored_in=row.get("stored_in", ""), stored_at=row.get("stored_at", ""))


def _refuse_outside(entries: Iterable[ManifestEntry], path: Path) -> None:
    """DataError where an id or a file's name leads out of the folder: a manifest may have been made by someone else."""
    for entry in entries:
        shard, *numbers = entry.stored_at.rsplit(" ", 4)
        if shard and not (len(numbers) == 4 and all(n.isdecimal() for n in numbers)):
            raise DataError(f"{path}: is damaged (stored_at={entry.stored_at[:100]!r}); run `seg prepare` again")
        for name in (entry.image_id, entry.file, *[shard] * bool(shard)):
            place = PurePosixPath(name)
            if not name or place.is_absolute() or ".." in place.parts or "\\" in name or "\0" in name or len(name) > 1000:
                raise DataError(f"{path}: names the image {name[:100]!r}, which is no place in this folder; run `seg prepare` again")


def read_sample(folder: Path, entry: ManifestEntry, channels: int, annotations: Sequence[dict[str, Any]] = ()) -> Sample:
    """One sample of a split's folder, with the instances that `annotations` hold."""
    stored, labels = image_of(folder, entry), labels_of(folder, entry)
    image = decode_image(stored.read(), channels, stored.path)
    semantic = decode_index(labels.read(), labels.path)
    instances, categories, crowd = no_instances(*semantic.shape)
    if annotations:
        rles: list[Rle] = [a["segmentation"] for a in annotations]
        instances = decode(rles, *semantic.shape)
        categories = np.array([a["category_id"] for a in annotations], np.int32)
        crowd = np.array([a["iscrowd"] for a in annotations], bool)
    return Sample(entry.image_id, image, semantic, instances, categories, crowd)


def image_of(folder: Path, entry: ManifestEntry) -> Stored:
    """Where the bytes of an image of a split's folder lie."""
    return _stored(folder, entry, 0)


def labels_of(folder: Path, entry: ManifestEntry) -> Stored:
    """Where the bytes of its class map lie."""
    return _stored(folder, entry, 1)


def _stored(folder: Path, entry: ManifestEntry, which: int) -> Stored:
    home = folder / entry.stored_in
    if not entry.stored_at:
        return Stored(home / (f"semantic/{entry.image_id}.png" if which else f"images/{entry.file}"))
    shard, *numbers = entry.stored_at.rsplit(" ", 4)
    start, size = map(int, numbers[2 * which : 2 * which + 2])
    return Stored(home / shard, members_of(entry.image_id, entry.file)[which], start, size)


def read_annotations(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """{image file: its COCO annotations} of a split's folder; empty without instances.json."""
    path = folder / "instances.json"
    if not path.is_file():
        return {}
    try:
        content = json_of(path.read_bytes())
        names = {image["id"]: image["file_name"] for image in content["images"]}
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in names.values()}
        for annotation in content["annotations"]:
            found[names[annotation["image_id"]]].append(annotation)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: is damaged ({type(error).__name__}: {error}); run `seg prepare` again") from None
    return found
