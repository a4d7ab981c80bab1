"""Several networks of the same classes as one."""

from collections.abc import Sequence
from dataclasses import replace
from math import lcm

import torch
from torch import Tensor

from seg.core.errors import ConfigError
from seg.data.sample import Prediction
from seg.models.postprocess import Postprocess
from seg.models.semantic import predictions_of
from seg.predict.fusion import RunningMean, fuse
from seg.tiles.bands import check_blend
from seg.tiles.network import Facts, Network


class Ensemble:
    """The mean of what several networks say of an image.

    files: where each network comes from, for errors. blend: `probabilities` or `logits`, which the mean is taken of
    (semantic). iou_threshold: of the fusion of instances (see `seg.predict.fusion.fuse`). Operations on objects are done where the
    networks have the same. ConfigError where the networks differ in task, classes or channels.
    """

    def __init__(self, networks: Sequence[Network], files: Sequence[str], blend: str, iou_threshold: float) -> None:
        check_blend(blend)
        for network, file in zip(networks, files, strict=True):
            refuse_others(networks[0].facts, files[0], network.facts, file)
        self.networks, self.blend, self.iou_threshold = list(networks), blend, iou_threshold
        first = networks[0].facts
        together = {replace(network.facts.postprocess, temperature=1.0) for network in networks}  # each does its temperature itself
        post = together.pop() if len(together) == 1 else Postprocess()
        self.facts = replace(first, stride=lcm(*(network.facts.stride for network in networks)), postprocess=post)

    @torch.inference_mode()
    def logits(self, images: Tensor) -> Tensor:
        mean = RunningMean(self.blend)
        for network in self.networks:
            mean.add(network.logits(images))
        return mean.logits()

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
        raise ConfigError(
            f"{file}: takes images of {other.channels} channels, but {first_file} of {first.channels}; an ensemble sees the same images"
        )
    if other.data_range != first.data_range:
        raise ConfigError(
            f"{file}: was trained with data.range={other.data_range}, but {first_file} with {first.data_range}; an ensemble sees the same "
            "images"
        )
    ours, theirs = ([c.name for c in facts.classes] for facts in (first, other))
    if ours != theirs:
        index = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None)
        if index is None:
            what = f"has {len(theirs)} classes, but {first_file} has {len(ours)}"
        else:
            what = f"calls class {index} '{theirs[index]}', but {first_file} calls it '{ours[index]}'"
        raise ConfigError(f"{file}: {what}; an ensemble needs networks of the same classes in the same order")
