"""Writing the prepared data set that `seg.data.store` describes and reads."""

import csv
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from copy import copy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from seg.core.outputs import JsonList
from seg.data.imagefile import encode_image, encode_png, suffix_for
from seg.data.labelmaps import encode, measure
from seg.data.sample import BACKGROUND, IGNORE, ClassInfo, Sample, validate
from seg.data.store import OWN_COLUMNS, PLACES, SCHEMA_VERSION, DatasetInfo, ManifestEntry, image_of, labels_of, numbers_of
from seg.raw.record import Finding, Record
from seg.storing.duplicates import perceptual_hash, thumbnail
from seg.storing.shards import ShardWriter
from seg.storing.statistics import Counts, Gathered, count, mean_and_std, summarise


@dataclass(frozen=True)
class StoredRecord:
    """What writing one record found out: its entry, and the counts that statistics are made of. annotations: as in COCO, without ids.
    labels_sha256: of the label maps. thumbnail: (48, 48) uint8 gray. findings: the record's. spacing: height and width of a pixel in
    micrometres, where known. dealt_by: the class indices that decide the image's split."""

    entry: ManifestEntry
    counts: Counts
    annotations: list[dict[str, Any]]
    labels_sha256: str
    thumbnail: np.ndarray
    findings: tuple[Finding, ...]
    spacing: tuple[float, float] | None = None
    dealt_by: tuple[int, ...] = ()

    def placed(self, **where: Any) -> "StoredRecord":
        """The same, of a manifest whose images lie elsewhere. where: `stored_in`, `stored_at`."""
        found = copy(self)
        object.__setattr__(found, "entry", replace(self.entry, **where))
        return found


def write_record(
    folder: Path, record: Record, num_classes: int, background: int | None = None, shards: ShardWriter | None = None
) -> StoredRecord:
    """Write one record's image and class map below a split's folder, or to shards. Raises DataError where the sample is not sound.
    background: the index of the class that is no foreground, where there is one."""
    stored, sample = measure_record(record, num_classes, background), record.sample
    data = encode_image(sample.image)[1] if record.encoded is None else record.encoded
    if shards is not None:
        return stored.placed(stored_at=shards.add(stored.entry, data, encode_png(sample.semantic)))
    _write(f"{folder}/images/{stored.entry.file}", data)
    _write(f"{folder}/semantic/{sample.image_id}.png", encode_png(sample.semantic))
    return stored


def packed(folder: Path, stored: Iterable[StoredRecord]) -> list[StoredRecord]:
    """A split's records, whose images go to shards in this order, wherever they lie; its files are removed."""
    with closing(ShardWriter(folder)) as shards:
        read = ((s, image_of(folder, s.entry).read(), labels_of(folder, s.entry).read()) for s in stored)
        found = [s.placed(stored_at=shards.add(s.entry, image, labels)) for s, image, labels in read]
    for part in ("images", "semantic"):
        shutil.rmtree(folder / part, ignore_errors=True)
    return found


def measure_record(record: Record, num_classes: int, background: int | None = None, entry: ManifestEntry | None = None) -> StoredRecord:
    """What writing one record finds out, without writing it. Raises DataError where the sample is not sound. entry: the record's, where it
    is known; it is made where not."""
    sample = record.sample
    validate(sample, num_classes)
    number = len(sample.categories)
    labels = hashlib.sha256()
    for values in (sample.semantic, sample.instances, sample.categories, sample.crowd):
        labels.update(np.ascontiguousarray(values).data)
    small = thumbnail(sample.image)
    entry = entry or _entry_of(record, number, small)
    annotations = _annotations(sample) if number else []
    counts, more = count(sample, background), (record.findings, record.spacing)
    dealt_by = record.classes_before or tuple(np.flatnonzero(counts.class_pixels).tolist())
    return StoredRecord(entry, counts, annotations, labels.hexdigest(), small, *more, dealt_by)


