"""The section `data`: where raw data lies, how it is read and split."""

import json
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from seg.settings.section import Channel, Count, Named, Positive, Section, Share, Target


def _is_range(value: object) -> object:
    numbers = isinstance(value, list) and len(value) == 2 and all(isinstance(v, int | float) for v in value)
    if value not in (None, "image") and not (numbers and value[0] < value[1]):  # type: ignore[index]
        raise ValueError("[low, high] such as [0, 4095], image or null")
    return value


# values that prepared images have 0 and 255 for; `image`: each image has its own; null: images are of 8 bit
Range = Annotated[list[float] | Literal["image"] | None, BeforeValidator(_is_range)]
Rgb = Annotated[list[Channel], Field(min_length=3, max_length=3)]


class ClassConfig(Section):
    name: str
    color: Rgb
    labels: list[int | str | Rgb] = Field(default=[])  # an entry of a list has no place for defaults


class Table(Section):
    file: str
    id: str


class Column(Section):
    """A column of data.split.table."""

    column: str


class Split(Section):
    by: Literal["ratios", "blocks", "folders", "lists"]
    ratios: dict[str, Share] | None
    lists: dict[str, str | None] | None
    folders: dict[str, str | list[str] | None] | None
    group: str | Column | None
    table: Table | None
    stratify: bool | str
    folds: Annotated[int, Field(ge=2)]
    seed: Count


class Data(Named):
    root: str | None
    obtain: str | None
    licence: str | None
    source: Target
    channels: Positive
    range: Range
    corrections: str | None
    store: Literal["auto", "files", "shards"]
    classes: Annotated[list[ClassConfig], Field(min_length=2, max_length=255)]
    split: Split
    fold: Count | None

    def plain(self) -> dict[str, Any]:
        """What decides the prepared samples, but for corrected labels, as JSON reads it back."""
        return dict(json.loads(self.model_dump_json(by_alias=True, exclude={"obtain", "licence", "corrections", "store"})))


CORRECTIONS = "data/corrections"  # dvc.yaml names it, so that a corrected file reruns `prepare`
SOURCE_ARGUMENTS = ("root", "classes", "reader", "split")  # what the program passes to a source
