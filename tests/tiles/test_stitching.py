"""Instances across tiles: a network that knows the truth must give the truth, whatever the tiles."""

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from stub_networks import Truth, shown

from seg.data.rle import encode_crop
from seg.data.sample import Prediction
from seg.tiles.grid import ArrayRows, Tiling, grid
from seg.tiles.stitching import predict_instances, stitch, views_of

TILINGS = [
    Tiling((96, 96), 0.25, 0.125, 0, "edge"),
    Tiling((64, 128), 0.5, 0.125, 4, "reflect"),
    Tiling((128, 64), 0.1, 0.125, 2, "edge"),
    Tiling((64, 64), 0.75, 0.125, 2, "edge"),
    Tiling((512, 512), 0.3, 0.125, 0, "reflect"),
]


def predicted(ids: np.ndarray, tiling: Tiling, network: Truth | None = None) -> Prediction:
    return predict_instances(network or Truth(), ArrayRows(shown(ids)), tiling, 4, 0.5)


def decoded(prediction: Prediction) -> list[np.ndarray]:
    return [coco_mask.decode(mask).astype(bool) for mask in prediction.masks]


def assert_is(prediction: Prediction, ids: np.ndarray) -> None:
    """Whether the prediction has each object once, with all of its pixels and its box."""
    truth = {hash((ids == i).tobytes()): int(i) for i in np.unique(ids) if i}
    masks = decoded(prediction)
    found = [truth.get(hash(mask.tobytes()), 0) for mask in masks]  # 0: none
    assert sorted(found) == sorted(truth.values())
    for mask, box in zip(masks, prediction.boxes, strict=True):
        rows, columns = np.where(mask)
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def connected(ids: np.ndarray) -> np.ndarray:
    """An id for each connected part of an object."""
    found, last = np.zeros_like(ids), 0
    for i in np.unique(ids[ids > 0]):
        count, parts = cv2.connectedComponents((ids == i).astype(np.uint8), connectivity=8)
        found[parts > 0] = parts[parts > 0] + last
        last += count - 1
    return found


@pytest.mark.parametrize("tiling", TILINGS, ids=lambda t: f"{t.tile}-{t.overlap}")
class TestTruth:
    def test_objects_larger_than_tiles_and_touching_ones(self, tiling: Tiling) -> None:
        ids = np.zeros((500, 700), np.int32)
        cv2.line(ids, (10, 20), (690, 470), 1, 5)  # across many tiles
        cv2.circle(ids, (450, 130), 110, 2, -1)  # larger than a tile
        cv2.circle(ids, (100, 250), 30, 3, -1)
        cv2.circle(ids, (161, 250), 30, 4, -1)  # touches it
        cv2.rectangle(ids, (600, 200), (640, 300), 5, -1)
        cv2.rectangle(ids, (641, 200), (680, 300), 6, -1)  # along a whole side
        cv2.ellipse(ids, (300, 380), (250, 90), 0, 20, 340, 7, 4)  # a ring that is open
        ids = connected(ids)
        ids[499, 699] = 300  # a pixel in the corner
        assert_is(predicted(ids, tiling), ids)

    def test_a_crowd_of_discs(self, tiling: Tiling) -> None:
        rng, ids = np.random.default_rng(3), np.zeros((250, 390), np.int32)
        for number in range(1, 200):
            cv2.circle(ids, tuple(int(v) for v in rng.integers(0, 390, 2)), int(rng.integers(3, 25)), number, -1)
        ids = connected(ids)
        assert_is(predicted(ids, tiling), ids)

    def test_nothing_and_images_smaller_than_a_tile(self, tiling: Tiling) -> None:
        assert len(predicted(np.zeros((200, 300), np.int32), tiling).scores) == 0
        ids = np.zeros((31, 45), np.int32)
        ids[5:31, 20:45] = 1  # padding would go on with it
        assert_is(predicted(ids, tiling), ids)


def test_classes_are_kept_apart_and_the_best_come_first() -> None:
    ids = np.zeros((100, 300), np.int32)
    ids[20:40, 10:290], ids[60:90, 10:290], ids[5:10, 5:10] = 1, 2, 3
    prediction = predicted(ids, TILINGS[0], Truth({1: 1, 2: 2, 3: 2}, {1: 0.5, 2: 0.9, 3: 0.7}))
    assert prediction.categories.tolist() == [2, 2, 1]
    np.testing.assert_allclose(prediction.scores, [0.9, 0.7, 0.5], atol=1e-6)
    assert [mask.sum() for mask in decoded(prediction)] == [8400, 25, 5600]


