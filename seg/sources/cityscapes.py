"""`cityscapes_instances`: images, and maps of class ids and of instances in one (Cordts et al. 2016; its instanceIds files)."""

from pathlib import Path

import numpy as np

from seg.data.sample import IGNORE, Label
from seg.raw.record import Item, Record
from seg.sources.base import Masks
from seg.sources.class_map import ClassMap, Segment, SegmentClasses, category_index
from seg.sources.masks import gray_values, numbered, read_mask
from seg.sources.pairing import refuse_other_size

FACTOR = 1000  # a value from here on is class id * 1000 + number of the instance; one below is a class id


class CityscapesInstances(Masks):
    """Label images that are gray PNGs of 16 bit. The arguments are as for `Masks`. A class has the ids that its entry in data.classes lists
    under `labels`. things: names of the classes that are counted; a value below 1000 of such a class is a region of several objects, a
    crowd."""

    things: list[str]
    ignore: list[int]
    others: str

    def __post_init__(self) -> None:
        super().__post_init__()
        self.segments = SegmentClasses(self.classes)
        self.counted = {category_index(name, self.segments.categories, "things") for name in self.things}
        self.stuff = {index for index in self.segments.categories.values() if index not in self.counted}
        self.class_map = ClassMap(self.classes, int, self.ignore, (), self.others)

    def read_mask(self, path: Path) -> np.ndarray:
        return gray_values(read_mask(path), path, "save class ids and numbers of instances as a gray PNG of 16 bit")

    def read(self, item: Item) -> Record:
        path, map_path = (Path(f) for f in item.files)
        raw = self.reader.read(path)
        values = self.read_mask(map_path)
        refuse_other_size(map_path, values.shape, path, raw.pixels.shape[:2])
        present, places = numbered(values)
        labels: list[Label] = [value // FACTOR if value >= FACTOR else value for value in present.tolist()]
        segments = []
        for value, index in zip(present, self.class_map.of_values(labels, map_path, lambda: np.bincount(places.ravel())), strict=True):
            own = value >= FACTOR
            thing = index in self.counted or (own and index == IGNORE)
            segments.append(Segment(index, thing, crowd=thing and not own))
        return raw.record(self.segments.sample(item.image_id, raw.pixels, places, segments))
