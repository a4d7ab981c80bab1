"""Annotation files that hold the regions of many images: the images are looked for on disk, and made Items of."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from seg.core.errors import DataError
from seg.core.natural import natural_key
from seg.raw.findings import Finding
from seg.raw.record import Item, Record
from seg.sources.images import ImageReader
from seg.sources.pairing import Part, is_picture
from seg.sources.regions import Region, Rules, packed, record_of, unpacked


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """An image that a file names. name: relative to the folder of images. size: (height, width), where the file has it."""

    name: str
    size: tuple[int, int] | None
    regions: list[Region]


def items_of(part: Part, path: Path, folder: Path, images: Sequence[AnnotatedImage], rules: Rules) -> list[Item]:
    """The Items of all images that the file `path` names, by name, with their regions as text.

    DataError where an image does not lie in `folder`, or a label is of no class.
    """
    _find_images(path, folder, sorted(image.name for image in images))
    rules.refuse_unknown(Counter(region.label for image in images for region in image.regions), path)
    items = []
    for image in sorted(images, key=lambda one: natural_key(one.name)):
        place = PurePosixPath(image.name)
        image_id = place.with_suffix("").as_posix()
        labels = f"{json.dumps(image.size)}\n{packed(image.regions)}"
        items.append(Item(image_id, part.split, (str(folder / place), str(path)), (image_id, image.name, place.name), labels))
    return items


def note_unnamed(items: Sequence[Item], folders: Sequence[Path], findings: list[Finding]) -> None:
    """Add the images in the folders that no annotation file names to the findings. items: those of `items_of`, of all splits."""
    named = {Path(item.files[0]) for item in items}
    for folder in dict.fromkeys(folders):
        unused = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if is_picture(p) and p not in named)
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
    return record_of(item.image_id, raw, unpacked(regions), annotations, rules)


def place_of(name: str, where: str, seen: dict[str, str]) -> str:
    """A file's name relative to the folder of images, with slashes; DataError where it leads out of it, or stands twice.

    seen: {name without suffix: name} of those before, to which this one is added.
    """
    place = PurePosixPath(name.replace("\\", "/"))
    if place.is_absolute() or ".." in place.parts or not place.name:
        raise DataError(f"{where}: has the file_name {name!r}, expected a file below data.source.images", kind="bad-annotation")
    stem = place.with_suffix("").as_posix()
    if stem in seen:
        raise DataError(
            f"{where}: {name!r} has the same name as {seen[stem]!r}; list each image once, and rename one of two files",
            kind="name-collision",
        )
    seen[stem] = name
    return place.as_posix()


def refuse_other_size(path: Path, image: np.ndarray, size: Sequence[int], annotations: str) -> None:
    """DataError where an image (H, W, C) has another size (height, width) than its annotations say."""
    (h, w), (height, width) = image.shape[:2], size
    if (h, w) != (height, width):
        turned = " (the file's EXIF orientation, which is applied on reading, may turn it)" if (w, h) == (height, width) else ""
        raise DataError(
            f"{path}: is {w}x{h} pixels{turned}, but {annotations} has it as {width}x{height}; "
            "use the image that was annotated, or correct width, height and annotations",
            kind="size-mismatch",
        )


def _find_images(path: Path, folder: Path, names: Sequence[str]) -> None:
    """DataError where images that the file `path` names do not lie in `folder`."""
    if not names:
        raise DataError(f"{path}: names no images; set data.source.annotations", kind="bad-annotation")
    if missing := [name for name in names if not (folder / name).is_file()]:
        more = f" (and {len(missing) - 1} more images)" if len(missing) > 1 else ""
        raise DataError(
            f"{path}: there is no image {folder / missing[0]}{more}; add it, set data.source.images, or correct its file_name",
            kind="label-without-image",
        )


def read_json(path: Path) -> Any:
    """The content of a file; DataError where it is no JSON."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})", kind="unreadable-file") from None
    except ValueError as error:
        raise DataError(f"{path}: is not JSON ({error}); export it again", kind="bad-annotation") from None


def number_of(entry: Mapping[str, Any], key: str, where: str) -> float:
    """A number of an entry, maybe not a finite one; DataError where it is missing, or none."""
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{where}: has {key}={value!r}, expected a number; correct it, or export the file again", kind="bad-annotation")
    return float(value)


def numbers_of(entry: Mapping[str, Any], key: str, where: str) -> list[float]:
    """A list of numbers of an entry; DataError where it is missing, or none."""
    values = entry.get(key)
    if not isinstance(values, list) or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        raise DataError(
            f"{where}: has {key}={str(values)[:60]}, expected a list of numbers; correct it, or export the file again",
            kind="bad-annotation",
        )
    return [float(v) for v in values]
