"""The prepared data set on disk, which everything downstream reads: dataset.json, and a folder a split.

dataset.json                     schema version, task, classes, channels, counts, statistics, digest
{train,val,test}/manifest.csv    a row an image: image_id, file, height, width, instances, sha256 and perceptual hash of its pixels
{train,val,test}/images/         original bytes where nothing had to change; else PNG, or .npy for other than 1, 3, 4 channels
{train,val,test}/semantic/*.png  class indices, 255 = ignore
{train,val,test}/instances.json  COCO with RLE, where the data set has instances

docs/data.md describes each file and key.
"""

import csv
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from seg.duplicates import perceptual_hash, thumbnail
from seg.errors import DataError
from seg.findings import Finding
from seg.imagefile import decode_image, decode_index, encode_image, encode_png, read_bytes, suffix_for
from seg.labelmaps import Rle, decode, encode, measure
from seg.sample import BACKGROUND, IGNORE, ClassInfo, Sample, no_instances, validate
from seg.sources.base import Record
from seg.statistics import Counts, Gathered, count, mean_and_std, summarise

SCHEMA_VERSION = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of a manifest: an image that is stored. `file` is relative to the split's images/.

    sha256: of its pixels. phash: 64 bits in hexadecimal, as `seg.duplicates.perceptual_hash` has them. columns: what the user's table
    says of the image, by column.
    """

    image_id: str
    file: str
    height: int
    width: int
    num_instances: int
    sha256: str
    phash: str
    columns: Mapping[str, str] = field(default_factory=dict)


OWN_COLUMNS = tuple(f.name for f in fields(Entry) if f.name != "columns")
"""Of a manifest; those of a table come behind."""


@dataclass(frozen=True)
class Stored:
    """What writing one record found out: its entry, and the counts that statistics are made of.

    class_pixels: (256,) int64, by class index. histogram: (C, 256) int64 of the image. annotations: as in COCO, without
    ids. labels_sha256: of the label maps. thumbnail: (48, 48) uint8 gray. findings: the record's. foreground: (C, 256) int64,
    the histogram of the foreground. spacing: height and width of a pixel in micrometres, where known.
    """

    entry: Entry
    class_pixels: np.ndarray
    histogram: np.ndarray
    annotations: list[dict[str, Any]]
    labels_sha256: str
    thumbnail: np.ndarray
    findings: tuple[Finding, ...]
    foreground: np.ndarray | None = None
    spacing: tuple[float, float] | None = None

    @property
    def counts(self) -> Counts:
        """The counts as one."""
        return Counts(self.class_pixels, self.histogram, self.histogram if self.foreground is None else self.foreground)


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """dataset.json. class_pixels: pixels of each class in the training split. mean, std: a channel's, 0..255, there too."""

    name: str
    task: str
    classes: list[ClassInfo]
    channels: int
    mean: list[float]
    std: list[float]
    splits: dict[str, dict[str, Any]]
    digest: str
    statistics: dict[str, Any] = field(default_factory=dict)

    @property
    def class_pixels(self) -> list[int]:
        return list(self.splits["train"]["class_pixels"])


def write_record(folder: Path, record: Record, num_classes: int, background: int | None = None) -> Stored:
    """Write one record's image and class map below a split's folder. Raises DataError where the sample is not sound.

    background: the index of the class that is no foreground, where there is one.
    """
    stored, sample = measure_record(record, num_classes, background), record.sample
    data = encode_image(sample.image)[1] if record.encoded is None else record.encoded
    _write(f"{folder}/images/{stored.entry.file}", data)
    _write(f"{folder}/semantic/{sample.image_id}.png", encode_png(sample.semantic))
    return stored


def measure_record(record: Record, num_classes: int, background: int | None = None) -> Stored:
    """What writing one record finds out, without writing it. Raises DataError where the sample is not sound."""
    sample = record.sample
    validate(sample, num_classes)
    suffix = suffix_for(sample.image) if record.encoded is None else record.suffix
    number = len(sample.categories)
    labels = hashlib.sha256()
    for values in (sample.semantic, sample.instances, sample.categories, sample.crowd):
        labels.update(np.ascontiguousarray(values).data)
    sha256 = hashlib.sha256(str(sample.image.shape).encode())
    sha256.update(np.ascontiguousarray(sample.image).data)
    small = thumbnail(sample.image)
    phash = f"{perceptual_hash(small):016x}"
    entry = Entry(sample.image_id, f"{sample.image_id}{suffix}", *sample.size, number, sha256.hexdigest(), phash)
    counts, annotations = count(sample, background), _annotations(sample) if number else []
    return Stored(
        entry,
        counts.class_pixels,
        counts.histogram,
        annotations,
        labels.hexdigest(),
        small,
        record.findings,
        counts.foreground,
        record.spacing,
    )


