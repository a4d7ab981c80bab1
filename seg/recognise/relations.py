"""Which files have the same names: how the path of an image becomes that of its label image, and which files a rule of that kind pairs."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from seg.core.textfile import composed
from seg.data.imagefile import IMAGE_SUFFIXES
from seg.recognise.listing import split_of
from seg.recognise.patterns import alike, border

SAMPLED = 600  # files whose names are compared with others
NEIGHBOURS = 4  # of those with a name in common, before and after, by path and by path read backwards
MOST_CHANGES = 60  # the most frequent
RARE = 0.02  # of the votes of the most frequent, below which a change is chance
MOST_ENDS = 5  # of a name, that are tried
REPEATED = 3  # folders that hold a file of one name, as img.png, from which on it is the folder that names the image
Affixes = tuple[str, str]  # what stands before and after the part of a name that is shared
WORD_WITHIN = re.compile(r"(?<=.)[-_. ][^\W\d_]+(?=[-_. ].)")
SEPARATOR = re.compile("[-_. ]")


@dataclass(frozen=True, slots=True)
class Change:
    """How the path of an image becomes that of its label: what of the folder is replaced by what, and what the names have around
    the part that they share. inserted: a word that the label's name has within that part, as in um_road_01 of um_01; and the separators
    behind it."""

    place: tuple[str, str]
    image: Affixes
    label: Affixes
    inserted: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class Pair:
    """An image and its label. before, after: what the folders' paths share around what differs."""

    image: PurePosixPath
    label: PurePosixPath
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Relation:
    """All pairs of one change."""

    change: Change
    pairs: tuple[Pair, ...]

    @property
    def images(self) -> set[PurePosixPath]:
        return {pair.image for pair in self.pairs}

    @property
    def labels(self) -> set[PurePosixPath]:
        return {pair.label for pair in self.pairs}


@dataclass(frozen=True, slots=True)
class _File:
    """place: "" for the root, "/a/b" for folders. stem: as written. key: as it is compared."""

    path: PurePosixPath
    place: str
    stem: str
    key: str


def relations(files: Sequence[PurePosixPath]) -> list[Relation]:
    """The changes that pair the most files, each with all its pairs, in both directions: which is the image is not known here."""
    known = [_file(path) for path in files]
    index: dict[tuple[str, str], list[_File]] = defaultdict(list)
    for file in known:
        index[file.place, file.key].append(file)
    votes = _votes(known) + _inserted(known)
    votes = Counter({change: count for change, count in votes.items() if len({split_of(side)[0] for side in change.place} - {None}) < 2})
    most = max(votes.values(), default=0)
    likely = [change for change, count in votes.most_common(MOST_CHANGES) if count >= RARE * most]
    found = [relation for change in likely for relation in _by_kind(Relation(change, tuple(_pairs(change, known, index))))]
    return sorted((r for r in found if r.pairs), key=lambda r: (-len(r.pairs), sum(map(len, (*r.change.place, *r.change.label)))))


def _by_kind(relation: Relation) -> list[Relation]:
    """Of files that differ by their suffixes alone, as a.jpg and a.png, a relation for each kind of label."""
    if relation.change != Change(("", ""), ("", ""), ("", "")):
        return [relation]
    suffixes = dict.fromkeys(pair.label.suffix for pair in relation.pairs)
    kinds = [tuple(p for p in relation.pairs if p.label.suffix == suffix != p.image.suffix) for suffix in suffixes]
    return [Relation(relation.change, pairs) for pairs in kinds]


def stem_of(path: PurePosixPath) -> str:
    """A file's name without suffixes, that of the image's kind too where a mask is named after the whole of it: a.jpg.png."""
    stem = composed(path.name)
    while (cut := stem.rpartition("."))[0] and f".{cut[2].lower()}" in IMAGE_SUFFIXES:
        stem = cut[0]
    return stem


def _file(path: PurePosixPath) -> _File:
    stem = stem_of(path)
    place = "" if path.parent == PurePosixPath(".") else f"/{path.parent.as_posix()}"
    return _File(path, place, stem, low if len(low := stem.lower()) == len(stem) else stem)


