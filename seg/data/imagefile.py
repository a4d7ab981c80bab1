"""Image and label files of any format to arrays and back. Every error names the file."""

from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from seg.core.errors import DataError, PixelError, UnreadableError
from seg.core.textfile import read_file
from seg.data.decoders import MEND, NPY, PNG, Decoded, decode_gif, decode_npy, decode_opencv, is_tiff, unreadable

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".npy")
VOLUMES = {".nii": "NIfTI", ".nii.gz": "NIfTI", ".dcm": "DICOM", ".mha": "MetaImage", ".mhd": "MetaImage", ".nrrd": "NRRD"}
MAX_WHOLE = 2**31 - 1
LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601, as OpenCV and Pillow have it


def read_bytes(path: Path) -> bytes:
    """The bytes of a file; DataError where it is missing or empty."""
    if not (data := read_file(path)):
        raise UnreadableError(f"{path}: is an empty file; {MEND}")
    return data


def decode(data: bytes, path: Path, channels: int | None) -> Decoded:
    """Encoded bytes -> the image as its file has it, upright; `path` only names the file in errors. channels: as many as are wanted, or
    None: spares the way over others where the format is 8-bit gray or RGB."""
    if data[:6] == NPY:
        return decode_npy(data, path)
    if is_tiff(data):
        from seg.data.tiff import decode_tiff  # takes a while to import, and few data sets need it

        return decode_tiff(data, path, channels)
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return decode_gif(data, path)
    if data[128:132] == b"DICM" or data[344:347] in (b"n+1", b"ni1"):
        kind = "DICOM" if data[128:132] == b"DICM" else "NIfTI"
        raise PixelError(f"{path}: is a {kind} file, expected an image; {slice_advice(path.name)}")
    return decode_opencv(data, path, channels)


def slice_advice(name: str) -> str:
    """How a volume becomes images."""
    if name.lower().endswith((".nii", ".nii.gz")):
        load = f"v = nibabel.load('{name}').get_fdata()"
    else:
        load = f"v = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage('{name}')).transpose(1, 2, 0)"
    save = "for z in range(v.shape[2]): numpy.save(f'case1_{z:03d}.npy', v[:, :, z])"
    keep = "keep a patient's slices together (data.split.group)"
    return f"save each slice of images and labels as a file of its own, as in Python: {load}; {save}; and {keep}"


def to_channels(decoded: Decoded, channels: int, path: Path) -> np.ndarray:
    """(H, W, channels) of the file's type: as stored, without its alpha, gray as RGB, or RGB as gray; else DataError."""
    pixels, count = decoded.pixels, decoded.pixels.shape[2]
    bare = count - decoded.alpha
    if channels == count:
        return pixels
    if channels == bare:
        return np.ascontiguousarray(pixels[..., :bare])
    if (bare, channels) == (1, 3):
        return np.repeat(pixels[..., :1], 3, axis=2)
    if (bare, channels) == (3, 1) and decoded.color:
        return _gray(pixels[..., :3])
    kind = " (the last is alpha)" if decoded.alpha else " (RGB)" if decoded.color and count == 3 else ""
    raise PixelError(f"{path}: has {count} channel{'s' * (count > 1)}{kind}, but data.channels={channels}; set data.channels={count}")


def decode_image(data: bytes, channels: int, path: Path) -> np.ndarray:
    """Encoded bytes -> (H, W, channels) uint8: gray for 1 channel, RGB for 3, others as stored. EXIF orientation is applied."""
    pixels = to_channels(decode(data, path, channels), channels, path)
    if pixels.dtype != np.uint8:
        raise PixelError(f"{path}: has {pixels.dtype} pixels, expected 8 bit; save it with 8 bit")
    return pixels


def decode_index(data: bytes, path: Path, fix: str = "set data.source.labels=color to read classes by their colour") -> np.ndarray:
    """Encoded bytes of a gray image or an .npy -> (H, W) whole numbers, as stored: 0 and 1 for 1 bit, up to 32 bits in TIFF. A palette
    image is refused: its indices are lost on decoding, and palettes differ from file to file; see `decode_palette`. fix: what the error of
    such a file advises."""
    return index_of(decode(data, path, None), path, fix)


def index_of(decoded: Decoded, path: Path, fix: str) -> np.ndarray:
    """The same of a decoded image; whole numbers that are stored as floats become integers."""
    values = decoded.pixels
    if decoded.palette:
        raise PixelError(f"{path}: is a colour or palette image, expected one gray value a pixel; {fix}")
    if decoded.alpha and (values[..., -1] == np.iinfo(values.dtype).max).all():
        values = values[..., :-1]
    if values.shape[2] == 3 and decoded.color and (values[..., :1] == values[..., 1:]).all():
        values = values[..., :1]
    if values.shape[2] != 1:
        if decoded.color or decoded.alpha:
            raise PixelError(f"{path}: is a colour or palette image, expected one gray value a pixel; {fix}")
        raise PixelError(f"{path}: has {values.shape[2]} pages or channels, expected one label map; save each as a file of its own")
    values = values[..., 0]
    if decoded.inverted:
        values = np.iinfo(values.dtype).max - values
    if values.dtype.kind == "f":
        whole = np.nan_to_num(values, nan=0.5, posinf=0.5, neginf=0.5)
        if (odd := (whole != np.rint(whole)) | (np.abs(whole) > MAX_WHOLE)).any():
            advice = "save the label maps with 8 or 16 bit"
            raise PixelError(f"{path}: has {values.dtype} pixels, expected whole numbers, not {values[odd][0]:g}; {advice}")
        values = whole.astype(np.int32)
    return values // decoded.step if decoded.step > 1 else values


