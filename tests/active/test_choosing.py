"""Figures of uncertainty counted by hand, and the choice against brute force."""

import math

import numpy as np
import pytest
import torch
from random_instances import Scene, box

from seg.active.choosing import choose, of_instances, of_pixels

SMALL = np.random.default_rng(0).integers(0, 256, (200, 48, 48)).astype(np.uint8)  # no two of them alike
NONE = np.zeros((0, 3))


def test_entropy_and_mutual_information_of_the_most_uncertain_tenth_of_pixels() -> None:
    """20 pixels of 2 classes, of which 2 count: one that is certain for both models, in opposite ways, and one where both say 0.25."""
    first, second = torch.zeros(2, 4, 5), torch.zeros(2, 4, 5)
    first[0], second[0] = 1.0, 1.0
    first[:, 1, 2], second[:, 1, 2] = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    first[:, 3, 4] = second[:, 3, 4] = torch.tensor([0.25, 0.75])
    quarter = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    assert of_pixels(iter([first, second])) == pytest.approx(((1 + quarter) / 2, 1 / 2))
    assert of_pixels([first]) == pytest.approx((quarter / 2, 0))
    assert of_pixels([torch.full((3, 4, 5), 1 / 3)] * 2) == pytest.approx((1, 0), abs=1e-6)


def test_expected_f1_and_panoptic_quality_of_instances() -> None:
    """Shown: 0.9 and 0.6, hidden: 0.4; of the other answer one overlaps by IoU 3/4, and one is of another class."""
    size = (10, 10)
    one = Scene("a", size).predict(box(*size, 0, 0, 4, 4), 1, 0.9).predict(box(*size, 6, 6, 8, 8), 1, 0.6)
    one.predict(box(*size, 8, 0, 10, 2), 1, 0.4)
    other = Scene("a", size).predict(box(*size, 0, 0, 3, 4), 1, 1.0).predict(box(*size, 6, 6, 8, 8), 2, 1.0)
    doubt, disagreement = of_instances([one.prediction, other.prediction], [0.5, 0.5])
    wrong = 0.1 + 0.4 + 0.4  # two that are shown and may be false, one that is not and may be there
    assert doubt == pytest.approx((wrong / (2 * 1.5 + wrong) + 0) / 2)
    assert disagreement == pytest.approx(1 - 0.75 / (1 + 1 / 2 + 1 / 2))
    nothing = Scene("a", size).prediction
    assert of_instances([nothing, nothing], [0.5, 0.5]) == (0, 0)
    assert of_instances([nothing, other.prediction], [0.5, 0.5])[1] == 1


@pytest.mark.parametrize("stand_ins", [60, 20])
@pytest.mark.parametrize("labelled", [0, 7])
@pytest.mark.parametrize("coverage", [0.0, 0.3, 1.0])
def test_the_choice_is_that_of_brute_force(coverage: float, labelled: int, stand_ins: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seg.active.choosing.STAND_INS", stand_ins)
    rng = np.random.default_rng(labelled)
    features, uncertainty, known = rng.normal(size=(60, 3)), rng.random(60).round(1), rng.normal(size=(labelled, 3))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    found = choose(features, uncertainty, SMALL[:60], 12, coverage, known, [])
    rank = np.array([(uncertainty <= u).mean() for u in uncertainty])
    centres, chosen, start = list(known), list[int](), 0.0
    for one in found:
        distances = [min((math.dist(f, c) for c in centres), default=math.inf) for f in features]
        gains = {}
        for i in set(range(60)) - set(chosen):
            counted = range(0, 60, 60 // stand_ins)
            gains[i] = sum(max(0.0, min(2.0, distances[j]) - math.dist(features[i], features[j])) for j in counted) / stand_ins
        start = start or max(gains.values())
        scores = {i: rank[i] ** (1 - coverage) * (gain / start) ** coverage for i, gain in gains.items()}
        best = max(scores, key=lambda i: (scores[i], -i))
        assert (one.place, one.score, one.distance) == (best, pytest.approx(scores[best]), pytest.approx(distances[best]))
        assert one.nearer == np.mean([math.dist(features[best], features[j]) < distances[j] for j in range(60)])
        chosen.append(best)
        centres.append(features[best])
    assert len(set(chosen)) == 12


def test_many_alike_images_count_more_than_one_that_is_far_from_all() -> None:
    """Twenty-one images lie within 0.1 radians, 1 radian from the known one; another one lies farther away on its own."""
    angles = np.concatenate([1 + np.linspace(0, 0.1, 21), [-1.2]])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = choose(features, np.ones(22), SMALL[:22], 2, 1.0, np.array([[1.0, 0.0]]), [])
    assert [one.place for one in found] == [10, 21]
    assert [one.nearer for one in found] == [21 / 22, 1 / 22]


def test_of_what_nearly_is_the_same_one_is_chosen_and_none_that_is_labelled() -> None:
    """Chains too: of a, b and c, a may be like b and b like c; and images without contrast, by their gray."""
    rng, small = np.random.default_rng(1), SMALL[:10].copy()
    small[1] = np.clip(small[0] + rng.normal(0, 6, (48, 48)), 0, 255)
    small[2] = small[0] // 2 + 60
    small[3], small[4], small[5] = 200, 201, 40
    features, uncertainty = rng.normal(size=(10, 3)), np.linspace(1, 0, 10)
    found = [one.place for one in choose(features, uncertainty, small, 10, 0.0, NONE, [small[7]])]
    assert found == [0, 3, 5, 6, 8, 9]
    assert [one.place for one in choose(features, uncertainty, small, 3, 0.0, NONE, [])] == [0, 3, 5]
