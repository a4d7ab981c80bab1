"""What is explained: chosen from class maps and instances by class and by place."""

import numpy as np
import pytest
from pycocotools import mask as coco

from seg.core.errors import UsageError
from seg.data.sample import ClassInfo, Prediction
from seg.explain.subject import chosen

CLASSES = [ClassInfo(name, (0, 0, 0)) for name in ("background", "cell", "edge")]
MAP = np.array([[0, 0, 0, 0, 0], [0, 1, 0, 2, 2], [0, 1, 0, 0, 0], [0, 0, 1, 1, 1]], np.uint8)


def instances() -> Prediction:
    masks = np.zeros((3, 4, 5), np.uint8)
    masks[0, 1:3, 1:3], masks[1, 2:4, 2:5], masks[2, 0, 4] = 1, 1, 1
    return Prediction(
        scores=np.array([0.9, 0.8, 0.7], np.float32),
        categories=np.array([1, 1, 2], np.int32),
        masks=[coco.encode(np.asfortranarray(mask)) for mask in masks],
    )


@pytest.mark.parametrize(
    ("name", "at", "category", "pixels"),
    [
        (None, None, 1, [(1, 1), (2, 1), (3, 2), (3, 3), (3, 4)]),  # the most frequent class that is no background
        ("edge", None, 2, [(1, 3), (1, 4)]),
        (None, (1, 1), 1, [(1, 1), (2, 1)]),  # the region, which touches the other one by a corner alone
        ("cell", (4, 3), 1, [(3, 2), (3, 3), (3, 4)]),
    ],
)
def test_of_a_class_map(name: str | None, at: tuple[int, int] | None, category: int, pixels: list[tuple[int, int]]) -> None:
    found = chosen(Prediction(semantic=MAP), CLASSES, name, at)
    assert (found.category, found.score) == (category, None)
    assert [tuple(place) for place in np.argwhere(found.region).tolist()] == pixels


@pytest.mark.parametrize(
    ("name", "at", "score"), [(None, None, 0.9), ("edge", None, 0.7), (None, (3, 3), 0.8), (None, (2, 2), 0.9), ("cell", (4, 2), 0.8)]
)
def test_of_instances(name: str | None, at: tuple[int, int] | None, score: float) -> None:
    found = chosen(instances(), CLASSES, name, at)
    assert found.score == pytest.approx(score)
    assert at is None or found.region[at[1], at[0]]


@pytest.mark.parametrize(
    ("name", "at", "words"),
    [
        ("cel", None, "--class cel: did you mean 'cell'?"),
        ("edge", (0, 0), "the model finds nothing of class edge at 0,0 in this image"),
        (None, (7, 1), "--at 7,1: lies outside the image, which has 5 x 4 pixels"),
    ],
)
def test_mistakes(name: str | None, at: tuple[int, int] | None, words: str) -> None:
    with pytest.raises(UsageError) as raised:
        chosen(Prediction(semantic=MAP), CLASSES, name, at)
    assert str(raised.value).startswith(words)


def test_nothing_was_found() -> None:
    with pytest.raises(UsageError, match=r"^the model finds nothing of a class beside the background in this image"):
        chosen(Prediction(semantic=np.zeros((3, 3), np.uint8)), CLASSES, None, None)
    with pytest.raises(UsageError, match=r"^the model finds nothing of a class beside the background at 1,1"):
        chosen(Prediction(), CLASSES, None, (1, 1))