def numbers_of(entries: Iterable[Entry]) -> dict[str, int]:
    """{image_id: its id in the split's instances.json}: its place in the order of all image_ids, from 1.

    Where scores are equal, COCO's tools take images by these ids, and `seg.metrics.instance` by image_id: the figures are the same.
    """
    return {image_id: number for number, image_id in enumerate(sorted(entry.image_id for entry in entries), start=1)}


def write_split(folder: Path, stored: Sequence[Stored], classes: Sequence[ClassInfo], with_instances: bool) -> None:
    """Write a split's manifest.csv, and instances.json for a data set that has instances.

    A category's id there is its class's index; `background`, of which no instance is, is not listed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "manifest.csv", "w", newline="") as file:
        own = [{name: getattr(s.entry, name) for name in OWN_COLUMNS} for s in stored]
        more = dict.fromkeys(name for s in stored for name in s.entry.columns if name not in OWN_COLUMNS)
        writer = csv.DictWriter(file, [*OWN_COLUMNS, *more], lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows({**s.entry.columns, **row} for s, row in zip(stored, own, strict=True))
    if not with_instances:
        return
    ids = numbers_of(s.entry for s in stored)
    images: Iterator[dict[str, Any]] = (
        {"id": ids[s.entry.image_id], "file_name": s.entry.file, "height": s.entry.height, "width": s.entry.width} for s in stored
    )
    annotations = ({"image_id": ids[s.entry.image_id], **a} for s in stored for a in s.annotations)
    categories = ({"id": index, "name": c.name} for index, c in enumerate(classes) if c.name != BACKGROUND)
    parts: dict[str, Iterable[Mapping[str, Any]]] = {
        "images": images,
        "annotations": ({"id": number, **a} for number, a in enumerate(annotations, start=1)),
        "categories": categories,
    }
    with open(folder / "instances.json", "w") as file:  # part by part, as all of it may be too much for the memory
        for start, (name, members) in zip(("{", ", ", ", "), parts.items(), strict=True):
            file.write(f'{start}"{name}": [')
            file.writelines(f"{', ' if number else ''}{json.dumps(member)}" for number, member in enumerate(members))
            file.write("]")
        file.write("}")


def write_info(folder: Path, name: str, classes: Sequence[ClassInfo], splits: dict[str, list[Stored]]) -> DatasetInfo:
    """Write dataset.json from what was stored."""
    digest = hashlib.sha256()
    for split in sorted(splits):
        for s in splits[split]:
            digest.update(f"{split} {s.entry.image_id} {s.entry.sha256} {s.labels_sha256}\n".encode())
    known = [{"name": c.name, "color": c.color} for c in classes]
    digest.update(json.dumps(known).encode())
    gathered = {split: _gathered(members) for split, members in splits.items()}
    counts = gathered["train"].counts
    assert counts is not None
    mean, std = mean_and_std(counts.histogram)
    info = DatasetInfo(
        name=name,
        task="instance" if any(s.entry.num_instances for members in splits.values() for s in members) else "semantic",
        classes=list(classes),
        channels=len(counts.histogram),
        mean=mean,
        std=std,
        splits={split: _counts(splits[split], found, len(classes)) for split, found in gathered.items()},
        digest=digest.hexdigest(),
        statistics=summarise(gathered["train"], classes),
    )
    (folder / "dataset.json").write_text(json.dumps({"schema_version": SCHEMA_VERSION, **asdict(info), "classes": known}, indent=1) + "\n")
    return info


def read_info(folder: Path) -> DatasetInfo:
    """dataset.json; DataError where the folder is no prepared data set of this version."""
    path = folder / "dataset.json"
    try:
        content = json.loads(path.read_text())
    except OSError:
        raise DataError(f"{path}: there is no prepared data set; run `dvc repro` or `seg prepare`, or set paths.prepare") from None
    except ValueError as error:
        raise DataError(f"{path}: is not JSON ({error}); run `seg prepare` again") from None
    if content.pop("schema_version", None) != SCHEMA_VERSION:
        raise DataError(f"{path}: is of another version than {SCHEMA_VERSION}; run `seg prepare` again")
    classes = [ClassInfo(c["name"], tuple(c["color"])) for c in content.pop("classes")]
    return DatasetInfo(classes=classes, **content)


def read_entries(folder: Path) -> list[Entry]:
    """The manifest of a split's folder."""
    path = folder / "manifest.csv"
    try:
        with open(path, newline="") as file:
            return [
                Entry(
                    r["image_id"],
                    r["file"],
                    int(r["height"]),
                    int(r["width"]),
                    int(r["num_instances"]),
                    r["sha256"],
                    r["phash"],
                    {name: value for name, value in r.items() if name not in OWN_COLUMNS},
                )
                for r in csv.DictReader(file)
            ]
    except OSError:
        raise DataError(f"{path}: is missing; run `dvc repro` or `seg prepare` again") from None