def _votes(files: Sequence[_File]) -> Counter[Change]:
    cores: dict[str, list[tuple[_File, int, int]]] = defaultdict(list)
    times = Counter(file.key for file in files)
    cuts = {key: _cuts(key) + [(0, 0)] * (count >= REPEATED and not any(map(str.isdigit, key))) for key, count in times.items()}
    for file in files:
        for start, end in cuts[file.key]:
            cores[f"{file.place}/" if start == end else file.key[start:end]].append((file, start, end))
    near = {core: _Neighbours(entries) for core, entries in cores.items() if len(entries) > 1}
    votes: Counter[Change] = Counter()
    step = max(1, len(files) // SAMPLED)
    for file in files[::step]:
        best: dict[PurePosixPath, Change] = {}
        for start, end in sorted(cuts[file.key], key=lambda cut: cut[0] - cut[1]):  # the longest shared part first
            if neighbours := near.get(f"{file.place}/" if start == end else file.key[start:end]):
                for other, first, last in neighbours.of(file):
                    if other.path not in best and other.path != file.path:
                        one, two = (file.stem[:start], file.stem[end:]), (other.stem[:first], other.stem[last:])
                        best[other.path] = Change(_difference(file.place, other.place), one, two)
        for change in best.values():
            votes[change] += 1
            votes[Change((change.place[1], change.place[0]), change.label, change.image)] += 1
    return votes


def _inserted(files: Sequence[_File]) -> Counter[Change]:
    """The changes of files of which one has a word more within its name."""
    known: dict[str, list[_File]] = defaultdict(list)
    for file in files:
        known[file.key].append(file)
    votes: Counter[Change] = Counter()
    for file in files:
        for word in WORD_WITHIN.finditer(file.key):
            inserted = file.stem[word.start() : word.end()], "".join(SEPARATOR.findall(file.key[word.end() :]))
            for other in known.get(file.key[: word.start()] + file.key[word.end() :], ())[:NEIGHBOURS]:
                votes[Change(_difference(other.place, file.place), ("", ""), ("", ""), inserted)] += 1
    return votes


class _Neighbours:
    """Files with a part of their names in common; those that lie nearest to one, by path and by path read backwards."""

    def __init__(self, entries: list[tuple[_File, int, int]]) -> None:
        forwards = sorted(entries, key=lambda e: e[0].path.parts)
        backwards = sorted(entries, key=lambda e: e[0].path.parent.parts[::-1])
        self.orders = (forwards, backwards) if len(entries) > 2 * NEIGHBOURS else (forwards,)
        self.places = [{entry[0].path: number for number, entry in enumerate(order)} for order in self.orders]

    def of(self, file: _File) -> Iterator[tuple[_File, int, int]]:
        for order, places in zip(self.orders, self.places, strict=True):
            place = places[file.path]
            yield from order[max(0, place - NEIGHBOURS) : place + NEIGHBOURS + 1]


def _cuts(key: str) -> list[tuple[int, int]]:
    """Where the part of a name that is shared may start and end: at separators, and between letters and digits."""
    borders = [m.start() for m in re.finditer(r"(?<=.)(?=[-_. (])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])", key)]
    ends = [len(key), *borders[::-1][:MOST_ENDS]]
    starts = [0, *(m.end() for m in re.finditer(r"^[^\W\d_]+[-_. ]*|^[^\W_]+[-_. ]+", key))]
    return [(s, e) for s in dict.fromkeys(starts) for e in ends if s < e and any(c.isalnum() for c in key[s:e])]


def _difference(one: str, other: str) -> tuple[str, str]:
    """What differs between two folders, without what they share before and after it, up to whole words."""
    start = alike([one, other])
    if start < min(len(one), len(other)):
        while start and not border(one, start):
            start -= 1
    end = alike([one[start:][::-1], other[start:][::-1]])
    while end and not (border(one, len(one) - end) and border(other, len(other) - end)):
        end -= 1
    return one[start : len(one) - end], other[start : len(other) - end]


def _pairs(change: Change, files: Sequence[_File], index: dict[tuple[str, str], list[_File]]) -> Iterator[Pair]:
    before, after = (part.lower() for part in change.label)
    first, last = (part.lower() for part in change.image)
    for file in files:
        key = file.key
        if not (key.startswith(before) and key.endswith(after)) or len(key) < len(before) + len(after):
            continue
        shared = _without(key[len(before) : len(key) - len(after)], change.inserted)
        wanted = f"{first}{shared}{last}"
        for start, place in _back(change.place, file.place):
            found = next((f for f in index.get((place, wanted), ()) if f.path != file.path), None)
            if found is not None:
                rest = file.place[start + len(change.place[1]) :]
                yield Pair(found.path, file.path, file.place[:start], rest)
                break


def _without(key: str, inserted: tuple[str, str]) -> str | None:
    """A name without the word that is inserted; None where it is not there."""
    word, separators = inserted
    ends = [match.end() for match in re.finditer(re.escape(word.lower()), key)] if word else []
    cuts = [key[: end - len(word)] + key[end:] for end in ends if "".join(SEPARATOR.findall(key[end:])) == separators]
    return next(iter(cuts), None) if word else key


def _back(place: tuple[str, str], folder: str) -> Iterator[tuple[int, str]]:
    """Where a label's folder has what differs, and the image's folder then."""
    image, label = place
    if image == label == "":
        yield len(folder), folder
        return
    for start in range(len(folder) - len(label), -1, -1):
        if folder.startswith(label, start):
            yield start, f"{folder[:start]}{image}{folder[start + len(label) :]}"
