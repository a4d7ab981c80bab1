"""Image files to arrays, against Pillow; files that are cut, empty or of the wrong kind are refused by name."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from tiny import encoded, labels, picture

from seg.errors import DataError
from seg.imagefile import IMAGE_SUFFIXES, decode_color, decode_image, decode_index, decode_palette, encode_png, read_bytes

FILE = Path("folder/photo.xyz")


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_colour_images_are_rgb(kind: str) -> None:
    image = picture(0)
    assert np.array_equal(decode_image(saved(Image.fromarray(image), kind), 3, FILE), image)


def test_jpeg_is_decoded_as_by_pillow() -> None:
    data = saved(Image.fromarray(picture(0, (64, 80))), "JPEG", quality=90)
    reference = np.asarray(Image.open(BytesIO(data)).convert("RGB")).astype(int)
    assert np.abs(decode_image(data, 3, FILE) - reference).max() <= 3


def test_gray_files_have_one_channel_or_three_equal_ones() -> None:
    gray = picture(1, channels=1)[..., 0]
    data = saved(Image.fromarray(gray), "PNG")
    assert np.array_equal(decode_image(data, 1, FILE), gray[..., None])
    assert np.array_equal(decode_image(data, 3, FILE), np.repeat(gray[..., None], 3, axis=2))


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


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_every_known_suffix_can_be_read(suffix: str) -> None:
    image = picture(4, (40, 48))
    error = np.abs(decode_image(encoded(image, suffix), 3, FILE).astype(int) - image).mean()
    assert error < (8 if suffix in (".jpg", ".jpeg", ".webp") else 1e-9)


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


def test_palettes_are_resolved_to_colours() -> None:
    indices = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), mode="P")
    indices.putpalette([9, 8, 7, 200, 0, 1, 0, 90, 250])
    data = saved(indices, "PNG")
    assert decode_color(data, FILE).tolist() == [[[9, 8, 7], [200, 0, 1]], [[0, 90, 250], [200, 0, 1]]]
    with pytest.raises(DataError, match=r"^folder/photo.xyz: is a colour or palette image.* set data.source.labels=color"):
        decode_index(data, FILE)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_indices_and_palette(bits: int) -> None:
    rng = np.random.default_rng(bits)
    values, colors = rng.integers(0, 2**bits, (5, 7), dtype=np.uint8), rng.integers(0, 256, (2**bits, 3), dtype=np.uint8)
    image = Image.fromarray(values, mode="P")
    image.putpalette(colors.ravel().tolist())
    data = saved(image, "PNG", bits=bits)
    indices, palette = decode_palette(data, FILE)
    assert (indices.dtype, palette.dtype) == (np.uint8, np.uint8)
    assert np.array_equal(indices, values)
    assert np.array_equal(palette[: 2**bits], colors)
    assert np.array_equal(palette[indices], decode_color(data, FILE))


def test_what_has_no_palette_is_refused() -> None:
    gray = encoded(labels(0), ".png")
    for data, message in (
        (gray, "has no palette, expected a palette PNG; set data.source.labels=index or data.source.labels=color"),
        (gray[:60], "is cut off before its end"),
        (b"no picture" * 9, "is not a readable image"),
    ):
        with pytest.raises(DataError, match=f"^folder/photo.xyz: {message}"):
            decode_palette(data, FILE)


def test_fractions_are_no_class_indices() -> None:
    data = encoded(np.array([[0.0, 0.5], [1.0, 2.0]], np.float32), ".tif")
    with pytest.raises(DataError, match=r"^folder/photo.xyz: has float32 pixels, expected whole numbers; save the label maps with"):
        decode_index(data, FILE)


def test_images_of_16_bit_are_refused() -> None:
    data = encoded(picture(6, channels=1)[..., 0].astype(np.uint16) * 256, ".png")
    for channels in (1, 3):
        with pytest.raises(DataError, match=r"^folder/photo.xyz: has uint16 pixels, expected 8 bit; rescale"):
            decode_image(data, channels, FILE)


def test_other_numbers_of_channels_are_refused() -> None:
    with pytest.raises(DataError, match=r"^folder/photo.xyz: images are read with 1 or 3 channels, not 4"):
        decode_image(encoded(picture(0), ".png"), 4, FILE)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.99])
def test_cut_files_are_refused(suffix: str, share: float) -> None:
    data = encoded(picture(7, (120, 160)), suffix)
    decode_image(data, 3, FILE)
    with pytest.raises(DataError, match=r"^folder/photo.xyz: is cut off before its end; restore it or remove it with its label"):
        decode_image(data[: int(len(data) * share)], 3, FILE)


@pytest.mark.parametrize("suffix", [".bmp", ".webp", ".tif"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_cut_files_of_other_formats_are_refused(suffix: str, share: float) -> None:
    data = encoded(picture(7, (120, 160)), suffix)
    with pytest.raises(DataError, match=r"^folder/photo.xyz: is not a readable image; restore it or remove it with its label"):
        decode_image(data[: int(len(data) * share)], 3, FILE)


def test_a_cut_jpeg_with_a_whole_thumbnail_is_refused() -> None:
    exif = b"Exif\0\0" + encoded(picture(8, (16, 16)), ".jpg")
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2) + exif
    data = encoded(picture(7, (120, 160)), ".jpg")
    whole = data[:2] + segment + data[2:]
    assert np.array_equal(decode_image(whole, 3, FILE), decode_image(data, 3, FILE))
    with pytest.raises(DataError, match="is cut off before its end"):
        decode_image(whole[: len(segment) + len(data) // 2], 3, FILE)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_data_behind_the_picture_does_no_harm(suffix: str) -> None:
    data = encoded(picture(9), suffix)
    assert np.array_equal(decode_image(data + b"\0film" * 5000, 3, FILE), decode_image(data, 3, FILE))


@pytest.mark.parametrize("data", [b"no image at all", b"<svg></svg>" * 100, b"\0" * 5000])
def test_what_is_no_image_is_refused(data: bytes) -> None:
    for decode in (decode_index, decode_color):
        with pytest.raises(DataError, match=r"^folder/photo.xyz: is not a readable image; restore it or remove it"):
            decode(data, FILE)


def test_missing_and_empty_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone.png: cannot be read \(No such file or directory\)"):
        read_bytes(tmp_path / "gone.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(DataError, match=r"empty.png: is an empty file; restore it or remove it with its label"):
        read_bytes(tmp_path / "empty.png")


def test_palette_images_give_indices_and_colours() -> None:
    rng = np.random.default_rng(3)
    for bits, count in ((8, 256), (8, 200), (4, 16), (2, 4), (1, 2)):
        indices = rng.integers(0, count, (9, 13), dtype=np.uint8)
        colors = rng.integers(0, 256, (count, 3), dtype=np.uint8)
        image = Image.fromarray(indices)
        image.putpalette(colors.tobytes())
        data = saved(image, "PNG", bits=bits)
        found, palette = decode_palette(data, FILE)
        assert (found.dtype, palette.dtype) == (np.uint8, np.uint8)
        assert np.array_equal(found, indices)
        assert np.array_equal(palette[:count], colors)
        assert np.array_equal(palette[found], decode_color(data, FILE))


def test_gray_values_are_indices_and_what_has_neither_is_refused() -> None:
    gray = picture(1, channels=1)[..., 0]
    indices, palette = decode_palette(saved(Image.fromarray(gray), "PNG"), FILE)
    assert np.array_equal(indices, gray)
    assert np.array_equal(palette, np.repeat(np.arange(256)[:, None], 3, axis=1))
    with pytest.raises(DataError, match=r"^folder/photo.xyz: is a colour or palette image, expected one gray value a pixel; save it with"):
        decode_palette(saved(Image.fromarray(picture(1)), "PNG"), FILE)
    with pytest.raises(DataError, match=r"^folder/photo.xyz: has values from \d+ to \d+, expected a palette or gray values up to 255"):
        decode_palette(encoded(gray.astype(np.uint16) * 200, ".png"), FILE)
    indexed = saved(Image.fromarray(picture(1)).quantize(8), "PNG")
    with pytest.raises(DataError, match=r"^folder/photo.xyz: is cut off before its end"):
        decode_palette(indexed[:-30], FILE)
    with pytest.raises(DataError, match=r"^folder/photo.xyz: is not a readable image"):
        decode_palette(b"hello", FILE)
    broken = bytearray(indexed)
    broken[60:80] = b"\0" * 20
    with pytest.raises(DataError, match=r"^folder/photo.xyz: is not a readable image"):
        decode_palette(bytes(broken), FILE)
