"""A source of raw data -> the prepared data set: read in parallel, split, checked, counted, written whole or not at all."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from seg.doctor.check import Diagnosis, check, write_diagnosis
from seg.doctor.facts import Examined, Facts, facts_of
from seg.environment import num_cores
from seg.errors import ConfigError, DataError, InputError
from seg.findings import Finding, counted, finding_of
from seg.outputs import replaced_folder
from seg.progress import track
from seg.sample import ClassInfo
from seg.schema import Column, Data, Split
from seg.sources.base import Item, Source
from seg.sources.pairing import file_below
from seg.splits import SPLITS, by_fold, by_lists, by_ratios, check_fold, check_ratios, from_table, group_of, presence_of
from seg.store import DatasetInfo, Stored, measure_record, write_info, write_record, write_split

UNSPLIT = "unsplit"
SEE_ALL = "to see all, run `seg doctor` with the same settings (in the pipeline: `seg doctor -cn pipeline`)"
ALONE_BELOW = 64  # images for which starting processes costs more than it gains


@dataclass(frozen=True, slots=True)
class Division:
    """How images are divided: the section data.split, and data.fold."""

    split: Split
    fold: int | None

    @classmethod
    def of(cls, data: Data) -> "Division":
        return cls(data.split, data.fold)


@dataclass(frozen=True, slots=True)
class Examination:
    """What was read of a source. examined: the images that are sound, in order; items: of each image, by split and image_id."""

    examined: list[Examined]
    diagnosis: Diagnosis
    items: dict[tuple[str | None, str], Item]


def prepare(
    source: Source,
    name: str,
    classes: Sequence[ClassInfo],
    division: Division,
    root: Path | None,
    out: Path,
    workers: int | str,
    progress: str,
) -> tuple[DatasetInfo, list[Finding]]:
    """Write the prepared data set of `source` to the folder `out`, which is replaced as a whole; and what the doctor says of it.

    Raises DataError (naming the file and the fix) for anything unsound; then `out` is left as it was.
    """
    with replaced_folder(out, (*SPLITS, "dataset.json", "doctor.json")) as partial:
        examination = examine(source, classes, division, root, workers, progress, partial)
        refuse(examination.diagnosis.errors)
        stored: dict[str, list[Stored]] = {s: [e.stored for e in examination.examined if e.split == s] for s in SPLITS}
        with_instances = any(e.stored.entry.num_instances for e in examination.examined)
        for split, members in stored.items():
            write_split(partial / split, members, classes, with_instances)
        write_diagnosis(partial / "doctor.json", examination.diagnosis, classes, root)
        return write_info(partial, name, classes, stored), examination.diagnosis.findings


def refuse(errors: Sequence[Finding]) -> None:
    """Raise DataError where there are any: the first, and how many there are of each kind."""
    if errors:
        more = f"\n  of {len(errors)} errors ({counted(errors)}); {SEE_ALL}" if len(errors) > 1 else ""
        raise DataError(f"{errors[0]}{more}", kind=errors[0].kind)


def examine(
    source: Source,
    classes: Sequence[ClassInfo],
    division: Division,
    root: Path | None,
    workers: int | str,
    progress: str,
    folder: Path | None,
) -> Examination:
    """Read, divide and check every image; those that are sound are stored in `folder`, by their split, or nowhere.

    What is wrong with a file or with the splits becomes a finding; a layout or settings that give no images are raised.
    """
    plan = _planned(source, division, root)
    results = _read_all(source, plan, folder, len(classes), workers, progress)
    sound = [index for index, result in enumerate(results) if not isinstance(result, Finding)]
    found = [result for result in results if not isinstance(result, Finding)]
    findings = [result for result in results if isinstance(result, Finding)]
    places, divided = [plan.places[index] for index in sound], bool(sound)
    try:
        if sound:
            places = _divided(plan, sound, [stored for stored, _ in found], division, len(classes))
    except DataError as error:
        findings.append(finding_of(error))
        divided = UNSPLIT not in places
    examined = [
        Examined(place, _file_of(plan.items[index]), stored, facts)
        for index, place, (stored, facts) in zip(sound, places, found, strict=True)
    ]
    if folder is not None:
        for index, image in zip(sound, examined, strict=True):
            _move(folder, image.stored, plan.places[index], image.split)
        shutil.rmtree(folder / UNSPLIT, ignore_errors=True)
    diagnosis = check(examined, classes, source.with_instances, divided)
    findings += [*plan.findings, *source.findings]
    findings += [replace(f, split=image.split, image_id=image.stored.entry.image_id) for image in examined for f in image.stored.findings]
    items = {(item.split, item.image_id): item for item in plan.items}
    items |= {(image.split, image.stored.entry.image_id): plan.items[index] for index, image in zip(sound, examined, strict=True)}
    all_findings = sorted([*findings, *diagnosis.findings], key=lambda f: f.severity)  # errors first
    return Examination(examined, Diagnosis(all_findings, diagnosis.summary), items)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is known before the long reading. places: each image's split, or UNSPLIT. groups: each image's, where images are dealt.
    presence: what a column of a table says to stratify by."""

    items: list[Item]
    places: list[str]
    groups: list[str]
    presence: np.ndarray | None
    findings: list[Finding]


