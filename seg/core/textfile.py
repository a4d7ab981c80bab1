"""Text that people's programs write: UTF-8 or UTF-16, with or without a byte order mark; and names in one Unicode form."""

import stat
from pathlib import Path
from unicodedata import normalize

from seg.core.errors import DataError


def read_file(path: Path) -> bytes:
    """The bytes of a file; DataError where it cannot be read, or is no file but a pipe or a device, which would be waited for."""
    try:
        kind = path.stat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            raise DataError(f"{path}: is no regular file, but a pipe or a device; remove it", kind="unreadable-file")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})", kind="unreadable-file") from None


def read_text(path: Path) -> str:
    """The text of a file, without its byte order mark; DataError where it cannot be read, or is no text."""
    data = read_file(path)
    try:
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: is no text in UTF-8 ({error.reason} at byte {error.start}); save it as one", kind="unreadable-file"
        ) from None


def composed(name: str) -> str:
    """A name in the composed form (NFC): macOS stores the decomposed one of the same name."""
    return name if name.isascii() else normalize("NFC", name)
