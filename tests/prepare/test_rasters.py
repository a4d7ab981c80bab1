"""Rasters that are read by windows: tiles of a large image and of its labels, without the whole."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio.shutil
import rasterio.windows
import tifffile
from tiny import CLASSES, folders, labels, picture, prepare_tiny, read_back, refusal, split

from seg.core.errors import DataError
from seg.data.sample import Sample
from seg.data.store import ManifestEntry, read_annotations, read_entries, read_sample
from seg.prepare import pieces
from seg.prepare.assignment import Assignment
from seg.prepare.corrections import Corrected
from seg.prepare.pieces import FewImages
from seg.raw.record import Source
from seg.sources.id_maps import IdMaps
from seg.sources.images import ImageReader
from seg.sources.settings import Split

SIZE = (100, 150)
GRID = [(y, x) for y in (0, 33, 66) for x in (0, 37, 75, 112)]  # tiles of at most 40 pixels a side
SPLITS = ("train", "val", "test")
COLORS = np.random.default_rng(3).integers(0, 65536, (3, 256)).astype(np.uint16)

Writing = Callable[[Path, np.ndarray], None]


def tiff(**given: Any) -> Writing:
    return lambda path, array: tifffile.imwrite(path, array, photometric="rgb" if array.ndim == 3 else "minisblack", **given)


def planes(path: Path, array: np.ndarray) -> None:
    stacked = array.transpose(2, 0, 1) if array.ndim == 3 else array
    tifffile.imwrite(path, stacked, planarconfig="separate" if array.ndim == 3 else None, tile=(16, 32), compression="zlib")


def cog(path: Path, array: np.ndarray) -> None:
    bands = np.atleast_3d(array).transpose(2, 0, 1)
    shape = {"count": len(bands), "height": bands.shape[1], "width": bands.shape[2]}
    with rasterio.open(path, "w", driver="COG", dtype="uint8", compress="DEFLATE", blocksize=128, **shape) as file:
        file.write(bands)


KINDS: dict[str, Writing] = {
    "tiled": tiff(tile=(16, 32)),
    "tiled, compressed": tiff(tile=(32, 16), compression="zlib"),
    "BigTIFF": tiff(tile=(32, 16), compression="zlib", bigtiff=True),
    "contiguous": tiff(),
    "big-endian": tiff(byteorder=">"),
    "strips": tiff(rowsperstrip=7, compression="zlib"),
    "planes": planes,
    "COG": cog,
}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "TILE", 40)
    monkeypatch.setattr(pieces, "LARGE", SIZE[0] * SIZE[1] - 1)


def rasters(root: Path, count: int, image: Writing = KINDS["tiled, compressed"], mask: Writing | None = None) -> Path:
    """Images and index masks; picture and labels number i have the seed i."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        image(root / f"images/scene{seed}.tif", picture(seed, SIZE))
        (mask or image)(root / f"masks/scene{seed}.tif", labels(seed, SIZE))
    return root


def prepared(source: Source, out: Path, section: Split | None = None) -> dict[str, dict[str, tuple[ManifestEntry, Sample]]]:
    """{split: {image_id: its row and sample}}."""
    info = prepare_tiny(FewImages(source, Assignment(section or split(), None)), out, section, out.parent / "raw")
    found = {}
    for name in SPLITS:
        annotations = read_annotations(out / name)
        rows = [(e, read_sample(out / name, e, info.channels, annotations.get(e.file, ()))) for e in read_entries(out / name)]
        found[name] = {entry.image_id: (entry, sample) for entry, sample in rows}
    return found


def assert_tile(sample: Sample, image: np.ndarray, mask: np.ndarray, top: int, left: int) -> None:
    rows, columns = slice(top, top + sample.size[0]), slice(left, left + sample.size[1])
    assert np.array_equal(sample.image, image[rows, columns])
    assert np.array_equal(sample.semantic, mask[rows, columns])


@pytest.mark.parametrize("kind", KINDS)
def test_tiles_are_the_windows_of_a_raster(kind: str, tmp_path: Path) -> None:
    """All of one raster in one split, and each stored as a tile of `prepare` is."""
    found = prepared(folders(rasters(tmp_path / "raw", 4, KINDS[kind])), tmp_path / "out")
    homes = {}
    for name, members in found.items():
        for image_id, (entry, sample) in members.items():
            scene, y, x = image_id.split("_")
            seed, top, left = int(scene[5:]), int(y[1:]), int(x[1:])
            assert_tile(sample, picture(seed, SIZE), labels(seed, SIZE), top, left)
            assert entry.columns == {"cut_from": scene}
            homes.setdefault(scene, set()).add(name)
    assert [len(homes[f"scene{n}"]) for n in range(4)] == [1] * 4
    names = sorted(image_id for members in found.values() for image_id in members)
    assert names == sorted(f"scene{n}_y{y}_x{x}" for n in range(4) for y, x in GRID)


