"""Prepared data and exported predictions, scored by us and by the scorers that others use."""

import contextlib
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from seg.data.sample import Prediction
from seg.data.store import read_annotations, read_entries, read_sample
from seg.evaluation.predictions import BOXES, MASKS, write_predictions
from seg.loading.batch import collate
from seg.metrics.detection import DetectionMetrics
from seg.metrics.instance import InstanceMetrics
from seg.settings.task import Answer

SUMMARY = {"ap": 0, "ap50": 1, "ap75": 2, "ap_small": 3, "ap_medium": 4, "ap_large": 5, "ar": 8}
"""Where pycocotools' summary has each of our figures."""


def evaluated(
    split: Path, folder: Path, class_names: Sequence[str], predictions: Mapping[str, Prediction], answer: Answer = "masks"
) -> dict[str, float]:
    """Our figures of the predictions of a prepared split, which are written to `folder`; images in the manifest's order, one by one."""
    metrics = {"masks": InstanceMetrics, "boxes": DetectionMetrics}[answer](class_names, score_threshold=0.5, max_detections=100)
    entries, annotations = read_entries(split), read_annotations(split)
    with write_predictions(folder, entries, answer) as into:
        for entry in entries:
            sample = read_sample(split, entry, 3, annotations[entry.file])
            metrics.update(collate([sample]), [predictions[entry.image_id]])
            into.add(entry, predictions[entry.image_id])
    return metrics.figures()


def cocos_figures(split: Path, folder: Path, kind: str) -> dict[str, float]:
    """Those of pycocotools, from the files alone; NaN where it has -1, without truth."""
    name, what = {"mask": (MASKS, "segm"), "box": (BOXES, "bbox")}[kind]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(split / "instances.json"))
        run = COCOeval(truth, truth.loadRes(str(folder / name)), what)
        run.evaluate()
        run.accumulate()
        run.summarize()
    return {figure: math.nan if run.stats[place] == -1 else float(run.stats[place]) for figure, place in SUMMARY.items()}
