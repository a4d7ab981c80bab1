"""Comparisons as the page takes them, made up of drawn images: of classes, and of instances."""

from math import nan

import numpy as np
from evaluations import SIZE, class_map, classes_of, discs, photo

from seg.compare.comparison import (
    ComparedImage,
    Comparison,
    Difference,
    ImageScores,
    Interval,
    Paired,
)
from seg.compare.gallery import FOUND_BY_FIRST, FOUND_BY_OTHER, MADE_UP_BY_FIRST, MADE_UP_BY_OTHER, compare_maps
from seg.data.sample import ClassInfo
from seg.report.page_data import Outlines

NAMES = ("old <one>", "outputs/evaluate/2026-01-02_03-04-05-678901", "wide")


def semantic_comparison(num_runs: int = 2, num_classes: int = 6, num_images: int = 4) -> Comparison:
    """Each run's prediction is the truth moved by some pixels; each image is shown for each run but the first."""
    rng, classes, runs = np.random.default_rng(0), classes_of(num_classes), NAMES[:num_runs]
    images = [ImageScores(f"folder/scene<{n}>", tuple(float(v) for v in rng.uniform(0.3, 0.9, num_runs))) for n in range(num_images)]
    gallery = []
    for other in range(1, num_runs):
        for image in images:
            truth = class_map(rng, num_classes, SIZE)
            predicted = [np.roll(np.where(truth == 255, 0, truth), by, axis=1) for by in (3, -4, 6)[:num_runs]]
            apart = compare_maps(truth, predicted[0], predicted[other], num_classes)
            gallery.append(ComparedImage(image, other, photo(rng, SIZE), truth, predicted, apart, {"right in one alone": "2.00 %"}))
    intervals = [{"miou": Interval(0.5 + k / 10, 0.45 + k / 10, 0.55 + k / 10)} for k in range(num_runs)]
    differences = [
        {
            "miou": Difference(0.5, 0.5 + k / 10, k / 10, k / 10 - 0.04, k / 10 + 0.05, 0.99),
            "mean_dice": Difference(0.6, 0.58, -0.02, -0.06, 0.01, 0.2),
            "hd95": Difference(12.5, nan, nan, nan, nan, nan),
        }
        for k in range(1, num_runs)
    ]
    per_class = [{c.name: {"iou": float(rng.random()), "dice": float(rng.random())} for c in classes} for _ in runs]
    per_class[1][classes[-1].name] = {"iou": nan, "dice": nan}
    return Comparison(
        runs=runs,
        split="test",
        classes=classes,
        monitor="miou",
        paired=Paired(intervals, differences),
        level=0.95,
        resamples=1000,
        epochs=[3, 12, 7][:num_runs],
        settings={"optimizer.lr": [0.1, 0.5, None][:num_runs], "model.name": ["unet", "<b>", "fcn"][:num_runs]},
        per_class=per_class,
        score_name="miou",
        images=[*images, ImageScores("empty", (nan,) * num_runs)],
        gallery=gallery,
    )


def instance_comparison() -> Comparison:
    """Two images of three discs; each run found one of its own, and made one up."""
    rng = np.random.default_rng(1)
    classes = [ClassInfo("background", (70, 70, 70)), ClassInfo("cell", (200, 60, 0)), ClassInfo("nucleus", (10, 90, 60))]
    places = [(15, 15), (45, 15), (65, 45)]
    truth = Outlines(discs(places, 9, SIZE), np.array([1, 2, 1]), np.array([False, False, True]), [""] * 3)
    made_up = [(20, 45), (42, 45)]
    said = [
        Outlines(discs([places[k], made_up[k]], 8, SIZE), np.array([1, 2]), np.zeros(2, bool), [""] * 2, np.array([0.9, 0.6], np.float32))
        for k in range(2)
    ]
    verdicts = [FOUND_BY_FIRST, FOUND_BY_OTHER, MADE_UP_BY_FIRST, MADE_UP_BY_OTHER]
    apart = Outlines(discs([*places[:2], *made_up], 8, SIZE), np.array([1, 2, 2, 2]), np.zeros(4, bool), verdicts)
    images = [ImageScores("slide0", (0.2, 0.8)), ImageScores("slide1", (0.9, 0.5))]
    return Comparison(
        runs=("a", "b"),
        split="val",
        classes=classes,
        monitor="mask_ap",
        paired=Paired([{"mask_ap": Interval(v, nan, nan)} for v in (0.3, 0.3)], [{"mask_ap": Difference(0.3, 0.3, 0.0, nan, nan, nan)}]),
        level=0.95,
        resamples=0,
        epochs=[1, 1],
        settings={},
        per_class=[{"cell": {"mask_ap": 0.3, "num_truth": 1200}}, {"cell": {"mask_ap": 0.2, "num_truth": 1200}}],
        score_name="pq",
        images=images,
        gallery=[ComparedImage(image, 1, photo(rng, SIZE), truth, said, apart, {"found by a alone": "1"}) for image in images],
    )
