"""What is chosen on validation images: faults that were put in are undone, and on noise nothing is done."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from random_instances import Scene, batch_of, box
from torch import Tensor

from seg.data.sample import Prediction, Sample, no_instances
from seg.loading.batch import Batch, collate
from seg.metrics.instance import InstanceMetrics
from seg.metrics.panoptic import PanopticMetrics
from seg.metrics.semantic import SemanticMetrics
from seg.models.declared import declared
from seg.models.postprocess import NOTHING, Choice
from seg.training.choosing.choose import Answer, Chosen, choose

NAMES = ["background", "disc", "bar"]


def sample(name: str, labels: np.ndarray) -> Sample:
    return Sample(name, np.zeros((*labels.shape, 3), np.uint8), labels, *no_instances(*labels.shape))


def scene(rng: np.random.Generator) -> np.ndarray:
    """A class map of two squares and a bar."""
    labels = np.zeros((64, 64), np.uint8)
    for left in (4, 36):
        top = rng.integers(2, 16)
        labels[top : top + 20, left : left + 20] = 1
    top = rng.integers(44, 56)
    labels[top : top + 6, 8:56] = 2
    return labels


def answered(predictions: Sequence[np.ndarray]) -> Answer:
    """Each image's predicted class map, in turn, with certainty."""
    turn = iter(predictions)

    def answer(_: Tensor) -> tuple[list[Prediction], Tensor | None, tuple[int, int]]:
        classes = next(turn)
        logits = torch.nn.functional.one_hot(torch.from_numpy(classes).long(), 3).permute(2, 0, 1)[None].float()
        return [Prediction(semantic=classes, confidence=np.full(classes.shape, 60000, np.uint16))], logits, (0, 0)

    return answer


def chosen(truths: Sequence[np.ndarray], predictions: Sequence[np.ndarray], names: Sequence[str] = NAMES) -> Chosen:
    batches = [collate([sample(str(number), truth)]) for number, truth in enumerate(truths)]
    return choose(batches, answered(predictions), lambda _: SemanticMetrics(names), names, "miou", 0.5)


def test_specks_are_removed_and_holes_filled() -> None:
    rng = np.random.default_rng(0)
    truths = [scene(rng) for _ in range(16)]
    faulty = []
    for truth in truths:
        predicted = truth.copy()
        for y, x in rng.integers(0, 63, (25, 2)):
            if not truth[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].any():
                predicted[y, x] = rng.integers(1, 3)
            elif truth[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].all():
                predicted[y, x] = 0
        faulty.append(predicted)
    post = chosen(truths, faulty).postprocess
    assert post.least_area > 1
    assert post.fill_holes


def test_every_change_that_was_tried_is_told() -> None:
    rng = np.random.default_rng(1)
    truths = [scene(rng) for _ in range(8)]
    found = chosen(truths, truths)
    assert (found.postprocess.least_area, found.postprocess.fill_holes) == (0, False)
    assert found.choice.images == 8
    assert not any(row.taken for row in found.choice.tried)
    assert {row.figure for row in found.choice.tried} == {"miou"}
    by_what = {row.what: row for row in found.choice.tried}
    largest = by_what["only the largest region stays of disc"]
    assert (largest.before, largest.high < 0) == (1.0, True), "there are two discs"


def test_a_second_region_is_removed_where_there_is_one_object() -> None:
    rng = np.random.default_rng(2)
    truths, faulty = [], []
    for _ in range(12):
        truth = scene(rng)
        truth[:, 32:][truth[:, 32:] == 1] = 0
        predicted = truth.copy()
        top = rng.integers(2, 20)
        predicted[top : top + 20, 41:60] = 1
        truths.append(truth)
        faulty.append(predicted)
    assert 1 in chosen(truths, faulty).postprocess.largest


def test_of_shuffled_labels_nothing_is_chosen() -> None:
    """Predictions of one image, labels of another: whatever is done to objects is no improvement."""
    rng = np.random.default_rng(3)
    truths = [scene(rng) for _ in range(20)]
    found = chosen(truths, [np.roll(truth, 5, axis=0) for truth in [*truths[7:], *truths[:7]]])
    assert found.postprocess.to_plain() | {"temperature": 1.0} == NOTHING.to_plain()


