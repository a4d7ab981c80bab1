"""What people name to be predicted: files, folders, patterns, videos -> images with the names of their outputs."""

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import cv2
import numpy as np

from seg.core.errors import DataError, PixelError, UnreadableError, UsageError
from seg.core.outputs import is_memory_error
from seg.core.tars import TAR
from seg.core.textfile import natural_key
from seg.core.urls import is_elsewhere, listed, place_of, read_together, resolved
from seg.data.imagefile import IMAGE_SUFFIXES, read_bytes
from seg.data.sample import Range
from seg.data.shards import Stored
from seg.sources.images import ImageReader
from seg.sources.listing import by_stem, files_below, is_hidden, is_picture

AT_ONCE = 16  # images elsewhere that are asked for together
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm")


@dataclass(frozen=True, slots=True)
class Input:
    """An image to predict. name: of its outputs, relative, without suffix. path: its file. frame: its number in a video, from 0. stored:
    where it lies in a prepared data set."""

    name: str
    path: Path
    frame: int | None = None
    stored: Stored | None = None

    @property
    def file_name(self) -> str:
        """The name with a suffix: its file's; of a video's frame, which has no file yet, `.png`."""
        return f"{self.name}{self.path.suffix if self.frame is None else '.png'}"

    @property
    def place(self) -> str:
        """How messages name it."""
        return str(self.path) if self.frame is None else f"{self.path}, frame {self.frame}"


def inputs_of(named: Sequence[str], out: Path) -> list[Input]:
    """Every image of what is named, in natural order; folders are searched with all below them, and their structure is kept.

    out: the folder of the outputs; what an earlier run wrote below it is no input. Raises UsageError where nothing is named or a
    thing does not exist, DataError where it holds no image or two outputs would have one name."""
    if not named:
        raise UsageError("predict: name images: files, folders, a pattern such as 'scans/*.tif', or a video; see seg predict --help")
    found: dict[str, Input] = {}
    for one in named:
        for given in _inputs(one):
            if is_elsewhere(given.path) == is_elsewhere(out) and resolved(given.path).is_relative_to(resolved(out)):
                continue
            before = found.setdefault(given.name, given)
            if before.place != given.place:
                fix = "predict them apart"
                raise DataError(f"{given.place}: its outputs would have the same names, {given.name}.*, as those of {before.place}; {fix}")
    if not found:
        raise UsageError(f"{', '.join(named)}: holds nothing but outputs, as it lies in {out}; write to another folder with --out")
    return list(found.values())


def reader_of(channels: int, data_range: Range) -> ImageReader:
    """What reads images as the training had them. A range that the training had not would be another input than the model knows."""
    remedy = "the model was trained on images of 8 bit: save the image as such, scaled as those were, or train with data.range set"
    return ImageReader(channels, data_range, remedy)


def images_of(inputs: Sequence[Input], channels: int, data_range: Range) -> Iterator[np.ndarray | DataError]:
    """The pixels (H, W, channels) uint8 of each input in turn, or what is wrong with it. Frames of a video are read in passing.

    data_range: values of images deeper than 8 bit that become 0 and 255, as the training had them."""
    reader, fetched = reader_of(channels, data_range), dict[Path, bytes | UnreadableError]()
    video: _Video | None = None
    for number, given in enumerate(inputs):
        try:
            if is_elsewhere(given.path) and not given.stored:
                if given.path not in fetched:
                    fetched = read_together([one.path for one in inputs[number : number + AT_ONCE] if is_elsewhere(one.path)])
                if isinstance(data := fetched.pop(given.path), UnreadableError):
                    raise data
                yield reader.decode(data, given.path).pixels
                continue
            if given.frame is None:
                yield reader.decode(given.stored.read() if given.stored else read_bytes(given.path), given.path).pixels
                continue
            if video is None or video.path != given.path:
                video = _Video(given.path)
            yield video.read(given.frame, channels)
        except DataError as error:
            yield error
        except Exception as error:
            if not is_memory_error(error):
                raise
            yield too_large(given)


