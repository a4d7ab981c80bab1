"""Images and the label images of their names: which of the relations between files hold, by what the pixels are."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from seg.recognise.guess import Wanted, lies_in
from seg.recognise.kinds import Role, are_numbered, determines, is_labels, role_of
from seg.recognise.listing import Listing
from seg.recognise.looks import Look, look
from seg.recognise.patterns import Places, alike, places_of
from seg.recognise.relations import Pair, Relation, relations, stem_of
from seg.sources.listing import without_number

LOOKED_AT = 6  # pairs of a relation, evenly chosen
COVERED = 0.5  # share of the files of a smaller relation, from which a larger one holds them
VIEW = re.compile(r"(?<![a-z])(viz|overlay|overlaid|blend|blended|preview|visuali[sz]ation)s?(?![a-z])", re.I)
FAR_MORE = 3  # times as many
RIVAL = 0.8  # of the pairs, with which other images of the same labels are as good


@dataclass(slots=True, eq=False)
class Family:
    """Label images, and the images that they are of. relations: several where folders and endings vary. rivals: other images."""

    relations: list[Relation]
    role: Role
    looks: list[Look]
    pictures: list[Look]
    rivals: list[Relation] = field(default_factory=list)
    further: list[Relation] = field(default_factory=list)

    @property
    def pairs(self) -> list[Pair]:
        return [pair for relation in self.relations for pair in relation.pairs]

    @property
    def images(self) -> set[PurePosixPath]:
        return set().union(*(relation.images for relation in self.relations))

    @property
    def labels(self) -> set[PurePosixPath]:
        return set().union(*(relation.labels for relation in (*self.relations, *self.further)))

    def places(self) -> Places:
        contexts = {(pair.before, pair.after) for pair in self.pairs}
        return places_of(contexts, *([r.change.place[side] for r in self.relations] for side in (0, 1)))

    @property
    def inserted(self) -> tuple[str, str]:
        return self.relations[0].change.inserted

    def endings(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """What stands before and after the shared part of the images' names, and of the masks'."""
        first, last = ([r.change.image for r in self.relations], [r.change.label for r in self.relations])
        return tuple((_starred([b for b, _ in side]), _starred([a for _, a in side])) for side in (first, last))  # type: ignore[return-value]


def families(listing: Listing, wanted: Wanted) -> list[Family]:
    """All that hold and are wanted, the one of most pairs first."""
    found: list[Family] = []
    for each in relations(listing.pictures):
        relation = _wanted(each, wanted)
        if not relation.pairs or _turned(found, relation):
            continue
        chosen = _some(relation)
        looked = [(one, two) for pair in chosen if (one := look(listing.path(pair.image))) and (two := look(listing.path(pair.label)))]
        fitting = [(one, two) for one, two in looked if one.size in (two.size, two.size[::-1])]
        if not fitting or len(fitting) * 2 < len(chosen):
            continue
        pictures, labels = [one for one, _ in fitting], [two for _, two in fitting]
        role = role_of(labels)
        if role != "pictures" and _is_of(pictures, labels):
            _add(found, Family([relation], role, labels, pictures))
    return sorted(found, key=lambda f: (not is_labels(f.role), -len(f.pairs)))


def _turned(found: Sequence[Family], relation: Relation) -> bool:
    """Whether its labels are photographs of families that are known, or its images their labels."""
    known = [family for family in found if _are_pictures(family)]
    labels = sum(len(relation.labels & family.images) for family in known)
    images = sum(len(relation.images & family.labels) for family in known)
    return labels >= COVERED * len(relation.labels) or images >= COVERED * len(relation.images)


def _some(relation: Relation) -> list[Pair]:
    """Pairs, evenly chosen: of the same images in each relation, so that no file is opened for one of them alone."""
    before, after = relation.change.image
    ordered = sorted(relation.pairs, key=lambda p: (p.before, p.after, stem_of(p.image).removeprefix(before).removesuffix(after)))
    return ordered[:: max(1, len(ordered) // LOOKED_AT)][:LOOKED_AT]


def _wanted(relation: Relation, wanted: Wanted) -> Relation:
    """The pairs whose files the user named, where some are."""
    if wanted.images is None and wanted.labels is None:
        return relation
    pairs = (pair for pair in relation.pairs if lies_in(pair.image, wanted.images) and lies_in(pair.label, wanted.labels))
    return Relation(relation.change, tuple(pairs))


def _is_of(pictures: Sequence[Look], labels: Sequence[Look]) -> bool:
    """Whether the one can be the images of the other: pictures; or drawn ones, which have far more colours than their labels."""
    if role_of(pictures) == "pictures":
        return True
    here, there = (sorted(len(one.labels) for one in each)[len(each) // 2] for each in (pictures, labels))
    return not is_labels(role_of(pictures)) and here >= 2 * there


def _are_pictures(family: Family) -> bool:
    return role_of(family.pictures) == "pictures"


def _add(found: list[Family], family: Family) -> None:
    """Add a family, unless larger ones hold its files; or join it to one that it continues elsewhere."""
    (relation,) = family.relations
    images, labels = relation.images, relation.labels
    for other in found:
        shared, seen = len(labels & other.labels), len(images & other.images)
        if shared >= COVERED * len(labels):
            rivals = seen < COVERED * len(images) and len(relation.pairs) >= RIVAL * len(other.pairs)
            if rivals and _are_pictures(family) and not _is_view(relation):
                if _are_pictures(other) and not _is_view(other.relations[0]):
                    other.rivals.append(relation)
                else:  # what was taken for the images are drawings of them, or show the labels upon them
                    other.relations, other.pictures = [relation], family.pictures
            return
        if seen >= COVERED * len(images) and _is_further(other, relation):
            other.further.append(relation)
            return
        if not shared and not seen and _continues(other, family):
            other.relations.append(relation)
            other.looks += family.looks
            other.pictures += family.pictures
            return
    found.append(family)


def _is_view(relation: Relation) -> bool:
    """Whether what would be the images shows the labels upon them, by its name."""
    change = relation.change
    return any(VIEW.search(word) for word in (change.place[0], *change.image))


def _is_further(family: Family, relation: Relation) -> bool:
    """Whether a relation is of the second masks of images, and the third: scene_mask_1 beside scene_mask."""
    base = family.relations[0].change
    if (base.place, base.image, base.label[0]) != (relation.change.place, relation.change.image, relation.change.label[0]):
        return False
    start, end = without_number(base.label[1]), relation.change.label[1]
    return end.startswith(start) and end[len(start) :].lstrip(" _-").isdigit() and bool(start)


def _continues(family: Family, other: Family) -> bool:
    """Whether label images are as those of a family, in other folders that are called alike."""
    one, two = family.relations[0].change, other.relations[0].change
    if family.role != other.role or (one.image[0], one.label[0], one.inserted) != (two.image[0], two.label[0], two.inserted):
        return False
    words = [(one.place[side], two.place[side]) for side in (0, 1)]
    ends = [(one.image[1], two.image[1]), (one.label[1], two.label[1])]
    folders = {pair.image.parent for pair in family.pairs} & {pair.image.parent for pair in other.pairs}
    alike_ends = all(a == b or (a[:1] == b[:1] != "" and not a[:1].isalnum()) for a, b in ends)
    return not folders and alike_ends and all(_alike(a, b) for a, b in words)


def _alike(one: str, other: str) -> bool:
    """Whether two words are the same but for their ends, as label and labels, or image and images."""
    shared = alike([one.lower(), other.lower()])
    return one == other or (shared >= 3 and max(len(one), len(other)) - shared <= 3)


def _starred(ends: Sequence[str]) -> str:
    if len(set(ends)) == 1:
        return ends[0]
    start = alike(ends)
    while start and ends[0][start - 1].isalnum():  # whole words
        start -= 1
    return f"{ends[0][:start]}*"


def best_of(listing: Listing, same: Sequence[Family]) -> Family | None:
    """Of label images of the same images the one to read; None where none is clearly best. A map from which all others follow is best; of
    those that follow from each other, gray values before colours and hard edges first. Of two readings of the same, such as 1st and 2nd,
    the first one. Ids of objects are another task than classes."""
    usable = [family for family in same if is_labels(family.role)] or list(same)
    maps = [family for family in usable if family.role != "ids"] or usable
    maps = [family for family in maps if not any(_numbers(listing, family, other) for other in maps)]
    most = max(len(family.pairs) for family in maps)
    maps = [family for family in maps if len(family.pairs) >= RIVAL * most]
    best = [one for one in maps if all(one is other or _follows(listing, other, one) for other in maps)]
    classes = [family for family in maps if not are_numbered(family.looks)]
    if not best and len(classes) == 1:
        best = classes
    if not best and len({_unnumbered(family) for family in maps}) == 1:
        best = [min(maps, key=lambda family: family.relations[0].change.label[1] + family.relations[0].change.place[1])]
    best.sort(key=lambda family: (family.role == "soft", family.looks[0].kind != "gray", -len(family.pairs)))
    return best[0] if best else None


def _follows(listing: Listing, other: Family, one: Family) -> bool:
    """Whether what `other` says follows from `one`, on some of the images that both have."""
    here, there = ({pair.image: pair.label for pair in family.pairs} for family in (one, other))
    both = sorted((image for image in here if image in there), key=lambda image: (image.parent, stem_of(image)))
    some = both[:: max(1, len(both) // LOOKED_AT)][:LOOKED_AT]
    looked = [(a, b) for image in some if (a := look(listing.path(here[image]))) and (b := look(listing.path(there[image])))]
    return bool(looked) and determines([a for a, _ in looked], [b for _, b in looked])


def _numbers(listing: Listing, family: Family, other: Family) -> bool:
    """Whether colours number the objects of the classes that others show: of many colours each image has a few."""
    if family is other or family.looks[0].kind != "color":
        return False
    ours, theirs = (_distinct(each) for each in (family, other))
    return ours[0] >= FAR_MORE * max(theirs[0], ours[1]) and theirs[0] < FAR_MORE * theirs[1] and _follows(listing, other, family)


def _distinct(family: Family) -> tuple[int, float]:
    """How many labels there are beside black and 0, and how many an image has."""
    each = [set(one.labels) - {0, (0, 0, 0)} for one in family.looks]
    return len(set().union(*each)), sum(map(len, each)) / len(each)


def _unnumbered(family: Family) -> tuple[str, str]:
    """Where label images lie and how they end, without what numbers the readings of several people."""
    change = family.relations[0].change
    return re.sub(r"(?<![^\W\d_])(1st|2nd|3rd|\d)", "", change.place[1]), re.sub(r"(?<![^\W\d_])(1st|2nd|3rd|\d)", "", change.label[1])
