"""`coco`: a COCO "instances" file and a folder of images (https://cocodataset.org/#format-data)."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seg.errors import ConfigError, did_you_mean
from seg.findings import Finding
from seg.sample import ClassInfo
from seg.schema import Split
from seg.sources.base import Item, Record
from seg.sources.coco_file import Annotation, CocoFile, Key, read_coco
from seg.sources.images import ImageReader
from seg.sources.named_images import find_images, item_of, refuse_other_size
from seg.sources.pairing import file_below, folder_below, parts_of
from seg.sources.regions import Region, packed, record_of, rules_of, unpacked


class Coco:
    """The file `root`/`annotations` and the images that it names, below `root`/`images`.

    The labels of regions are the names of their categories. ignore: categories whose regions count neither as instances nor
    as background, as crowds do. drop, others: as for every source (see `seg.sources.class_map`). holes: polygons inside
    others of the same annotation are holes; COCO adds them. `{split}` in `annotations` and `images` stands for train, val
    and test where the split is given by folders. Crowds lie beneath an image's instances in the class map.
    """

    with_instances = True

    def __init__(
        self,
        root: str,
        annotations: str,
        images: str,
        ignore: list[str],
        drop: list[str],
        others: str,
        holes: bool,
        classes: Sequence[ClassInfo],
        reader: ImageReader,
        split: Split,
    ) -> None:
        self.findings: list[Finding] = []
        self.root, self.annotations, self.images = Path(root), annotations, images
        self.parts = parts_of(split, "{split}.json", annotations=annotations, images=images)
        self.rules, self.reader = rules_of(classes, ignore, drop, others, holes), reader
        self.left_out = {"ignore": list(ignore), "drop": list(drop)}

    def items(self) -> list[Item]:
        items: list[Item] = []
        named: set[str] = set()
        for part in self.parts:
            path = file_below(self.root, self.annotations, part, "data.source.annotations")
            folder = folder_below(self.root, self.images, part, "data.source.images")
            content = read_coco(path)
            named.update(content.categories.values())
            find_images(path, folder, [picture.name for picture in content.pictures.values()], self.findings)
            self.rules.refuse_unknown(_counts(content), path)
            for image_id, picture in sorted(content.pictures.items(), key=lambda entry: entry[1].name):
                regions = [_region(annotation, content.categories) for annotation in content.annotations[image_id]]
                labels = json.dumps([picture.height, picture.width]) + "\n" + packed(regions)
                items.append(item_of(part, path, folder, picture.name, labels))
        for key, names in self.left_out.items():
            if unknown := [name for name in names if name not in named]:
                raise ConfigError(
                    f"data.source.{key}: there is no category '{unknown[0]}'; {did_you_mean(unknown[0], named, 'categories')}"
                )
        return items

    def read(self, item: Item) -> Record:
        path, annotations = Path(item.files[0]), item.files[1]
        raw = self.reader.read(path)
        size, _, regions = item.labels.partition("\n")
        refuse_other_size(path, raw.pixels, json.loads(size), annotations)
        return record_of(item.image_id, raw, unpacked(regions), annotations, self.rules)


def _region(annotation: Annotation, categories: dict[Key, str]) -> Region:
    given: Any = annotation.segmentation  # looked into where it is read
    parts = given if isinstance(given, list) else [given]
    return Region(f"annotation {annotation.annotation_id}", categories[annotation.category_id], parts, annotation.crowd)


def _counts(content: CocoFile) -> Counter[str]:
    """The number of regions of each label."""
    return Counter(content.categories[region.category_id] for regions in content.annotations.values() for region in regions)
