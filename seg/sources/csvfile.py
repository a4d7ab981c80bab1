"""CSV files with a header -> rows of text, of which some columns must be filled. Every error names the file and the line."""

import csv
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from seg.core.errors import DataError, did_you_mean
from seg.core.textfile import read_text

LONGEST = 1 << 30

Row = tuple[int, dict[str, str]]
"""(line number, {column: value})."""


def read_rows(path: Path, columns: Sequence[str]) -> list[Row]:
    """The rows of a CSV file, without blanks around a value.

    DataError where the file is unreadable, has not all of `columns`, or a row has no value in one of them.
    """
    try:
        csv.field_size_limit(LONGEST)  # run lengths of an image are a single field
        with StringIO(read_text(path), newline="") as file:
            reader = csv.DictReader(file)
            header = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = header
            for column in columns:
                if column not in header:
                    raise DataError(f"{path}: has no column '{column}' in its first line; {did_you_mean(column, header, 'columns')}")
            rows = [(reader.line_num, {c: (row[c] or "").strip() for c in header if c}) for row in reader]
    except csv.Error as error:
        raise DataError(f"{path}: is not a CSV file ({error}); save it as one, with commas") from None
    for line, row in rows:
        for column in columns:
            if not row[column]:
                raise DataError(f"{path}, line {line}: has no value in the column '{column}'; fill it in, or remove the line")
    return rows
