"""Images that one annotation file names: looked for on disk, and made Items of."""

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from seg.errors import DataError
from seg.findings import Finding
from seg.sources.base import Item
from seg.sources.pairing import is_picture


def place_of(name: str, where: str, seen: dict[str, str]) -> str:
    """A file's name relative to the folder of images, with slashes; DataError where it leads out of it, or stands twice.

    seen: {name without suffix: name} of those before, to which this one is added.
    """
    place = PurePosixPath(name.replace("\\", "/"))
    if place.is_absolute() or ".." in place.parts or not place.name:
        raise DataError(f"{where}: has the file_name {name!r}, expected a file below data.source.images")
    stem = place.with_suffix("").as_posix()
    if stem in seen:
        raise DataError(f"{where}: {name!r} has the same name as {seen[stem]!r}; list each image once, and rename one of two files")
    seen[stem] = name
    return place.as_posix()


def find_images(path: Path, folder: Path, named: Iterable[str], findings: list[Finding]) -> None:
    """DataError where images that the file `path` names do not lie in `folder`; those that it does not name are a finding."""
    names = sorted(named)
    if not names:
        raise DataError(f"{path}: names no images; set data.source.annotations")
    if missing := [name for name in names if not (folder / name).is_file()]:
        more = f" (and {len(missing) - 1} more images)" if len(missing) > 1 else ""
        raise DataError(f"{path}: there is no image {folder / missing[0]}{more}; add it, set data.source.images, or correct its file_name")
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if is_picture(p)}
    if unused := sorted(there - set(names)):
        what = f"{len(unused)} images are not named in {path.name} and are left out, such as {unused[0]}"
        findings.append(Finding("image-without-label", str(folder), what))


def item_of(part: str | None, path: Path, folder: Path, name: str, labels: str) -> Item:
    """The Item of an image that the file `path` names; its files are the image and that file."""
    place = PurePosixPath(name)
    image_id = place.with_suffix("").as_posix()
    return Item(image_id, part, (str(folder / name), str(path)), (image_id, name, place.name), labels)


def refuse_other_size(path: Path, image: np.ndarray, size: Sequence[int], annotations: str) -> None:
    """DataError where an image (H, W, C) has another size (height, width) than its annotations say."""
    (h, w), (height, width) = image.shape[:2], size
    if (h, w) != (height, width):
        turned = " (the file's EXIF orientation, which is applied on reading, may turn it)" if (w, h) == (height, width) else ""
        raise DataError(
            f"{path}: is {w}x{h} pixels{turned}, but {annotations} has it as {width}x{height}; "
            "use the image that was annotated, or correct width, height and annotations"
        )
