"""What keeps images in one split: folders and names of patients and the like; and lists of a split that lie beside the data."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from seg.core.errors import DataError, enumerated
from seg.core.textfile import composed, read_text, size_of
from seg.raw.record import Item
from seg.recognise.guess import Guess
from seg.recognise.listing import SPLIT_WORDS, Listing, by_split, completing, is_division, made_of_train, split_of
from seg.recognise.trial import Trial
from seg.sources.splits import listed

FEW = 3  # groups, of which a split needs one each
KEPT = 4  # groups from which on they are kept together without being asked for
NUMBER = re.compile(r"(\d+)\D*$")
SOME = 0.5  # share of a list's lines that are images, from which it is a list of them
MAX_SIZE = 5_000_000  # bytes of a list


def group_of_names(guess: Guess, images: Sequence[PurePosixPath], varying: Sequence[str] = ()) -> None:
    """Set split.group where folders stand for patients and the like; else say which names may belong together. varying: what {folder}
    stands for in the pattern of the images."""
    if guess.split:
        return
    folders = list(varying) or sorted({image.parent.name for image in images})
    depth, numbered = {len(image.parts) for image in images}, sum(bool(re.search(r"\d", name)) for name in folders)
    if len(folders) >= KEPT and len(folders) * 2 <= len(images) and len(depth) == 1 and numbered * 2 > len(folders):
        guess.split = {"group": "^(.+)/"}
        guess.why.append(f"the images lie in {len(folders)} folders, such as {folders[0]}: split.group keeps each one's together")
    elif len(folders) > 1:
        guess.doubts.append(f"the images lie in {len(folders)} folders: where those belong together, split.group: '^(.+)/' keeps them so")
    elif hint := _by_name(images):
        guess.doubts.append(hint)
    elif said := _in_a_row(images):
        guess.doubts.append(f"{said}: slices or frames? split.by: blocks keeps neighbours in one split")


def _by_name(images: Sequence[PurePosixPath]) -> str | None:
    """Names that differ by what stands before a number, as front_7 and side_7, or by a number behind one, as patient3_12."""
    stems = [image.stem for image in images]
    for pattern in (r"^(.*\d)[-_. ][A-Za-z]*\d+$", r"([^\W_]*\d+)$"):
        found = [match.group(1) for stem in stems if (match := re.search(pattern, stem))]
        groups = Counter(found)
        if len(found) == len(stems) and FEW <= len(groups) <= len(stems) / 1.5:
            examples = [stem for stem in stems if re.search(pattern, stem).group(1) == groups.most_common(1)[0][0]][:2]  # type: ignore[union-attr]
            if any(split_of(example)[0] for example in examples):
                return None
            return f"names such as {' and '.join(sorted(examples))} may belong together: split.group: '{pattern}' keeps them in one split"
    return None


def _in_a_row(images: Sequence[PurePosixPath]) -> str | None:
    """What to say where the files' names are numbers without gaps."""
    found = sorted({int(match.group(1)) for image in images if (match := NUMBER.search(image.stem))})
    if len(found) == len(images) > 2 and found[-1] - found[0] == len(found) - 1:
        return f"the names are numbered {found[0]} to {found[-1]} without a gap"
    return None


def with_lists(listing: Listing, chosen: Trial, again: Callable[[Guess], Trial]) -> Trial:
    """The trial with the split that lists state, where one does; else with a word on the lists that are not used. again: tries a guess.
    Images of annotation files that lie in folders of patients and the like are kept together."""
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
            guess.doubts += made_of_train(split, "no list of")
            found = again(guess)
            if found.error is None:
                return _told(found, [file for file in lists if file.as_posix() not in members.values()])
    return _told(chosen, list(lists))


def _told(trial: Trial, lists: Sequence[PurePosixPath]) -> Trial:
    if lists:
        trial.guess.doubts.append(f"lists of images that are not used: {enumerated(lists, 6)}; for a split by lists see data.split.lists")
    return trial


def lists_of(listing: Listing, items: Sequence[Item]) -> dict[PurePosixPath, float]:
    """Text files that name images a line, with the share of their lines that are images with labels."""
    known = {composed(name) for item in items for name in (item.image_id, *item.names)}
    found: dict[PurePosixPath, float] = {}
    for file in listing.having(".txt", ".lst", ".csv", ".split", ""):
        if file.name.lower().startswith("readme") or size_of(listing.path(file)) > MAX_SIZE:
            continue
        try:
            lines = [composed(line.strip()) for line in read_text(listing.path(file)).splitlines()]
        except DataError:
            continue
        names = [line for line in lines if line and not line.startswith("#")]
        share = sum(listed(name, known) in known for name in names) / max(1, len(names))
        if share >= SOME and len(set(names)) > 1:
            found[file] = share
    return found
