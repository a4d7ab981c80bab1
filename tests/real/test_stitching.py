"""Real nuclei across tiles: a network that knows their masks must give them back, whatever the tiles cut."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from stub_networks import Truth, shown

from seg.core.textfile import natural_key
from seg.data.imagefile import decode_index, read_bytes
from seg.tiles.grid import ArrayRows, Tiling
from seg.tiles.stitching import predict_instances

NUCLEI = Path(__file__).parents[3] / "shared" / "data" / "dsb2018_nuclei"

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not NUCLEI.is_dir(), reason=f"the nuclei do not lie in {NUCLEI}"),
]


def largest(count: int) -> list[str]:
    """The images with the most nuclei."""
    with open(NUCLEI / "index.csv", newline="") as file:
        rows = list(csv.reader(file))
    return [row[0] for row in sorted(rows[1:], key=lambda row: -int(row[4]))[:count]]


def masks_of(name: str) -> list[np.ndarray]:
    files = sorted((NUCLEI / "stage1_train" / name / "masks").iterdir(), key=lambda path: natural_key(path.name))
    return [decode_index(read_bytes(path), path) > 0 for path in files]


@pytest.mark.parametrize("tiling", [Tiling((64, 64), 0.25, 0.125, 0, "reflect"), Tiling((96, 96), 0.5, 0.125, 3, "edge")], ids=str)
def test_every_nucleus_that_is_of_one_part_comes_back_once_and_whole(tiling: Tiling) -> None:
    nuclei = 0
    for name in largest(6):
        masks = masks_of(name)
        ids = np.zeros(masks[0].shape, np.int32)
        for number, mask in enumerate(masks, start=1):
            ids[mask] = number
        one_part = [i for i in range(1, len(masks) + 1) if cv2.connectedComponents((ids == i).astype(np.uint8), connectivity=8)[0] == 2]
        nuclei += len(one_part)
        found = predict_instances(Truth(), ArrayRows(shown(ids)), tiling, 4, 0.5)
        there = {coco_mask.decode(mask).astype(bool).tobytes() for mask in found.masks}
        assert len(there) == len(found.masks)
        assert all((ids == i).tobytes() in there for i in one_part)
    assert nuclei > 1000
