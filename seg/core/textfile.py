"""Text that people's programs write: UTF-8 or UTF-16, with or without a byte order mark; and names in one Unicode form."""

from pathlib import Path
from unicodedata import normalize

from seg.core.errors import DataError


def read_text(path: Path) -> str:
    """The text of a file, without its byte order mark; DataError where it cannot be read, or is no text."""
    try:
        data = path.read_bytes()
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})", kind="unreadable-file") from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: is no text in UTF-8 ({error.reason} at byte {error.start}); save it as one", kind="unreadable-file"
        ) from None


def composed(name: str) -> str:
    """A name in the composed form (NFC): macOS stores the decomposed one of the same name."""
    return name if name.isascii() else normalize("NFC", name)
