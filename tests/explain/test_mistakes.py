"""The largest mistake of an image, counted by hand; and which pixels speak for the wrong answer."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from explain.test_methods import by_hand

from seg.data.rle import encode_crop
from seg.data.sample import Prediction, Sample
from seg.explain.methods import maps_of, question
from seg.explain.mistakes import largest_mistake
from seg.explain.subject import Explained, in_window

NAMES = ("background", "disc", "ring")
TRUTH = np.array([[0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 0, 255], [0, 1, 1, 1, 0, 255], [0, 0, 0, 2, 2, 2]], np.uint8)
SAID = np.array([[1, 1, 0, 0, 0, 1], [0, 2, 1, 2, 2, 1], [0, 2, 2, 1, 1, 1], [0, 0, 0, 1, 1, 2]], np.uint8)
"""Three pixels of disc side by side are called ring, and one more that touches them by a corner. Two of background and two of ring are
called disc; what is ignored, at the right, counts nowhere."""


def sample(semantic: np.ndarray, instances: np.ndarray, categories: list[int]) -> Sample:
    image = np.zeros((*semantic.shape, 3), np.uint8)
    return Sample("x", image, semantic, instances, np.array(categories, np.int32), np.zeros(len(categories), bool))


def test_of_a_class_map() -> None:
    found = largest_mistake(sample(TRUTH, np.zeros((4, 6, 0), np.int32), []), Prediction(semantic=SAID), NAMES, 0.5)
    assert found is not None
    assert found[1] == "3 pixels of disc were taken for ring"
    assert (found[0].category, found[0].instead) == (2, 1)
    assert np.argwhere(found[0].region).tolist() == [[1, 1], [2, 1], [2, 2]]
    right = np.where(TRUTH == 255, 1, TRUTH)
    assert largest_mistake(sample(TRUTH, np.zeros((4, 6, 0), np.int32), []), Prediction(semantic=right), NAMES, 0.5) is None
    right[0, 0] = 2
    found = largest_mistake(sample(TRUTH, np.zeros((4, 6, 0), np.int32), []), Prediction(semantic=right), NAMES, 0.5)
    assert found is not None
    assert found[1] == "1 pixel of background was taken for ring"


@pytest.mark.parametrize(
    ("category", "rows", "text", "instead"),
    [
        (2, (0, 4), "is disc in truth", 1),
        (2, (2, 6), "is disc in truth, and its pixels are others, too (IoU 0.33)", 1),
        (1, (2, 6), "is one in truth, but its pixels are others (IoU 0.33)", None),
        (1, (0, 3), "was found by another prediction, too", None),
        (1, (6, 8), "is none in truth", None),
    ],
)
def test_of_instances(category: int, rows: tuple[int, int], text: str, instead: int | None) -> None:
    """A disc in rows 0 to 3, which is found with a score of 0.9; beside it a mistake, a worse one with a lower score, and one below the
    threshold."""
    ids = np.zeros((12, 4, 1), np.int32)
    ids[:4] = 1
    spans = [(0, 4), rows, (8, 12), (8, 12)]
    if "others" in text:  # with the right one there, it would be of the same disc
        spans[0] = (10, 10)
    masks = np.zeros((4, 12, 4), bool)
    for mask, (start, stop) in zip(masks, spans, strict=True):
        mask[start:stop] = True
    given = Prediction(
        scores=np.array([0.95, 0.8, 0.7, 0.4], np.float32),
        categories=np.array([1, category, 2, 2], np.int32),
        boxes=np.zeros((4, 4), np.float32),
        masks=[encode_crop(mask, 0, 0, 12, 4) for mask in masks],
    )
    found = largest_mistake(sample(ids[..., 0].astype(np.uint8), ids, [1]), given, NAMES, 0.5)
    assert found is not None
    assert found[1] == f"What was found as {NAMES[category]}, with a score of 0.80, {text}"
    assert (found[0].category, found[0].instead) == (category, instead)
    assert np.flatnonzero(found[0].region[:, 0]).tolist() == list(range(*rows))
    assert largest_mistake(sample(ids[..., 0].astype(np.uint8), ids, [1]), given, NAMES, 0.96) is None


def test_one_class_rather_than_another() -> None:
    """Logits 2a - b and 0: the first has 2 * 4 - 2 = 6 more; the other way round nothing speaks for it, and gradients are as large."""
    images = torch.tensor([4, 2, 9], dtype=torch.uint8)[None, :, None, None].expand(1, 3, 8, 8)
    region = np.zeros((8, 8), bool)
    region[3:5, 2:5] = True
    asked = question(by_hand(), images, Explained(1, region, instead=0))
    assert asked.evidence(asked.x).tolist() == [pytest.approx(6)]
    other = question(by_hand(), images, Explained(0, region, instead=1))
    assert other.evidence(other.x).tolist() == [pytest.approx(-6)]
    assert maps_of(other, (8, 8), ["gradients"])["gradients"] == pytest.approx(np.where(region, 2 / 6, 0))
    assert not maps_of(other, (8, 8), ["integrated gradients"])["integrated gradients"].any()


def test_the_window_lies_about_the_region_or_the_pixel() -> None:
    """The middle of a frame is none of its pixels: the window lies about one of them."""
    image = np.arange(20 * 30, dtype=np.int64).reshape(20, 30, 1)
    region = np.zeros((20, 30), bool)
    region[2:18, 3] = region[2:18, 27] = True
    explained = Explained(1, region, 0.5, 2)
    part, found = in_window(image, explained, (8, 10))
    assert part.shape == (8, 10, 1)
    assert found.region.any()
    assert replace(found, region=region) == explained
    part, found = in_window(image, explained, (8, 10), at=(29, 0))
    assert (part[0, 0, 0], part[-1, -1, 0]) == (20, 7 * 30 + 29)
    assert np.flatnonzero(found.region.any(axis=0)).tolist() == [7]