def test_no_more_of_a_file_is_decoded_than_the_tiles_of_a_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from seg.data.windows import read_window

    tiff(tile=(16, 16), compression="zlib")(tmp_path / "a.tif", picture(0, SIZE))
    decoded: list[int] = []
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        kind = type(file.pages.first.keyframe)
    decode = kind.decode.func  # type: ignore[attr-defined]
    monkeypatch.setattr(kind, "decode", property(lambda page: lambda *a, **k: decoded.append(a[1]) or decode(page)(*a, **k)))
    pixels = read_window(tmp_path / "a.tif", (slice(20, 40), slice(40, 60))).pixels
    assert np.array_equal(pixels, picture(0, SIZE)[20:40, 40:60])
    assert decoded == [12, 13, 22, 23]  # of 10 in a row


def test_tiles_that_are_read_by_windows_are_those_that_are_cut_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of train and val; names, files, rows and statistics. Lists and tables name the image."""
    raw = rasters(tmp_path / "raw", 4)
    for name, members in {"train": "0 1", "val": "2", "test": "3"}.items():
        (raw / f"{name}.txt").write_text("\n".join(f"scene{n}" for n in members.split()))
    (raw / "table.csv").write_text("id,scanner\n" + "\n".join(f"scene{n},{'ab'[n % 2]}" for n in range(4)))
    table = {"file": "table.csv", "id": "id"}
    section = split("lists", lists={name: f"{name}.txt" for name in SPLITS}, table=table, stratify="scanner")
    found = prepared(folders(raw, section), tmp_path / "out", section)
    assert [len(found[name]) for name in SPLITS] == [2 * len(GRID), len(GRID), len(GRID)]
    assert found["test"]["scene3_y0_x37"][0].columns == {"scanner": "b", "cut_from": "scene3"}
    monkeypatch.setattr(pieces.FewImages, "tiles", lambda self, item: [item])
    prepared(folders(raw, section), tmp_path / "whole", section)
    for name in ("train", "val"):
        ours, theirs = (tmp_path / kind / name for kind in ("out", "whole"))
        files = sorted(p.relative_to(ours).as_posix() for p in ours.rglob("*") if p.is_file())
        assert files == sorted(p.relative_to(theirs).as_posix() for p in theirs.rglob("*") if p.is_file())
        for file in files:
            assert (ours / file).read_bytes() == (theirs / file).read_bytes(), file


def colored(path: Path, array: np.ndarray) -> None:
    palette = np.array([c.color for c in CLASSES] + [(1, 1, 1)], np.uint8)
    tiff(tile=(16, 16), compression="zlib")(path, palette[np.minimum(array, len(CLASSES))])


def indexed(path: Path, array: np.ndarray) -> None:
    tifffile.imwrite(path, array, photometric="palette", colormap=COLORS, tile=(16, 16), compression="zlib")


def bits(path: Path, array: np.ndarray) -> None:
    tifffile.imwrite(path, (array > 0) & (array < 255), tile=(16, 16), compression="zlib")


def gdal_nodata(path: Path, array: np.ndarray) -> None:
    tifffile.imwrite(path, np.where(array == 255, 9, array), extratags=[(42113, "s", 0, "9", True)], tile=(16, 16), compression="zlib")


MASKS: dict[str, tuple[Writing, dict[str, Any]]] = {
    "color": (colored, {"labels": "color", "ignore": [[1, 1, 1]]}),
    "palette": (indexed, {"labels": "palette"}),
    "gray as palette": (tiff(tile=(16, 16)), {"labels": "palette"}),
    "one bit": (bits, {}),
    "threshold": (tiff(rowsperstrip=9), {"threshold": 200, "others": "ignore"}),
    "nodata": (gdal_nodata, {}),
    "joined": (tiff(tile=(16, 16)), {"join": True}),
}


@pytest.mark.parametrize("kind", MASKS)
def test_labels_of_a_window_are_those_of_the_whole(kind: str, tmp_path: Path) -> None:
    writing, settings = MASKS[kind]
    raw = rasters(tmp_path / "raw", 3, mask=writing)
    if kind == "joined":
        tiff(tile=(16, 16))(raw / "masks/scene0_1.tif", np.eye(*SIZE, dtype=np.uint8))
        tiff(tile=(16, 16))(raw / "masks/scene0.tif", np.zeros(SIZE, np.uint8))
    source = folders(raw, **settings)
    if kind == "threshold":
        source.classes = source.pixel_classes.class_map.classes = CLASSES
    wrapped = FewImages(source, Assignment(split(), None))
    for item in wrapped.items():
        whole, tiles = source.read(item).sample, wrapped.tiles(item)
        assert len(tiles) == len(GRID)
        for tile in tiles:
            assert tile.window is not None
            assert np.array_equal(wrapped.read(tile).sample.semantic, whole.semantic[tile.window])
        assert len(np.unique(whole.semantic)) > 1


def test_a_palette_is_refused_as_of_the_whole(tmp_path: Path) -> None:
    def gray(path: Path, array: np.ndarray) -> None:
        tifffile.imwrite(path, array, photometric="palette", colormap=np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1)), tile=(16, 16))

    raw = rasters(tmp_path / "raw", 3, mask=gray)
    wrapped = FewImages(folders(raw), Assignment(split(), None))
    item = wrapped.items()[0]
    said = []
    for one in (item, wrapped.tiles(item)[3]):
        with pytest.raises(DataError) as error:
            wrapped.read(one)
        said.append(str(error.value))
    assert said[0] == said[1]
    assert "is a colour or palette image" in said[0]


def test_objects_of_id_maps_are_cut(tmp_path: Path) -> None:
    raw = rasters(tmp_path / "raw", 3)
    ids = np.zeros(SIZE, np.uint16)
    ids[10:60, 20:90], ids[70:80, 5:9] = 300, 7
    for n in range(3):
        tiff(tile=(16, 16))(raw / f"masks/scene{n}.tif", ids)
    (raw / "classes.csv").write_text("image,id,class\n" + "".join(f"scene{n},300,house\nscene{n},7,tree\n" for n in range(3)))
    given: dict[str, Any] = {"category": None, "categories": "classes.csv", "ignore": [], "drop": [], "others": "refuse", "ids": "index"}
    given |= {"images": "images", "masks": "masks", "image_suffix": "", "mask_suffix": "", "skip_unlabelled": False}
    source = IdMaps(**given, root=str(raw), classes=CLASSES, reader=ImageReader(3), split=split())
    wrapped = FewImages(source, Assignment(split(), None))
    item = wrapped.items()[1]
    for tile in wrapped.tiles(item):
        record, inside = wrapped.read(tile), ids[tile.window]
        assert not record.findings
        assert np.array_equal(record.sample.instances.max(axis=2, initial=0) > 0, inside > 0)
        assert record.sample.categories.tolist() == [{7: 2, 300: 1}[i] for i in np.unique(inside) if i]


def test_what_is_not_read_by_windows_stays_whole(tmp_path: Path) -> None:
    """PNG beside TIFF, an Orientation tag, one large strip, values that are stretched by those of the image; and a raster that is small."""
    sound = rasters(tmp_path / "sound", 3)

    def tiles(raw: Path, **changed: object) -> int:
        wrapped = FewImages(folders(raw, **changed), Assignment(split(), None))
        return len(wrapped.tiles(wrapped.items()[0]))

    assert tiles(sound) == len(GRID)
    assert tiles(sound, reader=ImageReader(3, "image")) == 1
    assert tiles(sound, reader=ImageReader(3, (0, 100))) == len(GRID)
    with tifffile.TiffFile(sound / "masks/scene0.tif") as file:
        mask = file.asarray()
    tiff(tile=(16, 16), extratags=[(274, "H", 1, 3, True)])(sound / "masks/scene0.tif", mask)
    assert tiles(sound) == 1
    (sound / "masks/scene0.tif").unlink()
    (sound / "masks/scene0.png").write_bytes(cv2_png(mask))
    assert tiles(sound) == 1


def cv2_png(array: np.ndarray) -> bytes:
    import cv2

    return cv2.imencode(".png", array)[1].tobytes()


def test_a_large_strip_is_not_decoded_for_each_tile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from seg.data import windows

    tiff(rowsperstrip=50, compression="zlib")(tmp_path / "a.tif", picture(0, SIZE))
    assert windows.window_size(tmp_path / "a.tif") == SIZE
    assert windows.window_size(tmp_path / "a.tif", SIZE[0] * SIZE[1]) is None
    monkeypatch.setattr(windows, "AT_ONCE", 50 * SIZE[1] - 1)
    assert windows.window_size(tmp_path / "a.tif") is None


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_rasters_are_pieces_of_tiles(count: int, tmp_path: Path) -> None:
    """Six contiguous pieces, each in one split; the tiles of all are the rasters again."""
    found = prepared(folders(rasters(tmp_path / "raw", count)), tmp_path / "out", split(ratios={"train": 0.7, "val": 0.15, "test": 0.15}))
    homes: dict[str, set[str]] = {}
    shown = np.zeros((count, *SIZE), int)
    for name, members in found.items():
        for image_id, (entry, sample) in members.items():
            homes.setdefault(entry.columns["cut_from"], set()).add(name)
            scene, number = int(image_id[5]), int(entry.columns["cut_from"][-1]) - 1
            rows, columns = (2, 3) if count == 1 else (1, 3)
            top, left = SIZE[0] * (number // columns) // rows, SIZE[1] * (number % columns) // columns
            y, x = (int(part[1:]) for part in image_id.split("_")[2:])
            assert_tile(sample, picture(scene, SIZE), labels(scene, SIZE), top + y, left + x)
            assert max(sample.size) <= 40
            shown[scene, top + y : top + y + sample.size[0], left + x : left + x + sample.size[1]] += 1
    assert sorted(homes) == [f"scene{n}_part{k + 1}" for n in range(count) for k in range(6 // count)]
    assert all(len(names) == 1 for names in homes.values())
    assert (shown == 1).all()


def test_blocks_divide_a_raster_into_bands(tmp_path: Path) -> None:
    """The upper tiles are train, the lower ones test; of groups each stays in one split."""
    source, section = folders(rasters(tmp_path / "raw", 1)), split("blocks")
    found = prepared(source, tmp_path / "out", section)
    assert [len(found[name]) for name in SPLITS] == [6, 3, 3]
    tops = {name: [int(image_id.split("_y")[1].split("_")[0]) for image_id in members] for name, members in found.items()}
    assert max(tops["train"]) <= min(tops["val"]) <= min(tops["test"])
    rasters(tmp_path / "raw", 4)
    section = split("blocks", group="^(scene.)$")
    found = prepared(folders(tmp_path / "raw", section), tmp_path / "groups", section)
    assert [{e.columns["cut_from"] for e, _ in found[name].values()} for name in SPLITS] == [{"scene0", "scene1"}, {"scene2"}, {"scene3"}]


def test_a_mask_of_another_size_is_one_error(tmp_path: Path) -> None:
    raw = rasters(tmp_path / "raw", 4)
    tiff(tile=(16, 16))(raw / "masks/scene2.tif", labels(2, (100, 149)))
    said = refusal(lambda: FewImages(folders(raw), Assignment(split(), None)), tmp_path / "out" / "x")
    assert said == (f"{raw}/masks/scene2.tif: is 149x100 pixels, but its image {raw}/images/scene2.tif is 150x100; give both the same size")


def test_empty_tiles_are_no_findings(tmp_path: Path) -> None:
    """Rasters have much water, and what no one labelled."""
    raw = rasters(tmp_path / "raw", 4)
    for n in range(4):
        image, mask = picture(n, SIZE), labels(n, SIZE)
        image[:70], mask[:70] = 5, 255
        tiff(tile=(16, 16))(raw / f"images/scene{n}.tif", image)
        tiff(tile=(16, 16))(raw / f"masks/scene{n}.tif", mask)
    from seg.prepare.run import prepare

    source = FewImages(folders(raw), Assignment(split(), None))
    _, findings = prepare(source, "tiny", CLASSES, Assignment(split(), None), None, tmp_path / "out", 0, "none")
    assert {f.kind for f in findings} <= {"class-imbalance", "absent-class", "rare-class"}


LARGE_ONE = """
import sys
from pathlib import Path
from tiny import CLASSES, folders, split
from seg.prepare.assignment import Assignment
from seg.prepare.pieces import FewImages
from seg.prepare.run import prepare

