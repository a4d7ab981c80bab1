"""Bytes of PNG, JPEG, WebP, BMP (through OpenCV), GIF and .npy to arrays as stored; a file that is cut or damaged is refused by name."""

import os
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from zlib import crc32

import cv2
import numpy as np
from PIL import Image

from seg.core.errors import DataError, LargeImageError, PixelError, UnreadableError

MEND = "restore it or remove it with its label"
PNG, NPY, EXIF_ORIENTATION = b"\x89PNG\r\n\x1a\n", b"\x93NUMPY", 0x0112
ALL = slice(None)
Window = tuple[slice, slice]  # rows and columns
ZARR = ".zarr"  # how the folder of an array is named
MOST_PIXELS = 2**29  # of an image that is read at once. A PNG of one megabyte may have a thousand million of them.
OPENCV_BYTES = 8  # of memory for a pixel while OpenCV decodes it, at most: four channels of 16 bits
PNG_STEPS = {1: 255, 2: 85, 4: 17}  # by bits: from one stored gray value to the next, spread over 0..255


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image as its file has it, upright.

    pixels: (H, W, C) of whole numbers or floats; values of 1, 2 or 4 bits are spread over 0..255. color: the first three
    channels are red, green, blue. alpha: the last channel is opacity. step: what lies between one stored value and the next.
    spacing: height and width of a pixel in micrometres, where the file says so. inverted: the file stores 0 for white. orientation: the
    file's Orientation tag, by which the pixels were turned; 1 is upright. nodata: the value that stands for no measurement.
    palette: the colours are those of a TIFF's palette."""

    pixels: np.ndarray
    color: bool = False
    alpha: bool = False
    step: int = 1
    spacing: tuple[float, float] | None = None
    inverted: bool = False
    orientation: int = 1
    nodata: float | None = None
    palette: bool = False


def cut_off(path: Path) -> DataError:
    return DataError(f"{path}: is cut off before its end; {MEND}", kind="truncated-file")


def unreadable(path: Path) -> DataError:
    return UnreadableError(f"{path}: is not a readable image; {MEND}")


def refuse_large(height: int, width: int, path: Path) -> None:
    """LargeImageError for more pixels than MOST_PIXELS, or than the variable SEG_MAX_PIXELS says."""
    most = int(os.environ.get("SEG_MAX_PIXELS", "").strip() or MOST_PIXELS)
    if height * width > most:
        fix = f"cut it into tiles, or, if it is meant, set the environment variable SEG_MAX_PIXELS={height * width}"
        raise LargeImageError(f"{path}: has {width}x{height} pixels, more than the {most:,} that are read at once; {fix}")


def declared_size(data: bytes) -> tuple[int, int]:
    """Height and width as the header has them; (0, 0) where it does not say."""
    if data[:8] == PNG:
        return int.from_bytes(data[20:24]), int.from_bytes(data[16:20])
    if data[:2] == b"BM":
        width, height = (abs(int.from_bytes(data[at : at + 4], "little", signed=True)) for at in (18, 22))
        return height, width
    if data[:2] == b"\xff\xd8":
        return _jpeg_header(data)[1]
    if data[:4] == b"RIFF" and data[12:16] == b"VP8X":
        return 1 + int.from_bytes(data[27:30], "little"), 1 + int.from_bytes(data[24:27], "little")
    if data[:4] == b"RIFF" and data[12:16] == b"VP8L":  # 14 bits each behind the signature
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF)
    if data[:4] == b"RIFF" and data[12:16] == b"VP8 ":
        return int.from_bytes(data[28:30], "little") & 0x3FFF, int.from_bytes(data[26:28], "little") & 0x3FFF
    return 0, 0


def is_tiff(data: bytes) -> bool:
    """Whether the bytes start as a TIFF or BigTIFF of either byte order does."""
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def decode_npy(data: bytes, path: Path) -> Decoded:
    """An array (H, W) or (H, W, C) of numbers that numpy.save wrote."""
    try:
        pixels = np.load(BytesIO(data), allow_pickle=False)
    except Exception as error:  # of the header's grammar, of the memory that it declares, of what is missing behind it
        if "Object arrays" in str(error):
            what = "holds Python objects, expected numbers, as objects may hold programs; save it as an array of a numeric type"
            cellpose = "of Cellpose's _seg.npy the entry 'masks', or let Cellpose write _cp_masks.tif, which data=id_maps reads"
            raise PixelError(f"{path}: {what} ({cellpose})") from None
        raise cut_off(path) from None
    if pixels.ndim not in (2, 3) or not pixels.size or pixels.dtype.kind not in "buif":
        raise PixelError(f"{path}: holds an array {pixels.shape} of {pixels.dtype}, expected numbers (height, width) or (height, width, C)")
    step = 1
    if pixels.dtype.kind == "b":
        pixels, step = pixels * np.uint8(255), 255
    return Decoded(np.atleast_3d(np.ascontiguousarray(pixels)), step=step)


