"""Raw files on disk: folders and files below data.root, the splits that a layout names, images and masks paired by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seg.errors import ConfigError, DataError
from seg.findings import Finding
from seg.imagefile import IMAGE_SUFFIXES
from seg.schema import Split
from seg.sources.base import Item
from seg.splits import SPLITS

SHOWN = 12  # names of what a folder holds that an error lists


@dataclass(frozen=True, slots=True)
class Layout:
    """Images under `root`/`images`, masks of the same relative name under `root`/`masks`.

    masks: a folder; `mask_suffix` ends the names of its files. skip_unlabelled: leave images without a mask out, do not
    refuse them. parts: as `parts_of` gives them.
    """

    root: Path
    images: str
    masks: str
    mask_suffix: str
    skip_unlabelled: bool
    parts: tuple[str | None, ...]


def parts_of(split: Split, example: str, **places: str) -> tuple[str | None, ...]:
    """The splits that a layout names, where data.split.by is folders; else one part without a name.

    places: the keys of data.source that must then hold {split}; ConfigError where one does not.
    """
    if split.by != "folders":
        return (None,)
    if not all("{split}" in place for place in places.values()):
        keys = " and .".join(places)
        raise ConfigError(f"data.split.by=folders: data.source.{keys} must hold {{split}}, as in '{example}'")
    return SPLITS


def folder_below(root: Path, name: str, part: str | None, key: str) -> Path:
    """The folder `name` of a part, below data.root; DataError where it is missing or elsewhere. key: the setting's."""
    folder = root / name.replace("{split}", part or "")
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; set {key} ({root} holds: {_held(root, folders=True)})", kind="missing-file")
    if not folder.resolve().is_relative_to(root.resolve()):
        raise DataError(
            f"{folder}: lies outside of data.root ({root}), where changes would go unnoticed; "
            "set data.root to a folder that holds images and masks themselves, not links to them"
        )
    return folder


def file_below(root: Path, name: str, part: str | None, key: str) -> Path:
    """The file `name` of a part, below data.root; DataError where it is missing or elsewhere. key: the setting's."""
    path = root / name.replace("{split}", part or "")
    if not path.is_file():
        raise DataError(f"{path}: there is no such file; set {key} ({root} holds: {_held(root, folders=False)})", kind="missing-file")
    if not path.resolve().is_relative_to(root.resolve()):
        raise DataError(f"{path}: lies outside of data.root ({root}), where changes would go unnoticed; copy it there")
    return path


def is_picture(path: Path) -> bool:
    """Whether a file is an image by its name."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def pictures(folder: Path, ending: str) -> dict[str, Path]:
    """Every image file below a folder, by its relative name without `ending` and suffix."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        stem = path.stem
        if not is_picture(path) or not stem.endswith(ending):
            continue
        name = (path.parent / stem[: len(stem) - len(ending)]).relative_to(folder).as_posix()
        if name in found:
            raise DataError(f"{path}: has the same name as {found[name]}; rename one of them", kind="name-collision")
        found[name] = path
    return found


def paired(layout: Layout, findings: list[Finding]) -> list[Item]:
    """Every image with its mask as an Item, whose files are the two paths; what is left out is added to `findings`.

    DataError where a folder is missing or empty, two files share a name, or an image has no mask.
    """
    return [item for part in layout.parts for item in _paired(layout, part, findings)]


def refuse_other_size(mask_path: Path, mask: Sequence[int], image_path: Path, image: Sequence[int]) -> None:
    """DataError where the shapes (height, width) of a mask and of its image differ."""
    if tuple(mask) != tuple(image):
        (h, w), (mh, mw) = image, mask
        turned = "; an image's EXIF orientation is applied on reading, so the mask may need turning" if (h, w) == (mw, mh) else ""
        raise DataError(
            f"{mask_path}: is {mw}x{mh} pixels, but its image {image_path} is {w}x{h}; give both the same size{turned}",
            kind="size-mismatch",
        )


def _paired(layout: Layout, part: str | None, findings: list[Finding]) -> list[Item]:
    images = folder_below(layout.root, layout.images, part, "data.source.images")
    masks = folder_below(layout.root, layout.masks, part, "data.source.masks")
    found = pictures(images, "")
    if not found:
        raise DataError(f"{images}: holds no images ({', '.join(IMAGE_SUFFIXES)}); set data.source.images")
    drawn = pictures(masks, layout.mask_suffix)
    missing = sorted(found.keys() - drawn.keys())
    if missing and not layout.skip_unlabelled:
        more = f" (and {len(missing) - 1} more images without a mask)" if len(missing) > 1 else ""
        raise DataError(
            f"{found[missing[0]]}: has no mask {masks / missing[0]}{layout.mask_suffix}.*{more}; add it, "
            "set data.source.mask_suffix, or leave such images out with data.source.skip_unlabelled=true",
            kind="image-without-label",
        )
    if unused := sorted(drawn.keys() - found.keys()):
        what = f"{len(unused)} masks have no image and are left out, such as {drawn[unused[0]].name}"
        findings.append(Finding("label-without-image", str(masks), what))
    if missing:
        what = f"{len(missing)} images have no mask and are left out, such as {found[missing[0]].name}"
        findings.append(Finding("image-without-label", str(images), what))
    return [
        Item(name, part, (str(path), str(drawn[name])), (name, path.relative_to(images).as_posix(), path.name))
        for name, path in sorted(found.items())
        if name in drawn
    ]


def _held(root: Path, folders: bool) -> str:
    kind = "folders" if folders else "files"
    there = sorted(p.name for p in root.iterdir() if p.is_dir() == folders) if root.is_dir() else []
    if folders or len(there) <= SHOWN:
        return ", ".join(there) or f"no {kind}"
    return f"{', '.join(there[:SHOWN])} and {len(there) - SHOWN} more"