def test_without_a_background_there_is_nothing_to_try() -> None:
    rng = np.random.default_rng(4)
    truths = [scene(rng) for _ in range(3)]
    assert chosen(truths, truths, ["sky", "disc", "bar"]).choice.tried == ()
    assert choose([], answered([]), lambda _: SemanticMetrics(NAMES), NAMES, "miou", 0.5) == Chosen()


def test_few_images_choose_nothing() -> None:
    truth = scene(np.random.default_rng(5))
    predicted = truth.copy()
    predicted[::7, ::7] = 2
    found = chosen([truth], [predicted])
    assert found.postprocess.least_area == 0
    assert all(np.isnan(row.low) for row in found.choice.tried)


@pytest.mark.parametrize(("false", "wanted"), [(0.55, True), (None, False)])
def test_the_score_threshold_rises_above_false_instances(false: float | None, wanted: bool) -> None:
    """True instances score 0.95, false ones 0.55."""
    rng = np.random.default_rng(6)
    batches: list[Batch] = []
    predictions: list[Prediction] = []
    for number in range(14):
        one = Scene(f"{number:02}", (60, 60))
        for top in (0, 20, 40):
            mask = box(60, 60, top, 5, top + 12, 17)
            one.add(mask).predict(mask, score=0.95)
        for top in (0, 20, 40) if false else ():
            if rng.random() < 0.7:
                one.predict(box(60, 60, top, 35, top + 12, 47), score=false)
        batch, found = batch_of([one])
        batches.append(batch)
        predictions += found
    turn = iter(predictions)
    names = ["background", "cell"]
    post = choose(
        batches, lambda _: ([next(turn)], None, (0, 0)), lambda threshold: InstanceMetrics(names, threshold, 100), names, "pq", 0.5
    ).postprocess
    assert (post.score_threshold is not None and post.score_threshold > 0.5) == wanted


@pytest.mark.parametrize(("true", "false", "low", "high"), [(0.95, 0.55, 0.6, 0.9), (0.35, 0.15, 0.2, 0.3), (0.95, None, None, None)])
def test_the_threshold_of_things_gives_the_stuff_beneath_them_back(
    true: float, false: float | None, low: float | None, high: float | None
) -> None:
    rng, batches, predictions = np.random.default_rng(7), list[Batch](), list[Prediction]()
    for number in range(14):
        one, ground = Scene(f"{number:02}", (60, 60)), np.ones((60, 60), bool)
        for top in (0, 20, 40):
            mask = box(60, 60, top, 5, top + 12, 17)
            one.add(mask).predict(mask, score=true)
            ground &= ~mask
        for top in (0, 20, 40) if false else ():
            if rng.random() < 0.7:
                one.predict(box(60, 60, top, 35, top + 12, 47), score=false)
        batch, found = batch_of([one.add(ground, 0).predict(np.ones((60, 60), bool), 0, 0.9)])
        batches.append(batch)
        predictions += found
    turn, names = iter(predictions), ["ground", "cell"]
    found = choose(
        batches, lambda _: ([next(turn)], None, (0, 0)), lambda least: PanopticMetrics(names, least, 100, [1]), names, "pq", 0.5, [1]
    )
    post = found.postprocess
    assert (post.score_threshold is None) == (low is None)
    if low is not None and high is not None and post.score_threshold is not None:
        assert low <= post.score_threshold <= high or post.temperature != 1
        row = next(row for row in found.choice.tried if row.taken)
        assert row.after == pytest.approx(1.0), "the ground is whole again"


def test_a_change_of_many_classes_is_told_in_a_few_words() -> None:
    """A checkpoint holds the words, and takes 1000 characters at most."""
    names = ["background", *(f"class number {n}" for n in range(200))]
    truth = scene(np.random.default_rng(8))
    said = chosen([truth, truth], [truth, truth], names).choice
    assert 250 < max(len(row.what) for row in said.tried) <= 300
    assert declared(Choice, said.to_plain(), "x", "y").tried == said.tried
