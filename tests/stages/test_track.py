"""The command `track` on a drawn video, with a network that finds the objects by their colours."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from moving import moving
from pycocotools import mask as coco
from stub_networks import CLASSES
from torch import Tensor
from untrained import untrained

from seg.core.errors import ConfigError, DataError, UsageError
from seg.data.sample import Prediction
from seg.predict.api import Predictor
from seg.stages import track
from seg.stages.track import Arguments, run
from seg.tiles.network import Facts

FRAMES = moving(30, 4, 3, wall=False)


class Colours:
    """Finds regions that are brighter than the ground; from frame `stop` on the user interrupts."""

    def __init__(self, stop: int | None = None) -> None:
        self.facts, self.count, self.stop = Facts("instance", CLASSES, 3, 1, None), 0, stop

    def logits(self, images: Tensor) -> Tensor:
        raise NotImplementedError

    def predict(self, images: Tensor) -> list[Prediction]:
        if self.count == self.stop:
            raise KeyboardInterrupt
        self.count += 1
        (image,) = images.numpy()
        found, ids, stats, _ = cv2.connectedComponentsWithStats((image.max(axis=0) > 70).astype(np.uint8))
        boxes = [[x, y, x + w, y + h] for x, y, w, h, area in stats[1:] if area > 60]
        kept = [number for number in range(1, found) if stats[number, 4] > 60]
        return [
            Prediction(
                scores=np.full(len(kept), 0.9, np.float32),
                categories=np.full(len(kept), 1, np.int32),
                boxes=np.array(boxes, np.float32).reshape(-1, 4),
                masks=[coco.encode(np.asfortranarray((ids == number).astype(np.uint8))) for number in kept],
            )
        ]


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (200, 200))
    for frame in FRAMES:
        writer.write(frame.image[..., ::-1])
    writer.release()
    return path


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Colours:
    given = Colours()
    monkeypatch.setattr(track, "predictor_of", lambda paths, cfg, threads: Predictor(given, cfg.predict))
    return given


def length(path: Path) -> int:
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.read()[0]:
        count += 1
    return count


def test_tables_a_file_and_a_film(tmp_path: Path, film: Path, network: Colours, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    run(tmp_path, Arguments(tmp_path / "m.ckpt", [str(film)], out=out))
    assert sorted(path.name for path in out.iterdir()) == ["film.json", "film.mp4", "film.txt", "film_objects.csv"]
    rows = [line.split(",") for line in (out / "film.txt").read_text().splitlines()]
    assert {int(row[0]) for row in rows} == set(range(1, 31))
    content = json.loads((out / "film.json").read_text())
    assert [image["frame_id"] for image in content["images"]] == list(range(30))
    assert len(content["annotations"]) == len(rows)
    for row, annotation in zip(rows, content["annotations"], strict=True):
        assert (int(row[0]), int(row[1])) == (annotation["image_id"], annotation["track_id"])
        assert [float(v) for v in row[2:6]] == pytest.approx(annotation["bbox"])
        x, y, width, height = (int(v) for v in coco.toBbox(annotation["segmentation"]))
        assert [x, y, width, height] == [round(v) for v in annotation["bbox"]]
    objects = list(csv.DictReader((out / "film_objects.csv").open()))
    assert sum(int(row["frames"]) for row in objects) == len(rows)
    assert {row["class"] for row in objects} == {"cell"}
    assert 4 <= len(objects) <= 8  # four objects, of which some touch for a while
    assert length(out / "film.mp4") == 30
    assert f"30 frames, {len(objects)} objects (cell {len(objects)}); see {out}" in capsys.readouterr().out


def test_an_interrupted_run_keeps_what_it_has_followed(tmp_path: Path, film: Path, network: Colours) -> None:
    network.stop = 12
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Arguments(tmp_path / "m.ckpt", [str(film)], out=out))
    assert sorted(path.name for path in out.iterdir()) == ["film.json", "film.mp4", "film.txt", "film_objects.csv"]
    assert len(json.loads((out / "film.json").read_text())["images"]) == length(out / "film.mp4") == 12


def test_the_images_of_a_video(tmp_path: Path, network: Colours) -> None:
    for number, frame in enumerate(FRAMES[:4]):
        cv2.imwrite(str(tmp_path / f"{number}.png"), frame.image[..., ::-1])
    run(tmp_path, Arguments(tmp_path / "m.ckpt", [str(tmp_path / "*.png")], out=tmp_path / "out", plain=True))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["images.json", "images.txt", "images_objects.csv"]


def test_mistakes_are_one_line(tmp_path: Path, film: Path, network: Colours) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), FRAMES[0].image)
    cv2.imwrite(str(tmp_path / "1.png"), FRAMES[0].image[:100])
    with pytest.raises(DataError, match=r"1\.png: has 200 x 100 pixels, and the frames before 200 x 200"):
        run(tmp_path, Arguments(tmp_path / "m.ckpt", [str(tmp_path / "*.png")], out=tmp_path / "out"))
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(UsageError, match=r"name one video, or the images of one"):
        run(tmp_path, Arguments(tmp_path / "m.ckpt", [str(film), str(tmp_path / "0.png")], out=tmp_path / "out"))


def test_a_model_of_pixels_has_no_objects(tmp_path: Path, film: Path) -> None:
    untrained(tmp_path / "m.ckpt", "model=unet_small")
    with pytest.raises(ConfigError, match=r"m\.ckpt: says a class of each pixel, and tracking needs objects"):
        run(tmp_path, Arguments(tmp_path / "m.ckpt", [str(film)], out=tmp_path / "out"))


def test_a_model_of_ours_says_how_objects_look(tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The features of its encoder: a vector a box, of boxes alike in an image alike."""
    untrained(tmp_path / "m.ckpt", "task=instance", "model=mask_rcnn_small")
    seen: list[np.ndarray | None] = []
    update = track.Tracker.update

    def watched(self: track.Tracker, boxes: np.ndarray, scores: np.ndarray, categories: np.ndarray, looks: np.ndarray | None) -> np.ndarray:
        assert looks is None or looks.shape[0] == len(boxes)
        seen.append(looks)
        return update(self, boxes, scores, categories, looks)

    monkeypatch.setattr(track.Tracker, "update", watched)
    run(tmp_path, Arguments(tmp_path / "m.ckpt", [str(film)], ["predict.score_threshold=0.05"], tmp_path / "out"))
    assert len(seen) == 30
    assert all(looks is not None and looks.shape[1] >= 64 and np.isfinite(looks).all() for looks in seen)