def read_sample(folder: Path, entry: Entry, channels: int, annotations: Sequence[dict[str, Any]] = ()) -> Sample:
    """One sample of a split's folder, with the instances that `annotations` hold."""
    image_path, label_path = folder / "images" / entry.file, folder / "semantic" / f"{entry.image_id}.png"
    image = decode_image(read_bytes(image_path), channels, image_path)
    semantic = decode_index(read_bytes(label_path), label_path)
    instances, categories, crowd = no_instances(*semantic.shape)
    if annotations:
        rles: list[Rle] = [a["segmentation"] for a in annotations]
        instances = decode(rles, *semantic.shape)
        categories = np.array([a["category_id"] for a in annotations], np.int32)
        crowd = np.array([a["iscrowd"] for a in annotations], bool)
    return Sample(entry.image_id, image, semantic, instances, categories, crowd)


def read_annotations(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """{image file: its COCO annotations} of a split's folder; empty without instances.json."""
    path = folder / "instances.json"
    if not path.is_file():
        return {}
    content = json.loads(path.read_text())
    names = {image["id"]: image["file_name"] for image in content["images"]}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names.values()}
    for annotation in content["annotations"]:
        found[names[annotation["image_id"]]].append(annotation)
    return found


def _write(path: str, data: bytes) -> None:
    try:
        with open(path, "wb") as file:
            file.write(data)
    except FileNotFoundError:  # the first of its folder
        os.makedirs(os.path.dirname(path), exist_ok=True)
        _write(path, data)


def count_images(members: Sequence[Stored], num_classes: int) -> dict[str, Any]:
    """The counts of a split, as dataset.json has them."""
    return _counts(members, _gathered(members), num_classes)


def _annotations(sample: Sample) -> list[dict[str, Any]]:
    number = len(sample.categories)
    (areas, boxes), rles = measure(sample.instances, number), encode(sample.instances, number)
    return [
        {
            "category_id": int(sample.categories[i]),
            "iscrowd": int(sample.crowd[i]),
            "bbox": [int(x1), int(y1), int(x2 - x1), int(y2 - y1)],
            "area": int(areas[i]),
            "segmentation": rles[i],
        }
        for i, (x1, y1, x2, y2) in enumerate(boxes)
    ]


def _gathered(members: Iterable[Stored]) -> Gathered:
    gathered = Gathered()
    for s in members:
        gathered.add(s.counts, (s.entry.height, s.entry.width), s.spacing, s.annotations)
    return gathered


def _counts(members: Sequence[Stored], gathered: Gathered, num_classes: int) -> dict[str, Any]:
    pixels = gathered.counts.class_pixels if gathered.counts else np.zeros(256, np.int64)
    sizes: dict[str, int] = {}
    for height, width in gathered.sizes:
        sizes[f"{height}x{width}"] = sizes.get(f"{height}x{width}", 0) + 1
    return {
        "num_images": len(members),
        "num_instances": sum(s.entry.num_instances for s in members),
        "class_pixels": pixels[:num_classes].tolist(),
        "class_images": gathered.class_images[:num_classes].tolist(),
        "ignored_pixels": int(pixels[IGNORE]),
        "sizes": dict(sorted(sizes.items())),
    }
