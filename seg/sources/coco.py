"""`coco`: a COCO "instances" file and a folder of images (https://cocodataset.org/#format-data)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seg.core.errors import ConfigError, did_you_mean
from seg.data.sample import ClassInfo
from seg.raw.findings import Finding
from seg.raw.record import Item, Record
from seg.sources.annotation_file import AnnotatedImage, items_of, note_unnamed, read_item
from seg.sources.coco_file import Annotation, Key, Picture, read_coco
from seg.sources.images import ImageReader
from seg.sources.pairing import file_below, folder_below, parts_of
from seg.sources.regions import Region, rules_of
from seg.sources.settings import Split


class Coco:
    """The file `root`/`annotations` and the images that it names, below `root`/`images`.

    The labels of regions are the names of their categories. ignore: categories whose regions count neither as instances nor
    as background, as crowds do. drop, others: as for every source (see `seg.sources.class_map`). holes: polygons inside
    others of the same annotation are holes; COCO adds them. `{split}` in `annotations`, and in `images` if they
    are apart, stands for train, val and test where the split is given by folders. Crowds lie beneath an image's instances in
    the class map.
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
        self.parts = parts_of(split, "{split}.json", annotations=annotations)
        self.rules, self.reader = rules_of(classes, ignore, drop, others, holes), reader
        self.left_out = {"ignore": list(ignore), "drop": list(drop)}

    def items(self) -> list[Item]:
        items: list[Item] = []
        folders = []
        named: set[str] = set()
        for part in self.parts:
            path = file_below(self.root, self.annotations, part, "data.source.annotations")
            folder = folder_below(self.root, self.images, part, "data.source.images")
            content = read_coco(path)
            named.update(content.categories.values())
            images = [_image(picture, content.annotations[key], content.categories) for key, picture in content.pictures.items()]
            items += items_of(part, path, folder, images, self.rules)
            folders.append(folder)
        note_unnamed(items, folders, self.findings)
        for key, names in self.left_out.items():
            if unknown := [name for name in names if name not in named]:
                raise ConfigError(
                    f"data.source.{key}: there is no category '{unknown[0]}'; {did_you_mean(unknown[0], named, 'categories')}"
                )
        return items

    def read(self, item: Item) -> Record:
        return read_item(item, self.reader, self.rules)


def _image(picture: Picture, annotations: Sequence[Annotation], categories: dict[Key, str]) -> AnnotatedImage:
    regions = []
    for annotation in annotations:
        given: Any = annotation.segmentation  # looked into where it is read
        parts = given if isinstance(given, list) else [given]
        regions.append(Region(f"annotation {annotation.annotation_id}", categories[annotation.category_id], parts, annotation.crowd))
    return AnnotatedImage(picture.name, (picture.height, picture.width), regions)
