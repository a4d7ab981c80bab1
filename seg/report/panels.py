"""Pictures of an image's instances, outlined in colours with labels: the true ones, the predicted ones, and what became of both."""

from collections.abc import Sequence

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from seg.data.rle import Rle
from seg.data.sample import ClassInfo, Color, Prediction, Sample
from seg.evaluation.errors import judge
from seg.loading.batch import collate
from seg.metrics.instance import instances_of
from seg.pictures.draw import pale, rgb
from seg.pictures.sheets import Panel
from seg.report.layers import VERDICTS

SIDE = 512  # pixels to which smaller images are enlarged, so that outlines and scores can be told apart


def outlined(
    name: str, image: np.ndarray, masks: Sequence[Rle], colors: Sequence[Color], texts: Sequence[str] | None = None, filled: float = 0.35
) -> Panel:
    """The image (H, W, 3), enlarged where it is small, with the masks outlined over it, each in its colour and with its text. filled: the
    share of the colour within."""
    height, width = image.shape[:2]
    factor = max(1, round(SIDE / max(height, width)))
    picture = cv2.resize(image, (width * factor, height * factor), interpolation=cv2.INTER_LINEAR)
    labels = []
    for mask, color, text in zip(masks, colors, texts or [""] * len(masks), strict=True):
        x, y, w, h = (int(v) for v in coco_mask.toBbox(mask))
        inside = coco_mask.decode(mask)[y : y + h, x : x + w]
        if not inside.size:
            continue
        large = cv2.resize(inside, (w * factor, h * factor), interpolation=cv2.INTER_NEAREST_EXACT)
        part = picture[y * factor : (y + h) * factor, x * factor : (x + w) * factor]
        mixed = (part + (np.array(color, np.float32) - part) * filled).astype(np.uint8)
        part[large > 0] = mixed[large > 0]
        contours, _ = cv2.findContours(np.pad(large, 1), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        thickness = max(2, max(picture.shape[:2]) // 300)
        cv2.drawContours(picture, contours, -1, color, thickness, offset=(x * factor - 1, y * factor - 1))
        if text:
            labels.append((float((x + w / 2) * factor), float((y + h / 2) * factor), text))
    return Panel(name, picture, labels)


def instance_panels(sample: Sample, prediction: Prediction, classes: Sequence[ClassInfo], score_threshold: float) -> list[Panel]:
    """The image, its true instances, those predicted with at least `score_threshold`, and how the two match at IoU 0.5."""
    known = instances_of(collate([sample]), 0, prediction)
    truth = [known.rle(counts) for counts in known.counts]
    kept = np.flatnonzero(prediction.scores >= np.float32(score_threshold))
    true_colors = [(128, 128, 128) if crowd else classes[k].color for k, crowd in zip(known.categories, known.crowd, strict=True)]
    scores = [f"{score:.2f}" for score in prediction.scores[kept]]
    said = [prediction.masks[i] for i in kept]
    judged = judge(known, score_threshold)
    groups = {
        "found": [truth[v.index] for v in judged if v.which == "truth" and v.kind == "matched"],
        "missed": [truth[v.index] for v in judged if v.which == "truth" and v.kind != "matched"],
        "made up": [prediction.masks[v.index] for v in judged if v.which == "predicted" and v.kind not in ("matched", "crowd")],
    }
    masks = [mask for group in groups.values() for mask in group]
    colors = [VERDICTS[verdict] for verdict, group in groups.items() for _ in group]
    found, missed, made_up = map(len, groups.values())
    image, gray = rgb(sample.image), pale(sample.image)
    return [
        Panel("image", image),
        outlined(f"truth: {int((~known.crowd).sum())}", image, truth, true_colors),
        outlined(f"prediction: {len(said)} with scores", image, said, [classes[k].color for k in prediction.categories[kept]], scores),
        outlined(f"found {found} (blue), missed {missed} (red), made up {made_up} (yellow)", gray, masks, colors, filled=0.3),
    ]
