"""How much memory a large image takes: a process's peak must not grow with the image's height."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

CODE = """
import resource, sys
from pathlib import Path
import numpy as np, torch
torch.set_num_threads(1)
from stub_networks import Layers
from seg.predict.band_tiff import write_bands
from seg.tiles.tiled import predict_bands
from seg.predict.file_rows import open_rows
from seg.tiles.grid import Tiling
from seg.sources.images import ImageReader

path = Path(sys.argv[1])
network = Layers(torch.nn.Conv2d(3, 16, 1), 16)
with open_rows(path, ImageReader(3)) as rows:
    bands = predict_bands(network, rows, Tiling((256, 256), 0.25, 0.125, 0, "reflect"), 4, "logits")
    write_bands(path.with_name("classes.tif"), *rows.shape[:2], np.uint8, [], (band.classes for band in bands))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""
WIDTH, CLASSES = 2048, 16


def peak(folder: Path, height: int) -> int:
    """Bytes, of a process that predicts an image of zeros, which takes no place on the disk."""
    path = folder / f"{height}.npy"
    np.lib.format.open_memmap(path, "w+", np.uint8, (height, WIDTH, 3)).flush()
    command = [sys.executable, "-c", CODE, str(path)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    return int(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout)


@pytest.mark.slow
def test_a_band_is_held_but_neither_the_image_nor_its_logits(tmp_path: Path) -> None:
    low, high = 1024, 5120
    more = (high - low) * WIDTH
    grown = peak(tmp_path, high) - peak(tmp_path, low)
    assert grown < more, "the class map alone, a byte a pixel"
    assert grown < more * CLASSES * 4 / 50, "the logits"
