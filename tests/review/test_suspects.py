"""Suspect labels, counted by hand."""

import numpy as np
import pytest

from seg.data.labelmaps import encode, measure
from seg.data.sample import IGNORE
from seg.metrics.coco import ImageInstances
from seg.review.suspects import Found, Suspect, label_quality, of_class_map, of_instances, weighed

SIZE = 40


def probabilities(predicted: np.ndarray, sure: float = 0.9) -> np.ndarray:
    """(3, H, W): the predicted class has `sure`, the others share the rest."""
    found = np.full((3, *predicted.shape), (1 - sure) / 2, np.float32)
    np.put_along_axis(found, predicted[None].astype(np.int64), sure, axis=0)
    return found


def test_label_quality_is_cleanlabs() -> None:
    """Version 2.9.0 gives this for the three pixels that are labelled (segmentation.rank.get_label_quality_scores, softmin)."""
    labels = np.array([[0, 1, 0, IGNORE]], np.uint8)
    found = np.array([[[0.9, 0.6, 0.8, 0.0]], [[0.1, 0.4, 0.2, 1.0]]], np.float32)
    assert label_quality(labels, found) == pytest.approx(0.41043382, abs=1e-6)
    assert label_quality(np.full((2, 2), IGNORE, np.uint8), np.ones((2, 2, 2), np.float32)) == 1


def regions(labels: np.ndarray, predicted: np.ndarray, background: int | None = 0, sure: float = 0.9) -> list[Suspect]:
    return sorted(of_class_map("a", labels, probabilities(predicted, sure), background, 12), key=lambda s: s.rank)


def square(top: int, left: int, side: int, value: int, into: np.ndarray | None = None) -> np.ndarray:
    found = np.zeros((SIZE, SIZE), np.uint8) if into is None else into.copy()
    found[top : top + side, left : left + side] = value
    return found


def test_regions_are_named_by_what_is_wrong_with_them() -> None:
    one = square(5, 5, 10, 1)
    for labels, predicted, kind, label, likely in (
        (np.zeros_like(one), one, "missed", None, 1),
        (one, np.zeros_like(one), "made up", 1, None),
        (one, square(5, 5, 10, 2), "wrong class", 1, 2),
        (square(5, 5, 13, 1), one, "outline", 1, None),  # the label reaches 3 pixels farther at two sides
        (one, square(5, 5, 13, 1), "outline", None, 1),
    ):
        (found,) = regions(labels, predicted)
        assert (found.kind, found.label, found.likely) == (kind, label, likely)
    assert regions(square(5, 5, 10, IGNORE), one) == [], "nobody labelled these pixels"
    assert regions(square(5, 5, 3, 1), np.zeros_like(one)) == [], "9 pixels are fewer than 12"


def test_a_region_counts_by_its_margin_and_its_depth() -> None:
    labels = np.zeros((SIZE, SIZE), np.uint8)
    deep, narrow = square(5, 5, 10, 1), np.zeros_like(labels)
    narrow[20:22, 5:35] = 1
    (found,) = regions(labels, deep)
    assert found.score == pytest.approx((0.9 - 0.05) * 5 / (5 + 2), abs=1e-5), "its middle is 5 pixels from its edge"
    assert regions(labels, narrow)[0].score == pytest.approx(0.85 / 3, abs=1e-5)
    assert regions(labels, deep, sure=0.6)[0].score == pytest.approx((0.6 - 0.2) * 5 / 7, abs=1e-5)


def image(true: dict[int, tuple[np.ndarray, int]], predicted: list[tuple[np.ndarray, int, float]]) -> ImageInstances:
    """true: {id: (mask, class)}."""

    def encoded(masks: list[np.ndarray]) -> tuple[list[str], np.ndarray]:
        ids = (
            np.stack([(mask > 0) * (i + 1) for i, mask in enumerate(masks)], axis=2).astype(np.int32)
            if masks
            else np.zeros((SIZE, SIZE, 0), np.int32)
        )
        return [rle["counts"] for rle in encode(ids, len(masks))], measure(ids, len(masks))[1].astype(np.float32)

    counts, _ = encoded([mask for mask, _ in true.values()])
    found, boxes = encoded([mask for mask, _, _ in predicted])
    return ImageInstances(
        "a",
        (SIZE, SIZE),
        np.array([c for _, c in true.values()], np.int32),
        np.zeros(len(true), bool),
        counts,
        np.array([c for _, c, _ in predicted], np.int32),
        np.array([s for _, _, s in predicted], np.float32),
        boxes,
        found,
    )


def judged(*images: ImageInstances) -> list[Suspect]:
    found = Found()
    for one in images:
        of_instances(one, 0.5, found)
    return weighed(found)


ONE, OTHER, FAR = square(2, 2, 8, 1), square(2, 10, 8, 1), square(25, 25, 8, 1)


def test_objects_that_nobody_labelled_are_as_suspect_as_they_are_sure() -> None:
    (first, *_) = judged(image({1: (ONE, 1)}, [(ONE, 1, 0.8), (FAR, 2, 0.93)]))
    assert (first.kind, first.label, first.likely, first.labelled) == ("missed", None, 2, [])
    assert first.score == pytest.approx(0.93, abs=1e-5)
    assert [s.kind for s in judged(image({1: (square(2, 2, 30, 1), 1)}, [(ONE, 2, 0.9)]))] == ["made up"], "a piece of an object is none"


def test_labels_of_nothing_count_by_how_often_their_class_is_found() -> None:
    seen = [image({1: (ONE, 1)}, [(ONE, 1, 0.9)]) for _ in range(3)]
    (first, *_) = judged(*seen, image({1: (FAR, 1)}, []))
    assert (first.kind, first.label, first.likely, first.suggested) == ("made up", 1, None, [])
    assert first.score == pytest.approx(3 / 4), "three of four objects of the class are found"
    (first, *_) = judged(*seen, image({1: (FAR, 1)}, [(FAR, 1, 0.4)]))
    assert first.score == pytest.approx(0.6 * 3 / 4, abs=1e-5), "a prediction below the threshold speaks for it"


def test_another_class_another_outline_and_objects_that_are_several() -> None:
    (wrong,) = judged(image({1: (ONE, 1)}, [(ONE, 2, 0.9)]))
    assert (wrong.kind, wrong.label, wrong.likely, wrong.score) == ("wrong class", 1, 2, pytest.approx(0.9, abs=1e-5))
    whole = np.maximum(ONE, OTHER)
    (merged,) = judged(image({1: (whole, 1)}, [(ONE, 1, 0.9), (OTHER, 1, 0.7)]))
    assert (merged.kind, len(merged.labelled), len(merged.suggested), merged.score) == ("merged", 1, 2, pytest.approx(0.7, abs=1e-5))
    (split,) = judged(image({1: (ONE, 1), 2: (OTHER, 1)}, [(whole, 1, 0.8)]))
    assert (split.kind, len(split.labelled), len(split.suggested), split.score) == ("split", 2, 1, pytest.approx(0.8, abs=1e-5))
    good = [image({1: (ONE, 1)}, [(square(2, 2, 8, 1), 1, 0.9)]) for _ in range(5)]
    shifted = image({1: (square(4, 4, 8, 1), 1)}, [(ONE, 1, 0.9)])
    (first, *others) = judged(*good, shifted)
    assert first.kind == "outline"
    assert first.score > 0.85
    assert {s.score for s in others} == {0}
