"""What misled a model: the largest mistake in an image, and the pixels that speak for the wrong answer."""

from collections.abc import Sequence

import numpy as np
import torch
from skimage.measure import label

from seg.data.sample import IGNORE, Prediction, Sample
from seg.evaluation.errors import judge
from seg.explain.methods import maps_of, question
from seg.explain.page import WORDS, drawn
from seg.explain.subject import Explained, in_window, mask_of
from seg.loading.batch import collate
from seg.metrics.instance import instances_of
from seg.models.base import SegmentationModel
from seg.report.page_data import Misled


def largest_mistake(sample: Sample, given: Prediction, names: Sequence[str], score_threshold: float) -> tuple[Explained, str] | None:
    """What is wrong most in a prediction, and a sentence about it; None where nothing is.

    Of a class map it is the largest connected region of pixels of one true class that are called another one (side by side, not by a corner
    alone; of equals the first). Of instances it is the one with the highest score, of `score_threshold` or more, that
    `seg.evaluation.errors.judge` calls an error. What was missed does not count, since nothing speaks for it. names: of the classes."""
    if given.semantic is not None:
        wrong = (sample.semantic != given.semantic) & (sample.semantic != IGNORE)
        regions = label(np.where(wrong, 1 + sample.semantic.astype(np.int32) * len(names) + given.semantic, 0), connectivity=1)
        counts = np.bincount(regions.ravel())[1:]
        if not len(counts):
            return None
        region, count = regions == 1 + counts.argmax(), int(counts.max())
        true, said = (int(classes[region][0]) for classes in (sample.semantic, given.semantic))
        s, were = ("", "was") if count == 1 else ("s", "were")
        return Explained(said, region, instead=true), f"{count:,} pixel{s} of {names[true]} {were} taken for {names[said]}"
    image = instances_of(collate([sample]), 0, given)
    errors = [v for v in judge(image, score_threshold) if v.which == "predicted" and v.kind in WORDS["mistakes"] and v.area]
    if not errors:
        return None
    worst = max(errors, key=lambda verdict: verdict.score)
    instead = int(image.categories[worst.partner]) if worst.partner is not None and worst.kind.startswith("wrong_class") else None
    text = WORDS["mistakes"][worst.kind].format(true=names[instead or 0], iou=worst.iou)
    found = Explained(worst.category, mask_of(given.masks[worst.index]), worst.score, instead)
    return found, f"What was found as {names[worst.category]}, with a score of {worst.score:.2f}, {text}"


def misled(model: SegmentationModel, sample: Sample, explained: Explained, text: str, names: Sequence[str]) -> Misled:
    """What the page shows of a mistake and its sentence; of an image larger than the model's window, the window about the mistake."""
    image, explained = in_window(sample.image, explained, model.seen_at_once(sample.size))
    images = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None].to(model.mean.device)
    maps = maps_of(question(model, images, explained), (image.shape[0], image.shape[1]), ("integrated gradients", "occlusion"))
    asked = names[explained.category] + ("" if explained.instead is None else f" rather than {names[explained.instead]}")
    pictures = [(name, WORDS["methods"][name], drawn(image, explained.region, values)) for name, values in maps.items()]
    return Misled(sample.image_id, text, asked, drawn(image, explained.region), pictures)
