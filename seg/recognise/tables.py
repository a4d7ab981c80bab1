"""CSV tables of run lengths, as competitions on Kaggle have them."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import PurePosixPath

from seg.core.errors import DataError
from seg.core.textfile import read_text
from seg.recognise.classes import instance_classes
from seg.recognise.files import PROBED, home_of, place
from seg.recognise.guess import Guess
from seg.recognise.listing import Listing
from seg.recognise.looks import look

RUNS = re.compile(r"\d+ \d+( \d+ \d+)*")
ROWS = 2000  # that are looked at


def guesses(listing: Listing) -> Iterator[Guess]:
    for file in listing.having(".csv"):
        rows = _rows(listing, file)
        runs = _column(rows)
        if runs is None:
            continue
        others = [column for column in rows[0] if column != runs]
        column, home = next(
            ((c, h) for c in others if (h := home_of(listing, n := _names(rows, c), file) or home_of(listing, n, file, stems=True))),
            (None, None),
        )
        other = next((c for c in others if c != column and re.search(r"class|label|categ|species|_type$", c, re.I)), None)
        labels = sorted({row[other] for row in rows if row[other]}) if other else ["object"]
        category = None if other else "object"
        if column is None:
            if (cut := _with_label(listing, rows, others, file)) is None:
                continue
            column, home, labels = cut
            category = other = None
        guess = Guess("rle_csv", "instance", [f"{file} is a table of run lengths: {len(rows)} rows"])
        place(guess, listing, {}, [file], images=home)
        guess.source |= {"image_column": column, "rle_column": runs, "category": category, "class_column": other}
        guess.classes = instance_classes(labels)
        way = "along the rows" if _along_rows(listing, rows, runs, home) else "down the columns"
        guess.source["order"] = way.split()[-1]
        guess.doubts.append(f"runs are taken to go {way}, from pixel 1 (source.order, source.first): look at the overlay")
        yield guess


def _along_rows(listing: Listing, rows: Sequence[Mapping[str, str]], column: str, home: str | None) -> bool:
    """Whether from one run to the next it is as far as an image is wide, not as it is high, in most rows."""
    image = next((file for file in listing.pictures if home == "." or file.is_relative_to(home or "")), None)
    seen = look(listing.path(image)) if image else None
    if seen is None or seen.size[0] == seen.size[1]:
        return False
    votes = [0, 0]
    for row in rows[:PROBED]:
        starts = [int(number) for number in row[column].split()[::2]] if RUNS.fullmatch(row[column].strip()) else []
        steps = sorted(b - a for a, b in pairwise(starts))
        if steps:
            step = steps[len(steps) // 2]
            votes[abs(step - seen.size[0]) > abs(step - seen.size[1])] += 1
    return votes[1] > 2 * votes[0]


def _rows(listing: Listing, file: PurePosixPath) -> list[Mapping[str, str]]:
    try:
        reader = csv.DictReader(read_text(listing.path(file)).splitlines())
        return [{k: v or "" for k, v in row.items() if isinstance(k, str)} for row, _ in zip(reader, range(ROWS), strict=False)]
    except (DataError, csv.Error):
        return []


def _column(rows: Sequence[Mapping[str, str]]) -> str | None:
    """The column whose values are all run lengths, or nothing."""
    for column in rows[0] if rows else ():
        values = [row.get(column, "").strip() for row in rows]
        filled = [value for value in values if value not in ("", "-1")]
        if filled and all(RUNS.fullmatch(value) for value in filled):
            return column
    return None


def _names(rows: Sequence[Mapping[str, str]], column: str) -> list[str]:
    return list(dict.fromkeys(row.get(column, "") for row in rows))[:PROBED]


def _with_label(
    listing: Listing, rows: Sequence[Mapping[str, str]], columns: Sequence[str], file: PurePosixPath
) -> tuple[str, str, list[str]] | None:
    """The column whose values are names of images with a label behind, as 0002cc93b.jpg_1; the folder of images, and the labels."""
    for column in columns:
        cut = [row[column].rpartition("_") for row in rows if "_" in row.get(column, "")]
        names = list(dict.fromkeys(name for name, _, _ in cut))[:PROBED]
        if len(cut) == len(rows) and (home := home_of(listing, names, file)):
            return column, home, sorted({label for _, _, label in cut})
    return None
