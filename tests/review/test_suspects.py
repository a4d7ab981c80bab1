"""Suspect labels, counted by hand."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from skimage.measure import regionprops

from seg.data.labelmaps import encode, measure
from seg.data.sample import IGNORE
from seg.metrics.coco import ImageInstances
from seg.review.expected import Asked, others_of_image, ranked
from seg.review.objects import LEAST, asked_of_instances, solidity
from seg.review.regions import asked_of_class_map, label_quality
from seg.review.suspects import Suspect

SIZE = 40


def probabilities(predicted: np.ndarray, sure: float = 0.9) -> np.ndarray:
    """(3, H, W): the predicted class has `sure`, the others share the rest."""
    found = np.full((3, *predicted.shape), (1 - sure) / 2, np.float32)
    np.put_along_axis(found, predicted[None].astype(np.int64), sure, axis=0)
    return found


def test_label_quality_is_cleanlabs() -> None:
    """Version 2.9.0 gives this for the three pixels that are labelled (segmentation.rank.get_label_quality_scores, softmin)."""
    labels = np.array([[0, 1, 0, IGNORE]], np.uint8)
    found = np.array([[[0.9, 0.6, 0.8, 0.0]], [[0.1, 0.4, 0.2, 1.0]]], np.float32)
    assert label_quality(labels, found) == pytest.approx(0.41043382, abs=1e-6)
    assert label_quality(np.full((2, 2), IGNORE, np.uint8), np.ones((2, 2, 2), np.float32)) == 1


def regions(labels: np.ndarray, predicted: np.ndarray, background: int | None = 0, sure: float = 0.9) -> list[Suspect]:
    return [a.suspect for a in asked_of_class_map("a", labels, probabilities(predicted, sure), background, 12) if a.suspect]


def square(top: int, left: int, side: int, value: int, into: np.ndarray | None = None) -> np.ndarray:
    found = np.zeros((SIZE, SIZE), np.uint8) if into is None else into.copy()
    found[top : top + side, left : left + side] = value
    return found


def test_regions_are_named_by_what_is_wrong_with_them() -> None:
    one = square(5, 5, 10, 1)
    for labels, predicted, kind, label, likely in (
        (np.zeros_like(one), one, "missed", None, 1),
        (one, np.zeros_like(one), "made up", 1, None),
        (one, square(5, 5, 10, 2), "wrong class", 1, 2),
        (square(5, 5, 13, 1), one, "outline", 1, None),  # the label reaches 3 pixels farther at two sides
        (one, square(5, 5, 13, 1), "outline", None, 1),
    ):
        (found,) = regions(labels, predicted)
        assert (found.kind, found.label, found.likely) == (kind, label, likely)
    assert regions(square(5, 5, 10, IGNORE), one) == [], "nobody labelled these pixels"
    assert regions(square(5, 5, 3, 1), np.zeros_like(one)) == [], "9 pixels are fewer than 12"


def test_what_is_known_of_a_region_is_its_size_its_depth_and_how_sure_its_prediction_is() -> None:
    (rest, own) = asked_of_class_map("a", np.zeros((SIZE, SIZE), np.uint8), probabilities(square(5, 5, 10, 1)), 0, 12)
    assert (own.category, own.outcome, own.suspect is not None) == (1, 0, True)
    assert own.features == pytest.approx([np.log(100), np.log(5), 0.9, np.log(0.101)], abs=1e-4), "its middle is 5 pixels from its edge"
    assert own.weight == pytest.approx(0.9 * 5 / (5 + 2), abs=1e-4)
    assert (rest.category, rest.outcome, rest.suspect) == (0, 0, None)
    assert rest.features[0] == pytest.approx(np.log(1500))


def test_a_region_knows_the_mean_log_probability_of_each_class() -> None:
    answers = np.full((2, SIZE, SIZE), 0.5, np.float32)
    answers[:, 5:10, 5:10] = [[[0.2]], [[0.8]]]
    answers[:, 5:10, 10:15] = [[[0.0]], [[1.0]]]
    (_, own) = asked_of_class_map("a", np.zeros((SIZE, SIZE), np.uint8), answers, 0, 12)
    assert own.logs is not None
    assert own.logs == pytest.approx([np.log(0.2) / 2 + np.log(1e-6) / 2, np.log(0.8) / 2], abs=1e-5), "none is less likely than 1e-6"


def image(true: dict[int, tuple[np.ndarray, int]], predicted: list[tuple[np.ndarray, int, float]]) -> ImageInstances:
    """true: {id: (mask, class)}."""

    def encoded(masks: list[np.ndarray]) -> tuple[list[str], np.ndarray]:
        ids = (
            np.stack([(mask > 0) * (i + 1) for i, mask in enumerate(masks)], axis=2).astype(np.int32)
            if masks
            else np.zeros((SIZE, SIZE, 0), np.int32)
        )
        return [rle["counts"] for rle in encode(ids, len(masks))], measure(ids, len(masks))[1].astype(np.float32)

    counts, _ = encoded([mask for mask, _ in true.values()])
    found, boxes = encoded([mask for mask, _, _ in predicted])
    return ImageInstances(
        "a",
        (SIZE, SIZE),
        np.array([c for _, c in true.values()], np.int32),
        np.zeros(len(true), bool),
        counts,
        np.array([c for _, c, _ in predicted], np.int32),
        np.array([s for _, _, s in predicted], np.float32),
        boxes,
        found,
    )


def asked(*images: ImageInstances) -> list[Suspect]:
    return [one.suspect for each in images for one in asked_of_instances(each) if one.suspect]


ONE, OTHER, FAR = square(2, 2, 8, 1), square(2, 10, 8, 1), square(25, 25, 8, 1)


def test_objects_that_nobody_labelled_and_labels_of_nothing() -> None:
    (agrees, missed) = asked(image({1: (ONE, 1)}, [(ONE, 1, 0.8), (FAR, 2, 0.93)]))
    assert (agrees.kind, missed.kind, missed.label, missed.likely, missed.labelled) == ("outline", "missed", None, 2, [])
    assert [s.kind for s in asked(image({1: (square(2, 2, 30, 1), 1)}, [(ONE, 2, 0.9)]))] == ["made up"], "a piece of an object is none"
    (made_up,) = asked(image({1: (FAR, 1)}, [(FAR, 1, 0.2)]))
    assert (made_up.kind, made_up.label, made_up.likely, made_up.suggested) == ("made up", 1, None, []), "0.2 says nothing"


def test_each_question_knows_how_sure_the_model_is_of_the_image() -> None:
    questions = asked_of_instances(image({1: (ONE, 1)}, [(ONE, 1, 0.8), (FAR, 2, 0.4), (OTHER, 1, 0.1)]))
    assert [q.features for q in questions if q.kind == "made up"] == [pytest.approx([np.log(64), 0.6])], "0.1 says nothing"
    assert {round(q.features[4], 5) for q in questions if q.kind != "made up"} == {0.6}
    assert asked_of_instances(image({1: (ONE, 1)}, []))[0].features[1] == LEAST


def test_another_class_and_objects_that_are_several() -> None:
    (wrong,) = asked(image({1: (ONE, 1)}, [(ONE, 2, 0.9)]))
    assert (wrong.kind, wrong.label, wrong.likely) == ("wrong class", 1, 2)
    whole = np.maximum(ONE, OTHER)
    found = asked(image({1: (whole, 1)}, [(ONE, 1, 0.9), (OTHER, 1, 0.7)]))
    (merged,) = (s for s in found if s.kind == "merged")
    assert (len(merged.labelled), len(merged.suggested)) == (1, 2)
    assert not [s for s in asked(image({1: (whole, 1)}, [(ONE, 1, 0.9), (square(2, 2, 7, 1), 1, 0.7)])) if s.kind == "merged"], "one twice"
    found = asked(image({1: (ONE, 1), 2: (OTHER, 1)}, [(whole, 1, 0.8)]))
    (split,) = (s for s in found if s.kind == "split")
    assert (len(split.labelled), len(split.suggested)) == (2, 1)


def question(feature: float, outcome: float, name: str = "", kind: str = "wrong class", image_id: str = "all") -> Asked:
    mask = {"size": [4, 4], "counts": name}
    return Asked(image_id, kind, [feature], 1, outcome, Suspect(name, kind, 0.0, 1, 2, [mask], [mask]) if name else None)


def test_a_contradiction_is_the_more_suspect_the_rarer_its_like() -> None:
    """One group, of feature 0, contradicts in 1 of 100 cases, the other, of feature 1, in 30."""
    rare, usual = [question(0, 1) for _ in range(99)], [question(1, 1) for _ in range(70)]
    suspects = ranked([*rare, question(0, 2, "rare"), *usual, *(question(1, 2, f"usual {n}") for n in range(30))])
    assert (suspects[0].image_id, len(suspects)) == ("rare", 31)
    assert suspects[0].score == pytest.approx(0.99, abs=0.01)
    assert suspects[-1].score == pytest.approx(0.70, abs=0.01)


def test_expectations_are_those_of_scikit_learn() -> None:
    """Its logistic regression has the ridge of 1, too; here the class has columns of its own, of which one is constant."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    y = np.where(rng.uniform(size=300) < 1 / (1 + np.exp(2 - 1.5 * x)), 2, np.where(rng.uniform(size=300) < 0.2, 3, 1))
    found = {s.image_id: s.score for s in ranked(question(float(v), float(k), str(i)) for i, (v, k) in enumerate(zip(x, y, strict=True)))}
    expected = LogisticRegression(max_iter=1000).fit((x[:, None] - x.mean()) / x.std(), y)
    own = expected.predict_proba((x[:, None] - x.mean()) / x.std())[np.arange(300), np.searchsorted(expected.classes_, y)]
    assert [found[str(i)] for i in range(300)] == pytest.approx((1 - own).tolist(), abs=2e-3)


