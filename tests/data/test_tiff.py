"""TIFF to arrays, against Pillow and the arrays that tifffile wrote: depths, codecs, pages, planes, axes, orientation, pixel sizes."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile
from PIL import Image, ImageOps
from tiny import picture

from seg.core.errors import DataError
from seg.data.decoders import Decoded
from seg.data.tiff import decode_tiff

FILE = Path("folder/photo.tif")
BANDS = np.random.default_rng(0).integers(0, 4096, (20, 30, 5)).astype(np.uint16)


def written(array: np.ndarray, **options: object) -> bytes:
    buffer = BytesIO()
    tifffile.imwrite(buffer, array, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def saved(image: Image.Image, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "TIFF", **options)
    return buffer.getvalue()


def read(data: bytes, channels: int | None = None) -> Decoded:
    return decode_tiff(data, FILE, channels)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int8", "int16", "int32", "float16", "float32", "float64"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_number_type_and_byte_order(dtype: str, order: str) -> None:
    values = (np.arange(600).reshape(20, 30) % 120).astype(dtype)
    read_back = read(written(values, byteorder=order)).pixels
    assert read_back.dtype == np.dtype(dtype)
    assert np.array_equal(read_back[..., 0], values)


@pytest.mark.parametrize("codec", ["lzw", "zlib", "packbits", "lzma", "zstd"])
@pytest.mark.parametrize("options", [{}, {"tile": (16, 16)}, {"rowsperstrip": 3}, {"bigtiff": True}, {"planarconfig": "separate"}])
def test_codecs_tiles_strips_and_planes(codec: str, options: dict) -> None:
    values = np.moveaxis(BANDS, 2, 0) if "planarconfig" in options else BANDS
    data = written(values, compression=codec, photometric="minisblack", **({"planarconfig": "contig"} | options))
    assert np.array_equal(read(data).pixels, BANDS)


def test_pages_of_one_size_are_channels_whoever_wrote_them() -> None:
    pages = np.moveaxis(BANDS, 2, 0)
    images = [Image.fromarray(np.ascontiguousarray(page)) for page in pages]
    for data in (
        written(pages),
        written(pages, metadata=None),
        written(pages, metadata={"axes": "CYX"}),
        written(pages, imagej=True),
        written(pages, ome=True, metadata={"axes": "CYX"}),
        saved(images[0], save_all=True, append_images=images[1:]),
    ):
        assert np.array_equal(read(data).pixels, BANDS)
        assert np.array_equal(read(data, 5).pixels, BANDS)


def test_the_axes_of_the_metadata_are_heeded() -> None:
    assert np.array_equal(read(written(BANDS, metadata={"axes": "YXC"})).pixels, BANDS)
    assert np.array_equal(read(written(BANDS.swapaxes(0, 1), metadata={"axes": "XYC"})).pixels, BANDS)
    assert np.array_equal(read(written(np.moveaxis(BANDS, 2, 0)[None, :, None], ome=True, metadata={"axes": "TCZYX"})).pixels, BANDS)


def test_an_array_that_tifffile_wrote_as_a_page_a_row_is_known_by_the_channels_that_are_wanted() -> None:
    data = written(BANDS)
    assert len(tifffile.TiffFile(BytesIO(data)).pages) == 20
    assert np.array_equal(read(data, 5).pixels, BANDS)
    assert read(data, 20).pixels.shape == (30, 5, 20)


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        (
            np.zeros((2, 3, 8, 9), np.uint8),
            {"metadata": {"axes": "ZCYX"}},
            "has the axes ZCYX, 2 along Z and 3 along C, expected one beside",
        ),
        (np.zeros((2, 8, 9, 3), np.uint8), {"photometric": "rgb"}, "has the axes QYXS, 2 along Q and 3 along S"),
        (np.zeros((8, 9), np.complex64), {}, r"is not a readable TIFF \(its pixels are complex64\)"),
    ],
)
def test_what_is_no_image_is_refused(array: np.ndarray, options: dict, message: str) -> None:
    with pytest.raises(DataError, match=f"^folder/photo.tif: {message}"):
        read(written(array, **options))


def test_images_of_several_sizes_are_refused_but_not_thumbnails() -> None:
    gray = picture(0, (64, 48), 1)[..., 0]
    for kind, expected in ((0, None), (1, gray)):
        buffer = BytesIO()
        with tifffile.TiffWriter(buffer) as writer:
            writer.write(gray, metadata=None)
            writer.write(gray[:30] if expected is None else gray[::2, ::2], metadata=None, subfiletype=kind)
        if expected is None:
            with pytest.raises(
                DataError, match=r"photo.tif: holds 2 images of different kinds \(64x48, 30x48\); save each as a file of its"
            ):
                read(buffer.getvalue())
        else:
            assert np.array_equal(read(buffer.getvalue()).pixels[..., 0], expected)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I", "F"])
def test_pillows_files_are_read_as_pillow_reads_them(mode: str) -> None:
    image = Image.fromarray(picture(1))
    image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 200) if mode == "I;16" else image.convert(mode)
    decoded = read(saved(image))
    shown = np.asarray(image.convert({"1": "L", "P": "RGB"}.get(mode, mode)))
    assert np.array_equal(decoded.pixels, np.atleast_3d(shown))
    assert (decoded.color, decoded.alpha) == (mode in ("P", "RGB", "RGBA"), mode in ("LA", "RGBA"))
    assert decoded.step == (255 if mode == "1" else 1)


@pytest.mark.parametrize("mode", ["RGB", "YCbCr"])
@pytest.mark.parametrize("compression", ["jpeg", "tiff_lzw", None])
def test_colours_come_out_as_rgb(mode: str, compression: str | None) -> None:
    image = Image.fromarray(picture(2, (64, 80)))
    data = saved(image.convert(mode), compression=compression, **({"quality": 95} if compression == "jpeg" else {}))
    assert np.abs(read(data).pixels.astype(int) - np.asarray(image)).mean() < 4


def test_a_fourth_channel_is_alpha_by_its_tag_or_where_it_is_opaque() -> None:
    four = np.dstack([picture(3), picture(4)[..., 0]])
    opaque = np.dstack([picture(3), np.full((24, 32), 255, np.uint8)])
    found = [
        read(written(array, photometric="rgb", extrasamples=[kind])).alpha
        for array, kind in ((four, "unassalpha"), (four, "assocalpha"), (four, "unspecified"), (opaque, "unspecified"))
    ]
    assert found == [True, True, False, True]


def test_white_is_zero_is_shown_as_meant() -> None:
    values = picture(5, channels=1)[..., 0]
    decoded = read(written(values, photometric="miniswhite"))
    assert np.array_equal(decoded.pixels[..., 0], 255 - values)
    assert decoded.inverted


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation: int) -> None:
    image = Image.fromarray(picture(6))
    data = saved(image, tiffinfo={274: orientation})
    assert np.array_equal(read(data).pixels, np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(data)))))


@pytest.mark.parametrize(
    ("options", "spacing"),
    [
        ({"resolution": (20000, 40000), "resolutionunit": "CENTIMETER"}, (0.25, 0.5)),
        ({"resolution": (100000, 50000), "resolutionunit": "INCH"}, (0.508, 0.254)),
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, None),
        ({"resolution": (1200, 1200), "resolutionunit": "INCH"}, None),
        ({"resolution": (28.35, 28.35), "resolutionunit": "CENTIMETER"}, None),
        ({"resolution": (100, 50), "resolutionunit": "NONE"}, None),
        ({"imagej": True, "resolution": (2, 4), "metadata": {"unit": "um"}}, (0.25, 0.5)),
        ({"imagej": True, "resolution": (2, 4), "metadata": {"unit": "\\u00B5m"}}, (0.25, 0.5)),
        ({"imagej": True, "resolution": (2, 4), "metadata": {"unit": "pixel"}}, None),
        ({"ome": True, "metadata": {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}}, (0.25, 0.5)),
        ({"ome": True, "metadata": {"PhysicalSizeX": 300.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.25}}, (0.25, 0.3)),
        ({"ome": True, "metadata": {"PhysicalSizeX": 300.0}}, None),
        ({}, None),
    ],
)
def test_the_size_of_a_pixel(options: dict, spacing: tuple[float, float] | None) -> None:
    found = read(written(BANDS[..., 0], **options)).spacing
    assert found == (spacing and pytest.approx(spacing))


def test_the_size_of_a_pixel_is_turned_with_the_image() -> None:
    data = saved(Image.fromarray(picture(6)), tiffinfo={274: 6, 282: 20000.0, 283: 40000.0, 296: 3})
    assert read(data).spacing == pytest.approx((0.5, 0.25))


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("kind", ["plain", "pages", "codec", "codec pages", "imagej", "pillow"])
def test_cut_files_are_refused(kind: str, share: float) -> None:
    pages = np.moveaxis(BANDS, 2, 0)
    data = {
        "plain": lambda: written(BANDS[..., 0]),
        "pages": lambda: written(pages, metadata=None),
        "codec": lambda: written(BANDS[..., 0], compression="lzw"),
        "codec pages": lambda: written(pages, compression="zlib"),
        "imagej": lambda: written(pages, imagej=True),
        "pillow": lambda: saved(Image.fromarray(pages[0].copy()), save_all=True, append_images=[Image.fromarray(pages[1].copy())]),
    }[kind]()
    read(data)
    with pytest.raises(
        DataError, match=r"^folder/photo.tif: is (cut off before its end|not a readable TIFF \(.*\)); restore it or remove it"
    ):
        read(data[: int(len(data) * share)])


def test_damaged_strips_are_refused() -> None:
    data = bytearray(written(BANDS[..., 0], compression="zlib"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(DataError, match=r"^folder/photo.tif: is not a readable TIFF \(.*\); restore it or remove it with its label"):
        read(bytes(data))


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize(("compression", "interleave"), [("JPEG", "BAND"), ("JPEG", "PIXEL"), ("WEBP", "PIXEL"), ("ZSTD", "BAND")])
def test_what_gdal_writes_is_read_as_gdal_reads_it(tmp_path: Path, compression: str, interleave: str, tiled: bool) -> None:
    bands = np.moveaxis(picture(1, (64, 96), 4 if compression == "WEBP" else 3), -1, 0)
    tiles = {"tiled": True, "blockxsize": 32, "blockysize": 32} if tiled else {}
    options = {"compress": compression, "interleave": interleave, **tiles}
    with rasterio.open(tmp_path / "a.tif", "w", "GTiff", 96, 64, len(bands), dtype="uint8", **options) as file:
        file.write(bands)
    with rasterio.open(tmp_path / "a.tif") as file:
        expected = np.moveaxis(file.read(), 0, -1)
    found = decode_tiff((tmp_path / "a.tif").read_bytes(), FILE, None)
    assert (np.array_equal(found.pixels, expected), found.color) == (True, True)
