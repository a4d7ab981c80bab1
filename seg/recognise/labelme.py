"""LabelMe: a JSON file an image."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from seg.recognise.classes import instance_classes, void_of
from seg.recognise.files import Split, by_folders, common_folder, home_of, names_in, split_of_folders, with_split
from seg.recognise.guess import Guess, Seen
from seg.recognise.listing import Listing


def guesses(listing: Listing, contents: Mapping[PurePosixPath, Any]) -> Iterator[Guess]:
    known = {f: c for f, c in contents.items() if isinstance(c.get("shapes"), list) and "imagePath" in c}
    if not known:
        return
    labels = Counter(str(s.get("label")) for c in known.values() for s in c["shapes"] if isinstance(s, dict))
    guess = Guess("labelme", "instance", [f"{len(known)} JSON files are LabelMe's, with {sum(labels.values())} shapes"])
    if by_split := _by_split(listing, known):
        guess.source, guess.split = by_split
        guess.why.append("the folders' names say the split")
    else:
        folders = {f.parent for f in known}
        folder = common_folder(folders)
        guess.source = {"images": _images(listing, known, folder), "annotations": folder.as_posix()}
        if len(folders) > 1:
            guess.doubts.append(f"the files lie in {len(folders)} folders: {', '.join(sorted(f.as_posix() for f in folders)[:4])}")
    guess.labels = frozenset(known)
    guess.seen = [Seen(str(guess.source["annotations"]), guess.labels, "LabelMe's files, one an image", "--as labelme")]
    guess.source |= void_of(labels)
    guess.classes = instance_classes(sorted(labels))
    yield guess


def _by_split(listing: Listing, known: Mapping[PurePosixPath, Any]) -> tuple[dict[str, Any], Split] | None:
    """The places and the split, where the folders of images say it as those of the JSON files do."""
    family = split_of_folders(f.parent for f in known)
    if family is None:
        return None
    pattern, folders = family
    split = by_folders(names_in(pattern, folders))
    train = {f: c for f, c in known.items() if f.is_relative_to(folders["train"])}
    images = with_split(_images(listing, train, folders["train"]), listing, split)
    return ({"images": images, "annotations": pattern}, split) if images is not None and "{split}" in images else None


def _images(listing: Listing, known: Mapping[PurePosixPath, Any], folder: PurePosixPath) -> str:
    """The folder of the images: where they have the JSON files' names, else the names that those tell, else that of the JSON files."""
    pictures = {f.with_suffix("") for f in listing.pictures}
    if any(f.with_suffix("") in pictures for f in known):
        return folder.as_posix()
    home = home_of(listing, [f.relative_to(folder).with_suffix("").as_posix() for f in known], folder, stems=True)
    told = [str(c["imagePath"]).replace("\\", "/").rpartition("/")[2] for c in known.values()]
    return home or home_of(listing, told, folder) or folder.as_posix()
