"""Instances from the bottom up: a dense network says of each pixel its class and how far it is from its object's edge.

Bai and Urtasun 2017 (deep watershed transform): an object is a basin of the energy that its pixels' distances to its edge make, so that
objects that touch come apart along the ridge between them."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from scipy import ndimage
from skimage.morphology import h_maxima
from skimage.segmentation import watershed
from torch import Tensor, nn

from seg.core.errors import ConfigError
from seg.data.labelmaps import encode, measure
from seg.data.sample import IGNORE, Prediction
from seg.loading.batch import Batch
from seg.models.base import Floats, Scale, Size, Subject, first_label
from seg.models.dense import DenseModel
from seg.models.losses.sum import DistanceLoss

FOREGROUND = 0.5  # the probability above which a pixel belongs to an object
CORE = 0.75  # the share of an object's largest distance from which on a pixel is in its middle
AROUND = np.ones((3, 3), bool)  # pixels that touch by a corner are of one core


class DistanceModel(DenseModel):
    """Any network of maps, for objects that do not overlap: each pixel belongs to one object or none.

    network: maps (B, C, h, w) float32 to (B, K + 1, ...): logits of no object, for which a first class `background` stands, and of each
    class, and one of the distance. loss: None where the model is only used. peak: how far a peak of the distances, which are shares of 0 to
    1, must rise above the pass to a higher one to be an object's core; less cuts objects at weaker necks. ConfigError where the loss is of
    another model, or peak is no share."""

    channels_are = "one for no object, one a class and one for the distance"

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module | None,
        class_names: Sequence[str],
        mean: Floats,
        std: Floats,
        stride: int,
        scale: Scale,
        peak: float,
    ) -> None:
        self.first_label = first_label(class_names)
        super().__init__(network, self.num_outputs(class_names, True), mean, std, stride, scale)
        if not isinstance(loss, DistanceLoss | None):
            raise ConfigError(f"loss: {type(loss).__name__} learns no distances; set loss=distance, which holds one of classes as well")
        if not 0 < peak < 1:
            raise ConfigError(f"model.adapter.peak={peak}: expected a share between 0 and 1, such as 0.15")
        self.loss, self.peak = loss, peak

    @classmethod
    def num_outputs(cls, class_names: Sequence[str], instances: bool) -> int:
        return super().num_outputs(class_names, instances) + 1

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """At the size that the network sees, to which the labels are brought by their nearest pixels."""
        outputs = self.logits(batch.images)["out"]
        size = (outputs.shape[-2], outputs.shape[-1])
        labels, distances = zip(*(self.targets(batch, index, size) for index in range(len(batch))), strict=True)
        device = outputs.device
        assert self.loss is not None, "a model that is only used has no loss"
        return self.loss(outputs, torch.stack(labels).to(device), torch.stack(distances).to(device))

    def targets(self, batch: Batch, index: int, size: Size) -> tuple[Tensor, Tensor]:
        """The labels (h, w) uint8 of an image at a size, 0 for no object and 255 for what counts nowhere, and its distances (h, w) float32.

        Where objects overlap, the topmost counts. A crowd is neither an object nor none."""
        instances, (height, width) = batch.instances[index], batch.semantic.shape[-2:]
        rows, columns = (((np.arange(new) + 0.5) * old / new).astype(np.int64) for new, old in zip(size, (height, width), strict=True))
        ids = instances.cpu().numpy()[rows[:, None], columns]
        top = ids.max(axis=2, initial=0)
        crowd = batch.crowd[index].cpu().numpy()
        label_of = np.concatenate([[0], np.where(crowd, IGNORE, batch.categories[index].cpu().numpy() + self.first_label)]).astype(np.uint8)
        labels = label_of[top]
        stored = batch.semantic[index].cpu().numpy()[rows[:, None], columns]
        if not self.first_label:  # without a class `background` the class map has 255 wherever there is no object
            labels[(top == 0) & (stored == IGNORE)] = IGNORE
        seen = batch.sizes[index]
        labels[rows >= seen[0]], labels[:, columns >= seen[1]] = IGNORE, IGNORE
        return torch.from_numpy(labels), torch.from_numpy(distance_map(top))

    def evidence(self, x: Tensor, size: Size, subject: Subject) -> Tensor:
        """How far the mean logit of the class lies above that of no object."""
        logits = self.sized_maps(x, size)["out"].float()
        return subject.mean(logits[:, subject.category + self.first_label] - logits[:, 0])

    @torch.inference_mode()
    def predict(self, images: Tensor) -> list[Prediction]:
        outputs = self.full_logits(images)
        return [prediction_of_logits(one[:-1], one[-1].sigmoid(), self.peak, self.first_label) for one in outputs]


def prediction_of_logits(logits: Tensor, distance: Tensor, peak: float, first_label: int) -> Prediction:
    """The objects of an image, from its logits (K, H, W) and distances (H, W) in 0..1; see `prediction_of_maps`."""
    probabilities = logits.softmax(dim=0).nan_to_num()
    return prediction_of_maps(probabilities.cpu().numpy(), distance.nan_to_num().cpu().numpy(), peak, first_label)


def distance_map(ids: np.ndarray) -> np.ndarray:
    """The distance of each pixel to its object's edge, as a share of CORE of the largest of its object and at most 1: (H, W) float32, 0
    outside of objects.

    So the middle of an object is a plateau: else small differences along the ridge of a long or a bent one would be peaks of their own.
    An object's edge are its pixels beside (in rows and columns) a pixel of another label; they have the distance 1, and others 1 more than
    to the nearest edge. The image's border is no edge: an object goes on there. ids: (H, W) int32, 0 = no object."""
    edge = np.zeros(ids.shape, bool)
    for first, second in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = ids[first] != ids[second]
        edge[first] |= differ
        edge[second] |= differ
    inside = ids > 0
    if not edge.any():
        return inside.astype(np.float32)
    distances = 1 + cv2.distanceTransform((~edge).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    largest = np.ones(int(ids.max(initial=0)) + 1, np.float32)
    np.maximum.at(largest, ids[inside], distances[inside])
    return np.where(inside, np.minimum(distances / (CORE * largest[ids]), 1), 0).astype(np.float32)


def objects_of(probabilities: np.ndarray, distance: np.ndarray, peak: float) -> np.ndarray:
    """The object of each pixel: (H, W) int32 ids 1..N, 0 = none.

    Pixels of an object have a probability of no object below a half. Each peak of the distance that rises by `peak` above the pass to a
    higher one is an object's core (h-maxima; Soille 2003), from which the watershed of the distance floods the object's pixels (both
    scikit-image's). A region without a core is an object by itself. probabilities: (K, H, W) float32; the first is that of no object.
    distance: (H, W) float32 in 0..1, as `distance_map` gives it. peak: 0..1, more cores at a smaller one."""
    inside = probabilities[0] < 1 - FOREGROUND
    markers, count = ndimage.label(inside & (h_maxima(np.where(inside, distance, 0), peak) > 0), AROUND)
    regions, _ = ndimage.label(inside)
    marked = np.zeros(int(regions.max(initial=0)) + 1, bool)
    marked[regions[markers > 0]] = True
    alone = inside & ~marked[regions]
    markers[alone] = regions[alone] + count
    return np.asarray(watershed(-distance, markers, mask=inside), np.int32)


def prediction_of_maps(probabilities: np.ndarray, distance: np.ndarray, peak: float, first_label: int) -> Prediction:
    """The objects of an image, best first. An object's score is the mean probability, over its pixels, that they belong to its class; its
    class is the one for which this is highest. The arguments are those of `objects_of`, and the channel of the class with index 0, as
    `seg.models.base.first_label` gives it."""
    found = objects_of(probabilities, distance, peak)
    _, numbers = np.unique(found, return_inverse=True)
    ids = numbers.reshape(found.shape).astype(np.int32) + np.int32(0 if (found == 0).any() else 1)
    count = int(ids.max(initial=0))
    pixels = np.bincount(ids.ravel(), minlength=count + 1)[1:]
    means = [np.bincount(ids.ravel(), p.ravel(), count + 1)[1:] / np.maximum(pixels, 1) for p in probabilities[1:]]
    of_class = np.stack(means, axis=1) if means else np.zeros((count, 1))
    scores = of_class.max(axis=1, initial=0).clip(0, 1)
    order = np.argsort(-scores, kind="stable")
    kinds = (of_class.argmax(axis=1) + 1 - first_label).astype(np.int32)[order]
    masks, (_, boxes) = encode(ids[..., None], count), measure(ids[..., None], count)
    corners = boxes[order].astype(np.float32).reshape(-1, 4)
    return Prediction(None, None, scores[order].astype(np.float32), kinds, corners, [masks[i] for i in order])
