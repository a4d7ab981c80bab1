"""`id_maps`: a folder of images and a folder of id maps (gray PNG or TIFF, 8 or 16 bit, 0 = no instance), paired by name."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from seg.csvfile import read_rows
from seg.errors import ConfigError, DataError, did_you_mean
from seg.findings import Finding
from seg.imagefile import decode_index, read_bytes
from seg.sample import ClassInfo
from seg.schema import Split
from seg.sources.base import Item, Record
from seg.sources.images import ImageReader
from seg.sources.instance_sample import background_of, categories_of, instance_sample
from seg.sources.pairing import Layout, file_below, paired, parts_of, refuse_other_size
from seg.splits import by_name

EXACT_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")
COLUMNS = ("image", "id", "class")


class IdMaps:
    """Images under `root`/`images`, id maps of the same relative name under `root`/`masks`; ids may have gaps.

    category: the class of all instances; or categories: a CSV file below `root` with the columns image, id and class, a row
    an instance, or a table a split with `{split}` in its name. One of the two is null. The other arguments are as for
    `seg.sources.folders.Folders`.
    """

    with_instances = True

    def __init__(
        self,
        root: str,
        images: str,
        masks: str,
        mask_suffix: str,
        skip_unlabelled: bool,
        category: str | None,
        categories: str | None,
        classes: Sequence[ClassInfo],
        reader: ImageReader,
        split: Split,
    ) -> None:
        self.findings: list[Finding] = []
        parts = parts_of(split, "{split}/images", images=images, masks=masks)
        self.layout = Layout(Path(root), images, masks, mask_suffix, skip_unlabelled, parts)
        self.known, self.background, self.reader = categories_of(classes), background_of(classes), reader
        if (category is None) == (categories is None):
            raise ConfigError(
                f"data.source.category={category} and data.source.categories={categories}: one must name the class of all instances, "
                "or a CSV file of their classes, and the other must be null"
            )
        if category is not None and category not in self.known:
            hint = did_you_mean(category, self.known, "classes")
            raise ConfigError(f"data.source.category={category}: no class of data.classes has this name; {hint}")
        self.category = None if category is None else self.known[category]
        self.categories = categories

    def items(self) -> list[Item]:
        items = paired(self.layout, self.findings)
        for item in items:
            if Path(item.files[1]).suffix.lower() not in EXACT_SUFFIXES:
                raise DataError(
                    f"{item.files[1]}: may have lost its exact values, expected {', '.join(EXACT_SUFFIXES)}; save id maps as PNG"
                )
        if self.categories is None:
            return items
        groups = [[i for i in items if i.split == part] for part in self.layout.parts] if "{split}" in self.categories else [items]
        paths = [file_below(self.layout.root, self.categories, group[0].split, "data.source.categories") for group in groups]
        return [item for group, path in zip(groups, paths, strict=True) for item in self._with_classes(group, path)]

    def read(self, item: Item) -> Record:
        path, map_path = (Path(f) for f in item.files)
        raw = self.reader.read(path)
        image = raw.pixels
        values = decode_index(read_bytes(map_path), map_path, "save the id map as a gray PNG of 8 or 16 bit")
        refuse_other_size(map_path, values.shape, path, image.shape[:2])
        present = np.unique(values)
        if present[0] < 0:
            raise DataError(f"{map_path}: has the value {present[0]}, expected ids from 1 and 0 for no instance")
        present = present[present > 0]
        ids = (np.searchsorted(present, values).astype(np.int32) + 1) * (values > 0)
        categories, findings = self._categories(item, map_path, [int(i) for i in present])
        sample = instance_sample(item.image_id, image, ids[:, :, None], categories, np.zeros(len(present), bool), self.background)
        return raw.record(sample, findings)

    def _categories(self, item: Item, path: Path, present: list[int]) -> tuple[np.ndarray, tuple[Finding, ...]]:
        """The class index of each id that is present, and a finding on ids that only the table has."""
        if self.category is not None:
            return np.full(len(present), self.category), ()
        table = {int(number): index for number, index in json.loads(item.labels).items()}
        if missing := [number for number in present if number not in table]:
            more = f" (and {len(missing) - 1} more ids)" if len(missing) > 1 else ""
            raise DataError(f"{path}: the id {missing[0]}{more} has no row in {self.categories}; add image, id and class there")
        unseen = sorted(table.keys() - set(present))
        what = f"{len(unseen)} ids of {self.categories} are in no pixel and are left out, such as {unseen[0] if unseen else ''}"
        findings = (Finding("empty-instance", str(path), what, image_id=item.image_id),) if unseen else ()
        return np.array([table[number] for number in present], np.int32), findings

    def _with_classes(self, items: Sequence[Item], path: Path) -> list[Item]:
        """The items, each with the class index of its ids as text; DataError for a row that fits no class, or two images."""
        known, shared = by_name({str(number): (item.image_id, *item.names) for number, item in enumerate(items)})
        tables: list[dict[int, int]] = [{} for _ in items]
        others = []
        for line, row in read_rows(path, COLUMNS):
            where, name = f"{path}, line {line}", row["image"]
            if row["class"] not in self.known:
                hint = did_you_mean(row["class"], self.known, "classes")
                raise DataError(f"{where}: no class of data.classes has the name '{row['class']}'; {hint}")
            if not (row["id"].isdecimal() and int(row["id"]) > 0):
                raise DataError(f"{where}: has the id '{row['id']}', expected a whole number from 1")
            if name in shared:
                first, second = (items[int(i)].files[0] for i in (known[name], shared[name]))
                raise DataError(f"{where}: '{name}' may be {first} or {second}; write more of the path, or give a table a split")
            if name not in known:
                others.append(name)
                continue
            index = self.known[row["class"]]
            if tables[int(known[name])].setdefault(int(row["id"]), index) != index:
                raise DataError(f"{where}: the id {row['id']} of '{name}' has another class in a line before; remove one of them")
        if others:
            what = f"{len(others)} rows are of no image here and are passed over, such as '{others[0]}'"
            self.findings.append(Finding("label-without-image", str(path), what))
        return [replace(item, labels=json.dumps(table)) for item, table in zip(items, tables, strict=True)]
