"""Sources with a file of regions for each image: found by name, read with the image."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from seg.core.errors import DataError
from seg.raw.findings import Finding
from seg.raw.record import Item, Record
from seg.sources.annotation_file import refuse_other_size
from seg.sources.base import Drawn
from seg.sources.listing import no_images
from seg.sources.pairing import Part, image_item, matched, parts_of, place_below, unique
from seg.sources.regions import Faults, Region, record_of


@dataclass(frozen=True, slots=True)
class Described:
    """What a file says of its image. size: (height, width), where it has it."""

    regions: list[Region]
    size: tuple[int, int] | None = None


@dataclass(kw_only=True, eq=False)
class FilePerImage(Drawn):
    """Images under `root`/`images`, a file for each under `root`/`annotations`, of the image's name with or without its suffix.

    Both may be one folder. `{split}` in them stands for train, val and test where the split is given by folders; other patterns
    are as `Place` has them. skip_unlabelled: leave
    images without a file out, do not refuse them. The other arguments are as for `Drawn`.
    """

    images: str
    annotations: str
    skip_unlabelled: bool

    SUFFIXES: ClassVar[tuple[str, ...]] = (".json",)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.parts = parts_of(self.split, "{split}/images", images=self.images, annotations=self.annotations)

    def image_key(self, name: str) -> str | None:
        """What pairs an image, by its relative name without suffix, with its file; None where it is no image of the data set."""
        return name

    def file_key(self, name: str) -> str | None:
        """The same of a file."""
        return name

    def described(self, path: Path, image: Path, size: tuple[int, int], faults: Faults) -> Described:
        """What a file says of an image of (height, width). What is invalid in it goes through `faults`."""
        raise NotImplementedError

    def items(self) -> list[Item]:
        return unique([item for part in self.parts for item in self._part(part)])

    def read(self, item: Item) -> Record:
        image, path = Path(item.files[0]), Path(item.files[1])
        raw = self.reader.read(image)
        found: list[Finding] = []
        height, width = raw.pixels.shape[:2]
        described = self.described(path, image, (height, width), Faults(self.rules.skip, found))
        if described.size is not None:
            refuse_other_size(image, raw.pixels, described.size, str(path))
        findings = [replace(finding, image_id=item.image_id) for finding in found]
        return record_of(item.image_id, raw, described.regions, str(path), self.rules, findings)

    def _part(self, part: Part) -> list[Item]:
        place = place_below(Path(self.root), self.images, part, "data.source.images")
        labels = place_below(Path(self.root), self.annotations, part, "data.source.annotations")
        images, folder = place.base, labels.base
        found = {key: path for name, path in place.files().items() if (key := self.image_key(name)) is not None}
        if not found:
            raise no_images(images)
        files = {key: path for name, path in labels.files(suffixes=self.SUFFIXES).items() if (key := self.file_key(name)) is not None}
        pairs = self._matched(found, images, files)
        if not pairs:
            raise DataError(
                f"{folder}: none of its {len(files)} files ({', '.join(self.SUFFIXES)}) has the name of an image in {images}, such as "
                f"{next(iter(found.values())).name}; set data.source.annotations",
                kind="image-without-label",
            )
        self._tell_unpaired([path for name, path in found.items() if name not in pairs], images, folder)
        if lost := sorted(str(path) for path in set(files.values()) - set(pairs.values())):
            what = f"{len(lost)} files have no image and are left out, such as {Path(lost[0]).name}"
            self.findings.append(Finding("label-without-image", str(folder), what))
        return [image_item(name, part, images, path, [str(pairs[name])]) for name, path in found.items() if name in pairs]

    def _matched(self, found: dict[str, Path], images: Path, files: dict[str, Path]) -> dict[str, Path]:
        whole = {f"{name}{path.suffix}": name for name, path in found.items()}
        return matched(found, images, {**files, **{whole[key]: path for key, path in files.items() if key in whole}})

    def _tell_unpaired(self, missing: list[Path], images: Path, folder: Path) -> None:
        if not missing:
            return
        if not self.skip_unlabelled:
            more = f" (and {len(missing) - 1} more images without one)" if len(missing) > 1 else ""
            raise DataError(
                f"{missing[0]}: has no file of its name in {folder}{more}; add one (without regions, if the image holds no object), or "
                "leave such images out with data.source.skip_unlabelled=true",
                kind="image-without-label",
            )
        what = f"{len(missing)} images have no file of their name and are left out, such as {missing[0].name}"
        self.findings.append(Finding("image-without-label", str(images), what))
