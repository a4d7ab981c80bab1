"""`divide`: prepared data -> data/folds: a view of the data for each fold, which is its validation split, and folds.csv."""

import csv
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seg.core.errors import ConfigError, DataError, plural
from seg.core.outputs import replaced_folder
from seg.core.urls import place_of
from seg.data.store import CUT_FROM, DatasetInfo, ManifestEntry, read_annotations, read_entries, read_info, read_sample
from seg.plan.settings import MOST_FOLDS, PlanSettings
from seg.raw.record import Record
from seg.runtime.settings import Paths
from seg.settings.section import Sections
from seg.sources.settings import Column, Split
from seg.sources.splits import cut, deal_folds, group_of, presence_of
from seg.storing.statistics import background_index
from seg.storing.write import StoredRecord, measure_record, write_info, write_split

TABLE = "folds.csv"


class Settings(Sections):
    MADE = ("data",)
    plan: PlanSettings
    paths: Paths


def run(cfg: Settings, out: Path) -> None:
    folds, prepared = cfg.plan.folds, place_of(cfg.paths.prepare)
    if folds is None:
        raise ConfigError("plan.folds=null: there are no folds to divide the images into; set plan.folds=5, say")
    info = read_info(prepared)
    if "split" not in info.settings:
        raise ConfigError(f"{prepared}: does not say how its images are divided, which folds go on with; make it by `seg prepare`")
    images = [(split, record) for split in info.in_folds for record in measured(prepared, info, split)]
    test = [("test", record) for record in measured(prepared, info, "test")] if "test" not in info.in_folds else []
    presence = np.array([record.counts.class_pixels[: len(info.classes)] > 0 for _, record in images])
    dealt = folds_of([record.entry for _, record in images], presence, Split.model_validate(info.settings["split"]), folds)
    with replaced_folder(out, (TABLE, *map(str, range(1, MOST_FOLDS + 1)))) as partial:
        for fold in range(1, folds + 1):
            val = [image for image, its in zip(images, dealt, strict=True) if its == fold]
            train = [image for image, its in zip(images, dealt, strict=True) if its != fold]
            write_view(partial / str(fold), prepared, info, {"train": train, "val": val, "test": test})
            print(f"fold {fold}: {plural(len(val), 'image')}, and {len(train)} to learn from")
        with open(partial / TABLE, "w", encoding="utf-8", newline="") as file:
            rows = [(record.entry.image_id, split, fold) for (split, record), fold in zip(images, dealt, strict=True)]
            csv.writer(file, lineterminator="\n").writerows([("image_id", "split", "fold"), *rows])
    kept = f"; the {plural(len(test), 'image')} of test are in none" if test else ", those of test too, as no list or folder names them"
    print(f"{plural(len(images), 'image')} in {folds} folds{kept}")


def folds_of(entries: Sequence[ManifestEntry], presence: np.ndarray, split: Split, folds: int) -> list[int]:
    """The fold of each image, from 1, by its group, its classes and the seed of `split`, as images are divided into splits.

    Images that are the same, pixel for pixel, are a group where none is named, and so are the tiles of one image. Blocks of neighbours
    stay blocks. presence: (images, classes) bool. DataError where a fold would be empty."""
    if twins := [image_id for image_id, count in Counter(entry.image_id for entry in entries).items() if count > 1]:
        raise DataError(f"plan.folds: two splits both have an image {twins[0]}, and folds mix them; rename one of the two")
    if isinstance(split.group, Column):
        groups = [entry.columns[split.group.column] for entry in entries]
    elif split.by == "blocks" or split.group is not None:
        groups = [group_of(entry.columns.get(CUT_FROM) or entry.image_id, split.group) for entry in entries]
    else:
        groups = [entry.columns.get(CUT_FROM) or entry.sha256 for entry in entries]
    if (count := len(set(groups))) < folds:
        named = "groups of images (data.split.group)" if split.group is not None else "different images"
        advice = f"set plan.folds={count} or fewer, or add images" if count > 1 else "add images"
        raise DataError(f"plan.folds={folds}: there are {count} {named}, and each fold needs one; {advice}")
    if split.by == "blocks":
        blocks = cut(dict(zip((entry.image_id for entry in entries), groups, strict=True)), [1 / folds] * folds)
        if empty := set(range(folds)) - set(blocks.values()):
            what = f"no group of neighbours falls into fold {min(empty) + 1}, as groups (data.split.group) are of very different sizes"
            raise DataError(f"plan.folds={folds}: {what}; set fewer folds")
        return [blocks[entry.image_id] + 1 for entry in entries]
    kinds: np.ndarray | None = presence if split.stratify is True else None
    if isinstance(split.stratify, str):
        kinds = presence_of([entry.columns[split.stratify] for entry in entries], split.stratify)
    return [fold + 1 for fold in deal_folds(groups, kinds, folds, split.seed)]


def measured(prepared: Path, info: DatasetInfo, split: str) -> list[StoredRecord]:
    """What writing the images of a split found out, found out again."""
    folder, background = prepared / split, background_index(info.classes)
    annotations, found = read_annotations(folder), []
    for entry in read_entries(folder):
        sample = read_sample(folder, entry, info.channels, annotations.get(entry.file, ()))
        found.append(measure_record(Record(sample, spacing=entry.pixel_size), len(info.classes), background, entry))
    return found


def write_view(folder: Path, prepared: Path, info: DatasetInfo, splits: dict[str, list[tuple[str, StoredRecord]]]) -> None:
    """Write a view: manifests, annotations and statistics of its own, and none of the images, as its manifests say where these are stored.
    splits: of each of its splits, the images, and in which split of `prepared` each is stored."""
    stored = {
        split: [record.placed(stored_in=os.path.relpath(prepared / home, folder / split)) for home, record in members]
        for split, members in splits.items()
    }
    for split, members in stored.items():
        write_split(folder / split, members, info.classes, info.task == "instance")
    write_info(folder, info.name, info.classes, stored, info.settings)
