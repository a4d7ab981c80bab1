"""Where two predictions disagree: pixel by pixel, and instances that were placed by hand."""

import numpy as np
import pytest
from random_instances import Scene, batch_of, box, random_scenes

from seg.compare.gallery import ALIKE, BOTH_WRONG, FIRST_RIGHT, OTHER_RIGHT, compare_instances, compare_maps
from seg.evaluation.errors import judge
from seg.metrics.coco import ImageInstances
from seg.metrics.instance import instances_of


def test_maps_are_compared_pixel_by_pixel() -> None:
    rng = np.random.default_rng(0)
    truth, first, other = (rng.integers(0, 4, (20, 30)).astype(np.uint8) for _ in range(3))
    truth[3:6] = 255
    found = compare_maps(truth, first, other, 4)
    assert found.dtype == np.uint8
    for t, a, b, kind in zip(truth.ravel(), first.ravel(), other.ravel(), found.ravel(), strict=True):
        expected = 255 if t == 255 else ALIKE if a == b else FIRST_RIGHT if a == t else OTHER_RIGHT if b == t else BOTH_WRONG
        assert kind == expected
    assert set(found.ravel().tolist()) == {0, 1, 2, 3, 255}
    with pytest.raises(ValueError, match="class index outside"):
        compare_maps(truth, first, other, 3)


def images_of(*scenes: Scene) -> list[ImageInstances]:
    batch, predictions = batch_of(scenes)
    return [instances_of(batch, index, prediction) for index, prediction in enumerate(predictions)]


def test_instances_that_one_run_alone_found_or_made_up() -> None:
    def at(x: int, y: int = 0, width: int = 10) -> np.ndarray:
        return box(40, 80, y, x, y + 10, x + width)

    def truth() -> Scene:
        return Scene("one", (40, 80)).add(at(0)).add(at(20)).add(at(40)).add(at(60), 2).add(at(0, 20, 20), crowd=True)

    # both find the first; the first run alone the second; the other alone the third; the fourth is of a wrong class in both
    first = truth().predict(at(0)).predict(at(21)).predict(at(41), score=0.4).predict(at(60))
    other = truth().predict(at(60)).predict(at(1)).predict(at(41))
    # alone made up: by the first in the corner, by the other one of another class there; the one in the middle is made up by both
    first.predict(at(60, 28)).predict(at(30, 25)).predict(at(2, 20))
    other.predict(at(60, 28), 2).predict(at(31, 25)).predict(at(30, 12))
    found = compare_instances(*images_of(first, other), (0.5, 0.5))
    assert found["found by first"].tolist() == [1]
    assert found["found by other"].tolist() == [2]
    assert found["made up by first"].tolist() == [4], "not the mistake of both, nor what lies in the crowd"
    assert found["made up by other"].tolist() == [3, 5]
    lower = compare_instances(*images_of(first, other), (0.4, 0.5))
    assert lower["found by other"].tolist() == []


def test_of_random_scenes_the_counts_add_up() -> None:
    for mine, theirs in zip(random_scenes(3, 20), random_scenes(3, 20), strict=True):
        theirs.predicted, theirs.predicted_categories = theirs.predicted[::-1], theirs.predicted_categories[::-1]
        theirs.boxes, theirs.scores = theirs.boxes[::-1], [round(1 - s, 1) for s in theirs.scores]
        a, b = images_of(mine, theirs)
        found = compare_instances(a, b, (0.5, 0.3))
        hits = [{v.index for v in judge(i, t) if (v.which, v.kind) == ("truth", "matched")} for i, t in ((a, 0.5), (b, 0.3))]
        assert set(found["found by first"].tolist()) == hits[0] - hits[1]
        assert set(found["found by other"].tolist()) == hits[1] - hits[0]
        wrong = [
            {v.index for v in judge(i, t) if v.which == "predicted" and v.kind not in ("matched", "crowd")} for i, t in ((a, 0.5), (b, 0.3))
        ]
        assert set(found["made up by first"].tolist()) <= wrong[0]
        assert set(found["made up by other"].tolist()) <= wrong[1]
        assert len(wrong[0]) - len(found["made up by first"]) == len(wrong[1]) - len(found["made up by other"])
        same = compare_instances(a, a, (0.5, 0.5))
        assert not any(map(len, same.values()))
