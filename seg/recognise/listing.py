"""What a folder holds: its files, which of them are read together, and the splits that names of files and folders say."""

import os
import posixpath
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from seg.core.errors import DataError
from seg.core.textfile import composed
from seg.recognise.guess import Guess, Seen
from seg.sources.listing import files_below, is_picture

SPLIT_WORDS = {"train": ("train", "training", "trn"), "val": ("val", "valid", "validation", "dev"), "test": ("test", "testing", "tst")}
"""What a split's folder may be called."""
_SPLIT = re.compile(rf"(?<![a-z])({'|'.join(sorted((w for words in SPLIT_WORDS.values() for w in words), key=len, reverse=True))})", re.I)
PROBED = 50  # names of images that are looked for
SHARE = 0.15  # of train's images, for a split that has none of its own
IMAGE_WORD = re.compile(r"image|img|jpe?g|photo|picture|frame|scan", re.I)
LABEL_WORD = re.compile(r"mask|label|annot|segm|panoptic|trimap|truth|(?<![a-z])gt(?![a-z])", re.I)

Split = dict[str, Any]  # keys of data.split; none where files and folders say nothing


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
    if not (files := files_below(root, ("",))):
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
    found: dict[str, dict[str, str]] = {}
    for name in sorted(names):
        split, pattern = split_of(name)
        if split is not None:
            found.setdefault(pattern, {}).setdefault(split, name)
    return found


def choices(files: Sequence[PurePosixPath]) -> list[tuple[PurePosixPath, Split, list[PurePosixPath]]]:
    """Of annotation files of one kind those that are read together: the one to look into, the split that they say, and all of them."""
    found: list[tuple[PurePosixPath, Split, list[PurePosixPath]]] = []
    left = set(files)
    patterns = by_split([file.as_posix() for file in files])
    for pattern, members in sorted(patterns.items(), key=lambda item: -len(item[1])):
        places = {split: PurePosixPath(name) for split, name in members.items()}
        if is_division(places) and left >= set(places.values()):
            together = [places[split] for split in SPLIT_WORDS if split in places]
            found.append((places["train"], by_folders(names_in(pattern, places)), together))
            left -= set(places.values())
    alone = sorted((file for file in files if file in left), key=lambda file: split_of(file.as_posix())[0] != "train")
    return found + [(file, {}, [file]) for file in alone]


def names_in(pattern: str, members: dict[str, PurePosixPath]) -> dict[str, str]:
    """{split: what stands for {split} in the name of its file or folder}."""
    before, _, after = pattern.partition("{split}")
    return {split: place.as_posix()[len(before) :].removesuffix(after) for split, place in members.items()}


def by_folders(words: Mapping[str, str | list[str]]) -> Split:
    """The keys of data.split for what stands for {split}; a split that has none gets a share of train's images."""
    names = {split: word[0] if isinstance(word, list) and len(word) == 1 else word for split, word in words.items()}
    plain = all(names.get(split) == split for split in SPLIT_WORDS)
    return {"by": "folders", **completing(names), "folders": None if plain else {split: names.get(split) for split in SPLIT_WORDS}}


def completing(splits: Collection[str]) -> Split:
    """data.split's ratios and stratify where these splits have images of their own."""
    lacking = [split for split in SPLIT_WORDS if split not in splits]
    shares = {split: SHARE if split in lacking else 0 for split in SPLIT_WORDS} | {"train": 1 - SHARE}
    return {"ratios": shares if lacking else None, "stratify": bool(lacking)}


def made_of_train(split: Split, lack: str = "nothing is called") -> list[str]:
    """A doubt where a split has no images of its own. lack: how to say so."""
    named = split.get("folders") or split.get("lists") or {}
    lacking = [name for name in named if named[name] is None]
    return [f"{lack} {name}: {SHARE:.0%} of the images of train are taken for it (split.ratios)" for name in lacking]


