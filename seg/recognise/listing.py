"""What a folder holds: its files by folder, and the splits that names say."""

import os
import re
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from seg.core.errors import DataError
from seg.sources.listing import files_below, is_picture

SPLIT_WORDS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "tst"),
}
"""What a split's folder may be called."""

_SPLIT = re.compile(rf"(?<![a-z])({'|'.join(sorted((w for words in SPLIT_WORDS.values() for w in words), key=len, reverse=True))})", re.I)


@dataclass(frozen=True)
class Listing:
    """The files below `root`, relative to it, in order; none that is hidden."""

    root: Path
    files: tuple[PurePosixPath, ...]

    def having(self, *suffixes: str) -> list[PurePosixPath]:
        """The files with one of these suffixes, in lower case."""
        return [file for file in self.files if file.suffix.lower() in suffixes]

    @cached_property
    def pictures(self) -> list[PurePosixPath]:
        """The image files, and masks among them."""
        return [file for file in self.files if is_picture(Path(file.name))]

    @cached_property
    def folders(self) -> set[PurePosixPath]:
        """All folders that hold files, at any depth."""
        return {place for file in {f.parent / "x" for f in self.files} for place in file.parents}

    def path(self, file: PurePosixPath) -> Path:
        return self.root / file


def list_folder(root: Path) -> Listing:
    """All files below a folder; DataError where it is none, or holds no file."""
    if not root.is_dir():
        kind = "is a file; give the folder that holds images and labels" if root.exists() else "there is no such folder"
        raise DataError(f"{root}: {kind}")
    files = files_below(root, ("",))
    if not files:
        raise DataError(f"{root}: holds no file; give the folder that holds images and labels")
    return Listing(root, tuple(PurePosixPath(file.replace(os.sep, "/")) for file in files))


def is_division(splits: Collection[str]) -> bool:
    """Whether these can be the splits of a data set: train, and one more at least. The third can be made of train's images."""
    return "train" in splits and len(splits) > 1


def split_of(name: str) -> tuple[str | None, str]:
    """The split that a folder's name says, and the name with {split} in its place; (None, name) where it says none."""
    for match in reversed(list(_SPLIT.finditer(name))):
        word = match.group(1).lower()
        split = next(split for split, words in SPLIT_WORDS.items() if word in words)
        return split, name[: match.start()] + "{split}" + name[match.end() :]
    return None, name


def by_split(names: Collection[str]) -> dict[str, dict[str, str]]:
    """{pattern: {split: name}} of the names that say a split and differ by nothing else."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for name in sorted(names):
        split, pattern = split_of(name)
        if split is not None:
            found[pattern].setdefault(split, name)
    return dict(found)
