"""What follows the network, against masks drawn by hand and scipy's filled holes."""

import numpy as np
import pytest
from random_instances import Scene, batch_of, box, rle_of
from scipy import ndimage

from seg.core.errors import DataError
from seg.data.rle import decode_crop
from seg.data.sample import CERTAIN, Prediction
from seg.models.declared import declared
from seg.models.postprocess import NOTHING, Postprocess, calibrated, fill_enclosed, softened
from seg.tiles.network import Facts


def class_map(*rows: str) -> Prediction:
    """A class map of digits, of which each pixel is 0.9 certain."""
    classes = np.array([[int(digit) for digit in row] for row in rows], np.uint8)
    return Prediction(semantic=classes, confidence=np.full(classes.shape, round(0.9 * CERTAIN), np.uint16))


def rows_of(prediction: Prediction) -> list[str]:
    assert prediction.semantic is not None
    return ["".join(map(str, row)) for row in prediction.semantic]


def instances(*scenes_masks: np.ndarray) -> Prediction:
    scene = Scene("a", scenes_masks[0].shape)
    for number, mask in enumerate(scenes_masks):
        scene.predict(mask, score=0.9 - number / 10)
    return batch_of([scene])[1][0]


def masks_of(prediction: Prediction) -> list[np.ndarray]:
    found = []
    for rle in prediction.masks:
        crop, left, top = decode_crop(rle)
        mask = np.zeros(rle["size"], bool)
        mask[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
        found.append(mask)
    return found


def test_small_objects_of_a_class_map_become_background() -> None:
    given = class_map("1100002", "1100000", "0000220", "1001220")
    found = Postprocess(least_area=3).applied(given, True)
    assert rows_of(found) == ["1100000", "1100000", "0000220", "0000220"]
    assert found.confidence is not None
    assert found.confidence[0, 6] == CERTAIN - round(0.9 * CERTAIN)
    assert found.confidence[0, 0] == round(0.9 * CERTAIN)
    assert rows_of(given)[0] == "1100002", "what was given stays as it is"


def test_pixels_that_touch_by_a_corner_are_one_object() -> None:
    assert rows_of(Postprocess(least_area=2).applied(class_map("100", "010", "000"), True)) == ["100", "010", "000"]


def test_the_largest_region_stays_of_the_classes_that_are_named() -> None:
    found = Postprocess(largest=(1,)).applied(class_map("11001", "00000", "22002"), True)
    assert rows_of(found) == ["11000", "00000", "22002"]


def test_holes_are_filled_where_one_class_alone_surrounds_them() -> None:
    given = class_map("111110", "102110", "111110", "110111", "110111")
    found = Postprocess(fill_holes=True).applied(given, True)
    assert rows_of(found) == ["111110", "102110", "111110", "110111", "110111"], "one hole lies beside a 2 and one reaches the border"
    given = class_map("111100", "100102", "100100", "111100")
    assert rows_of(Postprocess(fill_holes=True).applied(given, True)) == ["111100", "111102", "111100", "111100"]


def test_filled_holes_are_scipys() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = ndimage.binary_dilation(rng.random((40, 50)) < 0.05, iterations=2)
        classes = (3 * mask).astype(np.uint8)
        fill_enclosed(classes)
        assert np.array_equal(classes == 3, ndimage.binary_fill_holes(mask))


def test_without_a_class_for_what_is_removed_a_class_map_stays() -> None:
    given = class_map("12", "22")
    assert Postprocess(least_area=3, fill_holes=True, largest=(1,)).applied(given, False) is given


def test_small_instances_are_removed() -> None:
    found = Postprocess(least_area=5).applied(instances(box(9, 9, 0, 0, 3, 3), box(9, 9, 5, 5, 7, 7)), True)
    assert found.scores.tolist() == pytest.approx([0.9])
    assert len(found.masks) == len(found.boxes) == len(found.categories) == 1


def test_holes_of_an_instance_are_filled_but_for_another_instance() -> None:
    ring = box(9, 9, 0, 0, 9, 9)
    ring[2, 2] = ring[6, 6] = False
    other = box(9, 9, 6, 6, 7, 7)
    found = masks_of(Postprocess(fill_holes=True).applied(instances(ring, other), True))
    ring[2, 2] = True
    assert np.array_equal(found[0], ring)
    assert np.array_equal(found[1], other)


def test_the_largest_region_of_an_instance_stays_with_its_box() -> None:
    mask = box(20, 20, 1, 1, 6, 6) | box(20, 20, 10, 10, 12, 12)
    found = Postprocess(largest=(1,)).applied(instances(mask), True)
    assert np.array_equal(masks_of(found)[0], box(20, 20, 1, 1, 6, 6))
    assert found.boxes[0].tolist() == [1, 1, 7, 7]
    assert rle_of(masks_of(found)[0]) == found.masks[0]


def test_no_instance_stays_no_instance() -> None:
    empty = Prediction()
    assert len(Postprocess(least_area=5, fill_holes=True, largest=(1,)).applied(empty, True).scores) == 0
    assert NOTHING.applied(empty, True) is empty


def test_log_odds_are_divided() -> None:
    assert softened(np.array([0.9, 0.5, 0.1]), 2.0) == pytest.approx([0.75, 0.5, 0.25])  # 9 : 1 becomes 3 : 1
    assert softened(np.array([0.0, 1.0]), 3.0) == pytest.approx([0.0, 1.0], abs=0.01)
    scene = instances(box(9, 9, 0, 0, 3, 3), box(9, 9, 5, 5, 7, 7))
    assert calibrated(scene, 2.0).scores.tolist() == pytest.approx([0.75, 2 / 3])
    assert calibrated(scene, 1.0) is scene


def test_what_a_file_says_is_checked() -> None:
    post = Postprocess(1.5, 0.4, 20, True, (1, 2))
    assert declared(Postprocess, post.to_plain(), "file", "again") == post
    assert declared(Postprocess, {}, "file", "again") == NOTHING
    for wrong in ({"temperature": 0.0}, {"temperature": float("nan")}, {"least_area": -1}, {"largest": [300]}, [1], "x"):
        with pytest.raises(DataError, match=r"^file"):
            declared(Postprocess, wrong, "file", "again")


def test_each_part_is_described() -> None:
    said = Postprocess(1.5, 0.4, 20, True, (1,)).described(["background", "cell"])
    assert [line.split()[0] for line in said] == ["objects", "holes", "only", "instances"]
    assert "cell" in said[2]
    assert NOTHING.described(["background"]) == []


def test_a_threshold_of_calibrated_scores_is_told_for_those_of_the_network() -> None:
    post = Postprocess(temperature=2.0, score_threshold=0.3)
    assert post.uncalibrated_threshold(0.5) == pytest.approx(0.09 / (0.09 + 0.49))  # the odds are squared
    assert NOTHING.uncalibrated_threshold(0.5) == 0.5
    assert Facts("panoptic", (), 3, 32, None, postprocess=Postprocess(score_threshold=0.8)).threshold(None) == 0.5
    assert Facts("instance", (), 3, 32, None, postprocess=Postprocess(score_threshold=0.8)).threshold(None) == 0.8
    assert Facts("panoptic", (), 3, 32, None, postprocess=post).threshold(None) == 0.3
