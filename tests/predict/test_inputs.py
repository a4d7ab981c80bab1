"""What people name to be predicted, and the names that outputs get."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from seg.core.errors import DataError, UsageError
from seg.predict import inputs
from seg.predict.inputs import Input, images_of


def draw(path: Path, seed: int = 0, size: tuple[int, int] = (12, 16)) -> np.ndarray:
    """An image file, and its pixels as RGB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    cv2.imwrite(str(path), pixels[..., ::-1])
    return pixels


def inputs_of(named: list[str], out: Path = Path("elsewhere")) -> list[Input]:
    return inputs.inputs_of(named, out)


def film(path: Path, frames: int) -> None:
    """A video of flat frames, each brighter by 20."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for frame in range(frames):
        writer.write(np.full((48, 64, 3), 20 * frame, np.uint8))
    writer.release()


def test_folders_keep_their_structure_and_patterns_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/s10.png", "a/s2.jpg", "b/c/s1.png", ".hidden.png", "notes.txt"):
        draw(tmp_path / "scans" / name) if name.endswith(("png", "jpg")) else (tmp_path / "scans" / name).write_text("")
    assert [i.name for i in inputs_of([str(tmp_path / "scans")])] == ["a/s2", "a/s10", "b/c/s1"]
    assert [i.name for i in inputs_of([str(tmp_path / "scans/**/*.png")])] == ["a/s10", "b/c/s1"]
    assert [i.name for i in inputs_of([str(tmp_path / "scans/*/s*")])] == ["a/s2", "a/s10"]
    assert [i.name for i in inputs_of([str(tmp_path / "scans/b/c/s1.png"), str(tmp_path / "scans/a")])] == ["s1", "s2", "s10"]
    monkeypatch.chdir(tmp_path / "scans")
    assert [i.name for i in inputs_of(["*/*.png", "b"])] == ["a/s10", "c/s1"]
    draw(tmp_path / "scans/odd[1].png")
    assert [i.name for i in inputs_of(["odd[1].png"])] == ["odd[1]"]  # a file's name comes before what it would match


def test_the_same_image_twice_is_one_and_two_of_one_name_are_refused(tmp_path: Path) -> None:
    draw(tmp_path / "one/s.png")
    draw(tmp_path / "two/s.png")
    assert len(inputs_of([str(tmp_path / "one"), str(tmp_path / "one/s.png")])) == 1
    message = f"^{tmp_path}/two/s.png: its outputs would have the same names, s.*, as those of {tmp_path}/one/s.png; predict them apart$"
    with pytest.raises(DataError, match=message.replace("*", r"\*")):
        inputs_of([str(tmp_path / "one"), str(tmp_path / "two")])


def test_what_names_no_image_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for named, error, words in (
        ([], UsageError, "name images"),
        ([str(tmp_path / "missing.png")], UsageError, "missing.png: there is no such file or folder"),
        ([str(tmp_path / "*.tif")], UsageError, "matches no image"),
        ([str(tmp_path / "empty")], DataError, "empty: holds no images"),
    ):
        with pytest.raises(error, match=words):
            inputs_of(named)


def test_a_folder_that_holds_a_model_is_told_from_one_of_images(tmp_path: Path) -> None:
    (tmp_path / "best.ckpt").write_bytes(b"")
    with pytest.raises(DataError, match=rf"holds no images .*; if the model is meant, name its file, such as {tmp_path}/best.ckpt$"):
        inputs_of([str(tmp_path)])


def test_images_are_read_as_the_model_takes_them_and_bad_ones_are_told(tmp_path: Path) -> None:
    pixels = draw(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    deep = np.arange(12 * 16, dtype=np.uint16).reshape(12, 16) * 100
    cv2.imwrite(str(tmp_path / "c.png"), deep)
    given = inputs_of([str(tmp_path)])
    first, second, third = images_of(given, 3, None)
    np.testing.assert_array_equal(first, pixels)
    assert isinstance(second, DataError)
    assert str(second).startswith(f"{tmp_path}/b.png: ")
    assert isinstance(third, DataError)
    assert "c.png: has uint16 pixels from 0 to 19100, expected 8 bit; the model was trained on images of 8 bit: save the" in str(third)
    *_, third = images_of(given, 3, (0, 25500))
    assert not isinstance(third, DataError)
    np.testing.assert_array_equal(third[..., 0], np.rint(deep / 100))
    gray = next(images_of(given, 1, None))
    assert not isinstance(gray, DataError)
    assert gray.shape == (12, 16, 1)


def test_frames_of_a_video_are_images(tmp_path: Path) -> None:
    film(tmp_path / "run.avi", 5)
    draw(tmp_path / "still.png")
    given = inputs_of([str(tmp_path)])
    assert [i.name for i in given] == ["still", *(f"run/{frame:06d}" for frame in range(5))]
    _, *frames = images_of(given, 3, None)
    assert [round(float(np.mean(frame)) / 20) for frame in frames] == [0, 1, 2, 3, 4]  # type: ignore[arg-type]
    assert all(isinstance(one, np.ndarray) and one.shape == (48, 64, 1) for one in images_of(given[1:], 1, None))
    refused = next(images_of(given[1:], 4, None))
    assert str(refused) == f"{tmp_path}/run.avi: is a video of 3 channels, but the model takes 4"
    (tmp_path / "bad.mp4").write_bytes(os.urandom(100))
    with pytest.raises(DataError, match=r"bad.mp4: is no video that can be read"):
        inputs_of([str(tmp_path / "bad.mp4")])


def test_outputs_of_an_earlier_run_are_no_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "scans/a.png")
    draw(tmp_path / "scans/out/classes/a.png")
    monkeypatch.chdir(tmp_path)
    for out in (tmp_path / "scans/out", Path("scans/out")):
        assert [i.name for i in inputs_of([str(tmp_path / "scans")], out)] == ["a"]
        assert [i.name for i in inputs_of(["scans/**/*.png"], out)] == ["a"]
        with pytest.raises(UsageError, match="holds nothing but outputs"):
            inputs_of(["scans/out"], out)
