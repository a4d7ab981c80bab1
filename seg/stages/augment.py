"""`augment`: conf/augment -> policy.json, which training loads, preview.png, and augmented copies of the training split."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from seg.preparation import replaced_folder
from seg.progress import track
from seg.report.sheets import save_preview
from seg.sample import Sample
from seg.schema import Config
from seg.sources.base import Record
from seg.store import (
    DatasetInfo,
    Entry,
    Stored,
    read_annotations,
    read_entries,
    read_info,
    read_sample,
    write_record,
    write_split,
)
from seg.transforms import Policy, check_policy, compile_policy

OUTPUTS = ("policy.json", "preview.png", "augmented.json", "train")


def run(cfg: Config, out: Path) -> None:
    prepared = Path(cfg.paths.prepare)
    info, folder = read_info(prepared), prepared / "train"
    policy = compile_policy(cfg.augment.transforms, cfg.targets.allow)
    entries, annotations = read_entries(folder), read_annotations(folder)

    def read(entry: Entry) -> Sample:
        return read_sample(folder, entry, info.channels, annotations.get(entry.file, ()))

    shown = [read(entries[i]) for i in spread(len(entries), cfg.augment.preview.images)]
    check_policy(policy, shown, cfg.augment.preview.draws, cfg.seed)
    with replaced_folder(out, OUTPUTS) as partial:
        (partial / "policy.json").write_text(policy.to_json())
        rows = [[sample, *draws(policy, sample, cfg.augment.preview.draws, cfg.seed + 1000 * row)] for row, sample in enumerate(shown)]
        save_preview(partial / "preview.png", rows, info.classes)
        stored = store_copies(partial / "train", policy, map(read, entries), len(entries), cfg, info) if cfg.augment.copies else []
        summary = {"policy": cfg.augment.name, "prepared": info.digest, "copies": len(stored), "digest": digest(info, policy, stored)}
        (partial / "augmented.json").write_text(json.dumps(summary, indent=1) + "\n")
    count = len(cfg.augment.transforms)
    print(f"policy {cfg.augment.name}: {count} transforms, {len(stored)} copies; look at {os.path.relpath(out / 'preview.png')}")


def store_copies(folder: Path, policy: Policy, samples: Iterable[Sample], total: int, cfg: Config, info: DatasetInfo) -> list[Stored]:
    """Write `augment.copies` draws of every sample as a split's folder."""
    copies = augmented(policy, samples, cfg.augment.copies, cfg.seed)
    tracked = track(copies, total * cfg.augment.copies, "augmented copies", cfg.runtime.progress)
    stored = [write_record(folder, Record(sample), len(info.classes)) for sample in tracked]
    write_split(folder, stored, info.classes, info.task == "instance")
    return stored


def spread(total: int, wanted: int) -> list[int]:
    """Indices of up to `wanted` images, evenly over the split."""
    return sorted({int(i) for i in np.linspace(0, total - 1, min(total, wanted))})


def draws(policy: Policy, sample: Sample, count: int, seed: int) -> list[Sample]:
    """What the policy makes of one image, `count` times."""
    return [policy(sample, seed + draw) for draw in range(count)]


def augmented(policy: Policy, samples: Iterable[Sample], copies: int, seed: int) -> Iterator[Sample]:
    """`copies` draws of every sample, named after it."""
    for index, sample in enumerate(samples):
        seeds = np.random.default_rng([seed, index]).integers(1 << 32, size=copies)
        for number, drawn_seed in enumerate(seeds, start=1):
            yield replace(policy(sample, int(drawn_seed)), image_id=f"{sample.image_id}_copy{number}")


def digest(info: DatasetInfo, policy: Policy, stored: list[Stored]) -> str:
    """Of everything that training takes from this stage."""
    content = hashlib.sha256((info.digest + policy.to_json()).encode())
    for s in stored:
        content.update(f"{s.entry.image_id} {s.entry.sha256} {s.labels_sha256}\n".encode())
    return content.hexdigest()
