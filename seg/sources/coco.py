"""`coco`: a COCO "instances" file and a folder of images (https://cocodataset.org/#format-data)."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from seg.errors import ConfigError, DataError, did_you_mean, nearest
from seg.findings import Finding
from seg.labelmaps import decode
from seg.sample import ClassInfo
from seg.schema import Split
from seg.sources.base import Item, Record
from seg.sources.coco_file import Annotation, CocoFile, Key, Picture, read_coco
from seg.sources.coco_rle import rle_of
from seg.sources.images import ImageReader
from seg.sources.instance_sample import background_of, categories_of, instance_sample
from seg.sources.pairing import file_below, folder_below, is_picture, parts_of

SHOWN = 12  # categories that an error lists


class Coco:
    """The file `root`/`annotations` and the images that it names, below `root`/`images`.

    Categories become the classes of the same name. ignore: names of categories whose regions count neither as instances
    nor as background, as crowds do. `{split}` in `annotations` and `images` stands for train, val and test where the split
    is given by folders. Crowds get the lowest ids of an image, so that they lie beneath its instances in the class map.
    """

    with_instances = True

    def __init__(
        self,
        root: str,
        annotations: str,
        images: str,
        ignore: list[str],
        classes: Sequence[ClassInfo],
        reader: ImageReader,
        split: Split,
    ) -> None:
        self.findings: list[Finding] = []
        self.root, self.annotations, self.images = Path(root), annotations, images
        self.parts = parts_of(split, "{split}.json", annotations=annotations, images=images)
        self.categories, self.background, self.reader = categories_of(classes), background_of(classes), reader
        self.ignore = list(ignore)

    def items(self) -> list[Item]:
        items: list[Item] = []
        named: set[str] = set()
        for part in self.parts:
            path = file_below(self.root, self.annotations, part, "data.source.annotations")
            folder = folder_below(self.root, self.images, part, "data.source.images")
            content = read_coco(path)
            named.update(content.categories.values())
            self._look_at_images(path, folder, content)
            indices = self._indices(path, content)
            items += [
                _item(part, path, folder, picture, content.annotations[image_id], indices)
                for image_id, picture in sorted(content.pictures.items(), key=lambda entry: entry[1].name)
            ]
        if unknown := [name for name in self.ignore if name not in named]:
            raise ConfigError(f"data.source.ignore: there is no category '{unknown[0]}'; {did_you_mean(unknown[0], named, 'categories')}")
        return items

    def read(self, item: Item) -> Record:
        path = Path(item.files[0])
        raw = self.reader.read(path)
        image = raw.pixels
        labels = json.loads(item.labels)
        height, width = labels["size"]
        _refuse_other_size(path, image, height, width, item.files[1])
        rles, kept, empty = [], [], []
        for region in labels["regions"]:
            try:
                rle, area = rle_of(region["segmentation"], height, width)
            except ValueError as error:
                raise DataError(f"{item.files[1]}, annotation {region['id']}: {error}") from None
            if area:
                rles.append(rle)
                kept.append(region)
            else:
                empty.append(region["id"])
        categories, crowd = np.array([r["category"] for r in kept], np.int32), np.array([r["crowd"] for r in kept], bool)
        sample = instance_sample(item.image_id, image, decode(rles, height, width), categories, crowd, self.background)
        what = f"covers no pixel of {path.name} and is left out"
        findings = [Finding("empty-instance", f"{item.files[1]}, annotation {number}", what, image_id=item.image_id) for number in empty]
        return raw.record(sample, findings)

    def _look_at_images(self, path: Path, folder: Path, content: CocoFile) -> None:
        """Refuse a file whose images are not there; note images that it does not name."""
        names = sorted(picture.name for picture in content.pictures.values())
        if not names:
            raise DataError(f"{path}: names no images; set data.source.annotations")
        if missing := [name for name in names if not (folder / name).is_file()]:
            more = f" (and {len(missing) - 1} more images)" if len(missing) > 1 else ""
            raise DataError(
                f"{path}: there is no image {folder / missing[0]}{more}; add it, set data.source.images, or correct its file_name"
            )
        there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if is_picture(p)}
        if unused := sorted(there - set(names)):
            what = f"{len(unused)} images are not named in {path.name} and are left out, such as {unused[0]}"
            self.findings.append(Finding("image-without-label", str(folder), what))

    def _indices(self, path: Path, content: CocoFile) -> dict[Key, tuple[int, bool]]:
        """Each category's class index, and whether it is ignored; DataError where one with annotations has no class."""
        named = {key: name for key, name in content.categories.items() if name in self.categories or name in self.ignore}
        counts = Counter(region.category_id for regions in content.annotations.values() for region in regions)
        if lost := {content.categories[key]: count for key, count in counts.items() if key not in named}:
            raise DataError(f"{path}: {self._unknown(lost)}")
        # an ignored region has a class too, though it counts for none: its own, or the first that there is
        first = min(self.categories.values())
        return {key: (self.categories.get(name, first), name in self.ignore) for key, name in named.items()}

    def _unknown(self, counts: dict[str, int]) -> str:
        """What to say of categories without class, by their numbers of annotations."""
        name, *others = sorted(counts)
        guess = nearest(name, self.categories)
        meant = f" (nearest: {guess})" if guess else ""
        more = f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
        nor = f"; nor of {', '.join(others[:SHOWN])}{more}" if others else ""
        return (
            f"no class of data.classes has the name of the category '{name}', which has {counts[name]} annotations{meant}{nor}; "
            "add it to data.classes, correct the name there, or put it into data.source.ignore"
        )


def _item(
    part: str | None, path: Path, folder: Path, picture: Picture, annotations: Sequence[Annotation], indices: dict[Key, tuple[int, bool]]
) -> Item:
    regions = []
    for annotation in annotations:
        index, ignored = indices[annotation.category_id]
        crowd = annotation.crowd or ignored
        regions.append({"id": annotation.annotation_id, "category": index, "crowd": crowd, "segmentation": annotation.segmentation})
    regions.sort(key=lambda region: not region["crowd"])
    labels = json.dumps({"size": [picture.height, picture.width], "regions": regions}, separators=(",", ":"))
    name = PurePosixPath(picture.name)
    image_id = name.with_suffix("").as_posix()
    return Item(image_id, part, (str(folder / name), str(path)), (image_id, picture.name, name.name), labels)


def _refuse_other_size(path: Path, image: np.ndarray, height: int, width: int, annotations: str) -> None:
    h, w = image.shape[:2]
    if (h, w) != (height, width):
        turned = " (the file's EXIF orientation, which is applied on reading, may turn it)" if (w, h) == (height, width) else ""
        raise DataError(
            f"{path}: is {w}x{h} pixels{turned}, but {annotations} has it as {width}x{height}; "
            "use the image that was annotated, or correct width, height and annotations"
        )
