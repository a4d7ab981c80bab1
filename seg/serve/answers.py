"""Bytes of an image -> pixels, and predictions -> bytes of an answer, both by the code of `seg predict`."""

import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from seg.core.errors import DataError, LargeImageError
from seg.core.outputs import is_memory_error
from seg.data.decoders import NPY, declared_size, is_tiff, refuse_large
from seg.predict.inputs import Input, reader_of, too_large
from seg.predict.settings import Predict
from seg.predict.write.writers import KINDS, Predicted, Writers
from seg.tiles.network import Facts

ALIASES = {"rle": "coco", "polygons": "geojson"}
PICTURES = {"classes": "classes", "masks": "ids", "segments": "panoptic", "boxes": "overlay"}
"""What `png` is, by what a prediction holds."""

TYPES = {".png": "image/png", ".json": "application/json", ".geojson": "application/geo+json", ".xml": "application/xml"}
TYPES |= {".npy": "application/octet-stream", ".txt": "text/plain; charset=utf-8"}


def outputs_of(facts: Facts) -> list[str]:
    """What may be asked for: the outputs of `seg predict` for the model's task, and other names of some."""
    return ["coco", "cvat", *(name for name, kind in KINDS.items() if facts.answer in kind.of), "png", *ALIASES]


def named(output: str, facts: Facts) -> str:
    """The output of `predict.outputs` that is meant."""
    return PICTURES[facts.answer] if output == "png" else ALIASES.get(output, output)


def safe_name(given: str) -> str:
    """The last part of a file's name, without what a file system may not take."""
    return re.sub(r"[^\w.() -]", "_", re.split(r"[/\\]", given)[-1])[-60:].strip(". ") or "image"


def pixels_of(data: bytes, name: str, facts: Facts) -> np.ndarray:
    """(H, W, channels) uint8, as `seg predict` reads a file. DataError for what is no image; LargeImageError for more pixels than the
    variable SEG_MAX_PIXELS says, which the header tells before anything is decoded."""
    path = Path(name)
    if not all(declared_size(data)) and not (is_tiff(data) or data.startswith((NPY, b"GIF8"))):
        raise DataError(f"{name}: is no PNG, JPEG, WebP, BMP, GIF, TIFF or .npy, or is damaged")
    try:
        pixels = reader_of(facts.channels, facts.data_range).decode(data, path).pixels
        refuse_large(pixels.shape[0], pixels.shape[1], path)  # of an .npy or a TIFF, whose headers are not looked at so closely
        return pixels
    except LargeImageError as error:
        raise LargeImageError(str(error).partition("; ")[0]) from None
    except Exception as error:
        if isinstance(error, DataError) or not is_memory_error(error):
            raise
        raise too_large(Input(path.stem, path)) from None


@dataclass(frozen=True, slots=True)
class Answer:
    """The bytes of a file, and its name and type."""

    content: bytes
    name: str
    media_type: str


def answer(output: str, name: str, image: np.ndarray, found: tuple, settings: Predict, facts: Facts) -> Answer:
    """The file that `seg predict` writes of an image as `output`. settings: of predict, with what the request asks.

    LabelMe's `imagePath` is the name alone, since the image lies in no folder here."""
    with TemporaryDirectory() as folder:
        writers = Writers(Path(folder), settings.model_copy(update={"outputs": [output]}), facts)
        path = Path(folder, output, name)
        writers.write(Predicted(Input(path.stem, path), image, *found))
        writers.close()
        (written,) = writers.shared() or writers.paths(path.stem)
        shown = f"{path.stem}.{written.name}" if writers.shared() else written.name
        return Answer(written.read_bytes(), shown, TYPES[written.suffix])
