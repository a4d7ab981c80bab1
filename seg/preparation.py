"""A source of raw data -> the prepared data set: read and checked in parallel, split, counted, written whole or not at all."""

import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from seg.checks import refuse_empty, refuse_leaks, refuse_no_instances, refuse_one_class
from seg.environment import keep_freed_memory, num_cores
from seg.errors import ConfigError, DataError, InputError
from seg.findings import Finding
from seg.progress import track
from seg.sample import ClassInfo
from seg.schema import Split
from seg.sources.base import Item, Source
from seg.sources.pairing import file_below
from seg.splits import SPLITS, by_lists, by_ratios, check_ratios, from_table, group_of, presence_of
from seg.spool import Spool
from seg.statistics import background_index
from seg.store import DatasetInfo, SetAside, Stored, write_info, write_record, write_split

UNSPLIT = "unsplit"
ALONE_BELOW = 64  # images for which starting processes costs more than it gains


def prepare(
    source: Source,
    name: str,
    classes: Sequence[ClassInfo],
    split: Split,
    root: Path | None,
    out: Path,
    workers: int | str,
    progress: str,
) -> DatasetInfo:
    """Write the prepared data set of `source` to the folder `out`, which is replaced as a whole.

    Raises DataError (naming the file and the fix) for anything unsound; then `out` is left as it was.
    """
    items = source.items()
    listed = _listed(items, split, root)
    if listed is not None:
        unlisted = [item.image_id for item in items if item.image_id not in listed]
        if unlisted:
            what = f"{len(unlisted)} images stand in no list and are left out, such as {unlisted[0]}"
            source.findings.append(Finding("unlisted-image", "data.split.lists", what))
        items = [item for item in items if item.image_id in listed]
    places = [item.split or (listed or {}).get(item.image_id) or UNSPLIT for item in items]
    groups, presence = _planned(items, split, root) if UNSPLIT in places else ([], None)  # before the long reading
    with replaced_folder(out, (*SPLITS, "dataset.json")) as partial:
        found = _read_all(source, items, places, partial, classes, workers, progress)
        if UNSPLIT in places:
            assigned = _by_ratios(groups, presence, found, split, len(classes))
            for stored, target in zip(found, assigned, strict=True):
                _move(partial, stored, target)
            places = assigned
            shutil.rmtree(partial / UNSPLIT)
        splits: dict[str, list[Stored]] = {s: [f for f, p in zip(found, places, strict=True) if p == s] for s in SPLITS}
        refuse_empty(splits)
        refuse_leaks(splits)
        if source.with_instances:
            refuse_no_instances(splits)
        else:
            refuse_one_class(found, classes)
        with_instances = any(s.entry.num_instances for s in found)
        for target, members in splits.items():
            write_split(partial / target, members, classes, with_instances)
        source.findings.extend(finding for stored in found for finding in stored.findings)
        return write_info(partial, name, classes, splits)


class replaced_folder:  # noqa: N801 - reads as a verb, `with replaced_folder(out, OWN) as partial`
    """A folder to write into, beside `out`; it takes out's place when the block ends well and is removed when not.

    own: the names that may be replaced in `out`. DataError where it holds anything else; Hydra's own records are kept.
    """

    def __init__(self, out: Path, own: Sequence[str]) -> None:
        self.out, self.own = out, set(own)
        self.partial, self.former = (out.with_name(f"{out.name}.{name}") for name in ("partial", "former"))

    def __enter__(self) -> Path:
        there = list(self.out.iterdir()) if self.out.is_dir() else []
        if foreign := sorted(path.name for path in there if path.name not in self.own and not _is_record(path)):
            raise DataError(f"{self.out}: holds {foreign[0]}, which is not this command's; it would be lost: write to another folder")
        for left in (self.partial, self.former):  # of a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        self.partial.mkdir(parents=True)
        return self.partial

    def __exit__(self, kind: Any, *_: object) -> None:
        if kind is None:
            for record in filter(_is_record, self.out.iterdir() if self.out.is_dir() else ()):
                os.replace(record, self.partial / record.name)
            if self.out.exists():  # moved before it is removed: a folder half removed would look like a whole one
                os.replace(self.out, self.former)
            os.replace(self.partial, self.out)
            shutil.rmtree(self.former, ignore_errors=True)
        else:
            shutil.rmtree(self.partial, ignore_errors=True)


def _is_record(path: Path) -> bool:
    return path.name == ".hydra" or path.suffix == ".log"


