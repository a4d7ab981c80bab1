"""`folders`: a folder of images and a folder of masks, paired by name. CamVid, Cityscapes and many other data sets come so."""

from collections.abc import Sequence
from pathlib import Path

from seg.data.sample import ClassInfo, Sample, no_instances
from seg.raw.findings import Finding
from seg.raw.record import Item, Record
from seg.sources.class_map import ClassMap
from seg.sources.images import ImageReader
from seg.sources.masks import READINGS, PixelClasses, check_choice
from seg.sources.pairing import Layout, paired, parts_of, refuse_other_size
from seg.sources.settings import Split


class Folders:
    """Images under `root`/`images`, masks of the same relative name under `root`/`masks`, but for the two suffixes.

    labels: what a class is known by in a mask: "index", a pixel's gray value as drawn; "color", its colour, also of a
    palette PNG, whose palette may be another in each file; "palette", its index in the palette of a PNG. A class has the
    value of its place in the list, or its colour, if its entry in data.classes lists no `labels`.
    ignore: values, or [r, g, b] colours, that count nowhere. others: what becomes of those that are not listed at all:
    "refuse" or "ignore". `{split}` in `images` and `masks` stands for the split's folder where the split is given by
    folders. skip_unlabelled: leave images without a mask out, do not refuse them.
    """

    with_instances = False

    def __init__(
        self,
        root: str,
        images: str,
        masks: str,
        image_suffix: str,
        mask_suffix: str,
        labels: str,
        ignore: list[int] | list[list[int]],
        others: str,
        skip_unlabelled: bool,
        classes: Sequence[ClassInfo],
        reader: ImageReader,
        split: Split,
    ) -> None:
        check_choice("data.source.labels", labels, READINGS)
        check_choice("data.source.others", others, ("refuse", "ignore"))
        self.findings: list[Finding] = []
        parts = parts_of(split, "{split}/images", images=images, masks=masks)
        self.layout = Layout(Path(root), images, masks, image_suffix, mask_suffix, skip_unlabelled, parts)
        self.pixel_classes = PixelClasses(labels, ClassMap(classes, tuple if labels == "color" else int, ignore, (), others))
        self.reader = reader

    def items(self) -> list[Item]:
        return paired(self.layout, self.findings)

    def read(self, item: Item) -> Record:
        image_path, mask_path = (Path(f) for f in item.files)
        raw = self.reader.read(image_path)
        semantic = self.pixel_classes.read(mask_path)
        refuse_other_size(mask_path, semantic.shape, image_path, raw.pixels.shape[:2])
        sample = Sample(item.image_id, raw.pixels, semantic, *no_instances(*semantic.shape))
        return raw.record(sample)
