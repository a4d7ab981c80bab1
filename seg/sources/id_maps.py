"""`id_maps`: a folder of images and a folder of id maps (0 = no instance, every other value is one), paired by name."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from seg.core.errors import DataError, and_more
from seg.core.textfile import composed
from seg.data.decoders import Window
from seg.data.imagefile import decode_color, decode_palette, index_of
from seg.raw.record import Finding, Item, Record, of_several
from seg.sources.base import Masks, Named
from seg.sources.class_map import Segment, SegmentClasses, category_index, check_choice, refuse_both_or_neither
from seg.sources.content import read_rows
from seg.sources.masks import GRAYS, gray_values, mask_of, numbered, packed
from seg.sources.pairing import Part, file_below, refuse_other_size, unique
from seg.sources.splits import by_name

OTHER_IDS = "set data.source.ids=rgb where an id is R + 256 G + 65536 B of a colour, or ids=palette for a palette PNG's indices"
COLUMNS = ("image", "id", "class")


class IdMaps(Masks, Named):
    """Id maps, whose ids may have gaps. categories: a row an instance, or a table a split with `{split}` in its name."""

    ids: str
    category: str | None
    categories: str | None

    WINDOWS = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("data.source.ids", self.ids, ("index", "rgb", "palette"))
        self.segments = SegmentClasses(self.classes)
        self.class_map = self.named_classes()
        meaning = "name the class of all instances, or a CSV file of their classes"
        refuse_both_or_neither(meaning, category=self.category, categories=self.categories)
        self.index = None if self.category is None else category_index(self.category, self.segments.categories, "category")

    def items(self) -> list[Item]:
        if self.categories is None:
            return super().items()
        if "{split}" not in self.categories:
            return self._with_classes(super().items(), None)
        parts = [(part, unique(self._part(part))) for part in self.parts]
        return [item for part, items in parts for item in self._with_classes(items, part)]

    def read(self, item: Item) -> Record:
        path, map_path = (Path(f) for f in item.files)
        raw = self.reader.read(path, item.window)
        values = self.read_mask(map_path, item.window)
        refuse_other_size(map_path, values.shape, path, raw.pixels.shape[:2])
        present, places = numbered(values)
        if present[0] < 0:
            raise DataError(f"{map_path}: has the value {present[0]}, expected ids from 1 and 0 for no instance", kind="unknown-value")
        indices, findings = self._indices(item, map_path, [int(i) for i in present if i])
        segments = [Segment(indices[int(i)], thing=True) if i else self.segments.nothing for i in present]
        return raw.record(self.segments.sample(item.image_id, raw.pixels, places, segments), findings)

    def read_mask(self, path: Path, window: Window | None = None) -> np.ndarray:
        """The ids (H, W) of a file, or of a window of it."""
        data, decoded = mask_of(path, window, self.ids == "palette")
        if self.ids == "rgb":
            return packed(decode_color(data, path, decoded))
        if self.ids == "palette":
            return decode_palette(data, path)[0] if decoded is None else index_of(decoded, path, GRAYS)
        return gray_values(data, path, OTHER_IDS, decoded)

    def _indices(self, item: Item, path: Path, present: list[int]) -> tuple[dict[int, int], list[Finding]]:
        """The class index (or IGNORE, or DROP) of each id that is present, and a finding on ids that only the table has."""
        if self.index is not None:
            return dict.fromkeys(present, self.index), []
        table = {int(number): index for number, index in json.loads(item.labels).items()}
        if missing := [number for number in present if number not in table]:
            named = f"the id {missing[0]}{and_more(missing, 'ids')}"
            raise DataError(f"{path}: {named} has no row in {self.categories}; add image, id and class there", kind="unknown-value")
        unseen = sorted(table.keys() - set(present)) if item.window is None else []
        return table, of_several("empty-instance", path, unseen, f"ids of {self.categories} are in no pixel and are left out")

    def _with_classes(self, items: Sequence[Item], part: Part | None) -> list[Item]:
        """The items, each with the class index of its ids as text; DataError for a row that fits no class, or two images."""
        assert self.categories is not None
        path = file_below(self.layout.root, self.categories, part, "data.source.categories")
        known, shared = by_name({str(number): (item.image_id, *item.names) for number, item in enumerate(items)})
        tables: list[dict[int, int]] = [{} for _ in items]
        others = []
        for line, row in read_rows(path, COLUMNS):
            where, name = f"{path}, line {line}", composed(row["image"])
            index = self.class_map.named(row["class"], where)
            if not (row["id"].isdecimal() and int(row["id"]) > 0):
                raise DataError(f"{where}: has the id '{row['id']}', expected a whole number from 1")
            if name in shared:
                first, second = (items[int(i)].files[0] for i in (known[name], shared[name]))
                raise DataError(f"{where}: '{name}' may be {first} or {second}; write more of the path, or give a table a split")
            if name not in known:
                others.append(f"'{name}'")
                continue
            if tables[int(known[name])].setdefault(int(row["id"]), index) != index:
                raise DataError(f"{where}: the id {row['id']} of '{name}' has another class in a line before; remove one of them")
        self.findings += of_several("label-without-image", path, others, "rows are of no image here and are passed over")
        return [replace(item, labels=json.dumps(table)) for item, table in zip(items, tables, strict=True)]
