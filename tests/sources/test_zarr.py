"""Zarr and OME-Zarr: folders that are images, whole or by windows; what they may not be."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numcodecs import pickles
from tiny import folders, labels, picture, prepare_tiny, read_all, read_back, split, write_folders

from seg.core.errors import DataError, InputError
from seg.data.store import read_entries
from seg.data.windows import read_window, window_size
from seg.prepare import pieces
from seg.prepare.assignment import Assignment
from seg.prepare.pieces import FewImages

SIZE = (60, 90)
IMAGE, MASK = picture(0, SIZE), labels(0, SIZE)
WINDOW = (slice(7, 40), slice(20, 88))


def array(path: Path, values: np.ndarray, version: int = 3, **given: Any) -> Path:
    made = zarr.create_array(path, shape=values.shape, chunks=(20,) * values.ndim, dtype=values.dtype, zarr_format=version, **given)
    made[...] = values
    return path


def pyramid(path: Path, values: np.ndarray, axes: Any, version: int) -> Path:
    """OME-Zarr 0.5 in Zarr 3, or 0.4 in Zarr 2, of two levels."""
    group = zarr.open_group(path, mode="w", zarr_format=version)
    said = {"version": "0.4" if version == 2 else "0.5", "datasets": [{"path": "full"}, {"path": "half"}]}
    said |= {} if axes is None else {"axes": axes}
    group.attrs.update({"multiscales": [said]} if version == 2 else {"ome": {"version": "0.5", "multiscales": [said]}})
    for name, level in (("full", values), ("half", values[..., ::2, ::2])):
        group.create_array(name, shape=level.shape, chunks=(16,) * level.ndim, dtype=level.dtype)[...] = level
    return path


def named(axes: str) -> list[dict[str, str]]:
    return [{"name": axis} for axis in axes]


@pytest.mark.parametrize("version", [2, 3])
def test_arrays_and_windows_of_them(version: int, tmp_path: Path) -> None:
    for values in (IMAGE, MASK, IMAGE.astype(np.uint16) * 200, MASK > 0):
        path = array(tmp_path / f"{values.dtype}{values.ndim}.zarr", values, version)
        assert window_size(path) == SIZE
        assert window_size(path, SIZE[0] * SIZE[1]) is None
        wanted = np.atleast_3d(values * np.uint8(255) if values.dtype == bool else values)
        assert np.array_equal(read_window(path, (slice(None), slice(None))).pixels, wanted)
        assert np.array_equal(read_window(path, WINDOW).pixels, wanted[WINDOW])


def test_names_of_dimensions_say_where_channels_are(tmp_path: Path) -> None:
    path = array(tmp_path / "a.zarr", IMAGE.transpose(2, 0, 1), dimension_names=("c", "y", "x"))
    assert np.array_equal(read_window(path, WINDOW).pixels, IMAGE[WINDOW])
    path = array(tmp_path / "b.zarr", IMAGE.transpose(2, 0, 1), 2)
    assert window_size(path) == (3, SIZE[0]), "without names height is the first"


@pytest.mark.parametrize("version", [2, 3])
def test_of_a_pyramid_the_finest_level_is_read_with_its_axes(version: int, tmp_path: Path) -> None:
    planes = IMAGE.transpose(2, 0, 1)
    given: list[tuple[np.ndarray, Any]] = [
        (planes, named("cyx")),
        (planes[None, :, None], named("tczyx")),
        (planes[None, :, None], None),  # 0.1
        (planes[:, None], ["c", "z", "y", "x"]),  # 0.3
    ]
    for number, (values, axes) in enumerate(given):
        path = pyramid(tmp_path / f"{number}.ome.zarr", values, axes, version)
        assert window_size(path) == SIZE
        assert np.array_equal(read_window(path, WINDOW).pixels, IMAGE[WINDOW])


def test_a_data_set_of_zarr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small ones are whole, large ones tiles; masks are Zarr, PNG or TIFF; what lies in the folder of an array is no image of its own."""
    raw = write_folders(tmp_path / "raw", ["a", "b"])
    for name, seed in (("scene1", 0), ("scene2", 1), ("scene3", 2)):
        pyramid(raw / f"images/{name}.zarr", picture(seed, SIZE).transpose(2, 0, 1), named("cyx"), 3)
        array(raw / f"masks/{name}.zarr", labels(seed, SIZE))
    (raw / "images/scene1.zarr/thumbnail.png").write_bytes(b"no image")
    whole = read_all(folders(raw))
    assert list(whole) == ["a", "b", "scene1", "scene2", "scene3"]
    assert np.array_equal(whole["scene2"].image, picture(1, SIZE))
    assert np.array_equal(whole["scene2"].semantic, labels(1, SIZE))
    monkeypatch.setattr(pieces, "TILE", 40)
    monkeypatch.setattr(pieces, "LARGE", SIZE[0] * SIZE[1] - 1)
    prepare_tiny(FewImages(folders(raw), Assignment(split(), None)), tmp_path / "out")
    found = read_back(tmp_path / "out")
    grid = [(y, x) for y in (0, 30) for x in (0, 30, 60)]
    assert sorted(found) == sorted(["a", "b", *(f"scene{n}_y{y}_x{x}" for n in (1, 2, 3) for y, x in grid)])
    for y, x in grid:
        tile = found[f"scene3_y{y}_x{x}"]
        assert np.array_equal(tile.image, picture(2, SIZE)[y : y + 30, x : x + 30])
        assert np.array_equal(tile.semantic, labels(2, SIZE)[y : y + 30, x : x + 30])
    homes = [
        name for name in ("train", "val", "test") for e in read_entries(tmp_path / "out" / name) if e.columns.get("cut_from") == "scene1"
    ]
    assert len(homes) == 6
    assert len(set(homes)) == 1


