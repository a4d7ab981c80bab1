"""How the network learns: loss, optimizer, learning rate, schedule."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from seg.plan.facts import Decision, Draft, PlanFacts
from seg.plan.rules.families import family, is_example, like
from seg.plan.rules.length import step_images

RARE = 0.05  # share of the labelled pixels below which a class is rare
REFERENCE = {"semantic": (0.2, 8), "instance": (0.03, 4)}
"""Learning rate of SGD with Nesterov momentum from scratch, and the images a step for which it was found, by the range test (Smith 2017) on
`shapes`, CamVid and nuclei. It grows with the images a step (Goyal et al. 2017)."""
EXAMPLE = (0.3, 4)
"""The same of the drawn classes, found by trainings as short as theirs: docs/decisions.md has figures."""
PRETRAINED = 0.25  # of that, where the encoder starts from pretrained weights
WARM_UP = 0.15


LOSSES: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("losses.yaml").read_text(encoding="utf-8"))


def loss(facts: PlanFacts, draft: Draft) -> Iterator[Decision]:
    """Cross-entropy; Dice beside it where a class is rare (Isensee et al. 2021; Taghanaki et al. 2019)."""
    if own := LOSSES.get(family(facts, draft)):
        yield Decision("loss", own["loss"], own["reason"])
        return
    shares = {name: share for name, share in zip(facts.classes, facts.shares, strict=True) if share}
    if (name := min(shares, key=lambda n: shares[n], default=None)) is None:
        chosen, reason = "ce", "cross-entropy: no pixel of the training images has a class"
    elif shares[name] >= RARE:
        chosen, reason = "ce", f"cross-entropy: the rarest class, {name}, has {shares[name]:.1%} of the pixels"
    else:
        chosen = "ce_dice"
        reason = f"cross-entropy and Dice: {name} has only {shares[name]:.1%} of the pixels, and Dice counts each class alike"
    yield Decision("loss", LOSSES[chosen]["loss"], reason)


def optimizer(facts: PlanFacts, draft: Draft) -> Iterator[Decision]:
    """SGD with Nesterov momentum, and its rate by the images a step and the start; AdamW for networks of attention."""
    if family(facts, draft) == "masks":
        adamw = {"name": "adamw", "_target_": "torch.optim.AdamW", "weight_decay": 0.05, "fused": "auto"}
        yield Decision("optimizer", adamw, "AdamW: attention hardly learns with plain gradients")
        if (draft["optimizer"] or {}).get("_target_") == adamw["_target_"]:
            started = "a pretrained start" if draft["model.weights"] else "a start from scratch"
            yield Decision("optimizer.lr", 1e-4 if draft["model.weights"] else 1e-3, f"{started}, for AdamW")
        return
    sgd = {"name": "sgd", "_target_": "torch.optim.SGD", "momentum": 0.9, "weight_decay": 5e-4, "nesterov": True, "fused": "auto"}
    yield Decision("optimizer", sgd, "SGD with Nesterov momentum: networks with batch normalisation generalise well with it")
    if (draft["optimizer"] or {}).get("_target_") != sgd["_target_"]:
        return  # a person's choice, for which no rate is known
    rate, images = EXAMPLE if is_example(facts, draft) else REFERENCE[like(facts, draft)]
    step = step_images(facts, draft)
    if draft["trainer.scale_lr"] not in (None, "none"):  # the training brings the rate from these images to those of a step
        step = draft["trainer.reference_batch_size"] or step
    share = PRETRAINED if draft["model.weights"] else 1.0
    start = "a pretrained start" if draft["model.weights"] else "a start from scratch"
    lr = float(f"{rate * share * step / images:.2g}")
    yield Decision("optimizer.lr", lr, f"{rate * share:g} for {images} images a step and {start}, in proportion to {step}")


def schedule(facts: PlanFacts, draft: Draft) -> Iterator[Decision]:
    """One cycle (Smith and Topin 2018)."""
    cycle = {"name": "onecycle", "_target_": "torch.optim.lr_scheduler.OneCycleLR", "pct_start": WARM_UP}
    yield Decision("scheduler", cycle, "one cycle: the length is known beforehand, and the rate ends near 0")
