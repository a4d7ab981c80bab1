"""What a folder may be: a format, why, and the settings that read it."""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any


@dataclass(frozen=True, slots=True)
class Seen:
    """Labels that a folder holds: where, which files, what they are; and the arguments of init that take them."""

    place: str
    files: frozenset[PurePosixPath]
    what: str
    arguments: str


@dataclass(slots=True)
class Guess:
    """option: the option of conf/data whose file is the pattern. why: what was seen, a clause each. source: keys of data.source.

    classes: entries of data.classes, or None for the option's own. split: keys of data.split. doubts: what to look at. task: semantic,
    instance or panoptic. labels: the files that hold its labels; beside: others that hold labels of the same images. arguments: those
    of init that take it, where others are as likely. rank: of guesses for the same images that of the lower number is taken; of equal
    ones none. seen: labels beside its own, and its own.
    """

    option: str
    task: str
    why: list[str]
    source: dict[str, Any] = field(default_factory=dict)
    classes: list[dict[str, Any]] | None = None
    split: dict[str, Any] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)
    labels: frozenset[PurePosixPath] = frozenset()
    beside: frozenset[PurePosixPath] = frozenset()
    arguments: str = ""
    rank: int = 0
    seen: list[Seen] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user asks for: folders, files or patterns of images and of labels, and an option of conf/data; None for any."""

    images: str | None = None
    labels: str | None = None
    option: str | None = None


def lies_in(file: PurePosixPath, place: str | None) -> bool:
    """Whether a file is what a user names: it, a folder above it, or a pattern with * or {folder}, of its path or of such a folder."""
    if place is None or place.strip("/") in (".", ""):
        return True
    pattern = place.removeprefix("./").strip("/").replace("{split}", "*").replace("{folder}", "*").replace("{image}", "*")
    above = [file.as_posix(), file.with_suffix("").as_posix(), *(p.as_posix() for p in file.parents)]
    return any(path == pattern or fnmatchcase(path, pattern.replace("[", "[[]")) for path in above)
