"""Annotation files that hold the regions of many images: the images are looked for on disk, and made Items of."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml import ElementTree as Xml

from seg.core.errors import AnnotationError, DataError
from seg.core.natural import natural_key
from seg.core.textfile import composed, is_file, json_of, read_file
from seg.data.imagefile import IMAGE_SUFFIXES
from seg.raw.findings import Finding
from seg.raw.record import Item, Record
from seg.sources.base import Regions
from seg.sources.images import ImageReader
from seg.sources.listing import Names, files_below
from seg.sources.pairing import Part, file_below, folder_below, parts_of
from seg.sources.regions import Region, Rules, packed, record_of, unpacked


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """An image that a file names. name: as the file has it. size: (height, width), where the file has it. split: where the file has it."""

    name: str
    size: tuple[int, int] | None
    regions: list[Region]
    split: str | None = None


@dataclass(kw_only=True, eq=False)
class AnnotationFile(Regions):
    """The file `root`/`annotations` and the images that it names, below `root`/`images`.

    An image that does not lie where its name says is the only one of this last name there. `{split}` in `annotations`, and in `images` if
    they are apart, stands for train, val and test where the split is given by folders.
    """

    annotations: str
    images: str

    EXAMPLE: ClassVar[str] = "{split}.json"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.parts = self.parts_of()

    def parts_of(self) -> tuple[Part, ...]:
        """The parts of the layout."""
        return parts_of(self.split, self.EXAMPLE, annotations=self.annotations)

    def images_of(self, path: Path, part: Part) -> Iterable[AnnotatedImage]:
        """The images that a file names; what is invalid in it goes through `self.faults`."""
        raise NotImplementedError

    def items(self) -> list[Item]:
        items: list[Item] = []
        folders = []
        for part in self.parts:
            path = file_below(Path(self.root), self.annotations, part, "data.source.annotations")
            folder = folder_below(Path(self.root), self.images, part, "data.source.images")
            items += items_of(part, path, folder, list(self.images_of(path, part)), self.rules, self.findings)
            folders.append(folder)
        note_unnamed(items, folders, self.findings)
        return items

    def read(self, item: Item) -> Record:
        return read_item(item, self.reader, self.rules)


def items_of(
    part: Part, path: Path, folder: Path, images: Sequence[AnnotatedImage], rules: Rules, findings: list[Finding] | None = None
) -> list[Item]:
    """The Items of all images that the file `path` names, by name, with their regions as text.

    DataError where an image does not lie in `folder`, stands twice, or a label is of no class.
    """
    places = _places(path, folder, [image.name for image in images], [] if findings is None else findings)
    rules.refuse_unknown(Counter(region.label for image in images for region in image.regions), path)
    items = []
    for place, image in sorted(zip(places, images, strict=True), key=lambda one: natural_key(one[0])):
        image_id = composed(PurePosixPath(place).with_suffix("").as_posix())
        labels = f"{json.dumps(image.size)}\n{packed(image.regions)}"
        names = dict.fromkeys((image_id, PurePosixPath(image.name).as_posix(), place, PurePosixPath(place).name))
        items.append(Item(image_id, image.split or part.split, (str(folder / place), str(path)), tuple(names), labels))
    return items


def note_unnamed(items: Sequence[Item], folders: Sequence[Path], findings: list[Finding]) -> None:
    """Add the images in the folders that no annotation file names to the findings. items: those of `items_of`, of all splits."""
    named = {Path(item.files[0]) for item in items}
    for folder in dict.fromkeys(folders):
        unused = [name for name in files_below(folder, IMAGE_SUFFIXES) if folder / name not in named]
        if unused:
            files = sorted({Path(item.files[1]).name for item in items if Path(item.files[0]).is_relative_to(folder)})
            what = f"{len(unused)} images are not named in {' or '.join(files)} and are left out, such as {unused[0]}"
            findings.append(Finding("image-without-label", str(folder), what))


def read_item(item: Item, reader: ImageReader, rules: Rules) -> Record:
    """The Record of an Item of `items_of`; DataError where its image has another size than the file says."""
    path, annotations = Path(item.files[0]), item.files[1]
    raw = reader.read(path)
    size, _, regions = item.labels.partition("\n")
    if (expected := json.loads(size)) is not None:
        refuse_other_size(path, raw.pixels, expected, annotations)
    findings = [replace(raw.turned, image_id=item.image_id)] if raw.turned and expected is None else []
    return record_of(item.image_id, raw, unpacked(regions), annotations, rules, findings)


def refuse_other_size(path: Path, image: np.ndarray, size: Sequence[int], annotations: str) -> None:
    """DataError where an image (H, W, C) has another size (height, width) than its annotations say."""
    (h, w), (height, width) = image.shape[:2], size
    if (h, w) != (height, width):
        turned = " (the file's EXIF orientation, which is applied on reading, may turn it)" if (w, h) == (height, width) else ""
        mend = (
            f"; if it was annotated as it is seen and the program mixed up its sides, as Label Studio does in COCO, multiply "
            f"x by {w}/{width}, y by {h}/{height} and swap width and height"
            if turned
            else ""
        )
        raise DataError(
            f"{path}: is {w}x{h} pixels{turned}, but {annotations} has it as {width}x{height}; "
            f"use the image that was annotated, or correct width, height and annotations{mend}",
            kind="size-mismatch",
        )


def _places(path: Path, folder: Path, names: Sequence[str], findings: list[Finding]) -> list[str]:
    """Where the images lie below `folder` that the file `path` names; DataError where one does not, or two are one."""
    if not names:
        raise AnnotationError(f"{path}: names no images; set data.source.annotations")
    there: Names | None = None
    places, apart, missing = [], [], []
    for name in names:
        tidy = name.replace("\\", "/")
        place: str | None = tidy if _is_below(tidy) and is_file(folder / tidy) else None
        if place is None:
            there = Names(files_below(folder, IMAGE_SUFFIXES)) if there is None else there
            place = there.get(tidy) or there.by_stem(tidy)
        if place is None and there is not None and (place := there.by_last(tidy)) is not None:
            apart.append((name, place))
        if place is None:
            missing.append(name)
        places.append(PurePosixPath(place or "").as_posix())
    if missing:
        more = f" (and {len(missing) - 1} more images)" if len(missing) > 1 else ""
        first = sorted(missing)[0]
        raise DataError(
            f"{path}: there is no image {folder / first}{more}, nor a single one of this last name; add it, set data.source.images, or "
            "correct its file_name",
            kind="label-without-image",
        )
    if apart:
        what = f"{len(apart)} images do not lie where it says and are found by their last name, such as {apart[0][0]}: {apart[0][1]}"
        findings.append(Finding("other-image-name", str(path), what, "see that it is the right one"))
    _refuse_twice(path, names, places)
    return places


def _refuse_twice(path: Path, names: Sequence[str], places: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for name, place in zip(names, places, strict=True):
        stem = composed(PurePosixPath(place).with_suffix("").as_posix())
        if stem in seen:
            raise DataError(
                f"{path}: {name!r} has the same name as {seen[stem]!r}; list each image once, and rename one of two files",
                kind="name-collision",
            )
        seen[stem] = name


def _is_below(name: str) -> bool:
    place = PurePosixPath(name)
    return not place.is_absolute() and ".." not in place.parts and bool(place.name)


def read_xml(path: Path, form: str) -> Any:
    """The root element of an XML file; DataError where it is none. form: what it is to be exported as again."""
    try:
        return Xml.parse(path).getroot()
    except DefusedXmlException:
        raise AnnotationError(f"{path}: declares entities, which are not read; export it again as {form}") from None
    except (Xml.ParseError, ValueError, LookupError) as error:
        raise AnnotationError(f"{path}: is not XML ({error}); export it again as {form}") from None


def read_json(path: Path) -> Any:
    """The content of a file; DataError where it is no JSON."""
    try:
        return json_of(read_file(path))
    except DataError:
        raise
    except ValueError as error:
        raise AnnotationError(f"{path}: is not JSON ({error}); export it again") from None


def number_of(entry: Mapping[str, Any], key: str, where: str) -> float:
    """A number of an entry, maybe not a finite one; DataError where it is missing, or none."""
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise AnnotationError(f"{where}: has {key}={value!r}, expected a number; correct it, or export the file again")
    return float(value)


def numbers_of(entry: Mapping[str, Any], key: str, where: str) -> list[float]:
    """A list of numbers of an entry; DataError where it is missing, or none."""
    values = entry.get(key)
    if not isinstance(values, list) or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        raise AnnotationError(f"{where}: has {key}={str(values)[:60]}, expected a list of numbers; correct it, or export the file again")
    return [float(v) for v in values]
