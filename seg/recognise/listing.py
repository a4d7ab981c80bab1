"""What a folder holds: its files by folder, and the splits that the names of folders say."""

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from seg.core.errors import DataError
from seg.sources.listing import is_picture

SPLIT_WORDS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""What a split's folder may be called."""

_SPLIT = re.compile(rf"(?<![a-z])({'|'.join(sorted((w for words in SPLIT_WORDS.values() for w in words), key=len, reverse=True))})", re.I)


@dataclass(frozen=True, slots=True)
class Listing:
    """The files below `root`, relative to it, in order; none that is hidden."""

    root: Path
    files: tuple[PurePosixPath, ...]

    def having(self, *suffixes: str) -> list[PurePosixPath]:
        """The files with one of these suffixes, in lower case."""
        return [file for file in self.files if file.suffix.lower() in suffixes]

    def pictures(self) -> dict[PurePosixPath, list[PurePosixPath]]:
        """The image files by folder."""
        found: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
        for file in self.files:
            if is_picture(Path(file)):
                found[file.parent].append(file)
        return dict(found)

    def path(self, file: PurePosixPath) -> Path:
        return self.root / file


def list_folder(root: Path) -> Listing:
    """All files below a folder; DataError where it is none, or holds no file."""
    if not root.is_dir():
        kind = "is a file; give the folder that holds images and labels" if root.exists() else "there is no such folder"
        raise DataError(f"{root}: {kind}")
    files = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__")))
        files += [PurePosixPath(folder).relative_to(root.as_posix()) / name for name in sorted(names) if not name.startswith(".")]
    if not files:
        raise DataError(f"{root}: holds no file; give the folder that holds images and labels")
    return Listing(root, tuple(files))


@dataclass(frozen=True, slots=True)
class Family:
    """Folders whose names differ by the split alone. pattern: with {split}, or a plain name. folders: {split: folder}, or {"": folder}."""

    pattern: str
    folders: Mapping[str, PurePosixPath]

    @property
    def names(self) -> dict[str, str]:
        """{split: what stands for {split} in the folder's name}."""
        before, _, after = self.pattern.partition("{split}")
        return {split: folder.as_posix()[len(before) :].removesuffix(after) for split, folder in self.folders.items() if split}

    def within(self, splits: Collection[str]) -> "Family":
        """Without the folders of other splits."""
        return Family(self.pattern, {split: folder for split, folder in self.folders.items() if split in splits})


def families(folders: Iterable[PurePosixPath]) -> list[Family]:
    """Folders gathered by split, where train and one more are there; then each folder by itself."""
    grouped: dict[str, dict[str, PurePosixPath]] = defaultdict(dict)
    known = sorted(folders)
    for folder in known:
        split, pattern = split_of(folder.as_posix())
        if split is not None:
            grouped[pattern].setdefault(split, folder)
    found = [Family(pattern, members) for pattern, members in grouped.items() if is_division(members)]
    return found + [Family(folder.as_posix(), {"": folder}) for folder in known]


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


def common_end(names: Sequence[str]) -> str:
    """The longest end that all names share."""
    end = names[0]
    while not all(name.endswith(end) for name in names):
        end = end[1:]
    return end
