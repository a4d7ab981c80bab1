"""What the classes of sources share: the arguments that the program passes, and what common keys of data.source mean."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from seg.data.sample import ClassInfo
from seg.raw.findings import Finding
from seg.raw.record import Item
from seg.sources.images import ImageReader
from seg.sources.outlines import refuse_no_width
from seg.sources.pairing import Layout, paired, parts_of
from seg.sources.regions import Faults, rules_of
from seg.sources.settings import Split


@dataclass(kw_only=True, eq=False)
class RawData:
    """A source below the folder `root`. findings: what `items` leaves out, or finds odd."""

    root: str
    classes: Sequence[ClassInfo]
    reader: ImageReader
    split: Split
    findings: list[Finding] = field(default_factory=list, init=False)


@dataclass(kw_only=True, eq=False)
class Masks(RawData):
    """Images under `root`/`images`, label images of the same relative name under `root`/`masks`, but for the two suffixes.

    Both may be one folder. `{split}` in them stands for the split's folder where the split is given by folders. skip_unlabelled: leave
    images without a mask out, do not refuse them.
    """

    images: str
    masks: str
    image_suffix: str
    mask_suffix: str
    skip_unlabelled: bool

    def __post_init__(self) -> None:
        parts = parts_of(self.split, "{split}/images", images=self.images, masks=self.masks)
        ends = (self.image_suffix, self.mask_suffix)
        self.layout = Layout(Path(self.root), self.images, self.masks, *ends, self.skip_unlabelled, parts)

    def items(self) -> list[Item]:
        return paired(self.layout, self.findings, self.read_mask)

    def read_mask(self, path: Path) -> object:
        """Read a mask alone; DataError where it does not fit the settings."""
        raise NotImplementedError


@dataclass(kw_only=True, eq=False)
class Regions(RawData):
    """Regions with labels, of which a class has those that its entry in data.classes lists, or its name.

    ignore, drop: labels whose regions count neither as instances nor as background, as crowds do; and those that are as if they were not
    there. others: what becomes of labels that are not listed at all: "refuse", "ignore" or "drop". invalid: "refuse" regions that
    are not as their format says, or "skip" them, each with a finding.
    """

    ignore: list[str]
    drop: list[str]
    others: str
    invalid: str = "refuse"

    with_instances = True

    def __post_init__(self) -> None:
        self.rules = rules_of(self.classes, self.ignore, self.drop, self.others, getattr(self, "holes", False), self.invalid)
        self.faults = Faults(self.rules.skip, self.findings)


@dataclass(kw_only=True, eq=False)
class Drawn(Regions):
    """Regions, of which some may be lines and points. line_width, point_radius: pixels of lines, and around points."""

    line_width: float
    point_radius: float

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_no_width(line_width=self.line_width, point_radius=self.point_radius)
