"""Image files to arrays, against Pillow; files that are cut, empty or of the wrong kind are refused by name."""

import os
import re
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps
from tiny import colored, encoded, labels, picture

from seg.core.errors import DataError
from seg.data.imagefile import (
    IMAGE_SUFFIXES,
    decode,
    decode_color,
    decode_image,
    decode_index,
    decode_palette,
    encode_image,
    encode_png,
    has_palette,
    read_bytes,
)

FILE = Path("folder/photo.xyz")


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_jpeg_is_decoded_as_by_pillow() -> None:
    data = saved(Image.fromarray(picture(0, (64, 80))), "JPEG", quality=90)
    reference = np.asarray(Image.open(BytesIO(data)).convert("RGB")).astype(int)
    assert np.abs(decode_image(data, 3, FILE) - reference).max() <= 3


def test_four_inks_are_shown_as_colours() -> None:
    """Blocks of colours, as much of which as can be is printed in black."""
    shown = np.kron(picture(3, (6, 8)), np.ones((8, 8, 1), np.uint8))
    black = 255 - shown.max(axis=2, keepdims=True).astype(float)
    inks = np.dstack([255 * (255 - shown - black) / np.maximum(255 - black, 1), black]).round().astype(np.uint8)
    for kind in ("JPEG", "TIFF"):
        found = decode_image(saved(Image.fromarray(inks, "CMYK"), kind), 3, FILE)
        assert np.abs(found.astype(int) - shown).mean() < 6


def test_colour_files_turn_gray_by_luminance() -> None:
    image = picture(2)
    luminance = image @ np.array([0.299, 0.587, 0.114])
    read = decode_image(saved(Image.fromarray(image), "PNG"), 1, FILE)
    assert read.shape == (*image.shape[:2], 1)
    assert np.abs(read[..., 0] - luminance).max() < 1.5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(Image.fromarray(picture(3, (32, 48))), "JPEG", exif=exif, quality=95, subsampling=0)
    reference = np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(data)))).astype(int)
    read = decode_image(data, 3, FILE)
    assert read.shape == reference.shape
    assert np.abs(read - reference).max() <= 3


@pytest.mark.parametrize("suffix", [s for s in IMAGE_SUFFIXES if s != ".npy"])
def test_every_known_suffix_can_be_read(suffix: str) -> None:
    image = picture(4, (40, 48))
    error = np.abs(decode_image(encoded(image, suffix), 3, FILE).astype(int) - image).mean()
    assert error < (8 if suffix in (".jpg", ".jpeg", ".webp") else 20 if suffix == ".gif" else 1e-9)


@pytest.mark.parametrize("channels", [1, 3])
def test_png_written_here_is_read_alike_by_pillow(channels: int) -> None:
    image = picture(5, channels=channels)
    read = np.asarray(Image.open(BytesIO(encode_png(image))))
    assert np.array_equal(read.reshape(image.shape), image)


def test_label_maps_survive_png() -> None:
    classes = labels(0)
    data = encode_png(classes)
    assert np.array_equal(np.asarray(Image.open(BytesIO(data))), classes)
    assert np.array_equal(decode_index(data, FILE), classes)


def test_index_masks_keep_their_values() -> None:
    deep = np.array([[0, 255, 256], [300, 65535, 1]], np.uint16)
    assert np.array_equal(decode_index(encoded(deep, ".png"), FILE), deep)
    classes = labels(1)
    assert np.array_equal(decode_index(encoded(np.repeat(classes[..., None], 3, axis=2), ".png"), FILE), classes), "three equal channels"


def test_fractions_are_no_class_indices() -> None:
    data = encoded(np.array([[0.0, 0.5], [1.0, 2.0]], np.float32), ".tif")
    with pytest.raises(DataError, match=r"^folder/photo.xyz: has float32 pixels, expected whole numbers, not "):
        decode_index(data, FILE)


def test_images_of_16_bit_are_refused() -> None:
    data = encoded(picture(6, channels=1)[..., 0].astype(np.uint16) * 256, ".png")
    for channels in (1, 3):
        with pytest.raises(DataError, match=r"^folder/photo.xyz: has uint16 pixels, expected 8 bit; save it with 8 bit"):
            decode_image(data, channels, FILE)


