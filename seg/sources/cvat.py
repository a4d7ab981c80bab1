"""`cvat`: an XML file "CVAT for images 1.1" and a folder of images (https://docs.cvat.ai/docs/manual/advanced/xml_format)."""

from collections.abc import Sequence
from math import isnan, nan
from pathlib import Path
from typing import Any

from defusedxml import DefusedXmlException
from defusedxml import ElementTree as Xml

from seg.core.errors import DataError
from seg.data.sample import ClassInfo
from seg.raw.findings import Finding
from seg.raw.record import Item, Record
from seg.sources.annotation_file import AnnotatedImage, items_of, note_unnamed, place_of, read_item
from seg.sources.images import ImageReader
from seg.sources.outlines import ellipse, rectangle, refuse_no_width
from seg.sources.pairing import file_below, folder_below, parts_of
from seg.sources.part_rle import Part
from seg.sources.regions import Region, rules_of
from seg.sources.settings import Split

FORMAT = "'CVAT for images 1.1'"
SHAPES = ("polygon", "box", "ellipse", "polyline", "points", "mask")


class Cvat:
    """The file `root`/`annotations` and the images that it names, below `root`/`images`.

    line_width, point_radius: pixels of polylines, and around points. Of shapes that overlap the one with the higher z_order
    lies on top. Shapes of one label and group_id (0 is none) are one object; holes: polygons inside others of the same
    object are holes. What is occluded is kept as drawn; tags of images are passed over. `{split}` in `annotations`,
    and in `images` if they are apart, stands for train, val and test where the split is given by folders.
    """

    with_instances = True

    def __init__(
        self,
        root: str,
        annotations: str,
        images: str,
        line_width: float,
        point_radius: float,
        holes: bool,
        ignore: list[str],
        drop: list[str],
        others: str,
        classes: Sequence[ClassInfo],
        reader: ImageReader,
        split: Split,
    ) -> None:
        refuse_no_width(line_width=line_width, point_radius=point_radius)
        self.findings: list[Finding] = []
        self.root, self.annotations, self.images = Path(root), annotations, images
        self.parts = parts_of(split, "{split}.xml", annotations=annotations)
        self.line_width, self.point_radius = line_width, point_radius
        self.rules, self.reader = rules_of(classes, ignore, drop, others, holes), reader

    def items(self) -> list[Item]:
        items: list[Item] = []
        folders = []
        for part in self.parts:
            path = file_below(self.root, self.annotations, part, "data.source.annotations")
            folder = folder_below(self.root, self.images, part, "data.source.images")
            stems: dict[str, str] = {}
            images = [self._image(path, element, stems) for element in _images(path)]
            items += items_of(part, path, folder, images, self.rules)
            folders.append(folder)
        note_unnamed(items, folders, self.findings)
        return items

    def read(self, item: Item) -> Record:
        return read_item(item, self.reader, self.rules)

    def _image(self, path: Path, element: Any, stems: dict[str, str]) -> AnnotatedImage:
        where = f"{path}, image {element.get('id', '?')}"
        if not element.get("name"):
            raise DataError(f"{where}: has no name; export it again", kind="bad-annotation")
        name = place_of(element.get("name"), where, stems)
        regions = []
        for number, shape in enumerate(s for s in element if s.tag != "tag"):
            at = f"{name}, {shape.tag} {number}"
            if shape.tag not in SHAPES:
                raise DataError(
                    f"{path}, {at}: is a {shape.tag}, expected {', '.join(SHAPES)}; redraw it as one of them, or remove it",
                    kind="bad-annotation",
                )
            if not shape.get("label"):
                raise DataError(f"{path}, {at}: has no label; give it one in CVAT, or remove it", kind="image-without-label")
            parts = _parts(shape, f"{path}, {at}", self.line_width, self.point_radius)
            group = shape.get("group_id", "0")
            z = _whole(shape, "z_order", f"{path}, {at}", 0)
            regions.append(Region(at, shape.get("label"), parts, group=None if group in ("", "0") else group, z=z))
        return AnnotatedImage(name, (_whole(element, "height", where), _whole(element, "width", where)), regions)


def _images(path: Path) -> list[Any]:
    """The elements <image> of a file; DataError where it is no XML, or of another of CVAT's formats."""
    try:
        root = Xml.parse(path).getroot()
    except DefusedXmlException:
        raise DataError(f"{path}: declares entities, which are not read; export it again as {FORMAT}", kind="bad-annotation") from None
    except (Xml.ParseError, ValueError) as error:
        raise DataError(f"{path}: is not XML ({error}); export it again as {FORMAT}", kind="bad-annotation") from None
    if root.tag != "annotations":
        raise DataError(f"{path}: starts with <{root.tag}>, expected <annotations>; export the task as {FORMAT}", kind="bad-annotation")
    if tracks := root.findall("track"):
        raise DataError(
            f"{path}: holds {len(tracks)} tracks, shapes that move and may be outside of a frame; export the task as {FORMAT}, "
            "which has the shapes of each frame, with its images",
            kind="bad-annotation",
        )
    return list(root.findall("image"))


def _parts(shape: Any, where: str, line_width: float, point_radius: float) -> list[Part]:
    def value(key: str) -> float:
        return _number(shape.get(key), key, where)

    if shape.tag == "box":
        return [rectangle(value("xtl"), value("ytl"), value("xbr"), value("ybr"), _number(shape.get("rotation", "0"), "rotation", where))]
    if shape.tag == "ellipse":
        turn = _number(shape.get("rotation", "0"), "rotation", where)
        return [ellipse(value("cx"), value("cy"), value("rx"), value("ry"), turn)]
    if shape.tag == "mask":
        place = {key: _whole(shape, key, where) for key in ("left", "top", "width", "height")}
        runs = [_number(run, "rle", where) for run in shape.get("rle", "").split(",")]
        if any(isnan(run) or run < 0 or run % 1 for run in runs) or sum(runs) != place["width"] * place["height"]:
            raise DataError(
                f"{where}: its rle does not fill {place['width']}x{place['height']} pixels; export it again, or redraw it",
                kind="bad-annotation",
            )
        return [{**place, "runs": [int(run) for run in runs]}]
    pairs = [pair.split(",") for pair in shape.get("points", "").split(";") if pair.strip()]
    if any(len(pair) != 2 for pair in pairs):
        raise DataError(f"{where}: has points that are not 'x,y;x,y;...'; export it again, or redraw it", kind="bad-annotation")
    flat = [_number(text, "points", where) for pair in pairs for text in pair]
    if shape.tag == "polyline":
        return [{"line": flat, "width": line_width}]
    if shape.tag == "points":
        return [ellipse(x, y, point_radius, point_radius) for x, y in zip(flat[::2], flat[1::2], strict=True)]
    return [flat]


def _number(text: str | None, key: str, where: str) -> float:
    try:
        return float(text if text is not None else nan)
    except ValueError:
        raise DataError(f"{where}: has {key}={text!r}, expected a number; export it again", kind="bad-annotation") from None


def _whole(element: Any, key: str, where: str, default: int | None = None) -> int:
    text = element.get(key)
    if text is None and default is not None:
        return default
    try:
        return int(text)
    except (TypeError, ValueError):
        raise DataError(f"{where}: has {key}={text!r}, expected a whole number; export it again", kind="bad-annotation") from None
