"""What each headline figure is, in a line for who does not know its name; docs/reference.md says it exactly."""

import re

TEXTS = {
    "miou": "overlap of true and predicted pixels (intersection over union), mean over classes",
    "mean_dice": "overlap as Dice or F1 of the pixels, mean over classes",
    "pixel_accuracy": "share of pixels that are right",
    "mean_accuracy": "share of a class's pixels that are found, mean over classes",
    "frequency_weighted_iou": "overlap, each class weighted by its share of the pixels",
    "mean_boundary_iou": "overlap near the boundaries alone, mean over classes",
    "mean_boundary_f": "share of the contours that lie where they should, mean over classes",
    "mean_hd95": "95th percentile of the distances between true and predicted surfaces, mean over classes",
    "mean_assd": "average distance between true and predicted surfaces, mean over classes",
    "expected_calibration_error": "how far confidence and accuracy are apart on average; 0 is best",
    "maximum_calibration_error": "how far they are apart where it is worst; 0 is best",
    "ap": "average precision over IoU 0.50 to 0.95 (COCO), mean over classes",
    "ap50": "average precision at IoU 0.50",
    "ap75": "average precision at IoU 0.75",
    "ap_small": "average precision of objects below 32 x 32 pixels",
    "ap_medium": "average precision of objects between 32 x 32 and 96 x 96 pixels",
    "ap_large": "average precision of objects from 96 x 96 pixels on",
    "ar": "average recall over IoU 0.50 to 0.95 (COCO)",
    "f1_50": "F1 of matches at IoU 0.5, all classes together",
    "precision_50": "share of the predictions that match an object",
    "recall_50": "share of the objects that are found",
    "tp/(tp+fp+fn)_50": "matches over all that is true or predicted; some call it average precision",
    "pq": "panoptic quality, mean over classes: how many are found, and how well",
    "sq": "mean overlap of what is found",
    "rq": "F1 of what is found, mean over classes",
    "aji": "aggregated Jaccard index: overlap of all objects together",
}


def text_of(figure: str) -> str:
    """The line of a figure, whatever is compared (mask, box) and whatever the unit; empty for one that is not known."""
    kind, _, rest = figure.partition("_")
    if kind in ("mask", "box") and rest in TEXTS:
        return f"{'masks' if kind == 'mask' else 'boxes'}: {TEXTS[rest]}"
    unit = re.search(r"_(px|um)$", figure)
    text = TEXTS.get(figure.removesuffix(unit.group()) if unit else figure, "")
    return f"{text}, in {'pixels' if unit.group(1) == 'px' else 'micrometres'}" if unit and text else text
