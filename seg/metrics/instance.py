"""Instance figures: COCO's average precision over all scores, and matching, panoptic quality and AJI at one score threshold.

Enter batches and predictions; kept are the run lengths of each image and the counts of each class, never a mask.
`seg.metrics.coco` and `seg.metrics.matching` define the figures. A class without truth and predictions is NaN and excluded
from means."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple
from typing import Any, ClassVar

import numpy as np
import torch

from seg.data.labelmaps import boxes_of, encode, fill_boxes
from seg.data.sample import BACKGROUND, IGNORE, Prediction
from seg.loading.batch import Batch
from seg.metrics.base import ImageScore
from seg.metrics.coco import FIGURES, ImageInstances, figures_by_class
from seg.metrics.matching import THRESHOLDS, Matches, Tally, areas_of, measure_overlaps, tally
from seg.metrics.semantic import mean_of_known, ratio


class InstanceMetrics:
    """The streaming state: every image's instances, and each category's counts of predictions that score at least `score_threshold`."""

    OF_CLASS: ClassVar[Mapping[str, Sequence[str]]] = {"mask": ("ap", "ap50", "ap75"), "box": ("ap",)}
    """What is compared, and the figures of it that a class's row has."""

    def __init__(self, class_names: Sequence[str], score_threshold: float, max_detections: int) -> None:
        self.names = {index: name for index, name in enumerate(class_names) if (index, name) != (0, BACKGROUND)}
        if not self.names:
            raise ValueError(f"class_names must name a class besides {BACKGROUND}, got {list(class_names)}")
        self.score_threshold, self.max_detections = score_threshold, max_detections
        self.images: dict[str, ImageInstances] = {}
        self.tallies: dict[int, Tally] = dict.fromkeys(self.names, Tally())
        self.image_tallies: dict[str, dict[int, Tally]] = {}  # of each image that this process saw
        self._by_class: dict[str, dict[str, np.ndarray]] = {}

    @property
    def scored(self) -> list[int]:
        """The categories whose scores say how likely an instance is right."""
        return list(self.names)

    def update(self, batch: Batch, predictions: Sequence[Prediction]) -> list[ImageScore]:
        scores = []
        for index, prediction in zip(range(len(batch)), predictions, strict=True):
            image = instances_of(batch, index, prediction)
            self._add(image)
            own = {c: tally_of(image, c, self.score_threshold) for c in sorted(present_in(image))}
            self.tallies |= {c: self.tallies[c] + t for c, t in own.items()}
            self.image_tallies[image.image_id] = own
            scores.append(self.score(image.image_id, [image.image_id]))
        return scores

    def score(self, image_id: str, tiles: Sequence[str]) -> ImageScore:
        """An object that lies in several tiles counts in each."""
        own = [self.image_tallies[tile] for tile in tiles]
        return score_of(image_id, [sum((t[c] for t in own if c in t), start=Tally()) for c in sorted(set().union(*own))])

    def _add(self, image: ImageInstances) -> None:
        """Keep an image. One that comes twice is refused: it would weigh double, and its order among equal scores would be chance."""
        if image.image_id in self.images:
            raise ValueError(f"{image.image_id}: the image was counted before; each image of a data set is to come once")
        if unknown := present_in(image) - self.names.keys():
            what = f"{image.image_id}: an instance is of category {min(unknown)}"
            raise ValueError(f"{what}, expected one of {min(self.names)}..{max(self.names)}")
        self.images[image.image_id] = image
        self._by_class.clear()

    def state(self) -> torch.Tensor:
        images = [[v.tolist() if isinstance(v, np.ndarray) else v for v in astuple(image)] for image in self.images.values()]
        text = json.dumps({"images": images, "tallies": {c: astuple(t) for c, t in self.tallies.items()}}, separators=(",", ":"))
        return torch.frombuffer(bytearray(text, "utf-8"), dtype=torch.uint8)

    def load_states(self, states: Sequence[torch.Tensor]) -> None:
        self.images, self.tallies, self._by_class = {}, dict.fromkeys(self.names, Tally()), {}
        for state in states:
            seen = json.loads(state.cpu().numpy().tobytes())
            for image in seen["images"]:
                self._add(_image_from_json(image))
            self.tallies |= {int(c): self.tallies[int(c)] + _tally_from_json(t) for c, t in seen["tallies"].items()}

    def figures(self) -> dict[str, float]:
        total = sum(self.tallies.values(), start=Tally())
        by_overlap = {f"{kind}_{name}": float(mean_of_known(v, 0)) for kind in self.OF_CLASS for name, v in self._coco(kind).items()}
        return by_overlap | _detection_figures(total.at[0]) | panoptic_means(self.tallies.values()) | {"aji": total.aji}

    def resampled(self, image_ids: Sequence[str], weights: np.ndarray) -> dict[str, np.ndarray]:
        order = np.argsort(image_ids)  # that of `_coco`
        images, times = [self.images[image_ids[i]] for i in order], np.ascontiguousarray(weights[:, order])
        by_overlap = {
            f"{kind}_{name}": mean_of_known(values, 0)
            for kind in self.OF_CLASS
            for name, values in figures_by_class(images, list(self.names), kind, self.max_detections, times).items()
        }
        return by_overlap | resampled_counts([self.image_tallies[image_id] for image_id in image_ids], list(self.names), weights)

    def per_class(self) -> dict[str, dict[str, float]]:
        rows = {}
        for place, (category, name) in enumerate(self.names.items()):
            counts = self.tallies[category]
            row = {f"{kind}_{name}": float(self._coco(kind)[name][place]) for kind, names in self.OF_CLASS.items() for name in names}
            row |= _detection_figures(counts.at[0]) | {"pq": counts.panoptic.pq, "sq": counts.panoptic.sq, "rq": counts.panoptic.f1}
            row |= {"num_truth": counts.num_truth, "num_predicted": counts.num_predicted}
            absent = counts.num_truth + counts.num_predicted == 0
            rows[name] = dict.fromkeys(row, math.nan) if absent else row
        return rows

    def tables(self) -> dict[str, list[Mapping[str, Any]]]:
        return {"matching": self._matching_rows(), "coco": self._coco_rows()}

    def _matching_rows(self) -> list[Mapping[str, Any]]:
        """The counts of all classes together, at each IoU threshold."""
        total = sum(self.tallies.values(), start=Tally())
        return [
            {"iou_threshold": percent / 100}
            | {name: getattr(at, name) for name in ("tp", "fp", "fn", "precision", "recall", "f1")}
            | {"tp/(tp+fp+fn)": at.ratio, "mean_matched_iou": at.mean_iou}
            for percent, at in zip(THRESHOLDS, total.at, strict=True)
        ]

    def _coco_rows(self) -> list[Mapping[str, Any]]:
        """COCO's figures over all classes, and what each of them averages."""
        return [
            {"kind": kind, "figure": name, "iou_thresholds": iou, "area": area, "max_detections": self.max_detections}
            | {"value": float(mean_of_known(self._coco(kind)[name], 0))}
            for kind in self.OF_CLASS
            for name, (_, iou, area) in FIGURES.items()
        ]

    def _coco(self, kind: str) -> dict[str, np.ndarray]:
        """{figure: (K,)}, computed once for everything seen; the images in the order of their ids, so that ranks cannot change what is
        equal."""
        if kind not in self._by_class:
            images = [self.images[image_id] for image_id in sorted(self.images)]
            found = figures_by_class(images, list(self.names), kind, self.max_detections, np.ones((1, len(images))))
            self._by_class[kind] = {name: values[:, 0] for name, values in found.items()}
        return self._by_class[kind]