TILES = grid(Tiling((64, 64), 0.5, 0.125, 0, "edge"), 64, 96, 8)  # two tiles, at 0 and 32


def seen(*boxes: tuple[int, int, int, int], score: float = 0.5, category: int = 1) -> Prediction:
    """A tile's prediction of rectangles (x1, y1, x2, y2)."""
    masks = [encode_crop(np.ones((y2 - y1, x2 - x1), bool), x1, y1, 64, 64) for x1, y1, x2, y2 in boxes]
    count = len(boxes)
    return Prediction(scores=np.full(count, score, np.float32), categories=np.full(count, category, np.int32), masks=masks)


def stitched(left: Prediction, right: Prediction, min_iou: float = 0.5, margin: int = 0) -> list[tuple[list[float], float]]:
    """Boxes and scores of what two tiles say."""
    views = [*views_of(left, (0, 0), TILES, margin), *views_of(right, (0, 1), TILES, margin)]
    found = stitch(views, TILES, min_iou)
    return [(box, round(score, 3)) for box, score in zip(found.boxes.tolist(), found.scores.tolist(), strict=True)]


def test_pieces_are_joined_by_their_agreement_in_what_both_tiles_see() -> None:
    left, right = seen((20, 10, 64, 20)), seen((0, 14, 60, 24), score=0.6)  # in common: 10 rows and 10 rows, of which 6 are the same
    assert stitched(left, right, 6 / 14) == [([20, 10, 92, 24], 0.6)]
    assert len(stitched(left, right, 6 / 14 + 0.001)) == 2
    assert len(stitched(left, seen((0, 14, 60, 24), category=2), 0.1)) == 2


def test_a_view_that_its_tile_cuts_gives_way_to_a_whole_one() -> None:
    whole = seen((20, 10, 48, 30), score=0.8)  # in the image from 52 to 80
    assert stitched(seen((52, 10, 64, 31), score=0.9), whole) == [([52, 10, 80, 30], 0.8)]
    poor = seen((52, 10, 64, 14), score=0.9)  # agrees in 4 of 20 rows, but lies in it
    assert stitched(poor, whole) == [([52, 10, 80, 30], 0.8)]
    beside = seen((52, 36, 64, 40), score=0.9)
    assert len(stitched(beside, whole)) == 2


def test_of_two_whole_views_the_better_is_taken() -> None:
    left, right = seen((39, 10, 60, 30), score=0.7), seen((8, 9, 28, 30), score=0.8)
    assert stitched(left, right) == [([40, 9, 60, 30], 0.8)]


def test_a_mask_that_ends_within_the_margin_is_cut_and_what_goes_on_is_kept() -> None:
    left, right = seen((20, 10, 63, 20)), seen((0, 10, 64, 20))  # the network stops a pixel before the tile's side
    for margin in (0, 1):
        assert stitched(left, right, margin=margin) == [([20, 10, 96, 20], 0.5)]
    short, rest = seen((4, 10, 63, 20)), seen((0, 10, 33, 20))  # of what the right tile sees only 2 columns are new
    assert stitched(short, rest, margin=1) == [([4, 10, 65, 20], 0.5)]


def test_what_one_tile_sees_as_two_stays_two() -> None:
    assert len(stitched(seen((5, 5, 25, 25), (5, 7, 25, 27)), seen())) == 2


@pytest.mark.parametrize("places", [((0, 0), (1, 1)), ((0, 1), (1, 0))])
def test_tiles_that_meet_at_a_corner_alone_share_objects(places: tuple[tuple[int, int], tuple[int, int]]) -> None:
    tiles = grid(Tiling((64, 64), 0.5, 0.125, 0, "edge"), 96, 96, 8)
    boxes = {(0, 0): (40, 40, 64, 64), (1, 1): (8, 8, 40, 40), (0, 1): (0, 40, 24, 64), (1, 0): (24, 8, 56, 40)}
    found = stitch([view for place in places for view in views_of(seen(boxes[place]), place, tiles, 0)], tiles, 0.5)
    assert len(found.scores) == 1
