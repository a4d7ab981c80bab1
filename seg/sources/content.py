"""What files of annotations hold: JSON, XML, rows of CSV, and the numbers in them. Every error names the file, and the line or entry."""

import csv
import re
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, TypeGuard

from defusedxml import DefusedXmlException
from defusedxml import ElementTree as Xml

from seg.core.errors import AnnotationError, ConfigError, DataError, did_you_mean
from seg.core.textfile import json_of, read_file, read_text

LONGEST = 1 << 30
Row = tuple[int, dict[str, str]]  # (line number, {column: value})


def read_rows(path: Path, columns: Sequence[str], others: Sequence[str] = ()) -> list[Row]:
    """The rows of a CSV file, without blanks around a value. DataError where the file is unreadable, has not all of `columns` and `others`,
    or a row has no value in one of `columns`."""
    try:
        csv.field_size_limit(LONGEST)  # run lengths of an image are a single field
        with StringIO(read_text(path), newline="") as file:
            reader = csv.DictReader(file)
            header = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = header
            for column in (*columns, *others):
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


def first_group(pattern: str, text: str, key: str) -> str | None:
    """What a regular expression finds in a text: its first group, or all of it without one. ConfigError where `key` holds none."""
    try:
        match = re.search(pattern, text)
    except re.error as error:
        raise ConfigError(f"{key}={pattern!r}: is not a regular expression ({error})") from None
    return match and match.group(1 if match.re.groups else 0)


def read_xml(path: Path, form: str) -> Any:
    """The root element of an XML file; DataError where it is none. form: what it is to be exported as again."""
    try:
        return Xml.parse(path).getroot()
    except DefusedXmlException:
        raise AnnotationError(f"{path}: declares entities, which are not read; export it again as {form}") from None
    except (Xml.ParseError, ValueError, LookupError) as error:
        raise AnnotationError(f"{path}: is not XML ({error}); export it again as {form}") from None


def read_json(path: Path) -> Any:
    """The content of a file; DataError where it is no JSON."""
    data = read_file(path)
    try:
        return json_of(data)
    except ValueError as error:
        raise AnnotationError(f"{path}: is not JSON ({error}); export it again") from None


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value of JSON is a number, maybe not a finite one."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def number_of(entry: Mapping[str, Any], key: str, where: str) -> float:
    """A number of an entry, maybe not a finite one; DataError where it is missing, or none."""
    value = entry.get(key)
    if not is_number(value):
        raise AnnotationError(f"{where}: has {key}={value!r}, expected a number; correct it, or export the file again")
    return float(value)


def numbers_of(entry: Mapping[str, Any], key: str, where: str) -> list[float]:
    """A list of numbers of an entry; DataError where it is missing, or none."""
    values = entry.get(key)
    if not isinstance(values, list) or not all(map(is_number, values)):
        raise AnnotationError(f"{where}: has {key}={str(values)[:60]}, expected a list of numbers; correct it, or export the file again")
    return [float(v) for v in values]


def points_of(points: Any, where: str) -> list[list[float]]:
    """A list of [x, y]; AnnotationError where it is none."""
    if not isinstance(points, list) or not all(isinstance(p, list) and len(p) == 2 and all(map(is_number, p)) for p in points):
        raise AnnotationError(f"{where}: has the points {str(points)[:60]}, expected a list of [x, y]; redraw or remove it")
    return points
