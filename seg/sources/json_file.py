"""JSON that annotation programs write: read whole, and its values looked at one by one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seg.core.errors import DataError


def read_json(path: Path) -> Any:
    """The content of a file; DataError where it is no JSON."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})", kind="unreadable-file") from None
    except ValueError as error:
        raise DataError(f"{path}: is not JSON ({error}); export it again", kind="bad-annotation") from None


def number_of(entry: Mapping[str, Any], key: str, where: str) -> float:
    """A number of an entry, maybe not a finite one; DataError where it is missing, or none."""
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{where}: has {key}={value!r}, expected a number; correct it, or export the file again", kind="bad-annotation")
    return float(value)


def numbers_of(entry: Mapping[str, Any], key: str, where: str) -> list[float]:
    """A list of numbers of an entry; DataError where it is missing, or none."""
    values = entry.get(key)
    if not isinstance(values, list) or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        raise DataError(
            f"{where}: has {key}={str(values)[:60]}, expected a list of numbers; correct it, or export the file again",
            kind="bad-annotation",
        )
    return [float(v) for v in values]