def decode_opencv(data: bytes, path: Path, channels: int | None) -> Decoded:
    """PNG, JPEG, WebP or BMP, whose size is looked at first. channels: 1 or 3: OpenCV makes gray or RGB of it as it decodes."""
    _refuse_cut(data, path)
    refuse_large(*declared_size(data), path)
    step, plain = 1, True  # plain: 8 bit without alpha
    if data[:8] == PNG:
        step = PNG_STEPS.get(data[24], 1) if data[25] == 0 else 1
        plain = data[24] <= 8 and data[25] in (0, 2, 3) and b"tRNS" not in data[: data.find(b"IDAT")]
    elif data[:4] == b"RIFF":
        plain = not (data[12:16] == b"VP8L" or (data[12:16] == b"VP8X" and data[20] & 0x10))
    orientation = _orientation(data)
    if channels in (1, 3) and plain:
        flag = cv2.IMREAD_COLOR_RGB if channels == 3 else cv2.IMREAD_GRAYSCALE
        pixels = np.atleast_3d(_imdecode(data, cv2.IMREAD_ANYDEPTH | flag, path))
        return Decoded(pixels, color=channels == 3, step=step, orientation=orientation)
    pixels = _imdecode(data, cv2.IMREAD_UNCHANGED, path)
    if pixels.ndim == 2:
        decoded = Decoded(pixels[:, :, None], step=step)
    elif pixels.shape[2] == 3:
        decoded = Decoded(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), color=True)
    elif data[:8] == PNG and data[25] == 4:
        decoded = Decoded(np.ascontiguousarray(pixels[..., [0, 3]]), alpha=True)
    else:
        decoded = Decoded(cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA), color=True, alpha=True)
    if orientation == 1:
        return decoded
    # OpenCV leaves an unchanged image as it lies in the file
    return replace(decoded, pixels=upright(decoded.pixels, orientation), orientation=orientation)


def decode_gif(data: bytes, path: Path) -> Decoded:
    """A GIF of one frame: (H, W, 3) RGB, or (H, W, 4) where it has transparent pixels."""
    try:
        with Image.open(BytesIO(data)) as image:
            refuse_large(image.height, image.width, path)
            if (frames := getattr(image, "n_frames", 1)) > 1:
                raise PixelError(f"{path}: has {frames} frames, expected one; save each as a PNG of its own, with its labels")
            alpha = "transparency" in image.info
            return Decoded(np.array(image.convert("RGBA" if alpha else "RGB")), color=True, alpha=alpha)
    except PixelError:
        raise
    except Image.DecompressionBombError:
        raise LargeImageError(f"{path}: has more pixels than are read at once; cut it into tiles") from None
    except (OSError, ValueError, SyntaxError, EOFError):
        raise cut_off(path) from None


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, C) turned as an Orientation tag says (TIFF 6.0 and Exif: 1 is upright, 5 to 8 lie on their side)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _imdecode(data: bytes, flags: int, path: Path) -> np.ndarray:
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        pixels = None
    if pixels is None:
        if data[:8] == PNG and (chunk := _damaged_chunk(data)):
            raise UnreadableError(f"{path}: is damaged (the checksum of its {chunk} chunk is wrong); {MEND}")
        height, width = declared_size(data)
        np.empty((height, width, OPENCV_BYTES), np.uint8)  # a MemoryError where there is too little, of which OpenCV says nothing
        raise unreadable(path)
    return pixels


def _orientation(data: bytes) -> int:
    head = data[: _jpeg_header(data)[0]] if data[:2] == b"\xff\xd8" else data
    if not (b"Exif\0" in head or b"eXIf" in head or b"EXIF" in head):
        return 1
    try:
        with Image.open(BytesIO(data)) as image:
            found = int(image.getexif().get(EXIF_ORIENTATION, 1))
            return found if 1 <= found <= 8 else 1
    except (OSError, ValueError, SyntaxError, TypeError):
        return 1


def _refuse_cut(data: bytes, path: Path) -> None:
    """OpenCV fills the missing part of a cut JPEG with gray and says nothing, and which others it takes differs from version to version.
    More may follow the end mark (a phone appends its film); and a JPEG's header may hold a thumbnail with an end mark of its own."""
    cut = False
    if data[:2] == b"\xff\xd8":
        cut = data.rfind(b"\xff\xd9", _jpeg_header(data)[0]) < 0
    elif data[:8] == PNG:
        cut = data.rfind(b"\0\0\0\0IEND", 33) < 0
    elif data[:4] == b"RIFF":
        cut = len(data) < 16 or len(data) < 8 + int.from_bytes(data[4:8], "little")
    elif data[:2] == b"BM":
        cut = len(data) < 54 or len(data) < _bmp_length(data)
    if cut:
        raise cut_off(path)


def _jpeg_header(data: bytes) -> tuple[int, tuple[int, int]]:
    """Bytes before the first scan of a JPEG, its segments (ITU T.81, B.1.1.4), each a marker and its length; and the height and width that
    the frame header says (B.2.2), 0 where there is none."""
    position, size = 2, (0, 0)
    while position + 4 <= len(data) and data[position] == 0xFF and (marker := data[position + 1]) != 0xDA:
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and not any(size):
            size = int.from_bytes(data[position + 5 : position + 7]), int.from_bytes(data[position + 7 : position + 9])
        position += 2 + int.from_bytes(data[position + 2 : position + 4])
    return position, size


def _bmp_length(data: bytes) -> int:
    """Where the pixels of a BMP without compression end, from its BITMAPINFOHEADER; 0 for others."""
    offset, width, height = (int.from_bytes(data[at : at + 4], "little", signed=True) for at in (10, 18, 22))
    bits, compression = int.from_bytes(data[28:30], "little"), int.from_bytes(data[30:34], "little")
    if int.from_bytes(data[14:18], "little") < 40 or compression not in (0, 3):
        return 0
    return offset + (width * bits + 31) // 32 * 4 * abs(height)


def _damaged_chunk(data: bytes) -> str | None:
    """The name of a PNG's first chunk whose checksum is wrong (PNG specification, 5.3)."""
    position = 8
    while position + 12 <= len(data):
        end = position + 8 + int.from_bytes(data[position : position + 4])
        if end + 4 > len(data) or crc32(data[position + 4 : end]) != int.from_bytes(data[end : end + 4]):
            return data[position + 4 : position + 8].decode("ascii", "replace")
        position = end + 4
    return None