def split_of_folders(folders: Iterable[PurePosixPath]) -> tuple[str, dict[str, PurePosixPath]] | None:
    """The pattern with {split} that the folders, or those above them, share, and the folder of each split; None without one."""
    known = set(folders)
    cut = {PurePosixPath(*f.parts[:end]) for f in known for end in range(1, len(f.parts) + 1)}
    for some in (known, cut):
        for pattern, members in by_split({f.as_posix() for f in some}).items():
            places = {split: PurePosixPath(name) for split, name in members.items()}
            if is_division(places) and all(any(f.is_relative_to(place) for place in places.values()) for f in known):
                return pattern, places
    return None


def with_split(place: str, listing: Listing, split: Split) -> str | None:
    """A place of train's with {split} in it; as it is where all splits share it; None where some split has no such folder."""
    found, pattern = split_of(place)
    if not split or found is None:
        return place
    return pattern if all(PurePosixPath(pattern.replace("{split}", name)) in listing.folders for name in words_of(split)) else None


def words_of(split: Split) -> list[str]:
    """What {split} stands for."""
    named = (split.get("folders") or {name: name for name in SPLIT_WORDS}).values()
    return [word for words in named if words is not None for word in ([words] if isinstance(words, str) else words)]


def home_of(listing: Listing, names: Sequence[str], near: PurePosixPath, avoid: str | None = None, stems: bool = False) -> str | None:
    """The folder of images below which most of the named ones lie; None where none does. near: the file or folder that names them. stems:
    the names have no suffix. avoid: a folder that is taken only where no other has as many. Of several, the one that is not of another
    split, then the one that is called as folders of images are, then the uppermost."""
    wanted = {composed(name).replace("\\", "/").lower() for name in names[:PROBED]}
    folders: Counter[str] = Counter()
    for file in listing.pictures:
        parts = [composed(part) for part in (file.with_suffix("") if stems else file).parts]
        for depth in range(len(parts)):
            if "/".join(parts[depth:]).lower() in wanted:
                folders["/".join(file.parts[:depth]) or "."] += 1
    if not folders:
        return None
    said = split_of(near.as_posix())[0]

    def fitness(folder: str) -> tuple[float, ...]:
        fits = said is None or split_of(folder)[0] in (None, said)
        return folders[folder], fits, folder != avoid, bool(IMAGE_WORD.search(folder)), not LABEL_WORD.search(folder), -folder.count("/")

    return max(folders, key=fitness)


def home_of_all(listing: Listing, names: Sequence[str], near: PurePosixPath) -> str | None:
    """As `home_of`; where some images lie elsewhere, the folder below which all do, if their last names are each of one file."""
    home = home_of(listing, names, near)
    lasts = {composed(name).replace("\\", "/").rpartition("/")[2].lower() for name in names}
    there = [file for file in listing.pictures if composed(file.name).lower() in lasts]
    inside = [file for file in there if home is not None and file.is_relative_to(home)]
    if len(inside) < len(there) == len(lasts):
        return common_folder({file.parent for file in there}).as_posix()
    return home or home_of(listing, sorted(lasts), near)


def common_folder(folders: Collection[PurePosixPath]) -> PurePosixPath:
    """The deepest folder that holds all of these."""
    return PurePosixPath(posixpath.commonpath(folders))


def place(guess: Guess, listing: Listing, split: dict[str, Any], files: Sequence[PurePosixPath], **folders: str | None) -> None:
    """Set annotations, folders, labels and split of a guess; folders that the splits do not have alike leave train's alone. files: the
    annotation files, that of train first."""
    annotations, doubts = files[0], list[str]()
    placed = {key: with_split(folder, listing, split) for key, folder in folders.items() if folder is not None}
    if any(place is None for place in placed.values()):
        doubts = [*doubts, f"only {annotations} is read, as the folders of the other splits are called otherwise"]
        split, files, placed = {}, files[:1], {key: folder for key, folder in folders.items() if folder is not None}
    name = annotations.as_posix()
    guess.source = {"annotations": split_of(name)[1] if split else name, **placed}
    guess.split, guess.doubts, guess.labels = split, doubts, frozenset(files)
    guess.seen = [Seen(file.as_posix(), frozenset([file]), f"annotations of the kind {guess.option}", f"--labels {file}") for file in files]
    for key, folder in folders.items():
        if folder is None:
            guess.doubts.append(f"none of the files that {annotations} names was found: set source.{key}")