def decode_color(data: bytes, path: Path, decoded: Decoded | None = None) -> np.ndarray:
    """Encoded bytes -> (H, W, 3) uint8 RGB colours; palettes are resolved, gray becomes a colour, 16 bits that hold 8 become 8. decoded: of
    the data, where it is known already."""
    colors = to_channels(decoded or decode(data, path, 3), 3, path)
    if colors.dtype == np.uint8:
        return colors
    if colors.dtype == np.uint16 and not (colors % 257).any():  # 8 bit, spread over 16
        return (colors // 257).astype(np.uint8)
    if colors.dtype.kind in "ui" and colors.min() >= 0 and colors.max() <= 255:
        return colors.astype(np.uint8)
    raise PixelError(f"{path}: has {colors.dtype} pixels, expected colours of 8 bit; save it with 8 bit")


def has_palette(data: bytes) -> bool:
    """Whether pixels are indices of a palette: PNG of colour type 3 (PNG, Third Edition, 11.2.1), GIF, and such BMP and TIFF."""
    if data[:8] == PNG or data[:4] == b"GIF8":
        return data[25:26] == b"\x03" or data[:4] == b"GIF8"
    if is_tiff(data):
        from seg.data.tiff import is_palette

        return is_palette(data)
    if data[:2] != b"BM":
        return False
    try:
        with Image.open(BytesIO(data)) as image:
            return image.mode == "P"
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def decode_palette(data: bytes, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Encoded bytes of a palette image (PNG, BMP, TIFF) -> its indices (H, W) uint8, and the palette (N, 3) uint8 RGB. A gray image of up
    to 8 bits has its values for indices, and the grays for a palette. Pascal VOC and LabelMe mean their label PNGs by index, others by
    colour."""
    decode(data, path, None)  # says what is wrong with a damaged file
    try:
        with Image.open(BytesIO(data)) as image:
            palette = image.getpalette("RGB")
            if image.mode == "P" and palette:
                return np.array(image), np.array(palette, np.uint8).reshape(-1, 3)
    except (OSError, ValueError, SyntaxError):
        raise unreadable(path) from None
    except Image.DecompressionBombError:
        raise DataError(f"{path}: has too many pixels for an image with a palette; cut it, or save its indices as gray values") from None
    values = decode_index(data, path, "save it with a palette, or as gray values")
    if values.min() < 0 or values.max() > 255:
        raise PixelError(f"{path}: has values from {values.min()} to {values.max()}, expected a palette or gray values up to 255")
    return values.astype(np.uint8), np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)


def suffix_for(image: np.ndarray) -> str:
    """The suffix that `encode_image` gives."""
    return ".png" if image.shape[2] in (1, 3, 4) else ".npy"


def encode_image(image: np.ndarray) -> tuple[str, bytes]:
    """(H, W, C) uint8 -> suffix and bytes that `decode_image` makes the same of: PNG for gray, RGB and four channels, else .npy."""
    if suffix_for(image) == ".png":
        return ".png", encode_png(image)
    buffer = BytesIO()
    np.save(buffer, image, allow_pickle=False)
    return ".npy", buffer.getvalue()


def encode_png(image: np.ndarray) -> bytes:
    """A label map (H, W) or an image (H, W, C) uint8, C one of 1, 3 (RGB) and 4 (RGB and another), -> PNG, made for quick reading."""
    if image.ndim == 3:
        flags = [cv2.IMWRITE_PNG_COMPRESSION, 1]
        if image.shape[2] > 1:
            image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR if image.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    else:  # label maps: without filters they are smaller and decode three times as fast; above level 3 encoding takes three times as long
        flags = [cv2.IMWRITE_PNG_COMPRESSION, 3, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE]
    done, buffer = cv2.imencode(".png", image, flags)
    if not done:
        raise ValueError(f"cannot encode an array of shape {image.shape} and type {image.dtype} as PNG")
    return buffer.tobytes()


def _gray(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype in (np.uint8, np.uint16, np.float32):
        return cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)[:, :, None]
    gray = pixels.astype(np.float64) @ np.array(LUMINANCE)
    return (gray if pixels.dtype.kind == "f" else np.rint(gray)).astype(pixels.dtype)[:, :, None]
