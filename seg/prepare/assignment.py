"""Which image goes where: planned from names, lists and tables before the long reading, and completed with what was read."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from seg.core.errors import ConfigError, DataError
from seg.data.store import CUT_FROM
from seg.raw.record import Finding, Item, Source, of_several
from seg.sources import splits
from seg.sources.pairing import file_below
from seg.sources.settings import Column, Data, Split, Table
from seg.sources.splits import SPLITS, group_of, presence_of
from seg.storing.write import StoredRecord

UNSPLIT = "unsplit"  # the place of an image whose split is known only when all are read


@dataclass(frozen=True, slots=True)
class Assignment:
    """How images are divided: the section data.split, and data.fold."""

    split: Split
    fold: int | None

    @classmethod
    def of(cls, data: Data) -> "Assignment":
        return cls(data.split, data.fold)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is known before the long reading. places: each image's split, or UNSPLIT. groups: each image's, where images are dealt.
    presence: what a column of a table says to stratify by."""

    items: list[Item]
    places: list[str]
    groups: list[str]
    presence: np.ndarray | None
    findings: list[Finding]


def planned(source: Source, assignment: Assignment, root: Path | None) -> Plan:
    """Raises for all that is wrong with the settings and the layout."""
    split = assignment.split
    splits.check_fold(assignment.fold, split.folds)
    items, findings = source.items(), list[Finding]()
    try:
        listed = _listed(items, split, root)
    except DataError:
        left_out = [finding for finding in source.findings if finding.severity == "error"]  # what a list names may be among them
        if left_out:
            raise DataError(str(left_out[0]), kind=left_out[0].kind) from None
        raise
    if listed is not None:
        unlisted = [item.image_id for item in items if item.image_id not in listed]
        findings += of_several("unlisted-image", "data.split.lists", unlisted, "images stand in no list and are left out")
        items = [item for item in items if item.image_id in listed]
    if not items:
        why = "".join(f"; {finding}" for finding in [*source.findings, *findings][:1])
        fix = "correct the folders and suffixes of data.source, or data.split.lists"
        raise DataError(f"data.source: no image with labels is left{why}; {fix}", kind="empty-split")
    if split.table is not None and root is not None:
        pairs, own = zip(items, _rows(items, split.table, root), strict=True), split.table.id
        items = [replace(item, columns={c: v for c, v in row.items() if c != own} | dict(item.columns)) for item, row in pairs]
    places = [item.split or (listed or {}).get(item.image_id) or UNSPLIT for item in items]
    if missing := _missing(split):
        splits.check_missing(missing, split.ratios, f"data.split.{split.by}")
        places = [UNSPLIT if place == "train" else place for place in places]
    elif UNSPLIT in places and (split.by != "ratios" or split.ratios is None):
        raise DataError(f"data.split.by={split.by}: this source's layout names no splits; set data.split.by=ratios and data.split.ratios")
    if UNSPLIT not in places and assignment.fold is None:
        return Plan(items, places, [], None, findings)
    if split.ratios is not None:
        splits.check_ratios(split.ratios)
    if assignment.fold is not None:
        _refuse_twins(items, places)
    by = split.stratify
    presence = presence_of(_column(items, split, root, by, "data.split.stratify"), by) if isinstance(by, str) else None
    return Plan(items, places, _groups(items, split, root), presence, findings)


def _listed(items: Sequence[Item], split: Split, root: Path | None) -> dict[str, str] | None:
    if split.by == "blocks":
        return splits.by_blocks(dict(zip((item.image_id for item in items), _groups(items, split, root), strict=True)), split.ratios)
    if split.by != "lists":
        return None
    if not split.lists or root is None or sorted(split.lists) != sorted(SPLITS):
        raise DataError("data.split.by=lists: set data.split.lists={train: train.txt, val: val.txt, test: test.txt}, below data.root")
    return splits.by_lists(_names(items), {s: root / f for s, f in split.lists.items() if f})


def _missing(split: Split) -> list[str]:
    """The splits that have no images of their own, and are made of train's."""
    if split.by == "lists":
        return [name for name in SPLITS if not (split.lists or {}).get(name)]
    return [name for name in SPLITS if split.by == "folders" and split.folders and not split.folders.get(name, name)]


def _names(items: Sequence[Item]) -> dict[str, tuple[str, ...]]:
    """{image_id: all that a list or a table may call it}."""
    return {item.image_id: (item.image_id, *item.names) for item in items}


def _refuse_twins(items: Sequence[Item], places: Sequence[str]) -> None:
    """DataError where folds would bring two images of one name into one split."""
    counts = Counter(item.image_id for item, place in zip(items, places, strict=True) if place != "test")
    if twins := [image_id for image_id, count in counts.items() if count > 1]:
        what = f"train and val both have an image {twins[0]}, and folds mix the two"
        raise DataError(f"data.fold: {what}; rename one of them", kind="name-collision")


def _groups(items: Sequence[Item], split: Split, root: Path | None) -> list[str]:
    if isinstance(split.group, Column):
        return _column(items, split, root, split.group.column, "data.split.group.column")
    return [group_of(item.image_id, split.group) for item in items]


def _column(items: Sequence[Item], split: Split, root: Path | None, column: str, key: str) -> list[str]:
    """What a column of the table holds for each image. key: the setting that names it."""
    if split.table is None or root is None:
        fix = "set data.split.table={file: index.csv, id: image_id}, below data.root, or another value for it"
        raise ConfigError(f"{key}={column}: names a column, but there is no table; {fix}")
    return [row[column] for row in _rows(items, split.table, root, column)]


def _rows(items: Sequence[Item], table: Table, root: Path, *columns: str) -> list[dict[str, str]]:
    names = _names(items)
    rows = splits.from_table(names, file_below(root, table.file, None, "data.split.table.file"), table.id, columns)
    found = dict(zip(names, rows, strict=True))
    return [found[item.image_id] for item in items]


def divided(plan: Plan, sound: Sequence[int], stored: Sequence[StoredRecord], assignment: Assignment, num_classes: int) -> list[str]:
    """The split of each image that was read. sound: their places in the plan."""
    places, split = [plan.places[index] for index in sound], assignment.split
    if UNSPLIT not in places and assignment.fold is None:
        return places
    # the same picture twice must not be torn apart
    groups = [plan.groups[index] for index in sound]
    if split.group is None:
        groups = [s.entry.columns.get(CUT_FROM) or s.entry.sha256 for s in stored]
    presence = None if plan.presence is None else plan.presence[list(sound)]
    if split.stratify is True:
        presence = np.array([np.isin(np.arange(num_classes), s.dealt_by) for s in stored])
    if unsplit := [index for index, place in enumerate(places) if place == UNSPLIT]:
        assert split.ratios is not None
        dealt = splits.by_ratios([groups[i] for i in unsplit], None if presence is None else presence[unsplit], split.ratios, split.seed)
        for index, place in zip(unsplit, dealt, strict=True):
            places[index] = place
    return places if assignment.fold is None else splits.by_fold(places, groups, presence, split.folds, assignment.fold, split.seed)
