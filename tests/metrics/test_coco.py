"""COCO's figures against pycocotools, on the same random images."""

import contextlib
import io
import logging
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from random_instances import Scene, batch_of, box, random_scenes, rle_of

from seg.metrics.coco import FIGURES, ImageInstances, figures_by_class
from seg.metrics.instance import instances_of
from seg.metrics.semantic import mean_of_known

CATEGORIES = [1, 2, 3]
SEEDS = range(6)
KINDS = ("mask", "box")


def images_of(scenes: Sequence[Scene]) -> list[ImageInstances]:
    batch, predictions = batch_of(scenes)
    return [instances_of(batch, index, prediction) for index, prediction in enumerate(predictions)]


def of_classes(
    images: Sequence[ImageInstances], kind: str, limit: int = 100, categories: Sequence[int] = (1, 2, 3)
) -> dict[str, np.ndarray]:
    """{figure: (K,)} where every image occurs once."""
    found = figures_by_class(images, categories, kind, limit, np.ones((1, len(images))))
    return {name: values[:, 0] for name, values in found.items()}


def figures(*given: Any, **more: Any) -> dict[str, float]:
    """The means over the classes of `of_classes`."""
    return {name: float(mean_of_known(values)) for name, values in of_classes(*given, **more).items()}


def reference(scenes: Sequence[Scene], kind: str, categories: Sequence[int], limits: Sequence[int] = (1, 10, 100)) -> dict[str, float]:
    """The same figures as pycocotools summarises, from the scenes' own masks and boxes; -1 as NaN."""
    header = {
        "images": [{"id": n, "height": s.size[0], "width": s.size[1]} for n, s in enumerate(scenes)],
        "categories": [{"id": c} for c in categories],
    }
    truth, found = [], []
    for number, scene in enumerate(scenes):
        for mask, category, crowd in zip(scene.truth, scene.categories, scene.crowd, strict=True):
            ys, xs = np.nonzero(mask)
            corner = [int(xs.min()), int(ys.min()), int(np.ptp(xs) + 1), int(np.ptp(ys) + 1)]
            truth.append(annotation(number, category, mask, corner, int(mask.sum()), iscrowd=int(crowd)))
        prediction = scene.prediction
        for mask, category, score, (x1, y1, x2, y2) in zip(
            scene.predicted, prediction.categories.tolist(), prediction.scores.tolist(), prediction.boxes.tolist(), strict=True
        ):
            area = int(mask.sum()) if kind == "mask" else (x2 - x1) * (y2 - y1)
            found.append(annotation(number, category, mask, [x1, y1, x2 - x1, y2 - y1], area, score=score))
    with contextlib.redirect_stdout(io.StringIO()):
        run = COCOeval(indexed(header, truth), indexed(header, found), {"mask": "segm", "box": "bbox"}[kind])
        run.params.maxDets = list(limits)
        run.evaluate()
        run.accumulate()
        run.summarize()
    stats = [math.nan if v == -1 else v for v in run.stats]
    return dict(zip(FIGURES, [*stats[:6], stats[8]], strict=True))


def annotation(number: int, category: int, mask: np.ndarray, corner: list[float], area: float, **more: Any) -> dict[str, Any]:
    return {"image_id": number, "category_id": category, "segmentation": rle_of(mask), "bbox": corner, "area": area, **more}


def indexed(header: dict[str, Any], annotations: list[dict[str, Any]]) -> COCO:
    table = COCO()
    table.dataset = {**header, "annotations": [{"id": n, "iscrowd": 0, **a} for n, a in enumerate(annotations, start=1)]}
    table.createIndex()
    return table


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_all_figures_agree_with_pycocotools(seed: int, kind: str) -> None:
    scenes = random_scenes(seed)
    found = of_classes(images_of(scenes), kind)
    expected = reference(scenes, kind, CATEGORIES)
    assert sum(0 < v < 1 for v in expected.values()) >= 5, "the data tells figures apart"
    assert figures(images_of(scenes), kind) == pytest.approx(expected, abs=1e-9, nan_ok=True)
    for place, category in enumerate(CATEGORIES):
        alone = reference([of_category(s, category) for s in scenes], kind, [category])
        assert {name: values[place] for name, values in found.items()} == pytest.approx(alone, abs=1e-9, nan_ok=True)


