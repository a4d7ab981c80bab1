"""Pictures of an evaluated image's instances: those that are true, those that are predicted, and what became of both."""

from collections.abc import Sequence

import numpy as np

from seg.data.sample import ClassInfo, Color, Prediction, Sample
from seg.evaluation.errors import judge
from seg.loading.batch import collate
from seg.metrics.instance import instances_of
from seg.pictures.draw import pale, rgb
from seg.pictures.sheets import Panel
from seg.report.instance_pictures import ColoredMasks, outlined
from seg.report.layers import VERDICTS

CROWD: Color = (128, 128, 128)


def instance_panels(sample: Sample, prediction: Prediction, classes: Sequence[ClassInfo], score_threshold: float) -> list[Panel]:
    """The image, its true instances, those predicted with at least `score_threshold`, and how the two match at IoU 0.5."""
    known = instances_of(collate([sample]), 0, prediction)
    truth = [known.rle(counts) for counts in known.counts]
    kept = np.flatnonzero(prediction.scores >= np.float32(score_threshold))
    true_colors = [CROWD if crowd else classes[k].color for k, crowd in zip(known.categories, known.crowd, strict=True)]
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
    image = rgb(sample.image)
    return [
        Panel("image", image),
        outlined(f"truth: {int((~known.crowd).sum())}", image, ColoredMasks(truth, true_colors, [""] * len(truth), 0.35)),
        outlined(
            f"prediction: {len(said)} with scores",
            image,
            ColoredMasks(said, [classes[k].color for k in prediction.categories[kept]], scores, 0.35),
        ),
        outlined(
            f"found {found} (blue), missed {missed} (red), made up {made_up} (yellow)",
            pale(sample.image),
            ColoredMasks(masks, colors, [""] * len(masks), 0.3),
        ),
    ]
