"""What a user can mend: shown as one line, without a traceback, with exit code 1."""

from collections.abc import Iterable, Sequence, Sized
from difflib import get_close_matches


class InputError(ValueError):
    """Bad input. The message names the file or key, what was expected, what came, and the fix."""


class ConfigError(InputError):
    """A mistake in the configuration or on the command line."""


class UsageError(ConfigError):
    """A command line that the command cannot take; exit code 2."""


class ArgumentError(ConfigError):
    """A mistake in an argument of a `_target_`. The message starts with the argument's name, and `build` puts the key before it."""


class DiskFullError(InputError):
    """A file that a disk, a quota or a limit has no room for."""


class DataError(InputError):
    """A mistake in the data: a file that is missing, unreadable, or contradicts another. The message is a line that names the file.

    kind: the slug by which the doctor groups it; docs/reference.md lists all."""

    kind = "bad-data"

    def __init__(self, message: str, *, kind: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind or self.kind


class AnnotationError(DataError):
    """A mistake in a file of annotations."""

    kind = "bad-annotation"


class PixelError(DataError):
    """Pixels of another type, depth or number than is asked for."""

    kind = "pixel-type"


class LargeImageError(PixelError):
    """An image of more pixels than are read at once."""


class UnreadableError(DataError):
    """A file that cannot be read, or is damaged."""

    kind = "unreadable-file"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` is most likely a slip of, or None: letters swapped, else the greatest of difflib's ratios >= 0.6."""
    found = get_close_matches(word, list(known), n=3, cutoff=0.6)
    return min(found, key=lambda other: sorted(other) != sorted(word), default=None)


def did_you_mean(word: str, known: Iterable[str], noun: str = "known") -> str:
    """The tail of an error about an unknown word: the nearest one, then all that there are."""
    options = sorted(known)
    guess = nearest(word, options)
    listed = f"{noun}: {', '.join(options)}" if options else f"{noun}: none"
    return f"did you mean '{guess}'? ({listed})" if guess else listed


def plural(count: int, noun: str, nouns: str | None = None) -> str:
    """1 image, 2 images; `nouns`: the plural where it is not made by an s."""
    return f"{count} {noun if count == 1 else nouns or noun + 's'}"


def and_more(found: Sized, nouns: str) -> str:
    """What follows the first of several things that an error names: " (and 3 more images)"; nothing where it is the only one."""
    return f" (and {len(found) - 1} more {nouns})" if len(found) > 1 else ""


def enumerated(names: Sequence[object], most: int) -> str:
    """Names in a row: the first `most`, and how many there are beside."""
    return ", ".join(map(str, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")
