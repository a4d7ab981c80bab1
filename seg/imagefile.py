"""Image files to arrays and back, through OpenCV and Pillow. Every error names the file."""

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from seg.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


def read_bytes(path: Path) -> bytes:
    """The bytes of a file; DataError where it is missing or empty."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})", kind="unreadable-file") from None
    if not data:
        raise DataError(f"{path}: is an empty file; restore it or remove it with its label", kind="unreadable-file")
    return data


def decode_image(data: bytes, channels: int, path: Path) -> np.ndarray:
    """Encoded bytes -> (H, W, channels) uint8; RGB for 3 channels, gray for 1. EXIF orientation is applied.

    `path` only names the file in errors.
    """
    if channels not in (1, 3):
        raise DataError(f"{path}: images are read with 1 or 3 channels, not {channels}")
    raw = _decode(data, cv2.IMREAD_ANYDEPTH | (cv2.IMREAD_COLOR_RGB if channels == 3 else cv2.IMREAD_GRAYSCALE), path)
    if raw.dtype != np.uint8:
        raise DataError(f"{path}: has {raw.dtype} pixels, expected 8 bit; rescale the images to 8 bit first", kind="pixel-type")
    return raw if raw.ndim == 3 else raw[:, :, None]


def decode_index(data: bytes, path: Path, fix: str = "set data.source.labels=color to read classes by their colour") -> np.ndarray:
    """Encoded bytes of a gray or palette image -> (H, W) of the values as drawn (gray levels).

    A palette PNG is refused: its indices are lost on decoding, and palettes differ from file to file. fix: what the error
    of such a file advises.
    """
    raw = _decode(data, cv2.IMREAD_UNCHANGED, path)
    if raw.dtype.kind == "f":
        raise DataError(
            f"{path}: has {raw.dtype} pixels, expected whole numbers; save the label maps with 8 or 16 bit integers", kind="pixel-type"
        )
    if raw.ndim == 3:
        if raw.shape[2] == 3 and (raw[..., 0] == raw[..., 1]).all() and (raw[..., 1] == raw[..., 2]).all():
            return raw[..., 0]
        raise DataError(f"{path}: is a colour or palette image, expected one gray value a pixel; {fix}", kind="pixel-type")
    return raw


def decode_palette(data: bytes, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Encoded bytes of a palette image -> its indices (H, W) uint8, and the palette (N, 3) uint8 RGB.

    A gray image of up to 8 bits has its values for indices, and the grays for a palette. Read by Pillow, as OpenCV gives the
    colours alone.
    """
    if _truncated(data):
        raise DataError(f"{path}: is cut off before its end; restore it or remove it with its label")
    try:
        with Image.open(io.BytesIO(data)) as image:
            palette = image.getpalette("RGB")
            if image.mode == "P" and palette:
                return np.array(image), np.array(palette, np.uint8).reshape(-1, 3)
    except (OSError, SyntaxError, ValueError):
        raise DataError(f"{path}: is not a readable image; restore it or remove it with its label") from None
    values = decode_index(data, path, "save it with a palette, or as gray values")
    if values.min() < 0 or values.max() > 255:
        raise DataError(f"{path}: has values from {values.min()} to {values.max()}, expected a palette or gray values up to 255")
    return values.astype(np.uint8), np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)


def decode_color(data: bytes, path: Path) -> np.ndarray:
    """Encoded bytes -> (H, W, 3) uint8 RGB colours; palettes are resolved."""
    return decode_image(data, 3, path)


def _decode(data: bytes, flags: int, path: Path) -> np.ndarray:
    if _truncated(data):
        raise DataError(f"{path}: is cut off before its end; restore it or remove it with its label", kind="truncated-file")
    try:
        raw = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        raw = None
    if raw is None:
        raise DataError(f"{path}: is not a readable image; restore it or remove it with its label", kind="unreadable-file")
    return raw


def _refuse_truncated(data: bytes, path: Path) -> None:
    if _truncated(data):
        raise DataError(f"{path}: is cut off before its end; restore it or remove it with its label")


def _truncated(data: bytes) -> bool:
    """OpenCV 4 fills the missing part of a cut JPEG or PNG with gray and says nothing, so the end mark is looked for.

    More may follow it (a phone appends its film); and a JPEG's header may hold a thumbnail with an end mark of its own.
    """
    if data[:2] == b"\xff\xd8":
        return b"\xff\xd9" not in data[_jpeg_header(data) :]
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return b"\0\0\0\0IEND" not in data
    return False


def _jpeg_header(data: bytes) -> int:
    """Bytes before the first scan of a JPEG: its segments (ITU T.81, B.1.1.4), each a marker and its length."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF and data[position + 1] != 0xDA:
        position += 2 + int.from_bytes(data[position + 2 : position + 4])
    return position


def encode_png(image: np.ndarray) -> bytes:
    """(H, W) or (H, W, C) uint8, RGB when C == 3, -> PNG, made for quick reading."""
    if image.ndim == 3 and image.shape[2] == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        flags = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    else:  # label maps: without filters they are smaller and decode three times as fast
        flags = [cv2.IMWRITE_PNG_COMPRESSION, 6, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE]
    done, buffer = cv2.imencode(".png", image, flags)
    if not done:
        raise ValueError(f"cannot encode an array of shape {image.shape} and type {image.dtype} as PNG")
    return buffer.tobytes()
