"""An evaluated image as the gallery shows it: what each instance was found to be, in the page's words."""

import numpy as np

from seg.data.labelmaps import encode, layers_from_masks
from seg.data.sample import ClassInfo, Prediction, Sample
from seg.evaluation.errors import PREDICTED_KINDS, TRUTH_KINDS
from seg.metrics.coco import ImageInstances
from seg.metrics.instance import areas_of
from seg.pictures.draw import pale
from seg.report.evaluation_gallery import WORDS, class_map_entry, outlines_entry
from seg.report.layers import VERDICTS
from seg.report.page_data import ImageRow, Outlines
from seg.report.panels import instance_panels

ROW = ImageRow("scene", 0.5)
SIZE = (20, 40)


def square(x: int, y: int, side: int = 6) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[y : y + side, x : x + side] = True
    return mask


def test_every_kind_of_error_has_a_word_and_a_colour() -> None:
    assert {*TRUTH_KINDS, *PREDICTED_KINDS} == WORDS.keys()
    assert set(WORDS.values()) == VERDICTS.keys()


def test_class_maps_name_the_confusions_above_the_least_share() -> None:
    truth = np.zeros((10, 10), np.uint8)
    predicted = truth.copy()
    predicted[0, :3], predicted[5, 5] = 1, 2
    truth[9] = 255
    classes = [ClassInfo(name, (1, 2, 3)) for name in ("ground", "tree", "car")]
    sample = Sample(
        "scene", np.zeros((10, 10, 3), np.uint8), truth, np.zeros((10, 10, 0), np.int32), np.zeros(0, np.int32), np.zeros(0, bool)
    )
    entry = class_map_entry("worst", ROW, sample, predicted, classes, 0.02)
    assert entry.errors == {"ground called tree": "3.33\N{NO-BREAK SPACE}%"}  # 3 of 90 pixels; 1 of 90 is below the share
    assert entry.truth is truth
    assert entry.predicted is predicted


def scene() -> tuple[Sample, Prediction, list[np.ndarray]]:
    """Five true instances, of which one has no pixel and one is a crowd; five predictions, the last of which scores low; their masks."""
    empty = np.zeros(SIZE, bool)  # such as augmentation or a crop leaves; the metrics do not know it
    truth = [empty, square(0, 0), square(10, 0), square(30, 10, 8), square(20, 0)]
    sample = Sample(
        "scene",
        np.zeros((*SIZE, 3), np.uint8),
        np.zeros(SIZE, np.uint8),
        layers_from_masks(truth, *SIZE),
        np.array([1, 1, 1, 1, 2], np.int32),
        np.array([False, False, False, True, False]),
    )
    said = [square(0, 0), square(0, 12), square(31, 11), square(20, 0), square(10, 0)]
    prediction = Prediction(
        scores=np.array([0.9, 0.8, 0.7, 0.6, 0.1], np.float32),
        categories=np.ones(5, np.int32),
        boxes=np.zeros((5, 4), np.float32),
        masks=encode(layers_from_masks(said, *SIZE), 5),
    )
    return sample, prediction, said


def test_outlines_say_what_each_instance_was_found_to_be() -> None:
    sample, prediction, said = scene()
    rles = encode(sample.instances, 5)
    there = np.flatnonzero(areas_of(rles))
    known = ImageInstances(
        "scene",
        SIZE,
        sample.categories[there],
        sample.crowd[there],
        [rles[i]["counts"] for i in there],
        prediction.categories,
        prediction.scores,
        prediction.boxes,
        [m["counts"] for m in prediction.masks],
    )
    entry = outlines_entry("worst", ROW, sample, prediction, known, 0.5)
    assert isinstance(entry.truth, Outlines)
    assert isinstance(entry.predicted, Outlines)
    assert list(entry.truth.verdicts) == ["found", "missed", "found", "wrong class"]  # the crowd is no error
    assert list(entry.predicted.verdicts) == [
        "found",
        "made up",
        "found",
        "wrong class",
    ]  # the third lies in the crowd; the fifth scores too low
    assert entry.predicted.scores is not None
    assert entry.predicted.scores.tolist() == prediction.scores[:4].tolist()
    np.testing.assert_array_equal(entry.predicted.ids, layers_from_masks(said[:4], *SIZE))
    assert entry.errors == {"missed": "1", "made up": "1", "wrong class": "1"}


def test_panels_count_what_was_found_missed_and_made_up() -> None:
    sample, prediction, _ = scene()
    classes = [ClassInfo(name, color) for name, color in (("ground", (0, 0, 0)), ("cell", (250, 0, 0)), ("nucleus", (0, 250, 0)))]
    _, truth, predicted, judged = instance_panels(sample, prediction, classes, 0.5)
    assert truth.name == "truth: 3"
    assert predicted.name == "prediction: 4 with scores"
    assert [text for _, _, text in predicted.texts] == ["0.90", "0.80", "0.70", "0.60"]
    # found: the first; missed: the one whose prediction scores too low, and the one of another class; made up: the second and the fourth
    assert judged.name == "found 1 (blue), missed 2 (red), made up 2 (yellow)"
    factor = judged.picture.shape[1] // SIZE[1]
    for place, verdict in (((2, 2), "found"), ((12, 2), "missed"), ((2, 14), "made up")):
        x, y = ((n * factor) + factor // 2 for n in place)
        inside, color = judged.picture[y, x].astype(int), np.array(VERDICTS[verdict])
        ground = pale(sample.image)[place[1], place[0]].astype(int)
        assert np.abs(inside - (ground + 0.3 * (color - ground))).max() <= 1
