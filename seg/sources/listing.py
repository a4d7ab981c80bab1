"""Files below a folder, by names and patterns; and masks that pair with no image by their name: further ones of an image, and those that
other settings would find. Hidden files are passed over, links to folders followed, and Unicode is compared composed. In a folder that holds
tar files alone these are folders of their files."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from seg.core.errors import DataError, PixelError, UnreadableError
from seg.core.tars import TAR, members
from seg.core.textfile import composed, natural_key
from seg.data.decoders import ZARR
from seg.data.imagefile import IMAGE_SUFFIXES, VOLUMES, slice_advice
from seg.raw.record import Finding

UPLOADED = re.compile(r"^[0-9a-f]{8}-")
PROGRAMS_OWN = ("__MACOSX", "@eaDir")  # folders that archive programs and file servers leave behind, beside those that start with a dot
FOLDER, IMAGE = "{folder}", "{image}"
TRIED = 3  # masks that are read before an error proposes them
FURTHER = re.compile(r"[ _-]?\d+$")  # how the second mask of an image ends, and the third: scene_mask_1, scene_mask_2


def is_hidden(name: str) -> bool:
    """Whether a file or folder is no part of a data set by its name."""
    return name.startswith(".") or name in PROGRAMS_OWN


def is_picture(path: Path) -> bool:
    """Whether a file is an image by its name, or a mask, which may be of any of these kinds."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not is_hidden(path.name)


def is_below(name: str) -> bool:
    """Whether a relative name leads to a file below the folder that it is of."""
    place = PurePosixPath(name)
    return not place.is_absolute() and ".." not in place.parts and bool(place.name)


