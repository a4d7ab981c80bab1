"""Raw files on disk: folders and files below data.root, the splits that a layout names, images and masks paired by name."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from seg.core.errors import ConfigError, DataError, and_more, did_you_mean, enumerated
from seg.core.textfile import composed, natural_key
from seg.raw.record import Finding, Item, finding_of, of_several
from seg.sources.listing import FURTHER, Names, Place, further_masks, no_images, note_further, other_suffix, without_number
from seg.sources.settings import Split
from seg.sources.splits import SPLITS

SHOWN = 12  # names of what a folder holds that an error lists


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a layout. split: that its images belong to; None where the folders do not say. folder: what {split} stands for."""

    split: str | None = None
    folder: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """Images under `root`/`images`, masks of the same relative name under `root`/`masks`. images, masks: folders, which may be one, or
    patterns as `Place` has them; `image_suffix` and `mask_suffix` end the names of their files. skip_unlabelled: leave images without a
    mask out, do not refuse them. join: an Item's files hold further masks, too."""

    root: Path
    images: str
    masks: str
    image_suffix: str
    mask_suffix: str
    skip_unlabelled: bool
    join: bool = False


def parts_of(split: Split, example: str, **places: str) -> tuple[Part, ...]:
    """The folders that a layout has for each split, where data.split.by is folders; else one part without a name. places: the keys of
    data.source that must then hold {split}; ConfigError where one does not."""
    if split.by != "folders":
        return (Part(),)
    if not all("{split}" in place for place in places.values()):
        keys = " and .".join(places)
        raise ConfigError(f"data.split.by=folders: data.source.{keys} must hold {{split}}, as in '{example}'")
    return split_folders(split)


def split_folders(split: Split) -> tuple[Part, ...]:
    """The folders of data.split.folders, by split; a split that is not named there has a folder of its own name."""
    named = split.folders or {}
    if unknown := sorted(named.keys() - set(SPLITS)):
        raise ConfigError(f"data.split.folders.{unknown[0]}: {did_you_mean(unknown[0], SPLITS, 'splits')}")
    folders = {name: named.get(name, name) or [] for name in SPLITS}
    return tuple(Part(name, folder) for name, given in folders.items() for folder in ([given] if isinstance(given, str) else given))


def folder_below(root: Path, name: str, part: Part | None, key: str) -> Path:
    """The folder `name` of a part, below data.root; DataError where it is missing or elsewhere. key: the setting's."""
    return _below(root, name, part, key, "folder", "set data.root to a folder that holds images and masks themselves, not links to them")


def file_below(root: Path, name: str, part: Part | None, key: str) -> Path:
    """The file `name` of a part, below data.root; DataError where it is missing or elsewhere. key: the setting's."""
    return _below(root, name, part, key, "file", "copy it there")


def _below(root: Path, name: str, part: Part | None, key: str, kind: str, fix: str) -> Path:
    path = root / name.replace("{split}", part.folder if part else "")
    if not (path.is_dir() if kind == "folder" else path.is_file()):
        named = f", or say in data.split.folders what {{split}} is for {part.split}" if part and part.split else ""
        held = _held(path.parent, root, f"{kind}s")
        raise DataError(f"{path}: there is no such {kind}; set {key}{named} ({held})", kind="missing-file")
    if not path.resolve().is_relative_to(root.resolve()):
        raise DataError(f"{path}: lies outside of data.root ({root}), where changes would go unnoticed; {fix}", kind="missing-file")
    return path


def unique(items: list[Item]) -> list[Item]:
    """The items; DataError where two images of a split have one name, as those of two of its folders may."""
    seen: dict[tuple[str | None, str], Item] = {}
    for item in items:
        before = seen.setdefault((item.split, item.image_id), item)
        if before is not item:
            what = f"has the same name, '{item.image_id}', as {before.files[0]}"
            raise DataError(f"{item.files[0]}: {what}; rename one of them", kind="name-collision")
    return items


def images_of(layout: Layout, part: Part) -> dict[str, Path]:
    """The images of a part by name; DataError where there are none. Masks in the same folder, known by their suffix, are none."""
    place = place_below(layout.root, layout.images, part, "data.source.images")
    labels = place_below(layout.root, layout.masks, part, "data.source.masks")
    found = place.files(layout.image_suffix)
    below = place.base != labels.base and labels.base.resolve().is_relative_to(place.base.resolve())
    if layout.mask_suffix or below or labels.rest:
        masks = set(labels.files().values())
        named = set(labels.files(layout.mask_suffix).values()) if labels.rest or "*" in layout.mask_suffix else None
        found = {n: path for n, path in found.items() if not (path in masks and (below or _is_mask(path, layout, named)))}
    if not found:
        raise no_images(place.base, layout.image_suffix)
    return found


def place_below(root: Path, pattern: str, part: Part, key: str) -> Place:
    """Where the files of a pattern lie for a part; DataError where there is no such folder. key: the setting's."""
    fixed, rest = Place.fixed(pattern)
    return Place(folder_below(root, fixed, part, key), rest.replace("{split}", part.folder))


def image_item(name: str, part: Part, folder: Path, path: Path, files: Sequence[str], labels: str = "") -> Item:
    """The Item of an image below the folder of images, with what a list may call it. files: those of its labels."""
    file, base = str(path), f"{folder}{os.sep}"
    relative = file.removeprefix(base)
    last = os.path.basename(file)
    called = dict.fromkeys((name, relative, os.path.splitext(relative)[0], last, os.path.splitext(last)[0]))
    return Item(name, part.split, (file, *files), tuple(called), labels)


