"""Pixels to classes, against loops over pixels; files that would not keep labels are refused."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from tiny import encoded, labels, write

from seg.core.errors import DataError
from seg.data.sample import ClassInfo
from seg.sources.class_map import ClassMap
from seg.sources.masks import PixelClasses, binary_mask, numbered, packed, read_mask

FILE = Path("folder/mask.png")
CLASSES = [ClassInfo("a", (1, 2, 3), (0, 7)), ClassInfo("b", (4, 5, 6), (300, 70000))]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint32])
@pytest.mark.parametrize("kind", ["noise", "regions", "one value"])
def test_values_are_numbered_in_order(kind: str, dtype: type) -> None:
    maps = {"noise": np.random.default_rng(0).integers(0, 50, (17, 13)), "regions": labels(3) // 2 * 77, "one value": np.full((2, 3), 9)}
    values = maps[kind].astype(dtype)
    present, places = numbered(values)
    assert present.tolist() == sorted(set(values.ravel().tolist()))
    assert np.array_equal(present[places], values)
    assert places.dtype == np.int32


def test_colours_are_packed_as_coco_does() -> None:
    colors = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert np.array_equal(packed(colors), colors.astype(int) @ [1, 256, 65536])


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.uint32])
def test_values_beyond_a_byte(dtype: type) -> None:
    top = np.iinfo(dtype).max
    values = np.array([[0, 7, 300, min(70000, top)], [5, 5, 300, 0]], dtype)
    extra = [] if top >= 70000 else [top]
    classes = PixelClasses("index", ClassMap(CLASSES, int, [5, *extra]))
    assert classes.of(values, FILE).tolist() == [[0, 0, 1, 1 if top >= 70000 else 255], [255, 255, 1, 0]]


def test_random_maps_agree_with_a_loop_over_pixels() -> None:
    rng = np.random.default_rng(1)
    classes = [ClassInfo(str(k), (k, 0, 0), tuple(range(10 * k, 10 * k + 10))) for k in range(4)]
    mapping = ClassMap(classes, int, [40, 41], (), "ignore")
    for _ in range(5):
        values = rng.integers(0, 60, (9, 11), dtype=np.uint8)
        expected = [[v // 10 if v < 40 else 255 for v in row] for row in values.tolist()]
        for given in (values, values.astype(np.uint16)):
            assert PixelClasses("index", mapping).of(given, FILE).tolist() == expected


def test_a_file_of_black_and_one_other(tmp_path: Path) -> None:
    drawn = np.array([[True, False, False], [True, True, False]])
    for name, image in {
        "bits": Image.fromarray(drawn),
        "gray": Image.fromarray(drawn.astype(np.uint8) * 7),
        "rgb": Image.fromarray(np.repeat(drawn[..., None], 3, 2).astype(np.uint8) * 255),
        "deep": Image.fromarray(drawn.astype(np.uint16) * 60000),
    }.items():
        image.save(tmp_path / f"{name}.png")
        assert np.array_equal(binary_mask(tmp_path / f"{name}.png"), drawn), name
    for colors in ([0, 0, 0, 255, 255, 255], [0, 0, 0, 200, 10, 0]):
        image = Image.fromarray(drawn.astype(np.uint8), mode="P")
        image.putpalette(colors)
        image.save(tmp_path / "palette.png")
        assert np.array_equal(binary_mask(tmp_path / "palette.png"), drawn)


def test_webp_is_taken_only_without_loss(tmp_path: Path) -> None:
    image = Image.fromarray(np.repeat(labels(0)[..., None] % 4 * 60, 3, axis=2))
    image.save(tmp_path / "exact.webp", lossless=True)
    image.save(tmp_path / "lossy.webp", quality=90)
    assert read_mask(tmp_path / "exact.webp") == (tmp_path / "exact.webp").read_bytes()
    with pytest.raises(DataError, match=r"lossy.webp: is a lossy WebP file, which does not keep labels as they were; export"):
        read_mask(tmp_path / "lossy.webp")


def test_a_tiff_of_several_pages_is_no_mask(tmp_path: Path) -> None:
    pages = np.zeros((3, 4, 5), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack")
    with pytest.raises(DataError, match=r"a.tif: has 3 pages, expected one; save each page as a file of its own"):
        read_mask(tmp_path / "a.tif")
    buffer = BytesIO()
    tifffile.imwrite(buffer, pages[0], compression="zlib")
    (tmp_path / "b.tif").write_bytes(buffer.getvalue())
    assert read_mask(tmp_path / "b.tif") == buffer.getvalue()
    (tmp_path / "c.tif").write_bytes(buffer.getvalue()[:30])
    with pytest.raises(DataError, match=r"c.tif: is not a readable image"):
        read_mask(tmp_path / "c.tif")


def test_a_jpeg_by_another_name_is_no_mask(tmp_path: Path) -> None:
    write(tmp_path / "a.png", labels(0))
    (tmp_path / "a.png").write_bytes(encoded(labels(0), ".jpg"))
    with pytest.raises(DataError, match=r"a.png: is a JPEG file"):
        read_mask(tmp_path / "a.png")
