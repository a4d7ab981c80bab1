"""The unit of distances: micrometres where the files of all images say how large a pixel is, else pixels."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from tiny import folders, labels, picture, prepare_tiny, split, write

from seg.data.sample import Prediction
from seg.data.store import read_entries
from seg.evaluation.detail import detail_of


@pytest.mark.parametrize(("sized", "unit", "factor"), [(8, "um", 0.5), (7, "px", 1)])
def test_a_spacing_reaches_the_distances_from_the_raw_files(tmp_path: Path, sized: int, unit: str, factor: float) -> None:
    for seed in range(8):
        (tmp_path / "raw" / "images").mkdir(parents=True, exist_ok=True)
        resolution: dict[str, Any] = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER"} if seed < sized else {}
        tifffile.imwrite(tmp_path / "raw" / "images" / f"{seed}.tif", picture(seed), **resolution)
        write(tmp_path / "raw" / "masks" / f"{seed}.png", labels(seed))
    section = split(ratios={"train": 0.25, "val": 0.25, "test": 0.5})
    prepare_tiny(folders(tmp_path / "raw", section), tmp_path / "out", section)
    entries = [entry for part in ("train", "val", "test") for entry in read_entries(tmp_path / "out" / part)]
    assert sorted(entry.spacing for entry in entries) == sorted(["0.5 0.5"] * sized + [""] * (8 - sized))
    settings: Any = SimpleNamespace(boundary=None, surface=True, calibration_bins=None, rand_separates=None)
    detail = detail_of(SimpleNamespace(), ["a", "b"], settings, {entry.image_id: entry.pixel_size for entry in entries})  # type: ignore[arg-type]
    truth, found = np.zeros((24, 32), np.uint8), np.zeros((24, 32), np.uint8)
    truth[5:9, 10], found[5:9, 16] = 1, 1  # two lines that lie six pixels apart
    batch: Any = SimpleNamespace(semantic=torch.from_numpy(truth)[None], sizes=[(24, 32)], image_ids=[entries[0].image_id])
    detail.update(batch, [Prediction(semantic=found)])
    assert detail.per_class()["b"][f"hd95_{unit}"] == pytest.approx(6 * factor)