def leave_out(findings: list[Finding], images: Path, missing: list[Path], skip: bool, label: str, lacks: str = "", fix: str = "") -> None:
    """What becomes of images without a label: refused, or left out with a finding. label: the kind of file; lacks: the first one's."""
    if missing and not skip:
        first = f"{missing[0]}: has no {lacks}{and_more(missing, 'images without one')}"
        raise DataError(f"{first}; {fix}, or leave such images out with data.source.skip_unlabelled=true", kind="image-without-label")
    findings += of_several("image-without-label", images, [path.name for path in missing], f"images have no {label} and are left out")


def refuse_other_size(mask_path: Path, mask: Sequence[int], image_path: Path, image: Sequence[int]) -> None:
    """DataError where the shapes (height, width) of a mask and of its image differ."""
    if tuple(mask) != tuple(image):
        (h, w), (mh, mw) = image, mask
        turned = "; an image's EXIF orientation is applied on reading, so the mask may need turning" if (h, w) == (mw, mh) else ""
        fix = f"give both the same size{turned}"
        raise DataError(f"{mask_path}: is {mw}x{mh} pixels, but its image {image_path} is {w}x{h}; {fix}", kind="size-mismatch")


def matched(found: dict[str, Path], images: Path, drawn: dict[str, Path]) -> dict[str, Path]:
    """Each image's mask, or file: of its own name, of that with its suffix (scene.jpg.png), or the only one that differs in case alone.
    found: images by name, below the folder `images`. drawn: masks by name."""
    names, masks = Names(drawn), dict[str, Path]()
    for name, path in found.items():
        if (mask := drawn.get(name)) is None:
            whole = os.path.join(os.path.dirname(name), path.name)
            other = next((n for n in (names.get(whole), names.get(name)) if n is not None), None)
            mask = None if other is None or (other != whole and other in found) else drawn[other]
        if mask is not None:
            masks[name] = mask
    return masks


def _is_mask(path: Path, layout: Layout, named: set[Path] | None) -> bool:
    """Whether a file in the folder of masks is one by its name, such as scene_mask.png or scene_mask_2.png. named: those by pattern."""
    if named is not None:
        return path in named
    if layout.image_suffix.endswith(layout.mask_suffix):
        return False
    stem, ending = composed(path.stem), composed(layout.mask_suffix)
    cases = ((stem, ending), (FURTHER.sub("", stem), without_number(ending)))
    return any(name.endswith(end) and name != end for name, end in cases)


def paired(layout: Layout, part: Part, findings: list[Finding], read: Callable[[Path], object] = Path) -> list[Item]:
    """Every image of a part with its mask as an Item, whose files are their paths; what is left out is added to `findings`. An image
    without a mask is an error among the findings; DataError where none has one, a folder is missing or empty, or two files share a name.
    read: what reads a mask, by which a mask of another suffix is tried before an error proposes it."""
    found = images_of(layout, part)
    images = place_below(layout.root, layout.images, part, "data.source.images").base
    place = place_below(layout.root, layout.masks, part, "data.source.masks")
    labels, drawn, stems = place.base, place.files(layout.mask_suffix), place.files()
    masks = matched(found, images, drawn)
    if same := next((name for name, path in masks.items() if path == found[name]), None):
        both = "is taken for an image and for its own mask; set data.source.masks, or data.source.mask_suffix"
        raise DataError(f"{found[same]}: {both}", kind="bad-data")
    further = further_masks(found, stems, layout.mask_suffix, set(masks.values()) | set(found.values()))
    missing = [name for name in found if name not in masks]
    if missing and not layout.skip_unlabelled:
        fix = other_suffix(found, missing, stems, read)
        lacks = {name: f"has no mask {labels / f'{name}{layout.mask_suffix}'}.*; add it, {fix}" for name in missing}
        left_out = "or leave such images out with data.source.skip_unlabelled=true"
        errors = [DataError(f"{found[name]}: {what}, {left_out}", kind="image-without-label") for name, what in lacks.items()]
        if len(missing) == len(found):  # the settings are wrong, not the files
            raise errors[0]
        findings += [finding_of(error, image_id=name, split=part.split) for error, name in zip(errors, missing, strict=True)]
        missing = []
    taken = {*masks.values(), *found.values(), *(path for paths in further.values() for path in paths)}
    unused = [path.name for path in drawn.values() if path not in taken]
    findings += of_several("label-without-image", labels, unused, "masks have no image and are left out")
    leave_out(findings, images, [found[name] for name in missing], True, "mask")
    if further:
        note_further(findings, labels, further, layout.join)
    files = {name: [str(path), *(str(p) for p in further.get(name, ()) if layout.join)] for name, path in masks.items()}
    return [image_item(name, part, images, path, files[name]) for name, path in found.items() if name in masks]


def _held(place: Path, root: Path, kind: str) -> str:
    """What there is in a place, or in the nearest folder above it that exists."""
    while not place.is_dir() and place != root:
        place = place.parent
    there = sorted((p.name for p in place.iterdir() if p.is_dir() == (kind == "folders")), key=natural_key) if place.is_dir() else []
    return f"{place} holds: {enumerated(there, SHOWN) or f'no {kind}'}"
