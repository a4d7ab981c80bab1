"""How the network learns: loss, optimizer, learning rate, schedule."""

from collections.abc import Iterator
from typing import Any

from seg.plan.facts import Decision, Draft, PlanFacts
from seg.plan.rules.families import family, like
from seg.plan.rules.length import step_images

RARE = 0.05  # share of the labelled pixels below which a class is rare
REFERENCE = {"semantic": (0.2, 8), "instance": (0.03, 4)}
"""Learning rate of SGD with Nesterov momentum from scratch, and the images a step for which it was found: `seg lr` on `shapes`, CamVid and
nuclei. It grows with the images a step (Goyal et al. 2017)."""
PRETRAINED = 0.25  # of that, where the encoder starts from pretrained weights
WARM_UP = 0.15


def loss(facts: PlanFacts, draft: Draft) -> Iterator[Decision]:
    """Cross-entropy; Dice beside it where a class is rare (Isensee et al. 2021; Taghanaki et al. 2019)."""
    if family(facts, draft) in ("instance", "panoptic"):
        ones = dict.fromkeys(("objectness", "rpn_box", "classifier", "box", "mask"), 1.0)
        weights: dict[str, Any] = {"_target_": "seg.models.instance.TermWeights", "name": "mask_rcnn", **ones}
        also = ""
        if family(facts, draft) == "panoptic":
            weights, also = weights | {"name": "panoptic", "semantic": 1.0}, ", and cross-entropy of the class of each pixel"
        yield Decision("loss", weights, f"Mask R-CNN's own terms{also}, each with the weight 1")
        return
    if family(facts, draft) == "detection":
        ones = dict.fromkeys(("classifier", "box", "centerness", "objectness", "rpn_box"), 1.0)
        yield Decision("loss", {"_target_": "seg.models.detection.DetectionLoss", "name": "detection", **ones}, "the detector's own terms")
        return
    if family(facts, draft) == "masks":
        values = {"classifier": 2.0, "mask": 5.0, "dice": 5.0, "no_object": 0.1, "points": 12544, "oversample": 3.0, "uncertain": 0.75}
        yield Decision(
            "loss", {"_target_": "seg.models.masks.loss.MaskLoss", "name": "masks", **values}, "masks and classes, as in the paper"
        )
        return
    entropy: dict[str, Any] = {"_target_": "seg.models.losses.CrossEntropy", "class_weights": "none", "label_smoothing": 0.0}
    dice = {"_target_": "seg.models.losses.Dice", "class_weights": "none"}
    parts = {"ce": {"weight": 1.0, "loss": entropy}, "dice": {"weight": 1.0, "loss": dice}}
    both: dict[str, Any] = {"_target_": "seg.models.losses.Sum", "terms": parts}
    if family(facts, draft) == "distance":
        chosen = {"name": "distance", "_target_": "seg.models.losses.DistanceLoss", "distance_weight": 1.0, "class_loss": both}
        yield Decision("loss", chosen, "cross-entropy and Dice of the classes, and the cross-entropy of the distances")
        return
    shares = {name: share for name, share in zip(facts.classes, facts.shares, strict=True) if share}
    name = min(shares, key=lambda n: shares[n], default=None)
    if name is None:
        yield Decision("loss", {"name": "ce", **entropy}, "cross-entropy: no pixel of the training images has a class")
        return
    if shares[name] >= RARE:
        yield Decision("loss", {"name": "ce", **entropy}, f"cross-entropy: the rarest class, {name}, has {shares[name]:.1%} of the pixels")
        return
    reason = f"cross-entropy and Dice: {name} has only {shares[name]:.1%} of the pixels, and Dice counts each class alike"
    yield Decision("loss", {"name": "ce_dice", **both}, reason)


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
    rate, images = REFERENCE[like(facts, draft)]
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
