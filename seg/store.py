"""The prepared data set on disk, which everything downstream reads: dataset.json, and a folder a split.

dataset.json                     schema version, task, classes, channels, counts, statistics, digest
{train,val,test}/manifest.csv    a row an image: image_id, file, height, width, instances, sha256 and perceptual hash of its pixels
{train,val,test}/images/         the images, their original bytes where nothing had to change
{train,val,test}/semantic/*.png  class indices, 255 = ignore
{train,val,test}/instances.json  COCO with RLE, where the data set has instances
"""

import csv
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from seg.duplicates import perceptual_hash, thumbnail
from seg.errors import DataError
from seg.findings import Finding
from seg.imagefile import decode_image, decode_index, encode_png, read_bytes
from seg.labelmaps import Rle, decode, encode, measure
from seg.sample import BACKGROUND, IGNORE, ClassInfo, Sample, no_instances, validate
from seg.sources.base import Record

SCHEMA_VERSION = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of a manifest: an image that is stored. `file` is relative to the split's images/.

    sha256: of its pixels. phash: 64 bits in hexadecimal, as `seg.duplicates.perceptual_hash` has them.
    """

    image_id: str
    file: str
    height: int
    width: int
    num_instances: int
    sha256: str
    phash: str


@dataclass(frozen=True, slots=True)
class Stored:
    """What writing one record found out: its entry, and the counts that statistics are made of.

    class_pixels: (256,) int64, by class index. histogram: (C, 256) int64 of the image. annotations: as in COCO, without
    ids. labels_sha256: of the label maps. thumbnail: (48, 48) uint8 gray. findings: the record's.
    """

    entry: Entry
    class_pixels: np.ndarray
    histogram: np.ndarray
    annotations: list[dict[str, Any]]
    labels_sha256: str
    thumbnail: np.ndarray
    findings: tuple[Finding, ...]


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

    @property
    def class_pixels(self) -> list[int]:
        return list(self.splits["train"]["class_pixels"])


def write_record(folder: Path, record: Record, num_classes: int) -> Stored:
    """Write one record's image and class map below a split's folder. Raises DataError where the sample is not sound."""
    stored, sample = measure_record(record, num_classes), record.sample
    for path, content in (
        (folder / "images" / stored.entry.file, encode_png(sample.image) if record.encoded is None else record.encoded),
        (_label_path(folder, sample.image_id), encode_png(sample.semantic)),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return stored


def measure_record(record: Record, num_classes: int) -> Stored:
    """What writing one record finds out, without writing it. Raises DataError where the sample is not sound."""
    sample = record.sample
    validate(sample, num_classes)
    file = f"{sample.image_id}{'.png' if record.encoded is None else record.suffix}"
    count = len(sample.categories)
    (areas, boxes), rles = measure(sample.instances, count), encode(sample.instances, count)
    annotations = [
        {
            "category_id": int(sample.categories[i]),
            "iscrowd": int(sample.crowd[i]),
            "bbox": [int(x1), int(y1), int(x2 - x1), int(y2 - y1)],
            "area": int(areas[i]),
            "segmentation": rles[i],
        }
        for i, (x1, y1, x2, y2) in enumerate(boxes)
    ]
    maps = (sample.semantic, sample.instances, sample.categories, sample.crowd)
    labels = hashlib.sha256(b"".join(m.tobytes() for m in maps))
    height, width = sample.size
    sha256 = hashlib.sha256(str(sample.image.shape).encode() + sample.image.tobytes()).hexdigest()
    small = thumbnail(sample.image)
    entry = Entry(sample.image_id, file, height, width, count, sha256, f"{perceptual_hash(small):016x}")
    return Stored(
        entry,
        np.bincount(sample.semantic.ravel(), minlength=256),
        _histogram(sample.image),
        annotations,
        labels.hexdigest(),
        small,
        record.findings,
    )


def write_split(folder: Path, stored: Sequence[Stored], classes: Sequence[ClassInfo], with_instances: bool) -> None:
    """Write a split's manifest.csv, and instances.json for a data set that has instances.

    A category's id there is its class's index; `background`, of which no instance is, is not listed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "manifest.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Entry)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(s.entry) for s in stored)
    if not with_instances:
        return
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, s in enumerate(stored, start=1):
        images.append({"id": number, "file_name": s.entry.file, "height": s.entry.height, "width": s.entry.width})
        annotations += [{"id": len(annotations) + 1 + i, "image_id": number, **a} for i, a in enumerate(s.annotations)]
    categories = [{"id": index, "name": c.name} for index, c in enumerate(classes) if c.name != BACKGROUND]
    (folder / "instances.json").write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))


