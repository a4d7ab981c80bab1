"""Text that people's programs write: UTF-8 or UTF-16, with or without a byte order mark; names in one Unicode form, in natural order."""

import gc
import json
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unicodedata import normalize

import yaml

from seg.core import urls
from seg.core.errors import UnreadableError
from seg.core.tars import read_within, within
from seg.core.urls import is_elsewhere

DEEPEST = 100  # levels of lists and objects in each other that a file may have
MOST = 1_000_000  # values of a level in YAML, whose aliases make any number of a few lines
TOO_DEEP = f"its lists lie in each other more than {DEEPEST} deep"
PLAIN = frozenset({str, int, float, bool, type(None)})
HALF_CHARACTER = re.compile(rb"\\u[dD][89a-fA-F]")
ZEROS = bytes.maketrans(b"123456789", b"000000000")


def read_file(path: Path) -> bytes:
    """The bytes of a file; DataError where it cannot be read, or is no file but a pipe or a device, which would be waited for."""
    if is_elsewhere(path):
        return urls.read(path)
    try:
        kind = path.stat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            raise UnreadableError(f"{path}: is no regular file, but a pipe or a device; remove it")
        return path.read_bytes()
    except NotADirectoryError as error:
        if (data := read_within(path)) is not None:
            return data
        raise UnreadableError(f"{path}: cannot be read ({error.strerror})") from None
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be read ({error.strerror})") from None


def read_text(path: Path) -> str:
    """The text of a file, without its byte order mark; DataError where it cannot be read, or is no text."""
    data = read_file(path)
    try:
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError(f"{path}: is no text in UTF-8 ({error.reason} at byte {error.start}); save it as one") from None


@contextmanager
def many_made() -> Iterator[None]:
    """Around what makes many objects that stay: to search them for circles over and over takes a quarter of the time."""
    searching = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searching:
            gc.enable()


@many_made()
def json_of(data: bytes) -> Any:
    """What JSON holds. ValueError where it is none, or holds what no float, no file name or no recursion can take."""
    try:
        content = json.loads(data)
        if HALF_CHARACTER.search(data) or b"0" * 300 in data.translate(ZEROS):  # ten times as fast as a pattern of digits
            json.dumps(content, ensure_ascii=False).encode()
            json.loads(data, parse_int=_whole)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    except UnicodeEncodeError as error:
        raise ValueError(f"half a character, {error.object[error.start]!r}, stands in a text") from None
    _refuse_deep(content)
    return content


def yaml_of(text: str) -> Any:
    """What YAML of lists, dicts and plain values holds. ValueError where it is none, or grows by its aliases."""
    try:
        content = yaml.safe_load(text)
        _refuse_deep(content, MOST)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())[:120]) from None
    return content


def _refuse_deep(content: Any, most: int | None = None) -> None:
    """ValueError for lists and dicts that lie in each other too deep, or that are too many."""
    level, depth = [content], 0
    while level:
        depth += 1
        if depth > DEEPEST:
            raise ValueError(TOO_DEEP)
        insides = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        if most and sum(map(len, insides)) > most:
            raise ValueError(f"it has more than {most} values")
        level = [one for inside in insides if not PLAIN.issuperset(map(type, inside)) for one in inside if type(one) not in PLAIN]


def _whole(text: str) -> int:
    if len(text) > 300:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def is_file(path: Path) -> bool:
    """Whether there is such a file, perhaps in a tar file; there is none of a name that is too long for one."""
    try:
        return path.is_file() or within(path) is not None
    except OSError:
        return False


def size_of(path: Path) -> int:
    """Bytes of a file, perhaps in a tar file."""
    place = within(path)
    return place[2] if place else path.stat().st_size


def composed(name: str) -> str:
    """A name in the composed form (NFC): macOS stores the decomposed one of the same name."""
    return name if name.isascii() else normalize("NFC", name)


def natural_key(name: str) -> tuple[list[str | int], str]:
    """What to sort names by: text and numbers in turn, so that 2 comes before 10; the name itself where only leading zeros differ."""
    parts = re.split(r"(\d+)", name)  # text at even places, digits at odd ones
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name
