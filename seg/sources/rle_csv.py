"""`rle_csv`: a table with the run lengths of each object, as competitions on Kaggle have it, and a folder of images."""

from collections.abc import Iterable
from pathlib import Path

from seg.core.errors import AnnotationError, ConfigError
from seg.sources.annotation_file import AnnotatedImage, AnnotationFile
from seg.sources.class_map import check_choice
from seg.sources.content import read_rows
from seg.sources.pairing import Part
from seg.sources.part_rle import Part as Shape
from seg.sources.regions import Region

NOTHING = ("", "-1", "nan", "none", "-")


class RleCsv(AnnotationFile):
    """A CSV file with a row an object: the image's name (with or without suffix), its run lengths "start length start length ...".

    image_column, rle_column: the columns of those; a row without run lengths says that nothing is there. category: the label of all
    objects; class_column: or the column of each label; with both null the image's name ends with it, as in 0002cc93b.jpg_1. order: whether
    runs go down the "columns", as usual, or along the "rows". first: the number of the first pixel, 1 or 0. The other arguments are as
    for `AnnotationFile`."""

    image_column: str
    rle_column: str
    category: str | None
    class_column: str | None
    order: str
    first: int

    EXAMPLE = "{split}.csv"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("data.source.order", self.order, ("columns", "rows"))
        if self.first not in (0, 1):
            raise ConfigError(f"data.source.first={self.first}: expected 1, or 0 where pixels are counted from 0")
        if self.category is not None and self.class_column is not None:
            both = f"data.source.category={self.category} and data.source.class_column={self.class_column}"
            raise ConfigError(f"{both}: one of the two must be null")

    def images_of(self, path: Path, part: Part) -> Iterable[AnnotatedImage]:
        rows = read_rows(path, (self.image_column,), [c for c in (self.rle_column, self.class_column) if c is not None])
        images: dict[str, list[Region]] = {}
        for line, row in rows:
            with self.faults.entry():
                name, label = self._named(row, f"{path}, line {line}")
                regions = images.setdefault(name, [])
                runs = row[self.rle_column]
                if runs.lower() not in NOTHING:
                    regions.append(Region(f"line {line}", label, [self._shape(runs, f"{path}, line {line}")]))
        return [AnnotatedImage(name, None, regions) for name, regions in images.items()]

    def _named(self, row: dict[str, str], where: str) -> tuple[str, str]:
        name = row[self.image_column]
        if self.category is not None:
            return name, self.category
        if self.class_column is not None:
            return name, row[self.class_column]
        image, found, label = name.rpartition("_")
        if not found or not label:
            fix = "set data.source.category or .class_column"
            raise AnnotationError(f"{where}: '{name}' does not end with a label, as 0002cc93b.jpg_1 does; {fix}")
        return image, label

    def _shape(self, text: str, where: str) -> Shape:
        words = text.split()
        if len(words) % 2 or not all(word.isdecimal() for word in words):
            fix = "correct or remove it"
            raise AnnotationError(f"{where}: has the run lengths '{text[:40]}', expected pairs of whole numbers 'start length ...'; {fix}")
        numbers = [int(word) for word in words]
        return {"starts": [start - self.first for start in numbers[::2]], "lengths": numbers[1::2], "order": self.order}
