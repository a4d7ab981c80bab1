"""What formats share: which of several files of a kind is read, where its images lie, and how files and folders say the split."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from seg.recognise.guess import Guess
from seg.recognise.listing import SPLIT_WORDS, Listing, families, is_division, split_of
from seg.sources.listing import is_picture

PROBED = 50  # names of images that are looked for
SHOWN = 4  # names that a doubt lists
SHARE = 0.15  # of train's images, for a split that has none of its own
IMAGE_WORD = re.compile(r"image|img|jpe?g|photo|picture|frame|scan", re.I)
LABEL_WORD = re.compile(r"mask|label|annot|segm|panoptic|trimap|truth|(?<![a-z])gt(?![a-z])", re.I)

Split = dict[str, Any]
"""Keys of data.split; none where files and folders say nothing."""


def chosen(files: Sequence[PurePosixPath]) -> tuple[PurePosixPath, Split, list[str]]:
    """Of annotation files of one kind the one to look into, how they split the data, and doubts about those that are not read."""
    by_pattern: dict[str, dict[str, PurePosixPath]] = defaultdict(dict)
    for file in files:
        split, pattern = split_of(file.as_posix())
        if split is not None:
            by_pattern[pattern].setdefault(split, file)
    for pattern, members in sorted(by_pattern.items(), key=lambda item: -len(item[1])):
        if is_division(members):
            others = [file for file in files if file not in members.values()]
            return members["train"], by_folders(names_in(pattern, members)), _unread(others)
    first = next((members["train"] for members in by_pattern.values() if "train" in members), files[0])
    return first, {}, _unread([file for file in files if file != first])


def _unread(files: Sequence[PurePosixPath]) -> list[str]:
    shown = ", ".join(file.as_posix() for file in files[:SHOWN]) + (f" and {len(files) - SHOWN} more" if len(files) > SHOWN else "")
    return [f"not read, though of the same kind: {shown}; a split by files needs train, and val or test"] if files else []


def names_in(pattern: str, members: dict[str, PurePosixPath]) -> dict[str, str]:
    """{split: what stands for {split} in the name of its file or folder}."""
    before, _, after = pattern.partition("{split}")
    return {split: place.as_posix()[len(before) :].removesuffix(after) for split, place in members.items()}


def by_folders(names: dict[str, str]) -> Split:
    """The keys of data.split for what stands for {split}; a split that has none gets a share of train's images."""
    plain = all(names.get(split) == split for split in SPLIT_WORDS)
    return {"by": "folders", **completing(names), "folders": None if plain else {split: names.get(split) for split in SPLIT_WORDS}}


def completing(splits: Collection[str]) -> Split:
    """data.split's ratios and stratify where these splits have images of their own."""
    lacking = [split for split in SPLIT_WORDS if split not in splits]
    shares = {split: SHARE if split in lacking else 0 for split in SPLIT_WORDS} | {"train": 1 - SHARE}
    return {"ratios": shares if lacking else None, "stratify": bool(lacking)}


def made_of_train(split: Split) -> list[str]:
    """A doubt where a split has no images of its own."""
    named = split.get("folders") or split.get("lists") or {}
    return [
        f"nothing is called {name}: {SHARE:.0%} of the images of train are taken for it (split.ratios)"
        for name in named
        if named[name] is None
    ]


def split_of_folders(folders: Iterable[PurePosixPath]) -> tuple[str, dict[str, PurePosixPath]] | None:
    """The pattern with {split} that the folders, or those above them, share, and the folder of each split; None without one."""
    known = set(folders)
    cut = {PurePosixPath(*f.parts[:end]) for f in known for end in range(1, len(f.parts) + 1)}
    for family in families(sorted(known)) + families(sorted(cut)):
        places = family.folders.values()
        if "{split}" in family.pattern and all(any(f.is_relative_to(place) for place in places) for f in known):
            return family.pattern, dict(family.folders)
    return None


def with_split(place: str, listing: Listing, split: Split) -> str | None:
    """A place of train's with {split} in it; as it is where all splits share it; None where some split has no such folder."""
    found, pattern = split_of(place)
    if not split or found is None:
        return place
    there = {parent.as_posix() for file in listing.files for parent in file.parents}
    return pattern if all(pattern.replace("{split}", name) in there for name in words_of(split)) else None


def words_of(split: Split) -> list[str]:
    """What {split} stands for."""
    return [word for word in (split.get("folders") or {name: name for name in SPLIT_WORDS}).values() if word is not None]


def home_of(listing: Listing, names: Sequence[str], near: PurePosixPath, avoid: str | None = None, stems: bool = False) -> str | None:
    """The folder of images below which most of the named ones lie; None where none does.

    near: the file or folder that names them. stems: the names have no suffix. avoid: a folder that is taken only where no
    other has as many. Of several, the one that is not of another split, then the one that is called as folders of images
    are, then the uppermost.
    """
    wanted = {name.replace("\\", "/") for name in names[:PROBED]}
    folders: Counter[str] = Counter()
    for file in listing.files:
        if is_picture(Path(file)):
            name = file.with_suffix("") if stems else file
            for depth in range(len(name.parts)):
                if "/".join(name.parts[depth:]) in wanted:
                    folders["/".join(name.parts[:depth]) or "."] += 1
    if not folders:
        return None
    said = split_of(near.as_posix())[0]

    def fitness(folder: str) -> tuple[float, ...]:
        fits = said is None or split_of(folder)[0] in (None, said)
        return folders[folder], fits, folder != avoid, bool(IMAGE_WORD.search(folder)), not LABEL_WORD.search(folder), -folder.count("/")

    return max(folders, key=fitness)


def common_folder(folders: Collection[PurePosixPath]) -> PurePosixPath:
    """The deepest folder that holds all of these."""
    first = next(iter(folders))
    return next(p for p in (first, *first.parents) if all(f.is_relative_to(p) for f in folders))


def place(
    guess: Guess, listing: Listing, split: dict[str, Any], doubts: list[str], annotations: PurePosixPath, **folders: str | None
) -> None:
    """Set annotations, folders and split of a guess; folders that the splits do not have alike leave train's alone."""
    placed = {key: with_split(folder, listing, split) for key, folder in folders.items() if folder is not None}
    if any(place is None for place in placed.values()):
        doubts = [*doubts, f"only {annotations} is read, as the folders of the other splits are called otherwise"]
        split, placed = {}, {key: folder for key, folder in folders.items() if folder is not None}
    name = annotations.as_posix()
    guess.source = {"annotations": split_of(name)[1] if split else name, **placed}
    guess.split, guess.doubts = split, doubts
    for key, folder in folders.items():
        if folder is None:
            guess.doubts.append(f"none of the files that {annotations} names was found: set source.{key}")
