"""`dsb2018`: a folder an image, with the image and a mask file an instance, as the Data Science Bowl 2018 has its nuclei."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seg.errors import ConfigError, DataError, did_you_mean
from seg.findings import Finding
from seg.imagefile import decode_index, read_bytes
from seg.labelmaps import layers_from_masks
from seg.sample import ClassInfo
from seg.schema import Split
from seg.sources.base import Item, Record
from seg.sources.images import ImageReader
from seg.sources.instance_sample import background_of, categories_of, instance_sample
from seg.sources.pairing import folder_below, is_picture, parts_of, refuse_other_size


class Dsb2018:
    """Folders `root`/`folder`/<name>, each with one image in images/, and in masks/ one black and white file an instance.

    category: the class of all instances. `{split}` in `folder` stands for train, val and test where the split is given by
    folders. Masks that overlap are kept whole. An image whose masks/ holds no file has no instance.
    """

    with_instances = True

    def __init__(self, root: str, folder: str, category: str, classes: Sequence[ClassInfo], reader: ImageReader, split: Split) -> None:
        self.findings: list[Finding] = []
        self.root, self.folder, self.reader = Path(root), folder, reader
        self.parts = parts_of(split, "{split}", folder=folder)
        categories = categories_of(classes)
        if category not in categories:
            raise ConfigError(
                f"data.source.category={category}: no class of data.classes has this name; {did_you_mean(category, categories, 'classes')}"
            )
        self.category, self.background = categories[category], background_of(classes)

    def items(self) -> list[Item]:
        return [item for part in self.parts for item in self._part(part)]

    def read(self, item: Item) -> Record:
        path, masks = (Path(f) for f in item.files)
        raw = self.reader.read(path)
        image = raw.pixels
        height, width = image.shape[:2]
        kept, empty = [], []
        files = sorted(p for p in masks.iterdir() if is_picture(p))
        for file in files:
            mask = _mask(file)
            refuse_other_size(file, mask.shape, path, (height, width))
            if mask.any():
                kept.append(mask)
            else:
                empty.append(file.name)
        if files and not kept:
            raise DataError(
                f"{masks}: all {len(files)} masks are empty; remove them where the image holds no instance, or remove the image"
            )
        categories, crowd = np.full(len(kept), self.category), np.zeros(len(kept), bool)
        sample = instance_sample(item.image_id, image, layers_from_masks(kept, height, width), categories, crowd, self.background)
        what = f"{len(empty)} masks are empty and are left out, such as {empty[0] if empty else ''}"
        findings = (Finding("empty-instance", str(masks), what, image_id=item.image_id),) if empty else ()
        return raw.record(sample, findings)

    def _part(self, part: str | None) -> list[Item]:
        folder = folder_below(self.root, self.folder, part, "data.source.folder")
        items = []
        for place in sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")):
            found = sorted(p for p in (place / "images").iterdir() if is_picture(p)) if (place / "images").is_dir() else []
            if len(found) != 1:
                there = ", ".join(p.name for p in found[:3]) or "none"
                raise DataError(f"{place}/images: expected one image there, found {there}; add it, or remove the folder {place.name}")
            if not (place / "masks").is_dir():
                raise DataError(
                    f"{place}/masks: there is no such folder; add it (empty, if the image holds no instance), or remove {place}"
                )
            items.append(Item(place.name, part, (str(found[0]), str(place / "masks")), (place.name, found[0].name)))
        if not items:
            raise DataError(f"{folder}: holds no folders with images/ and masks/ in them; set data.source.folder")
        return items


def _mask(path: Path) -> np.ndarray:
    """(H, W) bool; DataError where the file has more values than 0 and another."""
    values = decode_index(read_bytes(path), path, "save the mask as a black and white or gray PNG")
    mask = values != 0
    inside = values[mask]
    if inside.size and (inside != inside[0]).any():
        found = [int(v) for v in np.unique(values)]
        listed = ", ".join(map(str, found[:5])) + (", ..." if len(found) > 5 else "")
        raise DataError(
            f"{path}: has the values {listed}, expected 0 and one other, for one instance; save it without smoothing, or read files "
            "of many instances with data=id_maps"
        )
    return mask
