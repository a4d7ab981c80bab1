"""`voc`: Pascal VOC's segmentation: JPEGImages, SegmentationClass and SegmentationObject (http://host.robots.ox.ac.uk/pascal/VOC)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seg.core.errors import ConfigError, DataError, did_you_mean
from seg.data.imagefile import decode_palette, read_bytes
from seg.data.sample import IGNORE, ClassInfo, Sample, no_instances
from seg.raw.findings import Finding
from seg.raw.record import Item, Record
from seg.sources.class_map import DROP, ClassMap
from seg.sources.images import ImageReader
from seg.sources.instance_sample import background_of, categories_of, instance_sample
from seg.sources.pairing import Layout, paired, parts_of, refuse_other_size
from seg.sources.settings import Split

VOID = 255  # of SegmentationObject: borders, and what is too hard to tell


class Voc:
    """Images under `root`/`images`, index PNGs of the same name under `root`/`masks` (classes) and `root`/`objects`.

    A pixel is known by its index, palettes mean nothing. task: "semantic" reads the classes alone; "instance" reads the
    objects, each of the class that most of its pixels have, and what is void in either file becomes a crowd: it counts
    neither as instance nor as background. Images without a class mask (they have boxes only) are left out. `{split}` in the
    folders stands for train, val and test where the split is given by folders; VOC's own lists are for data.split.by=lists.
    """

    def __init__(
        self,
        root: str,
        images: str,
        masks: str,
        objects: str,
        task: str,
        ignore: list[int],
        drop: list[int],
        others: str,
        classes: Sequence[ClassInfo],
        reader: ImageReader,
        split: Split,
    ) -> None:
        if task not in ("semantic", "instance"):
            raise ConfigError(f"data.source.task={task}: {did_you_mean(task, ('semantic', 'instance'), 'expected')}")
        self.with_instances = task == "instance"
        self.findings: list[Finding] = []
        self.root, self.reader = Path(root), reader
        self.layout = Layout(self.root, images, masks, "", "", True, parts_of(split, "{split}/JPEGImages", images=images, masks=masks))
        self.objects, self.masks = objects, masks
        self.class_map, self.background = ClassMap(classes, int, ignore, drop, others), background_of(classes)
        self.first = min(categories_of(classes).values())

    def items(self) -> list[Item]:
        items = paired(self.layout, self.findings)
        if not items:
            raise DataError(f"{self.root / self.masks}: holds no mask of an image; set data.source.masks", kind="missing-file")
        return items

    def read(self, item: Item) -> Record:
        path, class_path = (Path(f) for f in item.files)
        raw = self.reader.read(path)
        targets = self._targets(class_path)
        refuse_other_size(class_path, targets.shape, path, raw.pixels.shape[:2])
        if not self.with_instances:
            semantic = np.where(targets == DROP, self.background, targets).astype(np.uint8)
            return raw.record(Sample(item.image_id, raw.pixels, semantic, *no_instances(*semantic.shape)))
        object_path = self.root / self.objects.replace("{split}", item.split or "") / f"{item.image_id}.png"
        objects = _indices(object_path)
        refuse_other_size(object_path, objects.shape, path, targets.shape)
        ids, categories, odd = instances_of(objects, targets, 0 if self.background == 0 else None)
        crowd = categories == IGNORE
        categories = np.where(crowd, self.first, categories)
        sample = instance_sample(item.image_id, raw.pixels, ids[:, :, None], categories, crowd, self.background)
        findings = [Finding(kind, str(object_path), what, image_id=item.image_id) for kind, what in odd]
        return raw.record(sample, findings)

    def _targets(self, path: Path) -> np.ndarray:
        """(H, W) int16 of a file of classes: class indices, IGNORE and DROP; DataError for a value without class."""
        found, inverse, counts = np.unique(_indices(path), return_inverse=True, return_counts=True)
        targets = [self.class_map.get(int(value)) for value in found]
        known = [target for target in targets if target is not None]
        if len(known) < len(targets):
            unknown = [(int(v), int(n)) for v, n, target in zip(found, counts, targets, strict=True) if target is None]
            value, count = unknown[0]
            nearest = self.class_map.unknown(value, [v for v, _ in unknown])
            raise DataError(
                f"{path}: no class of data.classes has the value {value}, which {count} pixels have{nearest}", kind="unknown-value"
            )
        return np.array(known, np.int16)[inverse]


def instances_of(objects: np.ndarray, targets: np.ndarray, background: int | None) -> tuple[np.ndarray, np.ndarray, list[tuple[str, str]]]:
    """Objects, and the class of each pixel -> ids (H, W) int32, the class of ids 1..N, and kinds and texts of what is odd.

    objects: (H, W), 0 is no object, VOID counts nowhere. targets: (H, W) int16 class indices, IGNORE and DROP. background:
    the class of no object. An object has the class of most of its pixels, those apart that are ignored. What counts nowhere
    is id 1, of the class IGNORE, where there is any: VOID, ignored pixels of no object, and classes without an object.
    """
    values = [int(value) for value in np.unique(objects) if value not in (0, VOID)]
    classes: dict[int, int] = {}
    odd: list[tuple[str, str]] = []
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


def _indices(path: Path) -> np.ndarray:
    """The indices (H, W) of a palette PNG, or the values of a gray one."""
    return decode_palette(read_bytes(path), path)[0]
