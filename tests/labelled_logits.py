"""Random logits with labels, and every loss on them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seg.data.store import ClassCounts
from seg.models.losses import (
    Boundary,
    CrossEntropy,
    Dice,
    Focal,
    FocalTversky,
    GeneralisedDice,
    HardExamples,
    Jaccard,
    LovaszSoftmax,
    Tversky,
)

IGNORE = 255
PIXELS = ClassCounts([60, 30, 10, 0], [100, 100, 100, 0])
"""Pixels of four classes in a training split."""

LOSSES: dict[str, Callable[[Any], nn.Module]] = {
    "ce": lambda weights: CrossEntropy(weights, 0.0, PIXELS),
    "ce-smoothed": lambda weights: CrossEntropy(weights, 0.1, PIXELS),
    "focal": lambda weights: Focal(2.0, weights, PIXELS),
    "focal-half": lambda weights: Focal(0.5, weights, PIXELS),
    "ohem": lambda weights: HardExamples(0.7, 0.1, weights, PIXELS),
    "dice": lambda weights: Dice(weights, PIXELS),
    "generalised-dice": lambda weights: GeneralisedDice(weights, PIXELS),
    "jaccard": lambda weights: Jaccard(weights, PIXELS),
    "tversky": lambda weights: Tversky(0.3, 0.7, weights, PIXELS),
    "focal-tversky": lambda weights: FocalTversky(0.3, 0.7, 4 / 3, weights, PIXELS),
    "lovasz": lambda weights: LovaszSoftmax(weights, PIXELS),
    "boundary": lambda weights: Boundary(weights, PIXELS),
}
"""Each loss for four classes, given its class weights."""


def logits_and_labels(seed: int = 0, occurring: int = 3, classes: int = 4) -> tuple[Tensor, Tensor]:
    """(2, classes, 9, 11) logits in double precision, and labels of the first `occurring` classes, a fifth of them ignored."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, classes, 9, 11, generator=generator, dtype=torch.float64)
    semantic = torch.randint(occurring, (2, 9, 11), generator=generator)
    semantic[torch.rand(2, 9, 11, generator=generator) < 0.2] = IGNORE
    return logits, semantic.to(torch.uint8)


def value_and_gradient(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, semantic: Tensor) -> tuple[Tensor, Tensor]:
    leaf = logits.clone(memory_format=torch.preserve_format).requires_grad_()
    value = loss(leaf, semantic)
    value.backward()
    assert leaf.grad is not None
    return value.detach(), leaf.grad


def assert_agrees(
    loss: Callable[[Tensor, Tensor], Tensor], reference: Callable[[Tensor, Tensor], Tensor], logits: Tensor, semantic: Tensor
) -> None:
    """`loss` on float32 logits gives the value and gradient of `reference` on those in double precision."""
    exact, exact_gradient = value_and_gradient(reference, logits, semantic)
    ours, gradient = value_and_gradient(loss, logits.float(), semantic)
    assert exact.dtype == torch.float64
    assert exact_gradient.any()
    torch.testing.assert_close(ours.double(), exact, rtol=2e-6, atol=1e-7)
    torch.testing.assert_close(gradient.double(), exact_gradient, rtol=1e-4, atol=1e-8)


def one_hot(semantic: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """(N, classes) float64 truth, 0 where ignored, and (N,) which pixels count."""
    labels = semantic.flatten().long()
    counted = labels != IGNORE
    return F.one_hot(labels.clamp(max=classes - 1), classes).double() * counted[:, None], counted


def flat_softmax(logits: Tensor) -> Tensor:
    """(B, K, H, W) -> probabilities (B * H * W, K)."""
    return logits.softmax(1).permute(0, 2, 3, 1).flatten(0, 2)


def mean_of_present(losses: Tensor, truth: Tensor, weights: Sequence[float] | None) -> Tensor:
    """The weighted mean of those of `losses` (K,) whose class is in `truth` (N, K)."""
    present = [k for k in range(len(losses)) if truth[:, k].any()]
    w = [1.0 if weights is None else weights[k] for k in present]
    return sum(a * losses[k] for a, k in zip(w, present, strict=True)) / sum(w)
