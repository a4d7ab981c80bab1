"""`augment`: conf/augment -> policy.json, which training loads, preview.png, and augmented copies of the training split.

Instances are read, shown and stored where the task trains on them."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np

from seg.augment.policy import Policy, check_policy, compile_policy
from seg.augment.settings import Augment
from seg.core.errors import ConfigError
from seg.core.outputs import replaced_folder
from seg.core.urls import place_of
from seg.data.sample import ClassInfo, Sample
from seg.data.store import DatasetInfo, ManifestEntry, read_annotations, read_entries, read_info, read_sample
from seg.pictures.sheets import save_preview
from seg.raw.record import Record
from seg.runtime.progress import track
from seg.runtime.settings import Paths, Runtime
from seg.settings.section import Count, Sections, Targets
from seg.settings.task import Task
from seg.storing.shards import ShardWriter
from seg.storing.write import StoredRecord, write_record, write_split

OUTPUTS = ("policy.json", "preview.png", "augmented.json", "train")

Draw = Callable[[int, int], Sample]  # (index of an image, seed) -> what the policy makes of it


class Settings(Sections):
    MADE = ("data",)
    augment: Augment
    task: Task
    seed: Count
    paths: Paths
    runtime: Runtime
    targets: Targets


def run(cfg: Settings, out: Path) -> None:
    prepared = place_of(cfg.paths.prepare)
    info, folder = read_info(prepared), prepared / "train"
    policy = compile_policy(cfg.augment, cfg.targets.allow, info.classes)
    with_instances = cfg.task.instances and info.task == "instance"
    if policy.copy_paste.p and not with_instances:
        reason = f"task={cfg.task.name} reads no instances" if info.task == "instance" else f"{prepared} has no instances"
        raise ConfigError(f"augment.copy_paste.p={policy.copy_paste.p:g}: {reason}; set augment.copy_paste.p=0, or another augment")
    entries, annotations = read_entries(folder), read_annotations(folder) if with_instances else {}

    def read(index: int) -> Sample:
        entry = entries[index]
        return read_sample(folder, entry, info.channels, annotations.get(entry.file, ()))

    def draw(index: int, seed: int) -> Sample:
        return policy.draw_from(read, len(entries), index, seed)

    shown = {index: read(index) for index in spread(len(entries), cfg.augment.preview.images)}
    check_policy(policy, list(shown.values()), cfg.augment.preview.draws, cfg.seed)
    with replaced_folder(out, OUTPUTS) as partial:
        (partial / "policy.json").write_text(policy.to_json(), encoding="utf-8")
        numbers = range(cfg.augment.preview.draws)
        rows = [[stored, *(draw(i, cfg.seed + 1000 * row + n) for n in numbers)] for row, (i, stored) in enumerate(shown.items())]
        save_preview(partial / "preview.png", rows, info.classes)
        copies = store_copies(partial / "train", draw, entries, cfg, info.classes, with_instances) if cfg.augment.copies else []
        summary = {"policy": cfg.augment.name, "prepared": info.digest, "copies": len(copies), "digest": digest(info, policy, copies)}
        (partial / "augmented.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    count = len(cfg.augment.transforms)
    crops = f"crops of {policy.crop.size[0]}x{policy.crop.size[1]}, " if policy.crop else ""
    print(f"policy {cfg.augment.name}: {crops}{count} transforms, {len(copies)} copies; look at {os.path.relpath(out / 'preview.png')}")


def store_copies(
    folder: Path, draw: Draw, entries: Sequence[ManifestEntry], cfg: Settings, classes: Sequence[ClassInfo], with_instances: bool
) -> list[StoredRecord]:
    """Write `augment.copies` draws of every image as a split's folder, in shards where the images are."""
    copies = augmented(draw, [e.image_id for e in entries], cfg.augment.copies, cfg.seed)
    tracked = track(copies, len(entries) * cfg.augment.copies, "augmented copies", cfg.runtime.progress)
    with closing(ShardWriter(folder)) if entries[0].stored_at else nullcontext() as shards:
        stored = [write_record(folder, Record(sample), len(classes), shards=shards) for sample in tracked]
    write_split(folder, stored, classes, with_instances)
    return stored


def spread(total: int, wanted: int) -> list[int]:
    """Indices of up to `wanted` images, evenly over the split."""
    return sorted({int(i) for i in np.linspace(0, total - 1, min(total, wanted))})


def augmented(draw: Draw, image_ids: Sequence[str], copies: int, seed: int) -> Iterator[Sample]:
    """`copies` draws of every image, named after it."""
    for index, image_id in enumerate(image_ids):
        seeds = np.random.default_rng([seed, index]).integers(1 << 32, size=copies)
        for number, drawn_seed in enumerate(seeds, start=1):
            yield replace(draw(index, int(drawn_seed)), image_id=f"{image_id}_copy{number}")


def digest(info: DatasetInfo, policy: Policy, stored: list[StoredRecord]) -> str:
    """Of everything that training takes from this stage."""
    content = hashlib.sha256((info.digest + policy.to_json()).encode())
    for s in stored:
        content.update(f"{s.entry.image_id} {s.entry.sha256} {s.labels_sha256}\n".encode())
    return content.hexdigest()