def instances_of(batch: Batch, index: int, prediction: Prediction) -> ImageInstances:
    """What a batch and a prediction say of its image `index`; true instances without a pixel are left out.

    Raises ValueError where the prediction contradicts itself or the image's size."""
    image_id, (height, width) = batch.image_ids[index], batch.sizes[index]
    check_prediction(image_id, (height, width), prediction)
    categories, crowd = batch.categories[index].cpu().numpy(), batch.crowd[index].cpu().numpy()
    ids = np.ascontiguousarray(batch.instances[index][:height, :width].cpu().numpy())
    if prediction.segments:  # what the class map ignores is of no segment, nor of a crowd
        ids = np.where(batch.semantic[index, :height, :width, None].cpu().numpy() == IGNORE, 0, ids)
    masks = encode(ids, len(categories))
    areas = areas_of(masks)
    seen = np.flatnonzero(areas)
    if prediction.boxed:
        masks = fill_boxes(boxes_of(ids, len(categories)), height, width)
    truth = categories[seen], crowd[seen], [masks[i]["counts"] for i in seen]
    predicted = np.array(prediction.categories, np.int32), np.array(prediction.scores, np.float32), np.array(prediction.boxes, np.float32)
    predicted_counts = [m["counts"] for m in prediction.masks]
    own_areas = areas[seen] if prediction.boxed else None
    free = (ids.max(axis=2, keepdims=True, initial=0) == 0).astype(np.int32)
    void = encode(free, 1)[0]["counts"] if prediction.segments else None
    return ImageInstances(image_id, (height, width), *truth, *predicted, predicted_counts, own_areas, void)


def check_prediction(image_id: str, size: tuple[int, int], prediction: Prediction) -> None:
    """Raise ValueError where a prediction's columns differ in length, its masks in size, or a number is not finite."""
    boxes = np.asarray(prediction.boxes)
    lengths = {name: len(getattr(prediction, name)) for name in ("scores", "categories", "boxes", "masks")}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{image_id}: a prediction's columns must be of one length, got {lengths}")
    if boxes.shape[1:] != (4,):
        raise ValueError(f"{image_id}: predicted boxes must be (N, 4), got {boxes.shape}")
    if not (np.isfinite(prediction.scores).all() and np.isfinite(boxes).all()):
        raise ValueError(f"{image_id}: a predicted score or box is not a finite number")
    if (turned := (boxes[:, 2:] < boxes[:, :2]).any(axis=1)).any():
        raise ValueError(f"{image_id}: predicted boxes must be x1, y1, x2, y2, got {boxes[turned][0].tolist()}")
    for number, mask in enumerate(prediction.masks):
        if list(mask["size"]) != list(size) or not isinstance(mask["counts"], str):
            kind = type(mask["counts"]).__name__
            problem = f"{image_id}: predicted mask {number} must be RLE of size {list(size)} with counts as str"
            raise ValueError(f"{problem}, got {list(mask['size'])} with {kind}")


