"""Overlap losses against their formulas over one-hot maps in double precision, and against segmentation-models-pytorch."""

from collections.abc import Callable

import pytest
import segmentation_models_pytorch as smp
import torch
from labelled_logits import IGNORE, PIXELS, assert_agrees, flat_softmax, logits_and_labels, mean_of_present, one_hot, value_and_gradient
from torch import Tensor

from seg.data.store import ClassCounts
from seg.models.losses import Dice, FocalTversky, GeneralisedDice, Jaccard, Tversky
from seg.models.losses.regions import soft_counts

WEIGHTS = {"none": None, "median": [0.5, 1.0, 3.0, 0.0], "list": [0.5, 2.0, 0.0, 1.0]}

Formula = Callable[[Tensor, Tensor], Tensor]
"""Probabilities and truth (N,) of one class, of the pixels that count -> its loss."""


def dice(p: Tensor, y: Tensor) -> Tensor:
    return 1 - 2 * (p * y).sum() / (p.sum() + y.sum())


def jaccard(p: Tensor, y: Tensor) -> Tensor:
    return 1 - (p * y).sum() / (p + y - p * y).sum()


def tversky(p: Tensor, y: Tensor) -> Tensor:
    return 1 - (p * y).sum() / ((p * y).sum() + 0.2 * (p * (1 - y)).sum() + 0.9 * ((1 - p) * y).sum())


CASES = {
    "dice": (lambda w: Dice(w, PIXELS), dice),
    "jaccard": (lambda w: Jaccard(w, PIXELS), jaccard),
    "tversky": (lambda w: Tversky(0.2, 0.9, w, PIXELS), tversky),
    "focal-tversky": (lambda w: FocalTversky(0.2, 0.9, 1.6, w, PIXELS), lambda p, y: tversky(p, y) ** (1 / 1.6)),
}


@pytest.mark.parametrize("occurring", [1, 3, 4])
@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize("name", CASES)
def test_a_loss_equals_its_formula(name: str, kind: str, occurring: int) -> None:
    make, formula = CASES[name]

    def reference(logits: Tensor, semantic: Tensor) -> Tensor:
        truth, counted = one_hot(semantic, 4)
        p, y = flat_softmax(logits)[counted], truth[counted]
        return mean_of_present(torch.stack([formula(p[:, k], y[:, k]) for k in range(4)]), truth, WEIGHTS[kind])

    assert_agrees(make(WEIGHTS[kind] or "none"), reference, *logits_and_labels(occurring=occurring))


@pytest.mark.parametrize("occurring", [1, 3, 4])
@pytest.mark.parametrize("kind", WEIGHTS)
def test_generalised_dice_equals_its_formula(kind: str, occurring: int) -> None:
    def reference(logits: Tensor, semantic: Tensor) -> Tensor:
        truth, counted = one_hot(semantic, 4)
        p, y = flat_softmax(logits)[counted], truth[counted]
        above = below = torch.zeros((), dtype=torch.float64)
        for k in range(occurring):
            weight = (WEIGHTS[kind] or [1.0] * 4)[k] / y[:, k].sum() ** 2
            above, below = above + weight * (p[:, k] * y[:, k]).sum(), below + weight * (p[:, k] + y[:, k]).sum()
        return 1 - 2 * above / below

    assert_agrees(GeneralisedDice(WEIGHTS[kind] or "none", PIXELS), reference, *logits_and_labels(occurring=occurring))


@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 1.5, 1.0]], ids=str)
def test_where_every_class_occurs_it_is_smps(weights: list[float] | None) -> None:
    logits, semantic = logits_and_labels(occurring=4)
    settings = {"mode": "multiclass", "ignore_index": IGNORE, "class_weights": weights}
    for ours, theirs in (
        (Dice(weights or "none", PIXELS), smp.losses.DiceLoss(**settings)),
        (Jaccard(weights or "none", PIXELS), smp.losses.JaccardLoss(**settings)),
        (Tversky(0.2, 0.9, weights or "none", PIXELS), smp.losses.TverskyLoss(alpha=0.2, beta=0.9, **settings)),
    ):
        torch.testing.assert_close(ours(logits.float(), semantic), theirs(logits, semantic).float())


def test_by_hand() -> None:
    # two classes, p of class 0 is 0.8, 0.6, 0.3 and, ignored, 0.9; the first two pixels are of class 0:
    # class 0: TP 1.4, FP 0.3, FN 0.6; class 1: TP 0.7, FP 0.6, FN 0.3
    p = torch.tensor([[0.8, 0.6, 0.3, 0.9]])
    logits = torch.stack([p, 1 - p], dim=1)[:, :, None].log()
    semantic = torch.tensor([[[0, 0, 1, IGNORE]]], dtype=torch.uint8)
    pixels = ClassCounts([1, 1], [2, 2])
    for loss, expected in (
        (Dice("none", pixels), (0.9 / 3.7 + 0.9 / 2.3) / 2),
        (Dice([3.0, 1.0], pixels), (3 * 0.9 / 3.7 + 0.9 / 2.3) / 4),
        (Jaccard("none", pixels), (0.9 / 2.3 + 0.9 / 1.6) / 2),
        (Tversky(0.0, 1.0, "none", pixels), (0.6 / 2 + 0.3 / 1) / 2),
        (FocalTversky(1.0, 1.0, 2.0, "none", pixels), ((0.9 / 2.3) ** 0.5 + (0.9 / 1.6) ** 0.5) / 2),
        (GeneralisedDice("none", pixels), 1 - 2 * (1.4 / 4 + 0.7) / (3.7 / 4 + 2.3)),
    ):
        assert loss(logits, semantic).item() == pytest.approx(expected, rel=1e-5)


def test_all_images_of_a_batch_are_counted_together() -> None:
    logits, semantic = logits_and_labels()
    side_by_side = torch.cat(list(logits), dim=2)[None], torch.cat(list(semantic), dim=1)[None]
    for make, _ in CASES.values():
        torch.testing.assert_close(make("none")(*side_by_side), make("none")(logits, semantic))


def test_what_an_absent_class_takes_is_missed_by_the_others() -> None:
    logits, semantic = logits_and_labels(occurring=3)
    raised = logits.clone()
    raised[:, 3] += 2
    loss = Dice("none", PIXELS)
    assert loss(raised, semantic) > loss(logits, semantic)
    _, gradient = value_and_gradient(loss, logits.float(), semantic)
    assert gradient[:, 3].sum() > 0


def test_a_million_pixels_are_counted_exactly() -> None:
    logits = torch.tensor([7.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 1024, 1024)
    counts = soft_counts(logits, torch.zeros(1, 1024, 1024, dtype=torch.uint8))
    p = 2.0**20 * torch.tensor([7.0, 0.0], dtype=torch.float64).softmax(0)
    torch.testing.assert_close(counts.predicted.double(), p, rtol=1e-6, atol=0)
    torch.testing.assert_close(counts.true_positive.double(), torch.tensor([p[0], 0.0], dtype=torch.float64), rtol=1e-5, atol=0)
    assert counts.actual.tolist() == [2**20, 0]