def _listed(items: Sequence[Item], split: Split, root: Path | None) -> dict[str, str] | None:
    if split.by != "lists":
        return None
    if not split.lists or root is None or sorted(split.lists) != sorted(SPLITS):
        raise DataError("data.split.by=lists: set data.split.lists={train: train.txt, val: val.txt, test: test.txt}, below data.root")
    return by_lists(_names(items), {s: root / f for s, f in split.lists.items()})


def _names(items: Sequence[Item]) -> dict[str, tuple[str, ...]]:
    """{image_id: all that a list or a table may call it}."""
    return {item.image_id: (item.image_id, *item.names) for item in items}


def _planned(items: Sequence[Item], split: Split, root: Path | None) -> tuple[list[str], np.ndarray | None]:
    """Each image's group, and what a column of a table says to stratify by; raises for all that is wrong with data.split."""
    if split.by != "ratios" or split.ratios is None:
        raise DataError(f"data.split.by={split.by}: this source's layout names no splits; set data.split.by=ratios and data.split.ratios")
    check_ratios(split.ratios)
    groups = [group_of(item.image_id, split.group) for item in items]
    if isinstance(split.stratify, bool):
        return groups, None
    if split.table is None or root is None:
        raise ConfigError(
            f"data.split.stratify={split.stratify}: names a column, but there is no table; "
            "set data.split.table={file: index.csv, id: image_id}, below data.root, or data.split.stratify=true or false"
        )
    table = file_below(root, split.table.file, None, "data.split.table.file")
    return groups, presence_of(from_table(_names(items), table, split.table.id, split.stratify), split.stratify)


def _by_ratios(groups: Sequence[str], presence: np.ndarray | None, found: Sequence[Stored], split: Split, num_classes: int) -> list[str]:
    assert split.ratios is not None
    if split.group is None:  # the same picture twice must not be torn apart
        groups = [stored.entry.sha256 for stored in found]
    if split.stratify is True:
        presence = np.stack([s.class_pixels[:num_classes] > 0 for s in found])
    return by_ratios(groups, presence, split.ratios, split.seed)


def _read_all(
    source: Source,
    items: Sequence[Item],
    places: Sequence[str],
    partial: Path,
    classes: Sequence[ClassInfo],
    workers: int | str,
    progress: str,
) -> list[Stored]:
    """Read and store every item; every bad one is found before the first is reported."""
    jobs = list(zip(items, places, strict=True))
    found: list[Stored] = []
    errors: list[str] = []
    spool = Spool(partial)
    for result in track(_results(source, jobs, partial, classes, workers), len(jobs), "images prepared", progress):
        if isinstance(result, Stored):
            found.append(SetAside(result, spool))
        else:
            errors.append(result)
    if errors:
        more = f"\n  and {len(errors) - 1} more bad files: " + "; ".join(e.split(": ")[0] for e in errors[1:6]) if len(errors) > 1 else ""
        raise DataError(errors[0] + more)
    return found


def _results(
    source: Source, jobs: Sequence[tuple[Item, str]], partial: Path, classes: Sequence[ClassInfo], workers: int | str
) -> Iterator[Stored | str]:
    count = num_cores() if workers == "auto" else int(workers)
    if count <= 1 or len(jobs) < ALONE_BELOW:
        _start_worker(source, partial, classes)
        yield from map(_store, jobs)
        return
    with ProcessPoolExecutor(count, get_context("spawn"), _start_worker, (source, partial, classes)) as pool:
        yield from pool.map(_store, jobs, chunksize=max(1, min(32, len(jobs) // (4 * count))))


_worker: dict[str, Any] = {}  # of a worker process: what each of its jobs needs


def _start_worker(source: Source, partial: Path, classes: Sequence[ClassInfo]) -> None:
    cv2.setNumThreads(1)
    _worker.update(source=source, partial=partial, num_classes=len(classes), background=background_index(classes))
    if parent := parent_process():  # not the main process
        keep_freed_memory()
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    """End this worker as soon as its parent has ended, however that was: it must not write into the next run's folder."""
    parent.join()
    os._exit(1)


def _store(job: tuple[Item, str]) -> Stored | str:
    item, place = job
    try:
        record = _worker["source"].read(item)
        return write_record(_worker["partial"] / place, record, _worker["num_classes"], _worker["background"])
    except InputError as error:
        return str(error)


def _move(partial: Path, stored: Stored, split: str) -> None:
    for part, file in (("images", stored.entry.file), ("semantic", f"{stored.entry.image_id}.png")):
        target = partial / split / part / file
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(partial / UNSPLIT / part / file, target)