FILES = {  # kind of file: what Pillow saves, and the channels that it has
    "gray": (lambda: saved(Image.fromarray(picture(0)[..., 0]), "PNG"), 1, ""),
    "gray and alpha": (lambda: saved(Image.fromarray(picture(0)[..., :2].copy(), "LA"), "PNG"), 2, "(the last is alpha)"),
    "RGB": (lambda: saved(Image.fromarray(picture(0)), "PNG"), 3, "(RGB)"),
    "JPEG": (lambda: saved(Image.fromarray(picture(0)), "JPEG"), 3, "(RGB)"),
    "RGBA": (lambda: saved(Image.fromarray(picture(0, channels=4)), "PNG"), 4, "(the last is alpha)"),
    "WebP with alpha": (
        lambda: saved(Image.fromarray(picture(0, channels=4)), "WEBP", lossless=True, exact=True),
        4,
        "(the last is alpha)",
    ),
    "TIFF bands": (lambda: bands(5), 5, ""),
    "npy": (lambda: npy(picture(0, channels=7)), 7, ""),
}


def bands(count: int) -> bytes:
    buffer = BytesIO()
    tifffile.imwrite(buffer, np.moveaxis(picture(0, channels=count), 2, 0), photometric="minisblack")
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    buffer = BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", FILES)
def test_channels_are_as_stored_where_the_file_has_as_many_and_else_one_error_says_what_it_has(kind: str) -> None:
    make, count, note = FILES[kind]
    data = make()
    fitting = {count} | ({1, 3} if count <= 4 else set()) if kind not in ("TIFF bands", "npy") else {count}
    for channels in range(1, 9):
        if channels in fitting:
            read = decode_image(data, channels, FILE)
            assert read.shape == (24, 32, channels)
            if (count, channels) == (4, 3):
                assert np.array_equal(read, picture(0, channels=4)[..., :3]), "alpha is dropped"
            continue
        there = (
            f"has {count} channel{'s' * (count > 1)}{f' {note}' if note else ''}, but data.channels={channels}; set data.channels={count}"
        )
        with pytest.raises(DataError, match=f"^folder/photo.xyz: {re.escape(there)}$"):
            decode_image(data, channels, FILE)
    if kind != "JPEG":
        expected = picture(0)[..., :1] if kind == "gray" else picture(0)[..., :2] if count == 2 else picture(0, channels=count)
        assert np.array_equal(decode_image(data, count, FILE), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_beside_alpha_too(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True})):
        data = saved(Image.fromarray(picture(3, channels=4)), kind, exif=exif, **options)
        reference = np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(data))))
        assert np.array_equal(decode_image(data, 4, FILE), reference)
        assert np.array_equal(decode_image(data, 3, FILE), reference[..., :3])


MODES = {"1": "PBTW", "L": "PBTW", "LA": "PTW", "P": "PBTW", "RGB": "PBTW", "RGBA": "PTW", "palette with transparency": "PW"}