def test_probabilities_of_the_model_are_scaled_as_scikit_learn_would() -> None:
    """Of two outcomes, whose logarithms are features a thousand times as large there, so that its ridge leaves their scale free."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x, logs = rng.normal(size=400), np.log(rng.dirichlet([1, 1], 400)).astype(np.float32)
    y = (rng.uniform(size=400) < 1 / (1 + np.exp(1 - x - 0.7 * logs[:, 1] + 0.4 * logs[:, 0]))).astype(int)
    found = {
        s.image_id: s.score
        for s in ranked(replace(question(v, k, str(i)), logs=own) for i, (v, k, own) in enumerate(zip(x, y, logs, strict=True)))
    }
    features = np.column_stack([(x - x.mean()) / x.std(), 1000 * logs])
    expected = LogisticRegression(C=2, max_iter=10_000, tol=1e-8).fit(features, y).predict_proba(features)[np.arange(400), y]
    assert [found[str(i)] for i in range(400)] == pytest.approx((1 - expected**0.3).tolist(), abs=2e-3)


def test_of_regions_alike_that_one_is_most_suspect_whose_label_the_model_holds_least_likely() -> None:
    """All are predicted as class 1; the model gives class 2 a tenth where that is labelled, as it often is, and a thousandth at one."""

    def region(second: float, label: int, name: str = "") -> Asked:
        logs = np.log(np.array([1e-6, 1 - second, second], np.float32))
        return replace(question(0, label, name), logs=logs)

    usual = [region(0.1, 2 if n % 8 == 0 else 1, f"usual {n}" if n % 8 == 0 else "") for n in range(200)]
    suspects = ranked([*usual, *(region(0.001, 1) for _ in range(200)), region(0.001, 2, "one")])
    assert suspects[0].image_id == "one"
    assert suspects[0].score > suspects[1].score + 0.1


def test_an_outline_counts_by_how_far_it_falls_short_of_what_was_expected() -> None:
    """Large objects are usually met at 0.9, small ones at 0.6; each group has one that is 0.2 worse."""
    large, small = (
        [question(5, 0.9, f"large {n}", "outline") for n in range(20)],
        [question(1, 0.6, f"small {n}", "outline") for n in range(20)],
    )
    suspects = ranked([*large, question(5, 0.7, "worse", "outline"), *small])
    assert suspects[0].image_id == "worse"
    assert suspects[0].score == pytest.approx(40 / 41, abs=1e-6)


@pytest.mark.parametrize(("kind", "good", "bad"), [("outline", 0.9, 0.6), ("missed", 0.0, 1.0)])
def test_a_label_is_the_less_suspect_the_more_others_of_its_image_contradict(kind: str, good: float, bad: float) -> None:
    """40 images whose predictions are met, of which one has a label that is not; and 10 images, half of whose predictions are not."""
    fine = [question(0, good, "", kind, f"fine {i}") for i in range(40) for _ in range(10)]
    pale = [question(0, (good, bad)[n % 2], f"pale {i} {n}" if n % 2 else "", kind, f"pale {i}") for i in range(10) for n in range(10)]
    one = question(0, bad, "one", kind, "fine 7")
    suspects = ranked([*fine, *pale, one])
    assert suspects[0].image_id == "one"
    assert suspects[0].score > suspects[1].score + 0.04


def test_what_is_expected_of_an_image_counts_all_its_other_labels() -> None:
    """The mean of the others and of three questions of the mean of all, up to that below which nine tenths of the images lie."""
    rng = np.random.default_rng(0)
    names, values = rng.integers(0, 12, 60).astype(str), rng.random(60)
    mean, found = values.mean(), others_of_image([question(0, 0, image_id=n) for n in names], values)[:, 0]
    most = np.quantile([(values[names == n].sum() + 3 * mean) / ((names == n).sum() + 3) for n in np.unique(names)], 0.9)
    for row, name in enumerate(names):
        others = values[(names == name) & (np.arange(60) != row)]
        assert found[row] == pytest.approx(min(most, (others.sum() + 3 * mean) / (len(others) + 3)))


def test_labels_of_another_image_stay_suspect() -> None:
    """One image of 40 contradicts in all: it is excused no more than an image that contradicts as nine tenths do not."""
    usual = [question(0, float(n == 0), f"{i} {n}" if n == 0 else "", "missed", str(i)) for i in range(39) for n in range(i % 2, 10)]
    swapped = [question(0, 1, f"swapped {n}", "missed", "swapped") for n in range(10)]
    assert min(s.score for s in ranked([*usual, *swapped]) if s.image_id.startswith("swapped")) > 0.6


def test_solidity_is_that_of_scikit_image() -> None:
    """But for its hull, which cuts the corners of pixels; what is convex fills its hull."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = np.zeros((64, 64), np.uint8)
        for x, y in rng.integers(12, 52, (3, 2)).tolist():
            cv2.circle(mask, (x, y), int(rng.integers(4, 11)), 1, -1)
        expected = regionprops(mask)[0].solidity
        assert solidity(encode(mask[..., None].astype(np.int32), 1)[0]) == pytest.approx(expected, abs=0.03)
    assert solidity(encode(square(2, 3, 9, 1)[..., None].astype(np.int32), 1)[0]) == 1
    assert solidity(encode(np.zeros((8, 8, 1), np.int32), 1)[0]) == 1


def test_a_label_is_asked_about_once() -> None:
    both = [question(0, 2, "same"), question(0, 1, "same", "made up"), *(question(0, 1) for _ in range(9))]
    assert len(ranked(both)) == 1


def test_a_score_is_weighed() -> None:
    usual, one = [question(0, 1) for _ in range(99)], question(0, 2, "a")
    (whole,), (half,) = (ranked([*usual, replace(one, weight=weight)]) for weight in (1.0, 0.5))
    assert half.score == pytest.approx(whole.score / 2, abs=1e-6) != 0
