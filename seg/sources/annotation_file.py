"""Annotation files that hold the regions of many images: the images are looked for on disk, and made Items of."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

from seg.core.errors import AnnotationError, DataError, and_more
from seg.core.textfile import composed, is_file, natural_key
from seg.data.imagefile import IMAGE_SUFFIXES
from seg.raw.record import Finding, Item, Record, of_several
from seg.sources.base import Regions
from seg.sources.listing import Names, files_below, is_below
from seg.sources.pairing import Part, file_below, folder_below, parts_of
from seg.sources.regions import Region, packed, record_of, unpacked


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """An image that a file names. name: as the file has it. size: (height, width), where the file has it. split: where the file has it."""

    name: str
    size: tuple[int, int] | None
    regions: list[Region]
    split: str | None = None


class AnnotationFile(Regions):
    """The file `root`/`annotations` and the images that it names, below `root`/`images`. An image that does not lie where its name says is
    the only one of this last name there."""

    annotations: str
    images: str

    EXAMPLE: ClassVar[str] = "{split}.json"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.parts = self.parts_of()

    def parts_of(self) -> tuple[Part, ...]:
        return parts_of(self.split, self.EXAMPLE, annotations=self.annotations)

    def images_of(self, path: Path, part: Part) -> Iterable[AnnotatedImage]:
        """The images that a file names; what is invalid in it goes through `self.faults`."""
        raise NotImplementedError

    def items(self) -> list[Item]:
        items = super().items()
        named = {Path(item.files[0]) for item in items}
        for folder in dict.fromkeys(map(self._folder, self.parts)):
            unused = [name for name in files_below(folder, IMAGE_SUFFIXES) if folder / name not in named]
            files = sorted({Path(item.files[1]).name for item in items if unused and Path(item.files[0]).is_relative_to(folder)})
            what = f"images are not named in {' or '.join(files)} and are left out"
            self.findings += of_several("image-without-label", folder, unused, what)
        return items

    def _folder(self, part: Part) -> Path:
        return folder_below(Path(self.root), self.images, part, "data.source.images")

    def _part(self, part: Part) -> list[Item]:
        """Of all images that the part's file names, by name, with their regions as text."""
        path = file_below(Path(self.root), self.annotations, part, "data.source.annotations")
        folder, images = self._folder(part), list(self.images_of(path, part))
        places = _places(path, folder, [image.name for image in images], self.findings)
        self.rules.refuse_unknown(Counter(region.label for image in images for region in image.regions), path)
        items = []
        for place, image in sorted(zip(places, images, strict=True), key=lambda one: natural_key(one[0])):
            image_id = composed(PurePosixPath(place).with_suffix("").as_posix())
            labels = f"{json.dumps(image.size)}\n{packed(image.regions)}"
            names = dict.fromkeys((image_id, PurePosixPath(image.name).as_posix(), place, PurePosixPath(place).name))
            items.append(Item(image_id, image.split or part.split, (str(folder / place), str(path)), tuple(names), labels))
        return items

    def read(self, item: Item) -> Record:
        path, annotations = Path(item.files[0]), item.files[1]
        raw = self.reader.read(path)
        size, _, regions = item.labels.partition("\n")
        if (expected := json.loads(size)) is not None:
            raw.refuse_other_size(path, expected, annotations)
        findings = [raw.turned] if raw.turned and expected is None else []
        return record_of(item.image_id, raw, unpacked(regions), annotations, self.rules, findings)


def _places(path: Path, folder: Path, names: Sequence[str], findings: list[Finding]) -> list[str]:
    """Where the images lie below `folder` that the file `path` names; DataError where one does not, or two are one."""
    if not names:
        raise AnnotationError(f"{path}: names no images; set data.source.annotations")
    there: Names | None = None
    places, apart, missing = [], [], []
    for name in names:
        tidy = name.replace("\\", "/")
        place: str | None = tidy if is_below(tidy) and is_file(folder / tidy) else None
        if place is None:
            there = Names(files_below(folder, IMAGE_SUFFIXES)) if there is None else there
            place = there.get(tidy) or there.by_stem(tidy)
        if place is None and there is not None and (place := there.by_last(tidy)) is not None:
            apart.append(f"{name}: {place}")
        if place is None:
            missing.append(name)
        places.append(PurePosixPath(place or "").as_posix())
    if missing:
        first = f"{folder / min(missing)}{and_more(missing, 'images')}"
        fix = "add it, set data.source.images, or correct its file_name"
        raise DataError(f"{path}: there is no image {first}, nor a single one of this last name; {fix}", kind="label-without-image")
    what = "images do not lie where it says and are found by their last name"
    findings += of_several("other-image-name", path, apart, what, "see that it is the right one")
    seen: dict[str, str] = {}
    for name, place in zip(names, places, strict=True):
        if (stem := composed(PurePosixPath(place).with_suffix("").as_posix())) in seen:
            said = f"{name!r} has the same name as {seen[stem]!r}; list each image once, and rename one of two files"
            raise DataError(f"{path}: {said}", kind="name-collision")
        seen[stem] = name
    return places
