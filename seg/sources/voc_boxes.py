"""`voc_boxes`: images, and an XML file of boxes for each, as Pascal VOC has its detection (http://host.robots.ox.ac.uk/pascal/VOC)."""

from pathlib import Path
from typing import Any, ClassVar

from seg.core.errors import AnnotationError, ConfigError
from seg.sources.base import Described, FilePerImage
from seg.sources.content import read_xml
from seg.sources.part_rle import rectangle
from seg.sources.regions import Faults, Region

FORMAT = "Pascal VOC"


class VocBoxes(FilePerImage):
    """The other arguments are as for `FilePerImage`. boxes: whether boxes become rectangles; else they are refused. first_pixel: the number
    of the first row and column, 1 in VOC, of which the box holds the last, too; 0 where a program writes continuous coordinates. Objects
    that are `difficult` are crowds: they count neither as objects nor as background, as in VOC's own evaluation."""

    boxes: bool
    first_pixel: int
    line_width: float = 1.0
    point_radius: float = 1.0

    SUFFIXES: ClassVar[tuple[str, ...]] = (".xml",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.boxes:
            fix = "set task=detection, or make rectangles of them with data.source.boxes=true"
            raise ConfigError(f"data.source.boxes=false: these files hold boxes alone, which are no masks; {fix}")

    def described(self, path: Path, image: Path, size: tuple[int, int], faults: Faults) -> Described:
        root = read_xml(path, FORMAT)
        if root.tag != "annotation":
            raise AnnotationError(f"{path}: starts with <{root.tag}>, expected <annotation>; export it again as {FORMAT}")
        regions = faults.each(enumerate(root.findall("object")), lambda n, found: self._region(found, f"{path}, object {n}", f"object {n}"))
        stored = [root.findtext(f"size/{side}", "") for side in ("height", "width")]
        known = all(text.isdecimal() and int(text) for text in stored)
        return regions, (int(stored[0]), int(stored[1])) if known else None

    def _region(self, element: Any, where: str, name: str) -> Region:
        if not (label := (element.findtext("name") or "").strip()):
            raise AnnotationError(f"{where}: has no <name>; add the class's name, or remove the object")
        try:
            x1, y1, x2, y2 = (float(element.findtext(f"bndbox/{side}", "")) for side in ("xmin", "ymin", "xmax", "ymax"))
        except ValueError:
            raise AnnotationError(f"{where}: has no <bndbox> of four numbers; export it again as {FORMAT}") from None
        box = rectangle(x1 - self.first_pixel, y1 - self.first_pixel, x2, y2)
        return Region(name, label, [box], crowd=element.findtext("difficult", "0").strip() == "1")