def megabytes(name):  # ru_maxrss would begin with that of the process that started this one
    return next(int(line.split()[1]) >> 10 for line in open("/proc/self/status") if line.startswith(name))

import seg.data.tiff_rows
before, how = megabytes("VmRSS"), Assignment(split(), None)
prepare(FewImages(folders(Path(sys.argv[1])), how), "large", CLASSES, how, None, Path(sys.argv[2]), 0, "none")
print(megabytes("VmHWM") - before)
"""


def drawn(top: int, bottom: int, left: int, right: int) -> tuple[np.ndarray, np.ndarray]:
    """A window of an endless raster and of its labels."""
    y, x = np.ogrid[top:bottom, left:right]
    image = np.stack([(x ^ y) & 255, (x * y >> 7) & 255, (x + 3 * y) & 255], axis=2).astype(np.uint8)
    return image, ((x // 700 + y // 900) % 4).astype(np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tiles", "COG", "strips"])
def test_a_raster_is_prepared_in_bounded_memory(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """12,000 x 12,000 pixels, 432 MB and 144 MB of labels, of which the main process reads all tiles."""
    side, step = 12_000, 512
    monkeypatch.undo()
    layout = (
        {"blockysize": 16, "compress": "DEFLATE", "zlevel": 1}
        if kind == "strips"
        else {"tiled": True, "blockxsize": 512, "blockysize": 512}
    )
    for place, part in (("images", 0), ("masks", 1)):
        (path := tmp_path / "raw" / place / "large.tif").parent.mkdir(parents=True)
        written = tmp_path / "plain.tif" if kind == "COG" else path
        profile = {"driver": "GTiff", "height": side, "width": side, "count": 3 - 2 * part, "dtype": "uint8", **layout}
        with rasterio.open(written, "w", **profile) as file:
            for top in range(0, side, step):
                band = np.atleast_3d(drawn(top, min(side, top + step), 0, side)[part]).transpose(2, 0, 1)
                file.write(band, window=rasterio.windows.Window(0, top, side, band.shape[1]))
        if kind == "COG":
            rasterio.shutil.copy(written, path, driver="COG", compress="DEFLATE", level=1)
    here = Path(__file__).parents[1]
    script = tmp_path / "run.py"
    script.write_text(LARGE_ONE)
    command, env = [sys.executable, script, tmp_path / "raw", tmp_path / "out"], {"PYTHONPATH": f"{here}:{here.parent}", "PATH": ""}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    print(f"{kind}: {done.stdout.strip()} MB above the start")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) < 700
    count = 0
    for name in SPLITS:
        for entry in read_entries(tmp_path / "out" / name):
            number = int(entry.columns["cut_from"][-1]) - 1
            y, x = (int(part[1:]) for part in entry.image_id.split("_")[2:])
            top, left = side * (number // 3) // 2 + y, side * (number % 3) // 3 + x
            image, mask = drawn(top, top + entry.height, left, left + entry.width)
            sample = read_sample(tmp_path / "out" / name, entry, 3)
            assert np.array_equal(sample.image, image)
            assert np.array_equal(sample.semantic, mask)
            count += entry.height * entry.width
    assert count == side**2


def test_the_same_raster_in_two_splits_is_an_error(tmp_path: Path) -> None:
    """Of tiles that differ from each other somewhere; those of one value are the same everywhere."""
    raw = rasters(tmp_path / "raw", 4)
    (raw / "images/scene3.tif").write_bytes((raw / "images/scene0.tif").read_bytes())
    for name, members in {"train": "0 1", "val": "2", "test": "3"}.items():
        (raw / f"{name}.txt").write_text("\n".join(f"scene{n}" for n in members.split()))
    section = split("lists", lists={name: f"{name}.txt" for name in SPLITS})
    said = refusal(lambda: FewImages(folders(raw, section), Assignment(section, None)), tmp_path / "out" / "x", section, raw)
    assert "is the same picture as train/scene0_y0_x0.png" in said
    assert "12 errors (same-picture 12)" in said


def test_labels_of_a_tile_or_of_the_whole_raster_are_corrected(tmp_path: Path) -> None:
    """A raster that is corrected as a whole is read whole."""
    raw, folder = rasters(tmp_path / "raw", 4), tmp_path / "corrections"
    folder.mkdir()
    for name, size in (("scene1_y33_x75", (33, 37)), ("scene2", SIZE)):
        shape = {"label": "tree", "points": [[0, 0], [10, 20]], "shape_type": "rectangle"}
        content = {"shapes": [shape], "imageHeight": size[0], "imageWidth": size[1]}
        (folder / f"{name}.json").write_text(json.dumps(content))
    source = Corrected(folders(raw), Assignment(split(), None), CLASSES, folder)
    prepare_tiny(source, tmp_path / "out")
    found = read_back(tmp_path / "out")
    corrected = {e.image_id for name in SPLITS for e in read_entries(tmp_path / "out" / name) if e.columns["corrected"] == "yes"}
    assert {name for name in corrected if not name.startswith("scene2")} == {"scene1_y33_x75"}
    assert {name.split("_")[0] for name in corrected} == {"scene1", "scene2"}
    tile = found["scene1_y33_x75"]
    assert np.array_equal(tile.image, picture(1, SIZE)[33:66, 75:112])
    assert (tile.semantic == 2).sum() == 200
    assert (tile.semantic == 255).sum() == 33 * 37 - 200
    assert np.array_equal(found["scene1_y33_x37"].semantic, labels(1, SIZE)[33:66, 37:75])
