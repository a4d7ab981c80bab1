"""What a plan says of few images."""

import pytest
from planned_facts import draft, facts
from scipy.stats import t

from seg.plan.rules.length import advice, budget_of, reach


def test_an_interval_reaches_as_far_as_students_distribution_says() -> None:
    for count in (2, 4, 5, 30):
        assert reach(count) == pytest.approx(t.interval(0.95, count - 1, scale=count**-0.5)[1])
    assert reach(5) == pytest.approx(1.2417, abs=1e-4)


def test_few_images_are_told_how_wide_intervals_are_without_folds() -> None:
    few = {"images": 21, "validation_images": 4, "test_images": 5}
    said = advice(facts(**few), None)
    assert said.startswith("30 images are few: an interval from 5 test images reaches 1.2 times the spread of single images")
    assert "with plan.folds=5 each of 30 images is predicted by a model that did not learn from it" in said
    assert "reaches 0.37 times that spread (where the spread is 0.1, ±0.12 becomes ±0.04)" in said
    assert said.endswith("Add `-S plan.folds=5` to your `dvc exp run`, and the word `folds` at its end")
    assert "each of 25 images" in advice(facts(**few, test_drawn=False), None), "a test split of the data set's own is in no fold"
    assert "from 1 test image no figure has an interval" in advice(facts(**few | {"test_images": 1}), None)
    assert advice(facts(**few), 5) == advice(facts(**few | {"images": 31}), None) == advice(facts(**few, drawn=True), None) == ""


def test_folds_share_the_minutes() -> None:
    assert budget_of(draft(plan__minutes=30.0, plan__folds=None)) == 30
    assert budget_of(draft(plan__minutes=30.0, plan__folds=5)) == 6
