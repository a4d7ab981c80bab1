"""`yolo`: images and text files of polygons, as YOLO segmentation has them: a line an object, `class x1 y1 x2 y2 ...` in 0..1."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from seg.core.errors import AnnotationError, UnreadableError
from seg.core.textfile import read_text, yaml_of
from seg.raw.record import Finding, Item, Record, of_several
from seg.sources.base import Regions
from seg.sources.listing import no_images
from seg.sources.pairing import Part, file_below, image_item, parts_of, place_below
from seg.sources.part_rle import rectangle
from seg.sources.regions import Faults, Region, record_of

NOT_LABELS = ("classes.txt", "notes.txt", "README.txt", "train.txt", "val.txt", "test.txt")
NAMES = ("data.yaml", "dataset.yaml", "config.yaml", "data.yml", "classes.txt", "obj.names")
FAR = 1.0  # image sizes beyond the image from which a number must be of something else, such as pixels


class Yolo(Regions):
    """Images under `root`/`images`, text files of the same relative name under `root`/`annotations`; no file, or an empty one: no object.

    names: the file below `root` with the names of the class ids (YAML with `names`, a list or ids with names; or a text file
    with a name a line); null: the one that lies there under a usual name. boxes: whether lines of a box alone (class, centre,
    width, height) become rectangles, or are left out ("skip"); else they are refused. `{split}` in `images` and `annotations` stands for
    train, val and test where the split is given by folders; other patterns are as `Place` has them. The other arguments are as for
    `Regions`."""

    images: str
    annotations: str
    names: str | None
    boxes: bool | Literal["skip"]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.parts = parts_of(self.split, "images/{split}", images=self.images, annotations=self.annotations)
        self.by_id: dict[int, str] = {}  # read with the items, as is the path of their file
        self.names_path = ""

    def items(self) -> list[Item]:
        self.by_id, self.names_path = read_names(Path(self.root), self.names)
        items = super().items()
        if not any(item.files[1] for item in items):
            raise AnnotationError(f"{Path(self.root) / self.annotations}: no image has a label file there; set data.source.annotations")
        return items

    def read(self, item: Item) -> Record:
        path, labels = Path(item.files[0]), item.files[1]
        raw = self.reader.read(path)
        height, width = raw.pixels.shape[:2]
        findings = [raw.turned] if raw.turned else []
        boxed: list[int] = []
        lines = enumerate(read_text(Path(labels)).splitlines() if labels else [], start=1)
        numbered = [(number, line.split()) for number, line in lines if line.strip()]
        regions = Faults(self.rules.skip, findings).each(numbered, lambda n, words: self._region(words, n, labels, height, width, boxed))
        if boxed:
            kept = "become rectangles" if self.boxes is True else "are left out"
            findings.append(Finding("box-alone", labels, f"{len(boxed)} lines are boxes alone, such as line {boxed[0]}, and {kept}"))
        return record_of(item.image_id, raw, regions, labels, self.rules, findings)

    def _part(self, part: Part) -> list[Item]:
        place = place_below(Path(self.root), self.images, part, "data.source.images")
        texts = place_below(Path(self.root), self.annotations, part, "data.source.annotations")
        images, labels, found = place.base, texts.base, place.files()
        if not found:
            raise no_images(images)
        files = {name: path for name, path in texts.files(suffixes=(".txt",)).items() if path.name not in NOT_LABELS}
        lost = [files[name].name for name in sorted(files.keys() - found.keys())]
        self.findings += of_several("label-without-image", labels, lost, "label files have no image and are left out")
        missing = [found[name].name for name in sorted(found.keys() - files.keys())]
        self.findings += of_several("image-without-label", images, missing, "images have no label file and are taken to hold no object")
        return [image_item(name, part, images, path, [str(files.get(name, ""))]) for name, path in found.items()]

    def _region(self, words: Sequence[str], number: int, file: str, height: int, width: int, boxed: list[int]) -> Region | None:
        """The region of a line; None where it is a box that is left out."""
        where = f"{file}, line {number}"
        try:
            index, *values = (float(word) for word in words)
        except ValueError:
            raise AnnotationError(f"{where}: is no line of numbers 'class x1 y1 x2 y2 ...'; export it again") from None
        if index not in self.by_id:
            raise AnnotationError(f"{where}: the class {words[0]} has no name in {self.names_path}; add it there, or correct the line")
        if far := [v for v in values if not -FAR <= v <= 1 + FAR and v == v]:
            fix = "are they pixels? export it again"
            raise AnnotationError(f"{where}: has the coordinate {far[0]:g}, expected 0..1, shares of width and height; {fix}")
        if len(values) == 4:
            if self.boxes is False:
                make = "export polygons, make rectangles of boxes with data.source.boxes=true"
                fix = f"{make}, or leave them out with data.source.boxes=skip; task=detection learns boxes alone"
                raise AnnotationError(f"{where}: is a box alone, which is no mask; {fix}")
            boxed.append(number)
            if self.boxes == "skip":
                return None
            x, y, w, h = values
            values = rectangle(x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        if len(values) % 2:
            raise AnnotationError(f"{where}: has {len(values)} numbers after the class, expected pairs of x and y; export it again")
        return Region(f"line {number}", self.by_id[int(index)], [[v * (height if i % 2 else width) for i, v in enumerate(values)]])


def read_names(root: Path, name: str | None) -> tuple[dict[int, str], str]:
    """{id: name} and the file's path: `root`/`name`, or without it the one that lies in `root` under a usual name. DataError where there is
    none, or it is malformed."""
    if name is None:
        there = [n for n in NAMES if (root / n).is_file()]
        if len(there) != 1:
            held = f"holds {' and '.join(there)}" if there else f"holds none of {', '.join(NAMES)}"
            raise AnnotationError(f"{root}: {held}; name the file with the classes' names in data.source.names")
        name = there[0]
    path = file_below(root, name, None, "data.source.names")
    text = read_text(path)
    if path.suffix.lower() not in (".yaml", ".yml"):
        return dict(enumerate(line.strip() for line in text.splitlines() if line.strip())), str(path)
    try:
        content = yaml_of(text)
    except ValueError as error:
        raise UnreadableError(f"{path}: cannot be read ({error}); correct it") from None
    names = content.get("names") if isinstance(content, dict) else None
    if not isinstance(names, list | dict) or not names:
        raise AnnotationError(f"{path}: has no 'names', expected a list of names, or ids with names")
    found = dict(names.items() if isinstance(names, dict) else enumerate(names))
    for key, value in found.items():
        if type(key) is not int or not isinstance(value, int | str) or isinstance(value, bool):
            fix = "put quotes around the name"
            raise AnnotationError(f"{path}: names has {key!r}: {str(value)[:60]}, expected a whole number and text; {fix}")
    return {key: str(value) for key, value in found.items()}, str(path)
