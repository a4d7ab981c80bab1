"""`yolo`: images and text files of polygons, as YOLO segmentation has them: a line an object, `class x1 y1 x2 y2 ...` in 0..1."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from seg.core.errors import DataError
from seg.data.imagefile import IMAGE_SUFFIXES
from seg.data.sample import ClassInfo
from seg.raw.findings import Finding
from seg.raw.record import Item, Record
from seg.sources.images import ImageReader
from seg.sources.outlines import rectangle
from seg.sources.pairing import Part, file_below, folder_below, parts_of, pictures
from seg.sources.regions import Region, record_of, rules_of
from seg.sources.settings import Split

FAR = 1.0  # image sizes beyond the image from which a number must be of something else, such as pixels


class Yolo:
    """Images under `root`/`images`, text files of the same relative name under `root`/`annotations`; no file, or an empty one: no object.

    names: the file below `root` with the names of the class ids (YAML with `names`, a list or ids with names; or a text file
    with a name a line); null: the one that lies there under a usual name. boxes: whether lines of a box alone (class, centre,
    width, height) become rectangles; else they are refused. `{split}` in `images` and `annotations` stands for train, val and
    test where the split is given by folders.
    """

    with_instances = True

    def __init__(
        self,
        root: str,
        images: str,
        annotations: str,
        names: str | None,
        boxes: bool,
        ignore: list[str],
        drop: list[str],
        others: str,
        classes: Sequence[ClassInfo],
        reader: ImageReader,
        split: Split,
    ) -> None:
        self.findings: list[Finding] = []
        self.root, self.images, self.annotations, self.boxes = Path(root), images, annotations, boxes
        self.parts = parts_of(split, "images/{split}", images=images, annotations=annotations)
        self.names_file, self.names_path = names, ""
        self.names: dict[int, str] = {}  # read with the items
        self.rules, self.reader = rules_of(classes, ignore, drop, others, False), reader

    def items(self) -> list[Item]:
        self.names, self.names_path = read_names(self.root, self.names_file)
        items = [item for part in self.parts for item in self._part(part)]
        if not any(item.files[1] for item in items):
            raise DataError(
                f"{self.root / self.annotations}: no image has a label file there; set data.source.annotations", kind="bad-annotation"
            )
        return items

    def read(self, item: Item) -> Record:
        path, labels = Path(item.files[0]), item.files[1]
        raw = self.reader.read(path)
        height, width = raw.pixels.shape[:2]
        try:
            lines = Path(labels).read_text("utf-8-sig").splitlines() if labels else []
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{labels}: cannot be read as text ({error}); export it again", kind="unreadable-file") from None
        regions = [self._region(line.split(), number, labels, height, width) for number, line in enumerate(lines, start=1) if line.strip()]
        return record_of(item.image_id, raw, regions, labels, self.rules)

    def _part(self, part: Part) -> list[Item]:
        images = folder_below(self.root, self.images, part, "data.source.images")
        labels = folder_below(self.root, self.annotations, part, "data.source.annotations")
        found = pictures(images, "")
        if not found:
            raise DataError(f"{images}: holds no images ({', '.join(IMAGE_SUFFIXES)}); set data.source.images", kind="missing-file")
        files = {p.relative_to(labels).with_suffix("").as_posix(): p for p in sorted(labels.rglob("*.txt")) if p.name not in NAMES}
        if lost := sorted(files.keys() - found.keys()):
            what = f"{len(lost)} label files have no image and are left out, such as {files[lost[0]].name}"
            self.findings.append(Finding("label-without-image", str(labels), what))
        if missing := sorted(found.keys() - files.keys()):
            what = f"{len(missing)} images have no label file and are taken to hold no object, such as {found[missing[0]].name}"
            self.findings.append(Finding("image-without-label", str(images), what))
        return [
            Item(name, part.split, (str(path), str(files.get(name, ""))), (name, path.relative_to(images).as_posix(), path.name))
            for name, path in found.items()
        ]

    def _region(self, words: Sequence[str], number: int, file: str, height: int, width: int) -> Region:
        where = f"{file}, line {number}"
        try:
            index, *values = (float(word) for word in words)
        except ValueError:
            raise DataError(f"{where}: is no line of numbers 'class x1 y1 x2 y2 ...'; export it again", kind="bad-annotation") from None
        if index not in self.names:
            raise DataError(
                f"{where}: the class {words[0]} has no name in {self.names_path}; add it there, or correct the line", kind="bad-annotation"
            )
        if far := [v for v in values if not -FAR <= v <= 1 + FAR and v == v]:
            raise DataError(
                f"{where}: has the coordinate {far[0]:g}, expected 0..1, shares of width and height; are they pixels? export it again",
                kind="bad-annotation",
            )
        if len(values) == 4:
            if not self.boxes:
                raise DataError(
                    f"{where}: is a box alone, which is no mask; export polygons, or make rectangles of boxes with data.source.boxes=true",
                    kind="bad-annotation",
                )
            x, y, w, h = values
            values = rectangle(x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        if len(values) % 2:
            raise DataError(
                f"{where}: has {len(values)} numbers after the class, expected pairs of x and y; export it again", kind="bad-annotation"
            )
        return Region(f"line {number}", self.names[int(index)], [[v * (height if i % 2 else width) for i, v in enumerate(values)]])


NAMES = ("data.yaml", "dataset.yaml", "config.yaml", "data.yml", "classes.txt", "obj.names")


def read_names(root: Path, name: str | None) -> tuple[dict[int, str], str]:
    """{id: name} and the file's path: `root`/`name`, or without it the one that lies in `root` under a usual name.

    DataError where there is none, or it is malformed.
    """
    if name is None:
        there = [n for n in NAMES if (root / n).is_file()]
        if len(there) != 1:
            held = f"holds {' and '.join(there)}" if there else f"holds none of {', '.join(NAMES)}"
            raise DataError(f"{root}: {held}; name the file with the classes' names in data.source.names", kind="bad-annotation")
        name = there[0]
    path = file_below(root, name, None, "data.source.names")
    try:
        text = path.read_text("utf-8-sig")
        if path.suffix.lower() not in (".yaml", ".yml"):
            return dict(enumerate(line.strip() for line in text.splitlines() if line.strip())), str(path)
        content = yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise DataError(f"{path}: cannot be read ({' '.join(str(error).split())[:120]}); correct it", kind="unreadable-file") from None
    names = content.get("names") if isinstance(content, dict) else None
    if not isinstance(names, list | dict) or not names:
        raise DataError(f"{path}: has no 'names', expected a list of names, or ids with names", kind="bad-annotation")
    found = dict(names.items() if isinstance(names, dict) else enumerate(names))
    for key, value in found.items():
        if type(key) is not int or not isinstance(value, int | str) or isinstance(value, bool):
            raise DataError(
                f"{path}: names has {key!r}: {value!r}, expected a whole number and text; put quotes around the name", kind="bad-annotation"
            )
    return {key: str(value) for key, value in found.items()}, str(path)
