"""Images and label images, paired by name: which of several label images is read, and what reads them."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from seg.recognise.families import Family, best_of, families
from seg.recognise.guess import Guess, Seen, Wanted, instance_classes
from seg.recognise.kinds import WORDS, is_labels, may_be_ids
from seg.recognise.listing import Listing, by_folders, common_folder, split_of
from seg.recognise.looks import labels_of
from seg.recognise.relations import Relation, stem_of
from seg.recognise.splits import group_of_names
from seg.recognise.values import Counts, semantic, soft

PIXELS = 150_000_000  # of label images that are opened
AT_LEAST = 50  # label images that are opened, however large
TOGETHER = 0.5  # share of images from which two families are of the same ones


def guesses(listing: Listing, wanted: Wanted, others: bool = False) -> list[Guess]:
    """A guess for each set of images that has label images; several where none of its label images is clearly the best. others: those of
    the label images beside the best."""
    found: list[Guess] = []
    for same in _grouped(families(listing, wanted)):
        best = best_of(listing, same)
        likely = [best] if best else [family for family in same if is_labels(family.role)]
        likely = [family for family in likely if family.role != "scores"]
        if others:
            likely = [family for family in same if best and family is not best and is_labels(family.role)]
        names = _names(same)
        for family in likely:
            made = _guesses(listing, family, wanted.option)
            for guess in made:
                ask = (len(likely) > 1 and not others) or not is_labels(family.role)
                guess.arguments = f"--labels {names[id(family)]}" if ask else guess.arguments
                if ask and not is_labels(family.role):
                    guess.rank = 1
                guess.beside = frozenset(file for other in same for file in other.labels)
                called = [(other, names[id(other)]) for other in same]
                guess.seen = [Seen(name, frozenset(one.labels), WORDS[one.role], f"--labels {name}") for one, name in called]
                rivals = [(_rival(rival), frozenset(rival.images)) for rival in family.rivals]
                guess.seen += [Seen(place, files, "other images of the same names", f"--images {place}") for place, files in rivals]
            if family.rivals and not _plainly_images(family):
                guess = made[0]
                guess.arguments = f"--images {_rival(family.relations[0])}"
                for rival in family.rivals:
                    found.append(Guess(guess.option, guess.task, guess.why, arguments=f"--images {_rival(rival)}", rank=guess.rank))
                    found[-1].labels = guess.labels
            found += made
    return found


def _grouped(known: Sequence[Family]) -> list[list[Family]]:
    groups: list[list[Family]] = []
    for family in known:
        images = family.images
        near = (g for g in groups if len(images & g[0].images) >= TOGETHER * min(len(images), len(g[0].images)))
        if (group := next(near, None)) is None:
            groups.append(group := [])
        group.append(family)
    return groups


def _names(same: Sequence[Family]) -> dict[int, str]:
    """What a user calls each of several label images of the same images: their folder, or their names where folders are the same."""
    folders = {id(family): family.places().masks for family in same}
    found = {}
    for family in same:
        folder = folders[id(family)]
        before, after = family.endings()[1]
        alone = list(folders.values()).count(folder) == 1 and folder != family.places().images
        within = f"*{''.join(family.inserted)}*" if family.inserted[0] else "*"
        found[id(family)] = folder if alone else f"{'' if folder == '.' else f'{folder}/'}{before}{within}{after}"
    return found


def _folder(files: set[PurePosixPath]) -> str:
    return common_folder({file.parent for file in files}).as_posix()


def _rival(relation: Relation) -> str:
    """What a user calls the images of a relation."""
    folder, (before, after) = _folder(relation.images), relation.change.image
    return f"{'' if folder == '.' else f'{folder}/'}{before}*{after}" if before or after else folder


def _plainly_images(family: Family) -> bool:
    """Whether images are those of the bare names, and the others are made of them: scene.png beside scene_flows.png."""
    own = [relation.change for relation in family.relations]
    made = [r.change.image != ("", "") and r.images and _folder(r.images) == _folder(family.images) for r in family.rivals]
    return all(change.image == ("", "") for change in own) and all(made)


def _guesses(listing: Listing, family: Family, option: str | None) -> list[Guess]:
    """The guess of a family; two where its values may number objects as well as classes."""
    counts, opened = _counts(listing, family)
    places = family.places()
    ids = Guess("id_maps", "instance", [])
    classes = Guess("folders", "semantic", [])
    if family.role == "soft":
        soft(classes, family.looks)
    else:
        semantic(classes, counts, listing)
    named = any("names the" in why for why in classes.why)
    most = max(len(one.labels) - (0 in one.labels) for one in family.looks)
    ids.why.append(f"each value above 0 in a label image is one connected piece, up to {most} of them: the values number objects")
    ids.source |= {"category": "object", "categories": None}
    if family.looks[0].kind in ("color", "palette"):
        ids.source["ids"] = "rgb" if family.looks[0].kind == "color" else "palette"
    ids.classes = instance_classes(["object"])
    unsure = not named and family.role == "classes" and may_be_ids(family.looks)
    made = [ids] if family.role in ("ids", "tiles") else [classes, ids] if unsure else [classes]
    made = [ids] if option == "id_maps" else [classes] if option == "folders" else made
    for guess in made:
        guess.labels = frozenset(family.labels)
        guess.source = _source(listing, family) | guess.source
        where = "beside them" if places.images == places.masks else f"of their names in {places.masks}/"
        guess.why.insert(0, f"{len(family.images)} images in {places.images}/ have label images {where}")
        if guess.option == "folders" and opened < len(counts.together):
            guess.doubts.append(f"{opened} of {len(family.labels)} label images were opened: rare values may be missing in the classes")
        if places.words:
            guess.split = by_folders(places.words)
            guess.why.append("the folders' names say the split")
        guess.doubts += _doubts(family)
        group_of_names(guess, [pair.image for pair in family.pairs], places.folders)
        if guess is ids and not unsure:
            guess.doubts.append("the numbers are taken for objects of one class; --as folders reads them as classes")
        if unsure and option is None:
            guess.arguments = f"--as {guess.option}"
            guess.doubts.append("each value is one connected piece, and they are numbered in each image: classes, or ids of objects?")
    if family.role == "field":
        made[0].doubts.append(f"the label images look like {WORDS['field']}: is that what is to be learned?")
    return made


def _counts(listing: Listing, family: Family) -> tuple[Counts, int]:
    files = sorted(family.labels)
    height, width = family.looks[0].size
    some = files[:: max(1, round(len(files) / max(AT_LEAST, PIXELS // (height * width))))]
    pixels, together = labels_of([listing.path(file) for file in some])
    kinds, palettes = frozenset(one.kind for one in family.looks), [one.palette for one in family.looks if one.palette]
    return Counts(pixels, together, kinds, palettes, any(one.clear for one in family.looks)), len(some)


def _source(listing: Listing, family: Family) -> dict[str, object]:
    places, ((before, after), (first, last)) = family.places(), family.endings()
    images, masks = family.images, family.labels
    shallow = {pair.after for pair in family.pairs} == {""} or places.images == "."
    folders = {file.parent for file in images}
    below = {place for place in {f.parent for f in listing.pictures} - folders if any(above in folders for above in place.parents)}
    others = [f for f in listing.pictures if f.parent in below and f not in masks]
    same = places.images == places.masks
    if same and after == last == "" and before == first == "":  # told apart by what kind of file they are
        after, last = (f".{next(iter(sorted(files))).suffix.lstrip('.')}" for files in (images, masks))
    source: dict[str, object] = {
        "images": _with_name(places.images, before, bool(others) and shallow),
        "masks": _with_name(places.masks, first, places.masks == "." and not same),
        "image_suffix": after,
        "mask_suffix": last,
    }
    if word := family.inserted[0]:  # each part of the name is one {image}
        rest = "".join(f"{separator}{{image}}" for separator in family.inserted[1])
        source |= {"images": _with_name(places.images, "", True) + rest, "masks": f"{_with_name(places.masks, '', True)}{word}{rest}"}
    if family.further:
        source["join"] = True
    return source


def _with_name(pattern: str, before: str, shallow: bool) -> str:
    """A folder's pattern with that of its files' names, where those begin alike, or folders below are not meant."""
    if not before and not shallow:
        return pattern
    return f"{'' if pattern == '.' else f'{pattern}/'}{before}{{image}}"


def _doubts(family: Family) -> list[str]:
    places = family.places()
    if not places.words:
        named = {found for pair in family.pairs if (found := split_of(stem_of(pair.image))[0])}
        if len(named) > 1:
            told = " and ".join(sorted(named))
            return [f"files are named after {told}, which is not used: lists of their names would keep it (data.split.lists)"]
        inside = {split_of(part)[0] for pair in family.pairs for part in pair.image.parts[:-1]} - {None}
        if len(inside) > 1:
            names = " and ".join(sorted(str(split) for split in inside))
            return [f"folders are called {names}, but images are split by ratios: a split by folders needs train, and val or test"]
        if inside:
            return [f"all labelled images lie in folders of {inside.pop()}: they are split by ratios, as no other split has labels"]
    return []
