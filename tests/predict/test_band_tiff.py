"""Class maps as TIFF: read back by tifffile, georeferenced as rasterio (GDAL) sees it, and never half-written."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from stub_networks import Layers, whole
from torch import nn

from seg.core.errors import DataError
from seg.predict.band_tiff import georeference, write_bands
from seg.predict.file_rows import open_rows
from seg.sources.images import ImageReader
from seg.tiles.grid import ArrayRows, Tiling
from seg.tiles.tiled import joined, predict_bands

CLASSES = np.random.default_rng(0).integers(0, 9, (300, 515)).astype(np.uint8)


def written(path: Path, rows: np.ndarray, step: int, **options: object) -> np.ndarray:
    bands = (rows[top : top + step] for top in range(0, len(rows), step))
    write_bands(path, *rows.shape, rows.dtype.type, bands=bands, **({"tags": []} | options))  # type: ignore[arg-type]
    return tifffile.imread(path)


@pytest.mark.parametrize("step", [1, 37, 256, 300])
@pytest.mark.parametrize("size", [(300, 515), (256, 512), (1, 3)], ids=str)
def test_bands_of_any_height_become_one_image(step: int, size: tuple[int, int], tmp_path: Path) -> None:
    rows = CLASSES[: size[0], : size[1]]
    assert np.array_equal(written(tmp_path / "a.tif", rows, step), rows)
    deep = rows.astype(np.uint16) * 7000
    assert np.array_equal(written(tmp_path / "b.tif", deep, step), deep)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "b.tif"]


def test_the_file_is_tiled_and_compressed_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif"):
        written(tmp_path / name, CLASSES, 100)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        page = file.pages[0]
        assert (page.tile, page.compression.name, page.photometric.name) == ((256, 256), "ADOBE_DEFLATE", "MINISBLACK")  # type: ignore[union-attr]
        assert not file.is_bigtiff


def test_large_images_become_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seg.predict.band_tiff.BIG", CLASSES.size)
    assert np.array_equal(written(tmp_path / "a.tif", CLASSES, 64), CLASSES)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_bigtiff


def failing() -> Iterator[np.ndarray]:
    """Rows of a network that fails after the first."""
    yield CLASSES[:100]
    raise ZeroDivisionError


def test_nothing_is_left_of_what_went_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with pytest.raises(ZeroDivisionError):
        write_bands(path, 300, 515, np.uint8, [], failing())
    with pytest.raises(ValueError, match="100 of 300 rows"):
        write_bands(path, 300, 515, np.uint8, [], iter([CLASSES[:100]]))
    for wrong in ([CLASSES[:100].astype(np.int64)], [CLASSES[:, 1:]], [CLASSES[:290], CLASSES[:11]], [CLASSES, CLASSES[:1]]):
        with pytest.raises(ValueError, match=r"expected rows|more rows were given than the 300"):
            write_bands(path, 300, 515, np.uint8, [], iter(wrong))
    assert not list(tmp_path.iterdir())
    with pytest.raises(DataError, match=r"no/a\.tif: cannot be written \(No such file"):
        written(tmp_path / "no/a.tif", CLASSES, 1)


def test_a_file_that_is_there_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"before")
    with pytest.raises(ZeroDivisionError):
        write_bands(path, 300, 515, np.uint8, [], failing())
    assert path.read_bytes() == b"before"
    assert np.array_equal(written(path, CLASSES, 100), CLASSES)


def test_georeference_is_that_of_the_tags(tmp_path: Path) -> None:
    scale, tie = (33550, "d", 3, (0.5, 0.5, 0.0), True), (33922, "d", 6, (0.0, 0.0, 0.0, 4e5, 5.5e6, 0.0), True)
    keys = (34735, "H", 12, (1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 32632), True)
    tifffile.imwrite(tmp_path / "image.tif", CLASSES, extratags=[scale, tie, keys, (42112, "s", 0, "of the image alone", True)])
    written(tmp_path / "a.tif", CLASSES, 64, tags=georeference(tmp_path / "image.tif"))
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        tags = file.pages[0].tags  # type: ignore[union-attr]
        assert [tags.valueof(code) for code in (33550, 33922, 34735)] == [scale[3], tie[3], keys[3]]
        assert 42112 not in tags
    tifffile.imwrite(tmp_path / "image.tif", CLASSES, extratags=[scale, tie, keys, (274, "H", 1, 6, True)])
    assert georeference(tmp_path / "image.tif") == [], "the rows and columns of an image that is turned are not the file's"
    (tmp_path / "image.png").write_bytes(b"\x89PNG")
    assert georeference(tmp_path / "image.png") == []


UTM, GEOGRAPHIC, OWN = "EPSG:32632", "EPSG:4326", "+proj=laea +lat_0=52 +lon_0=10 +x_0=4321000 +y_0=3210000 +ellps=GRS80 +units=m"
PLACES = {
    "UTM": (UTM, (0.5, 0, 4e5, 0, -0.5, 5.5e6)),
    "rotated": (UTM, (0.5, 0.1, 4e5, 0.1, -0.5, 5.5e6)),
    "degrees": (GEOGRAPHIC, (1e-5, 0, 7, 0, -1e-5, 50)),
    "own projection": (OWN, (2, 0, 0, 0, -2, 9)),
}


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform", "ignore:Use `@` matmul")
@pytest.mark.parametrize(("crs", "transform"), PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("options", [{}, {"tiled": True, "compress": "deflate"}, {"BIGTIFF": "YES", "interleave": "band"}], ids=str)
def test_a_geotiffs_class_map_lies_where_it_does(crs: str, transform: tuple, options: dict, tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio", reason="needs rasterio (pip install rasterio), which reads GeoTIFF as GDAL does")
    image = np.random.default_rng(0).integers(0, 256, (150, 200, 3)).astype(np.uint8)
    profile = {"driver": "GTiff", "height": 150, "width": 200, "count": 3, "dtype": "uint8", "crs": crs}
    with rasterio.open(tmp_path / "image.tif", "w", transform=rasterio.Affine(*transform), **profile, **options) as file:
        file.write(np.moveaxis(image, 2, 0))
    network = Layers(whole(nn.Conv2d(3, 5, 1)))
    tiling = Tiling((64, 64), 0.25, 0.125, 0, "edge")
    with open_rows(tmp_path / "image.tif", ImageReader(3)) as rows:
        bands = (band.classes for band in predict_bands(network, rows, tiling, 4, "logits"))
        write_bands(tmp_path / "a.tif", 150, 200, np.uint8, georeference(tmp_path / "image.tif"), bands)
    wanted = joined(predict_bands(network, ArrayRows(image), tiling, 4, "logits"), 150, 200).semantic
    with rasterio.open(tmp_path / "a.tif") as ours, rasterio.open(tmp_path / "image.tif") as theirs:
        assert ours.crs == theirs.crs
        assert ours.transform == theirs.transform
        assert ours.bounds == theirs.bounds
        assert ours.tags()["AREA_OR_POINT"] == theirs.tags()["AREA_OR_POINT"]
        assert np.array_equal(ours.read(1), wanted)


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_ground_control_points_are_kept(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio", reason="needs rasterio (pip install rasterio), which reads GeoTIFF as GDAL does")
    from rasterio.control import GroundControlPoint

    corners = [(0, 0, 1, 2), (300, 0, 1, 3), (0, 515, 4, 2), (300, 515, 4, 3.5)]
    points = [GroundControlPoint(*corner) for corner in corners]
    with rasterio.open(tmp_path / "image.tif", "w", driver="GTiff", height=300, width=515, count=1, dtype="uint8") as file:
        file.gcps = (points, rasterio.CRS.from_epsg(4326))
        file.write(CLASSES, 1)
    written(tmp_path / "a.tif", CLASSES, 64, tags=georeference(tmp_path / "image.tif"))
    with rasterio.open(tmp_path / "a.tif") as file:
        found, crs = file.gcps
    assert crs.to_epsg() == 4326
    assert [(p.row, p.col, p.x, p.y) for p in found] == corners
