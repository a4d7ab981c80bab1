"""`dsb2018`: a black and white mask file an instance, as the Data Science Bowl 2018 has its nuclei."""

from pathlib import Path

import numpy as np

from seg.core.errors import ConfigError, DataError
from seg.core.textfile import natural_key
from seg.data.imagefile import IMAGE_SUFFIXES
from seg.data.labelmaps import layers_from_masks
from seg.data.sample import IGNORE
from seg.raw.record import Item, Record, of_several
from seg.sources.base import Named
from seg.sources.class_map import DROP, background_of, categories_of, category_index, instance_sample, refuse_both_or_neither
from seg.sources.content import first_group
from seg.sources.listing import by_stem, files_below, is_hidden, is_picture, no_images
from seg.sources.masks import binary_mask
from seg.sources.pairing import Part, folder_below, image_item, parts_of, refuse_other_size

PATTERN = "data.source.category_pattern"


class InstanceFiles(Named):
    """Images, and for each a folder of mask files: black, and one other value where the instance is. Masks may lie in folders of their own
    there, and those that overlap are kept whole. An image whose folder of masks holds no file has no instance. category_pattern: its first
    group (the whole match, if it has none) becomes a class as `ClassMap` has it."""

    images: str
    masks: str
    category: str | None
    category_pattern: str | None
    threshold: int | None = None

    def __post_init__(self) -> None:
        if "{image}" not in self.masks:
            raise ConfigError(f"data.source.masks={self.masks}: expected a folder an image, with {{image}} in its name, as masks/{{image}}")
        self.parts = parts_of(self.split, "{split}/{image}/images", images=self.images, masks=self.masks)
        self.categories, self.background = categories_of(self.classes), background_of(self.classes)
        meaning = "name the class of all instances, or find it in the files' names"
        refuse_both_or_neither(meaning, category=self.category, category_pattern=self.category_pattern)
        self.index = None if self.category is None else category_index(self.category, self.categories, "category")
        first_group(self.category_pattern or "", "", PATTERN)  # refuses what is no expression
        self.class_map = self.named_classes()

    def read(self, item: Item) -> Record:
        path, masks = (Path(f) for f in item.files)
        raw = self.reader.read(path)
        height, width = raw.pixels.shape[:2]
        files = [masks / name for name in files_below(masks, IMAGE_SUFFIXES)]
        kept, empty = list[tuple[np.ndarray, int]](), list[str]()
        for file in files:
            mask = binary_mask(file, self.threshold)
            refuse_other_size(file, mask.shape, path, (height, width))
            index = self._index(file, masks)
            if not mask.any():
                empty.append(file.name)
            elif index != DROP:
                kept.append((mask, index))
        if files and len(empty) == len(files):
            fix = "remove them where the image holds no instance, or remove the image"
            raise DataError(f"{masks}: all {len(files)} masks are empty; {fix}", kind="empty-instance")
        kept.sort(key=lambda entry: entry[1] != IGNORE)  # what is ignored lies beneath
        categories = np.array([index for _, index in kept], np.int32)
        crowd = categories == IGNORE
        categories[crowd] = min(self.categories.values())
        layers = layers_from_masks([mask for mask, _ in kept], height, width)
        sample = instance_sample(item.image_id, raw.pixels, layers, categories, crowd, self.background)
        return raw.record(sample, of_several("empty-instance", masks, empty, "masks are empty and are left out"))

    def _index(self, file: Path, masks: Path) -> int:
        if self.index is not None:
            return self.index
        name, pattern = file.relative_to(masks).with_suffix("").as_posix(), str(self.category_pattern)
        if not (label := first_group(pattern, name, PATTERN)):
            raise DataError(f"{file}: {PATTERN}={pattern!r} does not match '{name}'; widen the expression")
        return self.class_map.named(label, file)

    def _part(self, part: Part) -> list[Item]:
        folder, found = self._images_of(part)
        items = []
        for name, path in found.items():
            masks = Path(self.root) / self.masks.replace("{split}", part.folder).replace("{image}", name)
            if not masks.is_dir():
                what = path.parent.parent if "{image}" in self.images else path
                fix = f"add it (empty, if the image holds no instance), or remove {what}"
                raise DataError(f"{masks}: there is no such folder; {fix}", kind="missing-file")
            items.append(image_item(name, part, folder, path, [str(masks)]))
        return items

    def _images_of(self, part: Part) -> tuple[Path, dict[str, Path]]:
        before, inside, after = self.images.partition("{image}")
        folder = folder_below(Path(self.root), before.strip("/") or ".", part, "data.source.images")
        if not inside:
            found = by_stem(folder)
        else:
            places = sorted((p for p in folder.iterdir() if p.is_dir() and not is_hidden(p.name)), key=lambda p: natural_key(p.name))
            found = {place.name: _only_image(place / after.strip("/"), place) for place in places}
        if not found:
            raise DataError(f"{folder}: holds no folders of images; set data.source.images") if inside else no_images(folder)
        return folder, found


def _only_image(folder: Path, place: Path) -> Path:
    found = sorted(p for p in folder.iterdir() if is_picture(p)) if folder.is_dir() else []
    if len(found) != 1:
        there = ", ".join(p.name for p in found[:3]) or "none"
        raise DataError(f"{folder}: expected one image there, found {there}; add it, or remove the folder {place.name}")
    return found[0]
