"""The command `next` on checkpoints of models that have learned nothing, and on images drawn from a seed."""

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from annotations import cvat
from tiny import Blobs, picture, prepare_tiny, read_all, tree, write
from untrained import CLASSES, untrained

import seg
from seg.core.errors import DataError, UsageError
from seg.predict.write.writers import id_map
from seg.stages import next as stage
from seg.stages.next import Arguments, Meter, run

SMALL = ("model=unet_small", "model.network.encoder_depth=3", "model.network.decoder_channels=[16,8,8]", "model.stride=8")


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Eight images, of which two are the same and one is a brighter copy."""
    folder = tmp_path / "scans"
    for number in range(8):
        write(folder / f"{number}.png", picture(number, (40, 56)))
    write(folder / "6.png", picture(1, (40, 56)))
    write(folder / "7.png", cv2.add(picture(2, (40, 56)), (9, 9, 9, 0)))
    return folder


def rows(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "next.csv").open()))


def names(out: Path) -> list[str]:
    return [Path(row["image"]).name for row in rows(out)]


def test_a_table_a_page_and_labels(tmp_path: Path, scans: Path, capsys: pytest.CaptureFixture[str]) -> None:
    untrained(tmp_path / "m.ckpt", *SMALL)
    (scans / "broken.png").write_bytes(b"no image")
    out = tmp_path / "out"
    with pytest.raises(DataError, match="1 of 9 images could not be read"):
        run(tmp_path, Arguments([tmp_path / "m.ckpt"], [str(scans)], out=out, count=4))
    said = capsys.readouterr()
    assert "broken.png" in said.err
    assert "4 of 8 images chosen" in said.out
    found = names(out)
    assert len(found) == 4
    assert not {"1.png", "6.png"} <= set(found)
    assert not {"2.png", "7.png"} <= set(found)
    assert rows(out)[0]["distance"] == ""
    assert "and chosen first of all" in rows(out)[0]["why"]
    scores = [float(row["score"]) for row in rows(out)[1:]]
    assert scores == sorted(scores, reverse=True)
    page = (out / "next.html").read_text()
    assert page.count("<img") == 8
    assert "http" not in page.split("</style>")[1]
    model = seg.load(tmp_path / "m.ckpt")
    shutil.copytree(scans, tmp_path / "read/images")
    shutil.copy(out / "labels/cvat.xml", tmp_path / "read/annotations.xml")
    samples = read_all(cvat(tmp_path / "read", classes=CLASSES))
    assert samples.keys() == {Path(name).stem for name in found}
    for name, sample in samples.items():
        np.testing.assert_array_equal(sample.semantic, model.predict(sample.image).semantic)
        content = json.loads((out / f"labels/labelme/{name}.json").read_text())
        assert (out / "labels/labelme" / content["imagePath"]).resolve() == scans / f"{name}.png"
    coco = json.loads((out / "labels/coco.json").read_text())
    assert {image["file_name"] for image in coco["images"]} == set(found)
    assert len({a["category_id"] for a in coco["annotations"]} - {1, 2}) == 0 < len(coco["annotations"])


def test_an_interrupted_run_goes_on_and_gives_the_same(tmp_path: Path, scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(2):
        untrained(tmp_path / f"{number}.ckpt", *SMALL, f"model.network.decoder_channels=[16,8,{8 + number}]")
    models, predicted, stop = [tmp_path / "0.ckpt", tmp_path / "1.ckpt"], list[bytes](), [3]
    answers = Meter._answers

    def counted(self: Meter, images: object) -> object:
        if len(predicted) == stop[0]:
            raise KeyboardInterrupt
        predicted.append(images.numpy().tobytes())  # type: ignore[attr-defined]
        return answers(self, images)  # type: ignore[arg-type]

    monkeypatch.setattr(Meter, "_answers", counted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Arguments(models, [str(scans)], out=tmp_path / "a", count=5))
    assert not (tmp_path / "a/next.csv").exists()
    assert len(list((tmp_path / "a").rglob("*.npz"))) == 3
    stop[0] = 100
    run(tmp_path, Arguments(models, [str(scans)], out=tmp_path / "a", count=5))
    assert len(set(predicted)) == len(predicted) == 7, "two of the eight are the same"
    run(tmp_path, Arguments(models, [str(scans)], out=tmp_path / "b", count=5))
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    with pytest.raises(DataError, match="labels: is there already, and may have been corrected"):
        run(tmp_path, Arguments(models, [str(scans)], out=tmp_path / "a", count=5))


def test_instances_beside_labelled_images(tmp_path: Path, scans: Path) -> None:
    """What is nearly a labelled image is not chosen, and distances are from the training images on."""
    untrained(tmp_path / "m.ckpt", "task=instance", "model=mask_rcnn_small")
    info = prepare_tiny(Blobs(8, (40, 56)), tmp_path / "prepared")  # whose images 0 to 7 are the scans of these numbers
    assert info.channels == 3
    write(scans / "new.png", picture(50, (40, 56)))
    out, quick = tmp_path / "out", ["predict.score_threshold=0.05"]
    run(tmp_path, Arguments([tmp_path / "m.ckpt"], [str(scans)], quick, out, data=tmp_path / "prepared"))
    assert names(out) == ["new.png"]
    assert float(rows(out)[0]["distance"]) > 0
    measured = list((out / "measured").glob("*/labelled/*.npz"))
    assert len(measured) == 8
    model = seg.load(tmp_path / "m.ckpt", score_threshold=0.05)
    coco = json.loads((out / "labels/coco.json").read_text())
    said = model.predict(picture(50, (40, 56)))
    shown = int((said.scores >= 0.05).sum())
    assert len(coco["annotations"]) == shown > 0
    assert id_map(said, 40, 56).any()


def test_mistakes_are_one_line(tmp_path: Path, scans: Path) -> None:
    untrained(tmp_path / "m.ckpt", *SMALL)
    model = [tmp_path / "m.ckpt"]
    with pytest.raises(UsageError, match="--count 0 --coverage 30: expected 1 image or more, and 0 to 100 percent"):
        run(tmp_path, Arguments(model, [str(scans)], count=0))
    with pytest.raises(DataError, match=r"nowhere/dataset\.json: there is no prepared data set"):
        run(tmp_path, Arguments(model, [str(scans)], out=tmp_path / "out", data=tmp_path / "nowhere"))
    for file in scans.iterdir():
        file.write_bytes(b"no image")
    with pytest.raises(DataError, match="none of the images could be read"):
        run(tmp_path, Arguments(model, [str(scans)], out=tmp_path / "out"))
    assert not list(tmp_path.rglob("next.csv"))


def test_tiles_are_measured_together(tmp_path: Path, scans: Path) -> None:
    """The features of an image in tiles are the mean of its tiles' features."""
    untrained(tmp_path / "m.ckpt", *SMALL)
    cfg = stage.PredictSettings.of(stage.read_group(tmp_path, "predict", ["predict.tile=32", "predict.tiling.overlap=0"], "next"))
    meter = Meter([tmp_path / "m.ckpt"], cfg, tmp_path / "measured", "cpu")
    image = np.concatenate([picture(0, (32, 32)), picture(1, (32, 32))], axis=1)
    whole, *parts = (meter._measured(i, True)[1] for i in (image, image[:, :32].copy(), image[:, 32:].copy()))
    assert whole.shape == parts[0].shape
    assert np.linalg.norm(whole) == pytest.approx(1)
    plane = np.linalg.lstsq(np.stack(parts, axis=1), whole, rcond=None)
    assert plane[1].sum() < 1e-9
    assert (plane[0] > 0.1).all()