def _planned(source: Source, division: Division, root: Path | None) -> _Plan:
    """Raises for all that is wrong with the settings and the layout."""
    split = division.split
    check_fold(division.fold, split.folds)
    items, findings = source.items(), []
    listed = _listed(items, split, root)
    if listed is not None:
        unlisted = [item.image_id for item in items if item.image_id not in listed]
        if unlisted:
            what = f"{len(unlisted)} images stand in no list and are left out, such as {unlisted[0]}"
            findings.append(Finding("unlisted-image", "data.split.lists", what))
        items = [item for item in items if item.image_id in listed]
    places = [item.split or (listed or {}).get(item.image_id) or UNSPLIT for item in items]
    if UNSPLIT in places and (split.by != "ratios" or split.ratios is None):
        raise DataError(f"data.split.by={split.by}: this source's layout names no splits; set data.split.by=ratios and data.split.ratios")
    if UNSPLIT not in places and division.fold is None:
        return _Plan(items, places, [], None, findings)
    if split.ratios is not None:
        check_ratios(split.ratios)
    if division.fold is not None:
        _refuse_twins(items, places)
    return _Plan(items, places, _groups(items, split, root), _table_presence(items, split, root), findings)


def _listed(items: Sequence[Item], split: Split, root: Path | None) -> dict[str, str] | None:
    if split.by != "lists":
        return None
    if not split.lists or root is None or sorted(split.lists) != sorted(SPLITS):
        raise DataError("data.split.by=lists: set data.split.lists={train: train.txt, val: val.txt, test: test.txt}, below data.root")
    return by_lists(_names(items), {s: root / f for s, f in split.lists.items()})


def _names(items: Sequence[Item]) -> dict[str, tuple[str, ...]]:
    """{image_id: all that a list or a table may call it}."""
    return {item.image_id: (item.image_id, *item.names) for item in items}


def _refuse_twins(items: Sequence[Item], places: Sequence[str]) -> None:
    """DataError where folds would bring two images of one name into one split."""
    counts = Counter(item.image_id for item, place in zip(items, places, strict=True) if place != "test")
    if twins := [image_id for image_id, count in counts.items() if count > 1]:
        raise DataError(
            f"data.fold: train and val both have an image {twins[0]}, and folds mix the two; rename one of them", kind="name-collision"
        )


def _groups(items: Sequence[Item], split: Split, root: Path | None) -> list[str]:
    if isinstance(split.group, Column):
        return _column(items, split, root, split.group.column, "data.split.group.column")
    return [group_of(item.image_id, split.group) for item in items]


