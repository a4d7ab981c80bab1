"""The boundary loss: signed distances by brute force and by scipy, as in the authors' definition."""

import numpy as np
import pytest
import torch
from labelled_logits import IGNORE, PIXELS, assert_agrees, logits_and_labels
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from seg.data.store import ClassCounts
from seg.models.losses import Boundary
from seg.models.losses.regions import signed_distances


def nearest(at: np.ndarray, region: np.ndarray) -> float:
    return min(np.hypot(*(at - other)) for other in np.argwhere(region))


def test_signed_distances_by_brute_force() -> None:
    labels = logits_and_labels()[1][0].numpy()
    labels[:, 8:] = IGNORE
    maps = signed_distances(labels, 4)
    assert maps.dtype == np.float32
    for k in range(4):
        for at in np.argwhere(labels >= 0):
            own = labels[tuple(at)]
            expected = 0.0
            if own != IGNORE and k < 3:
                expected = 1 - nearest(at, (labels != k) & (labels != IGNORE)) if own == k else nearest(at, labels == k)
            assert maps[k][tuple(at)] == pytest.approx(expected, abs=1e-4), (k, at)


def test_without_ignored_pixels_they_are_the_authors() -> None:
    labels = np.zeros((20, 30), np.uint8)
    labels[4:12, 5:20] = 1
    labels[14:, 25:] = 2
    for k, ours in enumerate(signed_distances(labels, 3)):
        inside = labels == k
        theirs = distance_transform_edt(~inside) * ~inside - (distance_transform_edt(inside) - 1) * inside
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_by_hand() -> None:
    labels = np.array([[1, 1, 1, IGNORE, 0, 0]], np.uint8)
    maps = signed_distances(labels, 3)
    assert maps[1].tolist() == [[-3, -2, -1, 0, 2, 3]], "the boundary lies at the first pixel that counts beyond the ignored one"
    assert maps[0].tolist() == [[4, 3, 2, 0, -1, -2]]
    assert not maps[2].any()
    assert not signed_distances(np.array([[1, 1, IGNORE]], np.uint8), 3).any(), "one class alone has no boundary"
    p = torch.tensor([[0.5, 0.5, 0.25, 0.9, 0.5, 0.0]])  # of class 1
    logits = torch.stack([1 - p, p, torch.zeros_like(p)], dim=1)[:, :, None].log()
    of_class_1 = (0.5 * -3 + 0.5 * -2 + 0.25 * -1 + 0.5 * 2 + 0) / 5
    of_class_0 = (0.5 * 4 + 0.5 * 3 + 0.75 * 2 + 0.5 * -1 + 1 * -2) / 5
    semantic = torch.from_numpy(labels)[None]
    assert Boundary("none", ClassCounts([1, 1, 1], [3, 3, 3]))(logits, semantic).item() == pytest.approx(
        (of_class_0 + of_class_1) / 2, rel=1e-5
    )
    assert Boundary([1.0, 3.0, 5.0], ClassCounts([1, 1, 1], [3, 3, 3]))(logits, semantic).item() == pytest.approx(
        (of_class_0 + 3 * of_class_1) / 4, rel=1e-5
    )


@pytest.mark.parametrize("occurring", [2, 3, 4])
def test_value_and_gradient_equal_the_formula(occurring: int) -> None:
    def reference(logits: Tensor, semantic: Tensor) -> Tensor:
        counted, p = semantic != IGNORE, logits.softmax(1)
        total = torch.zeros((), dtype=torch.float64)
        for image, labels in enumerate(semantic.numpy()):
            for k in np.unique(labels[labels != IGNORE]):
                inside, others = labels == k, (labels != k) & (labels != IGNORE)
                distance = np.where(inside, 1 - distance_transform_edt(~others), distance_transform_edt(~inside)) * (labels != IGNORE)
                total = total + (p[image, k] * torch.from_numpy(distance)).sum()
        return total / counted.sum() / occurring

    assert_agrees(Boundary("none", PIXELS), reference, *logits_and_labels(occurring=occurring))
