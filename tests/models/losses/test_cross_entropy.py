"""Pixelwise losses against torch in double precision and against the formulas; the hard pixels by sorting all of them."""

import math

import numpy as np
import pytest
import torch
from labelled_logits import IGNORE, PIXELS, assert_agrees, flat_softmax, logits_and_labels, one_hot, value_and_gradient
from torch import Tensor
from torch.nn import functional as F

from seg.data.store import ClassCounts
from seg.models.losses import CrossEntropy, Focal, HardExamples

WEIGHTS = {"none": None, "inverse": [1 / 3, 2 / 3, 2.0, 0.0], "median": [0.5, 1.0, 3.0, 0.0]}
KINDS = ["none", "inverse", "median", [0.5, 2.0, 0.0, 1.0]]


def numbers(kind: str | list[float]) -> list[float] | None:
    return WEIGHTS[kind] if isinstance(kind, str) else kind


def pixel_weights(semantic: Tensor, kind: str | list[float]) -> Tensor:
    truth, _ = one_hot(semantic, 4)
    return truth @ torch.tensor(numbers(kind) or [1.0] * 4, dtype=torch.float64)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_cross_entropy_equals_torchs(kind: str | list[float], smoothing: float) -> None:
    def reference(logits: Tensor, semantic: Tensor) -> Tensor:
        weight = None if numbers(kind) is None else torch.tensor(numbers(kind), dtype=torch.float64)
        return F.cross_entropy(logits, semantic.long(), weight, ignore_index=IGNORE, label_smoothing=smoothing)

    assert_agrees(CrossEntropy(kind, smoothing, PIXELS), reference, *logits_and_labels())


@pytest.mark.parametrize("channels_last", [False, True])
def test_many_classes_take_another_way_to_the_same(channels_last: bool) -> None:
    logits, semantic = logits_and_labels(occurring=15, classes=16)
    memory = logits.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    loss = CrossEntropy([float(k) for k in range(16)], 0.1, ClassCounts([1] * 16, [16] * 16))
    weight = torch.arange(16, dtype=torch.float64)
    assert_agrees(loss, lambda x, y: F.cross_entropy(x, y.long(), weight, ignore_index=IGNORE, label_smoothing=0.1), memory, semantic)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 3.5])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_focal_equals_its_formula(kind: str | list[float], gamma: float) -> None:
    def reference(logits: Tensor, semantic: Tensor) -> Tensor:
        truth, counted = one_hot(semantic, 4)
        p = (flat_softmax(logits) * truth).sum(1)[counted]
        weight = pixel_weights(semantic, kind)[counted]
        return (-weight * (1 - p) ** gamma * p.log()).sum() / weight.sum()

    assert_agrees(Focal(gamma, kind, PIXELS), reference, *logits_and_labels())


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_focal_of_gamma_0_is_the_cross_entropy(kind: str | list[float]) -> None:
    logits, semantic = logits_and_labels()
    for ours, wanted in zip(
        value_and_gradient(Focal(0.0, kind, PIXELS), logits.float(), semantic),
        value_and_gradient(CrossEntropy(kind, 0.0, PIXELS), logits.float(), semantic),
        strict=True,
    ):
        torch.testing.assert_close(ours, wanted)


@pytest.mark.parametrize(("threshold", "min_kept"), [(0.3, 0.0), (0.7, 0.05), (1e-9, 0.25), (0.2, 0.5), (1e-9, 0.0001)])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_hard_examples_are_those_that_sorting_finds(kind: str | list[float], threshold: float, min_kept: float) -> None:
    logits, semantic = logits_and_labels()
    truth, _ = one_hot(semantic, 4)
    weight, p = pixel_weights(semantic, kind), (flat_softmax(logits) * truth).sum(1)
    ranked = sorted((float(p[i]), i) for i in range(len(p)) if weight[i] > 0)
    count = max(sum(value <= threshold for value, _ in ranked), math.ceil(min_kept * len(ranked)))
    assert 0 < count < len(ranked)
    kept = [i for _, i in ranked[:count]]

    def reference(logits: Tensor, _: Tensor) -> Tensor:
        p = (flat_softmax(logits) * truth).sum(1)[kept]
        return -(weight[kept] * p.log()).sum() / weight[kept].sum()

    assert_agrees(HardExamples(threshold, min_kept, kind, PIXELS), reference, logits, semantic)


def test_hard_examples_by_hand() -> None:
    p = np.array([0.9, 0.8, 0.6, 0.5, 0.99])  # of class 0; the last pixel is ignored, the one before is of class 1
    logits = torch.from_numpy(np.log(np.stack([p, 1 - p]))[None, :, None]).float()
    semantic = torch.tensor([[[0, 0, 0, 1, IGNORE]]], dtype=torch.uint8)
    for threshold, min_kept, kept in [
        (0.7, 0.0, [0.6, 0.5]),
        (0.55, 0.6, [0.5, 0.6, 0.8]),
        (0.1, 0.25, [0.5]),
        (0.1, 0.0, []),
        (1.0, 0.0, p[:4]),
    ]:
        loss = HardExamples(threshold, min_kept, "none", ClassCounts([1, 1], [2, 2]))(logits, semantic)
        assert loss.item() == pytest.approx(-np.mean(np.log(kept)) if len(kept) else 0, rel=1e-5)


@pytest.mark.parametrize(("threshold", "min_kept"), [(1.0, 0.0), (0.1, 1.0)])
def test_hard_examples_of_all_pixels_are_the_cross_entropy(threshold: float, min_kept: float) -> None:
    logits, semantic = logits_and_labels()
    ours = HardExamples(threshold, min_kept, "median", PIXELS)(logits, semantic)
    torch.testing.assert_close(ours, CrossEntropy("median", 0.0, PIXELS)(logits, semantic))
