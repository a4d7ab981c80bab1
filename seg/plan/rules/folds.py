"""Whether the images are so few that folds are worth their time, and what is said of it."""

from scipy.special import stdtrit

from seg.plan.facts import PlanFacts

FEW = 40
"""Images below which the figures of one split say little."""
FOLDS = 5


def reach(num_images: int) -> float:
    """How far a 95 % interval of a mean over images reaches to either side, in standard deviations of single images' figures."""
    return float(stdtrit(num_images - 1, 0.975)) / num_images**0.5


def advice(facts: PlanFacts, folds: int | None) -> str:
    """One paragraph; nothing where there are folds already, or where images are many."""
    total = facts.images + facts.validation_images + facts.test_images
    if folds or facts.drawn or total >= FEW or total < FOLDS:
        return ""
    alone, out_of_fold = facts.test_images, facts.images + facts.validation_images + facts.test_images * facts.test_drawn
    if alone < 2:
        one = f"from {alone} test image{'s' * (alone != 1)} no figure has an interval"
    else:
        one = f"an interval from {alone} test images reaches {reach(alone):.2g} times the spread of single images to either side"
    return (
        f"{total} images are few: {one}; with plan.folds={FOLDS} each of {out_of_fold} images is predicted by a model that did not learn "
        f"from it, and an interval reaches {reach(out_of_fold):.2g} times that spread (where the spread is 0.1, "
        f"{'none' if alone < 2 else f'±{0.1 * reach(alone):.2f}'} becomes ±{0.1 * reach(out_of_fold):.2f}); "
        f"the folds share plan.minutes. Add `-S plan.folds={FOLDS}` to your `dvc exp run`, and the word `folds` at its end"
    )
