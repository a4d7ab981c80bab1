"""Masks that pair with no image by their name: further ones of an image, and those that other settings would find."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from seg.core.errors import DataError
from seg.core.textfile import composed
from seg.raw.record import Finding

TRIED = 3  # masks that are read before an error proposes them
FURTHER = re.compile(r"[ _-]?\d+$")  # how the second mask of an image ends, and the third: scene_mask_1, scene_mask_2


def further_masks(found: dict[str, Path], stems: dict[str, Path], suffix: str, taken: set[Path]) -> dict[str, list[Path]]:
    """The masks of each image beside its first: those whose names go on with a number. stems: all files there by name. taken: files that
    are something else."""
    further: dict[str, list[Path]] = {}
    ending = without_number(composed(suffix))
    for stem, path in stems.items():
        base = FURTHER.sub("", stem)
        if path in taken or base == stem or not base.endswith(ending):
            continue
        name = base[: len(base) - len(ending)]
        if name in found and (ending or not stem[len(base)].isdigit()):
            further.setdefault(name, []).append(path)
    return further


def without_number(ending: str) -> str:
    """How the masks of an image end but for the number: _mask of _mask_0; the ending itself where it is a number alone."""
    return FURTHER.sub("", ending) or ending


def note_further(findings: list[Finding], labels: Path, further: dict[str, list[Path]], join: bool) -> None:
    first = next(iter(further.values()))[0].name
    number = sum(map(len, further.values()))
    becomes = f", such as {first}, are united with the first one of each"
    if not join:
        becomes = f" are not read, such as {first}, and what they show counts as absent"
    fix = "" if join else "unite them with data.source.join=true, or remove them"
    findings.append(Finding("further-mask", str(labels), f"{number} further masks of {len(further)} images{becomes}", fix))


def other_suffix(found: dict[str, Path], missing: Sequence[str], masks: dict[str, Path], read: Callable[[Path], object]) -> str:
    """What to set: the suffix of masks that are there for most images, and of which the first ones can be read."""
    near = next((stem for stem in masks if stem.startswith(missing[0]) and stem not in found), None)
    suffix = near.removeprefix(missing[0]) if near else ""
    there = [masks[f"{name}{suffix}"] for name in found if f"{name}{suffix}" in masks]
    if not suffix or 2 * len(there) <= len(found):
        return "set data.source.masks"
    if suffix.endswith("_labelTrainIds"):
        return "read the train ids that are there (*_labelTrainIds, numbers other than the ids of *_labelIds) with data=cityscapes_trainids"
    try:
        for path in there[:TRIED]:
            read(path)
    except DataError as error:
        return f"set data.source.masks (masks end with '{suffix}' there, but {error.args[0].partition(': ')[2].partition('; ')[0]})"
    return f"set data.source.mask_suffix={suffix} (if the values there are those of data.classes)"