@pytest.mark.parametrize(("mode", "kind"), [(m, k) for m, kinds in MODES.items() for k in ("PNG", "BMP", "TIFF", "WEBP") if k[0] in kinds])
def test_every_mode_is_read_as_pillow_shows_it(mode: str, kind: str) -> None:
    options: dict = {"transparent-image": 1} if "with" in mode else {}
    image = Image.fromarray(picture(2)).convert("P" if "palette" in mode else mode)
    data = saved(image, kind, **options, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    shown = np.asarray(Image.open(BytesIO(data)).convert("RGBA").convert("RGB"))
    assert np.array_equal(decode_image(data, 3, FILE), shown)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_are_spread_in_images_and_counted_in_labels(bits: int) -> None:
    values = np.random.default_rng(bits).integers(0, 2**bits, (9, 13)).astype(np.uint8)
    data = gray_png(values, bits)
    assert np.array_equal(np.asarray(Image.open(BytesIO(data)).convert("L")), values * (255 // (2**bits - 1))), "the file is as meant"
    assert np.array_equal(decode_image(data, 1, FILE)[..., 0], values * (255 // (2**bits - 1)))
    assert np.array_equal(decode_index(data, FILE), values)


def gray_png(values: np.ndarray, bits: int) -> bytes:
    """A gray PNG of 1, 2 or 4 bits, which Pillow does not write."""
    planes = (values[..., None] >> np.arange(bits)[::-1] & 1).reshape(len(values), -1).astype(bool)
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in planes)
    return png_of(*values.shape, bits, 0, chunk(b"IDAT", zlib.compress(rows)))


def png_of(height: int, width: int, bits: int = 8, kind: int = 2, data: bytes = b"") -> bytes:
    """A PNG that declares a size, and by itself holds no pixel."""
    header = chunk(b"IHDR", width.to_bytes(4) + height.to_bytes(4) + bytes([bits, kind, 0, 0, 0]))
    return b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b"")


def chunk(name: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4) + name + content + zlib.crc32(name + content).to_bytes(4)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int32"])
def test_labels_of_32_bit_keep_their_ids(dtype: str) -> None:
    ids = (np.arange(600).reshape(20, 30) % (250 if dtype == "uint8" else 600) * (1 if "8" in dtype else 100)).astype(dtype)
    if "32" in dtype:
        ids[0, 0] = 2**31 - 1
    buffer = BytesIO()
    tifffile.imwrite(buffer, ids, compression="zlib")
    for data in (buffer.getvalue(), npy(ids), *([saved(Image.fromarray(ids), "PNG")] if "32" not in dtype else [])):
        assert np.array_equal(decode_index(data, FILE), ids)


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_masks_of_one_bit_have_the_values_0_and_1_as_they_are_stored(photometric: str) -> None:
    mask = labels(0) > 1
    buffer = BytesIO()
    tifffile.imwrite(buffer, mask, photometric=photometric)
    for data in (buffer.getvalue(), npy(mask), saved(Image.fromarray(mask), "PNG")):
        assert np.array_equal(decode_index(data, FILE), mask)


def test_label_maps_of_several_pages_are_refused() -> None:
    with pytest.raises(DataError, match=r"photo.xyz: has 5 pages or channels, expected one label map; save each as a file of its own"):
        decode_index(bands(5), FILE)


def test_label_maps_with_an_opaque_alpha_are_read() -> None:
    classes = labels(1)
    gray_alpha = np.stack([classes, np.full_like(classes, 255)], axis=2)
    assert np.array_equal(decode_index(saved(Image.fromarray(gray_alpha, "LA"), "PNG"), FILE), classes)
    assert np.array_equal(decode_index(saved(Image.fromarray(gray_alpha[..., [0, 0, 0, 1]]), "PNG"), FILE), classes)
    gray_alpha[3, 4, 1] = 0
    with pytest.raises(DataError, match="is a colour or palette image, expected one gray value a pixel"):
        decode_index(saved(Image.fromarray(gray_alpha, "LA"), "PNG"), FILE)


def test_colours_of_16_bit_that_hold_8_are_read() -> None:
    colors = colored(labels(0))
    assert np.array_equal(decode_color(encoded(colors.astype(np.uint16) * 257, ".png"), FILE), colors)
    buffer = BytesIO()
    tifffile.imwrite(buffer, colors.astype(np.int32), photometric="rgb")
    assert np.array_equal(decode_color(buffer.getvalue(), FILE), colors)
    with pytest.raises(DataError, match=r"photo.xyz: has uint16 pixels, expected colours of 8 bit; save it with 8 bit"):
        decode_color(encoded(colors.astype(np.uint16) * 100, ".png"), FILE)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
@pytest.mark.parametrize("count", [2, 4, 16, 200])
def test_palettes_are_read_by_index(kind: str, count: int) -> None:
    indices = np.arange(600).reshape(20, 30).astype(np.uint8) % count
    palette = np.random.default_rng(count).integers(0, 256, (count, 3)).astype(np.uint8)
    image = Image.fromarray(indices, mode="P")
    image.putpalette(palette.tobytes())
    found, colors = decode_palette(saved(image, kind), FILE)
    assert (found.dtype, colors.dtype) == (np.uint8, np.uint8)
    assert np.array_equal(found, indices)
    assert np.array_equal(colors[:count], palette)
    assert np.array_equal(decode_color(saved(image, kind), FILE), palette[indices])
    with pytest.raises(DataError, match=r"^folder/photo.xyz: is a colour or palette image.* set data.source.labels=color"):
        decode_index(saved(image, kind), FILE)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 9])
def test_images_written_here_are_read_as_they_were(channels: int) -> None:
    image = picture(1, channels=channels)
    suffix, data = encode_image(image)
    assert suffix == (".png" if channels in (1, 3, 4) else ".npy")
    read = decode_image(data, channels, FILE)
    assert np.array_equal(read, image)
    assert read.flags.c_contiguous


NPY_MISTAKES = {
    "cut": (lambda: npy(picture(0))[:-1], "is cut off before its end; restore it"),
    "cut header": (lambda: npy(picture(0))[:40], "is cut off before its end; restore it"),
    "objects": (lambda: npy(np.array([{"a": 1}], object)), "holds Python objects, expected numbers"),
    "a line": (lambda: npy(np.arange(5)), r"holds an array \(5,\) of int64, expected numbers \(height, width\) or"),
    "a volume": (lambda: npy(np.zeros((2, 3, 4, 5))), r"holds an array \(2, 3, 4, 5\) of float64"),
    "no pixel": (lambda: npy(np.zeros((0, 3), np.uint8)), r"holds an array \(0, 3\) of uint8"),
    "text": (lambda: npy(np.array([["a", "b"]])), r"holds an array \(1, 2\) of <U1"),
}


@pytest.mark.parametrize("kind", NPY_MISTAKES)
def test_an_npy_that_is_no_image_is_refused(kind: str) -> None:
    make, message = NPY_MISTAKES[kind]
    with pytest.raises(DataError, match=f"^folder/photo.xyz: {message}"):
        decode_image(make(), 3, FILE)


@pytest.mark.parametrize("make", [lambda a: a, np.asfortranarray, lambda a: a.astype(">u2"), lambda a: a.astype(bool)])
def test_an_npy_of_any_order_is_read(make: Callable[[np.ndarray], np.ndarray]) -> None:
    array = make(picture(0, channels=5))
    expected = array * 255 if array.dtype == bool else array
    assert np.array_equal(decode(npy(array), FILE, 5).pixels, expected)


@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
def test_a_png_with_a_wrong_checksum_is_refused(place: float) -> None:
    data = bytearray(encoded(picture(7, (120, 160)), ".png"))
    data[int(len(data) * place)] ^= 0x10
    for read in (lambda d: decode_image(d, 3, FILE), lambda d: decode_index(d, FILE), lambda d: decode_color(d, FILE)):
        with pytest.raises(DataError, match=r"^folder/photo.xyz: is damaged \(the checksum of its IDAT chunk is wrong\); restore it or"):
            read(bytes(data))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tif"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.99])
def test_cut_files_are_refused(suffix: str, share: float) -> None:
    data = encoded(picture(7, (120, 160)), suffix)
    decode_image(data, 3, FILE)
    with pytest.raises(DataError, match=r"^folder/photo.xyz: is cut off before its end; restore it or remove it with its label"):
        decode_image(data[: int(len(data) * share)], 3, FILE)


def test_a_cut_jpeg_with_a_whole_thumbnail_is_refused() -> None:
    exif = b"Exif\0\0" + encoded(picture(8, (16, 16)), ".jpg")
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2) + exif
    data = encoded(picture(7, (120, 160)), ".jpg")
    whole = data[:2] + segment + data[2:]
    assert np.array_equal(decode_image(whole, 3, FILE), decode_image(data, 3, FILE))
    for cut in (whole[: len(segment) + len(data) // 2], data[:-90].ljust(20_000, b"\0")):
        with pytest.raises(DataError, match="is cut off before its end"):
            decode_image(cut, 3, FILE)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_data_behind_the_picture_does_no_harm(suffix: str) -> None:
    data = encoded(picture(9), suffix)
    assert np.array_equal(decode_image(data + b"\0film" * 5000, 3, FILE), decode_image(data, 3, FILE))


@pytest.mark.parametrize("data", [b"no image at all", b"<svg></svg>" * 100, b"\0" * 5000])
def test_what_is_no_image_is_refused(data: bytes) -> None:
    for read in (decode_index, decode_color):
        with pytest.raises(DataError, match=r"^folder/photo.xyz: is not a readable image; restore it or remove it"):
            read(data, FILE)


def test_missing_and_empty_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone.png: cannot be read \(No such file or directory\)"):
        read_bytes(tmp_path / "gone.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(DataError, match=r"folder.png: cannot be read \(Is a directory\)"):
        read_bytes(tmp_path / "folder.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(DataError, match=r"empty.png: is an empty file; restore it or remove it with its label"):
        read_bytes(tmp_path / "empty.png")


def test_gray_values_are_indices_and_what_has_neither_is_refused() -> None:
    gray = picture(1, channels=1)[..., 0]
    indices, palette = decode_palette(saved(Image.fromarray(gray), "PNG"), FILE)
    assert np.array_equal(indices, gray)
    assert np.array_equal(palette, np.repeat(np.arange(256)[:, None], 3, axis=1))
    with pytest.raises(DataError, match=r"^folder/photo.xyz: is a colour or palette image, expected one gray value a pixel; save it with"):
        decode_palette(saved(Image.fromarray(picture(1)), "PNG"), FILE)
    with pytest.raises(DataError, match=r"^folder/photo.xyz: has values from 7 to 300, expected a palette or gray values up to 255"):
        decode_palette(encoded(np.array([[7, 300]], np.uint16), ".png"), FILE)
    indexed = saved(Image.fromarray(picture(1)).quantize(8), "PNG")
    with pytest.raises(DataError, match=r"^folder/photo.xyz: is cut off before its end"):
        decode_palette(indexed[:-30], FILE)
    with pytest.raises(DataError, match=r"^folder/photo.xyz: is not a readable image"):
        decode_palette(b"hello", FILE)
    broken = bytearray(indexed)
    broken[60:80] = b"\0" * 20
    with pytest.raises(DataError, match=r"^folder/photo.xyz: is damaged \(the checksum of its PLTE chunk is wrong\)"):
        decode_palette(bytes(broken), FILE)


def test_a_declared_size_is_looked_at_before_memory_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    jpeg = (
        b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x0b\x08" + (60000).to_bytes(2) + (50000).to_bytes(2) + b"\x01\x01\x11\x00\xff\xda\xff\xd9"
    )
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (300000, 1000000)}\n"
    npy = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    tokens = b"\x93NUMPY\x01\x00" + (5).to_bytes(2, "little") + b"((((\n"
    for data, said in (
        (
            png_of(30000, 30000),
            r"has 30000x30000 pixels, more than the 536,870,912 .* set the environment variable SEG_MAX_PIXELS=900000000",
        ),
        (jpeg, "has 50000x60000 pixels"),
        (npy, "is cut off before its end"),
        (tokens, "is cut off before its end"),
    ):
        with pytest.raises(DataError, match=said):
            decode_image(data, 3, Path("x"))
    monkeypatch.setenv("SEG_MAX_PIXELS", "63")
    small = encode_png(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DataError, match="has 8x8 pixels, more than the 63"):
        decode_image(small, 3, Path("x"))
    monkeypatch.setenv("SEG_MAX_PIXELS", "64")
    assert decode_image(small, 3, Path("x")).shape == (8, 8, 3)


def test_a_gif_that_declares_too_many_pixels_is_a_line() -> None:
    data = b"GIF89a\xff\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\xff\xff\xff\xff\x00\x02"
    with pytest.raises(DataError, match=r"^folder/photo.xyz: has more pixels than are read at once; cut it into tiles"):
        decode_image(data, 3, FILE)


def test_pillow_s_own_limit_of_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """An orthophoto of 20,000 x 20,000 is over it, and under ours."""
    files = {kind: saved(Image.fromarray(picture(1)).quantize(8), kind) for kind in ("TIFF", "BMP", "PNG")}
    gray = saved(Image.fromarray(picture(1)[..., 0]), "TIFF")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert [has_palette(data) for data in (files["TIFF"], gray, files["PNG"])] == [True, False, True]
    assert not has_palette(files["BMP"])
    assert not has_palette(files["TIFF"][:40])
    with pytest.raises(DataError, match=r"^folder/photo.xyz: has too many pixels for an image with a palette; cut it, or save its indices"):
        decode_palette(files["TIFF"], FILE)


def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "i0.png")
    (tmp_path / "i1.png").symlink_to("/dev/zero")
    for name in ("i0.png", "i1.png"):
        with pytest.raises(DataError, match=f"{name}: is no regular file"):
            read_bytes(tmp_path / name)
