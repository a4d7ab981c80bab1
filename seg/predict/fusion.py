"""Several answers to one image as one: means of logits or probabilities, and weighted boxes fusion of instances with masks.

Weighted boxes fusion: Solovyev, Wang, Gabruseva 2021, https://arxiv.org/abs/1910.13302."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import lcm
from typing import NamedTuple

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from seg.core.errors import ConfigError
from seg.data.rle import Rle, decode_crop, encode_crop
from seg.data.sample import Prediction
from seg.models.postprocess import Postprocess
from seg.models.semantic import predictions_of
from seg.tiles.network import Facts, Network


@torch.inference_mode()
def mean_logits(parts: Iterable[Tensor], blend: str) -> Tensor:
    """The mean (B, K, H, W) float32 of logits, or of their probabilities, that come one after another, on the device of the first.

    Of probabilities the logarithm of their mean, whose softmax is this mean; below 1.2e-38, float32's smallest normal number, they are
    taken for it, so that none is infinite. A sum is all that is kept."""
    total, count = torch.zeros(()), 0
    for logits in parts:
        values = logits.softmax(dim=1) if blend == "probabilities" else logits
        total = total.add_(values.to(total.device)) if count else values.clone()
        count += 1
    mean = total / count
    return mean.clamp_(min=torch.finfo(mean.dtype).tiny).log_() if blend == "probabilities" else mean


class Instance(NamedTuple):
    """One prediction. box: (4,) float64. crop: (h, w) bool, the mask from (left, top) on."""

    score: float
    box: np.ndarray
    mask: Rle
    crop: np.ndarray
    left: int
    top: int

    @property
    def extent(self) -> tuple[int, int, int, int]:
        """xyxy half-open pixels."""
        return self.left, self.top, self.left + self.crop.shape[1], self.top + self.crop.shape[0]


@dataclass(slots=True)
class Cluster:
    """Instances that are taken for one object. count: of its members. total: of their scores. boxes: their sum, times scores.

    votes: (h, w) float64 from (left, top) on, in each pixel the scores of the members that hold it."""

    count: int
    total: float
    boxes: np.ndarray
    votes: np.ndarray
    left: int
    top: int
    mask: Rle

    @classmethod
    def of(cls, one: Instance) -> Cluster:
        return cls(1, one.score, one.score * one.box, one.score * one.crop, one.left, one.top, one.mask)

    @property
    def box(self) -> np.ndarray:
        """(4,) float64, the mean of the members' boxes, weighted by score."""
        return self.boxes / self.total

    @property
    def extent(self) -> tuple[int, int, int, int]:
        """Where its members lie, xyxy half-open pixels."""
        return self.left, self.top, self.left + self.votes.shape[1], self.top + self.votes.shape[0]

    def add(self, one: Instance) -> None:
        before, (x1, y1, x2, y2) = self.extent, one.extent
        left, top, right, bottom = min(before[0], x1), min(before[1], y1), max(before[2], x2), max(before[3], y2)
        votes = np.zeros((bottom - top, right - left))
        votes[before[1] - top : before[3] - top, before[0] - left : before[2] - left] = self.votes
        votes[y1 - top : y2 - top, x1 - left : x2 - left] += one.score * one.crop
        self.votes, self.left, self.top = votes, left, top
        self.count, self.total, self.boxes = self.count + 1, self.total + one.score, self.boxes + one.score * one.box
        self.mask = encode_crop(2 * votes > self.total, left, top, *self.mask["size"])


Iou = Callable[[Sequence[Cluster], Instance], np.ndarray]
"""The IoU (N,) float of one instance with each of N clusters as they are at that time."""


def mask_iou(clusters: Sequence[Cluster], one: Instance) -> np.ndarray:
    """Of the masks; only those are compared whose boxes overlap."""
    ious = np.zeros(len(clusters))
    extents = np.array([cluster.extent for cluster in clusters], np.int64).reshape(-1, 4)
    low, high = np.maximum(extents[:, :2], one.extent[:2]), np.minimum(extents[:, 2:], one.extent[2:])
    near = np.flatnonzero((low < high).all(axis=1)).tolist()
    if near:
        ious[near] = coco_mask.iou([one.mask], [clusters[i].mask for i in near], [0] * len(near))[0]
    return ious


