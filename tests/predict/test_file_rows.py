"""Rows of files against the whole file's image, as data sets read it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from tiny import encoded, picture

from seg.core.errors import DataError
from seg.data.tiff_rows import PageRows
from seg.predict.file_rows import DecodedRows, open_rows
from seg.sources.images import ImageReader
from seg.tiles.grid import ArrayRows, Rows

RGB, RGB_READER = picture(0, (101, 77)), ImageReader(3)
DEEP = np.random.default_rng(0).integers(0, 4096, (50, 60, 5)).astype(np.uint16)
DEEP_READER = ImageReader(5, [0, 4095])
PLANES, DEEP_PLANES = np.moveaxis(RGB, 2, 0), np.moveaxis(DEEP, 2, 0)


def assert_same(path: Path, reader: ImageReader) -> Rows:
    """Whether any rows are those of the whole image."""
    wanted = reader.read(path).pixels
    with open_rows(path, reader) as rows:
        height = len(wanted)
        assert rows.shape == wanted.shape
        for start, stop in ((0, height), (0, 1), (5, 40), (33, height), (height - 1, height), (2, 3)):
            got = rows.read(start, stop)
            assert got.dtype == np.uint8
            assert np.array_equal(got, wanted[start:stop])
    return rows


@pytest.mark.parametrize("codec", [None, "zlib", "lzw", "packbits", "jpeg"])
@pytest.mark.parametrize(
    "options", [{}, {"tile": (16, 32)}, {"rowsperstrip": 7}, {"bigtiff": True}, {"byteorder": ">"}, {"planarconfig": "separate"}], ids=str
)
def test_tiff_of_tiles_strips_and_planes(codec: str | None, options: dict, tmp_path: Path) -> None:
    if codec == "jpeg" and "planarconfig" in options:
        options = {"planarconfig": "separate", "photometric": "minisblack"}
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, PLANES if "planarconfig" in options else RGB, **({"photometric": "rgb", "compression": codec} | options))
    assert isinstance(assert_same(path, RGB_READER), DecodedRows)


@pytest.mark.parametrize(
    "options",
    [
        {"data": DEEP_PLANES, "metadata": None},
        {"data": DEEP_PLANES, "imagej": True},
        {"data": DEEP_PLANES, "ome": True, "metadata": {"axes": "CYX"}},
        {"data": DEEP_PLANES[None, :, None], "ome": True, "metadata": {"axes": "TCZYX"}, "compression": "zlib"},
        {"data": DEEP_PLANES, "compression": "zlib", "rowsperstrip": 9},
        {"data": DEEP_PLANES, "compression": "zlib", "tile": (16, 16), "metadata": None},
        {"data": DEEP, "metadata": {"axes": "YXC"}},
        {"data": DEEP, "photometric": "minisblack", "planarconfig": "contig", "compression": "lzw", "byteorder": ">"},
    ],
    ids=lambda options: "-".join(str(v) for k, v in options.items() if k != "data"),
)
def test_deep_tiff_whose_pages_are_channels(options: dict, tmp_path: Path) -> None:
    path = tmp_path / "deep.tif"
    tifffile.imwrite(path, **options)
    assert isinstance(assert_same(path, DEEP_READER), DecodedRows)


@pytest.mark.parametrize(
    ("write", "reader"),
    [
        (lambda p: tifffile.imwrite(p, DEEP), DEEP_READER),  # a page a row
        (lambda p: tifffile.imwrite(p, DEEP.swapaxes(0, 1), metadata={"axes": "XYC"}), DEEP_READER),
        (lambda p: tifffile.imwrite(p, DEEP_PLANES, compression="zlib"), ImageReader(5, "image")),
        (lambda p: tifffile.imwrite(p, RGB, photometric="rgb", extratags=[(274, "H", 1, 6, True)]), RGB_READER),
        (lambda p: p.with_suffix(".tif").write_bytes(encoded(RGB, ".png")), RGB_READER),
    ],
    ids=["a page a row", "X before Y", "own range", "turned", "PNG"],
)
def test_what_cannot_be_read_by_rows_is_read_at_once(write: Callable[[Path], object], reader: ImageReader, tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    write(path)
    assert isinstance(assert_same(path, reader), ArrayRows)


@pytest.mark.parametrize(
    ("array", "reader"),
    [
        (RGB, RGB_READER),
        (DEEP.astype(">u2"), DEEP_READER),
        (DEEP[..., 0] / 4096, ImageReader(3, [0, 1])),
        (np.asfortranarray(RGB), RGB_READER),
        (RGB[..., 0] > 100, ImageReader(1)),
    ],
    ids=["uint8", "big-endian", "one channel of floats as RGB", "columns", "bool"],
)
def test_npy(array: np.ndarray, reader: ImageReader, tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", array)
    assert_same(tmp_path / "image.npy", reader)


def test_gray_palette_alpha_and_inverted_tiff(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, RGB[..., 0], photometric="miniswhite", compression="zlib", rowsperstrip=8)
    assert_same(path, RGB_READER)
    colors = np.random.default_rng(1).integers(0, 65536, (3, 256)).astype(np.uint16)
    tifffile.imwrite(path, RGB[..., 0], photometric="palette", colormap=colors, compression="zlib", tile=(32, 32))
    assert_same(path, RGB_READER)
    opaque = np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)])
    tifffile.imwrite(path, opaque, photometric="rgb", extrasamples=["unassalpha"], tile=(32, 32))
    assert_same(path, RGB_READER)
    tifffile.imwrite(path, RGB[..., 0] > 90, compression="zlib", rowsperstrip=16)
    assert_same(path, RGB_READER)


def test_of_a_pyramid_the_first_level_is_read(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(RGB, photometric="rgb", tile=(32, 32), subifds=0, metadata=None)
        file.write(RGB[::2, ::2], photometric="rgb", tile=(32, 32), subfiletype=1, metadata=None)
    assert isinstance(assert_same(path, RGB_READER), DecodedRows)


def test_a_row_of_tiles_is_decoded_once_and_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, decoded = tmp_path / "image.tif", []
    tifffile.imwrite(path, RGB, photometric="rgb", tile=(16, 16), compression="zlib")
    decode = PageRows._of_page
    monkeypatch.setattr(PageRows, "_of_page", lambda self, page, number, *a: decoded.append(number) or decode(self, page, number, *a))
    with open_rows(path, RGB_READER) as rows:
        for start in range(0, 101, 10):
            rows.read(start, min(101, start + 10))
    assert decoded == list(range(7))


def test_errors_name_the_file_and_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"

    def said(reader: ImageReader = RGB_READER) -> str:
        with pytest.raises(DataError) as caught, open_rows(path, reader) as rows:
            rows.read(0, 50)
        return str(caught.value)

    assert "cannot be read (No such file" in said()
    tifffile.imwrite(path, RGB, photometric="rgb", tile=(16, 16), compression="zlib")
    data = path.read_bytes()
    path.write_bytes(data[:-200])
    assert "is cut off before its end" in said()
    path.write_bytes(data)
    with tifffile.TiffFile(path) as file:
        offset = file.pages[0].dataoffsets[3]  # type: ignore[union-attr]
    path.write_bytes(data[:offset] + b"\xff" * 40 + data[offset + 40 :])
    assert "image.tif: is not a readable TIFF" in said()
    tifffile.imwrite(path, DEEP, photometric="minisblack", planarconfig="contig", compression="zlib")
    assert "expected 8 bit; set data.range=[0,4095]" in said(ImageReader(5))
    assert "has 5 channels, but data.channels=3" in said()
    np.save(tmp_path / "image.npy", np.array([{}], dtype=object))
    path = tmp_path / "image.npy"
    assert "holds Python objects" in said()
