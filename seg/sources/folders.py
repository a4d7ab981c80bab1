"""`folders`: a folder of images and a folder of masks, paired by name. CamVid, Cityscapes and many other data sets come so."""

from dataclasses import field, replace
from pathlib import Path

import numpy as np

from seg.core.errors import ConfigError, DataError
from seg.data.sample import IGNORE, Sample, no_instances
from seg.raw.record import Finding, Item, Record
from seg.sources.base import Masks
from seg.sources.class_map import ClassMap, check_choice
from seg.sources.masks import READINGS, PixelClasses
from seg.sources.pairing import refuse_other_size


class Folders(Masks):
    """Masks of gray values or of colours, which palette PNGs have as well, each by its own palette. Of masks that are joined a pixel has
    the class of the one in which it is not of the first class. Only where there is a threshold JPEG is read."""

    labels: str
    ignore: list[int] | list[list[int]]
    others: str
    threshold: int | None = None
    transparent: list[int] | None = None
    join: bool = False

    with_instances: bool = field(default=False, init=False)
    WINDOWS = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("data.source.labels", self.labels, READINGS)
        check_choice("data.source.others", self.others, ("refuse", "ignore"))
        if self.threshold is not None and (self.labels != "index" or not 0 < self.threshold <= 255):
            expected = "a gray value from 1 to 255, with data.source.labels=index; null reads values as they are"
            raise ConfigError(f"data.source.threshold={self.threshold}: expected {expected}")
        if self.transparent is not None and not (len(self.transparent) == 3 and all(0 <= value <= 255 for value in self.transparent)):
            raise ConfigError(f"data.source.transparent={self.transparent}: expected a colour, as [0, 0, 0], or null")
        self.layout = replace(self.layout, join=self.join)
        class_map = ClassMap(self.classes, tuple if self.labels == "color" else int, self.ignore, (), self.others)
        self.pixel_classes = PixelClasses(self.labels, class_map, self.threshold, self.transparent)

    def read_mask(self, path: Path) -> np.ndarray:
        return self.pixel_classes.read(path)

    def read(self, item: Item) -> Record:
        image_path, *mask_paths = (Path(f) for f in item.files)
        raw = self.reader.read(image_path, item.window)
        findings: list[Finding] = []
        semantic: np.ndarray | None = None
        for path in mask_paths:
            drawn = self.pixel_classes.read(path, findings, item.window)
            refuse_other_size(path, drawn.shape, image_path, raw.pixels.shape[:2])
            semantic = drawn if semantic is None else _united(semantic, drawn, path)
        assert semantic is not None
        return raw.record(Sample(item.image_id, raw.pixels, semantic, *no_instances(*semantic.shape)), findings)


def _united(semantic: np.ndarray, drawn: np.ndarray, path: Path) -> np.ndarray:
    """Two class maps of one image: where one is of the first class, or ignored, the other counts; DataError where they contradict."""
    shown, other = ((one != 0) & (one != IGNORE) for one in (semantic, drawn))
    if both := int((shown & other & (semantic != drawn)).sum()):
        raise DataError(f"{path}: gives {both} pixels another class than a mask of the same image before it; correct one of them")
    return np.where(other, drawn, np.where(shown, semantic, np.maximum(semantic, drawn)))