def _table_presence(items: Sequence[Item], split: Split, root: Path | None) -> np.ndarray | None:
    if isinstance(split.stratify, bool):
        return None
    return presence_of(_column(items, split, root, split.stratify, "data.split.stratify"), split.stratify)


def _column(items: Sequence[Item], split: Split, root: Path | None, column: str, key: str) -> list[str]:
    """What a column of the table holds for each image. key: the setting that names it."""
    if split.table is None or root is None:
        raise ConfigError(
            f"{key}={column}: names a column, but there is no table; "
            "set data.split.table={file: index.csv, id: image_id}, below data.root, or another value for it"
        )
    table = file_below(root, split.table.file, None, "data.split.table.file")
    names = _names(items)
    found = dict(zip(names, from_table(names, table, split.table.id, column), strict=True))
    return [found[item.image_id] for item in items]


def _divided(plan: _Plan, sound: Sequence[int], stored: Sequence[Stored], division: Division, num_classes: int) -> list[str]:
    """The split of each image that was read. sound: their places in the plan."""
    places, split = [plan.places[index] for index in sound], division.split
    if UNSPLIT not in places and division.fold is None:
        return places
    # the same picture twice must not be torn apart
    groups = [s.entry.sha256 for s in stored] if split.group is None else [plan.groups[index] for index in sound]
    presence = None if plan.presence is None else plan.presence[list(sound)]
    if split.stratify is True:
        presence = np.array([s.class_pixels[:num_classes] > 0 for s in stored])
    if UNSPLIT in places:
        assert split.ratios is not None
        places = by_ratios(groups, presence, split.ratios, split.seed)
    return places if division.fold is None else by_fold(places, groups, presence, split.folds, division.fold, split.seed)


def _read_all(
    source: Source, plan: _Plan, folder: Path | None, num_classes: int, workers: int | str, progress: str
) -> list[tuple[Stored, Facts] | Finding]:
    """Read, and perhaps store, every item; of a bad one, what is wrong with it."""
    jobs = list(zip(plan.items, plan.places, strict=True))
    what = "images read" if folder is None else "images prepared"
    return list(track(_results(source, jobs, folder, num_classes, workers), len(jobs), what, progress))


def _results(
    source: Source, jobs: Sequence[tuple[Item, str]], folder: Path | None, num_classes: int, workers: int | str
) -> Iterator[tuple[Stored, Facts] | Finding]:
    count = num_cores() if workers == "auto" else int(workers)
    if count <= 1 or len(jobs) < ALONE_BELOW:
        _start_worker(source, folder, num_classes)
        yield from map(_store, jobs)
        return
    with ProcessPoolExecutor(count, get_context("spawn"), _start_worker, (source, folder, num_classes)) as pool:
        yield from pool.map(_store, jobs, chunksize=max(1, min(32, len(jobs) // (4 * count))))


_worker: dict[str, Any] = {}  # of a worker process: what each of its jobs needs


def _start_worker(source: Source, folder: Path | None, num_classes: int) -> None:
    cv2.setNumThreads(1)
    _worker.update(source=source, folder=folder, num_classes=num_classes)


def _store(job: tuple[Item, str]) -> tuple[Stored, Facts] | Finding:
    item, place = job
    folder, num_classes = _worker["folder"], _worker["num_classes"]
    try:
        record = _worker["source"].read(item)
        stored = measure_record(record, num_classes) if folder is None else write_record(folder / place, record, num_classes)
        return stored, facts_of(record.sample, stored)
    except InputError as error:
        return finding_of(error, item.files, item.image_id, item.split)


def _file_of(item: Item) -> str:
    """The raw file of an image, or its name where the source draws its own."""
    return item.files[0] if item.files and "/" in item.files[0] else item.image_id


def _move(folder: Path, stored: Stored, origin: str, split: str) -> None:
    if origin == split:
        return
    for part, file in (("images", stored.entry.file), ("semantic", f"{stored.entry.image_id}.png")):
        target = folder / split / part / file
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder / origin / part / file, target)