def said(path: Path) -> str:
    with pytest.raises(InputError) as error:
        read_window(path, WINDOW)
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text


def test_what_is_no_image_is_one_error(tmp_path: Path) -> None:
    volume = pyramid(tmp_path / "volume.zarr", np.zeros((4, *SIZE), np.uint8), named("zyx"), 3)
    what = "is an array (4, 60, 90) of the axes z, y, x, expected height (y), width (x) and perhaps channels (c)"
    assert said(volume) == f"{volume}: {what}; save each image as an array of its own"
    assert "of the axes y, x, c, ?" in said(array(tmp_path / "four.zarr", np.zeros((2, 2, 2, 2), np.uint8)))
    assert "is an array (9,) of the axes y" in said(array(tmp_path / "line.zarr", np.zeros(9, np.uint8)))
    assert "holds 4 values of complex64, expected numbers" in said(array(tmp_path / "complex.zarr", np.zeros((2, 2), np.complex64)))
    zarr.open_group(tmp_path / "group.zarr", mode="w")
    assert "is a Zarr group without OME metadata" in said(tmp_path / "group.zarr")
    (tmp_path / "folder.zarr").mkdir()
    assert "is no readable Zarr array" in said(tmp_path / "folder.zarr")
    broken = array(tmp_path / "broken.zarr", IMAGE)
    (broken / "c/0/1/0").write_bytes(b"no chunk")
    assert "a chunk is unreadable" in said(broken)


@pytest.mark.parametrize("place", ["filters", "compressor"])
def test_nothing_is_unpickled(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where numcodecs would."""
    monkeypatch.setattr(pickles, "ALLOW_UNSAFE_PICKLE_DECODE", True, raising=False)
    path = array(tmp_path / "a.zarr", MASK, 2)
    content = json.loads((path / ".zarray").read_text())
    content[place] = [{"id": "pickle", "protocol": 4}] if place == "filters" else {"id": "pickle", "protocol": 4}
    (path / ".zarray").write_text(json.dumps(content))
    for chunk in (p for p in path.iterdir() if p.name[0].isdigit()):
        chunk.write_bytes(b"cos\nmkdir\n(S'" + str(tmp_path / "made").encode() + b"'\ntR.")  # a pickle that makes a folder
    said(path)
    assert not (tmp_path / "made").exists()


def test_without_the_package_there_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = array(tmp_path / "a.zarr", MASK)
    monkeypatch.setitem(sys.modules, "zarr", None)
    assert said(path) == f"{path}: the package zarr is missing, which reads Zarr; pip install 'zarr>=3.1'"


def test_a_damaged_mask_is_one_error_of_the_data_set(tmp_path: Path) -> None:
    raw = write_folders(tmp_path / "raw", ["a", "b", "c"])
    (raw / "masks/c.png").unlink()
    (raw / "masks/c.zarr").mkdir()
    with pytest.raises(DataError, match=r"masks/c.zarr: is no readable Zarr array"):
        prepare_tiny(FewImages(folders(raw), Assignment(split(), None)), tmp_path / "out")
