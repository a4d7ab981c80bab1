"""Lovász-softmax: a convex surrogate of the Jaccard index over the sorted errors of each class's pixels."""

import torch
from torch import Tensor

from seg.data.sample import IGNORE
from seg.models.losses.classes import ClassLoss, pixels_of_each

ONE = 0x3F800000  # the bits of 1.0 in float32


class LovaszSoftmax(ClassLoss):
    """The Lovász extension of 1 - Jaccard at the errors of the softmax (Berman et al. 2018), the weighted mean over the classes
    in the batch, all of whose pixels are taken together.
    """

    def forward(self, logits: Tensor, semantic: Tensor) -> Tensor:
        probabilities = logits.float().contiguous().softmax(dim=1)
        counted = semantic != IGNORE
        actual = pixels_of_each(semantic, logits.shape[1])
        # to leave absent classes out, the host would wait for a device, which sorts their errors in less time; their loss is 0
        known = actual.tolist() if actual.device.type == "cpu" else [None] * len(actual)
        losses = []
        for index, (size, there) in enumerate(zip(actual, known, strict=True)):
            probability, truth = probabilities[:, index], semantic == index
            if there == 0:
                losses.append(probability[:0].sum())  # a 0 that has a gradient
                continue
            errors = torch.where(truth, 1 - probability, probability)
            with torch.no_grad():
                slopes = jaccard_slopes(errors.flatten(), truth.flatten(), counted.flatten(), size).view_as(errors)
            losses.append((errors * slopes).sum())
        return self.mean_over_classes(torch.stack(losses), actual)


def jaccard_slopes(errors: Tensor, truth: Tensor, counted: Tensor, size: Tensor | int) -> Tensor:
    """By how much 1 - Jaccard grows when a pixel joins those of larger errors as a wrong one (N,) float32.

    errors (N,) float32, 0 to 1; truth and counted (N,) bool; `size` pixels are true. Pixels that do not
    count come last, where the intersection is empty, and get 0, as do all where none is true.

    The loss is linear in the errors as long as their order stays, and these are its slopes. Berman et al. take differences
    of neighbouring values near 1, of which float32 keeps a digit or two; here each has its closed form: with i true pixels
    left in the intersection and u in the union, 1 / u for a true pixel, i / (u (u - 1)) for another.
    """
    # as integers, of which the bits of floats from 0 to 1 have the order: torch sorts those in a tenth of the time
    keys = (ONE - errors.view(torch.int32)).masked_fill(~counted, ONE + 1)
    order = keys.argsort(stable=True)
    true = truth[order]
    wrong_true = true.cumsum(0)
    intersection = size - wrong_true
    union = (size + torch.arange(1, len(true) + 1, device=true.device) - wrong_true).float()
    sorted_slopes = torch.where(true, 1 / union, intersection / (union * (union - 1).clamp_min(1)))
    return torch.empty_like(sorted_slopes).scatter_(0, order, sorted_slopes)