def too_large(given: Input) -> DataError:
    """What is said of an image for which the memory does not suffice."""
    return DataError(f"{given.place}: the memory does not suffice for this image; set predict.tile, such as predict.tile=512, or cut it")


class _Video:
    """Frames in their order."""

    def __init__(self, path: Path) -> None:
        self.path, self.capture, self.next = path, cv2.VideoCapture(str(path)), 0

    def read(self, frame: int, channels: int) -> np.ndarray:
        while self.next <= frame:
            there, pixels = self.capture.read()
            self.next += 1
        if not there:
            raise UnreadableError(f"{self.path}: its frame {frame} cannot be read; repair the video, or export its frames as images")
        if channels == 1:
            return cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)[..., None]
        if channels == 3:
            return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
        raise PixelError(f"{self.path}: is a video of 3 channels, but the model takes {channels}")


def _inputs(named: str) -> list[Input]:
    path = place_of(named)
    if is_elsewhere(path):
        return _elsewhere(path)
    if path.is_dir() or (path.suffix.lower() == TAR and path.is_file()):
        found = [Input(name, file) for name, file in by_stem(path).items()]
        for file in (path / name for name in files_below(path, VIDEO_SUFFIXES)):
            found += _frames(file, file.relative_to(path).with_suffix("").as_posix())
        if not found:
            model = next(iter(sorted(path.glob("*.ckpt"))), None)
            hint = f"; if the model is meant, name its file, such as {model}" if model else ""
            what = f"holds no images ({', '.join(IMAGE_SUFFIXES)}) and no videos ({', '.join(VIDEO_SUFFIXES)})"
            raise DataError(f"{path}: {what}{hint}", kind="missing-file")
        return found
    if path.is_file():
        return _of_file(path, path.stem)
    files = map(Path, glob.glob(named, recursive=True)) if glob.has_magic(named) else ()
    base = Path(*takewhile(lambda part: not glob.has_magic(part), Path(named).parent.parts))  # the folders before the first wildcard
    matched: list[Input] = []
    for file in sorted(files, key=lambda p: natural_key(p.as_posix())):
        if file.is_file() and (is_picture(file) or _is_video(file)):
            matched += _of_file(file, file.relative_to(base).with_suffix("").as_posix())
    if not matched:
        what = "matches no image" if glob.has_magic(named) else "there is no such file or folder"
        raise UsageError(f"{named}: {what}")
    return matched


def _elsewhere(place: Path) -> list[Input]:
    """The images below a folder, or that match a pattern, in natural order; or one image."""
    magic = next((n for n, part in enumerate(place.parts) if glob.has_magic(part)), None)
    base = place if magic is None else place.parents[len(place.parts) - 1 - magic]
    found = [place] if magic is None and is_picture(place) else listed(base, "/".join(place.parts[magic:] if magic else ()))
    names = {p: p.stem if p == place else p.relative_to(base).with_suffix("").as_posix() for p in found if is_picture(p)}
    inputs = [Input(name, p) for p, name in names.items() if not any(map(is_hidden, name.split("/")))]  # nor leads one out of a folder
    if not inputs:
        raise UsageError(f"{place}: {'matches' if magic else 'holds'} no images ({', '.join(IMAGE_SUFFIXES)}); videos are read from a disk")
    return sorted(inputs, key=lambda one: natural_key(one.name))


def _of_file(path: Path, name: str) -> list[Input]:
    return _frames(path, name) if _is_video(path) else [Input(name, path)]


def _frames(path: Path, name: str) -> list[Input]:
    capture = cv2.VideoCapture(str(path))
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
    if count < 1:
        raise UnreadableError(f"{path}: is no video that can be read; convert it, or export its frames as images")
    digits = max(6, len(str(count - 1)))
    return [Input(f"{name}/{frame:0{digits}d}", path, frame) for frame in range(count)]


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".")
