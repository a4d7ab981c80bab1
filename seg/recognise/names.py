"""Files beside labels that name their values or colours: lists of names, nnU-Net's dataset.json, CVAT's labelmap.txt, tables."""

import csv
import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from seg.core.errors import DataError
from seg.core.textfile import read_text, size_of
from seg.data.sample import Color, Label
from seg.recognise.guess import NAME_FILES, color, is_void
from seg.recognise.listing import Listing

MAX_SIZE = 1_000_000  # bytes of such a file
Found = tuple[dict[int, str], dict[Color, str]]  # the names of values, and of colours


@dataclass(frozen=True, slots=True)
class Names:
    """The names, as a file has them."""

    file: PurePosixPath
    values: dict[int, str]
    colors: dict[Color, str]


def names_for(listing: Listing, labels: Collection[Label]) -> Names | None:
    """The names of a file that names all of these values or colours; of several the one nearest to the top."""
    nearest = sorted(_all(listing), key=lambda found: len(found.file.parts)) if labels else []
    return next((names for names in nearest if all(label in names.values or label in names.colors for label in labels)), None)


def _all(listing: Listing) -> Iterator[Names]:
    for file in listing.having(".txt", ".names", ".json", ".csv"):
        name = file.name.lower()
        reader = _list if name in NAME_FILES else READERS.get(name) or (_table if file.suffix.lower() == ".csv" else None)
        if reader is None and file.suffix.lower() == ".txt" and re.search(r"colou?r|class|label", name):
            reader = _colors
        if reader is None or size_of(listing.path(file)) > MAX_SIZE:
            continue
        try:
            values, colors = reader(read_text(listing.path(file)))
        except (DataError, ValueError, KeyError, TypeError, AttributeError):
            continue
        if max(len(values), len(colors)) > 1:
            yield Names(file, values, colors)


def _list(text: str) -> Found:
    """A name a line: of the values from 0, or of the colours of PASCAL VOC's map."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 256 or any(len(line) > 60 for line in lines):
        return {}, {}
    if any(re.match(r"\d+[\s,:]+\d+[\s,:]+\d+", line) for line in lines):
        return _colors(text)
    lines = lines[lines[:1] == ["__ignore__"] :]  # which LabelMe gives the index -1
    named = [name for name in lines if not is_void(name)]
    return dict(enumerate(lines)), {(c[0], c[1], c[2]): name for k, name in enumerate(named) for c in (color(k),)}


def _colors(text: str) -> Found:
    """`r g b name`, or `name r g b`, a line each."""
    colors: dict[Color, str] = {}
    for line in text.splitlines():
        parts = re.split(r"[\s,;:]+", line.strip())
        numbers = [int(part) for part in parts if part.isdecimal()]
        words = [part for part in parts if part and not part.isdecimal()]
        if len(numbers) == 3 and words and max(numbers) <= 255:
            colors[numbers[0], numbers[1], numbers[2]] = " ".join(words)
    return {}, colors


def labelmap(text: str) -> Found:
    """CVAT: `name:r,g,b:parts:actions`, after comments."""
    lines = [line.split(":") for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {}, {(r, g, b): parts[0] for parts in lines for r, g, b in [map(int, parts[1].split(","))]}


def _dataset_json(text: str) -> Found:
    """nnU-Net: {"background": 0, "nodule": 1}, or in its first version {"0": "background"}."""
    labels = json.loads(text)["labels"]
    if all(isinstance(value, int) for value in labels.values()):
        return {value: name for name, value in labels.items()}, {}
    return {int(value): name for value, name in labels.items() if isinstance(name, str)}, {}


def _table(text: str) -> Found:
    """A table with a column of names, and one of values or three of colours."""
    rows = [{(k or "").strip().lower(): (v or "").strip() for k, v in row.items()} for row in csv.DictReader(text.splitlines())]
    keys = list(rows[0]) if rows else []
    name = next((key for key in ("name", "class", "class_name", "class name", "label") if key in keys), None)
    value = next((key for key in ("pixel value", "value", "id", "index", "class_id", "label_id") if key in keys), None)
    rgb = [key for key in (("r", "g", "b"), ("red", "green", "blue")) if all(part in keys for part in key)]
    if name is None or (value is None and not rgb):
        return {}, {}
    values = {int(row[value]): row[name] for row in rows if row[value].isdecimal()} if value else {}
    return values, {(int(r[rgb[0][0]]), int(r[rgb[0][1]]), int(r[rgb[0][2]])): r[name] for r in rows} if rgb else {}


READERS = {"labelmap.txt": labelmap, "dataset.json": _dataset_json}
