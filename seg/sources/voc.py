"""`voc`: Pascal VOC's segmentation: JPEGImages, SegmentationClass and SegmentationObject (http://host.robots.ox.ac.uk/pascal/VOC)."""

from pathlib import Path

import numpy as np

from seg.core.errors import DataError
from seg.data.imagefile import decode_color, decode_palette, read_bytes
from seg.data.sample import IGNORE, Sample, no_instances
from seg.raw.record import Finding, Item, Record
from seg.sources.base import RawData
from seg.sources.class_map import DROP, ClassMap, background_of, categories_of, check_choice, instance_sample
from seg.sources.masks import labels_of, numbered, packed, read_mask
from seg.sources.pairing import Layout, Part, paired, parts_of, refuse_other_size

VOID = 255  # of SegmentationObject: borders, and what is too hard to tell
RED = VOID + (1 << 24)  # the number of the colour whose own is VOID


class Voc(RawData):
    """Images under `root`/`images`, label images of the same name under `root`/`masks` (classes) and `root`/`objects` (PNG).

    labels: what a pixel is known by: "palette", its index, whatever the palette; or "color", its colour, as CVAT exports a "Segmentation
    mask": then each object has a colour of its own, and black is none. task: "semantic" reads the classes alone; "instance" reads the
    objects, each of the class that most of its pixels have, and what is void in either file becomes a crowd: it counts
    neither as instance nor as background. Images without a class mask (they have boxes only) are left out. `{split}` in the
    folders stands for train, val and test where the split is given by folders; VOC's own lists are for data.split.by=lists."""

    images: str
    masks: str
    objects: str
    task: str
    ignore: list[int] | list[list[int]]
    drop: list[int] | list[list[int]]
    others: str
    labels: str = "palette"

    def __post_init__(self) -> None:
        check_choice("data.source.task", self.task, ("semantic", "instance"))
        check_choice("data.source.labels", self.labels, ("palette", "color"))
        self.with_instances = self.task == "instance"
        self.parts = parts_of(self.split, "{split}/JPEGImages", images=self.images, masks=self.masks)
        self.layout = Layout(Path(self.root), self.images, self.masks, "", "", True)
        kind = tuple if self.labels == "color" else int
        self.class_map, self.background = ClassMap(self.classes, kind, self.ignore, self.drop, self.others), background_of(self.classes)
        self.first = min(categories_of(self.classes).values())

    def items(self) -> list[Item]:
        if not (items := super().items()):
            raise DataError(f"{Path(self.root) / self.masks}: holds no mask of an image; set data.source.masks", kind="missing-file")
        return items

    def _part(self, part: Part) -> list[Item]:
        return paired(self.layout, part, self.findings)

    def read(self, item: Item) -> Record:
        path, class_path = (Path(f) for f in item.files)
        raw = self.reader.read(path)
        found, places = numbered(self._values(class_path))
        indices = self.class_map.of_values(labels_of(found, self.class_map), class_path, lambda: np.bincount(places.ravel()))
        targets = np.array(indices, np.int16)[places]  # (H, W) class indices, IGNORE and DROP
        refuse_other_size(class_path, targets.shape, path, raw.pixels.shape[:2])
        if not self.with_instances:
            semantic = np.where(targets == DROP, self.background, targets).astype(np.uint8)
            return raw.record(Sample(item.image_id, raw.pixels, semantic, *no_instances(*semantic.shape)))
        object_path = Path(self.root) / self.objects.replace("{split}", item.split or "") / f"{item.image_id}.png"
        objects = self._values(object_path)
        refuse_other_size(object_path, objects.shape, path, targets.shape)
        ids, categories, odd = instances_of(objects, targets, 0 if self.background == 0 else None)
        crowd = categories == IGNORE
        categories = np.where(crowd, self.first, categories)
        sample = instance_sample(item.image_id, raw.pixels, ids[:, :, None], categories, crowd, self.background)
        return raw.record(sample, [Finding(kind, str(object_path), what) for kind, what in odd])

    def _values(self, path: Path) -> np.ndarray:
        """(H, W) of a label image: its indices, or its colours as numbers, of which none but black is 0, and none is VOID."""
        if self.labels == "palette":
            return decode_palette(read_bytes(path), path)[0]
        colors = packed(decode_color(read_mask(path), path)).astype(np.int64)
        return np.where(colors == VOID, RED, colors)


def instances_of(objects: np.ndarray, targets: np.ndarray, background: int | None) -> tuple[np.ndarray, np.ndarray, list[tuple[str, str]]]:
    """Objects, and the class of each pixel -> ids (H, W) int32, the class of ids 1..N, and kinds and texts of what is odd.

    objects: (H, W), 0 is no object, VOID counts nowhere. targets: (H, W) int16 class indices, IGNORE and DROP. background:
    the class of no object. An object has the class of most of its pixels, those apart that are ignored. What counts nowhere
    is id 1, of the class IGNORE, where there is any: VOID, ignored pixels of no object, and classes without an object."""
    values = [int(value) for value in np.unique(objects) if value not in (0, VOID)]
    classes, odd = dict[int, int](), list[tuple[str, str]]()
    for value in values:
        inside = targets[objects == value]
        found, counts = np.unique(inside[inside != IGNORE], return_counts=True)
        if not len(found) or found[counts.argmax()] == background:
            odd.append(("object-without-class", f"the object {value} has no class in most of its {len(inside)} pixels; it is ignored"))
            continue
        classes[value] = int(found[counts.argmax()])
        if other := int(counts.sum() - counts.max()):
            odd.append(("object-of-two-classes", f"the object {value} has another class in {other} of its {len(inside)} pixels"))
    kept = np.isin(objects, list(classes))
    stuff = ~kept & (objects == 0) & ~np.isin(targets, [IGNORE, DROP] if background is None else [IGNORE, DROP, background])
    if pixels := int(stuff.sum()):
        odd.append(("class-without-object", f"{pixels} pixels have a class, but belong to no object; they are ignored"))
    void = ~kept & ((objects != 0) | (targets == IGNORE) | stuff)
    ids, categories = void.astype(np.int32), [IGNORE] if void.any() else []
    for value, index in classes.items():
        if index != DROP:
            categories.append(index)
            ids[objects == value] = len(categories)
    return ids, np.array(categories, np.int32), odd
