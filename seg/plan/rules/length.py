"""How long to train, in how many steps, and of how many images each."""

from collections.abc import Iterator
from dataclasses import dataclass

from scipy.special import stdtrit

from seg.plan.facts import Decision, Draft, PlanFacts, budget_of
from seg.plan.rules.families import is_example, like

MINUTES = {"cpu": 30.0, "mps": 45.0, "cuda": 60.0}
DRAWN = {"semantic": 2.1, "instance": 7.0, "detection": 5.0, "panoptic": 7.0}
"""Minutes of the example that the program draws: the README's first command must end within five minutes on two cores."""
IMAGES = {("semantic", "cpu"): 8, ("semantic", "cuda"): 16, ("instance", "cpu"): 4, ("instance", "cuda"): 8}
"""Of a step. More than these gain little at equal images (Masters and Luschi 2018)."""
EXAMPLE_IMAGES = 4
"""Of a step on the drawn classes, which needs many steps more than many images: docs/decisions.md has figures."""
STEPPING = 0.85  # share of the time that steps have; loading, validation and writing take the rest
VALIDATIONS = (6, 40)  # fewest and most of them; the best checkpoint is kept
VALIDATION, MOST_VALIDATION = 0.1, 0.3
"""Share of the time that validations may take, and that they may take where they would be fewer than VALIDATIONS says."""
LEAST_STEPS = 100
NETWORK_PIXELS = 1 << 20
"""Of stored images that evaluation sees at once; of instances a quarter."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Measured on this machine. step: seconds of a training step. forward: seconds to predict an image of the median size. memory: bytes of
    a step. slowed: how many times as long a step lasted, as other programs had the cores."""

    step: float
    forward: float
    memory: float
    slowed: float = 1.0


def minutes(facts: PlanFacts, draft: Draft) -> Iterator[Decision]:
    if facts.drawn:
        yield Decision("plan.minutes", DRAWN[facts.task], "the drawn example is for a first look")
    else:
        kind = facts.device.replace("cuda", "GPU").replace("cpu", "CPU")
        yield Decision("plan.minutes", MINUTES[facts.device], f"the usual time on a {kind}")


def batch(facts: PlanFacts, draft: Draft) -> Iterator[Decision]:
    """Images of a step, never more than there are."""
    usual = IMAGES[like(facts, draft), "cpu" if facts.device == "cpu" else "cuda"]
    reason = f"{usual} images a step are usual for this task on this kind of device"
    if is_example(facts, draft):
        usual, reason = EXAMPLE_IMAGES, f"the drawn example learns sooner by more steps of {EXAMPLE_IMAGES} images"
    chosen = min(usual, facts.images)
    few = f", but the training split has {facts.images}" if chosen < usual else ""
    yield Decision("trainer.batch_size", chosen, f"{reason}{few}")


def images_at_once(cost: Cost, images: int, free: float) -> int:
    """How many images a device sees at once, so that the step's memory stays below `free` bytes: halved until it does."""
    at_once = images
    while at_once > 1 and cost.memory * at_once / images > free:
        at_once = -(-at_once // 2)
    return at_once


def step_images(facts: PlanFacts, draft: Draft) -> int:
    """Images of an optimizer step over all devices."""
    return int(draft["trainer.effective_batch_size"] or draft["trainer.batch_size"] * facts.devices)


def steps(budget: float, cost: Cost, least: int = LEAST_STEPS) -> int:
    """Steps in so many minutes, to two significant digits, so that a small difference in speed makes no other plan."""
    count = max(least, int(60 * budget * STEPPING / cost.step))
    unit = 10 ** max(0, len(str(count)) - 2)
    return count // unit * unit


def length(facts: PlanFacts, draft: Draft, cost: Cost) -> Iterator[Decision]:
    """As many steps as fit, cut into epochs that each end with a validation."""
    budget, images = budget_of(draft), step_images(facts, draft)
    if not draft.is_open("trainer.max_epochs"):
        reason = f"trainer.max_epochs={draft['trainer.max_epochs']} is set, so an epoch is one pass over the images"
        yield Decision("trainer.epoch_steps", None, reason)
        return
    each = max(cost.forward * facts.validation_images * facts.validation_size, 0.01) / (60 * budget)  # of the time
    validations = int(max(1, min(VALIDATIONS[0], MOST_VALIDATION / each), min(VALIDATIONS[1], VALIDATION / each)))
    every = draft["trainer.validate_every"] or 1
    epochs, total = validations * every, steps(budget * (1 - max(0, min(validations * each, 0.9) - VALIDATION)), cost)
    set_steps = None if draft.is_open("trainer.epoch_steps") else draft["trainer.epoch_steps"]
    if set_steps:
        epochs = max(1, round(total / set_steps))
    epochs = max(epochs, every, (draft["finetune.freeze_epochs"] or 0) + 1)  # fewer are refused
    per_epoch = max(1, round(total / epochs))
    passes = total * images / facts.images
    fit = "fit into" if total * cost.step <= 60 * budget else "are the fewest that teach anything, though they take more than"
    shared = f" for each of {draft['plan.folds']} folds" if draft["plan.folds"] else ""
    busy = f"; other programs made a step {cost.slowed:.1f} times as long when it was timed" if cost.slowed > 1 else ""
    reason = f"{total} steps of {cost.step:.2g} s {fit} {budget:.3g} minutes{shared}: each image is seen {passes:.1f} times{busy}"
    yield Decision("trainer.epoch_steps", per_epoch, reason)
    validations = epochs // every
    spent = f"{validations} validations of {facts.validation_images} images take {validations * each:.0%} of the time"
    yield Decision("trainer.max_epochs", epochs, spent)


def evaluation(facts: PlanFacts, draft: Draft) -> Iterator[Decision]:
    pixels = NETWORK_PIXELS * (0.25 if like(facts, draft) == "instance" else 1)
    chosen = int(max(1, min(8, pixels // facts.median_pixels)))
    yield Decision("evaluate.batch_size", chosen, f"images of {facts.median_pixels:.0f} pixels")


FEW = 40  # images below which the figures of one split say little
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
