"""Segments of an image that is seen in tiles: those of the whole image."""

import numpy as np
import torch
from pycocotools import mask as coco_mask
from stub_networks import CLASSES, Truth, shown

from seg.tiles.grid import Tiling
from seg.tiles.network import Facts
from seg.tiles.tiled import Tiled


def test_stuff_of_tiles_far_apart_is_one_segment_and_things_stay_apart() -> None:
    ids = np.zeros((64, 256), np.int32)
    ids[:, :20], ids[:, 230:] = 1, 1  # grain, which is stuff, in the first and in the last tile
    ids[20:40, 40:140] = 2  # a cell across tiles
    ids[20:40, 150:170], ids[20:40, 170:190] = 3, 4  # two cells that touch
    network = Truth(categories={1: 2}, scores={1: 0.9, 2: 0.8, 3: 0.7, 4: 0.6})
    network.facts = Facts("panoptic", CLASSES, 3, 8, None, things=(1,))
    tiled = Tiled(network, Tiling((64, 64), 0.25, 0.125, 0, "edge"), 2, "probabilities", 0.5)
    (found,) = tiled.predict(torch.from_numpy(shown(ids)).permute(2, 0, 1)[None])
    assert found.segments
    assert found.categories.tolist() == [2, 1, 1, 1]
    for number, mask in enumerate(found.masks, start=1):
        assert np.array_equal(coco_mask.decode(mask), ids == number)