def files_below(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    """The relative paths of all files below a folder that end so, in natural order. A folder that is named like a file is among them, so
    that reading it tells. DataError for a name whose bytes are no UTF-8."""
    root = str(folder)
    found = [name for name in _walk(root, "", (os.path.realpath(root),)) if name.lower().endswith(suffixes)]
    for name in found:
        if not name.isascii() and (named := name.encode(errors="replace").decode()) != name:
            raise UnreadableError(f"{folder}/{named}: its name is not UTF-8; rename it")
    return sorted(found, key=natural_key)


def by_stem(folder: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES, ending: str = "") -> dict[str, Path]:
    """The files below a folder whose stems end with `ending`, by their relative names without it, in natural order. DataError where two
    files have one name."""
    return Place(folder, "").files(ending, suffixes)


def no_images(folder: Path, ending: str = "") -> DataError:
    """That a folder holds no images, and how its volumes become some, if it holds those."""
    if volumes := files_below(folder, tuple(VOLUMES)):
        kind = next(kind for suffix, kind in VOLUMES.items() if volumes[0].lower().endswith(suffix))
        return PixelError(f"{folder}: holds no images, but {kind} files such as {volumes[0]}; {slice_advice(volumes[0])}")
    named = f" whose name ends with '{ending}'" if ending else ""
    key = "data.source.image_suffix" if ending and by_stem(folder) else "data.source.images"
    return DataError(f"{folder}: holds no images{named} ({', '.join(IMAGE_SUFFIXES)}); set {key}", kind="missing-file")


class Names:
    """Names that are found again though case or Unicode form differ, or only the last part is right."""

    def __init__(self, names: Iterable[str]) -> None:
        self.exact = {composed(name): name for name in names}
        self._alike: dict[tuple[str, str], list[str]] = {}  # by a part of the name, in lower case
        for name in self.exact.values():
            whole = composed(name).casefold()
            for part in (("whole", whole), ("last", whole.rpartition("/")[2]), ("stem", os.path.splitext(whole)[0])):
                self._alike.setdefault(part, []).append(name)

    def get(self, name: str) -> str | None:
        """The name itself, or the only one that differs from it in case alone."""
        name = composed(name)
        return self.exact.get(name) or self._only("whole", name.casefold())

    def by_stem(self, name: str) -> str | None:
        """The only name that is this one without its suffix."""
        return self._only("stem", composed(name).casefold())

    def by_last(self, name: str) -> str | None:
        """The only name with the same last part, or with this one but for the digits that Label Studio puts before it."""
        last = composed(name).casefold().rpartition("/")[2]
        return self._only("last", last) or self._only("last", UPLOADED.sub("", last))

    def _only(self, part: str, text: str) -> str | None:
        found = self._alike.get((part, text), [])
        return found[0] if len(found) == 1 else None


def _walk(folder: str, above: str, inside: tuple[str, ...]) -> Iterator[str]:
    """By strings, not paths: while the main process lists files, the others have nothing to do. inside: the real paths of the folder and of
    those above it, so that a link to one of them ends there."""
    if folder.lower().endswith(TAR) and os.path.isfile(folder):
        yield from (name for name in members(folder) if not any(map(is_hidden, name.split("/"))))
        return
    with os.scandir(folder) as scanned:
        entries = [entry for entry in scanned if not is_hidden(entry.name)]
        shards = all(entry.name.lower().endswith(TAR) and entry.is_file() for entry in entries)
        for entry in entries:
            name = f"{above}{entry.name}"
            if shards:
                yield from (f"{name}/{member}" for member in _walk(entry.path, "", inside))
                continue
            if not entry.is_dir():
                yield name
                continue
            if entry.name.lower().endswith((*IMAGE_SUFFIXES, ZARR)):
                yield name
            if entry.name.lower().endswith(ZARR):
                continue  # an array's own files
            real = os.path.realpath(entry.path) if entry.is_symlink() else f"{inside[-1]}{os.sep}{entry.name}"
            if real not in inside:
                yield from _walk(entry.path, f"{name}{os.sep}", (*inside, real))


@dataclass(frozen=True, slots=True)
class Place:
    """Files below `base`. rest: the pattern of their folders there, "" for all of them.

    {folder} stands for any text, also for none, which becomes part of the files' names; * for any text within one name, which does not.
    {image} in the last part is where the names of an image and of its mask are the same, and folders below are then not looked into;
    it may stand there several times, where the names of the masks have something more within."""

    base: Path
    rest: str

    @classmethod
    def fixed(cls, pattern: str) -> tuple[str, str]:
        """The part of a pattern that is a folder's name as it stands, and the rest."""
        if not any(mark in pattern for mark in (FOLDER, IMAGE, "*")):
            return pattern, ""
        cut = min(pattern.index(mark) for mark in (FOLDER, IMAGE, "*") if mark in pattern)
        folder, _, _ = pattern[:cut].rpartition("/")
        return folder or ".", pattern[len(folder) :].lstrip("/")

    def files(self, ending: str = "", suffixes: tuple[str, ...] = (*IMAGE_SUFFIXES, ZARR)) -> dict[str, Path]:
        """The files with these suffixes by the part of their names that images and labels share. DataError for two of one name. ending: *
        stands for any text; where it ends as image files do (.png), it is of the whole name, else of the name without suffix."""
        whole, ending, found = ending.lower().endswith(IMAGE_SUFFIXES), composed(ending), dict[str, Path]()
        rule = self._rule(ending) if self.rest or whole or "*" in ending else None
        for file in files_below(self.base, suffixes):
            path = composed(file.replace(os.sep, "/"))
            path = path if whole else os.path.splitext(path)[0]
            if rule is None and os.path.basename(path).endswith(ending):
                name = path[: len(path) - len(ending)].rstrip("/")
            elif rule is not None and (match := rule.fullmatch(path)):
                name = "/".join(part for part in (text.strip("/") for text in match.groups() if text) if part)
            else:
                continue
            if name in found:
                raise DataError(f"{self.base / file}: has the same name as {found[name]}; rename one of them", kind="name-collision")
            found[name] = self.base / file
        return found

    def _rule(self, ending: str) -> re.Pattern[str]:
        """The groups of a match are the parts of the name."""
        folders, _, name = self.rest.rpartition("/") if IMAGE in self.rest else (self.rest, "", "")
        parts = {FOLDER: "(.*?)", "*": "[^/]*", IMAGE: "([^/]*)"}
        parts |= {f"{FOLDER}/": "(?:(.*?)/)?"}
        place = "".join(parts.get(p, re.escape(p)) for p in re.split(r"(^\{folder\}/|\{folder\}|\*)", folders) if p)
        last = "".join(parts.get(p, re.escape(p)) for p in re.split(r"(\{image\}|\*)", name) if p) or "((?:.*/)?[^/]*)"
        end = "[^/]*".join(map(re.escape, ending.split("*")))
        return re.compile(f"{place}{'/' if place else ''}{last}{end}", re.S)


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
