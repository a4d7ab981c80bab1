"""pycocotools finds our figures in the files of an evaluation of real nuclei, whose predictions are the truth, distorted."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from official import cocos_figures, evaluated
from random_instances import rle_of
from real_sets import needs, prepared_once
from tiny import masks_of

from seg.data.sample import Prediction, Sample
from seg.data.store import read_annotations, read_entries, read_info, read_sample

pytestmark = needs("dsb2018")


def distorted(sample: Sample, rng: np.random.Generator) -> Prediction:
    """Of the true nuclei some are missing, the others grown, shrunk, moved, joined with the next or as they are, some twice."""
    masks, found = masks_of(sample), []
    for number, mask in enumerate(masks):
        kind, disc = rng.random(), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (int(rng.integers(2, 6)),) * 2)
        if kind < 0.25:
            found.append(cv2.dilate(mask.astype(np.uint8), disc))
        elif kind < 0.5:
            found.append(cv2.erode(mask.astype(np.uint8), disc))
        elif kind < 0.7:
            found.append(np.roll(mask, rng.integers(-5, 6, 2).tolist(), axis=(0, 1)))
        elif kind < 0.75:
            found.append(mask | masks[(number + 1) % len(masks)])
        elif kind < 0.9:
            found += [mask] * int(rng.integers(1, 3))
    found = [mask for mask in found if mask.any()]
    corners = np.array([cv2.boundingRect(np.asarray(mask, np.uint8)) for mask in found], np.float32).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    scores = rng.random(len(found)).astype(np.float32)
    order = np.argsort(-scores)
    boxes = (corners + rng.uniform(-1, 1, corners.shape) * [1, 1, 0.5, 0.5]).astype(np.float32)
    return Prediction(
        scores=scores[order],
        categories=np.ones(len(found), np.int32),
        boxes=np.stack([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], axis=1).reshape(-1, 4)[order],
        masks=[rle_of(found[place]) for place in order],
    )


def test_pycocotools_finds_our_figures_of_nuclei_in_the_files(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    split, rng = prepared_once(tmp_path_factory, "dsb2018") / "train", np.random.default_rng(0)
    annotations = read_annotations(split)
    predictions = {e.image_id: distorted(read_sample(split, e, 3, annotations[e.file]), rng) for e in read_entries(split)}
    predictions[sorted(predictions)[0]] = Prediction()
    counts = [len(p.scores) for p in predictions.values()]
    assert max(counts) > 100, "more than COCO counts in an image"
    assert len(counts) == 69
    ours = evaluated(split, tmp_path / "predictions", [c.name for c in read_info(split.parent).classes], predictions)
    for kind in ("mask", "box"):
        official = cocos_figures(split, tmp_path / "predictions", kind)
        assert [name for name, value in official.items() if not 0 < value < 1] == ["ap_large"], "no nucleus is as large"
        for figure, value in official.items():
            assert value == pytest.approx(ours[f"{kind}_{figure}"], abs=1e-6, nan_ok=True), (kind, figure)
