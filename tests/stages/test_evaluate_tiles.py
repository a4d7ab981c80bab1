"""An image that was prepared in tiles is one image in an evaluation: figures, intervals and tables are those of the whole."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import torch
from conftest import MakeConfig
from random_instances import batch_of, random_scenes
from stages.test_evaluate import rows_of, untrained
from tiny import folders, labels, picture, prepare_tiny, split

from seg.data.sample import Prediction
from seg.metrics.bootstrap import by_images
from seg.metrics.instance import InstanceMetrics
from seg.prepare import pieces
from seg.prepare.assignment import Assignment
from seg.prepare.pieces import FewImages
from seg.stages import evaluate

SIZES = [(40, 64), (64, 48), (50, 50), (24, 24), (60, 40), (48, 48)]
LISTS = {"train": [0], "val": [5], "test": [1, 2, 3, 4]}


@pytest.fixture(autouse=True)
def _by_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network's answer at a pixel is its own value; tiles have 24 pixels at most, and images of 24 x 24 stay whole."""
    monkeypatch.setattr(pieces, "TILE", 24)

    def predict(images: torch.Tensor) -> list[Prediction]:
        return [Prediction((image[0] // 64).numpy().astype(np.uint8)) for image in images]

    monkeypatch.setattr(evaluate, "in_window", lambda network, _: SimpleNamespace(facts=network.facts, predict=predict))


def prepared(root: Path, large: int, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(pieces, "LARGE", large)
    raw, out = root / "raw", root / f"prepared{large}"
    for name, numbers in LISTS.items():
        for place in ("images", "masks"):
            (raw / name / place).mkdir(parents=True, exist_ok=True)
        for number in numbers:
            tifffile.imwrite(raw / name / f"images/scene{number}.tif", picture(number, SIZES[number]), tile=(16, 16), photometric="rgb")
            tifffile.imwrite(raw / name / f"masks/scene{number}.tif", labels(number, SIZES[number]), tile=(16, 16))
    section = split("folders")
    source = FewImages(folders(raw, section, images="{split}/images", masks="{split}/masks"), Assignment(section, None))
    prepare_tiny(source, out, section)
    return out


def test_figures_of_tiles_are_those_of_the_images(tmp_path: Path, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ["evaluate.num_overlays=1", "evaluate.boundary=null", "evaluate.calibration_bins=null", "evaluate.bootstrap.resamples=40"]
    for large in (24 * 24, 10**6):
        data = prepared(tmp_path, large, monkeypatch)
        evaluate.run(untrained(data, tmp_path, make_config, *settings), tmp_path / f"out{large}")
    tiles, whole = tmp_path / f"out{24 * 24}", tmp_path / f"out{10**6}"
    assert len(list((tiles / "predictions").rglob("*.png"))) > len(list((whole / "predictions").rglob("*.png"))) == 4
    assert json.loads((tiles / "metrics.json").read_text()) == json.loads((whole / "metrics.json").read_text())
    for name in ("per_image.csv", "tables/figures.csv", "tables/per_class.csv", "tables/confusion.csv"):
        assert rows_of(tiles / name) == rows_of(whole / name)
    assert [row["image_id"] for row in rows_of(tiles / "per_image.csv")] == [f"scene{n}" for n in (1, 2, 3, 4)]
    assert rows_of(tiles / "tables/figures.csv")[0]["num_images"] == "4"
    for page in ("model_card.md", "report.html"):
        text = (tiles / page).read_text()
        assert "4 images of the split test" in text.replace("<strong>", "").replace("</strong>", "")


def test_boundaries_are_counted_by_tile_and_summed_by_image(
    tmp_path: Path, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row is of the tiles' counts: that of a data set of this image alone."""
    data = prepared(tmp_path, 24 * 24, monkeypatch)
    config = untrained(data, tmp_path, make_config, "evaluate.num_overlays=0", "evaluate.calibration_bins=null", "evaluate.surface=true")
    evaluate.run(config, tmp_path / "all")
    manifest = data / "test/manifest.csv"
    header, *lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join([header, *(line for line in lines if line.startswith("scene2"))]))
    evaluate.run(config, tmp_path / "one")
    row = next(row for row in rows_of(tmp_path / "all/per_image.csv") if row["image_id"] == "scene2")
    figures = json.loads((tmp_path / "one/metrics.json").read_text())["test"]
    for name in ("miou", "pixel_accuracy", "mean_boundary_iou", "mean_boundary_f", "mean_hd95_px", "mean_assd_px"):
        assert float(row[name]) == pytest.approx(figures[name], abs=1e-6)
    assert figures["num_images"] == 1


def test_instances_of_tiles_count_for_their_image() -> None:
    """An object that three tiles cut is three; each draw has all tiles of an image."""
    scenes = random_scenes(0, 6)
    metrics = InstanceMetrics(["background", "a", "b", "c"], 0.5, 100)
    own = {score.image_id: score.figures for score in metrics.update(*batch_of(scenes))}
    names = [scene.image_id for scene in scenes]
    united = metrics.score("all", names[:3]).figures
    for name in ("num_truth", "num_predicted", "tp_50", "fp_50", "fn_50"):
        assert united[name] == sum(own[image_id][name] for image_id in names[:3])
    found = by_images(metrics.resampled, {"x": names[:3], "y": names[3:]})(np.array([[2.0, 1.0]]))
    wanted = metrics.resampled(names, np.array([[2.0] * 3 + [1.0] * 3]))
    assert all(np.array_equal(found[name], wanted[name], equal_nan=True) for name in wanted)