def fuse(predictions: Sequence[Prediction], iou_threshold: float, iou: Iou = mask_iou) -> Prediction:
    """The instances that several networks, or views, found in one image -> one Prediction, best first, by weighted boxes fusion.

    From the best score down, an instance joins the cluster of its class with which its IoU is greatest, if that is more than
    `iou_threshold`, else it starts one. Of a cluster with n members from S predictions, the score is the members' mean times
    min(n, S) / S; the box is their mean, weighted by score; the mask holds the pixels where members with more than half of the
    cluster's scores have theirs. It is compared with the next instance as it is by then. Instances without a pixel or a
    score above 0 are left out. The same predictions in the same order give the same bytes."""
    clusters: dict[int, list[Cluster]] = {}
    for category, one in _in_order(predictions):
        of_class = clusters.setdefault(category, [])
        ious = iou(of_class, one)
        best = int(ious.argmax()) if len(of_class) else -1
        if best >= 0 and ious[best] > iou_threshold:
            of_class[best].add(one)
        else:
            of_class.append(Cluster.of(one))
    sources = len(predictions)
    found = [(c.total / c.count * min(c.count, sources) / sources, category, c) for category, many in clusters.items() for c in many]
    found.sort(key=lambda entry: -entry[0])
    return Prediction(
        scores=np.array([score for score, _, _ in found], np.float32),
        categories=np.array([category for _, category, _ in found], np.int32),
        boxes=np.array([cluster.box for _, _, cluster in found], np.float32).reshape(-1, 4),
        masks=[cluster.mask for _, _, cluster in found],
    )


def _in_order(predictions: Sequence[Prediction]) -> list[tuple[int, Instance]]:
    """All instances with their classes, the best first; of equal scores those of the first prediction."""
    found = []
    for p in predictions:
        for score, category, box, mask in zip(p.scores.tolist(), p.categories.tolist(), p.boxes.astype(np.float64), p.masks, strict=True):
            crop, left, top = decode_crop(mask)
            if score > 0 and crop.size:
                found.append((category, Instance(score, box, mask, crop, left, top)))
    return sorted(found, key=lambda entry: -entry[1].score)


class Ensemble:
    """The mean of what several networks say of an image.

    files: where each network comes from, for errors. blend: `probabilities` or `logits`, which the mean is taken of
    (semantic). iou_threshold: of the fusion of instances (see `seg.predict.fusion.fuse`). Operations on objects are done where the
    networks have the same. ConfigError where the networks differ in task, classes or channels."""

    def __init__(self, networks: Sequence[Network], files: Sequence[str], blend: str, iou_threshold: float) -> None:
        for network, file in zip(networks, files, strict=True):
            refuse_others(networks[0].facts, files[0], network.facts, file)
        self.networks, self.blend, self.iou_threshold = list(networks), blend, iou_threshold
        first = networks[0].facts
        together = {replace(network.facts.postprocess, temperature=1.0) for network in networks}  # each does its temperature itself
        post = together.pop() if len(together) == 1 else Postprocess()
        self.facts = replace(first, stride=lcm(*(network.facts.stride for network in networks)), postprocess=post)

    def logits(self, images: Tensor) -> Tensor:
        return mean_logits((network.logits(images) for network in self.networks), self.blend)

    def predict(self, images: Tensor) -> list[Prediction]:
        if self.facts.dense:
            return predictions_of(self.logits(images))
        found = [network.predict(images) for network in self.networks]
        return [fuse(of_image, self.iou_threshold) for of_image in zip(*found, strict=True)]


def refuse_others(first: Facts, first_file: str, other: Facts, file: str) -> None:
    """ConfigError where two networks cannot answer together."""
    if other.task != first.task:
        raise ConfigError(f"{file}: its task is {other.task}, but that of {first_file} is {first.task}; an ensemble has one task")
    if other.channels != first.channels:
        fix = "an ensemble sees the same images"
        raise ConfigError(f"{file}: takes images of {other.channels} channels, but {first_file} of {first.channels}; {fix}")
    if other.data_range != first.data_range:
        fix = "an ensemble sees the same images"
        raise ConfigError(f"{file}: was trained with data.range={other.data_range}, but {first_file} with {first.data_range}; {fix}")
    ours, theirs = ([c.name for c in facts.classes] for facts in (first, other))
    if ours != theirs:
        index = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None)
        if index is None:
            what = f"has {len(theirs)} classes, but {first_file} has {len(ours)}"
        else:
            what = f"calls class {index} '{theirs[index]}', but {first_file} calls it '{ours[index]}'"
        raise ConfigError(f"{file}: {what}; an ensemble needs networks of the same classes in the same order")
