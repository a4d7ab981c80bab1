"""Lovász-softmax against segmentation-models-pytorch in double precision, and against the Jaccard index that it extends."""

import pytest
import torch
from labelled_logits import IGNORE, PIXELS, assert_agrees, flat_softmax, logits_and_labels, mean_of_present, one_hot, value_and_gradient
from segmentation_models_pytorch.losses import LovaszLoss
from torch import Tensor
from torch.nn import functional as F

from seg.metrics.semantic import confusion_matrix, iou, totals
from seg.models.losses import LovaszSoftmax
from seg.models.losses.regions import jaccard_slopes


def differences(truth: Tensor) -> Tensor:
    """By how much 1 - Jaccard grows with each pixel (N,) that becomes wrong, in this order; in the type of `truth`."""
    missed, extra = truth.cumsum(0), (1 - truth).cumsum(0)
    values = 1 - (truth.sum() - missed) / (truth.sum() + extra)
    return torch.diff(values, prepend=torch.zeros(1, dtype=truth.dtype))


def of_a_class(p: Tensor, truth: Tensor) -> Tensor:
    """The Lovász extension at the errors of p (N,)."""
    errors = (truth - p).abs()
    order = errors.argsort(descending=True)
    return errors[order] @ differences(truth[order])


@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 0.0, 1.0]], ids=str)
@pytest.mark.parametrize("occurring", [1, 3, 4])
def test_value_and_gradient_equal_the_definition(occurring: int, weights: list[float] | None) -> None:
    def reference(logits: Tensor, semantic: Tensor) -> Tensor:
        truth, counted = one_hot(semantic, 4)
        p, y = flat_softmax(logits)[counted], truth[counted]
        present = [of_a_class(p[:, k], y[:, k]) for k in range(occurring)]
        return mean_of_present(torch.stack(present + [torch.zeros(()).double()] * (4 - occurring)), truth, weights)

    assert_agrees(LovaszSoftmax(weights or "none", PIXELS), reference, *logits_and_labels(occurring=occurring))


@pytest.mark.parametrize("occurring", [1, 3, 4])
def test_it_is_smps(occurring: int) -> None:
    logits, semantic = logits_and_labels(occurring=occurring)
    ours = value_and_gradient(LovaszSoftmax("none", PIXELS), logits.float(), semantic)
    theirs = value_and_gradient(LovaszLoss("multiclass", ignore_index=IGNORE), logits.float(), semantic)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_of_certain_predictions_it_is_1_minus_the_mean_iou() -> None:
    logits, semantic = logits_and_labels()
    predicted = logits[:, :3].argmax(1)  # of the classes that occur alone: the IoU of another would be 0, here it is left out
    certain = 1e4 * F.one_hot(predicted, 4).permute(0, 3, 1, 2).float()
    matrix = confusion_matrix(semantic.numpy(), predicted.to(torch.uint8).numpy(), 4)
    assert LovaszSoftmax("none", PIXELS)(certain, semantic).item() == pytest.approx(1 - iou(totals(matrix))[:3].mean(), rel=1e-6)


def test_slopes_are_exact_where_differences_in_float32_are_not() -> None:
    generator = torch.Generator().manual_seed(0)
    truth, errors = torch.rand(200_000, generator=generator) < 0.3, torch.rand(200_000, generator=generator)
    order = errors.argsort(descending=True, stable=True)
    exact = torch.empty(len(errors), dtype=torch.float64)
    exact[order] = differences(truth[order].double())
    rough = torch.empty(len(errors))
    rough[order] = differences(truth[order].float())
    slopes = jaccard_slopes(errors, truth, torch.ones_like(truth), int(truth.sum()))
    torch.testing.assert_close(slopes.double(), exact, rtol=1e-5, atol=1e-12)
    assert ((rough - exact) / exact).abs().max() > 1e-2