def present_in(image: ImageInstances) -> set[int]:
    """The categories of which an image has true or predicted instances."""
    return {*image.categories.tolist(), *image.predicted_categories.tolist()}


def tally_of(image: ImageInstances, category: int, score_threshold: float) -> Tally:
    """The counts of one category in one image, of the predictions that score at least `score_threshold`."""
    truth, crowd = image.truth(category, crowd=False), image.truth(category, crowd=True)
    void = None if image.void is None else image.rle(image.void)
    return tally(measure_overlaps(truth, crowd, image.predicted(category, score_threshold), void))


def score_of(image_id: str, tallies: Iterable[Tally]) -> ImageScore:
    """An image's own figures: counts over its classes at IoU 0.5, and the mean panoptic quality of those that occur in it."""
    each = list(tallies)
    total = sum(each, start=Tally())
    at = total.at[0]
    figures = {"num_truth": total.num_truth, "num_predicted": total.num_predicted, "tp_50": at.tp, "fp_50": at.fp, "fn_50": at.fn}
    return ImageScore(image_id, "pq", figures | {"f1_50": at.f1, "pq": panoptic_means(each)["pq"], "aji": total.aji})


def panoptic_means(tallies: Iterable[Tally]) -> dict[str, float]:
    """pq, sq and rq as means over the classes that have truth or predictions (Kirillov et al. 2019); NaN without any."""
    present = [t.panoptic for t in tallies if not math.isnan(t.panoptic.pq)]
    columns = {"pq": [p.pq for p in present], "sq": [p.sq for p in present], "rq": [p.f1 for p in present]}
    return {name: float(np.mean(values)) if values else math.nan for name, values in columns.items()}


def resampled_counts(tallies: Sequence[Mapping[int, Tally]], categories: Sequence[int], weights: np.ndarray) -> dict[str, np.ndarray]:
    """The figures of matching, panoptic quality and AJI where image i occurs weights[r, i] times; tallies: each image's, by category."""
    totals = [sum(own.values(), start=Tally()) for own in tallies]
    tp, fp, fn = (weights @ np.array([getattr(t.at[0], name) for t in totals], float) for name in ("tp", "fp", "fn"))
    intersection, union = (weights @ np.array([getattr(t, name) for t in totals], float) for name in ("intersection", "union"))
    rates = ratio(2 * tp, 2 * tp + fp + fn), ratio(tp, tp + fp), ratio(tp, tp + fn), ratio(tp, tp + fp + fn)
    panoptic: dict[str, list[np.ndarray]] = {"pq": [], "sq": [], "rq": []}
    for category in categories:
        matches = [own[category].panoptic if category in own else Matches() for own in tallies]
        tp, fp, fn = (weights @ np.array([getattr(m, name) for m in matches], float) for name in ("tp", "fp", "fn"))
        overlap = weights @ np.array([m.tp * m.mean_iou if m.tp else 0.0 for m in matches])
        panoptic["rq"].append(ratio(2 * tp, 2 * tp + fp + fn))
        panoptic["sq"].append(np.where((tp == 0) & (fp + fn > 0), 0, ratio(overlap, tp)))
        panoptic["pq"].append(ratio(2 * overlap, 2 * tp + fp + fn))
    means = {name: mean_of_known(np.stack(values), 0) for name, values in panoptic.items()}
    return dict(zip(DETECTION, rates, strict=True)) | means | {"aji": ratio(intersection, union)}


DETECTION = ("f1_50", "precision_50", "recall_50", "tp/(tp+fp+fn)_50")


def _detection_figures(at: Matches) -> dict[str, float]:
    return dict(zip(DETECTION, (at.f1, at.precision, at.recall, at.ratio), strict=True))


def _image_from_json(values: Sequence[Any]) -> ImageInstances:
    image_id, size, categories, crowd, counts, predicted_categories, scores, boxes, predicted_counts, areas, void = values
    truth = np.array(categories, np.int32), np.array(crowd, bool), counts
    predicted = np.array(predicted_categories, np.int32), np.array(scores, np.float32), np.array(boxes, np.float32).reshape(-1, 4)
    own_areas = None if areas is None else np.array(areas, float)
    return ImageInstances(image_id, tuple(size), *truth, *predicted, predicted_counts, own_areas, void)


def _tally_from_json(values: Sequence[Any]) -> Tally:
    num_truth, num_predicted, at, panoptic, intersection, union = values
    return Tally(num_truth, num_predicted, tuple(Matches(*m) for m in at), Matches(*panoptic), intersection, union)
