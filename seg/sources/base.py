"""What the classes of sources share: the arguments that the program passes, and what common keys of data.source mean."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, dataclass_transform

from seg.core.errors import ConfigError, DataError, did_you_mean
from seg.data.sample import ClassInfo
from seg.data.windows import window_size
from seg.raw.record import Finding, Item, Record, of_several
from seg.sources.class_map import ClassMap
from seg.sources.images import ImageReader
from seg.sources.listing import no_images
from seg.sources.pairing import Layout, Part, image_item, leave_out, matched, paired, parts_of, place_below, refuse_other_size, unique
from seg.sources.regions import Faults, Region, Rules, record_of
from seg.sources.settings import Split

Described = tuple[list[Region], tuple[int, int] | None]  # what a file says of its image: regions, and (height, width) where it has it


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(field,))
@dataclass(kw_only=True, eq=False)
class RawData:
    """A source below the folder `root`. What the keys of data.source mean says the format's file in conf/data. In a folder's or file's name
    `{split}` stands for the split's own where the split is given by folders; folders of images and of labels may be one. findings: what
    `items` leaves out, or finds odd. Each class of these is a dataclass, too."""

    root: str
    classes: Sequence[ClassInfo]
    reader: ImageReader
    split: Split
    findings: list[Finding] = field(default_factory=list, init=False)
    with_instances: bool = field(default=True, init=False)
    parts: tuple[Part, ...] = field(default=(), init=False)

    def __init_subclass__(cls) -> None:
        dataclass(kw_only=True, eq=False)(cls)

    def items(self) -> list[Item]:
        return unique([item for part in self.parts for item in self._part(part)])

    def _part(self, part: Part) -> list[Item]:
        raise NotImplementedError


class Named(RawData):
    """A source whose labels are names. named: the categories that files name, where these list them."""

    ignore: list[str]
    drop: list[str]
    others: str
    named: set[str] | None = field(default=None, init=False)

    def items(self) -> list[Item]:
        """The images of all parts. ConfigError where `ignore` or `drop` list a category that is not among those that files name."""
        items = super().items()
        for key, labels in (("ignore", self.ignore), ("drop", self.drop)):
            if self.named is not None and (unknown := [label for label in labels if label not in self.named]):
                hint = did_you_mean(unknown[0], self.named, "categories")
                raise ConfigError(f"data.source.{key}: there is no category '{unknown[0]}'; {hint}")
        return items

    def named_classes(self) -> ClassMap:
        return ClassMap(self.classes, str, self.ignore, self.drop, self.others)


class Masks(RawData):
    """Images under `root`/`images`, label images of the same relative name under `root`/`masks`, but for the two suffixes."""

    images: str
    masks: str
    image_suffix: str
    mask_suffix: str
    skip_unlabelled: bool

    WINDOWS = False  # whether `read` heeds an Item's window

    def __post_init__(self) -> None:
        self.parts = parts_of(self.split, "{split}/images", images=self.images, masks=self.masks)
        self.layout = Layout(Path(self.root), self.images, self.masks, self.image_suffix, self.mask_suffix, self.skip_unlabelled)

    def _part(self, part: Part) -> list[Item]:
        return paired(self.layout, part, self.findings, self.read_mask)

    def windowed_size(self, item: Item, above: int) -> tuple[int, int] | None:
        """Height and width of an image of more than `above` pixels; None where it has fewer, or is read whole alone: as one of its files is
        not read by windows, or its own values bring it to 8 bit. DataError for a damaged file, or labels of another size."""
        image, *masks = map(Path, item.files)
        if not self.WINDOWS or isinstance(self.reader.range, str) or (size := window_size(image, above)) is None:
            return None
        for mask in masks:
            if (other := window_size(mask)) is None:
                return None
            refuse_other_size(mask, other, image, size)
        return size

    def read_mask(self, path: Path) -> object:
        """Read a mask alone; DataError where it does not fit the settings."""
        raise NotImplementedError


class Regions(Named):
    """Regions with labels, of which a class has those that its entry in data.classes lists, or its name."""

    invalid: str = "refuse"

    def __post_init__(self) -> None:
        self.rules = Rules(self.classes, self.ignore, self.drop, self.others, getattr(self, "holes", False), self.invalid)
        self.faults = Faults(self.rules.skip, self.findings)


class Drawn(Regions):
    """Regions, of which some may be lines and points. line_width, point_radius: pixels of lines, and around points."""

    line_width: float
    point_radius: float

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, value in (("line_width", self.line_width), ("point_radius", self.point_radius)):
            if not 0 < value < 1e4:
                fix = "to leave such shapes out, drop their labels"
                raise ConfigError(f"data.source.{key}={value}: expected a number of pixels above 0; {fix}")


class FilePerImage(Drawn):
    """Images under `root`/`images`, a file for each under `root`/`annotations`, of the image's name with or without its suffix. Patterns
    are as `Place` has them. The other arguments are as for `Drawn`."""

    images: str
    annotations: str
    skip_unlabelled: bool

    SUFFIXES: ClassVar[tuple[str, ...]] = (".json",)
    EXAMPLE: ClassVar[str] = "{split}/images"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.parts = parts_of(self.split, self.EXAMPLE, images=self.images, annotations=self.annotations)

    def image_key(self, name: str) -> str | None:
        """What pairs an image, by its relative name without suffix, with its file; None where it is no image of the data set."""
        return name

    def file_key(self, name: str) -> str | None:
        return name

    def described(self, path: Path, image: Path, size: tuple[int, int], faults: Faults) -> Described:
        """What a file says of an image of (height, width). What is invalid in it goes through `faults`."""
        raise NotImplementedError

    def read(self, item: Item) -> Record:
        image, path = Path(item.files[0]), Path(item.files[1])
        raw = self.reader.read(image)
        found: list[Finding] = []
        height, width = raw.pixels.shape[:2]
        regions, size = self.described(path, image, (height, width), Faults(self.rules.skip, found))
        if size is not None:
            raw.refuse_other_size(image, size, str(path))
        return record_of(item.image_id, raw, regions, str(path), self.rules, found)

    def _part(self, part: Part) -> list[Item]:
        place = place_below(Path(self.root), self.images, part, "data.source.images")
        labels = place_below(Path(self.root), self.annotations, part, "data.source.annotations")
        images, folder = place.base, labels.base
        found = {key: path for name, path in place.files().items() if (key := self.image_key(name)) is not None}
        if not found:
            raise no_images(images)
        files = {key: path for name, path in labels.files(suffixes=self.SUFFIXES).items() if (key := self.file_key(name)) is not None}
        whole = {f"{name}{path.suffix}": name for name, path in found.items()}
        pairs = matched(found, images, {**files, **{whole[key]: path for key, path in files.items() if key in whole}})
        if not pairs:
            what = f"none of its {len(files)} files ({', '.join(self.SUFFIXES)}) has the name of an image in {images}"
            fix = f"such as {next(iter(found.values())).name}; set data.source.annotations"
            raise DataError(f"{folder}: {what}, {fix}", kind="image-without-label")
        missing = [path for name, path in found.items() if name not in pairs]
        lacks, fix = f"file of its name in {folder}", "add one (without regions, if the image holds no object)"
        leave_out(self.findings, images, missing, self.skip_unlabelled, "file of their name", lacks, fix)
        lost = [path.name for path in sorted(set(files.values()) - set(pairs.values()), key=str)]
        self.findings += of_several("label-without-image", folder, lost, "files have no image and are left out")
        return [image_item(name, part, images, path, [str(pairs[name])]) for name, path in found.items() if name in pairs]
