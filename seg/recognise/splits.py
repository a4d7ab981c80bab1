"""Lists of a split that lie beside the data: train.txt, val.txt, test.txt. They are used where their names are those of the images."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from seg.core.errors import DataError
from seg.core.textfile import composed, read_text
from seg.raw.record import Item
from seg.recognise.files import completing
from seg.recognise.groups import group_of_names
from seg.recognise.guess import Guess
from seg.recognise.listing import SPLIT_WORDS, Listing, by_split, is_division
from seg.recognise.trial import Trial
from seg.sources.splits import listed

SOME = 0.5  # share of a list's lines that are images, from which it is a list of them
MAX_SIZE = 5_000_000  # bytes of a list


def with_lists(listing: Listing, chosen: Trial, again: Callable[[Guess], Trial]) -> Trial:
    """The trial with the split that lists state, where one does; else with a word on the lists that are not used. again: tries a guess.

    Images of annotation files that lie in folders of patients and the like are kept together.
    """
    if chosen.guess.option not in ("folders", "id_maps") and any("/" in item.image_id for item in chosen.items):
        guess = replace(chosen.guess, why=list(chosen.guess.why), doubts=list(chosen.guess.doubts))
        group_of_names(guess, [PurePosixPath(f"{item.image_id}.x") for item in chosen.items])
        chosen = again(guess)
    used = {PurePosixPath(name) for name in (chosen.guess.split.get("lists") or {}).values() if name}
    lists = {file: share for file, share in lists_of(listing, chosen.items).items() if file not in used}
    if not lists:
        return chosen
    for pattern, members in sorted(by_split([file.as_posix() for file in lists]).items(), key=lambda entry: -len(entry[1])):
        whole = {split: name for split, name in members.items() if lists[PurePosixPath(name)] == 1}
        if chosen.guess.split.get("by") in (None, "ratios") and is_division(whole):
            split = {"by": "lists", **completing(whole), "lists": {name: whole.get(name) for name in SPLIT_WORDS}}
            guess = replace(chosen.guess, split=split, why=list(chosen.guess.why), doubts=list(chosen.guess.doubts))
            guess.why.append(f"the lists {pattern} say the split")
            guess.doubts += [f"{members[name]} names images without labels, and is not used" for name in members if name not in whole]
            guess.doubts += [
                f"no list of {name}: 15% of the images of train are taken for it (split.ratios)"
                for name in SPLIT_WORDS
                if name not in whole
            ]
            found = again(guess)
            if found.error is None:
                return _told(found, [file for file in lists if file.as_posix() not in members.values()])
    return _told(chosen, list(lists))


def _told(trial: Trial, lists: Sequence[PurePosixPath]) -> Trial:
    if lists:
        shown = ", ".join(file.as_posix() for file in lists[:6]) + (f" and {len(lists) - 6} more" if len(lists) > 6 else "")
        trial.guess.doubts.append(f"lists of images that are not used: {shown}; for a split by lists see data.split.lists")
    return trial


def lists_of(listing: Listing, items: Sequence[Item]) -> dict[PurePosixPath, float]:
    """Text files that name images a line, with the share of their lines that are images with labels."""
    known = {composed(name) for item in items for name in (item.image_id, *item.names)}
    found: dict[PurePosixPath, float] = {}
    for file in listing.having(".txt", ".lst", ".csv", ".split", ""):
        if file.name.lower().startswith("readme") or listing.path(file).stat().st_size > MAX_SIZE:
            continue
        try:
            lines = [composed(line.strip()) for line in read_text(listing.path(file)).splitlines()]
        except DataError:
            continue
        names = [line for line in lines if line and not line.startswith("#")]
        if not names:
            continue
        share = sum(listed(name, known) in known for name in names) / len(names)
        if share >= SOME and len(set(names)) > 1:
            found[file] = share
    return found
