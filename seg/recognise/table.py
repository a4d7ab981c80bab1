"""What init took of a folder, and what it left: a table of all image files and of all labels that it saw."""

import os
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

from seg.core.errors import enumerated, plural
from seg.recognise.guess import lies_in
from seg.recognise.listing import Listing
from seg.recognise.trial import Trial

LONG = 120  # letters of an error
ROWS = 8  # folders that are listed, those of most files
ALIKE = 3  # folders that are listed one by one


def table(listing: Listing, chosen: Trial, others: Sequence[Trial], known: Collection[PurePosixPath]) -> list[str]:
    """The lines of the table. known: all files that are labels of some guess."""
    taken = {relative(listing, file) for file in chosen.images}
    pictures = set(listing.pictures)
    found = (pictures - set(known)) | (taken & pictures)
    left = found - taken
    reasons = _reasons(left, chosen, others, listing)
    lines = [f"files of images: {len(found)} found, {len(taken)} taken, {len(left)} left over"]
    rows = [(str(len(taken)), "taken", _folders(taken))] + [(str(count), "left over", f"{place}: {why}") for place, count, why in reasons]
    lines += _aligned(rows)
    labels = [seen for trial in (chosen, *others) for seen in trial.guess.seen]
    rows = []
    read = {relative(listing, file) for item in chosen.items for file in item.files[1:]}
    if objects := chosen.guess.source.get("objects"):  # beside the maps of classes, whose names they have
        read |= {file for file in listing.pictures if lies_in(file, str(objects))}
    refused = {seen.place: str(trial.error) for trial in others for seen in trial.guess.seen if trial.error}
    works = {seen.place for trial in others for seen in trial.guess.seen if not trial.error}
    refused = {place: why for place, why in refused.items() if place not in works}
    for seen in {seen.place: seen for seen in labels[::-1]}.values():
        own = seen.files & read
        why = f"; refused: {_short(refused[seen.place])}" if seen.place in refused else f"; {seen.arguments}"
        place = f"{seen.place} ({plural(len(own or seen.files), 'file')})"
        rows.append(("chosen" if own else "not chosen", place, seen.what + ("" if own else why)))
    lines += ["labels:", *_aligned(sorted(rows))] if rows else []
    return lines


def _short(error: str) -> str:
    """An error without the file that it names, as far as one reads in a table."""
    told = error.partition(": ")[2] or error
    return told if len(told) <= LONG else f"{told[:LONG].rpartition(' ')[0]} ..."


def relative(listing: Listing, file: str) -> PurePosixPath:
    return PurePosixPath(os.path.relpath(file, listing.root).replace(os.sep, "/"))


def _folders(files: Collection[PurePosixPath]) -> str:
    """Where files lie; folders that differ in one part of their path are one line, with a star in its place."""
    families: dict[tuple[str, ...], list[PurePosixPath]] = {}
    for place in sorted({file.parent for file in files}):
        parts = place.parts
        families.setdefault((str(len(parts)), parts[0], parts[-1]) if len(parts) > 2 else (str(len(parts)), *parts[:-1]), []).append(place)
    shown = []
    for members in families.values():
        if len(members) > ALIKE:
            first = members[0].parts
            starred = ["*" if len({member.parts[i] for member in members}) > 1 else part for i, part in enumerate(first)]
            shown.append(f"{'/'.join(starred)}/ ({len(members)} folders)")
        else:
            shown += ["./" if str(place) == "." else f"{place}/" for place in members]
    return enumerated(shown, ROWS)


def _reasons(left: Collection[PurePosixPath], chosen: Trial, others: Sequence[Trial], listing: Listing) -> list[tuple[str, int, str]]:
    """Of the files that are left over, by folder: how many, and why."""
    of_others = {relative(listing, file): trial for trial in others for file in trial.images}
    by_reason: dict[str, list[PurePosixPath]] = {}
    for file in left:
        other = of_others.get(file)
        if other is not None:
            place = next((seen.place for seen in other.guess.seen), "")
            why = f"with labels of another kind or place; --as {other.guess.option} --labels {place}" if place else "of other labels"
        else:
            why = "none of the chosen labels has this name"
        by_reason.setdefault(why, []).append(file)
    rows = []
    for why, files in by_reason.items():
        places = Counter(f"{file.parent}/".removeprefix("./") or "./" for file in files)
        if len(places) > ALIKE:
            rows.append((_folders(files), len(files), why))
        else:
            rows += [(place, count, why) for place, count in places.items()]
    return sorted(rows, key=lambda row: -row[1])


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    return ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