def write_info(folder: Path, name: str, classes: Sequence[ClassInfo], splits: dict[str, list[Stored]]) -> DatasetInfo:
    """Write dataset.json from what was stored."""
    stored = [s for split in splits.values() for s in split]
    mean, std = mean_and_std(np.sum([s.histogram for s in splits["train"]], axis=0))
    digest = hashlib.sha256()
    for split in sorted(splits):
        for s in splits[split]:
            digest.update(f"{split} {s.entry.image_id} {s.entry.sha256} {s.labels_sha256}\n".encode())
    known = [{"name": c.name, "color": c.color} for c in classes]
    digest.update(json.dumps(known).encode())
    info = DatasetInfo(
        name=name,
        task="instance" if any(s.annotations for s in stored) else "semantic",
        classes=list(classes),
        channels=len(stored[0].histogram),
        mean=mean,
        std=std,
        splits={split: count_images(members, len(classes)) for split, members in splits.items()},
        digest=digest.hexdigest(),
    )
    (folder / "dataset.json").write_text(json.dumps({"schema_version": SCHEMA_VERSION, **asdict(info), "classes": known}, indent=1) + "\n")
    return info


def mean_and_std(histogram: np.ndarray) -> tuple[list[float], list[float]]:
    """A channel's mean and standard deviation over all pixels, from counts (C, 256); 0..255."""
    levels = np.arange(256)
    total = histogram.sum(axis=1)
    mean = histogram @ levels / total
    std = np.sqrt(np.maximum(histogram @ levels**2 / total - mean**2, 0))
    return [round(float(m), 4) for m in mean], [round(float(s), 4) for s in std]


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
                Entry(r["image_id"], r["file"], int(r["height"]), int(r["width"]), int(r["num_instances"]), r["sha256"], r["phash"])
                for r in csv.DictReader(file)
            ]
    except OSError:
        raise DataError(f"{path}: is missing; run `dvc repro` or `seg prepare` again") from None


def read_sample(folder: Path, entry: Entry, channels: int, annotations: Sequence[dict[str, Any]] = ()) -> Sample:
    """One sample of a split's folder, with the instances that `annotations` hold."""
    image_path, label_path = folder / "images" / entry.file, _label_path(folder, entry.image_id)
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


def _label_path(folder: Path, image_id: str) -> Path:
    return folder / "semantic" / f"{image_id}.png"


def _histogram(image: np.ndarray) -> np.ndarray:
    planes = [np.ascontiguousarray(image[..., c]) for c in range(image.shape[2])]
    if image.shape[0] * image.shape[1] < 1 << 24:  # OpenCV counts in float32
        return np.stack([cv2.calcHist([p], [0], None, [256], [0, 256]).ravel().astype(np.int64) for p in planes])
    return np.stack([np.bincount(p.ravel(), minlength=256) for p in planes])


def count_images(stored: Iterable[Stored], num_classes: int) -> dict[str, Any]:
    """The counts of a split, as dataset.json has them."""
    members = list(stored)
    pixels = sum((s.class_pixels for s in members), np.zeros(256, np.int64))
    holding = sum(((s.class_pixels > 0).astype(np.int64) for s in members), np.zeros(256, np.int64))
    sizes: dict[str, int] = {}
    for s in members:
        size = f"{s.entry.height}x{s.entry.width}"
        sizes[size] = sizes.get(size, 0) + 1
    return {
        "num_images": len(members),
        "num_instances": sum(s.entry.num_instances for s in members),
        "class_pixels": pixels[:num_classes].tolist(),
        "class_images": holding[:num_classes].tolist(),
        "ignored_pixels": int(pixels[IGNORE]),
        "sizes": dict(sorted(sizes.items())),
    }
