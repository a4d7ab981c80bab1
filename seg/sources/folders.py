"""`folders`: a folder of images and a folder of masks, paired by name. CamVid and many other data sets come so."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from seg.errors import ConfigError, DataError
from seg.findings import Finding
from seg.imagefile import decode_color, decode_index, read_bytes
from seg.sample import IGNORE, ClassInfo, Sample, no_instances
from seg.schema import Split
from seg.sources.base import Item, Record
from seg.sources.images import ImageReader
from seg.sources.pairing import Layout, paired, parts_of, refuse_other_size


class Folders:
    """Images under `root`/`images`, masks of the same relative name under `root`/`masks`.

    labels: "index", a mask's gray value is the class's place in the list, or the one that `values` gives it in the same
    order; or "color", classes are known by their colours.
    ignore: values, or [r, g, b] colours, that count nowhere. `{split}` in `images` and `masks` stands for train, val
    and test where the split is given by folders. skip_unlabelled: leave images without a mask out, do not refuse them.
    """

    with_instances = False

    def __init__(
        self,
        root: str,
        images: str,
        masks: str,
        mask_suffix: str,
        labels: str,
        values: list[int] | None,
        ignore: list[int] | list[list[int]],
        skip_unlabelled: bool,
        classes: Sequence[ClassInfo],
        reader: ImageReader,
        split: Split,
    ) -> None:
        if labels not in ("index", "color"):
            raise ConfigError(f"data.source.labels={labels!r}: expected index or color")
        self.findings: list[Finding] = []
        parts = parts_of(split, "{split}/images", images=images, masks=masks)
        self.layout = Layout(Path(root), images, masks, mask_suffix, skip_unlabelled, parts)
        self.reader, self.classes = reader, list(classes)
        self.lookup = _color_lookup(classes, ignore) if labels == "color" else _index_lookup(classes, values, ignore)
        self.by_color = labels == "color"

    def items(self) -> list[Item]:
        return paired(self.layout, self.findings)

    def read(self, item: Item) -> Record:
        image_path, mask_path = (Path(f) for f in item.files)
        raw = self.reader.read(image_path)
        image = raw.pixels
        semantic = self._labels(mask_path)
        refuse_other_size(mask_path, semantic.shape, image_path, image.shape[:2])
        sample = Sample(item.image_id, image, semantic, *no_instances(*semantic.shape))
        return raw.record(sample)

    def _labels(self, path: Path) -> np.ndarray:
        """The class map (H, W) uint8 of a mask file; DataError for a value or colour that has no class."""
        data = read_bytes(path)
        if self.by_color:
            color = decode_color(data, path).astype(np.uint32)
            values = (color[..., 0] << 16) | (color[..., 1] << 8) | color[..., 2]
        else:
            values = decode_index(data, path)
            if values.dtype == np.uint8:
                table = np.full(256, -1, np.int16)
                table[[v for v in self.lookup if v < 256]] = [c for v, c in self.lookup.items() if v < 256]
                mapped = cv2.LUT(values, table)
                if mapped.min() >= 0:
                    return mapped.astype(np.uint8)
        found, inverse = np.unique(values, return_inverse=True)
        unknown = [int(v) for v in found if int(v) not in self.lookup]
        if unknown:
            raise DataError(self._unknown(path, unknown[0], int((values == unknown[0]).sum())))
        return np.array([self.lookup[int(v)] for v in found], np.uint8)[inverse].reshape(values.shape)

    def _unknown(self, path: Path, value: int, count: int) -> str:
        fix = "add the class to data.classes, or the value to data.source.ignore"
        if not self.by_color:
            known = ", ".join(str(v) for v, c in self.lookup.items() if c != IGNORE)
            fix += ", or give each class its value in data.source.values"
            return f"{path}: has the value {value} in {count} pixels, but the classes have {known}; {fix}"
        color = np.array([value >> 16, value >> 8 & 255, value & 255])
        near = min(self.classes, key=lambda c: float(np.abs(color - np.array(c.color)).sum()))
        return (
            f"{path}: has the colour {color.tolist()} in {count} pixels, which no class has "
            f"(nearest: {near.name} {list(near.color)}); {fix}"
        )


def _index_lookup(classes: Sequence[ClassInfo], values: list[int] | None, ignore: list[int] | list[list[int]]) -> dict[int, int]:
    if any(isinstance(value, list) for value in ignore):
        raise ConfigError("data.source.ignore: with labels=index expected numbers, got colours")
    if values is not None and (len(values) != len(classes) or len(set(values)) != len(values)):
        raise ConfigError(f"data.source.values={values}: expected {len(classes)} different values, one for each of data.classes in turn")
    lookup = {value: index for index, value in enumerate(values or range(len(classes)))}
    return lookup | {value: IGNORE for value in ignore if isinstance(value, int)}


def _color_lookup(classes: Sequence[ClassInfo], ignore: list[int] | list[list[int]]) -> dict[int, int]:
    if any(not isinstance(value, list) or len(value) != 3 for value in ignore):
        raise ConfigError("data.source.ignore: with labels=color expected colours such as [[0, 0, 0]]")
    lookup: dict[int, int] = {}
    known = [(index, list(c.color)) for index, c in enumerate(classes)] + [(IGNORE, c) for c in ignore if isinstance(c, list)]
    for index, (r, g, b) in known:
        if (code := r << 16 | g << 8 | b) in lookup:
            raise ConfigError(f"data.classes: the colour [{r}, {g}, {b}] stands twice; each class needs its own")
        lookup[code] = index
    return lookup