def of_category(scene: Scene, category: int) -> Scene:
    """The scene without any other category."""
    alone = Scene(scene.image_id, scene.size)
    for mask, own, crowd in zip(scene.truth, scene.categories, scene.crowd, strict=True):
        if own == category:
            alone.add(mask, own, crowd)
    for mask, own, score, corners in zip(scene.predicted, scene.predicted_categories, scene.scores, scene.boxes, strict=True):
        if own == category:
            alone.predict(mask, own, score).boxes[-1] = corners
    return alone


def test_the_random_data_has_what_is_hard() -> None:
    scenes = [s for seed in SEEDS for s in random_scenes(seed)]
    areas = np.array([m.sum() for s in scenes for m in s.truth])
    assert all(n >= 10 for n in np.histogram(areas, [0, 32**2, 96**2, 1e5])[0]), "of all sizes"
    assert sum(c for s in scenes for c in s.crowd) >= 10
    assert all(any(len(s.truth) == t and bool(s.predicted) == p for s in scenes) for t, p in ((0, True), (0, False)))
    assert any(s.truth and not s.predicted for s in scenes)
    assert 3 not in {c for s in scenes for c in s.categories}
    assert 3 in {c for s in scenes for c in s.predicted_categories}
    scores = [v for s in scenes for v in s.scores]
    assert len(set(scores)) < len(scores) / 10, "scores tie"


@pytest.mark.parametrize("kind", KINDS)
def test_without_truth_predictions_or_images(kind: str) -> None:
    scenes = random_scenes(1)
    no_predictions = [Scene(s.image_id, s.size, s.truth, s.categories, s.crowd) for s in scenes]
    found = figures(images_of(no_predictions), kind)
    assert found == pytest.approx(reference(no_predictions, kind, CATEGORIES), abs=1e-9, nan_ok=True)
    assert found == dict.fromkeys(FIGURES, 0.0)
    no_truth = [Scene(s.image_id, s.size, [], [], [], s.predicted, s.predicted_categories, s.scores, s.boxes) for s in scenes]
    found = figures(images_of(no_truth), kind)
    assert found == pytest.approx(reference(no_truth, kind, CATEGORIES), nan_ok=True)
    only_crowds = [Scene("a", (9, 9)).add(box(9, 9, 0, 0, 5, 5), 1, crowd=True).predict(box(9, 9, 0, 0, 3, 3))]
    for images in (images_of(no_truth), images_of(only_crowds), []):
        assert all(math.isnan(v) for v in figures(images, kind).values())


def test_only_the_best_predictions_of_a_class_in_an_image_count() -> None:
    scenes = random_scenes(3, number=40)
    found = {n: figures(images_of(scenes), "mask", n) for n in (1, 2, 100)}
    assert found[1]["ar"] < found[2]["ar"] < found[100]["ar"]
    for limit in (1, 2):
        expected = reference(scenes, "mask", CATEGORIES, [limit] * 3)
        assert found[limit]["ar"] == pytest.approx(expected["ar"], abs=1e-9)


def test_as_many_predictions_of_a_class_in_an_image_count_as_one_is_told() -> None:
    scene = Scene("a", (12, 12))
    for place in range(110):
        y, x = divmod(place, 12)
        pixel = box(12, 12, y, x, y + 1, x + 1)
        scene.add(pixel).predict(pixel, score=0.5)
    found = figures(images_of([scene]), "mask", categories=[1])
    assert found == pytest.approx(reference([scene], "mask", [1]), nan_ok=True)
    assert found["ar"] == pytest.approx(100 / 110)
    assert figures(images_of([scene]), "mask", 110, [1])["ar"] == 1


def test_areas_at_the_border_of_a_range() -> None:
    """32 x 32 pixels are small and medium at once, as in pycocotools, and a box's area need not be its mask's."""
    for side in (31, 32, 33, 96):
        mask = box(100, 100, 0, 0, side, side)
        scene = Scene("a", (100, 100)).add(mask).predict(mask)
        scene.boxes[0] = [0, 0, side + 1, side + 1]
        for kind in KINDS:
            found = figures(images_of([scene]), kind, categories=[1])
            assert found == pytest.approx(reference([scene], kind, [1]), abs=1e-9, nan_ok=True)


@pytest.mark.filterwarnings("error")
def test_nothing_is_printed_or_logged(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    images = images_of(random_scenes(0, number=3))
    with caplog.at_level(logging.DEBUG):
        for kind in KINDS:
            figures(images, kind)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