def _entry_of(record: Record, number: int, small: np.ndarray) -> ManifestEntry:
    sample = record.sample
    suffix = suffix_for(sample.image) if record.encoded is None else record.suffix
    sha256 = hashlib.sha256(str(sample.image.shape).encode())
    sha256.update(np.ascontiguousarray(sample.image).data)
    spacing = " ".join(f"{side:.9g}" for side in record.spacing or ())
    phash = f"{perceptual_hash(small):016x}"
    return ManifestEntry(sample.image_id, f"{sample.image_id}{suffix}", *sample.size, number, sha256.hexdigest(), phash, spacing)


def write_split(folder: Path, stored: Sequence[StoredRecord], classes: Sequence[ClassInfo], with_instances: bool) -> None:
    """Write a split's manifest.csv, and instances.json for a data set that has instances. A category's id there is its class's index;
    `background`, of which no instance is, is not listed."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "manifest.csv", "w", encoding="utf-8", newline="") as file:
        columns = (*OWN_COLUMNS, *(place for place in PLACES if any(getattr(s.entry, place) for s in stored)))
        own = [{name: getattr(s.entry, name) for name in columns} for s in stored]
        more = dict.fromkeys(name for s in stored for name in s.entry.columns if name not in (*OWN_COLUMNS, *PLACES))
        writer = csv.DictWriter(file, [*columns, *more], lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows({**s.entry.columns, **row} for s, row in zip(stored, own, strict=True))
    if not with_instances:
        return
    entries = [s.entry for s in stored]
    ids = numbers_of(entries)
    annotations = ({"image_id": ids[s.entry.image_id], **a} for s in stored for a in s.annotations)
    parts: dict[str, Iterable[Mapping[str, Any]]] = {
        "images": ({"id": ids[e.image_id], "file_name": e.file, "height": e.height, "width": e.width} for e in entries),
        "annotations": ({"id": number, **a} for number, a in enumerate(annotations, start=1)),
        "categories": ({"id": index, "name": c.name} for index, c in enumerate(classes) if c.name != BACKGROUND),
    }
    with open(folder / "instances.json", "wb") as file:
        for start, (name, members) in zip(("{", ", ", ", "), parts.items(), strict=True):
            file.write(f'{start}"{name}": '.encode())
            written = JsonList(file, lines=False)
            for member in members:
                written.append(member)
            written.close()
        file.write(b"}")


def write_info(
    folder: Path, name: str, classes: Sequence[ClassInfo], splits: dict[str, list[StoredRecord]], settings: Mapping[str, Any] | None = None
) -> DatasetInfo:
    """Write dataset.json from what was stored. settings: what it was made with, plain values."""
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
        splits={split: count_images(splits[split], len(classes), found) for split, found in gathered.items()},
        digest=digest.hexdigest(),
        statistics=summarise(gathered["train"], classes),
        settings=dict(settings or {}),
    )
    content = {"schema_version": SCHEMA_VERSION, **asdict(info), "classes": known}
    (folder / "dataset.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return info


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


def _gathered(members: Iterable[StoredRecord]) -> Gathered:
    gathered = Gathered()
    for s in members:
        gathered.add(s.counts, (s.entry.height, s.entry.width), s.spacing, s.annotations)
    return gathered


def count_images(members: Sequence[StoredRecord], num_classes: int, gathered: Gathered | None = None) -> dict[str, Any]:
    """The counts of a split, as dataset.json has them. gathered: what its images amount to, where that is known."""
    gathered = gathered or _gathered(members)
    pixels = gathered.counts.class_pixels if gathered.counts else np.zeros(256, np.int64)
    sizes = Counter(f"{height}x{width}" for height, width in gathered.sizes)
    return {
        "num_images": len(members),
        "num_instances": sum(s.entry.num_instances for s in members),
        "class_pixels": pixels[:num_classes].tolist(),
        "class_images": gathered.class_images[:num_classes].tolist(),
        "class_image_pixels": gathered.class_image_pixels[:num_classes].tolist(),
        "ignored_pixels": int(pixels[IGNORE]),
        "sizes": dict(sorted(sizes.items())),
    }


def _write(path: str, data: bytes) -> None:
    try:
        with open(path, "wb") as file:
            file.write(data)
    except FileNotFoundError:  # the first of its folder
        os.makedirs(os.path.dirname(path), exist_ok=True)
        _write(path, data)
