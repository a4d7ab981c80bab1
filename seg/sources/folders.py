"""`folders`: a folder of images and a folder of masks, paired by name. CamVid and many other data sets come so."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seg.errors import ConfigError, DataError
from seg.imagefile import IMAGE_SUFFIXES, decode_color, decode_image, decode_index, read_bytes
from seg.sample import IGNORE, ClassInfo, Sample, no_instances
from seg.schema import Split
from seg.sources.base import Item, Record
from seg.splits import SPLITS


class Folders:
    """Images under `root`/`images`, masks of the same relative name under `root`/`masks`.

    labels: "index", a mask's gray value is the class's place in the list, or the one that `values` gives it in the same
    order; or "color", classes are known by their colours.
    ignore: values, or [r, g, b] colours, that count nowhere. `{split}` in `images` and `masks` stands for train, val
    and test where the split is given by folders. skip_unlabelled: leave images without a mask out, do not refuse them.
    """

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
        channels: int,
        split: Split,
    ) -> None:
        if labels not in ("index", "color"):
            raise ConfigError(f"data.source.labels={labels!r}: expected index or color")
        self.notes: list[str] = []
        self.root, self.images, self.masks, self.mask_suffix = Path(root), images, masks, mask_suffix
        self.channels, self.skip_unlabelled = channels, skip_unlabelled
        self.classes = list(classes)
        self.by_folders = split.by == "folders"
        if self.by_folders and not ("{split}" in images and "{split}" in masks):
            raise ConfigError("data.split.by=folders: data.source.images and .masks must hold {split}, as in '{split}/images'")
        self.lookup = _color_lookup(classes, ignore) if labels == "color" else _index_lookup(classes, values, ignore)
        self.by_color = labels == "color"

    def items(self) -> list[Item]:
        if not self.by_folders:
            return self._folder(None)
        return [item for split in SPLITS for item in self._folder(split)]

    def read(self, item: Item) -> Record:
        image_path, mask_path = (Path(f) for f in item.files)
        data = read_bytes(image_path)
        image = decode_image(data, self.channels, image_path)
        semantic = self._labels(mask_path)
        if semantic.shape != image.shape[:2]:
            (h, w), (mh, mw) = image.shape[:2], semantic.shape
            turned = "; an image's EXIF orientation is applied on reading, so the mask may need turning" if (h, w) == (mw, mh) else ""
            raise DataError(f"{mask_path}: is {mw}x{mh} pixels, but its image {image_path} is {w}x{h}; give both the same size{turned}")
        sample = Sample(item.image_id, image, semantic, *no_instances(*semantic.shape))
        return Record(sample, data, image_path.suffix.lower())

    def _folder(self, split: str | None) -> list[Item]:
        images, masks = (self.root / f.replace("{split}", split or "") for f in (self.images, self.masks))
        for folder, key in ((images, "images"), (masks, "masks")):
            if not folder.is_dir():
                there = ", ".join(sorted(p.name for p in self.root.iterdir() if p.is_dir())) or "no folders"
                raise DataError(f"{folder}: there is no such folder; set data.source.{key} ({self.root} holds: {there})")
            if not folder.resolve().is_relative_to(self.root.resolve()):
                raise DataError(
                    f"{folder}: lies outside of data.root ({self.root}), where changes would go unnoticed; "
                    "set data.root to a folder that holds images and masks themselves, not links to them"
                )
        pictures = _pictures(images, "")
        if not pictures:
            raise DataError(f"{images}: holds no images ({', '.join(IMAGE_SUFFIXES)}); set data.source.images")
        drawn = _pictures(masks, self.mask_suffix)
        missing = sorted(pictures.keys() - drawn.keys())
        if missing and not self.skip_unlabelled:
            more = f" (and {len(missing) - 1} more images without a mask)" if len(missing) > 1 else ""
            raise DataError(
                f"{pictures[missing[0]]}: has no mask {masks / missing[0]}{self.mask_suffix}.*{more}; add it, "
                "set data.source.mask_suffix, or leave such images out with data.source.skip_unlabelled=true"
            )
        if unused := sorted(drawn.keys() - pictures.keys()):
            self.notes.append(f"{masks}: {len(unused)} masks have no image and are left out, such as {drawn[unused[0]].name}")
        if missing:
            self.notes.append(f"{images}: {len(missing)} images have no mask and are left out, such as {pictures[missing[0]].name}")
        return [
            Item(name, split, (str(path), str(drawn[name])), (name, path.relative_to(images).as_posix(), path.name))
            for name, path in sorted(pictures.items())
            if name in drawn
        ]

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
                mapped = table[values]
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


def _pictures(folder: Path, ending: str) -> dict[str, Path]:
    """Every image file below a folder, by its relative name without `ending` and suffix."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        stem = path.stem
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith(".") or not stem.endswith(ending):
            continue
        name = (path.parent / stem[: len(stem) - len(ending)]).relative_to(folder).as_posix()
        if name in found:
            raise DataError(f"{path}: has the same name as {found[name]}; rename one of them")
        found[name] = path
    return found


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
